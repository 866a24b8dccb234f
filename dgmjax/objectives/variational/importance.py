"""Importance-weighted bounds, in bounded memory for any number of samples."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.contracts import check_batch, given, is_initialising, log_joint
from dgmjax.errors import require, require_sizes
from dgmjax.objectives.variational.divergences import hold
from dgmjax.objectives.variational.posterior_samples import PosteriorSamples, posterior_samples
from dgmjax.types import Array, Batch, Key, Metrics

Gradient = Literal["total", "stl", "dreg"]


class Weights(NamedTuple):
    """log w_k `[K, B]` in nats, and the samples with their weights (`posterior_samples`)."""

    log_w: Array
    samples: PosteriorSamples

    @property
    def counted(self) -> Array:
        """log w_k including each sample's weight: the mean of their exponentials estimates p(x)."""
        return self.log_w + self.samples.log_weight()

    def metrics(self) -> Metrics:
        """`elbo` (mean of log w) and `effective_sample_size`."""
        normalised = jax.nn.softmax(jax.lax.stop_gradient(self.counted), axis=0)
        return {
            "elbo": self.samples.mean(self.log_w),
            "effective_sample_size": 1.0 / (normalised**2).sum(0),
        }


def weights(
    model,
    batch: Batch,
    key: Key,
    *,
    num_samples: int,
    gradient: Gradient = "total",
    held: bool = False,
) -> Weights:
    """log w_k = log p(x, z_k) - log q(z_k | x) with z_k ~ q(z | x).

    Uses `model.log_joint(x, z)` where the model has it, else prior and likelihood. `gradient`
    changes the gradient and never the value, see `iwae`; `held` states that none is needed.
    """
    require_sizes(num_samples=num_samples)
    require(
        gradient in ("total", "stl", "dreg"),
        "gradient",
        "must be 'total', 'stl' or 'dreg'",
        repr(gradient),
    )
    starting = is_initialising(model)
    model, x = given(model, batch), batch["x"]
    q = model.posterior(x)
    samples = posterior_samples(q, key, num_samples, held=held)
    require(
        samples.weight is None or gradient == "total",
        "gradient",
        "must be 'total' for a mixture, since a sample comes from one component, not the mixture",
        repr(gradient),
    )
    z = samples.z
    # Parameters cannot be made inside of `jax.vjp`, so that an initialising model takes the plain
    # way too: the values are the same.
    if gradient == "total" or starting:
        return Weights(log_joint(model, x, z) - samples.log_q, samples)
    q_held = hold(q)
    # The gradient of log q(z(phi) | x; phi) has a part through the sample z, and the score at a
    # fixed z, whose mean is zero. Its noise remains where q is exact and all else vanishes. With
    # q's parameters held only the first part is left.
    if gradient == "stl":
        return Weights(log_joint(model, x, z) - q_held.log_prob(z), samples)
    # DReG. With v_k = w_k / sum w, the gradient of L_K by phi is E[sum_k v_k (path_k - score_k)],
    # where path_k = d log w_k / dz_k dz_k / dphi. For f = v_k as a function of z_k,
    #   E_q[f score_k] = E[df/dz_k dz_k / dphi] = E[v_k (1 - v_k) path_k],
    # which leaves E[sum_k v_k^2 path_k]: no scores, and no bias.
    fixed = jax.lax.stop_gradient(z)
    log_w, pullback = jax.vjp(lambda z: log_joint(model, x, z) - q_held.log_prob(z), fixed)
    shares = jax.nn.softmax(jax.lax.stop_gradient(log_w + samples.log_weight()), axis=0)
    (slope,) = pullback(shares)
    # 0 in value, since z equals `fixed`, with the gradient v_k path_k. The bound, a log-sum-exp,
    # multiplies it by v_k once more.
    path = sum(
        (jax.lax.stop_gradient(s) * (a - b)).reshape(*log_w.shape, -1).sum(-1)
        for s, a, b in zip(*map(jax.tree.leaves, (slope, z, fixed)), strict=True)
    )
    return Weights(log_w + path, samples)


def log_weights(
    model, batch: Batch, key: Key, *, num_samples: int, gradient: Gradient = "total"
) -> Array:
    """log w_k, `[K, B]`, in nats: see `weights`. The mean of exp(log w_k) estimates p(x).

    A mixture posterior of C components has C K rows, one of every component for each k, and log w
    includes the component's weight.
    """
    return weights(model, batch, key, num_samples=num_samples, gradient=gradient).counted


def log_mean_exp(log_w: Array) -> Array:
    """log (1/K) sum_k w_k over the first axis."""
    return jax.nn.logsumexp(log_w, axis=0) - jnp.log(log_w.shape[0])


def iwae(
    model,
    batch: Batch,
    key: Key,
    *,
    num_samples: int = 1,
    num_bounds: int = 1,
    elbo_weight: float = 0.0,
    gradient: Gradient = "total",
) -> tuple[Array, Metrics]:
    """-L_K = -log (1/K) sum_k w_k, in nats per example; K = 1 is the ELBO with a sampled KL.

    For a mixture posterior with weights s_c the K samples are stratified: w_k = sum_c s_c w_kc over
    one sample of every component, which makes the bound tighter than K plain samples would, even at
    K = 1.

    E[L_1] <= E[L_K] <= log p(x), rising with K. With `num_bounds` M, the average of M bounds of K
    samples each (MIWAE); with `elbo_weight` b, (1 - b) L_K + b L_1 (CIWAE). Two players, the
    networks of the posterior trained with one (M, K) and those of the model with another, make
    partially importance-weighted autoencoding (PIWAE).

    Args:
      num_samples: K, at least 1.
      num_bounds: M, at least 1.
      elbo_weight: b, in [0, 1].
      gradient: of the bound with respect to the posterior's parameters. "total": as automatic
        differentiation gives it. "stl" (sticking the landing): without the score of q, which is
        zero in expectation at K = 1 (for K > 1 the result is biased). "dreg" (doubly
        reparameterised): sum_k (w_k / sum w)^2 d log w_k / dz_k dz_k / dphi, unbiased, with a
        signal-to-noise ratio that rises with K where that of "total" falls. A prior that shares the
        posterior's parameters also has its own gradient, in all three. A mixture posterior has
        "total" only.

    Returns:
      loss `[B]`; metrics `bound`, `elbo` (mean of log w) and `effective_sample_size`
      ((sum w)^2 / sum w^2, between 1 and M K), each `[B]`.

    Sources: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, Eq. 8 and 14,
    https://arxiv.org/abs/1509.00519; Roeder, Wu & Duvenaud, "Sticking the Landing: Simple,
    Lower-Variance Gradient Estimators for Variational Inference", 2017, Eq. 7,
    https://arxiv.org/abs/1703.09194; Tucker, Lawson, Gu & Maddison, "Doubly Reparameterized
    Gradient Estimators for Monte Carlo Objectives", 2019, Eq. 8, https://arxiv.org/abs/1810.04152;
    Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better", 2018, section 5,
    https://arxiv.org/abs/1802.04537.
    """
    require_sizes(num_samples=num_samples, num_bounds=num_bounds)
    require(0.0 <= elbo_weight <= 1.0, "elbo_weight", "must be in [0, 1]", elbo_weight)
    require(
        gradient != "dreg" or (num_bounds == 1 and elbo_weight == 0.0),
        "gradient",
        "'dreg' is that of one bound: num_bounds=1 and elbo_weight=0",
        (num_bounds, elbo_weight),
    )
    total = num_bounds * num_samples
    found = weights(model, batch, key, num_samples=total, gradient=gradient)
    rows = found.counted  # of a mixture: `total` groups of a row for each component
    grouped = rows.reshape(num_bounds, -1, *rows.shape[1:])
    bound = log_mean_exp(jnp.moveaxis(grouped, 0, 1)).mean(0)
    metrics = found.metrics()
    if elbo_weight:
        # The ELBO's samples are those of the bound: no second set is drawn.
        bound = (1.0 - elbo_weight) * bound + elbo_weight * metrics["elbo"]
    return -bound, {"bound": bound, **metrics}


def renyi(
    model, batch: Batch, key: Key, *, alpha: float, num_samples: int = 5
) -> tuple[Array, Metrics]:
    """-L_alpha = -1 / (1 - alpha) log (1/K) sum_k w_k^(1 - alpha), in nats per example.

    alpha = 0 is the bound L_K of `iwae`, alpha -> 1 the ELBO; -inf is the largest log-weight
    (VR-max) and inf the smallest. For 0 <= alpha < 1 and K -> infinity a lower bound on
    log p(x), for alpha < 0 an upper bound, which is not to be maximised: see
    `chi_upper_bound`.

    Args:
      alpha: any number but 1, where the formula is singular.
      num_samples: K, at least 1.

    Returns:
      loss `[B]`; metrics `bound`, `elbo` and `effective_sample_size`, each `[B]`.

    Source: Li & Turner, "Renyi Divergence Variational Inference", 2016, Eq. 10,
    https://arxiv.org/abs/1602.02311.
    """
    require(
        alpha != 1.0 and not math.isnan(alpha),
        "alpha",
        "must not be 1, where the limit of the bound is the ELBO, nor NaN",
        alpha,
        "Use objectives.elbo.",
    )
    found = weights(model, batch, key, num_samples=num_samples)
    if alpha == -math.inf:
        bound = found.log_w.max(0)
    elif alpha == math.inf:
        bound = found.log_w.min(0)
    else:
        bound = _power_mean(found, 1.0 - alpha)
    return -bound, {"bound": bound, **found.metrics()}


def _power_mean(found: Weights, power: float) -> Array:
    """1/n log (1/K) sum_k w_k^n, `[B]`, also where n is so near 0 that every w_k^n is near 1."""
    log_w = found.log_w
    # Subtracting any constant is exact, as it returns after the root. The mean makes the powers
    # small where n is, and then log(mean(w^n)) / n, a small number by a small one, is that of log1p
    # and expm1, which lose no digits. Beyond 1/2 the log-sum-exp has enough of them.
    mean = jax.lax.stop_gradient(log_w.mean(0))
    middle = jnp.where(jnp.isfinite(mean), mean, 0.0)  # a weight of 0 leaves no finite mean
    powers = power * (log_w - middle)
    near = jnp.abs(powers).max(0) < 0.5
    small = jnp.log1p(found.samples.mean(jnp.expm1(jnp.where(near, powers, 0.0))))
    large = log_mean_exp(powers + found.samples.log_weight())
    return middle + jnp.where(near, small, large) / power


def chi_upper_bound(
    model,
    batch: Batch,
    key: Key,
    *,
    power: float = 2.0,
    num_samples: int = 5,
    gradient: Literal["total", "score"] = "total",
) -> tuple[Array, Metrics]:
    """CUBO_n = 1/n log (1/K) sum_k w_k^n, in nats per example: the Renyi bound at alpha = 1 - n.

    In the limit of many samples an upper bound on log p(x); minimising it fits q to the
    posterior by the chi divergence, which covers it where the ELBO's q is too narrow. For
    training q alone: the parameters of p would lower the evidence (give the player the
    posterior's parameters).

    Args:
      power: n, at least 1.
      gradient: "total", through the samples, or "score", (1 - n) / n sum_k w_k^n / sum_j w_j^n
        d log q(z_k | x) with the samples held, a weighted fit of q that leaves p alone. Both tend
        to that of the bound with many samples. Of few, the estimate lies below the bound, without
        limit where q has drifted away from the posterior; descending it by "total" then drives q
        further, which has no end ("chi" of `vae_mnist`: 1e9 nats). "score" never does.

    Source: Dieng, Tran, Ranganath, Paisley & Blei, "Variational Inference via chi Upper Bound
    Minimization", 2017, Eq. 3, https://arxiv.org/abs/1611.00328. The score is that of
    exp(n CUBO_n) there, divided by its estimate.
    """
    require(power >= 1, "power", "must be at least 1", power)
    rule = "must be 'total' or 'score'"
    require(gradient in ("total", "score"), "gradient", rule, repr(gradient))
    held = gradient == "score"
    found = weights(model, batch, key, num_samples=num_samples, held=held)
    bound = _power_mean(found, power)
    metrics = {"bound": bound, **found.metrics()}
    if not held:
        return bound, metrics
    bound, metrics = jax.lax.stop_gradient((bound, metrics))
    powers = power * found.log_w + found.samples.log_weight()
    normalised = jax.nn.softmax(jax.lax.stop_gradient(powers), axis=0)
    log_q = (
        given(model, batch).posterior(batch["x"]).log_prob(jax.lax.stop_gradient(found.samples.z))
    )
    score = (1.0 - power) / power * (normalised * log_q).sum(0)
    return bound + score - jax.lax.stop_gradient(score), metrics


def wake_phase(model, batch: Batch, key: Key, *, num_samples: int = 5) -> tuple[Array, Metrics]:
    """-sum_k (w_k / sum w) log q(z_k | x), weights and samples held: KL(p(z | x) || q) up to q-free
    terms, by self-normalised importance sampling, in nats per example.

    The other direction of the divergence: q covers all modes of the posterior. For training q
    alone, beside a player that trains p by `iwae` (reweighted wake-sleep).

    Source: Bornschein & Bengio, "Reweighted Wake-Sleep", 2015, Eq. 7,
    https://arxiv.org/abs/1406.2751.
    """
    found = weights(model, batch, key, num_samples=num_samples, held=True)
    # Weights and samples are data here: the gradient is that of a weighted maximum likelihood fit
    # of q. Differentiating the weights as well would train another objective.
    log_w = jax.lax.stop_gradient(found.counted)
    q = given(model, batch).posterior(batch["x"])
    z = jax.lax.stop_gradient(found.samples.z)
    loss = -(jax.nn.softmax(log_w, axis=0) * q.log_prob(z)).sum(0)
    metrics = jax.lax.stop_gradient(found.metrics())
    return loss, {"bound": log_mean_exp(log_w), **metrics}


def sleep_phase(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """-log q(z | x) of dreams (x, z) ~ p, held: KL(p(z | x) || q) averaged over p(x), up to q-free
    terms, in nats per dream. As many dreams as the batch has examples, which are not read.

    For training q alone. Unlike `wake_phase` it fits q where the model dreams and not where the
    data are, without importance weights. Beside a player that trains p by `elbo` with one sample it
    is the wake-sleep algorithm.

    Source: Hinton, Dayan, Frey & Neal, "The Wake-Sleep Algorithm for Unsupervised Neural Networks",
    1995, https://doi.org/10.1126/science.7761831.
    """
    model, keys = given(model, batch), jax.random.split(key)
    prior = model.prior()
    # A prior that reads a context has a dream for each; one that does not is drawn as often.
    missing = () if prior.batch_shape else (len(batch["x"]),)
    z = prior.sample(seed=keys[0], sample_shape=missing)
    x = model.likelihood(z).sample(seed=keys[1])
    z, x = jax.lax.stop_gradient((z, x))
    return -model.posterior(x).log_prob(z), {}


def importance_bound(
    model, batch: Batch, key: Key, *, num_samples: int = 5000, chunk: int = 50
) -> tuple[Array, Metrics]:
    """-L_K for evaluation, `chunk` samples at a time: memory does not grow with K.

    The running maximum and scaled sum make one exact log-sum-exp of all K weights.

    Args:
      num_samples: K.
      chunk: samples evaluated together; must divide K.

    Returns:
      loss `[B]` and the metric `nll_bound_k{K}` (the same: an upper bound on -log p(x)).
    """
    require_sizes(num_samples=num_samples, chunk=chunk)
    chunk = min(chunk, num_samples)
    require(
        num_samples % chunk == 0,
        "chunk",
        f"must divide num_samples={num_samples}",
        chunk,
        "Choose a divisor, e.g. 50 for 5000.",
    )

    check_batch(batch)
    if is_initialising(model):  # parameters cannot be made within a loop
        nll = -log_weights(model, batch, key, num_samples=1)[0]
        return nll, {f"nll_bound_k{num_samples}": nll}

    def body(state, index):
        maximum, total = state
        log_w = log_weights(model, batch, jax.random.fold_in(key, index), num_samples=chunk)
        # Invariant: the sum of all weights so far is total * exp(maximum). A new maximum rescales
        # the old total; exp(-inf - new) = 0 drops the empty one of the start. While all weights
        # are 0 any finite number serves in place of the maximum.
        new = jnp.maximum(maximum, log_w.max(0))
        top = jnp.where(jnp.isfinite(new), new, 0.0)
        share = chunk / len(log_w)  # a mixture posterior has a row for each component
        return (new, total * jnp.exp(maximum - top) + share * jnp.exp(log_w - top).sum(0)), None

    size = len(batch["x"])
    start = (jnp.full(size, -jnp.inf), jnp.zeros(size))
    (maximum, total), _ = jax.lax.scan(body, start, jnp.arange(num_samples // chunk))
    # -log((1/K) total exp(maximum)).
    nll = jnp.log(num_samples) - maximum - jnp.log(total)
    return nll, {f"nll_bound_k{num_samples}": nll}
