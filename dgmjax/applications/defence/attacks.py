"""Attacks on classifiers: small changes of inputs `[B, ...]` that raise a loss.

The loss of an attack is a function of the inputs, so that one attack serves a plain classifier
(`cross_entropy`), one behind a defence (`straight_through`, `expectation`) and a detector.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dgmjax.errors import require, require_sizes
from dgmjax.types import Array, Key

Loss = Callable[[Array], Array]
"""Inputs `[B, ...]` to losses `[B]`, each of its own input only."""

Logits = Callable[[Array], Array]
"""Inputs `[B, ...]` to logits `[B, C]`."""

Values = tuple[float, float]


def cross_entropy(logits: Logits, label: Array) -> Loss:
    """-log softmax of the true class, `label[B]`: what most attacks raise."""
    return lambda x: optax.softmax_cross_entropy_with_integer_labels(logits(x), label)


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
    _check(x, radius, values)
    signs = jax.random.rademacher(key, x.shape, x.dtype)
    return jnp.clip(x + radius * signs, *values)


def fast_gradient_sign(loss: Loss, x: Array, radius: float, values: Values = (0.0, 1.0)) -> Array:
    """x + radius sign(grad loss), the best step of that size for a linear loss.

    Source: Goodfellow, Shlens & Szegedy, "Explaining and Harnessing Adversarial Examples", 2015,
    section 4, https://arxiv.org/abs/1412.6572.
    """
    _check(x, radius, values)
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
    _check(x, radius, values)
    require_sizes(num_steps=num_steps)
    size = 2.5 * radius / num_steps if step_size is None else step_size
    require(0.0 < size < math.inf, "step_size", "must be a positive number", step_size)
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
    return jnp.where(_wide(wins, x), x, best), jnp.where(wins, found, highest)


def deep_fool(
    logits: Logits,
    x: Array,
    *,
    num_steps: int = 50,
    overshoot: float = 0.02,
    values: Values = (0.0, 1.0),
) -> Array:
    """A nearly smallest change, in Euclidean norm, that crosses the next border of classes.

    Each step goes to the nearest of the borders f_k = f_found as they are linearised at the point:
    r = |f_k - f_found| / |w|^2 w, w = grad (f_k - f_found). Steps end where the class has changed.

    Source: Moosavi-Dezfooli, Fawzi & Frossard, "DeepFool: a simple and accurate method to fool deep
    neural networks", 2016, Algorithm 2, https://arxiv.org/abs/1511.04599.
    """
    _check(x, 0.0, values)
    require_sizes(num_steps=num_steps)
    require(0.0 <= overshoot < math.inf, "overshoot", "must be at least 0", overshoot)
    first = jnp.argmax(logits(x), -1)
    own = jax.nn.one_hot(first, jax.eval_shape(logits, x).shape[-1])

    def at(total: Array) -> Array:
        return jnp.clip(x + (1.0 + overshoot) * total, *values)

    def body(_: int, total: Array) -> Array:
        point = at(total)
        scores, pull = jax.vjp(logits, point)
        apart = scores - (own * scores).sum(-1, keepdims=True)
        # One pull for each class, of its logit less that of the class found.
        away = jax.vmap(lambda k: pull(k - own)[0])(jnp.eye(own.shape[-1])[:, None])
        norms = jnp.sqrt((away**2).sum(tuple(range(2, away.ndim)))).T
        distance = jnp.where(own > 0, jnp.inf, jnp.abs(apart) / jnp.maximum(norms, 1e-12))
        nearest = jnp.argmin(distance, -1)
        row = jnp.arange(len(x))
        step, norm = away[nearest, row], jnp.maximum(norms[row, nearest], 1e-12)
        scale = (jnp.abs(apart[row, nearest]) + 1e-6) / norm**2
        still = jnp.argmax(scores, -1) == first
        return total + jnp.where(_wide(still, x), _wide(scale, x) * step, 0.0)

    return at(jax.lax.fori_loop(0, num_steps, body, jnp.zeros_like(x)))


def carlini_wagner(
    logits: Logits,
    x: Array,
    label: Array,
    *,
    confidence: float = 0.0,
    num_steps: int = 200,
    searches: int = 6,
    learning_rate: float = 0.01,
    values: Values = (0.0, 1.0),
) -> Array:
    """The nearest found x' that is not of the class `label[B]`, by optimisation.

    Minimises |x' - x|^2 + c max(f_label - max_{k != label} f_k, -confidence) with Adam over a w
    that tanh maps into the range of the values; c is searched for each example by bisection. An
    example without success comes back as it was.

    Source: Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", 2017, section
    VI A, https://arxiv.org/abs/1608.04644.
    """
    _check(x, 0.0, values)
    require_sizes(num_steps=num_steps, searches=searches)
    require(0.0 <= confidence < math.inf, "confidence", "must be at least 0", confidence)
    low, high = values
    own = jax.nn.one_hot(label, jax.eval_shape(logits, x).shape[-1])
    to_image = lambda w: low + (high - low) * 0.5 * (jnp.tanh(w) + 1.0)
    inner = jnp.clip((x - low) / (high - low) * 2.0 - 1.0, -1.0 + 1e-6, 1.0 - 1e-6)
    start, optimiser = jnp.arctanh(inner), optax.adam(learning_rate)

    def margin(image: Array) -> Array:
        scores = logits(image)
        others = jnp.where(own > 0, -jnp.inf, scores).max(-1)
        return (own * scores).sum(-1) - others

    def cost(w: Array, c: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        image = to_image(w)
        gap, moved = margin(image), _squared_distance(image, x)
        return (moved + c * jnp.maximum(gap, -confidence)).sum(), (image, gap, moved)

    def search(carry: Any, _: None) -> tuple[Any, None]:
        c, lower, upper, best, nearest = carry

        def descend(inner_carry: Any, _: None) -> tuple[Any, None]:
            w, moments, best, nearest, any_success = inner_carry
            gradient, (image, gap, moved) = jax.grad(cost, has_aux=True)(w, c)
            success = gap <= -confidence if confidence > 0 else gap < 0
            wins = success & (moved < nearest)
            best = jnp.where(_wide(wins, x), image, best)
            nearest = jnp.where(wins, moved, nearest)
            update, moments = optimiser.update(gradient, moments)
            w = optax.apply_updates(w, update)
            return (w, moments, best, nearest, any_success | success), None

        begin = (start, optimiser.init(start), best, nearest, jnp.zeros(len(x), bool))
        end, _ = jax.lax.scan(descend, begin, None, num_steps)
        best, nearest, success = end[2:]
        upper, lower = jnp.where(success, c, upper), jnp.where(success, lower, c)
        # Ten times more until one succeeds, then bisection.
        c = jnp.where(jnp.isfinite(upper), 0.5 * (lower + upper), 10.0 * c)
        return (c, lower, upper, best, nearest), None

    zeros = jnp.zeros(x.shape[:1], x.dtype)
    begin = (zeros + 0.1, zeros, zeros + jnp.inf, x, zeros + jnp.inf)
    end, _ = jax.lax.scan(search, begin, None, searches)
    return end[3]


def _gradient(loss: Loss, x: Array) -> Array:
    return jax.grad(lambda x: loss(x).sum())(x)


def _squared_distance(a: Array, b: Array) -> Array:
    return ((a - b) ** 2).sum(tuple(range(1, a.ndim)))


def _wide(each: Array, x: Array) -> Array:
    """`[B]` with axes of size 1 for those of an input."""
    return each.reshape(*each.shape, *[1] * (x.ndim - 1))


def _check(x: Array, radius: float, values: Values) -> None:
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
