"""Features of 28x28 images, from a small classifier that comes with the package."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from dgmjax.data.reading.files import read_npz
from dgmjax.errors import DataError, require
from dgmjax.nn.convolution import Conv
from dgmjax.types import Array, PyTree

WEIGHTS = Path(__file__).parent / "weights"
IMAGE_SHAPE = (28, 28, 1)


class LeNet(nn.Module):
    """`x[N, 28, 28, 1]` in [0, 1] to features `[N, 84]`, not negative, and logits `[N, classes]`.

    Two convolutions of 5x5, each followed by a maximum over 2x2 pixels, and dense layers of 120
    and 84 units: LeNet-5 with rectifiers and more channels (16 and 32 for 6 and 16). The features
    are those of the last hidden layer.

    Source: LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document
    Recognition", 1998, section II.B, https://doi.org/10.1109/5.726791.
    """

    classes: int = 10

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        h = 2.0 * x - 1.0
        for channels in (16, 32):
            h = _pooled(nn.relu(Conv(channels, (5, 5), padding="VALID")(h)))
        h = h.reshape(len(h), -1)
        for units in (120, 84):
            h = nn.relu(nn.Dense(units)(h))
        return h, nn.Dense(self.classes)(h)


def _pooled(h: Array) -> Array:
    """The maximum over 2x2 pixels; by a reshape, since XLA's windowed maximum is slow on a CPU."""
    batch, height, width, channels = h.shape
    return h.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))


class Features(NamedTuple):
    """What a feature net sees in images.

    Attributes:
      vectors: features `[N, D]`, float64.
      log_probs: log p(class | image), `[N, classes]`, float64.
    """

    vectors: np.ndarray
    log_probs: np.ndarray


@dataclass(frozen=True, eq=False)
class FeatureNet:
    """A classifier whose features and classes compare sets of images.

    Numbers that depend on features belong to one net: a Frechet distance of these features never
    stands beside one of Inception's, nor beside one of another net of ours. `metric` therefore puts
    the net's hash into every name.

    Attributes:
      name: of the net, `mnist` or `fashion_mnist`.
      sha256: of the file of its parameters.
      test_accuracy: on the test split of the data set that it was trained on.
      params: of the `LeNet`.
    """

    name: str
    sha256: str
    test_accuracy: float
    params: PyTree

    def metric(self, kind: str) -> str:
        """The name of a metric of these features: `fid_lenet_` and 8 digits of the hash."""
        return f"{kind}_lenet_{self.sha256[:8]}"

    def __call__(self, images: np.ndarray, batch_size: int = 500) -> Features:
        """Features of `images[N, 28, 28, 1]` with values in [0, 1].

        Raises:
          DataError: images of another size or range, NaN, or none.
        """
        checked = as_images("images", images)
        vectors, log_probs = in_batches(partial(_applied, self.params), checked, batch_size)
        return Features(vectors, log_probs)

    @property
    def description(self) -> str:
        """What the net is, for records."""
        return f"LeNet of {self.name}"

    def as_images(self, name: str, images: Any) -> np.ndarray:
        """`images` as the net reads them, checked, see `as_images`."""
        return as_images(name, images)


def in_batches(
    function: Callable[[Array], tuple[Array, ...]], x: np.ndarray, batch_size: int
) -> list[np.ndarray]:
    """The outputs `[N, ...]` of a function of batches of one size, in float64."""
    # One compiled shape: the last batch is filled up with its own first rows.
    found = []
    for start in range(0, len(x), batch_size):
        batch = x[start : start + batch_size]
        rows = np.resize(np.arange(len(batch)), batch_size)
        outputs = function(jnp.asarray(batch[rows], jnp.float32))
        found.append([np.asarray(out, np.float64)[: len(batch)] for out in outputs])
    return [np.concatenate(parts) for parts in zip(*found)]


@jax.jit
def _applied(params: PyTree, x: Array) -> tuple[Array, Array]:
    features, logits = cast(tuple[Array, Array], LeNet().apply({"params": params}, x))
    return features, jax.nn.log_softmax(logits)


def as_images(name: str, images: Any) -> np.ndarray:
    """`images` as an array `[N, 28, 28, 1]`, checked.

    Raises:
      DataError: another shape, values outside of [0, 1], or none.
    """
    array = np.asarray(images)
    remedy = "The feature nets of this package read MNIST and images of its size only."
    sized = array.ndim == 4 and array.shape[1:] == IMAGE_SHAPE and len(array) > 0
    rule = "must be images [N, 28, 28, 1], at least one"
    require(sized, name, rule, f"shape {array.shape}", remedy, DataError)
    return in_unit_interval(name, array)


def in_unit_interval(name: str, array: np.ndarray) -> np.ndarray:
    """The images, whose values must be in [0, 1]."""
    low, high = float(array.min()), float(array.max())
    inside = low >= 0.0 and high <= 1.0  # false for NaN
    remedy = "Divide grey values by 255; bring outputs of a tanh from [-1, 1] to [0, 1]."
    given = f"values between {low:g} and {high:g}"
    require(inside, name, "must hold values in [0, 1]", given, remedy, DataError)
    return array


def known_feature_nets(weights: Path = WEIGHTS) -> Mapping[str, Mapping[str, Any]]:
    """What is known of every net by its name: hash, accuracy, how it was trained."""
    return json.loads((weights / "lenet.json").read_text(encoding="utf-8"))


@lru_cache
def load_feature_net(name: str, weights: Path = WEIGHTS) -> FeatureNet:
    """The feature net trained on `mnist` or on `fashion_mnist`.

    Args:
      weights: folder of `lenet.json` and of the parameters.

    Raises:
      DgmjaxError: there is no net of that name.
      DataError: the file is not the one whose hash and accuracy are recorded.
    """
    known = known_feature_nets(weights)
    require(name in known, "name", f"must be one of {sorted(known)}", repr(name))
    path, facts = weights / f"lenet_{name}.npz", known[name]
    content = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    remedy = "The file was altered or cut off: install dgmjax again."
    rule, given = f"must have the SHA-256 {facts['sha256']}", f"{found} ({path})"
    require(found == facts["sha256"], "weights", rule, given, remedy, DataError)
    flat = {tuple(key.split("/")): value for key, value in read_npz(path).items()}
    params = jax.tree.map(partial(jnp.asarray, dtype=jnp.float32), unflatten_dict(flat))
    return FeatureNet(name, found, facts["test_accuracy"], params)
