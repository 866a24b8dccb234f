"""Posterior samples of a restoration, intervals, and whether they cover the truth."""

import math
from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.applications.sensing.operators import Operator
from dgmjax.applications.sensing.restoration import Generator
from dgmjax.errors import require, require_sizes
from dgmjax.inference.adaptation import warm_up
from dgmjax.inference.kernels import hmc, run
from dgmjax.types import Array, ArrayLike, Key


class PosteriorSamples(NamedTuple):
    """Samples of p(z, x | y).

    Attributes:
      x: `[S, ..., *event]`.
      z: `[S, ..., *latent]`.
      acceptance: mean of the samples' Metropolis tests, a number.
    """

    x: Array
    z: Array
    acceptance: Array


def posterior_samples(
    generator: Generator,
    operator: Operator,
    y: Array,
    key: Key,
    *,
    start: Array | None = None,
    unexplained: ArrayLike | None = None,
    num_samples: int = 100,
    thin: int = 2,
    num_warm_up: int = 200,
    num_leapfrog: int = 10,
    step_size: float = 0.05,
    target: float = 0.8,
) -> PosteriorSamples:
    """Samples of x given y by Hamiltonian Monte Carlo over z, a chain for each example.

    x = G(z) + e with e ~ N(0, diag(unexplained^2)), y = A x + n. Given z both are normal, so that
    e has been integrated out where chains move, y | z ~ N(A G(z), A diag(unexplained^2) A^T +
    scale^2 I), and x | z, y is drawn exactly. Without `unexplained` x = G(z).

    Args:
      operator: with noise, `scale` > 0.
      y: `[..., m]`.
      start: z where chains begin, such as `restore(...).z`; draws of the prior if None.
      unexplained: standard deviation of what the model cannot generate, for each entry `[*event]`
        or one for all; of images, the root mean square of what reconstruction leaves of training
        images.
      num_samples: S.
      thin: steps from one sample to the next.
      num_warm_up: steps that adapt the step size and the masses, see `inference.warm_up`.
      num_leapfrog: leapfrog steps of a trajectory; `hmc` with a jitter of 0.5 takes them.
      step_size: first guess.
      target: mean acceptance that the adaptation aims at.

    Source: Neal, "MCMC using Hamiltonian dynamics", 2011, https://arxiv.org/abs/1206.1901.

    >>> prior = distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)
    >>> generator = Generator(prior, lambda z: z @ jnp.ones((2, 6)))
    >>> operator = Operator("entries", (6,), jnp.array([0, 3, 4]), scale=0.1)
    >>> found = posterior_samples(
    ...     generator, operator, jnp.ones((5, 3)), jax.random.key(0), num_samples=3, num_warm_up=20
    ... )
    >>> found.x.shape, found.z.shape
    ((3, 5, 6), (3, 5, 2))
    """
    _check_noise(operator, y)
    require_sizes(num_samples=num_samples, thin=thin, num_leapfrog=num_leapfrog)
    rule = "must be at least 20 to adapt anything"
    require(num_warm_up >= 20, "num_warm_up", rule, num_warm_up)
    require(step_size > 0, "step_size", "must be positive", step_size)
    noise = _Noise(operator, unexplained)
    warm_key, run_key, start_key, draw_key = jax.random.split(key, 4)
    if start is None:
        start = generator.prior.sample(seed=start_key, sample_shape=jnp.shape(y)[:-1])
    shape = (*jnp.shape(y)[:-1], *generator.prior.event_shape)
    rule = "must be one latent for each row of `y`"
    require(jnp.shape(start) == shape, "start", rule, f"{jnp.shape(start)}, not {shape}")

    def log_density(z: Array) -> Array:
        return generator.prior.log_prob(z) + noise.log_prob(y - operator(generator.decode(z)))

    # Without chance in their lengths, trajectories over few latents return to where they began.
    kernel = lambda size, mass: hmc(log_density, size, num_leapfrog, mass, jitter=0.5)
    found = warm_up(kernel, warm_key, start, num_warm_up, step_size, target)
    sampler = kernel(found.step_size, found.inverse_mass)
    _, z, infos = run(sampler, run_key, found.state, num_samples * thin)
    z = z[thin - 1 :: thin]
    # One sample after another: images of all at once would not fit.
    draw = lambda given: noise.completed(y, generator.decode(given[0]), given[1])
    x = jax.lax.map(draw, (z, jax.random.split(draw_key, num_samples)))
    return PosteriorSamples(x, z, infos.acceptance.mean())


def _check_noise(operator: Operator, y: Array) -> None:
    """Raises `DgmjaxError` unless y is of the operator, and has a density."""
    operator.check(y)
    scale = operator.scale
    known = not isinstance(scale, jax.core.Tracer)
    rule, remedy = "must be positive: y without noise has no density", "Name it in the operator."
    require(not known or bool(scale > 0), "scale", rule, scale, remedy)


class _Noise:
    """A e + n with e ~ N(0, diag(spread^2)), n ~ N(0, scale^2 I), as normal noise of y.

    `spread` is None where there is no e.
    """

    def __init__(self, operator: Operator, spread: ArrayLike | None):
        self.operator, self.spread = operator, None
        if spread is None:
            return
        shape = operator.event_shape
        rule = f"must be numbers that broadcast to the event shape {shape}"
        given = jnp.shape(spread)
        pairs = zip(reversed(given), reversed(shape))
        fits = len(given) <= len(shape) and all(n in (1, size) for n, size in pairs)
        require(fits, "unexplained", rule, f"shape {given}")
        if not isinstance(spread, jax.core.Tracer):
            least, most = np.min(spread), np.max(spread)
            fits = bool(least >= 0.0 and most < math.inf)
            rule = "must be finite deviations of at least 0"
            require(fits, "unexplained", rule, f"values in {least:.3g} .. {most:.3g}")
        self.spread = jnp.broadcast_to(jnp.asarray(spread), shape)
        matrix = operator.matrix()
        covariance = (matrix * self.spread.ravel() ** 2) @ matrix.T
        covariance += operator.scale**2 * jnp.eye(len(matrix))
        factor = jnp.linalg.cholesky(covariance)
        # One inverse for all steps: a product is faster than solving for every residual.
        eye = jnp.eye(len(matrix))
        self.whiten = jax.scipy.linalg.solve_triangular(factor, eye, lower=True)
        self.log_det = jnp.log(jnp.diagonal(factor)).sum()

    def log_prob(self, residual: Array) -> Array:
        """log N(residual; 0, covariance), `[...]`, of residuals `[..., m]`."""
        if self.spread is None:
            noise = distrax.Normal(jnp.zeros(()), self.operator.scale)
            return noise.log_prob(residual).sum(-1)
        square = ((residual @ self.whiten.T) ** 2).sum(-1)
        constant = 0.5 * residual.shape[-1] * math.log(2.0 * math.pi)
        return -0.5 * square - self.log_det - constant

    def completed(self, y: Array, x: Array, key: Key) -> Array:
        """A draw of x + e given y; x itself where there is no e.

        A prior draw of (e, n), corrected by the regression of e on what it leaves unexplained:
        e + diag(spread^2) A^T covariance^-1 (y - A (x + e) - n).
        """
        if self.spread is None:
            return x
        e_key, n_key = jax.random.split(key)
        drawn = x + self.spread * jax.random.normal(e_key, x.shape, x.dtype)
        left = y - self.operator.observe(n_key, drawn)
        solved = (left @ self.whiten.T) @ self.whiten
        return drawn + self.spread**2 * self.operator.adjoint(solved)


def intervals(samples: Array, level: float = 0.9) -> tuple[Array, Array]:
    """Ends of the central intervals of `samples[S, ...]` that hold a further draw with `level`.

    The q-quantile is the sample of rank q (S + 1), interpolated: of S + 1 equal draws the last is
    below the k-th of the others with probability k / (S + 1), whatever their distribution.

    >>> low, high = intervals(jnp.arange(1.0, 20.0), 0.9)
    >>> float(low), float(high)
    (1.0, 19.0)
    """
    require(0.0 < level < 1.0, "level", "must be in (0, 1)", level)
    count = samples.shape[0]
    rank = 0.5 * (1.0 - level) * (count + 1)
    enough = math.ceil(2.0 / (1.0 - level) - 1.0 - 1e-9)
    rule = f"must be at least {enough}, for intervals of level {level}"
    require(rank > 1.0 - 1e-9, "samples", rule, count)
    ordered = jnp.sort(samples, 0)
    below, part = int(rank + 1e-9) - 1, rank - int(rank + 1e-9)
    between = lambda i, j: (1.0 - part) * ordered[i] + part * ordered[j]
    next_one = min(below + 1, count - 1)
    return between(below, next_one), between(count - 1 - below, count - 1 - next_one)


def covered(samples: Array, truth: Array, level: float = 0.9) -> Array:
    """Whether each entry of `truth[...]` is inside of the interval of `samples[S, ...]`."""
    low, high = intervals(samples, level)
    return (low <= truth) & (truth <= high)
