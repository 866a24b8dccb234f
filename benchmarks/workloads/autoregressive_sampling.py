"""Sampling from MADE and NADE against evaluating their densities, 100 binary images of 28x28.

Sampling takes 784 steps, each of which updates the hidden units by one row, against one pass.
"""

from functools import partial

from benchmarks.workload import FactTarget, Prepared, Side, Target, Workload

HIDDEN, SIZE, SAMPLES = 500, 28, 100
NETWORKS = ("MADE", "NADE")


def prepare(name: str, tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, sampling

    configured()
    import jax
    import numpy as np

    from dgmjax import models

    hidden, size, num = (8, 4, 5) if tiny else (HIDDEN, SIZE, SAMPLES)
    shape = (size, size, 1)
    model = {
        "MADE": lambda: models.MADE(event_shape=shape, hidden=(hidden,)),
        "NADE": lambda: models.NADE(shape, hidden),
    }[name]()
    x = (np.random.default_rng(0).random((num, *shape)) < 0.2).astype(np.int32)
    return Prepared(*sampling(model, model.init(jax.random.key(0)), x))


WORKLOAD = Workload(
    name="autoregressive_sampling",
    title=f"MADE and NADE, {HIDDEN} hidden units: {SAMPLES} samples of {SIZE}x{SIZE} binary pixels",
    unit="call",
    sides={name: Side(partial(prepare, name), {"sample": 40, "log_prob": 60}) for name in NETWORKS},
    targets=tuple(
        Target(f"sample / log_prob, {name}", (name, "sample"), (name, "log_prob"), at_most=3.0)
        for name in NETWORKS
    ),
    fact_targets=tuple(
        FactTarget(f"logits of steps against a full pass, {name}", name, "largest_difference", 1e-5)
        for name in NETWORKS
    ),
    equal_facts=(),
)
