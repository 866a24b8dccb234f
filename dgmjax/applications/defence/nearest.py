"""Attacks that look for the nearest input of another class."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dgmjax.applications.defence.attacks import (
    Logits,
    Values,
    check_attack,
    check_classes,
    wide,
)
from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.types import Array


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
    check_attack(x, 0.0, values)
    require_sizes(num_steps=num_steps)
    require(0.0 <= overshoot < math.inf, "overshoot", "must be at least 0", overshoot)
    dtype, x = jnp.asarray(x).dtype, as_float(x)
    classify = _in_dtype(logits, dtype)
    scores = classify(x)
    first = jnp.argmax(scores, -1)
    own = jax.nn.one_hot(first, scores.shape[-1], dtype=scores.dtype)

    def at(total: Array) -> Array:
        return jnp.clip(x + (1.0 + overshoot) * total, *values)

    def body(_: int, total: Array) -> Array:
        point = at(total)
        scores, pull = jax.vjp(classify, point)
        apart = scores - (own * scores).sum(-1, keepdims=True)
        # One pull for each class, of its logit less that of the class found.
        classes = jnp.eye(own.shape[-1], dtype=own.dtype)[:, None]
        away = jax.vmap(lambda k: pull(k - own)[0])(classes)
        norms = jnp.sqrt((away**2).sum(tuple(range(2, away.ndim)))).T
        distance = jnp.where(own > 0, jnp.inf, jnp.abs(apart) / jnp.maximum(norms, 1e-12))
        nearest = jnp.argmin(distance, -1)
        row = jnp.arange(len(x))
        step, norm = away[nearest, row], jnp.maximum(norms[row, nearest], 1e-12)
        scale = (jnp.abs(apart[row, nearest]) + 1e-6) / norm**2
        still = jnp.argmax(scores, -1) == first
        return total + jnp.where(wide(still, x), wide(scale, x) * step, 0.0)

    return at(jax.lax.fori_loop(0, num_steps, body, jnp.zeros_like(x))).astype(dtype)


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
    that a sine maps into the range of the values, of which distances are shares; c is searched for
    each example by bisection. An example without success comes back as it was. The source has a
    hyperbolic tangent for the sine: there a pixel at an end of the range, as most of a drawing's
    are, needs 700 steps of .01 to get away from it.

    Source: Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", 2017, section
    VI A, https://arxiv.org/abs/1608.04644.
    """
    check_attack(x, 0.0, values)
    require_sizes(num_steps=num_steps, searches=searches)
    require(0.0 <= confidence < math.inf, "confidence", "must be at least 0", confidence)
    low, high = values
    dtype, x = jnp.asarray(x).dtype, as_float(x)
    classify = _in_dtype(logits, dtype)
    scores = jax.eval_shape(classify, x).shape
    check_classes(label, scores)
    own = jax.nn.one_hot(label, scores[-1], dtype=x.dtype)
    to_image = lambda w: low + (high - low) * 0.5 * (jnp.sin(w) + 1.0)
    inner = jnp.clip((x - low) / (high - low) * 2.0 - 1.0, -1.0 + 1e-6, 1.0 - 1e-6)
    start, optimiser = jnp.arcsin(inner), optax.adam(learning_rate)

    def margin(image: Array) -> Array:
        scores = classify(image)
        others = jnp.where(own > 0, -jnp.inf, scores).max(-1)
        return (own * scores).sum(-1) - others

    def cost(w: Array, c: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        image = to_image(w)
        gap, moved = margin(image), _squared_distance(image, x) / (high - low) ** 2
        return (moved + c * jnp.maximum(gap, -confidence)).sum(), (image, gap, moved)

    def search(carry: Any, _: None) -> tuple[Any, None]:
        c, lower, upper, best, nearest = carry

        def descend(inner_carry: Any, _: None) -> tuple[Any, None]:
            w, moments, best, nearest, any_success = inner_carry
            gradient, (image, gap, moved) = jax.grad(cost, has_aux=True)(w, c)
            success = gap <= -confidence if confidence > 0 else gap < 0
            wins = success & (moved < nearest)
            best = jnp.where(wide(wins, x), image, best)
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
    return end[3].astype(dtype)


def _in_dtype(logits: Logits, dtype: Any) -> Logits:
    """`logits` of inputs in `dtype`, though steps and moments are of single precision at least."""
    return lambda point: as_float(logits(point.astype(dtype)))


def _squared_distance(a: Array, b: Array) -> Array:
    return ((a - b) ** 2).sum(tuple(range(1, a.ndim)))
