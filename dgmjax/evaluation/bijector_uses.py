"""Whether a bijector, of any JAX library, can be used as an array can: trees, `jit`, meshes.

`bijector_conformance` measures numbers; each row of `USES` here is something that a program does
with a whole bijector, without any library's own wrappers around JAX's transformations.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from dgmjax.evaluation.bijector_conformance import Map, cast_to_float64
from dgmjax.types import Array, PyTree

ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A bijector as its library makes it; points z of its base and x of the data, `[N, *shape]`.

    Attributes:
      make: parameters to the bijector, as one would pass it around.
      maps: a bijector to `(forward_and_log_det, inverse_and_log_det)` of `[N, *shape]`.
      params: a pytree of float32 arrays.
    """

    make: Callable[[PyTree], Any]
    maps: Callable[[Any], tuple[Map, Map]]
    params: PyTree
    z: np.ndarray
    x: np.ndarray

    def run(self, bijector: Any, z: Any, x: Any) -> tuple[tuple[Array, Array], ...]:
        """Both directions."""
        forward, inverse = self.maps(bijector)
        return forward(z), inverse(x)


def unusable(subject: Subject) -> dict[str, str]:
    """The uses of `USES` that fail, by name, and why; empty if all work."""
    failed = {}
    for name, use in USES.items():
        try:
            why = "" if use(subject) else "a wrong result"
        except Exception as problem:  # any library's own
            text = ADDRESS.sub("", str(problem)).strip().splitlines()
            why = f"{type(problem).__name__}: {text[0][:200] if text else ''}"
        if why:
            failed[name] = why
    return failed


def _tree_map(subject: Subject) -> bool:
    """A tree of bools of its own structure (a mask, labels), and every parameter a leaf."""
    bijector = subject.make(subject.params)
    leaves, structure = jax.tree.flatten(bijector)
    marked = jax.tree.map(lambda _: True, bijector)
    rebuilt = jax.tree.unflatten(structure, leaves)
    same = structure == jax.tree.structure(marked) == jax.tree.structure(rebuilt)  # type: ignore[operator]
    return same and all(leaf is True for leaf in jax.tree.leaves(marked))


def _leaves(subject: Subject) -> bool:
    """As many numbers to train as it was made of."""
    sizes = lambda tree: sum(
        leaf.size
        for leaf in jax.tree.leaves(tree)
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
    )
    return sizes(subject.make(subject.params)) >= sizes(subject.params)


def _optax_masked(subject: Subject) -> bool:
    import optax

    bijector = subject.make(subject.params)
    mask = jax.tree.map(lambda _: True, bijector)
    optimiser = optax.masked(optax.sgd(0.1), mask)
    zeros = jax.tree.map(jnp.zeros_like, bijector)
    updates, _ = optimiser.update(zeros, optimiser.init(bijector), bijector)
    moved = optax.apply_updates(bijector, updates)
    return jax.tree.structure(moved) == jax.tree.structure(bijector)  # type: ignore[operator]


def _jit_argument(subject: Subject) -> bool:
    """Lowered and compiled with the bijector as an argument."""
    bijector = subject.make(subject.params)
    compiled = jax.jit(subject.run).lower(bijector, subject.z, subject.x).compile()
    return len(compiled(bijector, subject.z, subject.x)) == 2


def _one_trace(subject: Subject) -> bool:
    """Another bijector of the same kind is not traced anew."""
    traces = []

    @jax.jit
    def run(bijector: Any, z: Array, x: Array) -> Any:
        traces.append(1)
        return subject.run(bijector, z, x)

    for scale in (1.0, 0.5):
        params = jax.tree.map(lambda leaf, s=scale: s * leaf, subject.params)
        run.trace(subject.make(params), subject.z, subject.x)
    return len(traces) == 1


def _gradient(subject: Subject) -> bool:
    """By the bijector itself."""
    bijector = subject.make(subject.params)

    def loss(bijector: Any) -> Array:
        found = subject.run(bijector, subject.z, subject.x)
        return jnp.sum(jnp.stack([leaf.sum() for leaf in jax.tree.leaves(found)]))

    found = jax.eval_shape(jax.grad(loss), bijector)
    return jax.tree.structure(found) == jax.tree.structure(bijector)  # type: ignore[operator]


def _closed_over(subject: Subject) -> bool:
    """Made inside of a compiled function, of concrete parameters."""
    run = lambda z, x: subject.run(subject.make(subject.params), z, x)
    return _shapes(jax.eval_shape(run, subject.z, subject.x), subject, len(subject.z))


def _float64(subject: Subject) -> bool:
    """Points and parameters of float64 give values and log-determinants of float64."""
    with jax.enable_x64(True):
        bijector = subject.make(cast_to_float64(subject.params))
        z, x = np.asarray(subject.z, np.float64), np.asarray(subject.x, np.float64)
        found = jax.eval_shape(lambda z, x: subject.run(bijector, z, x), z, x)
        return all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(found))


def _empty(subject: Subject) -> bool:
    bijector = subject.make(subject.params)
    run = lambda z, x: subject.run(bijector, z, x)
    return _shapes(jax.eval_shape(run, subject.z[:0], subject.x[:0]), subject, 0)


def _shard_map(subject: Subject) -> bool:
    """Points split over a mesh, with the default check of what varies over it."""
    bijector = subject.make(subject.params)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    here = PartitionSpec("data")
    run = jax.shard_map(
        lambda z, x: subject.run(bijector, z, x), mesh=mesh, in_specs=here, out_specs=here
    )
    return _shapes(jax.eval_shape(run, subject.z, subject.x), subject, len(subject.z))


def _shapes(found: Any, subject: Subject, number: int) -> bool:
    (x, log_det), (z, back_log_det) = found
    points = x.shape[1:] == subject.x.shape[1:] and z.shape[1:] == subject.z.shape[1:]
    return points and {x.shape[:1], z.shape[:1], log_det.shape, back_log_det.shape} == {(number,)}


USES: dict[str, Callable[[Subject], bool]] = {
    "tree.map": _tree_map,
    "parameters as leaves": _leaves,
    "optax.masked": _optax_masked,
    "argument of jit": _jit_argument,
    "one trace": _one_trace,
    "grad by the bijector": _gradient,
    "made inside jit": _closed_over,
    "float64": _float64,
    "empty batch": _empty,
    "shard_map": _shard_map,
}
