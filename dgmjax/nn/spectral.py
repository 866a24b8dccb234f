"""Spectral normalisation of any dense or convolutional layer."""

import flax.linen as nn

from dgmjax.errors import require_sizes
from dgmjax.types import Array

COLLECTION = "spectral"
"""Of the singular vectors; training makes it mutable, evaluation does not."""


class Spectral(nn.Module):
    """A layer whose kernel `[..., inputs, outputs]`, as a matrix, has largest singular value 1.

    The singular value is found by power iteration from the vector u of the last step, kept in the
    collection `spectral`. It is always that of the parameters at hand: an average of parameters is
    divided by its own singular value, not by an average of those on the way, nor is u averaged
    (its sign is arbitrary). Since one step of iteration lags behind parameters that are not those
    of the last step, evaluation takes more.

    Attributes:
      layer: `Dense`, `Conv`, or any module with kernels; biases are left alone.
      steps: of power iteration, in training.
      evaluation_steps: where nothing is trained, and to make the first u.

    Source: Miyato, Kataoka, Koyama & Yoshida, "Spectral Normalization for Generative Adversarial
    Networks", 2018, algorithm 1, https://arxiv.org/abs/1802.05957.
    """

    layer: nn.Module
    steps: int = 1
    evaluation_steps: int = 30

    @nn.compact
    def __call__(self, x: Array) -> Array:
        require_sizes(steps=self.steps, evaluation_steps=self.evaluation_steps)
        moves = self.is_mutable_collection(COLLECTION)
        training = moves and not self.is_initializing()
        steps = self.steps if training else self.evaluation_steps
        wrapper = nn.SpectralNorm(self.layer, n_steps=steps, collection_name=COLLECTION)
        return wrapper(x, update_stats=moves)
