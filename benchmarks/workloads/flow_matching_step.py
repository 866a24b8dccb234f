"""Flow matching of images of 28x28 by a U-Net of 0.5 million parameters, batches of 32.

Ours is the steady state of `fit`; torch is a plain loop of the same network and loss. Sampling is
by Euler steps: one call of the network each, against a forward pass by itself.
"""

from functools import partial

from benchmarks.workload import Operation, Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import TORCH, Problem, ready, training

CHANNELS, SIZE, BATCH, RATE, STEPS, CALLS = (24, 48, 48), 28, 32, 1e-3, 8, 8


def sizes(tiny: bool) -> tuple[tuple[int, ...], int]:
    """Channels of the levels, and height of the images."""
    return ((4, 4), 8) if tiny else (CHANNELS, SIZE)


def images(size: int):
    """Numbers of the size of data, `[N, size, size, 1]`."""
    import numpy as np

    return np.random.default_rng(0).normal(size=(STEPS * BATCH, size, size, 1)).astype(np.float32)


def dgmjax_side(tiny: bool) -> Prepared:
    import jax
    import jax.numpy as jnp
    import optax

    from benchmarks.workloads.ours import epochs_of_fit, learner_and_count, repeated
    from dgmjax import inference, models, nn, objectives

    channels, size = sizes(tiny)
    sampler = inference.Sampler("euler", CALLS)
    model = models.Denoiser((size, size, 1), nn.UNet(channels), sampler=sampler)
    data = {"x": images(size)}
    learner, count = learner_and_count(
        model, objectives.flow_matching, optax.adam(RATE), data, BATCH
    )
    state = jax.jit(learner.init)(jax.random.key(0), {"x": data["x"][:BATCH]})
    variables, t = learner.variables(state), jnp.full(BATCH, 0.5)
    x = jnp.asarray(data["x"][:BATCH])
    forward = jax.jit(lambda v, x: model.apply(v, x, t, method="predict"))
    sample = jax.jit(lambda v, key: model.apply(v, key, (BATCH,), method="sample"))
    operations = {
        "steps": epochs_of_fit(learner, data, BATCH),
        "forward": repeated(forward, variables, x),
        "sample": repeated(sample, variables, jax.random.key(1)),
    }
    return Prepared(operations, {"parameters": count})


def torch_problem(tiny: bool) -> tuple[Problem, Operation]:
    """The problem, and n forward passes."""
    import math

    import torch
    from torch import nn
    from torch.nn import functional

    channels, size = sizes(tiny)
    width = 4 * channels[0]
    norm = lambda features: nn.GroupNorm(math.gcd(8, features), features, eps=1e-6)

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int):
            super().__init__()
            self.first, self.second = norm(inputs), norm(outputs)
            self.read = nn.Conv2d(inputs, outputs, 3, padding=1)
            self.write = nn.Conv2d(outputs, outputs, 3, padding=1)
            self.change = nn.Linear(width, 2 * outputs)
            same = inputs == outputs
            self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

        def forward(self, h, time):
            inner = self.second(self.read(functional.silu(self.first(h))))
            scale, shift = self.change(time)[:, :, None, None].chunk(2, 1)
            inner = self.write(functional.silu((1.0 + scale) * inner + shift))
            return self.skip(h) + inner

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            self.register_buffer("frequencies", 1000.0 ** torch.linspace(0.0, 1.0, width // 2))
            self.enter = nn.Conv2d(1, channels[0], 3, padding=1)
            below = (channels[0], *channels)
            self.down = nn.ModuleList(Block(*pair) for pair in zip(below, channels))
            self.middle = Block(channels[-1], channels[-1])
            # The maps that blocks on the way up read, in the order in which they were made.
            maps, ups, features = [channels[0]], [], channels[-1]
            for level, outputs in enumerate(channels):
                maps += [channels[level - 1]] * (level > 0) + [outputs]
            for outputs in reversed(channels):
                for _ in range(2):
                    ups.append(Block(features + maps.pop(), outputs))
                    features = outputs
            self.up = nn.ModuleList(ups)
            self.norm = norm(channels[0])
            self.leave = nn.Conv2d(channels[0], 1, 3, padding=1)

        def forward(self, x, t):
            angles = t[:, None] * self.frequencies
            time = functional.silu(self.embed(torch.cat([angles.cos(), angles.sin()], 1)))
            h = self.enter(x)
            maps = [h]
            for level, block in enumerate(self.down):
                if level:
                    h = functional.avg_pool2d(h, 2)
                    maps.append(h)
                h = block(h, time)
                maps.append(h)
            h = self.middle(h, time)
            for place, block in enumerate(self.up):
                h = block(torch.cat([h, maps.pop()], 1), time)
                if place % 2 and place < len(self.up) - 1:
                    h = functional.interpolate(h, scale_factor=2)
            return self.leave(functional.silu(self.norm(h)))

    net = UNet()
    data = torch.from_numpy(images(size)).permute(0, 3, 1, 2).contiguous()

    def loss(x):
        noise, t = torch.randn_like(x), torch.rand(len(x), device=x.device)
        at = t[:, None, None, None]
        velocity = net((1.0 - at) * x + at * noise, t)
        return functional.mse_loss(velocity, noise - x)

    @torch.no_grad()
    def forward(n: int) -> None:
        for _ in range(n):
            net(data[:BATCH], torch.full((BATCH,), 0.5))

    return Problem(net, loss, data, BATCH, RATE, channels_last=True), forward


def torch_side(variant: str, tiny: bool) -> Prepared:
    ready()
    problem, forward = torch_problem(tiny)
    operations = {"steps": training(problem, variant), "forward": forward}
    return Prepared(operations, {"parameters": problem.parameters})


WORKLOAD = Workload(
    name="flow_matching_step",
    title="Flow matching, U-Net of 0.5 million parameters, 28x28, batch 32: 8 training steps",
    unit="8 steps",
    scale=STEPS,
    scale_name="steps",
    sides={
        "dgmjax": Side(dgmjax_side, {"steps": 1, "forward": 16, "sample": 2}),
        "torch": Side(partial(torch_side, "float32"), {"steps": 1, "forward": 16}, *TORCH),
        "torch bf16": Side(partial(torch_side, "bfloat16"), {"steps": 1, "forward": 16}, *TORCH),
    },
    targets=(
        Target("times a torch loop", ("torch", "steps"), ("dgmjax", "steps"), at_least=1.5),
        Target(
            "sampling by 8 calls, in forward passes",
            ("dgmjax", "sample"),
            ("dgmjax", "forward"),
            at_most=1.05 * CALLS,
        ),
    ),
)
