"""Contracts: what objectives, training and evaluation expect of a model, and how they query it.

A model is any object with the methods of a protocol: a bound Flax module, an NNX module, or a class
written by hand. Inheritance is not required. Shapes are `sample_shape + batch_shape + event_shape`;
log-densities are in nats, one per example; methods are pure functions of their arguments and the
parameters, and can be traced. Whether distributions are normalised, and whether a posterior covers
the prior's events, is not checked.

Objectives access a model only through the functions below:

- `given(model, batch)`: the latent-variable model of a batch, in the units of the raw data;
- `log_density(model, batch)`: the log-density of a batch, in the units of the raw data;
- `log_joint(model, x, z)`: a model's own joint density, or its prior and likelihood;
- `implicit(model, batch)`: the sampler and critic of a batch;
- `is_initialising(model)`: whether the parameters of a model are being made.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import jax.numpy as jnp

from dgmjax.errors import DataError, require
from dgmjax.types import Array, Batch, Key, PyTree

if TYPE_CHECKING:
    import distrax

    from dgmjax.distributions.families import Family
    from dgmjax.inference.filtering import Filtering


class DensityModel(Protocol):
    """A model with an exact density: flows, autoregressive models, linear-Gaussian models."""

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x | context) in nats, of the batch shape of `x[..., *event]`."""
        ...

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples `[*sample_shape, *batch, *event]`; the batch is that of the context."""
        ...


class LatentVariableModel(Protocol):
    """p(x, z) = p(z) p(x | z) with a posterior q(z | x); z may be a pytree.

    A model whose joint density does not split that way also has `log_joint(x, z)`, which is used in
    place of prior and likelihood.
    """

    def prior(self) -> "distrax.Distribution":
        """p(z), without a batch shape, or with that of the batch it is given."""
        ...

    def posterior(self, x: Array) -> "distrax.Distribution":
        """q(z | x), whose batch shape is that of x."""
        ...

    def likelihood(self, z: PyTree) -> Any:
        """p(x | z): `log_prob(x)` of the batch shape of z; for figures `mean()` or `sample`."""
        ...


class ConditionalModel(Protocol):
    """A model that reads more of a batch than `x`: a class, a second modality, earlier frames.

    VRNN, conditional and multimodal VAEs are latent-variable models by way of `given`.
    """

    def given(self, batch: Batch) -> LatentVariableModel:
        """The model of this batch. Raises `DataError` where the batch lacks what it reads."""
        ...


class ImplicitModel(Protocol):
    """A sampler without a density, and a critic that judges its samples.

    With `prior()` and `generate(z)` it can be evaluated behind a fixed observation
    (`evaluation.FixedObservation`). A class-conditional one has `of_classes`, see `implicit`. One
    whose critic judges more than samples (pairs of x and its code) has `pairs(batch, key)`, the
    events of the data and those that the model makes, pytrees alike, which `logit` then reads.
    """

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """Samples `[*sample_shape, *event]`, differentiable with respect to the parameters."""
        ...

    def logit(self, x: Array) -> Array:
        """The critic's value `[...]`: unbounded, or the logit of "x is data"."""
        ...

    def features(self, x: Array) -> Array:
        """The critic's output `[..., F]`, for games that compare features."""
        ...


class EnergyBased(Protocol):
    """A density known up to its normaliser, and a Markov kernel that leaves it invariant."""

    def energy(self, x: Array) -> Array:
        """-log p(x) up to a constant, `[...]` in nats."""
        ...

    def transition(self, key: Key, x: Array) -> Array:
        """The next state of chains at `x[..., *event]`."""
        ...


class Anneals(EnergyBased, Protocol):
    """An energy whose normaliser annealing estimates: `models.RBM`."""

    def annealing(self, rates: Any = None) -> Any:
        """`inference.AnchoredPath` from a density that is known, such as one of these means."""
        ...


class KeepsChains(Protocol):
    """A model that keeps chains between the steps of training: `models.RBM`."""

    def chains(self) -> Array:
        """Where they are, `[C, *event]`."""
        ...

    def keep(self, x: Array) -> None:
        """Puts them at x, in training."""
        ...


class Denoiser(Protocol):
    """A network over noisy data; with its process it is a density model.

    Time runs from the data (0) to noise (1).

    Attributes:
      predicts: which of four equivalent quantities `predict` returns.
    """

    predicts: Literal["score", "noise", "data", "velocity"]

    def predict(self, x: Array, t: Array, context: Array | None = None) -> Array:
        """The prediction for `x[..., *event]` at times `t[...]`, of the shape of x."""
        ...

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples of the data, `[*sample_shape, *batch, *event]`."""
        ...

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x) in nats."""
        ...

    def log_prob_and_error(
        self, x: Array, key: Key, context: Array | None = None
    ) -> tuple[Array, Array | None]:
        """log p(x) in nats, and its standard error where the trace is estimated."""
        ...

    def bound(self, x: Array, key: Key, context: Array | None = None) -> Array:
        """A lower bound on log p(x) in nats."""
        ...


class StartsAtMarginals(Protocol):
    """A network whose output bias can be set to the marginals of the data.

    A pixel that never varies learns its rate from the bias alone, which takes thousands of steps.
    Meanwhile the KL term of a VAE switches off latents that it needs later.
    """

    def start_at_marginals(self, family: "Family", x: Array) -> None:
        """Sets the parameters that are being made so that outputs start at the marginals of x."""
        ...


class ReadsMask(Protocol):
    """A density that depends on the whole batch, as with batch normalisation, except its padding.

    Attributes:
      reads_mask: True.
    """

    reads_mask: bool

    def log_prob(
        self, x: Array, context: Array | None = None, *, mask: Array | None = None
    ) -> Array:
        """log p(x | context) in nats; `mask[B]` is 1 for the rows that are data."""
        ...


class Quantises(Protocol):
    """A model whose latents are codes: `models.VQVAE`."""

    def quantise(
        self, x: Array, key: Key | None = None, mask: Array | None = None
    ) -> tuple[Any, ...]:
        """An `nn.Quantised` for each level; `mask[B]` is 1 for the rows that are data."""
        ...


class HasBaseline(Protocol):
    """A model that predicts its own learning signal: `models.WithBaseline`."""

    def baseline(self, x: Array) -> Array:
        """b(x) `[B]`, in nats, which no sample of the step enters."""
        ...

    def signal_scale(self) -> Array:
        """What the signal is divided by."""
        ...

    def observe(self, residual: Array, mask: Array | None = None) -> None:
        """Is told signal - b(x) `[..., B]`, in training."""
        ...


class HasControlVariate(Protocol):
    """A model with a control variate of its own: `models.WithControlVariate`."""

    def control_variate(self, x: Array, z: PyTree) -> Any:
        """A pytree with `temperature`, `scale` and `residual(x, z)`."""
        ...


Rule = Any
"""What an array of a batch must hold:

- a family: values that it covers;
- a `range`: one of its integers in each row, such as a class or a length;
- "real": finite numbers;
- "prefix": 0 or 1, in each row ones and then zeros: the steps that a sequence has;
- "present": 0 or 1, a column for each of the rules before this one: the rows in which their arrays
are read. Rows that are not read may hold anything finite.
"""


class Filters(Protocol):
    """A latent-variable model of sequences whose densities are products over time.

    VRNN, and state-space models with any transition and emission.
    """

    def filtering(self) -> "Filtering":
        """A proposal of every step and the weight of what it proposes."""
        ...


class ReadsBatches(Protocol):
    """A model that states what it reads of a batch, so that data are checked before training."""

    def data_rules(self, batch: Mapping[str, Any]) -> Mapping[str, Rule]:
        """A rule for every array that the model reads from such a batch."""
        ...


def data_rules(model: Any, arrays: Mapping[str, Any]) -> Mapping[str, Rule]:
    """The model's own `data_rules`, otherwise those of its `observation` or `family` for `x`."""
    own = getattr(model, "data_rules", None)
    if own is not None:
        return own(arrays)
    family = getattr(model, "observation", None) or getattr(model, "family", None)
    return {"context": "real"} if family is None else {"x": family, "context": "real"}


def is_conditional(model: Any) -> bool:
    """Whether the model reads more of a batch than `x` (`ConditionalModel`)."""
    return hasattr(model, "given")


def is_latent_variable_model(model: Any) -> bool:
    """Whether the model has a prior and a posterior of x alone (`LatentVariableModel`)."""
    return not is_conditional(model) and hasattr(model, "prior") and hasattr(model, "posterior")


def starts_at_marginals(network: Any) -> bool:
    """Whether the network offers `StartsAtMarginals`."""
    return hasattr(network, "start_at_marginals")


def reads_posterior(prior: Any) -> bool:
    """Whether a prior is called with the posterior, a function of x (`models.VampPrior`)."""
    return bool(getattr(prior, "reads_posterior", False))


def reads_mask(model: Any) -> bool:
    """Whether the density's `log_prob` takes a `mask` (`ReadsMask`)."""
    return bool(getattr(model, "reads_mask", False))


def looks_at_batches(layer: Any) -> bool:
    """Whether a layer of a flow has an `observe` of its own (`models.flows.layers.FlowLayer`)."""
    return hasattr(layer, "observe")


def has_codes(model: Any) -> bool:
    """Whether the latents of a model are codes (`Quantises`)."""
    return hasattr(model, "quantise")


def bounds_classes(model: Any) -> bool:
    """Whether a model bounds log p(x, y) of every class (`models.SemiSupervisedVAE`)."""
    return hasattr(model, "class_bounds")


def scores_classes(model: Any) -> bool:
    """Whether a model has log p(x, y) of every class (`models.ClassConditional`)."""
    return hasattr(model, "log_joint") and hasattr(model, "num_classes")


def generates(model: Any) -> bool:
    """Whether samples are an image `generate(z)` of latents z ~ `prior()`, as of `models.GAN`."""
    return hasattr(model, "generate") and hasattr(model, "prior")


def pushes_forward(model: Any) -> bool:
    """Whether x is `bijector().forward(z)` of a base density, as of `models.Flow`."""
    return hasattr(model, "bijector") and callable(model)


def filters(model: Any) -> bool:
    """Whether a particle filter can run over a model's sequences (`Filters`)."""
    return hasattr(model, "filtering")


def is_energy_based(model: Any) -> bool:
    """Whether a model is known up to its normaliser (`EnergyBased`)."""
    return hasattr(model, "energy") and hasattr(model, "transition")


def anneals(model: Any) -> bool:
    """Whether annealing estimates a model's normaliser (`Anneals`)."""
    return is_energy_based(model) and hasattr(model, "annealing")


def keeps_chains(model: Any) -> bool:
    """Whether a model keeps chains between the steps of training (`KeepsChains`)."""
    return hasattr(model, "chains") and hasattr(model, "keep")


def has_baseline(model: Any) -> bool:
    """Whether a model predicts its learning signal (`HasBaseline`)."""
    return hasattr(model, "baseline")


def has_control_variate(model: Any) -> bool:
    """Whether a model has a control variate (`HasControlVariate`)."""
    return hasattr(model, "control_variate")


def scores_sites(likelihood: Any) -> bool:
    """Whether `site_log_prob(x)` gives log p of each site, as of `distributions.Factorised`."""
    return hasattr(likelihood, "site_log_prob")


def diverges_along_paths(posterior: Any) -> bool:
    """Whether `kl_along(prior, z)` is known, as of `distributions.Sequential`."""
    return hasattr(posterior, "kl_along")


def absorbs_latents(conditional: Any) -> bool:
    """Whether a conditional of a chain says how latents change its state: `absorb(state, z)`."""
    return hasattr(conditional, "absorb")


def is_mixture(distribution: Any) -> bool:
    """Whether a distribution has `components` and `responsibilities(z)`, as of a `Mixture`."""
    return hasattr(distribution, "components") and hasattr(distribution, "responsibilities")


def manifold_of(distribution: Any) -> str | None:
    """What a distribution's events lie on where that is not all of R^D, such as a sphere."""
    return getattr(distribution, "manifold", None)


def takes_a_fit(prior: Any) -> bool:
    """Whether `fitted(logits, loc, scale)` makes a prior's parameters (`models.NormalMixture`)."""
    return hasattr(prior, "fitted")


def holds_global_latents(model: Any) -> bool:
    """Whether a model has parameters of q(g) and a conjugate prior (`models.ConjugateModel`)."""
    return hasattr(model, "global_parameters") and hasattr(model, "conjugate")


def draws_conditionals(distribution: Any) -> bool:
    """Whether samples come with p(x_t | z_<t), as of `distributions.ParallelAutoregressive`."""
    return hasattr(distribution, "draw_and_conditionals")


def is_autoregressive(distribution: Any) -> bool:
    """Whether `family(params(x))` gives the conditionals of x (`distributions.Autoregressive`)."""
    return hasattr(distribution, "params") and hasattr(distribution, "family")


def reorders_sites(network: Any) -> bool:
    """Whether `reindexed(params, permutations)` changes the order of a network's sites."""
    return hasattr(network, "reindexed")


def runs_step_by_step(network: Any) -> bool:
    """Whether a network has `init_carry` and `step` (`bijectors.AutoregressiveNetwork`)."""
    return hasattr(network, "step")


def runs_em(module: Any) -> bool:
    """Whether a module is fitted by EM (`models.classical.base.EMModel`)."""
    return hasattr(module, "em_start") and hasattr(module, "em_step")


def shows_latents(model: Any) -> bool:
    """Whether `shown(z, key)` says what figures show of a latent."""
    return hasattr(model, "shown")


def offers(module: Any, method: str) -> bool:
    """Whether a module has the method that a row of a table (of figures) names."""
    return hasattr(module, method)


def is_initialising(model: Any) -> bool:
    """Whether the parameters of a model are being made; False for models that do not say so."""
    asked = getattr(model, "is_initializing", None)
    return bool(asked()) if callable(asked) else False


def is_judged(model: Any) -> bool:
    """Whether a model has samples and a critic with a value for each (`ImplicitModel`)."""
    return hasattr(model, "sample") and hasattr(model, "logit")


def makes_pairs(model: Any) -> bool:
    """Whether an implicit model says itself what its critic compares: `pairs(batch, key)`."""
    return hasattr(model, "pairs")


def recognises_codes(model: Any) -> bool:
    """Whether a generator's codes can be recognised: `codes` and `log_recognition`."""
    return hasattr(model, "log_recognition")


def reads_classes(model: Any) -> bool:
    """Whether an implicit model is class-conditional: `of_classes(label)` is that of classes."""
    return getattr(model, "num_classes", None) is not None and hasattr(model, "of_classes")


def encodes(model: Any) -> bool:
    """Whether a generator has an encoder beside it: `encode(x)`."""
    return hasattr(model, "encode") and hasattr(model, "generate")


def has_bijector(model: Any) -> bool:
    """Whether a density is that of a base under `bijector(context)`."""
    return hasattr(model, "bijector")


def context_of(model: Any, label: int, num: int) -> Array:
    """What `sample(key, (), context)` of a model reads for `num` samples of a class.

    Raises:
      DgmjaxError: a model without classes, or a class that there is not.
    """
    count = getattr(model, "num_classes", None) or 0
    without = "must be left out for a model without classes"
    rule = f"must be in 0 .. {count - 1}" if count else without
    require(0 <= label < count, "label", rule, label)
    labels = jnp.full(num, label)
    if reads_classes(model):
        return model.of_classes(labels).context
    made = getattr(model, "context", None)
    return made(labels) if callable(made) else labels


def implicit(model: Any, batch: Batch) -> Any:
    """The implicit model of a batch: that of its classes, where the model is conditional.

    Raises:
      DataError: see `check_batch`; or the batch has no `label`, which the model reads.
    """
    check_batch(batch)
    if not reads_classes(model):
        return model
    remedy = "Use a labelled data set, or a model without `num_classes`."
    require("label" in batch, "batch", "must hold `label`", sorted(batch), remedy, DataError)
    return model.of_classes(batch["label"])


def check_batch(batch: Batch) -> None:
    """Raises `DataError` unless a batch holds examples `x`, and a `mask` for each of them."""
    kind = type(batch).__name__
    require(isinstance(batch, Mapping), "batch", "must be a dict of arrays", kind, "", DataError)
    require("x" in batch, "batch", "must hold `x`", sorted(batch), "", DataError)
    shape = jnp.shape(batch["x"])
    some = bool(shape) and shape[0] >= 1
    require(some, "x", "must hold examples", f"shape {shape}", "", DataError)
    mask = jnp.shape(batch["mask"]) if "mask" in batch else shape[:1]
    rule = f"must have a number for each of the {shape[0]} examples of `x`"
    require(mask == shape[:1], "mask", rule, f"shape {mask}", "", DataError)


def original_units(batch: Batch) -> Array | float:
    """log |det| of the transforms that made `x`: added to log p(x), it gives that of raw data."""
    return batch.get("log_det", 0.0)


def counted(batch: Batch) -> Batch:
    """The batch for a model that `given` made: its log-determinant is in the likelihood already."""
    return {name: array for name, array in batch.items() if name != "log_det"}


def given(model: Any, batch: Batch) -> Any:
    """The latent-variable model of a batch, whose likelihood is one of the raw data.

    A conditional model provides it (`ConditionalModel`). If the batch was transformed, likelihood
    and joint density include the log-determinant of the transform.

    Raises:
      DgmjaxError: the model has no posterior.
      DataError: see `check_batch`.
    """
    check_batch(batch)
    found = model.given(batch) if is_conditional(model) else model
    rule = "must be a latent-variable model, with `prior()`, `posterior(x)` and `likelihood(z)`"
    require(hasattr(found, "posterior"), "model", rule, type(model).__name__)
    return in_original_units(found, batch)


def in_original_units(model: Any, batch: Batch) -> Any:
    """The model with a likelihood of the raw data; the model itself where nothing was transformed.

    A model with several likelihoods decides by a method `in_original_units(log_det)` which of them
    was transformed.
    """
    if "log_det" not in batch:
        return model
    own = getattr(model, "in_original_units", None)
    return InOriginalUnits(model, batch["log_det"]) if own is None else own(batch["log_det"])


class InOriginalUnits:
    """A latent-variable model of transformed data: log p(raw x | z) = log p(x | z) + log_det.

    Args:
      model: of the transformed data; all other attributes are passed on.
      log_det: `[B]`, of the transform.
    """

    def __init__(self, model: Any, log_det: Array):
        self.model, self.log_det = model, log_det

    def likelihood(self, z: PyTree) -> "LikelihoodInOriginalUnits":
        """p(raw x | z)."""
        return LikelihoodInOriginalUnits(self.model.likelihood(z), self.log_det)

    def log_joint(self, x: Array, z: PyTree) -> Array:
        """log p(raw x, z) in nats."""
        return log_joint(self.model, x, z) + self.log_det

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "model" not in self.__dict__:  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.model, name)


class LikelihoodInOriginalUnits:
    """A likelihood whose `log_prob` adds a log-determinant `[B]`; the rest is the inner one's."""

    def __init__(self, likelihood: Any, log_det: Array):
        self.inner, self.log_det = likelihood, log_det

    def log_prob(self, value: Array) -> Array:
        """log p(raw x | z) in nats, for the transformed x."""
        return self.inner.log_prob(value) + self.log_det

    def sample_and_log_prob(self, **options: Any) -> tuple[Array, Array]:
        """Samples of the transformed data, and log p(raw x | z) of each, in nats."""
        x, log_prob = self.inner.sample_and_log_prob(**options)
        return x, log_prob + self.log_det

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "inner" not in self.__dict__:  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)


def log_joint(model: Any, x: Array, z: PyTree) -> Array:
    """log p(x, z) in nats: the model's own, or prior and likelihood.

    Raises:
      DgmjaxError: a prior over latents of another shape than z.
    """
    if hasattr(model, "log_joint"):
        return model.log_joint(x, z)
    prior = model.prior()
    check_latents(prior, z)
    return prior.log_prob(z) + model.likelihood(z).log_prob(x)


def log_likelihood(model: Any, x: Array, z: PyTree) -> Array:
    """log p(x | z) in nats: the likelihood, or the model's own joint density less the prior."""
    if hasattr(model, "log_joint"):
        return model.log_joint(x, z) - model.prior().log_prob(z)
    return model.likelihood(z).log_prob(x)


def log_density(model: Any, batch: Batch, **options: Any) -> Array:
    """log p(raw x) of a density model, `[B]`, in nats, given the batch's `context` if it has one.

    Args:
      options: further arguments of the model's `log_prob`.
    """
    context = (batch["context"],) if "context" in batch else ()
    if "mask" in batch and reads_mask(model):
        options["mask"] = batch["mask"]
    return model.log_prob(batch["x"], *context, **options) + original_units(batch)


def check_latents(prior: Any, z: PyTree) -> None:
    """Raises `DgmjaxError` unless z is an event (or a dict of events) of the prior."""
    names = getattr(prior, "names", None)
    if names is not None or isinstance(z, Mapping):
        wanted: Any = sorted(z) if isinstance(z, Mapping) else "one without a name"
        found: Any = sorted(names) if names is not None else tuple(prior.event_shape)
    else:
        found = tuple(prior.event_shape)
        wanted = tuple(z.shape[z.ndim - len(found) :])
    check_same_event(wanted, found)


def check_same_event(posterior: Any, prior: Any) -> None:
    """Raises `DgmjaxError` unless posterior and prior are over the same event."""
    require(
        posterior == prior,
        "prior",
        f"must be over the latents of the posterior, {posterior}",
        prior,
        "Give the prior and the posterior the same latent shape.",
    )
