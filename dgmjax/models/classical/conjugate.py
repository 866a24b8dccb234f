"""Models of `inference.Conjugate` as modules: their global latents are parameters of a learner."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from flax.core import FrozenDict

from dgmjax.inference.conjugate import latent_dirichlet_allocation
from dgmjax.inference.svi import Conjugate
from dgmjax.types import Array, Batch, Key, PyTree


class ConjugateModel(nn.Module):
    """A conjugate model with q(g) over its global latents, whose parameters are "global".

    Trained by `objectives.natural_gradient` with an optimiser that subtracts a share of the
    gradient (`training.robbins_monro`) it is `inference.stochastic_variational_inference`, as a
    learner that is sharded, saved and resumed as others are.

    Attributes:
      make: a row of `inference`, such as `inference.latent_dirichlet_allocation`.
      options: its arguments, `flax.core.FrozenDict` of hashable ones.
      values: of the data, see `data.validate`.
    """

    make: Callable[..., Conjugate]
    options: FrozenDict
    values: str = "real"

    @property
    def conjugate(self) -> Conjugate:
        """Prior, statistics and divergence."""
        return self.make(**self.options)

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """What arrays must hold, see `contracts.data_rules`."""
        return {"x": self.values}

    @nn.compact
    def global_parameters(self, batch: Batch | None = None) -> PyTree:
        """Those of q(g); where they are made, the batch may say where to start."""
        if self.has_variable("params", "global"):
            return self.get_variable("params", "global")
        return self.param("global", lambda key: self.conjugate.start(key, batch or {}))

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Examples of the model at the mean of q(g)."""
        del context
        parameters, count = self.global_parameters(), 1
        for length in sample_shape:
            count *= length
        drawn = self.conjugate.draw(parameters, key, count)
        return drawn.reshape(*sample_shape, *drawn.shape[1:])


def TopicModel(num_words: int, num_topics: int, **options: Any) -> ConjugateModel:
    """Latent Dirichlet allocation of documents `x[B, num_words]`, counts of words.

    Args:
      options: of `inference.latent_dirichlet_allocation`.

    >>> import jax
    >>> model = TopicModel(num_words=30, num_topics=3)
    >>> key = jax.random.key(0)
    >>> variables = model.init(key, method="global_parameters")
    >>> model.apply(variables, key, (5,), method="sample").shape
    (5, 30)
    """
    sizes = {"num_words": num_words, "num_topics": num_topics}
    return ConjugateModel(latent_dirichlet_allocation, FrozenDict(sizes | options), values="count")
