"""Every flow on every synthetic set of the plane: one figure, and the divergence of each from the
truth.

    python -m benchmarks.flow_gallery --record           # about a quarter of an hour on one core
    python -m benchmarks.flow_gallery --flow maf_spline --dataset moons

Each flow is trained by maximum likelihood for the same number of steps, without any tuning to the
data. The table holds KL(data || flow) in nats: the test negative log-likelihood less that of the
same points under the true density.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from dgmjax.experiments.shared.plane import FLOWS

from dgmjax import data, objectives, training
from dgmjax.data.sources.synthetic import TABLE
from dgmjax.errors import DgmjaxError
from dgmjax.evaluation import average
from dgmjax.files import write_atomically
from dgmjax.plotting import density_table, save
from dgmjax.runs.versions import device_description, package_versions

RECORD = Path(__file__).parent / "records" / "flow_gallery" / "flow_gallery.json"
RESOLUTION = 80


def grid(points: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Points `[M, 2]` over a square about the data, and the shape of their picture."""
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2, 0.55 * (high - low).max()
    side = np.linspace(-half, half, RESOLUTION)
    x, y = np.meshgrid(centre[0] + side, centre[1] + side)
    return np.stack([x, y], -1).reshape(-1, 2).astype(np.float32), (RESOLUTION, RESOLUTION)


class Trainer:
    """One flow, compiled once for all sets."""

    def __init__(self, name: str, steps: int, seed: int):
        nll = objectives.negative_log_likelihood
        self.module, self.steps, self.seed = FLOWS[name].module(), steps, seed
        optimiser = training.adam(2e-3, steps, clip=5.0)
        player = training.Player(nll, optimiser)
        self.learner = training.gradient_learner(self.module, {"model": player})
        self.log_prob = jax.jit(lambda variables, x: self.module.apply(variables, x, method=_lp))

    def __call__(self, name: str) -> tuple[dict[str, Any], np.ndarray]:
        """The record of one set, and a picture of the density that was learned."""
        dataset = data.load(name, n_train=50_000, n_test=10_000)
        train, test = (dataset.splits[split]["x"] for split in ("train", "test"))
        centre, scale = train.mean(0), train.std(0)
        started = time.perf_counter()
        state = training.fit(
            self.learner,
            {"x": (train - centre) / scale},
            key=jax.random.key(self.seed),
            steps=self.steps,
            batch_size=256,
        ).state
        seconds = time.perf_counter() - started

        def log_prob(x):
            variables = self.learner.variables(state)
            value = self.log_prob(variables, jnp.float32((x - centre) / scale))
            return np.asarray(value, np.float64) - np.log(scale).sum()

        found = average(np.asarray(dataset.log_density(test)) - log_prob(test))
        points, shape = grid(train[:2000])
        row = {
            "dataset": name,
            "kl_nats": found.value,
            "standard_error": found.standard_error,
            "seconds": round(seconds, 1),
        }
        return row, np.exp(log_prob(points)).reshape(shape)


def _lp(model, x):
    return model.log_prob(x)


def truth(name: str) -> np.ndarray:
    """A picture of the density itself."""
    dataset = data.load(name, n_train=50_000, n_test=10_000)
    points, shape = grid(dataset.splits["train"]["x"][:2000])
    return np.exp(np.asarray(dataset.log_density(points))).reshape(shape)


def table(results: list[dict[str, Any]]) -> str:
    """KL in nats, a row a flow and a column a set."""
    sets = list(dict.fromkeys(row["dataset"] for row in results))
    flows = list(dict.fromkeys(row["flow"] for row in results))
    found = {(row["flow"], row["dataset"]): row["kl_nats"] for row in results}
    lines = [f"| flow | {' | '.join(sets)} |", "|---" * (1 + len(sets)) + "|"]
    for flow in flows:
        lines.append(f"| {flow} | {' | '.join(f'{found[flow, name]:.3f}' for name in sets)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Every flow on every set of the plane.")
    parser.add_argument("--flow", action="append", choices=list(FLOWS), metavar="NAME")
    parser.add_argument("--dataset", action="append", choices=list(TABLE), metavar="NAME")
    parser.add_argument("--steps", type=int, default=4000, help="training steps of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="write the record and its figure")
    parser.add_argument("--figure", help="PNG of the densities")
    options = parser.parse_args(arguments)
    sets = options.dataset or list(TABLE)
    results, pictures, names = [], [[truth(name) for name in sets]], ["data"]
    try:
        for flow in options.flow or FLOWS:
            trainer = Trainer(flow, options.steps, options.seed)
            pictures.append([])
            names.append(flow)
            for name in sets:
                row, picture = trainer(name)
                results.append({"flow": flow, **row})
                pictures[-1].append(picture)

                print(f"{flow} {name}: {row['kl_nats']:.3f} nats, {row['seconds']} s", flush=True)
    except DgmjaxError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print(table(results))
    figure = options.figure or (RECORD.with_suffix(".png") if options.record else None)
    if options.record:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "results": results,
            "steps": options.steps,
            "seed": options.seed,
            "device": device_description(),
            "versions": package_versions(),
        }
        write_atomically(RECORD, json.dumps(record, indent=1) + "\n")
    if figure is not None:
        save(density_table(pictures, names, sets), figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
