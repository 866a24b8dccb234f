"""Models for `stochastic_variational_inference`: mixture of normals, latent Dirichlet allocation.

Rows of one table: each states a prior, statistics and divergences, and no algorithm.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln, multigammaln

from dgmjax.bijectors.base import as_float
from dgmjax.errors import DataError, require, require_sizes
from dgmjax.inference.svi import Conjugate, global_bound, weights_of
from dgmjax.types import Array, ArrayLike, Batch, Key, PyTree


def latent_dirichlet_allocation(
    num_topics: int,
    num_words: int,
    *,
    topic_prior: float | None = None,
    word_prior: float | None = None,
    tolerance: float = 1e-3,
    max_steps: int = 100,
    document_length: int = 64,
) -> Conjugate:
    """Topics g_k ~ Dirichlet(word_prior), documents z_n ~ Dirichlet(topic_prior), words given both.

    `x[B, num_words]` are counts of words. A word is of topic k with probability z_nk, and then word
    w with g_kw; q(z_n) is a Dirichlet of its own for every document, found by alternation.

    Parameters are those of q(g_k), `[num_topics, num_words]`.

    Args:
      topic_prior, word_prior: of the symmetric Dirichlets; 1 / num_topics if None.
      tolerance: mean change of a document's parameters at which its alternation stops.
      max_steps: after which it stops in any case.
      document_length: words of a document that is drawn.

    Sources: Blei, Ng & Jordan, "Latent Dirichlet Allocation", 2003,
    https://www.jmlr.org/papers/v3/blei03a.html; Hoffman, Blei & Bach, "Online Learning for
    Latent Dirichlet Allocation", 2010, Algorithm 2,
    https://papers.nips.cc/paper/2010/hash/71f6278d140af599e06ad9bf1ba03cb0-Abstract.html.
    """
    require_sizes(num_topics=num_topics, num_words=num_words)
    require_sizes(max_steps=max_steps, document_length=document_length)
    alpha = 1.0 / num_topics if topic_prior is None else topic_prior
    eta = 1.0 / num_topics if word_prior is None else word_prior
    require(alpha > 0.0, "topic_prior", "must be positive", alpha)
    require(eta > 0.0, "word_prior", "must be positive", eta)
    prior = jnp.full((num_topics, num_words), eta)

    def start(key: Key, batch: Batch) -> Array:
        # Near 1: topics differ by noise only, and none is preferred.
        return jax.random.gamma(key, 100.0, prior.shape) / 100.0

    def local(topics: Array, batch: Batch) -> tuple[Array, Array]:
        rule = f"must be counts of {num_words} words, [B, {num_words}]"
        require(batch["x"].shape[1:] == (num_words,), "x", rule, batch["x"].shape)
        counts = jnp.asarray(batch["x"], topics.dtype)
        # Expected logarithms down to -1000 for rare words: relative to the word's largest one their
        # exponentials do not all vanish.
        log_words = expected_log(topics)
        largest = log_words.max(0)
        words = jnp.exp(log_words - largest)

        def shares(documents):
            log_topics = expected_log(documents)
            high = log_topics.max(-1, keepdims=True)
            of_topic = jnp.exp(log_topics - high)
            # With many topics, shares of those that no word of a document is of underflow, and so
            # does the total of a word that it does not hold.
            total = jnp.maximum(of_topic @ words, jnp.finfo(words.dtype).tiny)
            return of_topic, total, jnp.log(total) + high + largest

        def alternate(carry):
            documents, change, step = carry
            of_topic, total, _ = shares(documents)
            new = alpha + of_topic * ((counts / total) @ words.T)
            # Each document stops by itself, so that its result depends on no other of the batch.
            moving = change > tolerance
            change = jnp.where(moving, jnp.abs(new - documents).mean(-1), change)
            return jnp.where(moving[:, None], new, documents), change, step + 1

        def unfinished(carry):
            return (carry[1] > tolerance).any() & (carry[2] < max_steps)

        documents = jnp.ones((len(counts), num_topics), topics.dtype)
        change = jnp.where(weights_of(batch) > 0.0, jnp.inf, 0.0).astype(topics.dtype)
        carry = (documents, change, 0)
        documents, _, _ = jax.lax.while_loop(unfinished, alternate, carry)
        of_topic, total, log_total = shares(documents)
        weighted = counts * weights_of(batch)[:, None]
        statistics = words * (of_topic.T @ (weighted / total))
        rate = dirichlet_divergence(documents, jnp.full_like(documents, alpha))
        return statistics, (counts * log_total).sum(-1) - rate

    def divergence(topics: Array) -> Array:
        return dirichlet_divergence(topics, prior).sum()

    def draw(topics: Array, key: Key, count: int) -> Array:
        share_key, word_key = jax.random.split(key)
        shares = jax.random.dirichlet(share_key, jnp.full(num_topics, alpha), (count,))
        words = shares @ (topics / topics.sum(-1, keepdims=True))
        shape = (document_length, count)
        drawn = jax.random.categorical(word_key, jnp.log(words), shape=shape)
        add = lambda counts, word: (counts.at[jnp.arange(count), word].add(1), None)
        return jax.lax.scan(add, jnp.zeros((count, num_words), jnp.int32), drawn)[0]

    return Conjugate(prior, start, local, divergence, draw)


def normal_mixture(
    num_components: int,
    loc: ArrayLike,
    covariance: ArrayLike,
    *,
    concentration: float | None = None,
    strength: float = 1.0,
    dof: float | None = None,
) -> Conjugate:
    """Shares ~ Dirichlet, (mu_k, Lambda_k) ~ Normal-Wishart, x ~ N(mu_z, Lambda_z^-1).

    Parameters are a dict of sums, to which statistics add: `weight` and `count` `[K]`, `dof` `[K]`,
    `first` `[K, D]` and `second` `[K, D, D]`, the sums of x - loc and of its square. In the usual
    names alpha = weight, beta = count, nu = dof, beta (m - loc) = first and
    W^-1 = second - first first^T / beta.

    Args:
      loc: `[D]`, the prior mean of mu_k, about which sums are taken: near the data's mean.
      covariance: `[D, D]`, the prior mean of W^-1 / nu: what a component may look like.
      concentration: of the shares; 1 / num_components if None.
      strength: beta of the prior, in examples.
      dof: nu of the prior, above D - 1; D if None.

    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 10.2,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.
    """
    require_sizes(num_components=num_components)
    centre, spread = as_float(loc), as_float(covariance)
    size = centre.shape[-1]
    square = spread.shape == (size, size)
    require(square, "covariance", f"must have shape {(size, size)}", spread.shape)
    nu = float(size) if dof is None else dof
    alpha = 1.0 / num_components if concentration is None else concentration
    require(alpha > 0.0, "concentration", "must be positive", alpha)
    require(strength > 0.0, "strength", "must be positive", strength)
    require(nu > size - 1, "dof", f"must be above {size - 1} for {size} features", nu)
    ones = jnp.ones(num_components, centre.dtype)
    prior = {
        "weight": alpha * ones,
        "count": strength * ones,
        "dof": nu * ones,
        "first": jnp.zeros((num_components, size), centre.dtype),
        "second": jnp.tile(nu * spread, (num_components, 1, 1)),
    }

    def start(key: Key, batch: Batch) -> PyTree:
        """Equal shares, at examples of the batch, with the prior's covariance."""
        x = batch["x"]
        rule = f"must have at least {num_components} rows, at which the components start"
        require(len(x) >= num_components, "x", rule, len(x), error=DataError)
        rows = jax.random.choice(key, len(x), (num_components,), replace=False)
        first = x[rows] - centre
        total = {"weight": ones, "count": ones, "dof": ones, "first": first}
        second = first[:, :, None] * first[:, None, :]
        return jax.tree.map(jnp.add, prior, {**total, "second": second})

    def local(parameters: PyTree, batch: Batch) -> tuple[PyTree, Array]:
        x = batch["x"] - centre
        mean, scatter = moments(parameters)
        difference = x[:, None] - mean
        # (x - m)^T W (x - m), by a triangular solve rather than an inverse.
        factor = jnp.linalg.cholesky(scatter)
        solved = jax.vmap(
            lambda lower, rhs: jax.scipy.linalg.solve_triangular(lower, rhs.T, lower=True),
            in_axes=(0, 1),
        )(factor, difference)
        distance = parameters["dof"] * jnp.square(solved).sum(1).T
        normal = 0.5 * (
            expected_log_determinant(parameters["dof"], scatter)
            - size * (math.log(2.0 * math.pi) + 1.0 / parameters["count"])
            - distance
        )
        joint = expected_log(parameters["weight"]) + normal
        shares = jax.nn.softmax(joint, -1) * weights_of(batch)[:, None]
        count = shares.sum(0)
        return {
            "weight": count,
            "count": count,
            "dof": count,
            "first": shares.T @ x,
            "second": jnp.einsum("nk,ni,nj->kij", shares, x, x),
        }, jax.nn.logsumexp(joint, -1)

    def divergence(parameters: PyTree) -> Array:
        mean, scatter = moments(parameters)
        _, prior_scatter = moments(prior)
        share = dirichlet_divergence(parameters["weight"], prior["weight"])
        ratio = strength / parameters["count"]
        inside = jnp.einsum("ki,ki->k", mean, jnp.linalg.solve(scatter, mean[..., None])[..., 0])
        normal = 0.5 * (
            size * (ratio - 1.0 - jnp.log(ratio)) + strength * parameters["dof"] * inside
        )
        q, p = parameters["dof"], prior["dof"]
        trace = jnp.trace(jnp.linalg.solve(scatter, prior_scatter), axis1=-2, axis2=-1)
        wishart = (
            log_wishart_normaliser(q, scatter)
            - log_wishart_normaliser(p, prior_scatter)
            + 0.5 * (q - p) * expected_log_determinant(q, scatter)
            + 0.5 * q * (trace - size)
        )
        return share + (normal + wishart).sum()

    def draw(parameters: PyTree, key: Key, count: int) -> Array:
        which_key, noise_key = jax.random.split(key)
        mean, scatter = moments(parameters)
        factor = jnp.linalg.cholesky(scatter / parameters["dof"][:, None, None])
        which = jax.random.categorical(which_key, jnp.log(parameters["weight"]), shape=(count,))
        noise = jax.random.normal(noise_key, (count, size), centre.dtype)
        return centre + mean[which] + jnp.einsum("nij,nj->ni", factor[which], noise)

    return Conjugate(prior, start, local, divergence, draw)


def moments(parameters: PyTree) -> tuple[Array, Array]:
    """m - loc `[K, D]` and W^-1 `[K, D, D]` of the parameters of a `normal_mixture`."""
    first, count = parameters["first"], parameters["count"]
    mean = first / count[:, None]
    return mean, parameters["second"] - first[:, :, None] * mean[:, None, :]


def expected_log(parameters: Array) -> Array:
    """E[log p] of p ~ Dirichlet(parameters), over the last axis."""
    return digamma(parameters) - digamma(parameters.sum(-1, keepdims=True))


def dirichlet_divergence(q: Array, p: Array) -> Array:
    """KL(Dirichlet(q) || Dirichlet(p)) in nats, over the last axis."""
    log_normaliser = lambda a: gammaln(a).sum(-1) - gammaln(a.sum(-1))
    return log_normaliser(p) - log_normaliser(q) + ((q - p) * expected_log(q)).sum(-1)


def expected_log_determinant(dof: Array, scatter: Array) -> Array:
    """E[log |Lambda|] of Lambda ~ Wishart(W, dof), of scatter W^-1 `[..., D, D]`."""
    size = scatter.shape[-1]
    each = digamma((dof[..., None] - jnp.arange(size)) / 2.0).sum(-1)
    return each + size * math.log(2.0) - jnp.linalg.slogdet(scatter)[1]


def log_wishart_normaliser(dof: Array, scatter: Array) -> Array:
    """log B with Wishart(Lambda) = B |Lambda|^((dof - D - 1) / 2) exp(-tr(W^-1 Lambda) / 2)."""
    size = scatter.shape[-1]
    half = 0.5 * dof
    log_determinant = jnp.linalg.slogdet(scatter)[1]
    return half * (log_determinant - size * math.log(2.0)) - multigammaln(half, size)


def perplexity(model: Conjugate, parameters: PyTree, batch: Batch) -> Array:
    """exp of the negative bound per word, for documents `x[B, num_words]` that hold some.

    The divergence of the topics counts in full, as scikit-learn has it.
    """
    words = (weights_of(batch)[:, None] * jnp.asarray(batch["x"])).sum()
    return jnp.exp(-global_bound(model, parameters, batch) / words)
