"""The exact prediction for a mixture of normals, as a network: what training ends at."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import noising


class OptimalDenoiser(nn.Module):
    """E[x_0 | x_t] of a process where p(x_0) is a mixture of spherical normals, in any kind.

    x_0 of component k is normal with mean m_k and deviation d, so that x_t is normal with mean
    signal m_k and variance signal^2 d^2 + noise^2, and E[x_0 | x_t, k] is linear in x_t.
    """

    means: tuple[tuple[float, ...], ...]
    deviation: float
    process: Any
    kind: str = "velocity"

    @nn.compact
    def __call__(self, x, t, context=None):
        shift = self.param("shift", nn.initializers.zeros, ())
        means = jnp.asarray(np.array(self.means), x.dtype)
        at = self.process.at(jnp.asarray(t, x.dtype)).like(x)
        wide = at._replace(signal=at.signal[..., None], noise=at.noise[..., None])
        variance = (wide.signal * self.deviation) ** 2 + wide.noise**2
        difference = x[..., None, :] - wide.signal * means
        weights = jax.nn.softmax(-(difference**2).sum(-1, keepdims=True) / (2 * variance), -2)
        each = means + wide.signal * self.deviation**2 / variance * difference
        # From the closed form of each kind: nothing is divided by a factor that may be 0.
        noise = wide.noise / variance * difference
        data, noise = ((weights * part).sum(-2) for part in (each, noise))
        values = {
            "data": data,
            "noise": noise,
            "velocity": at.signal_rate * data + at.noise_rate * noise,
            "score": -(weights / variance * difference).sum(-2),
        }
        assert set(values) == set(noising.KINDS)
        return values[self.kind] + shift
