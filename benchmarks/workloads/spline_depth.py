"""32 spline couplings: one compiled body, scanned over depth, against an unrolled loop.

Both sides are the same flow with the same parameters; only `unroll` differs. The time to compile a
train step is a fact of each.
"""

from functools import partial

from benchmarks.workload import FactTarget, Prepared, Side, Target, Workload

FEATURES, LAYERS, HIDDEN, BATCH = 6, 32, (64, 64), 512


def prepare(unroll: bool, tiny: bool) -> Prepared:
    from benchmarks.worker import since, stopwatch
    from benchmarks.workloads.ours import configured, repeated

    configured()
    import jax
    import jax.numpy as jnp

    from dgmjax import models

    layers = 3 if tiny else LAYERS
    flow = models.NeuralSplineFlow(FEATURES, layers, HIDDEN, unroll=unroll)
    x = jax.random.normal(jax.random.key(1), (8 if tiny else BATCH, FEATURES))
    params = jax.jit(partial(flow.init, method="log_prob"))(jax.random.key(0), x)["params"]

    def step(params, _):
        loss = lambda params: -flow.apply({"params": params}, x, method="log_prob").mean()
        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient), value

    start = stopwatch()
    program = jax.jit(lambda params: jax.lax.scan(step, params, None, length=2))
    run = program.lower(params).compile()
    seconds = since(start)

    count = sum(jnp.size(leaf) for leaf in jax.tree.leaves(params))
    return Prepared(
        {"2 steps": repeated(run, params, program=program)},
        {"parameters": count, "compile_seconds": seconds.cpu},
    )


WORKLOAD = Workload(
    name="spline_depth",
    title=f"{LAYERS} spline couplings, {FEATURES} dimensions, batch {BATCH}: 2 training steps",
    unit="2 steps",
    scale=2,
    scale_name="steps",
    sides={
        "scanned": Side(partial(prepare, False), {"2 steps": 2}),
        "unrolled": Side(partial(prepare, True), {"2 steps": 2}),
    },
    targets=(
        Target(
            "step: scanned / unrolled",
            ("scanned", "2 steps"),
            ("unrolled", "2 steps"),
            at_most=1.0,
        ),
    ),
    fact_targets=(FactTarget("compiling, CPU-s", "scanned", "compile_seconds", 8.0),),
    rounds=5,
)
