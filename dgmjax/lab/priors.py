"""Priors fitted to the codes of a trained run: `dgmjax evaluate RUN --prior-after mixture`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.contracts import is_initialising, is_latent_variable_model, takes_a_fit
from dgmjax.data.batches import evaluation_batches
from dgmjax.distributions.families import Normal
from dgmjax.errors import RunError, require
from dgmjax.evaluation.averages import Measurement, average
from dgmjax.lab.experiment import Estimator, Supplement
from dgmjax.lab.pretraining import fitted_mixture
from dgmjax.lab.trained import Trained
from dgmjax.models.flows.recipes import MAF
from dgmjax.models.latent.densities import NormalMixture
from dgmjax.models.latent.second_stage import SecondStage, Standardised, WithPrior
from dgmjax.models.latent.vae import VAE
from dgmjax.models.latent.wrapper import Wrapper
from dgmjax.nn.mlp import MLP
from dgmjax.objectives import elbo, negative_log_likelihood, on_latents
from dgmjax.training.execution import Execution, Validation
from dgmjax.training.fit import fit
from dgmjax.training.learner import Player, abstractly, gradient_learner
from dgmjax.training.optimisers import adam
from dgmjax.types import Array, Batch, Key, Metrics, Objective

PriorName = Literal["normal", "mixture", "flow", "two_stage"]
SEED = 1


class Fit(NamedTuple):
    """How a prior is fitted: a density module of codes, and the objective by which it learns them.

    Attributes:
      prior: length of z -> module.
      objective: of the module on codes; a `models.NormalMixture` is fitted by EM instead.
    """

    prior: Callable[[int], nn.Module]
    objective: Objective = negative_log_likelihood


def second_stage(latent: int, hidden: Sequence[int] = (256, 256)) -> SecondStage:
    """A VAE of vectors with as many latents of its own, as in Dai & Wipf, 2019."""
    widths = tuple(hidden)
    # Rectifiers start with scales whose exponentials overflow the densities of real vectors.
    encoder, decoder = (MLP(widths, (latent, 2), nn.tanh) for _ in range(2))
    vae = VAE(latent, encoder, decoder, Normal(), event_ndims=1, marginal_start=False)
    return SecondStage(vae)


PRIORS: dict[str, Fit] = {
    "normal": Fit(lambda latent: NormalMixture(latent, 1, covariance="full")),
    "mixture": Fit(lambda latent: NormalMixture(latent, 10, covariance="full")),
    "flow": Fit(lambda latent: MAF(latent, 5, (128, 128))),
    "two_stage": Fit(second_stage, elbo),
}
"""By name. The mixture of ten full normals is that of Ghosh et al., 2020."""


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
      trained: of a latent-variable model whose latents are one vector.
      prior: density module of such vectors.
      name: of the prior, for records.
      objective: of the prior on codes `{"x": z}`.
      steps: training steps, of batches of the experiment's size.
      learning_rate: of Adam, which falls to 0 by a cosine.
      seed: of the fit.

    Raises:
      RunError: a run without codes, or with codes of another shape than the prior's.

    Sources: Ghosh, Sajjadi, Vergari, Black & Schoelkopf, "From Variational to Deterministic
    Autoencoders", 2020, section 4 ("ex-post density estimation"),
    https://arxiv.org/abs/1903.12436; Dai & Wipf, "Diagnosing and Enhancing VAE Models", 2019,
    section 4, https://arxiv.org/abs/1903.05789.
    """
    module, variables = _inner(trained)
    latent = _code_shape(trained, module)
    shape = abstractly(prior, lambda prior: tuple(prior().event_shape))
    rule = f"must be over the codes of {trained.experiment.model}, of shape {latent}"
    require(shape == latent, "prior", rule, f"shape {shape}", "", RunError)
    arrays = trained.arrays("train")
    z = drawn_codes(trained, arrays)
    if not takes_a_fit(prior) and _has_parameters(prior, latent):
        loc, scale = z.mean(0), z.std(0) + 1e-6
        prior = Standardised(prior, tuple(map(float, loc)), tuple(map(float, scale)))
        objective = partial(_standardised, objective=objective)
    joined = WithPrior(module, prior)
    loss = partial(_on_codes, objective=objective)
    player = Player(loss, adam(learning_rate, steps), ("prior_model",))
    experiment = replace(
        trained.experiment,
        model=named(trained, name),
        module=joined,
        players={"prior": player},
        validation=None,
        start=None,
        make_learner=None,
        ema_decay=None,
        published={},
    )
    first = {key: array[:2] for key, array in arrays.items()}
    key = jax.random.key(seed)
    free = gradient_learner(joined, {"prior": replace(player, params=None)})
    state = jax.jit(free.init)(key, first)
    kept = {"model": variables["params"]}
    rest = {name: {"model": tree} for name, tree in variables.items() if name != "params"}
    state = replace(state, params={**state.params, **kept}, collections=rest)
    if takes_a_fit(prior):
        mixture = fitted_mixture(z, prior.num_components, prior.covariance, key=key)
        fitted = jax.tree.map(jnp.asarray, prior.fitted(*mixture))
        state = replace(state, params={**kept, "prior_model": fitted})
    elif isinstance(prior, Standardised):
        learner = gradient_learner(joined, {"prior": player})
        of = lambda state: Trained(experiment, learner, replace(state, collections=rest))
        result = fit(
            learner,
            experiment.dataset.splits["train"],
            key=key,
            steps=steps,
            batch_size=experiment.batch_size,
            transform=experiment.transform,
            # Copies, since training donates what it starts from.
            start=lambda params: {**params, **jax.tree.map(jnp.copy, kept)},
            execution=Execution(quiet=True),
            validation=_validation(of, steps)
            if "validation" in experiment.dataset.splits
            else None,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        state = replace(state, params={**state.params, **result.state.params})
    return Trained(
        experiment,
        free,
        state,
        seed=trained.seed,
        step=trained.step,
        seconds=trained.seconds,
        folder=trained.folder,
    )


def named(trained: Trained, name: str) -> str:
    """The model's name in records."""
    return f"{trained.experiment.model}, {name} prior after training"


def _inner(trained: Trained) -> tuple[nn.Module, dict[str, Any]]:
    """The latent-variable model inside of wrappers (a critic of codes), and its variables."""
    module = trained.experiment.module
    variables: dict[str, Any] = dict(trained.learner.variables(trained.state))
    while isinstance(module, Wrapper):
        module = module.model
        variables = {name: tree["model"] for name, tree in variables.items() if "model" in tree}
    return module, variables


def _code_shape(trained: Trained, module: nn.Module) -> tuple[int]:
    """The shape of a code.

    Raises:
      RunError: latents that are not one vector.
    """
    rule, model = "must have codes that are one vector of real numbers", trained.experiment.model
    fits = is_latent_variable_model(module)
    require(fits, "run", rule, f"{model}, without a posterior q(z | x)", "", RunError)
    x = jnp.asarray(trained.arrays("train")["x"][:1])
    read = lambda model, x: (
        model.posterior(x).event_shape,
        model.posterior(x).sample(seed=0).dtype,
    )
    shape, dtype = abstractly(module, read, x)
    vector = isinstance(shape, tuple) and len(shape) == 1 and jnp.issubdtype(dtype, jnp.floating)
    require(vector, "run", rule, f"{model}, with latents {shape} of {dtype}", "", RunError)
    return tuple(shape)


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


def prior_after(
    name: PriorName, steps: int = 5000, others: Sequence[Supplement] = ()
) -> Supplement:
    """The experiment's own estimators again, with a prior of `PRIORS` fitted after training.

    The record `code_nats`, -log p(z) of a code z ~ q(z | x) of the test split, compares priors
    with each other.

    Args:
      name: of the prior.
      steps: see `fit_prior`.
      others: further measurements, made of the model with the fitted prior, too.
    """
    require(name in PRIORS, "name", f"must be one of {sorted(PRIORS)}", repr(name))

    @lru_cache(maxsize=1)
    def of(trained: Trained) -> Trained:
        make, objective = PRIORS[name]
        module, _ = _inner(trained)
        (latent,) = _code_shape(trained, module)
        return fit_prior(trained, make(latent), name=name, objective=objective, steps=steps)

    def again(measure: Callable, trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        return measure(of(trained), arrays)

    def estimators(trained: Trained) -> tuple[Estimator, ...]:
        own = [one for one in trained.experiment.estimators if one.model is None]
        more = [one for other in others for one in other.estimators(of(trained))]
        estimated = "exact" if name != "two_stage" else "one-sample bound"
        codes = Estimator("code_nats", f"log p(z) of z ~ q(z | x), {estimated}", code_nats)
        return tuple(
            replace(
                one,
                measure=partial(again, one.measure),
                model=named(trained, name) if one.model is None else one.model,
                published=None,
            )
            for one in (*own, *more, codes)
        )

    def figure(draw: Callable, trained: Trained) -> Any:
        return draw(of(trained))

    figures = {
        f"{file}_{name}_prior": partial(figure, draw)
        for other in others
        for file, draw in other.figures.items()
    }
    return Supplement(estimators, figures)


def code_nats(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
    """-log p(z) of one draw z ~ q(z | x) of every row."""
    z = drawn_codes(trained, arrays)
    values = [trained.call(_code_nats, z[i : i + 500]) for i in range(0, len(z), 500)]
    return average(np.concatenate([np.asarray(v) for v in values]))


def _code_nats(model, z: Array) -> Array:
    return -model.prior().log_prob(z)
