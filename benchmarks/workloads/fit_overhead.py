"""What `fit` costs over a loop written by hand under `jit`, with as many steps a call.

Two loops by hand: "by_hand" is what one would write (`value_and_grad`, Adam, the sum of the
losses, one compiled call and one printed loss an epoch); "same_step" is that loop around the
learner's own step, so that what remains is `fit` itself. Both draw a permutation an epoch on the
host. Measured on the VAE and, where overhead shows most, on the small flow. "guarded" is `fit` with
a run folder, and every 1000 steps (six seconds of the VAE's) a checkpoint with its SHA-256 manifest
and one step run twice to find faulty hardware.
"""

from functools import partial

from benchmarks.workload import Operation, Prepared, Side, Target, Workload
from benchmarks.workloads import small_maf_epoch, vae_epoch

GUARD_EVERY = 1000


def vae_side(tiny: bool) -> Prepared:
    import flax.linen as nn

    from dgmjax import models, objectives

    vae = models.dense_vae(
        (vae_epoch.PIXELS,), vae_epoch.LATENT, (vae_epoch.HIDDEN,), activation=nn.relu
    )
    return prepare(vae, objectives.elbo, {"x": vae_epoch.images(tiny)})


def small_maf_side(tiny: bool) -> Prepared:
    from dgmjax import models, objectives

    maf = small_maf_epoch
    flow = models.MAF(maf.FEATURES, maf.LAYERS, (maf.HIDDEN,))
    data = {"x": maf.points(maf.train_points(tiny))}
    return prepare(flow, objectives.negative_log_likelihood, data)


def prepare(module, objective, data, batch_size: int = 100) -> Prepared:
    import optax

    from benchmarks.workloads.ours import epochs_of_fit, learner_and_count

    optimiser = optax.adam(1e-3)
    learner, parameters = learner_and_count(module, objective, optimiser, data, batch_size)
    plain = partial(plain_step, module, objective, optimiser)
    operations = {
        "fit": epochs_of_fit(learner, data, batch_size),
        "guarded": epochs_of_fit(learner, data, batch_size, GUARD_EVERY),
        "same_step": epochs_by_hand(partial(same_step, learner), learner, data, batch_size),
        "by_hand": epochs_by_hand(plain, learner, data, batch_size),
    }
    return Prepared(operations, {"parameters": parameters})


def same_step(learner, state, batch, key):
    del key
    state, metrics = learner.step(state, batch)
    return state, metrics["loss"]


def plain_step(module, objective, optimiser, state, batch, key):
    """A step as one writes it: no other metrics, no guard against steps that are not finite."""
    import jax
    import optax

    def loss_fn(params):
        return module.apply({"params": params}, batch, key, method=objective)[0].mean()

    loss, gradient = jax.value_and_grad(loss_fn)(state.params)
    updates, moments = optimiser.update(gradient, state.optimisers["model"], state.params)
    params = optax.apply_updates(state.params, updates)
    return state.replace(params=params, optimisers={"model": moments}), loss


def epochs_by_hand(step, learner, data, batch_size: int) -> Operation:
    import jax
    import jax.numpy as jnp
    import numpy as np

    arrays = jax.device_put(data)
    num = len(data["x"])
    steps = num // batch_size

    @partial(jax.jit, donate_argnums=0)
    def run(state, arrays, rows, key):
        def body(i, carry):
            state, total = carry
            batch = {name: array[rows[i]] for name, array in arrays.items()}
            state, loss = step(state, batch, jax.random.fold_in(key, i))
            return state, total + loss

        return jax.lax.fori_loop(0, steps, body, (state, jnp.zeros(())))

    first = {name: array[:batch_size] for name, array in data.items()}
    start = jax.jit(learner.init)(jax.random.key(0), first)
    rng = np.random.default_rng(0)
    memory = {"state": start}

    def epoch(n: int) -> None:
        for i in range(n):
            order = rng.permutation(num)[: steps * batch_size].astype(np.int32)
            rows = jnp.asarray(order.reshape(steps, batch_size))
            memory["state"], total = run(memory["state"], arrays, rows, jax.random.key(i))
            float(total)

    return epoch


def _targets(side: str) -> tuple[Target, ...]:
    return (
        Target(f"fit / loop by hand, {side}", (side, "fit"), (side, "by_hand"), at_most=1.02),
        Target(
            f"fit / loop by hand around the same step, {side}",
            (side, "fit"),
            (side, "same_step"),
            at_most=1.02,
        ),
    )


WORKLOAD = Workload(
    name="fit_overhead",
    title="`fit` against a loop written by hand",
    unit="epoch",
    sides={
        "vae": Side(vae_side, {"fit": 3, "same_step": 3, "by_hand": 3, "guarded": 10}),
        "small_maf": Side(
            small_maf_side, {"fit": 20, "same_step": 20, "by_hand": 20, "guarded": 200}
        ),
    },
    targets=(
        *_targets("vae"),
        *_targets("small_maf"),
        Target(
            "fit with checkpoints and replay / fit without, vae",
            ("vae", "guarded"),
            ("vae", "fit"),
            at_most=1.02,
        ),
    ),
    equal_facts=(),
    rounds=9,
)
