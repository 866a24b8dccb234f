"""How time and memory grow with the size of a problem: exponents a of size^a.

Each side is one model at several sizes of one quantity (batch, samples, depth, dimensions, length),
all else the same: a training step, and sampling where that is what grows. Time is processor time;
memory is what the compiled program holds beside its inputs and outputs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.workload import FactTarget, Growth, Operation, Prepared, Side, Workload, slope

Step = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function to compile, and its arguments."""


def gradient_step(module, objective, x) -> Step:
    """One step of a learner with Adam on a batch."""
    import jax
    import optax

    from benchmarks.workloads.ours import learner_and_count

    learner, _ = learner_and_count(module, objective, optax.adam(1e-3), {"x": x}, len(x))
    batch = {"x": x}
    return learner.step, (jax.jit(learner.init)(jax.random.key(0), batch), batch)


def sampling_of(module, num: int) -> Step:
    """`num` samples from a model that needs no data to make its parameters."""
    import jax

    variables = jax.jit(module.init)(jax.random.key(0))
    draw = lambda v, key: module.apply(v, key, (num,), method="sample")
    return draw, (variables, jax.random.key(1))


def binary(*shape: int):
    import numpy as np

    return (np.random.default_rng(0).random(shape) < 0.2).astype(np.float32)


def vae_of_batch(batch: int) -> dict[str, Step]:
    from dgmjax import models, objectives

    vae = models.DenseVAE((784,), 50, (200, 200))
    return {"step": gradient_step(vae, objectives.elbo, binary(batch, 784))}


def iwae_of_samples(samples: int) -> dict[str, Step]:
    from dgmjax import models, objectives

    vae = models.DenseVAE((784,), 50, (200, 200))
    bound = partial(objectives.iwae, num_samples=samples)
    return {"step": gradient_step(vae, bound, binary(100, 784))}


def spline_of_depth(layers: int) -> dict[str, Step]:
    import jax

    from dgmjax import models, objectives

    flow = models.NeuralSplineFlow(6, layers, (64, 64), unroll=False)
    x = jax.random.normal(jax.random.key(1), (256, 6))
    return {"step": gradient_step(flow, objectives.negative_log_likelihood, x)}


def maf_of_dimensions(features: int) -> dict[str, Step]:
    import jax

    from dgmjax import models, objectives

    flow = models.MAF(features, 5, (256, 256))
    x = jax.random.normal(jax.random.key(1), (128, features))
    step = gradient_step(flow, objectives.negative_log_likelihood, x)
    variables = jax.jit(partial(flow.init, method="log_prob"))(jax.random.key(0), x)
    draw = lambda v, key: flow.apply(v, key, (128,), method="sample")
    return {"step": step, "sample": (draw, (variables, jax.random.key(1)))}


def transformer_of_length(length: int) -> dict[str, Step]:
    import numpy as np

    from dgmjax import models, objectives
    from dgmjax.distributions import families

    model = models.Transformer((length,), families.Categorical(65), features=128, layers=4, heads=4)
    x = np.random.default_rng(0).integers(0, 65, (8, length)).astype(np.int32)
    nll = objectives.negative_log_likelihood
    return {"step": gradient_step(model, nll, x), "sample": sampling_of(model, 8)}


def wavenet_of_length(length: int) -> dict[str, Step]:
    import numpy as np

    from dgmjax import models, objectives

    model = models.WaveNet((length,), channels=32, skip_channels=32, stacks=2, layers=8)
    x = np.random.default_rng(0).integers(0, 256, (1, length)).astype(np.int32)
    nll = objectives.negative_log_likelihood
    return {"step": gradient_step(model, nll, x), "sample": sampling_of(model, 1)}


def pixelcnn_of_side(side: int) -> dict[str, Step]:
    from dgmjax import models, objectives

    model = models.GatedPixelCNN((side, side, 1), features=16, blocks=4)
    x = binary(16, side, side, 1)
    nll = objectives.negative_log_likelihood
    return {"step": gradient_step(model, nll, x), "sample": sampling_of(model, 16)}


# Name of a side: what makes its steps, sizes, and by name of an operation the units of work of the
# smallest size (about half a second), and the bound on its exponent of time.
SIDES: dict[str, tuple[Callable, tuple[int, ...], dict[str, tuple[int, float]]]] = {
    "vae, batch": (vae_of_batch, (50, 100, 200, 400), {"step": (200, 1.05)}),
    "iwae, samples": (iwae_of_samples, (5, 20, 80), {"step": (16, 1.05)}),
    "spline flow, layers": (spline_of_depth, (4, 8, 16, 32), {"step": (16, 1.1)}),
    "maf, dimensions": (maf_of_dimensions, (32, 128, 512), {"step": (8, 1.0), "sample": (16, 1.2)}),
    "transformer, characters": (
        transformer_of_length,
        (64, 128, 256, 512),
        {"step": (8, 1.3), "sample": (4, 1.5)},
    ),
    "wavenet, samples": (
        wavenet_of_length,
        (1000, 4000, 16000),
        {"step": (4, 1.1), "sample": (4, 1.1)},
    ),
    "pixelcnn, pixels": (pixelcnn_of_side, (8, 16, 32), {"step": (16, 1.1), "sample": (8, 1.2)}),
}


def size_of(side: str, size: int) -> int:
    """The quantity whose growth is meant: pixels for the side of a square."""
    return size**2 if side.endswith("pixels") else size


def prepare(name: str, tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, repeated

    configured()
    import jax

    build, sizes, wanted = SIDES[name]
    operations: dict[str, Operation] = {}
    memory: dict[str, dict[int, float]] = {kind: {} for kind in wanted}
    for size in sizes:
        for kind, (function, arguments) in build(4 * size // sizes[0] if tiny else size).items():
            compiled = jax.jit(function).lower(*arguments).compile()
            held = compiled.memory_analysis().temp_size_in_bytes
            memory[kind][size_of(name, size)] = held / 2**20
            operations[f"{kind} {size}"] = repeated(compiled, *arguments, program=function)
    facts = {f"exponent_of_memory_{kind}": slope(held) for kind, held in memory.items()}
    return Prepared(operations, facts)


def _side(name: str) -> Side:
    _, sizes, wanted = SIDES[name]
    # About as long for every size, as if all grew in proportion.
    units = lambda size, most: max(1, round(most * size_of(name, sizes[0]) / size_of(name, size)))
    return Side(
        partial(prepare, name),
        {f"{kind} {s}": units(s, most) for s in sizes for kind, (most, _) in wanted.items()},
    )


WORKLOAD = Workload(
    name="growth",
    title="Growth with the size of a problem, all else the same",
    unit="step or sample",
    sides={name: _side(name) for name in SIDES},
    targets=(),
    growths=tuple(
        Growth(
            f"exponent of time, {kind}: {name}",
            name,
            {f"{kind} {size}": float(size_of(name, size)) for size in sizes},
            at_most,
        )
        for name, (_, sizes, wanted) in SIDES.items()
        for kind, (_, at_most) in wanted.items()
    ),
    fact_targets=tuple(
        FactTarget(f"exponent of memory, {kind}: {name}", name, f"exponent_of_memory_{kind}", 1.1)
        for name, (_, _, wanted) in SIDES.items()
        for kind in wanted
    ),
    equal_facts=(),
    rounds=5,
)
