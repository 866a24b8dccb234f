"""Steps of FIVO and of IWAE with four particles: a VRNN 32-32 on four rolls of 60 frames.

A step is the gradient of the bound by all parameters. FIVO resamples wherever the effective number
of particles falls below half, and so filters frame by frame; IWAE weighs whole paths.
"""

from benchmarks.workload import Prepared, Side, Target, Workload

FRAMES, KEYS, BATCH, PARTICLES, SIZE = 60, 88, 4, 4, 32


def dgmjax_side(tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, repeated

    configured()
    from functools import partial

    import jax
    import numpy as np

    from dgmjax import models, objectives

    frames, notes, size = (5, 4, 3) if tiny else (FRAMES, KEYS, SIZE)
    vrnn = models.VRNN((frames, notes), size, size)
    on = np.random.default_rng(0).random((BATCH, frames, notes)) < 0.05
    lengths = frames - 10 * np.arange(BATCH) % frames
    batch = {"x": on.astype(np.float32), "length": lengths}
    key = jax.random.key(0)
    variables = vrnn.init(key, batch, key, method=objectives.elbo)

    def step(objective):
        loss = lambda v, key: vrnn.apply(v, batch, key, method=objective)[0].mean()
        return repeated(jax.jit(jax.grad(loss)), variables, key)

    operations = {
        "iwae": step(partial(objectives.iwae, num_samples=PARTICLES)),
        "fivo": step(partial(objectives.fivo, num_particles=PARTICLES)),
    }
    return Prepared(operations)


WORKLOAD = Workload(
    name="particle_bounds",
    title="FIVO and IWAE, 4 particles: a step of a VRNN 32-32 on rolls of 60 frames",
    unit="step",
    sides={"dgmjax": Side(dgmjax_side, {"iwae": 60, "fivo": 60})},
    targets=(
        Target("FIVO: of the IWAE step", ("dgmjax", "fivo"), ("dgmjax", "iwae"), at_most=1.5),
    ),
    equal_facts=(),
)
