"""Chains of latent variables: p(z) = p(z_a) p(z_b | z_a) p(z_c | z_a, z_b) ..."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from dgmjax.distributions.base import Distribution
from dgmjax.errors import require
from dgmjax.types import Array, Key

Latents = dict[str, Array]


class Ancestral(Distribution):
    """A joint distribution of named latents, each given those drawn before it.

    Events are dicts of arrays, so that a top-down prior and a bottom-up posterior are over the same
    z.

    Args:
      conditionals: name -> function of the dict of the latents drawn before, returning a
        distribution; in the order of drawing. A function is a pytree that carries its parameters
        as leaves (`nn.autoregressive.bind_network`, `jax.tree_util.Partial`) where the object is
        to go in and out of `jit`; any callable otherwise.

    >>> import distrax, jax.numpy as jnp
    >>> normal = lambda loc: distrax.Independent(distrax.Normal(loc, jnp.ones_like(loc)), 1)
    >>> chain = Ancestral({"top": lambda z: normal(jnp.zeros(2)),
    ...                    "bottom": lambda z: normal(3.0 * z["top"])})
    >>> {name: z.shape for name, z in chain.sample(seed=0, sample_shape=(5,)).items()}
    {'top': (5, 2), 'bottom': (5, 2)}
    """

    def __init__(self, conditionals: Mapping[str, Callable[[Latents], Distribution]]):
        super().__init__()
        require(len(conditionals) >= 1, "conditionals", "must name at least one latent", "none")
        self.names = tuple(conditionals)
        self.functions = tuple(conditionals.values())

    def conditional(self, name: str, latents: Latents) -> Distribution:
        """p(z_name | the latents before it)."""
        position = self.names.index(name)
        before = {earlier: latents[earlier] for earlier in self.names[:position]}
        return self.functions[position](before)

    def conditionals(self, latents: Latents) -> dict[str, Distribution]:
        """Every conditional along given latents."""
        return {name: self.conditional(name, latents) for name in self.names}

    @property
    def event_shape(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(d.event_shape) for name, d in self._example().items()}

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.conditional(self.names[0], {}).batch_shape)

    def _example(self) -> dict[str, Distribution]:
        latents: Latents = {}
        found: dict[str, Distribution] = {}
        for name in self.names:
            found[name] = self.conditional(name, latents)
            latents[name] = found[name].sample(seed=jax.random.key(0))
        return found

    def log_probs(self, value: Latents) -> Latents:
        """log p(z_name | before) of every latent, in nats."""
        require(
            isinstance(value, Mapping) and set(value) == set(self.names),
            "value",
            f"must be a dict of the latents {sorted(self.names)}",
            sorted(value) if isinstance(value, Mapping) else type(value).__name__,
        )
        return {name: self.conditional(name, value).log_prob(value[name]) for name in self.names}

    def log_prob(self, value: Latents) -> Array:
        return sum(self.log_probs(value).values(), jnp.zeros(()))

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]):
        latents: Latents = {}
        total: Array | float = 0.0
        batch: tuple[int, ...] | None = None
        for index, name in enumerate(self.names):
            given = self.conditional(name, latents)
            batch = (*sample_shape, *given.batch_shape) if batch is None else batch
            # One that does not read the latents before has no sample axes yet.
            shape = batch[: len(batch) - len(given.batch_shape)]
            latents[name], log_prob = given.sample_and_log_prob(
                seed=jax.random.fold_in(key, index), sample_shape=shape
            )
            total = total + log_prob
        return latents, total

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Latents:
        return self.draw_and_log_prob(key, sample_shape)[0]

    def mean(self) -> Latents:
        """The path of conditional means: each given the means before it."""
        latents: Latents = {}
        for name in self.names:
            latents[name] = self.conditional(name, latents).mean()
        return latents
