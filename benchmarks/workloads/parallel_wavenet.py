"""A WaveNet of 20 layers and 64 channels, and its one-pass student: 8192 samples of one sequence.

The teacher's distribution of a sample is a mixture of ten logistics over 16 bits. "naive" is a
full pass for each sample, of which one is timed and multiplied; "cached" keeps the activations of
every layer. The student is `models.ParallelWaveNet` as `parallel_wavenet_spoken_digits` has it.
"""

from benchmarks.workload import Elapsed, Prepared, Side, Target, Workload

LENGTH, CHANNELS, STACKS, LAYERS = 8192, 64, 2, 10
CLASSES, FRAME_FEATURES, HOP, LEVELS = 10, 16, 128, 2**16


def dgmjax_side(tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, repeated

    configured()
    import jax
    import jax.numpy as jnp

    from benchmarks.worker import since, stopwatch
    from dgmjax import models
    from dgmjax.distributions import families

    length = 256 if tiny else LENGTH
    reads = {"context_features": CLASSES, "local_features": FRAME_FEATURES, "hop": HOP}
    small = {"channels": 4, "layers": 2}
    teacher = models.WaveNet(
        (length,),
        families.DiscretisedLogisticMixture(10, LEVELS),
        **(small if tiny else {"channels": CHANNELS, "layers": LAYERS}),
        skip_channels=4 if tiny else CHANNELS,
        stacks=STACKS,
        **reads,
    )
    student = models.ParallelWaveNet((length,), levels=LEVELS, **(small if tiny else {}), **reads)
    context = jnp.zeros((1, CLASSES + length // HOP * FRAME_FEATURES))
    key, x = jax.random.key(0), jnp.full((1, length), LEVELS / 2)
    made = {
        "teacher": jax.jit(lambda: teacher.init(key, x, context, method="log_prob"))(),
        "student": jax.jit(lambda: student.init(key, context))(),
    }
    draw = {
        name: jax.jit(lambda v, key, model=model: model.apply(v, key, (), context, method="sample"))
        for name, model in {"teacher": teacher, "student": student}.items()
    }
    conditionals = jax.jit(lambda v, x: teacher.apply(v, context).params(x))

    def naive(n: int) -> Elapsed:
        start = stopwatch()
        jax.block_until_ready(conditionals(made["teacher"], x))
        took = since(start)
        return Elapsed(took.cpu * n * length, took.wall * n * length)

    count = lambda name: sum(leaf.size for leaf in jax.tree.leaves(made[name]))
    operations = {
        "student": repeated(draw["student"], made["student"], key),
        "cached": repeated(draw["teacher"], made["teacher"], key),
        "naive": naive,
    }
    return Prepared(operations, {name: count(name) for name in made})


WORKLOAD = Workload(
    name="parallel_wavenet",
    title="WaveNet, 20 layers, 64 channels, and its parallel student: 8192 samples",
    unit="sequence",
    scale=LENGTH,
    scale_name="samples",
    sides={"dgmjax": Side(dgmjax_side, {"student": 60, "cached": 2, "naive": 1})},
    targets=(
        Target("student: times naive", ("dgmjax", "naive"), ("dgmjax", "student"), at_least=1000.0),
        Target("student: times cached", ("dgmjax", "cached"), ("dgmjax", "student"), at_least=30.0),
    ),
    equal_facts=(),
)
