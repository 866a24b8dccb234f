"""WaveNet of 20 layers, 64 channels, receptive field 2047: samples of one sequence per CPU-second.

"naive" is torch with a full pass over the receptive field for each sample, "queues" is torch with
a queue of past activations per layer ("Fast Wavenet", Le Paine et al. 2016), which is what ours
does in one compiled loop.
"""

from benchmarks.workload import Elapsed, FactTarget, Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import TORCH, Problem, ready, training

CHANNELS, STACKS, LAYERS, LEVELS = 64, 2, 10, 256
LENGTH, BATCH = 2000, 4
"""Samples of one compiled call."""


def sizes(tiny: bool) -> tuple[int, int, int]:
    """Channels, layers of a stack, and samples of a call."""
    return (4, 3, 20) if tiny else (CHANNELS, LAYERS, LENGTH)


def dgmjax_side(tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import (
        configured,
        epochs_of_fit,
        learner_and_count,
        steps_against_pass,
    )

    configured()
    import jax
    import numpy as np
    import optax

    from benchmarks.worker import since, stopwatch
    from dgmjax import models, objectives

    channels, layers, length = sizes(tiny)
    model = models.WaveNet(
        (length,), channels=channels, skip_channels=channels, stacks=STACKS, layers=layers
    )
    x = jax.random.randint(jax.random.key(1), (1, length), 0, LEVELS)
    variables = jax.jit(lambda key: model.init(key, x, method="log_prob"))(jax.random.key(0))
    draw = jax.jit(lambda v, key: model.apply(v, key, (1,), method="sample"))
    log_prob = jax.jit(lambda v, x: model.apply(v, x, method="log_prob"))

    def repeated(function, argument):
        """n samples, in whole calls."""

        def run(n: int) -> Elapsed:
            calls = -(-n // length)
            start = stopwatch()
            for _ in range(calls):
                jax.block_until_ready(function(variables, argument))
            took, share = since(start), n / (calls * length)
            return Elapsed(took.cpu * share, took.wall * share)

        return run

    rng = np.random.default_rng(0)
    data = {"x": rng.integers(0, LEVELS, (4 * BATCH, length)).astype(np.int32)}
    nll = objectives.negative_log_likelihood
    learner, _ = learner_and_count(model, nll, optax.adam(1e-3), data, BATCH)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    facts = {"weights": count} | steps_against_pass(model, variables, x)
    operations = {
        "sample": repeated(draw, jax.random.key(2)),
        "log_prob": repeated(log_prob, x),
        "4 steps": epochs_of_fit(learner, data, BATCH),
    }
    return Prepared(operations, facts)


def torch_side(tiny: bool) -> Prepared:
    import torch
    from torch import nn
    from torch.nn import functional

    ready()
    channels, layers, _ = sizes(tiny)
    dilations = [2**i for i in range(layers)] * STACKS
    last = len(dilations) - 1
    convs = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 2, dilation=d) for d in dilations)
    outs = nn.ModuleList(
        nn.Conv1d(channels, channels * (2 if i < last else 1), 1) for i in range(last + 1)
    )
    embed = nn.Embedding(LEVELS, channels)
    head = nn.Sequential(
        nn.ReLU(), nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.Conv1d(channels, LEVELS, 1)
    )
    modules = nn.ModuleList([convs, outs, embed, head])
    field = 1 + sum(dilations)

    def block(i, a, h, total):
        first, second = a.chunk(2, 1)
        out = outs[i](torch.tanh(first) * torch.sigmoid(second))
        total = total + out[:, :channels]
        return (h + out[:, channels:] if i < last else h), total

    def full_pass(codes):
        h = embed(codes).transpose(1, 2)
        total = 0.0
        for i, (conv, dilation) in enumerate(zip(convs, dilations)):
            h, total = block(i, conv(functional.pad(h, (dilation, 0))), h, total)
        return head(total)

    def drawn(logits):
        return torch.multinomial(torch.softmax(logits, -1), 1)

    @torch.no_grad()
    def naive(n: int) -> None:
        codes = torch.randint(0, LEVELS, (1, field))
        for _ in range(n):
            code = drawn(full_pass(codes)[:, :, -1])
            codes = torch.cat([codes[:, 1:], code], 1)

    def cached_step(code, queues, t):
        h = embed(code).squeeze(1)
        total = torch.zeros(())
        for i, (conv, dilation) in enumerate(zip(convs, dilations)):
            slot = t % dilation
            past = queues[i][slot]
            weight = conv.weight
            a = functional.linear(past, weight[:, :, 0]) + functional.linear(
                h, weight[:, :, 1], conv.bias
            )
            queues[i][slot] = h
            first, second = a.chunk(2, 1)
            z = torch.tanh(first) * torch.sigmoid(second)
            out = functional.linear(z, outs[i].weight[:, :, 0], outs[i].bias)
            total = total + out[:, :channels]
            h = h + out[:, channels:] if i < last else h
        return head(total[:, :, None])[:, :, 0]

    def new_queues():
        return [[torch.zeros(1, channels) for _ in range(d)] for d in dilations]

    @torch.no_grad()
    def queued(n: int) -> None:
        queues, code = new_queues(), torch.zeros(1, 1, dtype=torch.long)
        for t in range(n):
            code = drawn(cached_step(code, queues, t))

    with torch.no_grad():
        codes, queues = torch.randint(0, LEVELS, (1, 40)), new_queues()
        stepped = [cached_step(codes[:, t : t + 1], queues, t) for t in range(40)]
        difference = (torch.stack(stepped, -1) - full_pass(codes)).abs().max()
    facts = {
        "weights": sum(p.numel() for p in modules.parameters()),
        "largest_difference": float(difference),
    }
    # Each position predicts the next; the first is predicted from nothing, by a code of its own.
    loss = lambda codes: functional.cross_entropy(full_pass(codes)[:, :, :-1], codes[:, 1:])
    data = torch.randint(0, LEVELS, (4 * BATCH, sizes(tiny)[2]))
    train = training(Problem(modules, loss, data, BATCH))
    return Prepared({"naive": naive, "queues": queued, "4 steps": train}, facts)


WORKLOAD = Workload(
    name="wavenet_generation",
    title="WaveNet, 20 layers, 64 channels, receptive field 2047: generating",
    unit="sample",
    scale=1.0,
    scale_name="samples",
    sides={
        "dgmjax": Side(dgmjax_side, {"sample": 3 * LENGTH, "log_prob": 20 * LENGTH, "4 steps": 1}),
        "torch": Side(torch_side, {"naive": 12, "queues": 400, "4 steps": 1}, *TORCH),
    },
    targets=(
        Target("times naive torch", ("torch", "naive"), ("dgmjax", "sample"), at_least=500.0),
        Target(
            "times queue-cached torch", ("torch", "queues"), ("dgmjax", "sample"), at_least=15.0
        ),
        Target(
            "train step: times torch", ("torch", "4 steps"), ("dgmjax", "4 steps"), at_least=1.5
        ),
    ),
    fact_targets=(
        FactTarget("logits of steps against a full pass", "dgmjax", "largest_difference", 1e-5),
    ),
    equal_facts=("weights",),
)
