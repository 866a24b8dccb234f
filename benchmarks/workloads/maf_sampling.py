"""Sampling from a MAF against evaluating its density: D incremental steps cost about one pass.

The samples are compared with the naive inverse, D full passes, on a network whose output layer has
standard random weights too (at initialisation it is zero, and the flow the identity).
"""

from functools import partial

from benchmarks.workload import FactTarget, Prepared, Side, Target, Workload

LAYERS = 5
SIZES = {6: (512, 512), 63: (512, 512), 784: (1024, 1024)}
SAMPLES = {6: 512, 63: 512, 784: 64}
COMPARED = 8
"""Samples compared with the naive inverse, which is slow."""


def prepare(features: int, tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, repeated

    configured()
    import jax
    import jax.numpy as jnp

    from dgmjax import models

    features = min(features, 20) if tiny else features
    flow = models.MAF(features, LAYERS, (32, 32) if tiny else SIZES[features])
    num = 8 if tiny else SAMPLES[features]
    x = jax.random.normal(jax.random.key(1), (num, features))
    variables = jax.jit(partial(flow.init, method="log_prob"))(jax.random.key(0), x)
    variables = with_random_outputs(variables)
    log_prob = jax.jit(partial(flow.apply, method="log_prob"))
    sample = jax.jit(lambda v, key: flow.apply(v, key, (num,), method="sample"))

    operations = {
        "sample": repeated(sample, variables, jax.random.key(2)),
        "log_prob": repeated(log_prob, variables, x),
    }
    z = jax.random.normal(jax.random.key(3), (min(num, COMPARED), features))
    fast, naive = (
        jax.jit(partial(flow_.apply, method=forward)) for flow_ in (flow, naive_of(flow))
    )
    reference = naive(variables, z)
    difference = jnp.abs(fast(variables, z) - reference)
    facts = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables)),
        "largest_difference": float(difference.max()),
        "largest_sample": float(jnp.abs(reference).max()),
        "relative_difference": float((difference / jnp.maximum(1.0, jnp.abs(reference))).max()),
    }
    return Prepared(operations, facts)


def forward(flow, z):
    return flow.bijector().forward(z)


def naive_of(flow):
    """The same flow, sampled by D full passes."""
    layers = (
        layer.clone(forward_method="naive") if hasattr(layer, "forward_method") else layer
        for layer in flow.layers
    )
    return flow.clone(layers=tuple(layers))


def with_random_outputs(variables):
    """Output weights from the initialiser of the other layers, and small random biases."""
    import flax.linen as nn
    import jax

    def drawn(path, leaf):
        key = jax.random.fold_in(jax.random.key(4), hash_of(path))
        name = path[-1].key
        if name == "out_kernel":
            return nn.initializers.lecun_normal()(key, leaf.shape)
        return 0.1 * jax.random.normal(key, leaf.shape) if "bias" in name else leaf

    return jax.tree_util.tree_map_with_path(drawn, variables)


def hash_of(path) -> int:
    """A number that depends on the path only, the same in every process."""
    import zlib

    return zlib.crc32("/".join(str(entry) for entry in path).encode()) >> 1


BOUNDS = {6: 2.0, 63: 3.5, 784: 5.0}

WORKLOAD = Workload(
    name="maf_sampling",
    title="MAF of 5 layers: samples against densities",
    unit="call",
    sides={
        "D=6": Side(partial(prepare, 6), {"sample": 30, "log_prob": 40}),
        "D=63": Side(partial(prepare, 63), {"sample": 12, "log_prob": 30}),
        "D=784": Side(partial(prepare, 784), {"sample": 3, "log_prob": 12}),
    },
    targets=tuple(
        Target(
            f"sample / log_prob, D={features}",
            (f"D={features}", "sample"),
            (f"D={features}", "log_prob"),
            at_most=bound,
        )
        for features, bound in BOUNDS.items()
    ),
    fact_targets=tuple(
        FactTarget(
            f"difference from the naive inverse, D={features}",
            f"D={features}",
            "relative_difference",
            1e-5,
        )
        for features in BOUNDS
    ),
    equal_facts=(),
)
