"""Couplings of minibatches: which noise belongs to which example.

A coupling `(key, x0, x1)` returns the rows of `x1[B, ...]` in an order that pairs them with those
of `x0[B, ...]`. Pairs that are near each other give straighter paths, and the marginals of both
stay what they are.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.types import Array, Key

Coupling = Callable[[Key, Array, Array], Array]
"""`(key, x0, x1) -> x1`, permuted so that row i of both is a pair."""


def independent(key: Key, x0: Array, x1: Array) -> Array:
    """The rows of x1 as they are."""
    del key
    check_pairs(x0, x1)
    return x1


def assignment(key: Key, x0: Array, x1: Array) -> Array:
    """The permutation of x1 with the smallest sum of squared distances: exact, B^3 at worst.

    Sources: Tong et al., "Improving and Generalizing Flow-Based Generative Models with Minibatch
    Optimal Transport", 2024, section 4, https://arxiv.org/abs/2302.00482; Pooladian et al.,
    "Multisample Flow Matching: Straightening Flows with Minibatch Couplings", 2023,
    https://arxiv.org/abs/2304.14772.
    """
    del key
    check_pairs(x0, x1)
    if not len(x0):
        return x1
    from optax.assignment import hungarian_algorithm

    rows, columns = hungarian_algorithm(squared_distances(x0, x1))
    return x1[columns[jnp.argsort(rows)]]


def sinkhorn(
    key: Key, x0: Array, x1: Array, regularisation: float = 0.05, iterations: int = 100
) -> Array:
    """For every row of x0 a row of x1 drawn from the entropic plan; rows of x1 may repeat.

    The plan minimises <P, cost> - regularisation mean(cost) H(P) with uniform marginals.

    Args:
      regularisation: of the entropy, as a share of the mean cost, positive; towards 0 it is
        `assignment`.
      iterations: of the two scalings.

    Source: Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport", 2013,
    https://arxiv.org/abs/1306.0895.
    """
    check_pairs(x0, x1)
    if not len(x0):
        return x1
    log_plan = entropic_plan(squared_distances(x0, x1), regularisation, iterations)
    return x1[jax.random.categorical(key, log_plan, axis=1)]


def entropic_plan(cost: Array, regularisation: float = 0.05, iterations: int = 100) -> Array:
    """log of the entropic plan of a cost `[B, C]`, whose entries sum to 1."""
    require_sizes(iterations=iterations)
    require(regularisation > 0, "regularisation", "must be positive", regularisation)
    kernel = -cost / (regularisation * cost.mean())
    rows, columns = (-jnp.log(jnp.asarray(n, cost.dtype)) for n in cost.shape)

    def body(_: Array, scalings: tuple[Array, Array]) -> tuple[Array, Array]:
        left, right = scalings
        left = rows - jax.nn.logsumexp(kernel + right, axis=1)
        return left, columns - jax.nn.logsumexp(kernel + left[:, None], axis=0)

    zeros = jnp.zeros_like(kernel[:, 0]), jnp.zeros_like(kernel[0])
    left, right = jax.lax.fori_loop(0, iterations, body, zeros)
    return kernel + left[:, None] + right


def squared_distances(x0: Array, x1: Array) -> Array:
    """|x0_i - x1_j|^2, `[B, C]`, of events of any shape."""
    real = lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32))
    flat = lambda x: real(x).reshape(len(x), x[0].size)
    first, second = flat(x0), flat(x1)
    # Squares of data far from the origin would leave nothing of their differences.
    middle = (first.mean(0) + second.mean(0)) / 2
    first, second = first - middle, second - middle
    product = jnp.matmul(first, second.T, precision=jax.lax.Precision.HIGHEST)
    square = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2.0 * product
    return jnp.maximum(square, 0.0)


def check_pairs(x0: Array, x1: Array) -> None:
    """Raises `DgmjaxError` unless both have the same number of rows of the same shape."""
    same = x0.shape == x1.shape and x0.ndim >= 1
    require(same, "x1", f"must have the shape {x0.shape} of `x0`", x1.shape)


COUPLINGS: dict[str, Coupling] = {
    "independent": independent,
    "assignment": assignment,
    "sinkhorn": sinkhorn,
}
"""Couplings by name."""


def coupling_of(name: str) -> Coupling:
    """The coupling of a name in `COUPLINGS`."""
    require(name in COUPLINGS, "coupling", f"must be one of {sorted(COUPLINGS)}", repr(name))
    return COUPLINGS[name]
