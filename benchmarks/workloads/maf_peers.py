"""Autoregressive flows of 5 layers with two hidden layers of 512: training and sampling.

Affine ones (MAF) are held against three libraries, rational-quadratic splines of 8 bins against
two (flowjax's have two parameters more for each number, the slopes at the ends). The train step is
on one batch of 512 rows, with Adam: ours as `fit` runs it, the others' as loops around their own
`log_prob`. At 784 dimensions, with 1024 hidden units, 64 samples are drawn.

"products" are the matrix products of the same 4 steps and nothing else, and "pass" those of one
pass, as a sample needs them too. The masked matrices are cut into 1, 2, 4 or 8 blocks of columns,
each of which leaves out the rows that none of its columns sees; the fastest counts. If that takes
more than the time that a bound leaves, the bound is out of reach of this processor.
"""

from functools import partial

from benchmarks.worker import stopwatch
from benchmarks.workload import Operation, Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import ready

LAYERS, BATCH, RATE, BINS, BOUND = 5, 512, 1e-3, 8, 3.0
WIDTHS = {6: 512, 63: 512, 784: 1024}
SAMPLES = {6: 512, 63: 512, 784: 64}


def sizes(features: int, tiny: bool) -> tuple[int, int, int]:
    """Dimensions, width of the hidden layers, rows of a batch and of a draw."""
    if tiny:
        return min(features, 8), 16, 8
    return features, WIDTHS[features], SAMPLES[features]


def points(num: int, features: int):
    import numpy as np

    return np.random.default_rng(0).standard_normal((num, features)).astype(np.float32)


def dgmjax_side(features: int, splines: bool, tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured, epochs_of_fit, learner_and_count, repeated

    configured()
    import jax
    import optax

    from benchmarks.workloads.maf_sampling import with_random_outputs
    from dgmjax import models, objectives
    from dgmjax.bijectors.transformers import Affine, RationalQuadraticSpline

    features, width, num = sizes(features, tiny)
    transformer = RationalQuadraticSpline(BINS, BOUND) if splines else Affine()
    flow = models.MAF(features, LAYERS, (width, width), transformer=transformer)
    data = {"x": points(num * 4, features)}
    nll = objectives.negative_log_likelihood
    learner, parameters = learner_and_count(flow, nll, optax.adam(RATE), data, num)
    params = jax.jit(learner.init)(jax.random.key(0), {"x": data["x"][:num]}).params
    variables = with_random_outputs({"params": params})
    draw = jax.jit(lambda v, key: flow.apply(v, key, (num,), method="sample"))

    operations = {
        "4 steps": epochs_of_fit(learner, data, num),
        "sample": repeated(draw, variables, jax.random.key(1)),
        **products(features, width, transformer.num_params, data["x"][:num]),
    }
    return Prepared(operations, {"parameters": parameters})


def products(features: int, width: int, outputs: int, x) -> dict[str, Operation]:
    """The products of 4 training steps, and of a pass, in the fastest number of blocks."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from benchmarks.workloads.ours import products_of, repeated, small_noise
    from dgmjax.nn.autoregressive.masked_mlp import hidden_degrees

    hidden, sites = hidden_degrees(features, width), np.repeat(np.arange(features), outputs)
    seen = (
        np.searchsorted(np.arange(1, features + 1), hidden, "right"),
        np.searchsorted(hidden, hidden, "right"),
        np.searchsorted(hidden, sites, "right"),
    )
    shapes = (features, width), (width, width), (width, outputs * features)
    weights = tuple(small_noise(*shapes) for _ in range(LAYERS))

    def in_blocks(blocks, x, kernel, rows):
        """Blocks of columns, each without the rows that none of its columns sees."""
        ends = np.linspace(0, kernel.shape[1], blocks + 1).astype(int)
        most = [rows[max(end - 1, 0)] for end in ends[1:]]
        parts = [x[:, :m] @ kernel[:m, a:b] for m, a, b in zip(most, ends[:-1], ends[1:])]
        return jnp.concatenate(parts, 1)

    def network(blocks, weights, x):
        for layer in weights:
            x = x[:, :features]
            for kernel, rows in zip(layer, seen):
                x = in_blocks(blocks, x, kernel, rows)
        return x

    def fastest(operation_of) -> Operation:
        timed = []
        for blocks in (1, 2, 4, 8):
            operation = operation_of(partial(network, blocks))
            operation(1)
            begun = stopwatch()
            operation(2)
            timed.append((stopwatch().cpu - begun.cpu, blocks, operation))
        return min(timed)[2]

    return {
        "products": fastest(lambda network: products_of(network, weights, x, 4)),
        "pass": fastest(lambda network: repeated(jax.jit(network), weights, x)),
    }


def flowjax_side(features: int, splines: bool, tiny: bool) -> Prepared:
    import equinox
    import jax
    import jax.numpy as jnp
    import optax
    import paramax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow

    from benchmarks.workloads.ours import repeated
    from benchmarks.workloads.small_maf_epoch import _trainable

    features, width, num = sizes(features, tiny)
    x = jnp.asarray(points(num, features))
    flow = masked_autoregressive_flow(
        jax.random.key(0),
        base_dist=paramax.non_trainable(Normal(jnp.zeros(features))),
        transformer=RationalQuadraticSpline(knots=BINS - 1, interval=BOUND) if splines else None,
        flow_layers=LAYERS,
        nn_width=width,
        nn_depth=2,
    )
    fixed = lambda leaf: isinstance(leaf, paramax.NonTrainable)
    params, static = equinox.partition(flow, equinox.is_inexact_array, is_leaf=fixed)
    whole = lambda params: paramax.unwrap(equinox.combine(params, static, is_leaf=fixed))
    optimiser = optax.adam(RATE)

    @jax.jit
    def four_steps(params, state):
        def one(carry, _):
            params, state = carry
            loss = lambda params: -whole(params).log_prob(x).mean()
            updates, state = optimiser.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(one, (params, state), None, length=4)[0]

    draw = jax.jit(lambda params, key: whole(params).sample(key, (num,)))
    state = optimiser.init(params)

    operations = {
        "4 steps": repeated(four_steps, params, state),
        "sample": repeated(draw, params, jax.random.key(1)),
    }
    return Prepared(operations, {"parameters": _trainable(flow)})


def torch_side(build, features: int, tiny: bool) -> Prepared:
    """`build(features, width)` gives the module, its log_prob(x) and its sample(num)."""
    import torch

    ready()
    features, width, num = sizes(features, tiny)
    module, log_prob, draw = build(features, width)
    optimiser = torch.optim.Adam(module.parameters(), lr=RATE, fused=True)
    x = torch.from_numpy(points(num, features))

    def steps(n: int) -> None:
        for _ in range(4 * n):
            loss = -log_prob(x).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    def sample(n: int) -> None:
        with torch.no_grad():
            for _ in range(n):
                draw(num)

    count = sum(p.numel() for p in module.parameters())
    return Prepared({"4 steps": steps, "sample": sample}, {"parameters": count})


def zuko_flow(features: int, width: int):
    import torch
    import zuko

    flow = zuko.flows.MAF(features=features, transforms=LAYERS, hidden_features=(width, width))
    return flow, lambda x: flow().log_prob(x), lambda num: flow().sample(torch.Size((num,)))


def zuko_splines(features: int, width: int):
    import torch
    import zuko

    flow = zuko.flows.NSF(
        features=features, bins=BINS, transforms=LAYERS, hidden_features=(width, width)
    )
    return flow, lambda x: flow().log_prob(x), lambda num: flow().sample(torch.Size((num,)))


def nflows_flow(features: int, width: int):
    from nflows.flows import MaskedAutoregressiveFlow

    flow = MaskedAutoregressiveFlow(
        features, width, LAYERS, num_blocks_per_layer=1, use_residual_blocks=False
    )
    return flow, flow.log_prob, flow.sample


def times(features: int, peer: str, operation: str, at_least: float) -> Target:
    """How often our operation runs in the time of the peer's."""
    words = "train step" if operation == "4 steps" else "samples"
    label = f"{words}: times {peer}, D={features}"
    return Target(label, (peer, operation), ("dgmjax", operation), at_least=at_least)


def bounds(features: int, splines: bool) -> tuple[Target, ...]:
    """The ratios to be kept at this number of dimensions."""
    of = partial(times, features)
    if splines:
        return of("zuko", "4 steps", 1.5), of("flowjax", "4 steps", 1.2)
    over_zuko = of("zuko", "sample", {6: 5.0, 63: 45.0, 784: 400.0}[features])
    if features == 784:
        return (over_zuko,)
    return (
        of("zuko", "4 steps", 2.0),
        of("nflows", "4 steps", 2.0),
        of("flowjax", "4 steps", 1 / 1.05),
        over_zuko,
        of("flowjax", "sample", {6: 3.0, 63: 18.0}[features]),
    )


def workload(features: int, splines: bool = False) -> Workload:
    """All sides at one number of dimensions."""
    ours = partial(dgmjax_side, features, splines)
    zuko = Side(
        partial(torch_side, zuko_splines if splines else zuko_flow, features),
        {"4 steps": 1, "sample": 1},
        "torch",
        ("zuko", "torch"),
    )
    if features == 784:
        sides = {
            "dgmjax": Side(ours, {"4 steps": 1, "sample": 3, "products": 1, "pass": 3}),
            "zuko": zuko,
        }
    else:
        flowjax = partial(flowjax_side, features, splines)
        operations = {"4 steps": 2, "sample": 1}
        sides = {
            "dgmjax": Side(ours, {"4 steps": 2, "sample": 10, "products": 2, "pass": 10}),
            "zuko": zuko,
            "flowjax": Side(flowjax, operations, "jax", ("flowjax", "equinox", "jax", "optax")),
        }
    if features != 784 and not splines:
        nflows = partial(torch_side, nflows_flow, features)
        operations = {"4 steps": 1, "sample": 1}
        sides["nflows"] = Side(nflows, operations, "torch", ("nflows", "torch"))
    kind = "Autoregressive splines" if splines else "MAF"
    return Workload(
        name=f"{'spline' if splines else 'maf'}_peers_{features}",
        title=f"{kind}, {features} dimensions, 5 layers of two times {WIDTHS[features]} units: 4 "
        f"training steps of {BATCH if features != 784 else SAMPLES[784]} rows, and "
        f"{SAMPLES[features]} samples",
        unit="call",
        sides=sides,
        targets=bounds(features, splines),
        equal_facts=() if splines else ("parameters",),
        rounds=3 if features == 784 else 5,
    )


D6, D63, D784 = (workload(features) for features in WIDTHS)
SPLINES_6, SPLINES_63 = (workload(features, splines=True) for features in (6, 63))
