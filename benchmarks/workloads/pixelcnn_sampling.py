"""PixelCNN of 8 masked 7x7 layers with 64 channels: samples, and training steps.

Ours keeps the activations of the rows above; torch samples in the usual way, by a full pass for
each pixel. All its passes cost the same, so a few of the 784 are timed and multiplied. Torch
multiplies by the 24 dead taps of each kernel; the parameters counted are the live ones.
"""

from benchmarks.workload import Elapsed, FactTarget, Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import TORCH, ready

LAYERS, CHANNELS, KERNEL, SIZE = 8, 64, 7, 28
SAMPLES, BATCH = 16, 16
TIMED_PASSES = 14


def sizes(tiny: bool) -> tuple[int, int, int]:
    """Layers, channels, and height of the images."""
    return (2, 4, 6) if tiny else (LAYERS, CHANNELS, SIZE)


def images(size: int):
    import numpy as np

    return (np.random.default_rng(0).random((BATCH, size, size, 1)) < 0.2).astype(np.float32)


def dgmjax_side(tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, sampling

    configured()
    from functools import partial

    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import optax

    from dgmjax import models, nn as layers, objectives, training

    num_layers, channels, size = sizes(tiny)
    sites = (size, size)
    stack: list[nn.Module] = []
    for _ in range(num_layers - 1):
        stack += [
            layers.Pointwise(nn.relu),
            layers.masked_convolution(channels, sites, KERNEL),
        ]
    network = layers.CausalNetwork(
        layers=(*stack, layers.Pointwise(nn.relu)),
        num_params=1,
        first=layers.masked_convolution(channels, sites, KERNEL, "A"),
        event_shape=(size, size, 1),
        sites=sites,
    )
    model = models.AutoregressiveModel((size, size, 1), network)
    x = jnp.asarray(images(size))
    player = training.Player(objectives.negative_log_likelihood, optax.adam(1e-3))
    learner = training.gradient_learner(model, {"model": player})
    state = jax.jit(learner.init)(jax.random.key(0), {"x": x})
    variables = {"params": jax.tree.map(jnp.copy, state.params)}
    held = [state]

    # A compiled loop over steps, as in `fit`: gradients of convolutions were far slower in one.
    @partial(jax.jit, donate_argnums=0)
    def steps(state, n, x):
        return jax.lax.fori_loop(0, n, lambda i, state: learner.step(state, {"x": x})[0], state)

    def train(n: int) -> None:
        held[0] = jax.block_until_ready(steps(held[0], n, x))

    operations, facts = sampling(model, variables, x)
    facts["live_parameters"] = facts.pop("parameters")
    return Prepared(operations | {"train": train}, facts)


def torch_side(tiny: bool) -> Prepared:
    import torch
    from torch import nn
    from torch.nn import functional

    from benchmarks.worker import since, stopwatch

    ready()
    num_layers, channels, size = sizes(tiny)
    half = KERNEL // 2

    class Masked(nn.Conv2d):
        def __init__(self, inputs: int, strict: bool):
            super().__init__(inputs, channels, KERNEL, padding=half)
            mask = torch.ones(KERNEL, KERNEL)
            mask[half, half + (not strict) :] = 0
            mask[half + 1 :] = 0
            self.register_buffer("mask", mask)

        def forward(self, x):
            return self._conv_forward(x, self.weight * self.mask, self.bias)

    # Two input channels: the pixel, and a constant that shows where the padding begins.
    convolutions: list[nn.Module] = [Masked(2, strict=True)]
    for _ in range(num_layers - 1):
        convolutions += [nn.ReLU(), Masked(channels, strict=False)]
    net = nn.Sequential(*convolutions, nn.ReLU(), nn.Conv2d(channels, 1, 1))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    x = torch.from_numpy(images(size)).permute(0, 3, 1, 2).contiguous()
    logits = lambda x: net(torch.cat([x, torch.ones_like(x)], 1))

    def sample(n: int) -> Elapsed:
        passes = min(TIMED_PASSES, size * size)
        start = stopwatch()
        with torch.no_grad():
            for _ in range(n):
                drawn = torch.zeros(SAMPLES, 1, size, size)
                for site in range(passes):
                    row, column = divmod(site, size)
                    probability = torch.sigmoid(logits(drawn)[:, 0, row, column])
                    drawn[:, 0, row, column] = torch.bernoulli(probability)
        took, share = since(start), size * size / passes
        return Elapsed(took.cpu * share, took.wall * share)

    def train(n: int) -> None:
        for _ in range(n):
            loss = functional.binary_cross_entropy_with_logits(logits(x), x, reduction="sum")
            optimiser.zero_grad()
            (loss / len(x)).backward()
            optimiser.step()

    live = 0
    for module in net.modules():
        if isinstance(module, Masked):
            live += int(module.mask.sum()) * module.in_channels * channels + channels
        elif isinstance(module, nn.Conv2d):
            live += sum(p.numel() for p in module.parameters())
    return Prepared({"sample": sample, "train": train}, {"live_parameters": live})


WORKLOAD = Workload(
    name="pixelcnn_sampling",
    title="PixelCNN, 8 masked 7x7 layers, 64 channels, 16 images of 28x28",
    unit="call",
    sides={
        "dgmjax": Side(dgmjax_side, {"sample": 3, "log_prob": 4, "train": 3}),
        "torch": Side(torch_side, {"sample": 1, "train": 3}, *TORCH),
    },
    targets=(
        Target(
            "samples: times naive torch",
            ("torch", "sample"),
            ("dgmjax", "sample"),
            at_least=250.0,
        ),
        Target("train step: times torch", ("torch", "train"), ("dgmjax", "train"), at_least=1.25),
    ),
    fact_targets=(
        FactTarget("logits of steps against a full pass", "dgmjax", "largest_difference", 1e-5),
    ),
    equal_facts=("live_parameters",),
)
