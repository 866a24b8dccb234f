"""Fitting of a prior to the codes of a trained run."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.contracts import is_initialising, is_latent_variable_model, manifold_of, takes_a_fit
from dgmjax.data.batches import evaluation_batches
from dgmjax.errors import RunError, require
from dgmjax.lab.experiment import Experiment
from dgmjax.lab.pretraining import fitted_mixture
from dgmjax.lab.trained import Trained
from dgmjax.models.latent.second_stage import Standardised, WithPrior
from dgmjax.models.latent.wrapper import Wrapper
from dgmjax.objectives import negative_log_likelihood, on_latents
from dgmjax.training.execution import Execution, Validation
from dgmjax.training.fit import fit
from dgmjax.training.learner import Player, abstractly, gradient_learner
from dgmjax.training.optimisers import adam
from dgmjax.types import Array, Batch, Key, Metrics, Objective, PyTree

SEED = 1


def fit_prior(
    trained: Trained,
    prior: nn.Module,
    *,
    name: str = "fitted",
    objective: Objective = negative_log_likelihood,
    steps: int = 5000,
    learning_rate: float = 1e-3,
    seed: int = SEED,
) -> Trained:
    """The trained model with `prior` fitted to its codes; encoder and decoder are as they were.

    The codes are draws z ~ q(z | x) of the training split. A `models.NormalMixture` is fitted to
    one draw of each example by EM; any other module descends gradients of `objective`, on fresh
    draws in each step, standardised by the moments of those (`models.Standardised`), and keeps the
    parameters that are best on the validation split, where there is one. A prior without parameters
    is taken as it is.

    The result samples x = decoder(z) with z from the fitted prior, and measures as any other
    trained model.

    Args:
      trained: of a latent-variable model whose latents are one vector. Where codes lie on a
        manifold (a sphere, the Poincare ball), only a prior on the same one has a density there:
        `models.VonMisesFisher`, `models.WrappedNormal`, which codes as they are are fitted to.
      prior: density module of such vectors.
      name: of the prior, for records.
      objective: of the prior on codes `{"x": z}`.
      steps: training steps, of batches of the experiment's size.
      learning_rate: of Adam, which falls to 0 by a cosine.
      seed: of the fit.

    Raises:
      RunError: a run without codes, or a prior of another shape or on another manifold than theirs.

    Sources: Ghosh, Sajjadi, Vergari, Black & Schoelkopf, "From Variational to Deterministic
    Autoencoders", 2020, section 4 ("ex-post density estimation"),
    https://arxiv.org/abs/1903.12436; Dai & Wipf, "Diagnosing and Enhancing VAE Models", 2019,
    section 4, https://arxiv.org/abs/1903.05789.
    """
    module, variables = inner(trained)
    manifold = check_prior(trained, prior)
    z = drawn_codes(trained, trained.arrays("train"))
    mixture, descends = takes_a_fit(prior), _has_parameters(prior, z.shape[1:])
    if descends and not mixture and manifold is None:
        loc, scale = z.mean(0), z.std(0) + 1e-6
        prior = Standardised(prior, tuple(map(float, loc)), tuple(map(float, scale)))
        objective = partial(_standardised, objective=objective)
    loss = partial(_on_codes, objective=objective)
    player = Player(loss, adam(learning_rate, steps), ("prior_model",))
    experiment = replace(
        trained.experiment,
        model=named(trained, name),
        module=WithPrior(module, prior),
        players={"prior": player},
        validation=None,
        start=None,
        make_learner=None,
        ema_decay=None,
        published={},
    )
    key = jax.random.key(seed)
    # Evaluation holds all parameters; the player that trains has the prior's alone.
    learner = gradient_learner(experiment.module, {"prior": replace(player, params=None)})
    first = {name: array[:2] for name, array in trained.arrays("train").items()}
    state = jax.jit(learner.init)(key, first)
    params = {**state.params, "model": variables["params"]}
    rest = {name: {"model": tree} for name, tree in variables.items() if name != "params"}
    if mixture:
        found = fitted_mixture(z, prior.num_components, prior.covariance, key=key)
        params["prior_model"] = jax.tree.map(jnp.asarray, prior.fitted(*found))
    elif descends:
        params = _descended(experiment, params, rest, steps, key)
    return Trained(
        experiment,
        learner,
        replace(state, params=params, collections=rest),
        seed=trained.seed,
        step=trained.step,
        seconds=trained.seconds,
        folder=trained.folder,
    )


def _descended(
    experiment: Experiment, params: PyTree, rest: PyTree, steps: int, key: Key
) -> PyTree:
    """The parameters after training steps, the best of them by the validation split."""
    learner = gradient_learner(experiment.module, experiment.players)
    splits, kept = experiment.dataset.splits, params["model"]
    of = lambda state: Trained(experiment, learner, replace(state, collections=rest))
    result = fit(
        learner,
        splits["train"],
        key=key,
        steps=steps,
        batch_size=experiment.batch_size,
        transform=experiment.transform,
        # Copies, since training donates what it starts from.
        start=lambda params: {**params, "model": jax.tree.map(jnp.copy, kept)},
        execution=Execution(quiet=True),
        validation=_validation(of, steps) if "validation" in splits else None,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    return {**params, **result.state.params}


def named(trained: Trained, name: str) -> str:
    """The model's name in records."""
    return f"{trained.experiment.model}, {name} prior after training"


def inner(trained: Trained) -> tuple[nn.Module, dict[str, Any]]:
    """The latent-variable model inside of wrappers (a critic of codes), and its variables."""
    module = trained.experiment.module
    variables: dict[str, Any] = dict(trained.learner.variables(trained.state))
    while isinstance(module, Wrapper):
        module = module.model
        variables = {name: tree["model"] for name, tree in variables.items() if "model" in tree}
    return module, variables


def code_shape(trained: Trained) -> tuple[tuple[int], str | None]:
    """The shape of a code, and the manifold on which codes lie; None for all of R^D.

    Raises:
      RunError: latents that are not one vector.
    """
    module, _ = inner(trained)
    rule, model = "must have codes that are one vector of real numbers", trained.experiment.model
    fits = is_latent_variable_model(module)
    require(fits, "run", rule, f"{model}, without a posterior q(z | x)", "", RunError)
    x = jnp.asarray(trained.arrays("train")["x"][:1])

    def read(model, x):
        q = model.posterior(x)
        return q.event_shape, q.sample(seed=0).dtype, manifold_of(q)

    shape, dtype, manifold = abstractly(module, read, x)
    vector = isinstance(shape, tuple) and len(shape) == 1 and jnp.issubdtype(dtype, jnp.floating)
    require(vector, "run", rule, f"{model}, with latents {shape} of {dtype}", "", RunError)
    return tuple(shape), manifold


def check_prior(trained: Trained, prior: nn.Module) -> str | None:
    """The manifold on which the codes lie, once `prior` is known to be a density of them.

    Raises:
      RunError: see `fit_prior`.
    """
    latent, manifold = code_shape(trained)
    look = lambda prior: (tuple(prior().event_shape), manifold_of(prior()))
    shape, own = abstractly(prior, look)
    rule = f"must be over the codes of {trained.experiment.model}, of shape {latent}"
    require(shape == latent, "prior", rule, f"shape {shape}", "", RunError)
    place = lambda manifold: manifold or f"R^{latent[0]}"
    rule = (
        f"must be a density on {place(manifold)}, where the codes of {trained.experiment.model} lie"
    )
    remedy = (
        "Give `lab.fit_prior` a prior on it, or take a run whose codes are in R^D, such as one of "
        "a diagonal normal posterior."
    )
    given = f"{type(prior).__name__}, a density on {place(own)}"
    require(own == manifold, "prior", rule, given, remedy if manifold else "", RunError)
    return manifold


def _on_codes(model, batch: Batch, key: Key, *, objective: Objective) -> tuple[Array, Metrics]:
    if is_initialising(model):
        model.make_all()
    return on_latents(model, batch, key, objective=objective)


def _standardised(model, batch: Batch, key: Key, *, objective: Objective) -> tuple[Array, Metrics]:
    z, log_det = model.standard(batch["x"])
    log_det = jnp.full(len(z), log_det)
    return objective(model.model, {"x": z, "log_det": log_det}, key)


def _has_parameters(prior: nn.Module, latent: tuple[int]) -> bool:
    draw = lambda prior: prior().log_prob(jnp.zeros((1, *latent)))
    shapes = jax.eval_shape(partial(prior.init, method=draw), jax.random.key(0))
    return "params" in shapes


def _validation(of: Callable[[Any], Trained], steps: int) -> Validation:
    def validate(state: Any) -> dict[str, float]:
        trained = of(state)
        loss = trained.experiment.players["prior"].objective
        values = trained.per_example(loss, trained.arrays("validation"), 500)
        return {"loss": float(values["loss"].mean())}

    return Validation(validate, every=max(1, steps // 20))


def drawn_codes(trained: Trained, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """One draw z ~ q(z | x) of every row, `[N, *latent]`."""
    key, parts = jax.random.key(SEED), []
    for index, batch in enumerate(evaluation_batches({"x": arrays["x"]}, 500)):
        z = trained.call(_draw, batch["x"], jax.random.fold_in(key, index))
        parts.append(np.asarray(z)[batch["mask"] > 0])
    return np.concatenate(parts)


def _draw(model, x: Array, key: Key) -> Array:
    return model.posterior(x).sample(seed=key)
