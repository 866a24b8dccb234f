"""Attacks on classifiers: small changes of inputs `[B, ...]` that raise a loss.

The loss of an attack is a function of the inputs, so that one attack serves a plain classifier
(`cross_entropy`), one behind a defence (`straight_through`, `expectation`) and a detector.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.types import Array, Key

Loss = Callable[[Array], Array]
"""Inputs `[B, ...]` to losses `[B]`, each of its own input only."""

Logits = Callable[[Array], Array]
"""Inputs `[B, ...]` to logits `[B, C]`."""

Values = tuple[float, float]


def cross_entropy(logits: Logits, label: Array) -> Loss:
    """-log softmax of the true class, `label[B]`: what most attacks raise."""

    def loss(x: Array) -> Array:
        scores = as_float(logits(x))
        check_classes(label, scores.shape)
        return optax.softmax_cross_entropy_with_integer_labels(scores, label)

    return loss


def check_classes(label: Array, shape: tuple[int, ...]) -> None:
    """Raises DgmjaxError for labels that are not classes of logits of this shape `[B, C]`.

    The cross-entropy of another label is NaN, which no step raises: a classifier would look robust.
    """
    given = jnp.result_type(label), jnp.shape(label)
    whole = jnp.issubdtype(given[0], jnp.integer) and given[1] == shape[:1]
    rule = f"must hold a whole number for each of {shape[0]} inputs"
    require(whole, "label", rule, f"{given[0]} of shape {given[1]}")
    if not isinstance(label, jax.core.Tracer):
        values = np.asarray(label)
        known = bool(((values >= 0) & (values < shape[-1])).all())
        require(known, "label", f"must be in 0 .. {shape[-1] - 1}", np.unique(values)[:5].tolist())


def straight_through(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """`change(x)` whose derivative is taken for that of x: the backward pass of BPDA.

    A defence that purifies its input hides the gradient without being any safer. As the purified
    image is close to the input, the gradient there serves at the input.

    Source: Athalye, Carlini & Wagner, "Obfuscated Gradients Give a False Sense of Security:
    Circumventing Defenses to Adversarial Examples", 2018, section 4.1,
    https://arxiv.org/abs/1802.00420.

    >>> f = lambda x: straight_through(jnp.round)(x) ** 2
    >>> float(f(1.8)), float(jax.grad(f)(1.8))
    (4.0, 4.0)
    """
    return lambda x: x + jax.lax.stop_gradient(change(x) - x)


def expectation(loss: Callable[[Array, Key], Array], key: Key, num_samples: int) -> Loss:
    """The mean of a random loss over keys: expectation over transformation (EOT).

    Args:
      loss: `(x, key) -> [B]`, of one draw of a random defence.

    Source: Athalye, Engstrom, Ilyas & Kwok, "Synthesizing Robust Adversarial Examples", 2018,
    section 2.1, https://arxiv.org/abs/1707.07397.
    """
    require_sizes(num_samples=num_samples)
    keys = jax.random.split(key, num_samples)
    return lambda x: jax.lax.map(lambda one: loss(x, one), keys).mean(0)


def random_noise(key: Key, x: Array, radius: float, values: Values = (0.0, 1.0)) -> Array:
    """x with every number moved by +radius or -radius: what any attack must beat."""
    check_attack(x, radius, values)
    signs = jax.random.rademacher(key, x.shape, x.dtype)
    return jnp.clip(x + radius * signs, *values)


def fast_gradient_sign(loss: Loss, x: Array, radius: float, values: Values = (0.0, 1.0)) -> Array:
    """x + radius sign(grad loss), the best step of that size for a linear loss.

    Source: Goodfellow, Shlens & Szegedy, "Explaining and Harnessing Adversarial Examples", 2015,
    section 4, https://arxiv.org/abs/1412.6572.
    """
    check_attack(x, radius, values)
    return jnp.clip(x + radius * jnp.sign(_gradient(loss, x)), *values)


def projected_gradient(
    loss: Loss,
    x: Array,
    radius: float,
    *,
    step_size: float | None = None,
    num_steps: int = 40,
    key: Key | None = None,
    values: Values = (0.0, 1.0),
) -> Array:
    """The best of signed gradient steps inside of the ball of `radius` around x (BIM; PGD).

    Args:
      step_size: of a step; 2.5 radius / num_steps if None, enough to cross the ball.
      key: of a uniform start inside of the ball (PGD); at x itself if None (BIM).

    Returns:
      of all points of each path, the start included, the one of the highest loss.

    Sources: Kurakin, Goodfellow & Bengio, "Adversarial examples in the physical world", 2017,
    section 2.2, https://arxiv.org/abs/1607.02533; Madry, Makelov, Schmidt, Tsipras & Vladu,
    "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018, section 2.1,
    https://arxiv.org/abs/1706.06083.
    """
    check_attack(x, radius, values)
    require_sizes(num_steps=num_steps)
    size = 2.5 * radius / num_steps if step_size is None else step_size
    sound = step_size is None or 0.0 < size < math.inf
    require(sound, "step_size", "must be a positive number", step_size)
    inside = lambda moved: jnp.clip(jnp.clip(moved, x - radius, x + radius), *values)
    start = x
    if key is not None:
        start = inside(x + jax.random.uniform(key, x.shape, x.dtype, -radius, radius))

    def valued(x: Array) -> tuple[Array, Array]:
        each, pull = jax.vjp(loss, x)
        return each, pull(jnp.ones_like(each))[0]

    def body(carry: Any, _: None) -> tuple[Any, None]:
        now, best, highest = carry
        found, gradient = valued(now)
        best, highest = _better(found, now, highest, best)
        return (inside(now + size * jnp.sign(gradient)), best, highest), None

    lowest = jnp.full(x.shape[:1], -jnp.inf, jax.eval_shape(loss, x).dtype)
    (last, best, highest), _ = jax.lax.scan(body, (start, start, lowest), None, num_steps)
    return _better(loss(last), last, highest, best)[0]


def _better(found: Array, x: Array, highest: Array, best: Array) -> tuple[Array, Array]:
    wins = found > highest
    return jnp.where(wide(wins, x), x, best), jnp.where(wins, found, highest)


def square_attack(
    loss: Loss,
    x: Array,
    radius: float,
    key: Key,
    *,
    num_steps: int = 500,
    share: float = 0.8,
    values: Values = (0.0, 1.0),
) -> Array:
    """The best of a random search that needs no gradient: squares of +radius or -radius.

    The start is x with vertical stripes of both signs. Each step moves one square of each image to
    +radius or -radius, a channel at a time, and keeps it where the loss rises. Squares shrink from
    a `share` of the image on. Where it gets further than attacks by gradients, these were hidden
    from them.

    Args:
      loss: also one without a useful derivative.
      x: `[B, H, W, C]`.
      num_steps: losses of the batch that are asked for, less one.
      share: of the area, of the first squares; halved after 0.1, 0.5, 2, 10, 20, 40, 60 and 80% of
        the steps.

    Source: Andriushchenko, Croce, Flammarion & Hein, "Square Attack: a query-efficient black-box
    adversarial attack via random search", 2020, Algorithm 2, https://arxiv.org/abs/1912.00049.
    """
    check_attack(x, radius, values)
    require_sizes(num_steps=num_steps)
    require(0.0 < share <= 1.0, "share", "must be in (0, 1]", share)
    require(x.ndim == 4, "x", "must be images [B, H, W, C]", f"shape {x.shape}")
    batch, height, width, channels = x.shape
    ends = np.array([0.001, 0.005, 0.02, 0.1, 0.2, 0.4, 0.6, 0.8])
    halvings = (np.arange(num_steps)[:, None] >= ends * num_steps).sum(1)
    sides = np.maximum(1, np.rint(np.sqrt(share / 2.0**halvings * height * width)))
    sides = np.minimum(sides, min(height, width)).astype(np.int32)
    inside = lambda signs: jnp.clip(x + radius * signs, *values)

    def body(carry: Any, given: Any) -> tuple[Any, None]:
        signs, highest = carry
        side, key = given
        keys = jax.random.split(key, 3)
        top = jax.random.randint(keys[0], (batch, 1), 0, height - side + 1)
        left = jax.random.randint(keys[1], (batch, 1), 0, width - side + 1)
        down = (jnp.arange(height) >= top) & (jnp.arange(height) < top + side)
        along = (jnp.arange(width) >= left) & (jnp.arange(width) < left + side)
        square = (down[:, :, None] & along[:, None])[..., None]
        sign = jax.random.rademacher(keys[2], (batch, 1, 1, channels), x.dtype)
        moved = jnp.where(square, sign, signs)
        signs, highest = _better(loss(inside(moved)), moved, highest, signs)
        return (signs, highest), None

    first, key = jax.random.split(key)
    signs = jax.random.rademacher(first, (batch, 1, width, channels), x.dtype)
    signs = jnp.broadcast_to(signs, x.shape)
    begin = (signs, loss(inside(signs)))
    steps = (jnp.asarray(sides), jax.random.split(key, num_steps))
    (signs, _), _ = jax.lax.scan(body, begin, steps)
    return inside(signs)


def _gradient(loss: Loss, x: Array) -> Array:
    return jax.grad(lambda x: loss(x).sum())(x)


def wide(each: Array, x: Array) -> Array:
    """`[B]` with axes of size 1 for those of an input."""
    return each.reshape(*each.shape, *[1] * (x.ndim - 1))


def check_attack(x: Array, radius: float, values: Values) -> None:
    """Raises an error unless inputs are within the values and the radius is in their range."""
    low, high = values
    require(low < high, "values", "must be (low, high), low below high", values)
    rule = f"must be in [0, {high - low}], the range of the values"
    remedy = "A radius of 8 grey levels of 255 is 8 / 255 for values in [0, 1]."
    require(0.0 <= radius <= high - low, "radius", rule, radius, remedy)
    floating = jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating)
    require(floating, "x", "must be floating-point numbers", jnp.asarray(x).dtype)
    if not isinstance(x, jax.core.Tracer) and x.size:
        inside = bool((x.min() >= low) & (x.max() <= high))
        given = f"{float(x.min()):.3g} .. {float(x.max()):.3g}"
        require(inside, "x", f"must be in {values}", given, "Give its range as `values`.")
