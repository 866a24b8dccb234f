"""Roots of increasing scalar functions: bracketed, a fixed number of steps, exact gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import is_concrete
from dgmjax.bijectors.carry import varying
from dgmjax.errors import NotConverged
from dgmjax.types import Array


def solve_increasing(
    function: Callable[[Array], Array],
    lower: Array,
    upper: Array,
    num_steps: int = 60,
) -> Array:
    """The elementwise root of a strictly increasing `function` between `lower` and `upper`.

    Newton steps, and a bisection wherever Newton would leave the bracket or shrink too slowly
    (so 60 steps suffice in float32, whatever the function). The number of steps is fixed: the
    cost does not depend on the data, and the function works under every transformation.

    Gradients are implicit: d root = -(d function / d arguments) / function'(root), of any order
    and in both modes; they see whatever arrays `function` closes over. The bracket has none.

    An entry that did not converge is never returned as if it had: it raises `NotConverged` when
    values are concrete, and is NaN under a transformation such as `jit`. An entry whose bracket is
    not finite is NaN, and raises nothing. A root is accepted
    where the bracket, or the last step, is of the size of rounding errors. Outside of `jit` each
    call with a new `function` compiles its loop: callers keep theirs in a compiled function, and
    call `check_converged` on what it returns.

    Source: Press et al., "Numerical Recipes", 3rd edition, 2007, section 9.4, for the safeguard.
    """
    # The root does not depend on the bracket in which it was sought.
    lower, upper = jax.lax.stop_gradient((lower, upper))
    middle = 0.5 * (lower + upper)

    def solve(f: Callable[[Array], Array], start: Array) -> Array:
        body = _make_step(f)
        state = varying((lower, upper, start, upper - lower), lambda state: body(0, state))
        low, high, root, last = jax.lax.fori_loop(0, num_steps, body, state)
        # The equation is known to rounding errors of its largest number, which the bracket bounds.
        # The least size lets a root at 0 converge.
        size = jnp.maximum(jnp.maximum(jnp.abs(lower), jnp.abs(upper)), jnp.abs(root))
        tolerance = 16 * jnp.finfo(root.dtype).eps * jnp.maximum(size, 1e-6)
        converged = (jnp.abs(last) <= tolerance) | (high - low <= tolerance)
        return jnp.where(converged, root, jnp.nan)

    def tangent_solve(matvec: Callable[[Array], Array], b: Array) -> Array:
        # `function` is elementwise and its linearisation diagonal: a product with ones reads it.
        return b / matvec(jnp.ones_like(b))

    # The equation is differentiated, not the loop: the gradient is as exact as the root, and needs
    # no memory of the steps.
    root = jax.lax.custom_root(function, middle, solve, tangent_solve)
    return check_converged(root, lower + upper)


def check_converged(root: Array, given: Array) -> Array:
    """`root` itself; raises `NotConverged` where it is concrete and NaN, but `given` is finite.

    Args:
      root: what `solve_increasing` returned.
      given: the numbers in the equation, broadcast against `root`; where they are not finite there
        is no root to converge to.
    """
    if is_concrete(root) and is_concrete(given):
        failed = int((np.isnan(np.asarray(root)) & np.isfinite(np.asarray(given))).sum())
        if failed:
            raise NotConverged(f"{failed} of {root.size} entries of an inverse did not converge.")
    return root


def _make_step(f: Callable[[Array], Array]) -> Callable:
    def step(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        low, high, x, last = state
        value, slope = jax.jvp(f, (x,), (jnp.ones_like(x),))
        # Invariant: f(low) <= 0 <= f(high). At an exact root both ends move onto it.
        low = jnp.where(value <= 0, x, low)
        high = jnp.where(value >= 0, x, high)
        newton = x - value / jnp.where(slope > 0, slope, 1)
        # Newton may go on while each step is less than half of the last one, |value / slope| <
        # |last| / 2. So either the steps or the brackets halve, whatever the function.
        slow = jnp.abs(2 * value) > jnp.abs(last * slope)
        bisect = slow | (newton < low) | (newton > high) | ~(slope > 0)
        new = jnp.where(bisect, 0.5 * (low + high), newton)
        return low, high, new, new - x

    return step
