"""Semi-supervised VAEs: the class is a second latent, which is summed over."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.factorised import Factorised, decoded_shape, factorised
from dgmjax.distributions.families import Bernoulli, Family, Normal
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.nn.embeddings import network_input
from dgmjax.nn.joined import JoinedMLP
from dgmjax.types import Activation, Array, Batch, Key


class ClassBounds(NamedTuple):
    """What a batch's rows say of every class.

    Attributes:
      bound: `[B, C]`, a sample of L(x, y), which in expectation is at most log p(x, y), in nats.
      log_q: `[B, C]`, log q(y | x).
    """

    bound: Array
    log_q: Array


class SemiSupervisedVAE(nn.Module):
    """p(y) p(z) p(x | y, z) with q(y | x) q(z | x, y): a classifier inside of a VAE ("M2").

    With auxiliary variables a the posterior is q(a | x) q(y | a, x) q(z | a, x, y), a mixture and
    hence richer, and the model has a p(a | x, y, z), of which only the bound knows ("ADGM"), or,
    with skip connections, p(a | y, z) p(x | a, y, z), two layers of latents ("SDGM"). Classes are
    uniform a priori and are never sampled in training: all are enumerated.

    Attributes:
      event_shape: of x.
      latent: dimensions of z.
      num_classes: C.
      hidden: units of the layers of every network.
      auxiliary: dimensions of a; 0 for none.
      skip: whether the decoder reads a.
      observation: family of a site of x.
      activation: of the hidden layers.

    Sources: Kingma, Rezende, Mohamed & Welling, "Semi-supervised Learning with Deep Generative
    Models", 2014, section 2.2, https://arxiv.org/abs/1406.5298; Maaloe, Sonderby, Sonderby &
    Winther, "Auxiliary Deep Generative Models", 2016, sections 2.2 and 3.2,
    https://arxiv.org/abs/1602.05473.

    >>> model = SemiSupervisedVAE((4,), latent=2, num_classes=3, hidden=(8,))
    >>> x = jnp.zeros((5, 4))
    >>> variables = model.init(jax.random.key(0), x, jax.random.key(1), method="class_bounds")
    >>> model.apply(variables, x, method="classify").shape
    (5, 3)
    """

    event_shape: Sequence[int]
    latent: int
    num_classes: int
    hidden: Sequence[int]
    auxiliary: int = 0
    skip: bool = False
    observation: Family = Bernoulli()
    activation: Activation = nn.softplus

    def setup(self):
        require_sizes(latent=self.latent, num_classes=self.num_classes)
        require(self.auxiliary >= 0, "auxiliary", "must be at least 0", self.auxiliary)
        rule = "must be False without auxiliary variables"
        require(self.auxiliary > 0 or not self.skip, "skip", rule, self.skip)
        hidden, event = as_sizes("hidden", self.hidden), as_sizes("event_shape", self.event_shape)
        network = lambda *output: JoinedMLP(hidden, output, self.activation)
        self.classifier = network(self.num_classes)
        self.encoder = network(self.latent, 2)
        self.decoder = network(*decoded_shape(self.observation, event))
        if self.auxiliary:
            self.auxiliary_encoder = network(self.auxiliary, 2)
            self.auxiliary_decoder = network(self.auxiliary, 2)

    def data_rules(self, batch: Batch) -> Mapping[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        return {"x": self.observation, "label": range(-1, self.num_classes)}

    def _features(self, x: Array) -> Array:
        event = tuple(self.event_shape)
        batch = x.shape[: x.ndim - len(event)]
        require(x.shape[len(batch) :] == event, "x", f"must end in {event}", f"shape {x.shape}")
        size = math.prod(x.shape[len(batch) :])
        return as_float(network_input(x, self.observation)).reshape(*batch, size)

    def _auxiliary(self, h: Array, key: Key | None, shape: tuple[int, ...] = ()) -> Any:
        """A sample of a, as a tuple of inputs, and log q(a | x); empty and 0 without a."""
        if not self.auxiliary:
            return (), jnp.zeros(h.shape[:-1])
        q = distrax.Independent(Normal()(as_float(self.auxiliary_encoder(h))), 1)
        require(key is not None, "key", "must be given to a model with auxiliary variables", "none")
        a, log_q = q.sample_and_log_prob(seed=key, sample_shape=shape)
        return (a,), log_q

    def class_bounds(self, x: Array, key: Key) -> ClassBounds:
        """L(x, y) of every class by one sample of a, and of z for each class; and log q(y | a, x).

        L(x, y) = log p(x, y, z, a) - log q(a | x) - KL(q(z | a, x, y) || N(0, I)) without log q(y).
        """
        a_key, z_key = jax.random.split(key)
        h = self._features(x)
        a, log_q_a = self._auxiliary(h, a_key)
        log_q = jax.nn.log_softmax(as_float(self.classifier(h, *a)))
        bound = self._bound(z_key, x, h, jnp.eye(self.num_classes)[:, None], a, log_q_a)
        return ClassBounds(bound.T, log_q)

    def label_bounds(self, x: Array, label: Array, key: Key) -> ClassBounds:
        """`class_bounds` of the classes `label[B]` alone, `[B]` each, at the cost of one class."""
        a_key, z_key = jax.random.split(key)
        h = self._features(x)
        a, log_q_a = self._auxiliary(h, a_key)
        y = jax.nn.one_hot(label, self.num_classes)
        log_q = (y * jax.nn.log_softmax(as_float(self.classifier(h, *a)))).sum(-1)
        return ClassBounds(self._bound(z_key, x, h, y, a, log_q_a), log_q)

    def _bound(
        self, key: Key, x: Array, h: Array, y: Array, a: tuple[Array, ...], log_q_a: Array
    ) -> Array:
        q = distrax.Independent(Normal()(as_float(self.encoder(h, y, *a))), 1)
        z = q.sample(seed=key)
        kl = q.kl_divergence(distrax.Independent(Normal()(jnp.zeros((self.latent, 2))), 1))
        log_p = self._likelihood(z, y, a if self.skip else ()).log_prob(x)
        if self.auxiliary:
            read = (z, y) if self.skip else (h, z, y)
            p_a = distrax.Independent(Normal()(as_float(self.auxiliary_decoder(*read))), 1)
            log_p = log_p + p_a.log_prob(a[0]) - log_q_a
        return log_p - kl - jnp.log(self.num_classes)

    def _likelihood(self, z: Array, y: Array, a: tuple[Array, ...]) -> Factorised:
        params = self.decoder(z, y, *a)
        return factorised(self.observation, params, len(self.event_shape))

    def classify(self, x: Array, key: Key | None = None, num_samples: int = 1) -> Array:
        """log q(y | x), `[B, C]`; with auxiliary variables of the mean over samples of a."""
        h = self._features(x)
        a, _ = self._auxiliary(h, key, (num_samples,))
        log_q = jax.nn.log_softmax(as_float(self.classifier(h, *a)))
        if not self.auxiliary:
            return log_q
        return jax.nn.logsumexp(log_q, axis=0) - jnp.log(num_samples)

    def _draw_auxiliary(self, key: Key, z: Array, y: Array) -> tuple[Array, ...]:
        """a of the model, where the decoder reads it."""
        if not self.skip:
            return ()
        p = distrax.Independent(Normal()(as_float(self.auxiliary_decoder(z, y))), 1)
        return (p.sample(seed=key),)

    def of_classes(self, label: Array, key: Key) -> Factorised:
        """p(x | y, z) with z from the prior, for classes `label[B]`."""
        z_key, a_key = jax.random.split(key)
        z = jax.random.normal(z_key, (*label.shape, self.latent))
        y = jax.nn.one_hot(label, self.num_classes)
        return self._likelihood(z, y, self._draw_auxiliary(a_key, z, y))

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """x of uniform classes, `[*sample_shape, *event]`."""
        if self.is_initializing():
            self.class_bounds(jnp.zeros((1, *self.event_shape)), key)
        label_key, key, x_key = jax.random.split(key, 3)
        label = jax.random.randint(label_key, sample_shape, 0, self.num_classes)
        return self.of_classes(label, key).sample(seed=x_key)

    def analogies(self, x: Array, key: Key) -> Array:
        """E[x' | y, z] of every class in the style of x: z is the mean of q(z | x, its class).

        `[B, C, *event]`; the class is the one that the model finds most probable.
        """
        a_key, b_key = jax.random.split(key)
        h = self._features(x)
        a, _ = self._auxiliary(h, a_key)
        found = jax.nn.one_hot(jnp.argmax(self.classifier(h, *a), -1), self.num_classes)
        z = as_float(self.encoder(h, found, *a))[..., 0][:, None]
        y = jnp.eye(self.num_classes)
        wide = jnp.broadcast_to(z, (len(x), self.num_classes, self.latent))
        return self._likelihood(z, y, self._draw_auxiliary(b_key, wide, y)).mean()
