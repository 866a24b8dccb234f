"""The cost of `fit` over a loop written by hand under `jit`, with as many steps per call.

Three loops by hand: "by_hand" is what one would write (`value_and_grad`, Adam, the sum of the
losses, one compiled call and one printed loss per epoch); "with_metrics" also sums the objective's
metrics, as `fit` does; "same_step" is the loop around the learner's own step, so that what remains
is `fit` itself. All draw one permutation per epoch on the host. Measured on the VAE with steps of 5
ms (batches of 500) and, where overhead shows most, on the small flow. "guarded" is `fit` with all
that protects a run: non-finite steps are left out, the evaluation after each epoch writes a
checkpoint with its SHA-256 manifest (seldom enough to cost 1/200 of the time), and one step in 1000
is run twice to find faulty hardware. It is measured over 48 epochs (23 s), the others over 5.
"""

from functools import partial

from benchmarks.workload import Operation, Prepared, Side, Target, Workload
from benchmarks.workloads import small_maf_epoch, vae_epoch

REPLAY_EVERY = 1000
LOOPS = ("fit", "same_step", "with_metrics", "by_hand")


def vae_side(tiny: bool) -> Prepared:
    import flax.linen as nn

    from dgmjax import models, objectives

    vae = models.DenseVAE(
        (vae_epoch.PIXELS,), vae_epoch.LATENT, (vae_epoch.HIDDEN,), activation=nn.relu
    )
    return prepare(vae, objectives.elbo, {"x": vae_epoch.images(tiny)}, batch_size=500)


def small_maf_side(tiny: bool) -> Prepared:
    from dgmjax import models, objectives

    maf = small_maf_epoch
    flow = models.MAF(maf.FEATURES, maf.LAYERS, (maf.HIDDEN,))
    data = {"x": maf.points(maf.train_points(tiny))}
    return prepare(flow, objectives.negative_log_likelihood, data, batch_size=100)


def prepare(module, objective, data, batch_size: int) -> Prepared:
    import optax

    from benchmarks.workloads.ours import epochs_of_fit, learner_and_count

    optimiser = optax.adam(1e-3)
    learner, parameters = learner_and_count(module, objective, optimiser, data, batch_size)
    by_hand = lambda step: epochs_by_hand(step, learner, data, batch_size)
    plain = partial(plain_step, module, objective, optimiser)
    operations = {
        "fit": epochs_of_fit(learner, data, batch_size),
        "guarded": epochs_of_fit(learner, data, batch_size, REPLAY_EVERY),
        "same_step": by_hand(partial(same_step, learner)),
        "with_metrics": by_hand(partial(plain, with_metrics=True)),
        "by_hand": by_hand(plain),
    }
    return Prepared(operations, {"parameters": parameters})


def same_step(learner, state, batch, key):
    del key
    return learner.step(state, batch)


def plain_step(module, objective, optimiser, state, batch, key, with_metrics: bool = False):
    """A step as one writes it: no guard against steps that are not finite."""
    import jax
    import optax

    def loss_fn(params):
        loss, metrics = module.apply({"params": params}, batch, key, method=objective)
        metrics = {name: value.mean() for name, value in metrics.items() if with_metrics}
        return loss.mean(), metrics

    (loss, metrics), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    updates, moments = optimiser.update(gradient, state.optimisers["model"], state.params)
    params = optax.apply_updates(state.params, updates)
    state = state.replace(params=params, optimisers={"model": moments})
    return state, {"loss": loss, **metrics}


def epochs_by_hand(step, learner, data, batch_size: int) -> Operation:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    arrays = jax.device_put(data)
    num = len(data["x"])
    steps = num // batch_size

    @partial(jax.jit, donate_argnums=0)
    def run(state, arrays, rows, key):
        def body(i, carry):
            state, totals = carry
            batch = {name: array[rows[i]] for name, array in arrays.items()}
            state, metrics = step(state, batch, jax.random.fold_in(key, i))
            return state, optax.tree.add(totals, metrics)

        return jax.lax.fori_loop(0, steps, body, (state, zeros))

    first = {name: array[:batch_size] for name, array in data.items()}
    start = jax.jit(learner.init)(jax.random.key(0), first)
    rng = np.random.default_rng(0)
    _, metrics = jax.eval_shape(step, start, jax.eval_shape(lambda: first), jax.random.key(0))
    zeros = {name: jnp.zeros(()) for name in metrics}
    memory = {"state": start}

    def epoch(n: int) -> None:
        for i in range(n):
            order = rng.permutation(num)[: steps * batch_size].astype(np.int32)
            rows = jnp.asarray(order.reshape(steps, batch_size))
            memory["state"], totals = run(memory["state"], arrays, rows, jax.random.key(i))
            float(totals["loss"])

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
        Target(
            f"fit with all guards / loop by hand with the same metrics, {side}",
            (side, "guarded"),
            (side, "with_metrics"),
            at_most=1.02,
        ),
    )


WORKLOAD = Workload(
    name="fit_overhead",
    title="`fit` against a loop written by hand",
    unit="epoch",
    sides={
        "vae": Side(vae_side, {name: 5 for name in LOOPS} | {"guarded": 48}),
        "small_maf": Side(small_maf_side, {name: 20 for name in LOOPS} | {"guarded": 200}),
    },
    targets=(*_targets("vae"), *_targets("small_maf")),
    equal_facts=(),
    rounds=9,
)
