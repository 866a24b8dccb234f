"""Glow of 3 levels and 4 steps on 32x32x3 images: training and sampling, against normflows.

Conditioners of 3x3, 1x1 and 3x3 convolutions with 64 channels, batches of 16. The numbers of
parameters are among the facts; outside the conditioners they differ a little.
"""

from benchmarks.workload import Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import ready

LEVELS, STEPS, CHANNELS, BATCH, SIDE = 3, 4, 64, 16, 32


def images(tiny: bool):
    import numpy as np

    side, num = (8, 2) if tiny else (SIDE, BATCH)
    return np.random.default_rng(0).normal(size=(num, side, side, 3)).astype(np.float32)


def dgmjax_side(tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, epochs_of_fit, learner_and_count, repeated

    configured()
    import jax
    import optax

    from dgmjax import models, objectives

    x = images(tiny)
    flow = models.Glow(x.shape[1:], LEVELS, 1 if tiny else STEPS, channels=8 if tiny else CHANNELS)
    data = {"x": x}
    nll = objectives.negative_log_likelihood
    learner, parameters = learner_and_count(flow, nll, optax.adam(1e-3), data, len(x))
    params = jax.jit(learner.init)(jax.random.key(0), data).params
    draw = jax.jit(lambda p, key: flow.apply({"params": p}, key, (len(x),), method="sample"))

    operations = {
        "step": epochs_of_fit(learner, data, len(x)),
        "sample": repeated(draw, params, jax.random.key(1)),
    }
    return Prepared(operations, {"parameters": parameters})


def normflows_side(tiny: bool) -> Prepared:
    import normflows as nf
    import torch

    ready()
    x = torch.from_numpy(images(tiny).transpose(0, 3, 1, 2).copy())
    bases, merges, flows, (channels, side) = [], [], [], x.shape[1:3]
    for level in range(LEVELS):
        inner = channels * 2 ** (LEVELS + 1 - level)
        blocks = [
            nf.flows.GlowBlock(inner, 8 if tiny else CHANNELS, split_mode="channel", scale=True)
            for _ in range(1 if tiny else STEPS)
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        width = side // 2 ** (LEVELS - level)
        if level > 0:
            merges.append(nf.flows.Merge())
            shape = (inner // 2, width, width)
        else:
            shape = (inner, width, width)
        bases.append(nf.distributions.DiagGaussian(shape))
    model = nf.MultiscaleFlow(bases, flows, merges)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step(n: int) -> None:
        for _ in range(n):
            loss = model.forward_kld(x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    def sample(n: int) -> None:
        with torch.no_grad():
            for _ in range(n):
                model.sample(len(x))

    step(1)
    sample(1)
    return Prepared(
        {"step": step, "sample": sample},
        {"parameters": sum(p.numel() for p in model.parameters())},
    )


WORKLOAD = Workload(
    name="glow_peers",
    title=f"Glow, {LEVELS} levels of {STEPS} steps, {CHANNELS} channels, batch {BATCH} of 32x32x3",
    unit="call",
    sides={
        "dgmjax": Side(dgmjax_side, {"step": 2, "sample": 4}),
        "normflows": Side(
            normflows_side, {"step": 2, "sample": 4}, "torch", ("normflows", "torch")
        ),
    },
    targets=(
        Target(
            "train step: times normflows", ("normflows", "step"), ("dgmjax", "step"), at_least=1.0
        ),
        Target(
            "samples: times normflows", ("normflows", "sample"), ("dgmjax", "sample"), at_least=1.0
        ),
    ),
    equal_facts=(),
    rounds=5,
)
