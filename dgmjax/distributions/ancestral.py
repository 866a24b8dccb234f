"""Chains of latent variables: p(z) = p(z_a) p(z_b | z_a) p(z_c | z_a, z_b) ..."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.contracts import absorbs_latents
from dgmjax.distributions.base import Distribution
from dgmjax.errors import require
from dgmjax.types import Array, Key, PyTree

Latents = dict[str, Array]


class Ancestral(Distribution):
    """A joint distribution of named latents, each given those drawn before it.

    Events are dicts of arrays, so that a top-down prior and a bottom-up posterior are over the same
    z.

    Args:
      conditionals: name -> function of the state, returning a distribution; in the order of
        drawing. The state is the dict of the latents drawn before, unless a function has a method
        `absorb(state, z)` that returns the next one: a long chain then computes each state once.
        A function is a pytree that carries its parameters as leaves
        (`nn.autoregressive.bind_network`, `jax.tree_util.Partial`) where the object is to go in and
        out of `jit`; any callable otherwise.
      start: the first state; no latents if None.

    >>> import distrax, jax.numpy as jnp
    >>> normal = lambda loc: distrax.Independent(distrax.Normal(loc, jnp.ones_like(loc)), 1)
    >>> chain = Ancestral({"top": lambda z: normal(jnp.zeros(2)),
    ...                    "bottom": lambda z: normal(3.0 * z["top"])})
    >>> {name: z.shape for name, z in chain.sample(seed=0, sample_shape=(5,)).items()}
    {'top': (5, 2), 'bottom': (5, 2)}
    """

    def __init__(
        self, conditionals: Mapping[str, Callable[[Any], Distribution]], start: PyTree = None
    ):
        super().__init__()
        require(len(conditionals) >= 1, "conditionals", "must name at least one latent", "none")
        self.names = tuple(conditionals)
        self.functions = tuple(conditionals.values())
        self.start = {} if start is None else start

    def _after(self, position: int, state: PyTree, z: Array) -> PyTree:
        """The state once the latent of a position is known."""
        function: Any = self.functions[position]
        if absorbs_latents(function):
            return function.absorb(state, z)
        return {**state, self.names[position]: z}

    def _walk(self, choose: Callable[[int, Distribution], Array]) -> tuple[dict, Latents]:
        """Every conditional, and the latents that `choose` takes of each."""
        found, latents, state = {}, {}, self.start
        for position, name in enumerate(self.names):
            found[name] = self.functions[position](state)
            latents[name] = choose(position, found[name])
            if position + 1 < len(self.names):
                state = self._after(position, state, latents[name])
        return found, latents

    def conditional(self, name: str, latents: Latents) -> Distribution:
        """p(z_name | the latents before it)."""
        position, state = self.names.index(name), self.start
        for index, earlier in enumerate(self.names[:position]):
            state = self._after(index, state, latents[earlier])
        return self.functions[position](state)

    def conditionals(self, latents: Latents) -> dict[str, Distribution]:
        """Every conditional along given latents."""
        return self._walk(lambda position, _: latents[self.names[position]])[0]

    @property
    def event_shape(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(d.event_shape) for name, d in self._example().items()}

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.functions[0](self.start).batch_shape)

    def _example(self) -> dict[str, Distribution]:
        return self._walk(lambda _, given: given.sample(seed=jax.random.key(0)))[0]

    def log_probs(self, value: Latents) -> Latents:
        """log p(z_name | before) of every latent, in nats."""
        require(
            isinstance(value, Mapping) and set(value) == set(self.names),
            "value",
            f"must be a dict of the latents {sorted(self.names)}",
            sorted(value) if isinstance(value, Mapping) else type(value).__name__,
        )
        return {
            name: given.log_prob(value[name]) for name, given in self.conditionals(value).items()
        }

    def log_prob(self, value: Latents) -> Array:
        return sum(self.log_probs(value).values(), jnp.zeros(()))

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]):
        batch = (*sample_shape, *self.batch_shape)
        log_probs: list[Array] = []

        def draw(position: int, given: Distribution) -> Array:
            # One that does not read the latents before has no sample axes yet.
            shape = batch[: len(batch) - len(given.batch_shape)]
            seed = jax.random.fold_in(key, position)
            z, log_prob = given.sample_and_log_prob(seed=seed, sample_shape=shape)
            log_probs.append(log_prob)
            return z

        _, latents = self._walk(draw)
        return latents, sum(log_probs, 0.0)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Latents:
        return self.draw_and_log_prob(key, sample_shape)[0]

    def mean(self) -> Latents:
        """The path of conditional means: each given the means before it."""
        return self._walk(lambda _, given: given.mean())[1]
