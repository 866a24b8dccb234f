"""Training a small MAF (6 dimensions, 8 affine layers of 50 hidden units, batches of 100).

Ours is the steady state of `fit`; flowjax is its `fit_to_data`, given one optimiser and one loss
object so that it compiles once, and a single validation batch; zuko is the loop of its tutorial
(one permutation per epoch, indexed batches, Adam).
"""

from benchmarks.workload import Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import ready

FEATURES, LAYERS, HIDDEN, BATCH, RATE = 6, 8, 50, 100, 1e-3
POINTS = 10_000


def points(num: int):
    """Correlated, skewed data, float32 `[num, 6]`."""
    import numpy as np

    rng = np.random.default_rng(0)
    z = rng.standard_normal((num, FEATURES)) @ (np.eye(FEATURES) + 0.3)
    return (z + 0.2 * np.roll(z, 1, axis=1) ** 2).astype(np.float32)


def train_points(tiny: bool) -> int:
    return 5 * BATCH if tiny else POINTS


def dgmjax_side(tiny: bool) -> Prepared:
    import optax

    from benchmarks.workloads.ours import epochs_of_fit, learner_and_count
    from dgmjax import models, objectives

    flow = models.MAF(FEATURES, LAYERS, (HIDDEN,))
    data = {"x": points(train_points(tiny))}
    learner, parameters = learner_and_count(
        flow, objectives.negative_log_likelihood, optax.adam(RATE), data, BATCH
    )
    return Prepared({"epoch": epochs_of_fit(learner, data, BATCH)}, {"parameters": parameters})


def flowjax_side(tiny: bool) -> Prepared:
    import jax
    import jax.numpy as jnp
    import optax
    import paramax
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data
    from flowjax.train.losses import MaximumLikelihoodLoss

    num = train_points(tiny) + BATCH
    data = jnp.asarray(points(num))
    flow = masked_autoregressive_flow(
        jax.random.key(0),
        base_dist=paramax.non_trainable(Normal(jnp.zeros(FEATURES))),
        flow_layers=LAYERS,
        nn_width=HIDDEN,
        nn_depth=1,
    )
    optimiser, loss = optax.adam(RATE), MaximumLikelihoodLoss()

    def epoch(n: int) -> None:
        fit_to_data(
            jax.random.key(0),
            flow,
            data,
            loss_fn=loss,
            optimizer=optimiser,
            max_epochs=n,
            max_patience=n,
            batch_size=BATCH,
            val_prop=BATCH / num,
            show_progress=False,
        )

    return Prepared({"epoch": epoch}, {"parameters": _trainable(flow)})


def _trainable(flow) -> int:
    """Parameters that flowjax trains."""
    import equinox
    import jax
    import paramax

    params, _ = equinox.partition(
        flow,
        equinox.is_inexact_array,
        is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable),
    )
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def zuko_side(tiny: bool) -> Prepared:
    import torch
    import zuko

    ready()
    data = torch.from_numpy(points(train_points(tiny)))
    flow = zuko.flows.MAF(features=FEATURES, transforms=LAYERS, hidden_features=(HIDDEN,))
    optimiser = torch.optim.Adam(flow.parameters(), lr=RATE, fused=True)

    def epoch(n: int) -> None:
        for _ in range(n):
            for rows in torch.randperm(len(data)).split(BATCH):
                loss = -flow().log_prob(data[rows]).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    return Prepared({"epoch": epoch}, {"parameters": sum(p.numel() for p in flow.parameters())})


WORKLOAD = Workload(
    name="small_maf_epoch",
    title="MAF, 6 dimensions, 8 layers, 50 hidden units, batch 100: training",
    unit="epoch",
    scale=POINTS,
    scale_name="examples",
    sides={
        "dgmjax": Side(dgmjax_side, {"epoch": 25}),
        "flowjax": Side(flowjax_side, {"epoch": 8}, "jax", ("flowjax", "equinox", "jax", "optax")),
        "zuko": Side(zuko_side, {"epoch": 4}, "torch", ("zuko", "torch")),
    },
    targets=(
        Target("times flowjax", ("flowjax", "epoch"), ("dgmjax", "epoch"), at_least=6.0),
        Target("times zuko", ("zuko", "epoch"), ("dgmjax", "epoch"), at_least=10.0),
    ),
)
