"""A causal transformer of 4 layers, 128 wide, 256 characters, batches of 8: training and sampling.

Rotary positions, pre-normalisation and heads of 32, the same network on both sides. Torch has its
fused causal attention; it samples one character after another with the keys and values of those
before kept, as ours does.
"""

from functools import partial

from benchmarks.workload import Operation, Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import TORCH, Problem, ready, training

WIDTH, LAYERS, HEADS, LENGTH, LEVELS, BATCH, STEPS, RATE = 128, 4, 4, 256, 65, 8, 4, 1e-3


def sizes(tiny: bool) -> tuple[int, int, int]:
    """Width, layers and length."""
    return (8, 1, 12) if tiny else (WIDTH, LAYERS, LENGTH)


def characters(tiny: bool):
    import numpy as np

    shape = (STEPS * BATCH, sizes(tiny)[2])
    return np.random.default_rng(0).integers(0, LEVELS, shape).astype(np.int32)


def dgmjax_side(tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, epochs_of_fit, learner_and_count, repeated

    configured()
    import jax
    import optax

    from dgmjax import models, objectives
    from dgmjax.distributions import families

    width, layers, length = sizes(tiny)
    model = models.Transformer(
        (length,), families.Categorical(LEVELS), features=width, layers=layers, heads=HEADS
    )
    data = {"x": characters(tiny)}
    nll = objectives.negative_log_likelihood
    learner, parameters = learner_and_count(model, nll, optax.adam(RATE), data, BATCH)
    state = jax.jit(learner.init)(jax.random.key(0), {"x": data["x"][:BATCH]})
    variables = learner.variables(state)
    draw = jax.jit(lambda v, key: model.apply(v, key, (BATCH,), method="sample"))
    operations = {
        "steps": epochs_of_fit(learner, data, BATCH),
        "sample": repeated(draw, variables, jax.random.key(1)),
    }
    return Prepared(operations, {"weights": parameters})


def torch_problem(tiny: bool) -> tuple[Problem, Operation]:
    """The problem, and n draws of a batch."""
    import torch
    from torch import nn
    from torch.nn import functional

    width, layers, length = sizes(tiny)
    size = width // HEADS
    angles = torch.outer(torch.arange(length), 10_000.0 ** (-torch.arange(0, size, 2) / size))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.read, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

        def turned(self, x, place):
            a, b = x.chunk(2, -1)
            cos, sin = self.cos[place], self.sin[place]
            return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

        def forward(self, h, place, past=None):
            batch, count, _ = h.shape
            parts = self.read(self.first(h)).view(batch, count, 3, HEADS, size).unbind(2)
            query, key, value = (part.transpose(1, 2) for part in parts)
            query, key = self.turned(query, place), self.turned(key, place)
            if past is not None:
                past[0][:, :, place], past[1][:, :, place] = key, value
                end = int(place[-1]) + 1
                key, value = past[0][:, :, :end], past[1][:, :, :end]
            mixed = functional.scaled_dot_product_attention(
                query, key, value, is_causal=past is None
            )
            h = h + self.out(mixed.transpose(1, 2).reshape(batch, count, width))
            return h + self.down(functional.gelu(self.up(self.second(h)), approximate="tanh"))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(LEVELS + 1, width)  # the last code stands at the beginning
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, LEVELS)

        def forward(self, codes, place, past=None):
            h = self.embed(codes)
            for number, block in enumerate(self.blocks):
                h = block(h, place, None if past is None else past[number])
            return self.head(self.norm(h))

    net, places = Network(), torch.arange(length)
    first = torch.full((BATCH, 1), LEVELS)

    def loss(codes):
        before = torch.cat([first[: len(codes)].to(codes.device), codes[:, :-1]], 1)
        logits = net(before, places.to(codes.device))
        return functional.cross_entropy(logits.transpose(1, 2), codes)

    @torch.no_grad()
    def sample(n: int) -> None:
        for _ in range(n):
            shape = (BATCH, HEADS, length, size)
            past = [(torch.zeros(shape), torch.zeros(shape)) for _ in range(layers)]
            code = first
            for site in range(length):
                logits = net(code, places[site : site + 1], past)[:, -1]
                code = torch.multinomial(torch.softmax(logits, -1), 1)

    data = torch.from_numpy(characters(tiny)).long()
    return Problem(net, loss, data, BATCH, RATE), sample


def torch_side(variant: str, tiny: bool) -> Prepared:
    ready()
    problem, sample = torch_problem(tiny)
    operations = {"steps": training(problem, variant), "sample": sample}
    return Prepared(operations, {"weights": problem.parameters})


WORKLOAD = Workload(
    name="transformer_step",
    title="Transformer, 4 layers, 128 wide, 256 characters, batch 8: 4 training steps, 8 samples",
    unit="4 steps or 8 samples",
    sides={
        "dgmjax": Side(dgmjax_side, {"steps": 1, "sample": 2}),
        "torch": Side(partial(torch_side, "float32"), {"steps": 1, "sample": 1}, *TORCH),
        "torch bf16": Side(partial(torch_side, "bfloat16"), {"steps": 1, "sample": 1}, *TORCH),
    },
    targets=(
        Target("train step: times torch", ("torch", "steps"), ("dgmjax", "steps"), at_least=1.0),
        Target("samples: times torch", ("torch", "sample"), ("dgmjax", "sample"), at_least=1.0),
    ),
    equal_facts=("weights",),
    rounds=5,
)
