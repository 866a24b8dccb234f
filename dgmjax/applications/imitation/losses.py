"""Losses of the players of imitation: cloning, clipped policy gradients, values, recognition."""

import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.types import Array, Batch, Key, Metrics


def cloning(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """-log pi(a | s) of demonstrations, `[B]` in nats: behavioural cloning.

    Source: Pomerleau, "Efficient Training of Artificial Neural Networks for Autonomous Navigation",
    1991, https://doi.org/10.1162/neco.1991.3.1.88.
    """
    del key
    policy = model.actions(batch["x"], batch.get("code"))
    return -model.over_action(policy.log_prob(batch["action"])), {}


def clipped_gain(
    model, batch: Batch, key: Key, *, clip: float = 0.2, entropy: float = 0.0
) -> tuple[Array, Metrics]:
    """-min(r A, clip(r, 1 - clip, 1 + clip) A) - entropy H(pi), `[N]`, r = pi(a | s) / pi_old.

    Args:
      batch: transitions of the policy: observations `x`, `action`, `code`, `log_prob` (of the old
        policy) and `advantage`, `[N, ...]`.

    Source: Schulman, Wolski, Dhariwal, Radford & Klimov, "Proximal Policy Optimization Algorithms",
    2017, Eq. 7, https://arxiv.org/abs/1707.06347.
    """
    del key
    require(0.0 < clip < 1.0, "clip", "must be in (0, 1)", clip)
    policy = model.actions(batch["x"], batch["code"])
    log_ratio = model.over_action(policy.log_prob(batch["action"])) - batch["log_prob"]
    ratio, advantage = jnp.exp(log_ratio), batch["advantage"]
    bounded = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    gain = jnp.minimum(ratio * advantage, bounded * advantage)
    spread = model.over_action(policy.entropy())
    metrics = {"entropy": spread, "clipped": (jnp.abs(ratio - 1.0) > clip) * 1.0}
    # An estimate of KL(old || new) that is never negative.
    metrics["kl"] = ratio - 1.0 - log_ratio
    return -gain - entropy * spread, metrics


def value_error(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """1/2 (V(s) - target)^2 of the policy's transitions, `[N]`; `x` holds their observations."""
    del key
    error = model.values(batch["x"], batch["code"]) - batch["target"]
    return 0.5 * error**2, {}


def recognition(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """-log q(c | s, a) of the agent's own events, `[B]` in nats.

    H(c) less its mean bounds the information between the code and what the agent does.

    Source: Li, Song & Ermon, "InfoGAIL", 2017, Eq. 3, https://arxiv.org/abs/1703.08840.
    """
    del key
    return -model.log_recognition(batch["events"], batch["codes"]), {}
