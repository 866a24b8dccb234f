"""Adversarial games as data: what the critic and the generator minimise, one row a game.

Sources: Goodfellow et al., "Generative Adversarial Nets", 2014, section 3 (`minimax`,
`non_saturating`), https://arxiv.org/abs/1406.2661; Mao et al., "Least Squares Generative
Adversarial Networks", 2017, Eq. 9, https://arxiv.org/abs/1611.04076; Lim & Ye, "Geometric GAN",
2017, section 3, https://arxiv.org/abs/1705.02894 (`hinge`); Arjovsky, Chintala & Bottou,
"Wasserstein GAN", 2017, Eq. 3, https://arxiv.org/abs/1701.07875; Huang, Gokaslan, Kuleshov &
Tompkin, "A Modern GAN Baseline", 2024, Eq. 2, https://arxiv.org/abs/2501.05441
(`relativistic`); Nowozin, Cseke & Tomioka, "f-GAN", 2016, Eq. 7,
https://arxiv.org/abs/1606.00709; Li, Swersky & Zemel, "Generative Moment Matching Networks", 2015,
Eq. 1, https://arxiv.org/abs/1502.02761; Binkowski, Sutherland, Arbel & Gretton, "Demystifying MMD
GANs", 2018, section 3, https://arxiv.org/abs/1801.01401; Mescheder, Nowozin & Geiger, "Adversarial
Variational Bayes", 2017, Eq. 3.3, https://arxiv.org/abs/1701.04722 (`density_ratio`, whose
generator minimises an estimate of KL(samples || data) in nats).
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from dgmjax.distributions.bernoulli import softplus
from dgmjax.errors import require
from dgmjax.objectives.adversarial.divergences import Divergence, divergence_of
from dgmjax.objectives.mmd import Kernel, gram, mmd
from dgmjax.types import Array

Head = Literal["value", "features", "none"]


@dataclass(frozen=True)
class Game:
    """What the two players minimise.

    Attributes:
      critic: `(data, samples) -> loss[B]` of the critic's outputs on data and on samples.
      generator: the same of the generator; `data` is None unless `reads_data`.
      head: what the game reads of the critic: "value", a number `[B]`; "features", a vector
        `[B, F]`; "none": there is no critic, and the game is played on the events themselves.
      reads_data: the generator's loss depends on the data, too.
      witness: `(outputs, data, samples) -> [N]`, the number whose slope penalties take, of outputs
        of the critic at any points; None where the output is that number itself.
      boundary: the value above which the critic takes a point for data; None where it says nothing
        of the kind.
    """

    critic: Callable[[Array, Array], Array]
    generator: Callable[[Any, Array], Array]
    head: Head = "value"
    reads_data: bool = False
    witness: Callable[[Array, Array, Array], Array] | None = None
    boundary: float | None = 0.0


def separate(
    on_data: Callable[[Array], Array],
    on_samples: Callable[[Array], Array],
    generator: Callable[[Array], Array],
    boundary: float | None = 0.0,
) -> Game:
    """A game whose losses are sums of a term in the data and one in the samples."""
    return Game(
        critic=lambda data, samples: on_data(data) + on_samples(samples),
        generator=lambda data, samples: generator(samples),
        boundary=boundary,
    )


def f_gan(divergence: str | Divergence, *, saturating: bool = True) -> Game:
    """The variational bound E_p[T] - E_q[f*(T)] of an f-divergence, with T = g_f(critic).

    The critic maximises it, the generator minimises it. At the optimal critic it is
    D_f(p || q) = E_q[f(p / q)], with p the data.

    Args:
      divergence: a name in `DIVERGENCES`, or a row of one's own.
      saturating: if False, the generator maximises E_q[T] in place of -E_q[f*(T)] (section 3.2 of
        the source). Where samples are far from all data, the slope of Pearson's f* is zero at the
        optimal critic, so that the generator learns nothing, and that of KL's grows as exp(T).
    """
    row = divergence_of(divergence)
    return separate(
        on_data=lambda data: -row.activation(data),
        on_samples=row.composed,
        generator=lambda samples: -(row.composed if saturating else row.activation)(samples),
        # T* = f'(p / q): data where it is above f'(1).
        boundary=row.boundary,
    )


def moment_matching(
    kernel: Kernel = "rational_quadratic", *, biased: bool = False, on: Head = "features"
) -> Game:
    """MMD^2 between data and samples, of events (GMMN) or of the features of a critic (MMD-GAN).

    The generator minimises it, the critic maximises it. Penalties take the slope of the witness,
    E k(x, t) - E k(y, t) with x data and y samples. Every example has the same loss; a batch's
    `mask` weights losses, not pairs, so that padding should repeat examples.

    Args:
      kernel: see `objectives.gram`.
      biased: a sample is compared with itself, too; otherwise the estimate is unbiased.
      on: "features", or "none" for the events themselves, without a critic.
    """
    require(on in ("features", "none"), "on", "must be 'features' or 'none'", repr(on))

    def distance(data: Array, samples: Array) -> Array:
        value = mmd(_flat(data), _flat(samples), kernel=kernel, biased=biased)
        return jnp.full((len(samples),), value)

    def witness(outputs: Array, data: Array, samples: Array) -> Array:
        at = partial(gram, _flat(outputs), kernel=kernel)
        return at(_flat(data)).mean(1) - at(_flat(samples)).mean(1)

    return Game(
        critic=lambda data, samples: -distance(data, samples),
        generator=distance,
        head=on,
        reads_data=True,
        witness=witness,
        boundary=None,
    )


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1)


_logistic = partial(separate, lambda data: softplus(-data), softplus)

GAMES: dict[str, Game] = {
    "minimax": _logistic(lambda samples: -softplus(samples)),
    "non_saturating": _logistic(lambda samples: softplus(-samples)),
    "density_ratio": _logistic(lambda samples: -samples),
    "least_squares": separate(
        lambda data: 0.5 * jnp.square(data - 1.0),
        lambda samples: 0.5 * jnp.square(samples),
        lambda samples: 0.5 * jnp.square(samples - 1.0),
        boundary=0.5,
    ),
    "hinge": separate(
        lambda data: jax.nn.relu(1.0 - data),
        lambda samples: jax.nn.relu(1.0 + samples),
        lambda samples: -samples,
    ),
    "wasserstein": separate(
        lambda data: -data, lambda samples: samples, lambda samples: -samples, boundary=None
    ),
    "relativistic": Game(
        critic=lambda data, samples: softplus(samples - data),
        generator=lambda data, samples: softplus(data - samples),
        reads_data=True,
        boundary=None,
    ),
    "f_kl": f_gan("kl"),
    "f_reverse_kl": f_gan("reverse_kl"),
    "f_jensen_shannon": f_gan("jensen_shannon"),
    "f_pearson_chi2": f_gan("pearson_chi2"),
    "f_squared_hellinger": f_gan("squared_hellinger"),
    "f_total_variation": f_gan("total_variation"),
    "f_kl_non_saturating": f_gan("kl", saturating=False),
    "f_pearson_chi2_non_saturating": f_gan("pearson_chi2", saturating=False),
    "mmd": moment_matching("gaussian_mixture", on="none"),
    "mmd_rational_quadratic": moment_matching(on="none"),
    "mmd_gan": moment_matching("gaussian_mixture"),
    "mmd_gan_rational_quadratic": moment_matching(),
}
"""By name. `moment_matching` makes further ones, with a biased estimator or another kernel."""


def game_of(game: str | Game) -> Game:
    """The row of a name; a row itself.

    Raises:
      DgmjaxError: no row has that name.

    >>> game_of("hinge").head
    'value'
    """
    if isinstance(game, Game):
        return game
    near = difflib.get_close_matches(str(game), GAMES, n=1)
    remedy = f"Did you mean {near[0]!r}?" if near else ""
    require(game in GAMES, "game", f"must be one of {sorted(GAMES)}", repr(game), remedy)
    return GAMES[game]
