"""Features of Inception-v3 from a file of weights that the user brings.

The file is an `.npz` of the arrays of a PyTorch state dict, by their public names, such as
`Conv2d_1a_3x3.conv.weight` `[out, in, height, width]`, `Conv2d_1a_3x3.bn.running_var`,
`Mixed_7c.branch_pool.bn.bias`. For the weights of the published Frechet distances, whose file is
known as `pt_inception-2015-12-05-6726825d.pth`, one line makes it:

    np.savez("inception.npz", **{name: array.numpy() for name, array in torch.load(FILE).items()})

Arrays with other names (`fc.weight`, counters) are left alone. Numbers of channels are those of the
file.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.data.reading.files import read_npz
from dgmjax.errors import DataError, require
from dgmjax.evaluation.samples.feature_net import Features, in_batches, in_unit_interval
from dgmjax.types import Array

SIZE, EPSILON = 299, 1e-3
Weights = Mapping[str, Array]

# Each branch is a chain; a tuple in it is branches side by side, whose channels are joined.
_POOL = ("mean", "branch_pool")
_A = (
    ("branch1x1",),
    ("branch5x5_1", "branch5x5_2"),
    ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    _POOL,
)
_B = (("branch3x3/2",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3/2"), ("max/2",))
_C = (
    ("branch1x1",),
    ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
    tuple(f"branch7x7dbl_{i}" for i in range(1, 6)),
    _POOL,
)
_D = (
    ("branch3x3_1", "branch3x3_2/2"),
    ("branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4/2"),
    ("max/2",),
)
_E = (
    ("branch1x1",),
    ("branch3x3_1", (("branch3x3_2a",), ("branch3x3_2b",))),
    ("branch3x3dbl_1", "branch3x3dbl_2", (("branch3x3dbl_3a",), ("branch3x3dbl_3b",))),
)
STEM = (
    "Conv2d_1a_3x3/2",
    "Conv2d_2a_3x3/valid",
    "Conv2d_2b_3x3",
    "max/2",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3/valid",
    "max/2",
)
BLOCKS = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _A),
    "Mixed_6a": _B,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _C),
    "Mixed_7a": _D,
    "Mixed_7b": (*_E, _POOL),
    "Mixed_7c": (*_E, ("max", "branch_pool")),
}
"""The network as data: `name/2` has stride 2 and no padding, `name/valid` no padding; "mean" and
"max" are pools of 3x3 pixels. In the last block the pool is a maximum, as in the weights of the
published distances; means leave the padding out.

Source: Szegedy, Vanhoucke, Ioffe, Shlens & Wojna, "Rethinking the Inception Architecture for
Computer Vision", 2016, table 1, https://arxiv.org/abs/1512.00567."""


def layers() -> list[str]:
    """The names of all convolutions, each with `conv.weight` and four arrays of `bn`."""

    def of(part: Any) -> list[str]:
        if isinstance(part, str):
            name = part.partition("/")[0]
            return [] if name in ("max", "mean") else [name]
        return [name for one in part for name in of(one)]

    mixed = [f"{block}.{name}" for block, branches in BLOCKS.items() for name in of(branches)]
    return [*of(STEM), *mixed]


@jax.jit
def features(weights: Weights, x: Array) -> Array:
    """Means over pixels of the last block, `[N, F]`, of images `[N, H, W, 3]` in [0, 1].

    Images are resized to 299x299 by bilinear interpolation, and brought to [-1, 1].
    """
    shape = (len(x), SIZE, SIZE, 3)
    h = 2.0 * jax.image.resize(x, shape, "bilinear", antialias=False) - 1.0
    h = _chain(weights, "", STEM, h)
    for block, branches in BLOCKS.items():
        h = _side_by_side(weights, f"{block}.", branches, h)
    return h.mean((1, 2))


def _side_by_side(weights: Weights, prefix: str, branches: Any, h: Array) -> Array:
    return jnp.concatenate([_chain(weights, prefix, branch, h) for branch in branches], -1)


def _chain(weights: Weights, prefix: str, parts: Any, h: Array) -> Array:
    for part in parts:
        if not isinstance(part, str):
            h = _side_by_side(weights, prefix, part, h)
            continue
        name, _, how = part.partition("/")
        stride, padding = (2 if how == "2" else 1), ("VALID" if how else "SAME")
        if name in ("max", "mean"):
            h = _pooled(h, name, stride, padding)
        else:
            h = _convolved(weights, prefix + name, stride, padding, h)
    return h


def _convolved(weights: Weights, name: str, stride: int, padding: str, h: Array) -> Array:
    """relu(norm(W h)) with the running statistics of the file."""
    kernel = weights[f"{name}.conv.weight"]
    mean, variance, scale, bias = (
        weights[f"{name}.bn.{of}"] for of in ("running_mean", "running_var", "weight", "bias")
    )
    dims = ("NHWC", "OIHW", "NHWC")
    h = jax.lax.conv_general_dilated(h, kernel, (stride,) * 2, padding, dimension_numbers=dims)
    return jax.nn.relu((h - mean) * (scale * jax.lax.rsqrt(variance + EPSILON)) + bias)


def _pooled(h: Array, kind: str, stride: int, padding: str) -> Array:
    """The maximum or the mean of 3x3 pixels, those of them that are there."""
    window, strides = (1, 3, 3, 1), (1, stride, stride, 1)
    if kind == "max":
        return jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, window, strides, padding)
    add = lambda a: jax.lax.reduce_window(a, 0.0, jax.lax.add, window, strides, padding)
    return add(h) / add(jnp.ones_like(h[:1, ..., :1]))


@dataclass(frozen=True, eq=False)
class Inception:
    """Inception-v3 as a feature net, for distances that are named by the hash of its file.

    Attributes:
      sha256: of the file.
      weights: its arrays by name.
    """

    sha256: str
    weights: Weights

    description: ClassVar[str] = "Inception-v3 of the given file"

    def metric(self, kind: str) -> str:
        """The name of a metric of these features: `fid_inception_` and 8 digits of the hash."""
        return f"{kind}_inception_{self.sha256[:8]}"

    def as_images(self, name: str, images: Any) -> np.ndarray:
        """`images` as an array `[N, H, W, C]`, checked; grey ones are read as colours.

        Raises:
          DataError: another shape, values outside of [0, 1], or none.
        """
        array = np.asarray(images)
        sized = array.ndim == 4 and array.shape[-1] in (1, 3) and len(array) > 0
        rule = "must be images [N, H, W, C] with 1 or 3 channels, at least one"
        require(sized, name, rule, f"shape {array.shape}", "", DataError)
        return in_unit_interval(name, array)

    def __call__(self, images: np.ndarray, batch_size: int = 50) -> Features:
        """Features of images, without classes."""
        checked = self.as_images("images", images)
        colour = lambda x: np.broadcast_to(x, (*x.shape[:-1], 3))
        (vectors,) = in_batches(lambda x: (features(self.weights, colour(x)),), checked, batch_size)
        return Features(vectors, np.zeros((len(vectors), 0)))


@lru_cache(maxsize=1)
def load_inception(path: str | Path) -> Inception:
    """The net of an `.npz` of weights, see above.

    Raises:
      DataError: no such file, arrays that are missing, or of shapes that do not follow each other.
    """
    path = Path(path)
    remedy = "See `evaluation.samples.load_inception` for the file and the line that makes it."
    is_npz = path.is_file() and path.suffix == ".npz"
    require(is_npz, "inception_weights", "must be an .npz file", str(path), remedy, DataError)
    found = read_npz(path)
    of = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    names = [f"{layer}.{part}" for layer in layers() for part in of]
    missing = [name for name in names if name not in found]
    rule = f"must hold the {len(names)} arrays of Inception-v3 by their names"
    given = f"{len(missing)} missing, {missing[0]} among them" if missing else ""
    require(not missing, "inception_weights", rule, given, remedy, DataError)
    weights = {name: jnp.asarray(found[name], jnp.float32) for name in names}
    try:
        jax.eval_shape(features, weights, jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32))
    except (TypeError, ValueError) as problem:
        rule = "must hold arrays whose shapes follow each other"
        first = str(problem).partition("\n")[0]
        require(False, "inception_weights", rule, first, remedy, DataError)
    return Inception(hashlib.sha256(path.read_bytes()).hexdigest(), weights)
