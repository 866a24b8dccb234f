"""A row of the conformance table: a bijector of any JAX library, and where it is tested."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.evaluation.bijector_conformance import (
    Case,
    Conformance,
    Domain,
    Map,
    domain_points,
    special_points,
    violations,
)
from dgmjax.evaluation.bijector_uses import Subject, unusable

SCALES = (1.0, 5.0)
SEEDS = 3
SIZE = 4
BOUND = 3.0
BOUNDS = (-BOUND, BOUND, float(np.nextafter(np.float32(3), np.float32(4))), -3.5, 3.5)
"""Special points of a spline on [-3, 3]: its ends, just outside, and in the tails."""


def both_directions(bijector: Any) -> tuple[Map, Map]:
    """The maps of a bijector of distrax, and of one of this package."""
    return bijector.forward_and_log_det, bijector.inverse_and_log_det


@dataclasses.dataclass(frozen=True)
class Row:
    """`params(key, scale)` draws float32 parameters, and `make` makes a bijector of them.

    Attributes:
      maps: the two maps of a bijector, over `[N, *shape]`.
      shape: of z.
      domain: of the data, `data_shape` their shape where it is not `shape`.
      extra: special points: knots and bounds.
    """

    make: Callable[[Any], Any]
    params: Callable[[jax.Array, float], Any]
    maps: Callable[[Any], tuple[Map, Map]] = both_directions
    shape: tuple[int, ...] = (SIZE,)
    domain: Domain = "line"
    extra: tuple[float, ...] = ()
    data_shape: tuple[int, ...] | None = None

    @property
    def build(self) -> Callable[[Any], tuple[Map, Map]]:
        """The maps of the bijector of given parameters."""
        return functools.partial(_build, self)

    def random(self, number: int) -> np.ndarray:
        """Points of the base."""
        return np.random.default_rng(0).standard_normal((number, *self.shape))

    def data(self) -> np.ndarray:
        """Points of the data's domain, its ends included."""
        return domain_points(self.data_shape or self.shape, self.domain, self.extra)


def _build(row: Row, params: Any) -> tuple[Map, Map]:
    return row.maps(row.make(params))


def scrambled(
    tree: Any, key: jax.Array, scale: float, fan_in: Callable[[tuple[int, ...]], int] = lambda _: 1
) -> Any:
    """The tree with every float array drawn from N(0, scale^2 / fan_in(shape)).

    The weights of a library's own networks are divided so, since they would otherwise hand the
    bijector parameters of a larger deviation than `scale`.
    """

    def draw(index: int, leaf: Any) -> Any:
        if not (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)):
            return leaf
        noise = jax.random.normal(jax.random.fold_in(key, index), jnp.shape(leaf))
        return scale / fan_in(jnp.shape(leaf)) ** 0.5 * noise.astype(jnp.float32)

    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([draw(i, leaf) for i, leaf in enumerate(leaves)])


def measured(row: Row) -> dict[str, dict[str, float | bool]]:
    """By scale of the parameters: the worst of what breaks the contract, over the seeds.

    A library that raises on these inputs breaks it by "error".
    """
    special = special_points(row.shape, row.extra)
    conformance = Conformance(Case(row.build, row.random(8), special, row.data()))
    broken: dict[str, dict[str, float | bool]] = {}
    for scale in SCALES:
        worst: dict[str, float | bool] = {}
        for seed in range(SEEDS):
            found = conformance(row.params(jax.random.key(seed), scale))
            for name, value in violations(found, scale, row.domain).items():
                plain = value if isinstance(value, bool) else float(value)
                worst[name] = max(worst.get(name, plain), plain)
        broken[f"{scale:g}"] = worst
    return broken


def failed_uses(row: Row) -> dict[str, str]:
    """What a program cannot do with the row's bijector, and why."""
    points = row.random(4).astype(np.float32), row.data()[:4].astype(np.float32)
    return unusable(Subject(row.make, row.maps, row.params(jax.random.key(0), 1.0), *points))
