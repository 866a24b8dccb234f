"""Objects as complete pytrees: arrays are leaves, everything else is part of the structure.

distrax decides what a leaf is each time that it flattens an object, by looking at the leaf, so that
booleans, integers, strings and shardings in place of arrays are lost. Here the decision is made
once, from the arrays that a constructor stored, and belongs to the tree's structure: an object may
be rebuilt with leaves of any type (masks, axes, labels, shapes, shardings).
"""

import copyreg
import sys
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

_LAYOUT = "_layout"


class Split(NamedTuple):
    """How one attribute that holds arrays and other leaves comes apart.

    Attributes:
      structure: of the whole attribute.
      is_array: for each of its leaves.
      others: the leaves that are not arrays.
    """

    structure: Any
    is_array: tuple[bool, ...]
    others: tuple[Any, ...]

    def arrays(self, value: Any) -> list[Any]:
        leaves = self.structure.flatten_up_to(value)
        return [leaf for leaf, is_array in zip(leaves, self.is_array) if is_array]

    def joined(self, arrays: list[Any]) -> Any:
        given, others = iter(arrays), iter(self.others)
        leaves = [next(given if is_array else others) for is_array in self.is_array]
        return jax.tree.unflatten(self.structure, leaves)


class Layout(NamedTuple):
    """Which attributes of an object are children, and the values of all others.

    Attributes:
      children: names in alphabetical order, each with its `Split` where it needs one.
      static: names and values.
    """

    children: tuple[tuple[str, Split | None], ...]
    static: tuple[tuple[str, Any], ...]


class Pytree:
    """Base class whose subclasses are pytrees: by attribute, with keys, and for leaves of any type.

    An attribute whose leaves are arrays is a child, and so is one without leaves, such as a
    bijector that holds no arrays. Every other attribute (numbers, strings, shapes, functions,
    families) is static: it must compare by value, so that equal objects compile once. No
    constructor runs when a tree is rebuilt.

    Objects are equal if their structures and all arrays are.

    >>> from dgmjax.bijectors import Planar
    >>> Planar(jnp.ones(3), jnp.ones(3), jnp.zeros(()))
    Planar(b=float32[], u=float32[3], w=float32[3], slope_floor=0.01)
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        jax.tree_util.register_pytree_with_keys(
            cls,
            _flatten_with_keys,
            lambda layout, children: _unflatten(cls, layout, children),
            _flatten,
        )

    def __new__(cls, *args: Any, **options: Any) -> Self:
        return object.__new__(cls)  # distrax's own would register the class once more

    def __setattr__(self, name: str, value: Any) -> None:
        # What was set may hold other arrays: the layout is made anew.
        self.__dict__.pop(_LAYOUT, None)
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != _LAYOUT}

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        mine, structure = jax.tree.flatten(self)
        theirs, other_structure = jax.tree.flatten(other)
        equal = bool(structure == other_structure)  # type: ignore[operator]
        return equal and all(map(_same, mine, theirs))

    def __hash__(self) -> int:
        return hash((type(self), jax.tree.structure(self)))

    def __repr__(self) -> str:
        layout = _layout(self)
        children = [(name, vars(self)[name]) for name, _ in layout.children]
        shown = [
            f"{name}={_shown(value)}"
            for name, value in (*children, *layout.static)
            if not name.startswith("_")
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _layout(tree: Pytree) -> Layout:
    """The layout with which an object was rebuilt, or that of the arrays that it was given."""
    # A rebuilt object may have leaves of any type by now. To ask them again what they are would
    # change its structure.
    known = vars(tree).get(_LAYOUT)
    if known is not None:
        return known
    children: list[tuple[str, Split | None]] = []
    static: list[tuple[str, Any]] = []
    for name, value in sorted(vars(tree).items()):
        leaves, structure = jax.tree.flatten(value)
        is_array = tuple(map(_is_array, leaves))
        if value is not None and all(is_array):
            children.append((name, None))
        elif any(is_array):
            others = tuple(leaf for leaf, array in zip(leaves, is_array) if not array)
            children.append((name, Split(structure, is_array, others)))
        else:
            static.append((name, value))
    return Layout(tuple(children), tuple(static))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _children(tree: Pytree, layout: Layout) -> list[Any]:
    fields = vars(tree)
    return [
        fields[name] if split is None else split.arrays(fields[name])
        for name, split in layout.children
    ]


def _flatten(tree: Pytree) -> tuple[list[Any], Layout]:
    layout = _layout(tree)
    return _children(tree, layout), layout


def _flatten_with_keys(tree: Pytree) -> tuple[list[tuple[Any, Any]], Layout]:
    layout = _layout(tree)
    keys = [jax.tree_util.GetAttrKey(name) for name, _ in layout.children]
    return list(zip(keys, _children(tree, layout))), layout


def _unflatten(cls: type[Pytree], layout: Layout, children: Any) -> Pytree:
    tree = object.__new__(cls)
    tree.__dict__.update(layout.static)
    for (name, split), child in zip(layout.children, children):
        tree.__dict__[name] = child if split is None else split.joined(child)
    tree.__dict__[_LAYOUT] = layout
    return tree


def _same(a: Any, b: Any) -> bool:
    """Whether two leaves are equal; tracers are equal to themselves only."""
    if a is b:
        return True
    if isinstance(a, jax.core.Tracer) or isinstance(b, jax.core.Tracer):
        return False
    if not (isinstance(a, jax.Array | np.ndarray) and isinstance(b, jax.Array | np.ndarray)):
        return type(a) is type(b) and bool(a == b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return np.array_equal(np.asarray(a), np.asarray(b))


def _shown(value: Any) -> str:
    if _is_array(value):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(value)


def _by_name(function: Any) -> Any:
    """How to pickle a compiled function: by its name, where that leads back to it.

    `jax.nn.relu` and the like are compiled functions at the level of a module. JAX would pickle
    the function inside, which no name leads to.
    """
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", None)
    found = getattr(sys.modules.get(module or ""), name, None)
    return name if found is function else function.__reduce_ex__(2)


for _kind in {type(jax.nn.relu), type(jax.nn.sigmoid)}:
    copyreg.pickle(_kind, _by_name)
