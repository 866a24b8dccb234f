"""Distributions in the plane, with a sampler and an exact density; `synthetic` lists them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Sample = tuple[np.ndarray, np.ndarray]  # points float64 [N, 2], and each one's component [N]


class Law(Protocol):
    """`sample(generator, n)` draws on the host; `log_density(x[..., 2])` is JAX, in nats."""

    def sample(self, generator: np.random.Generator, n: int) -> Sample: ...

    def log_density(self, x: Any) -> Any: ...


@dataclass(frozen=True)
class Curves:
    """Curves with noise: p(x) = 1/arms sum_k int_0^1 N(x; c_k(t), sigma^2 I) dt.

    `curve(k, t)` gives the two coordinates of c_k(t). `log_density` does the integral by
    Gauss-Legendre quadrature with `nodes` points per arm, which is exact to float32 once they are
    closer than sigma. One node serves arms that are points.
    """

    curve: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    arms: int
    sigma: float
    nodes: int

    def sample(self, generator: np.random.Generator, n: int) -> Sample:
        arm = generator.integers(self.arms, size=n)
        centre = np.stack(self.curve(arm, generator.uniform(size=n)), -1)
        return centre + self.sigma * generator.standard_normal((n, 2)), arm

    def log_density(self, x: Any) -> Any:
        import jax
        import jax.numpy as jnp

        x = jnp.asarray(x)
        t, weight = np.polynomial.legendre.leggauss(self.nodes)
        arm, t = np.repeat(np.arange(self.arms), self.nodes), np.tile((t + 1) / 2, self.arms)
        centre = jnp.asarray(np.stack(self.curve(arm, t), -1), x.dtype)
        log_weight = np.tile(np.log(weight / 2), self.arms)
        log_weight -= np.log(self.arms * 2 * np.pi * self.sigma**2)
        square = sum((x[..., None, i] - centre[:, i]) ** 2 for i in range(2))
        exponent = jnp.asarray(log_weight, x.dtype) - square / (2 * self.sigma**2)
        return jax.nn.logsumexp(exponent, axis=-1)


@dataclass(frozen=True)
class Checkerboard:
    """Uniform on the 8 black unit squares of a 4x4 board over [-2, 2]^2: log p = -log 8 on them."""

    def sample(self, generator: np.random.Generator, n: int) -> Sample:
        square = generator.integers(8, size=n)
        row, column = square // 2, 2 * (square % 2) + square // 2 % 2
        return np.stack([column, row], -1) - 2 + generator.uniform(size=(n, 2)), square

    def log_density(self, x: Any) -> Any:
        import jax.numpy as jnp

        x = jnp.asarray(x)
        inside = jnp.all((x >= -2) & (x < 2), axis=-1)
        black = jnp.sum(jnp.floor(x), axis=-1) % 2 == 0
        return jnp.where(inside & black, -jnp.log(jnp.asarray(8.0, x.dtype)), -jnp.inf)


@dataclass(frozen=True)
class Banana:
    """x_1 = a e_1, x_2 = b e_2 + c (x_1^2 - a^2) + d x_1 with standard normal e.

    A correlated Gaussian (c = 0) or a bent one. The map from e has determinant a b, so the
    entropy is 1 + log(2 pi) + log(a b).
    """

    a: float
    b: float
    c: float
    d: float

    def sample(self, generator: np.random.Generator, n: int) -> Sample:
        e = generator.standard_normal((n, 2))
        first = self.a * e[:, 0]
        return np.stack([first, self.b * e[:, 1] + self._bend(first)], -1), np.zeros(n)

    def log_density(self, x: Any) -> Any:
        import jax.numpy as jnp

        x = jnp.asarray(x)
        first = x[..., 0] / self.a
        second = (x[..., 1] - self._bend(x[..., 0])) / self.b
        return -(first**2 + second**2) / 2 - np.log(2 * np.pi * self.a * self.b)

    def _bend(self, first: Any) -> Any:
        return self.c * (first**2 - self.a**2) + self.d * first

    @property
    def entropy(self) -> float:
        return float(1 + np.log(2 * np.pi) + np.log(self.a * self.b))


@dataclass(frozen=True)
class Pinwheel:
    """Five elongated Gaussians around the origin, twisted by an angle that grows with the radius.

    y = (1 + s_1 e_1, s_2 e_2) turned by 2 pi k / 5 + twist exp(|y|). Turning by a function of the
    radius preserves area, so the density is that of the mixture at the point turned back. The
    source turns by the exponential of y_1, whose density has no closed form.

    Source: Johnson et al., "Composing Graphical Models with Neural Networks for Structured
    Representations and Fast Inference", 2016, https://arxiv.org/abs/1603.06277.
    """

    arms: int = 5
    radial: float = 0.3
    tangential: float = 0.1
    twist: float = 0.25

    def sample(self, generator: np.random.Generator, n: int) -> Sample:
        arm = generator.integers(self.arms, size=n)
        e = generator.standard_normal((n, 2))
        y = np.stack([1 + self.radial * e[:, 0], self.tangential * e[:, 1]], -1)
        angle = 2 * np.pi * arm / self.arms + self.twist * np.exp(np.hypot(y[:, 0], y[:, 1]))
        return np.stack(_turn(y, np.cos(angle), np.sin(angle)), -1), arm

    def log_density(self, x: Any) -> Any:
        import jax
        import jax.numpy as jnp

        x = jnp.asarray(x)
        square = jnp.sum(x**2, axis=-1, keepdims=True)
        radius = jnp.sqrt(jnp.where(square > 0, square, 1.0)) * (square > 0)  # gradient 0 at 0
        angle = 2 * np.pi * jnp.arange(self.arms) / self.arms + self.twist * jnp.exp(radius)
        first, second = _turn(x[..., None, :], jnp.cos(angle), -jnp.sin(angle))
        exponent = ((first - 1) / self.radial) ** 2 + (second / self.tangential) ** 2
        constant = np.log(2 * np.pi * self.radial * self.tangential * self.arms)
        return jax.nn.logsumexp(-exponent / 2, axis=-1) - constant


def _turn(x: Any, cos: Any, sin: Any) -> tuple[Any, Any]:
    return cos * x[..., 0] - sin * x[..., 1], sin * x[..., 0] + cos * x[..., 1]
