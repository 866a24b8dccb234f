"""A deep Glow with and without rematerialisation: temporary memory of a gradient, and its time.

One level of K steps on 16x16x3 images in batches of 16, conditioners of 64 channels. The cost of
one more step is a fact of each side, in multiples of the bytes of one activation (the images
themselves): with rematerialisation only the input of each step is kept.
"""

from functools import partial

from benchmarks.workload import FactTarget, Prepared, Side, Target, Workload

SIDE, CHANNELS, BATCH, STEPS, MORE = 16, 64, 16, 16, 48


def prepare(rematerialise: bool, tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, repeated

    configured()
    import jax
    import jax.numpy as jnp

    from dgmjax import models

    shape, channels = ((4, 4, 3), 4) if tiny else ((SIDE, SIDE, 3), CHANNELS)
    x = jax.random.normal(jax.random.key(1), (BATCH, *shape))

    def gradient(steps: int):
        flow = models.Glow(
            shape, 1, steps, channels=channels, unroll=False, rematerialise=rematerialise
        )
        params = jax.jit(partial(flow.init, method="log_prob"))(jax.random.key(0), x)["params"]
        loss = lambda params: -flow.apply({"params": params}, x, method="log_prob").mean()
        program = jax.jit(jax.grad(loss))
        compiled = program.lower(params).compile()
        held = compiled.memory_analysis().temp_size_in_bytes
        return partial(repeated, compiled, params, program=program), params, held

    steps, more = (2, 4) if tiny else (STEPS, MORE)
    run, params, few = gradient(steps)
    _, _, many = gradient(more)

    facts = {
        "parameters": sum(jnp.size(leaf) for leaf in jax.tree.leaves(params)),
        f"megabytes_{steps}_steps": few / 2**20,
        f"megabytes_{more}_steps": many / 2**20,
        "activations_a_step": (many - few) / (more - steps) / x.nbytes,
    }
    return Prepared({"gradient": run()}, facts)


WORKLOAD = Workload(
    name="remat_memory",
    title=f"A gradient of Glow: {STEPS} steps, {SIDE}x{SIDE}x3, {CHANNELS} channels, batch {BATCH}",
    unit="gradient",
    sides={
        "kept": Side(partial(prepare, False), {"gradient": 4}),
        "recomputed": Side(partial(prepare, True), {"gradient": 4}),
    },
    targets=(
        Target(
            "gradient: recomputed / kept",
            ("recomputed", "gradient"),
            ("kept", "gradient"),
            at_most=1.5,
        ),
    ),
    fact_targets=(
        FactTarget("activations kept a step, recomputed", "recomputed", "activations_a_step", 2.0),
    ),
    rounds=5,
)
