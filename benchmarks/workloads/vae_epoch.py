"""Training a VAE 784-512-20 with Bernoulli pixels by Adam, batches of 100, an epoch at a time.

Ours is the steady state of `fit`; torch is a plain loop (one permutation per epoch, indexed
batches, cross-entropy on logits; see `theirs`); pythae is its own trainer's `train_step`, which is
one epoch of its loop without logging, copying or saving the model.

"products" is the floor: the matrix products of a training step and nothing else, which no
float32 program can do without. Where they alone take half of torch's time (a core without a
second 512-bit multiplier), twice torch's speed is out of reach for anyone.
"""

from functools import partial

from benchmarks.workload import Operation, Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import TORCH, Problem, ready, side

LATENT, HIDDEN, PIXELS, BATCH, RATE = 20, 512, 784, 100, 1e-3
IMAGES = 10_000


def images(tiny: bool):
    """Binary images, float32 `[N, 784]`; their content does not matter for speed."""
    import numpy as np

    rng = np.random.default_rng(0)
    probability = rng.beta(0.3, 1.2, size=PIXELS)
    return (rng.random((500 if tiny else IMAGES, PIXELS)) < probability).astype(np.float32)


def dgmjax_side(tiny: bool) -> Prepared:
    import flax.linen as nn
    import optax

    from benchmarks.workloads.ours import epochs_of_fit, learner_and_count
    from dgmjax import models, objectives

    vae = models.DenseVAE((PIXELS,), LATENT, (HIDDEN,), activation=nn.relu)
    data = {"x": images(tiny)}
    learner, parameters = learner_and_count(vae, objectives.elbo, optax.adam(RATE), data, BATCH)
    return Prepared(
        {"epoch": epochs_of_fit(learner, data, BATCH), "products": products(data["x"])},
        {"parameters": parameters},
    )


def products(x) -> Operation:
    """An epoch of the eleven matrix products of a step, forward and backward, compiled alike."""
    from benchmarks.workloads.ours import products_of, small_noise

    def network(weights, x):
        w1, w2, w3, w4 = weights
        return (x @ w1 @ w2)[:, :LATENT] @ w3 @ w4

    sizes = (PIXELS, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, PIXELS)
    return products_of(network, small_noise(*sizes), x[:BATCH], len(x) // BATCH)


def torch_problem(tiny: bool) -> Problem:
    import torch
    from torch import nn
    from torch.nn import functional

    encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
    decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))

    def loss(x):
        mean, log_variance = encoder(x).chunk(2, -1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        cross_entropy = functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        return (cross_entropy + kl) / len(x)

    data = torch.from_numpy(images(tiny))
    return Problem(nn.ModuleList([encoder, decoder]), loss, data, BATCH, RATE)


def pythae_side(tiny: bool) -> Prepared:
    import logging
    import tempfile

    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    ready()
    logging.disable(logging.INFO)
    # Its default architecture for vectors is 784-512-20 with relu.
    model = VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce"))
    data = torch.from_numpy(images(tiny)).reshape(-1, 1, 28, 28)
    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        no_cuda=True,
        optimizer_params={"fused": True},
    )
    trainer = BaseTrainer(model, BaseDataset(data, torch.zeros(len(data))), training_config=config)
    trainer.prepare_training()

    def epoch(n: int) -> None:
        for i in range(n):
            trainer.train_step(i + 1)

    parameters = sum(p.numel() for p in model.parameters())
    return Prepared({"epoch": epoch}, {"parameters": parameters})


WORKLOAD = Workload(
    name="vae_epoch",
    title="VAE 784-512-20, Bernoulli, Adam, batch 100: training",
    unit="epoch",
    scale=IMAGES,
    scale_name="examples",
    sides={
        "dgmjax": Side(dgmjax_side, {"epoch": 4, "products": 4}),
        "torch": Side(partial(side, torch_problem, "epoch", "float32"), {"epoch": 2}, *TORCH),
        "torch bf16": Side(partial(side, torch_problem, "epoch", "bfloat16"), {"epoch": 2}, *TORCH),
        "pythae": Side(pythae_side, {"epoch": 1}, "torch", ("pythae", "torch", "numpy")),
    },
    targets=(
        Target("times a torch loop", ("torch", "epoch"), ("dgmjax", "epoch"), at_least=1.3),
        Target("times pythae", ("pythae", "epoch"), ("dgmjax", "epoch"), at_least=2.0),
    ),
)
