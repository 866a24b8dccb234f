"""Signal-to-noise ratio of the encoder's gradient under importance-weighted bounds, by K.

    python -m benchmarks.signal_to_noise                   # a minute on one core
    python -m benchmarks.signal_to_noise --figure snr.png

The model of Rainforth et al. 2018, section 4: z ~ N(mu, I), x | z ~ N(z, I), q(z | x) =
N(A x + b, 2/3 I) in 20 dimensions, 128 data, near the optimum A = I / 2, b = mu / 2 (a random
distance of 0.01). For each K many gradients for b are drawn, and the ratio |mean| / standard
deviation is averaged over its dimensions. It falls like K^-1/2 for the bound's own gradient and
rises like K^1/2 for the doubly reparameterised one (Tucker et al. 2019). For pure noise the ratio
is about 0.8 / sqrt(number of gradients drawn): 0.06 for 200.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import objectives
from dgmjax.files import write_atomically
from dgmjax.plotting.canvas import new_figure, save, tidy
from dgmjax.runs.versions import device_description, package_versions

RECORD = Path(__file__).parent / "records" / "signal_to_noise" / "signal_to_noise.json"
DIMS, DATA, OFFSET = 20, 128, 0.01
GRADIENTS = ("total", "stl", "dreg")
SAMPLES = (1, 4, 16, 64, 256)


class Linear:
    """The model, with the parameters (mu, A, b)."""

    def __init__(self, mu: jax.Array, a: jax.Array, b: jax.Array):
        self.mu, self.a, self.b = mu, a, b

    def prior(self) -> Any:
        return _normal(self.mu, 1.0)

    def posterior(self, x: jax.Array) -> Any:
        return _normal(x @ self.a.T + self.b, (2.0 / 3.0) ** 0.5)

    def likelihood(self, z: jax.Array) -> Any:
        return _normal(z, 1.0)


def _normal(loc: jax.Array, scale: float) -> Any:
    return distrax.Independent(distrax.Normal(loc, scale * jnp.ones_like(loc)), 1)


def setting(seed: int = 0) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The data `[DATA, DIMS]` and the parameters."""
    rng = np.random.default_rng(seed)
    mu = rng.normal(size=DIMS)
    x = mu + rng.normal(size=(DATA, DIMS)) * 2**0.5
    parameters = {
        "mu": x.mean(0) + OFFSET * rng.normal(size=DIMS),
        "a": 0.5 * np.eye(DIMS) + OFFSET * rng.normal(size=(DIMS, DIMS)),
        "b": 0.5 * x.mean(0) + OFFSET * rng.normal(size=DIMS),
    }
    return jnp.float32(x), {name: jnp.float32(value) for name, value in parameters.items()}


def ratio(gradient: str, num_samples: int, num_keys: int) -> float:
    """Mean over the dimensions of |mean| / standard deviation of the gradient for b."""
    x, parameters = setting()
    bound = partial(objectives.iwae, num_samples=num_samples, gradient=gradient)

    def loss(b, key):
        model = Linear(parameters["mu"], parameters["a"], b)
        return bound(model, {"x": x}, key)[0].mean()

    keys = jax.random.split(jax.random.key(1), num_keys)
    slopes = jax.jit(lambda keys: jax.lax.map(partial(jax.grad(loss), parameters["b"]), keys))
    drawn = np.asarray(slopes(keys), np.float64)
    return float((np.abs(drawn.mean(0)) / drawn.std(0, ddof=1)).mean())


def table(found: dict[str, list[float]]) -> str:
    lines = ["| gradient | " + " | ".join(f"K = {k}" for k in SAMPLES) + " |"]
    lines.append("|---" * (len(SAMPLES) + 1) + "|")
    lines += [
        f"| {name} | " + " | ".join(f"{v:.3g}" for v in row) + " |" for name, row in found.items()
    ]
    return "\n".join(lines)


def picture(found: dict[str, list[float]]) -> Any:
    figure = new_figure(5.0, 3.6, "Signal-to-noise ratio of the encoder's gradient")
    axes = figure.add_subplot()
    for name, row in found.items():
        axes.plot(SAMPLES, row, marker="o", markersize=3, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("K, importance samples")
    axes.set_ylabel("|mean| / standard deviation")
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Signal-to-noise ratios of bounds.")
    parser.add_argument("--keys", type=int, default=200, help="gradients drawn for each K")
    parser.add_argument("--figure", help="PNG of the table")
    parser.add_argument("--record", action="store_true", help="write the record, and its figure")
    options = parser.parse_args(arguments)
    found = {g: [ratio(g, k, options.keys) for k in SAMPLES] for g in GRADIENTS}
    print(table(found))
    if options.record:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        about = {"device": device_description(), "versions": package_versions()}
        record = {"samples": SAMPLES, "ratios": found, "keys": options.keys, **about}
        write_atomically(RECORD, json.dumps(record, indent=1) + "\n")
    target = options.figure or (RECORD.with_suffix(".png") if options.record else None)
    if target is not None:
        save(picture(found), target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
