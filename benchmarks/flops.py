"""Floating-point operations of a program, counted in its jaxpr: products and convolutions.

XLA's own count (`cost_analysis`) takes the body of a loop once; here it counts as often as it runs.
Of branches the most expensive counts, of a loop whose length is data one pass. Element by element
operations are left out: the number is what the fraction of a matrix peak refers to.
"""

import math
from typing import Any


def flops(function, *arguments) -> float:
    """Operations of `function(*arguments)`, a product of n terms counting 2 n."""
    import jax

    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def megabytes(function, *arguments) -> float:
    """Megabytes that the compiled program reads and writes, by XLA's account (loops once)."""
    import jax

    analysis = jax.jit(function).lower(*arguments).compile().cost_analysis() or {}
    return analysis.get("bytes accessed", math.nan) / 1e6


def _count(jaxpr: Any) -> float:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return 2.0 * out * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, params["dimension_numbers"]
        return 2.0 * out * math.prod(kernel) / kernel[numbers.rhs_spec[0]]
    inner = [_count(getattr(part, "jaxpr", part)) for part in _parts(params)]
    if name == "cond":
        return max(inner)
    return sum(inner) * (params["length"] if name == "scan" else 1)


def _parts(params: dict[str, Any]) -> list[Any]:
    """Jaxprs among the parameters of an equation."""
    found = []
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if hasattr(getattr(one, "jaxpr", one), "eqns"):
                found.append(one)
    return found


def matrix_peak(size: int = 1024, repeats: int = 6) -> float:
    """Operations per second of the fastest of some float32 products of this size, by the clock."""
    import time

    import jax

    a = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(a))
    best = math.inf
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready([product(a) for _ in range(4)])
        best = min(best, (time.perf_counter() - begun) / 4)
    return 2.0 * size**3 / best
