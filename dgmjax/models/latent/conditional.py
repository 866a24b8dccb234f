"""Conditional VAE: p(x, z | y)."""

from collections.abc import Mapping, Sequence

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.contracts import reads_posterior
from dgmjax.distributions.factorised import Factorised, decoded_shape, factorised
from dgmjax.distributions.families import Bernoulli, Family, Normal
from dgmjax.errors import DataError, as_sizes, require, require_sizes
from dgmjax.models.base import DiagonalNormal, StandardNormal
from dgmjax.models.latent.base import start_at_marginals
from dgmjax.nn.conditioning import class_context
from dgmjax.nn.embeddings import network_input
from dgmjax.nn.mlp import MLP
from dgmjax.types import Activation, Array, Batch, Key


class ConditionalVAE(nn.Module):
    """p(z | y) p(x | z, y) with the posterior q(z | x, y): any bound is one on log p(x | y).

    y is `batch["context"]` `[B, C]` where the batch has it, otherwise the one-hot `batch["label"]`.

    Attributes:
      latent: length of z.
      encoder: `(x[..., *event], y)` -> `[..., latent, 2]`, or the context of `posterior_model`.
      decoder: `(z[..., latent], y)` -> `[..., *event, observation.num_params]`.
      num_classes: C where y is a class; None where batches bring their own `context`.
      observation: family of a site of x.
      prior_model: conditional density module of z, called with y; N(0, I) if None. One that
        reads the posterior (`VampPrior`) is 1/K sum_k q(z | u_k, y) with the y of each row. The
        best prior p(z | y) is the mean of q(z | x, y) over the x of that y, so that u_k are inputs
        x without a y of their own. It costs K passes of the encoder for each row.
      posterior_model: conditional density module of z, whose context is what the encoder
        returns, `[..., C]`; a diagonal normal if None.
      event_ndims: rank of x.
      marginal_start: as in `VAE`.

    Source: Sohn, Lee & Yan, "Learning Structured Output Representation using Deep Conditional
    Generative Models", 2015, section 4,
    https://papers.nips.cc/paper/2015/hash/8d55a249e6baa5c06772297520da2051-Abstract.html.
    """

    latent: int
    encoder: nn.Module
    decoder: nn.Module
    num_classes: int | None = None
    observation: Family = Bernoulli()
    prior_model: nn.Module | None = None
    event_ndims: int = 3
    marginal_start: bool = True
    posterior_model: nn.Module | None = None

    def setup(self):
        require_sizes(latent=self.latent)
        self.prior_module = self.prior_model or StandardNormal((self.latent,))

    def context(self, label: Array) -> Array:
        """One-hot classes `[..., C]`."""
        return class_context(label, self._classes)

    @property
    def _classes(self) -> int:
        """C, of which there must be some."""
        count = self.num_classes or 0
        rule = "must be given, at least 1, where no `context` is"
        require(count >= 1, "num_classes", rule, self.num_classes)
        return count

    def data_rules(self, batch: Batch) -> Mapping[str, Family | range | str]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        if "context" in batch or self.num_classes is None:
            return {"x": self.observation, "context": "real"}
        return {"x": self.observation, "label": range(self.num_classes)}

    def given(self, batch: Batch) -> "GivenContext":
        """The model of this batch, given y.

        Raises:
          DataError: a batch without y, or with one of another shape.
        """
        require(
            "context" in batch or "label" in batch,
            "batch",
            "must hold `label`, or `context`",
            sorted(batch),
            error=DataError,
        )
        name = "context" if "context" in batch else "label"
        if "x" in batch:
            self._check_shape(name, jnp.shape(batch[name]), jnp.shape(batch["x"]))
        return GivenContext(self, batch[name] if name == "context" else self.context(batch[name]))

    def _check_shape(self, name: str, shape: tuple[int, ...], x_shape: tuple[int, ...]) -> None:
        """Raises `DataError` unless y has a row for each of x: a class, or a context `[C]`."""
        wanted = x_shape[: len(x_shape) - self.event_ndims]
        remedy = "Vectors, such as one-hot classes, are named `context`."
        if name == "context":
            found = max((1, *shape[1:][-1:]))  # C, where nothing else says it
            wanted, remedy = (*wanted, self.num_classes or found), "Classes are named `label`."
        rule, given = f"must have shape {wanted}", f"shape {shape}"
        require(shape == wanted, name, rule, given, remedy, DataError)

    def _uniform(self, key: Key, sample_shape: tuple[int, ...]) -> "GivenContext":
        label = jax.random.randint(key, sample_shape, 0, self._classes)
        return GivenContext(self, self.context(label))

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """x given y, `sample_shape + context.shape[:-1] + event`; otherwise of uniform classes."""
        label_key, key = jax.random.split(key)
        if context is not None:
            return GivenContext(self, context).sample(key, sample_shape)
        return self._uniform(label_key, sample_shape).sample(key)

    def mean(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """E[x | z, y] with z drawn from the prior; as `sample`."""
        label_key, key = jax.random.split(key)
        if context is not None:
            return GivenContext(self, context).mean(key, sample_shape)
        return self._uniform(label_key, sample_shape).mean(key)


class GivenContext:
    """A conditional VAE given y `[*batch, C]`: prior, posterior and likelihood of that y."""

    def __init__(self, model: ConditionalVAE, context: Array):
        self.model, self.y = model, as_float(context)

    def prior(self) -> distrax.Distribution:
        """p(z | y): the batch of y, or none where it does not read it."""
        module = self.model.prior_module
        return module(self._of_inputs) if reads_posterior(module) else module(self.y)

    def _of_inputs(self, x: Array) -> distrax.Distribution:
        """q(z | x_k, y) of inputs `x[K, *event]` and every y, batch shape `[*batch, K]`."""
        batch = self.y.shape[:-1]
        y = jnp.broadcast_to(self.y[..., None, :], (*batch, len(x), self.y.shape[-1]))
        return GivenContext(self.model, y)._posterior(jnp.broadcast_to(x, (*batch, *x.shape)))

    def posterior(self, x: Array) -> distrax.Distribution:
        """q(z | x, y)."""
        model = self.model
        # The decoder is made here, before `likelihood` first calls it, since only here x is known.
        if model.is_initializing() and model.marginal_start:
            inputs = (jnp.zeros((*self.y.shape[:-1], model.latent)), self.y)
            start_at_marginals(model.decoder, model.observation, x, model.event_ndims, *inputs)
        return self._posterior(x)

    def _posterior(self, x: Array) -> distrax.Distribution:
        model = self.model
        encoded = model.encoder(network_input(x, model.observation), self.y)
        if model.posterior_model is not None:
            return model.posterior_model(encoded)
        return distrax.Independent(Normal()(as_float(encoded)), 1)

    def make_all(self) -> None:
        """Makes the parameters of every part, from zeros."""
        self.prior()
        z = jnp.zeros((*self.y.shape[:-1], self.model.latent))
        event = self.likelihood(z).event_shape
        self.posterior(jnp.zeros((*self.y.shape[:-1], *event)))

    def likelihood(self, z: Array) -> Factorised:
        """p(x | z, y) for `z[..., *batch, latent]`."""
        model = self.model
        return factorised(model.observation, model.decoder(z, self.y), model.event_ndims)

    def _draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        """z from the prior, of shape `sample_shape + batch + (latent,)`."""
        if self.model.is_initializing():
            self.make_all()
        prior, batch = self.prior(), self.y.shape[:-1]
        # A prior that does not read y has no batch axes. They are then drawn as sample axes, or all
        # examples would share one z.
        missing = batch[: len(batch) - len(prior.batch_shape)]
        return prior.sample(seed=key, sample_shape=(*sample_shape, *missing))

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """x ~ p(x | z, y), z ~ p(z | y), `sample_shape + batch + event`."""
        z_key, x_key = jax.random.split(key)
        return self.likelihood(self._draw(z_key, sample_shape)).sample(seed=x_key)

    def mean(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """E[x | z, y] with z ~ p(z | y)."""
        return self.likelihood(self._draw(key, sample_shape)).mean()

    def reconstruct(self, x: Array, key: Key) -> Array:
        """E[x' | z, y] with z ~ q(z | x, y)."""
        if self.model.is_initializing():
            self.make_all()
        return self.likelihood(self.posterior(x).sample(seed=key)).mean()


def DenseCVAE(
    event_shape: Sequence[int],
    latent: int,
    hidden: Sequence[int],
    *,
    num_classes: int | None = None,
    activation: Activation = nn.tanh,
    observation: Family | None = None,
    conditional_prior: bool = False,
    prior_model: nn.Module | None = None,
    posterior_model: nn.Module | None = None,
) -> ConditionalVAE:
    """A conditional VAE of MLPs that read y beside x and beside z.

    Args:
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      num_classes: C where y is a class.
      conditional_prior: learn p(z | y), a normal linear in y; N(0, I) otherwise.
      prior_model: p(z | y) in its place, see `ConditionalVAE`.
      posterior_model: of q(z | x, y), whose context is the encoder's last hidden layer.

    >>> import jax.numpy as jnp
    >>> cvae = DenseCVAE((4,), 2, (8,), num_classes=3)
    >>> batch = {"x": jnp.zeros((3, 4)), "label": jnp.arange(3)}
    >>> variables = cvae.init(jax.random.key(0), batch,
    ...     method=lambda model, batch: model.given(batch).reconstruct(batch["x"],
    ...                                                                jax.random.key(1)))
    >>> cvae.apply(variables, jax.random.key(0), (2,), jnp.eye(3), method="sample").shape
    (2, 3, 4)
    """
    family: Family = observation or Bernoulli()
    event, units = as_sizes("event_shape", event_shape), as_sizes("hidden", hidden)
    require(len(units) >= 1, "hidden", "must name at least one layer", units)
    one = prior_model is None or not conditional_prior
    rule = "must be None where `conditional_prior` is asked for"
    require(one, "prior_model", rule, type(prior_model).__name__)
    if conditional_prior:
        prior_model = DiagonalNormal((latent,))
    ndims = len(event)
    if posterior_model is None:
        encoder = MLP(units, (latent, 2), activation, event_ndims=ndims)
    else:
        encoder = MLP(units[:-1], units[-1:], activation, ndims, activate_output=True)
    return ConditionalVAE(
        latent=latent,
        encoder=encoder,
        decoder=MLP(tuple(reversed(units)), decoded_shape(family, event), activation),
        num_classes=num_classes,
        observation=family,
        prior_model=prior_model,
        event_ndims=ndims,
        posterior_model=posterior_model,
    )
