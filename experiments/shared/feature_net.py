"""Training of the feature nets that judge samples: a LeNet on MNIST and one on Fashion-MNIST.

    python -m dgmjax.experiments.shared.feature_net mnist --data-dir DATA --out FOLDER
    python -m dgmjax.experiments.shared.feature_net fashion_mnist --data-dir DATA --out FOLDER

About two CPU minutes each. Writes `lenet_<name>.npz`, and into `lenet.json` its SHA-256 and its
accuracy. 10,000 of the 60,000 training images are set apart and choose the step whose parameters
are kept; the test split is measured once, at the end. Nets of the same architecture from other
seeds are other features: their distances are not comparable.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from dgmjax import data, evaluation, training
from dgmjax.evaluation.samples import LeNet

EPOCHS, BATCH_SIZE, LEARNING_RATE = 15, 100, 1e-3


def cross_entropy(model, batch, key):
    """-log p(label | x) `[B]`, and whether the most probable class is another, `[B]`."""
    del key
    _, logits = model(batch["x"])
    log_probs = jax.nn.log_softmax(logits)
    loss = -jax.numpy.take_along_axis(log_probs, batch["label"][:, None], -1)[:, 0]
    return loss, {"error": (logits.argmax(-1) != batch["label"]).astype(loss.dtype)}


def trained(name: str, data_dir: str | None, epochs: int = EPOCHS, seed: int = 0):
    """Parameters of the best step by validation, and facts about them.

    Args:
      name: of the data set, `mnist` or `fashion_mnist`.
    """
    dataset = data.load(name, data_dir=data_dir)
    splits = {split: _unit(arrays) for split, arrays in dataset.splits.items()}
    steps = epochs * (len(splits["train"]["x"]) // BATCH_SIZE)
    player = training.Player(cross_entropy, training.adam(LEARNING_RATE, steps))
    learner = training.gradient_learner(LeNet(), {"model": player})

    def measured(state, split):
        variables, key = learner.variables(state), jax.random.key(0)
        evaluate = lambda batch, key: learner.call(variables, cross_entropy, batch, key)
        return evaluation.per_example(evaluate, splits[split], 500, key)

    def validate(state):
        return {key: float(v.mean()) for key, v in measured(state, "validation").items()}

    started = time.process_time()
    result = training.fit(
        learner,
        splits["train"],
        key=jax.random.key(seed),
        steps=steps,
        batch_size=BATCH_SIZE,
        validation=training.Validation(validate, select="error"),
        execution=training.Execution(log_every=500, quiet=False),
    )
    error = evaluation.average(measured(result.state, "test")["error"])
    facts = {
        "architecture": "LeNet: 5x5 convolutions of 16 and 32, dense layers of 120 and 84",
        "dataset": name,
        "train_images": len(splits["train"]["x"]),
        "epochs": epochs,
        "seed": seed,
        "best_step": result.best_step,
        "validation_accuracy": 1.0 - validate(result.state)["error"],
        "test_accuracy": 1.0 - error.value,
        "test_standard_error": error.standard_error,
        "test_images": error.num_examples,
        "cpu_seconds": round(time.process_time() - started),
    }
    return result.state.params, facts


def _unit(arrays):
    """Images in [0, 1]."""
    return {"x": arrays["x"].astype(np.float32) / 255.0, "label": arrays["label"]}


def write(params, name: str, facts, out: Path) -> None:
    """Writes the parameters, and adds their hash and the facts to `lenet.json`."""
    flat: Any = {"/".join(path): np.asarray(array) for path, array in flatten_dict(params).items()}
    path, book = out / f"lenet_{name}.npz", out / "lenet.json"
    np.savez_compressed(path, **flat)
    known = json.loads(book.read_text()) if book.exists() else {}
    known[name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **facts}
    book.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=("mnist", "fashion_mnist"))
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    params, facts = trained(given.name, given.data_dir, given.epochs)
    write(params, given.name, facts, given.out)
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
