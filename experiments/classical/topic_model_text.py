"""Topics of the lines of Shakespeare: held-out perplexity within 2% of scikit-learn's (our target).

    dgmjax train topic_model_text --data-dir DATA
    dgmjax train topic_model_text --documents speeches --data-dir DATA
    dgmjax train topic_model_text --dataset counts.npz

Latent Dirichlet allocation with 20 topics, by stochastic variational inference: every document is
seen once in an epoch. Beside it scikit-learn's, online, with the same batches' size and epochs, and
independent words. Perplexity is exp of the negative bound per held-out word, topics included, as
scikit-learn has it. Lines are short, some four words that count, and say little of their topic;
speeches are longer. There is no published number on this text. Source: Hoffman, Blei & Bach,
"Online Learning for Latent Dirichlet Allocation", 2010,
https://papers.nips.cc/paper/2010/hash/71f6278d140af599e06ad9bf1ba03cb0-Abstract.html.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from dgmjax import data, evaluation, inference, lab, models, objectives, training
from dgmjax.plotting import new_figure

from ..shared.options import epochs_to_steps


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents and their words.

    Attributes:
      dataset: a text whose lines are documents (.txt), or counts `x[N, W]` of words, with `words`
        `[W]` or without (.npz); tiny Shakespeare if left out
      documents: what is a document of a text
      max_words: the most frequent words are kept
      batch_size: documents per step
      tiny: a few documents of built-in text
      data_dir: folder of data sets
    """

    dataset: Path | None = None
    documents: Literal["lines", "speeches"] = "lines"
    max_words: int = 2000
    batch_size: int = 256
    tiny: bool = False
    data_dir: str | None = None


def topic_model_text(
    *,
    num_topics: int = 20,
    epochs: int = 20,
    delay: float = 10.0,
    forgetting: float = 0.7,
    topic_prior: float | None = None,
    word_prior: float | None = None,
    corpus: Corpus = Corpus(),
) -> lab.Experiment:
    """Latent Dirichlet allocation by stochastic variational inference.

    Args:
      num_topics: K.
      epochs: passes over the documents.
      delay: of the rate (t + delay)^-forgetting.
      forgetting: of the rate.
      topic_prior: concentration of a document's topics; 1 / K if left out.
      word_prior: concentration of a topic's words; 1 / K if left out.
    """
    dataset, batch_size = counts_of(corpus), corpus.batch_size
    if corpus.tiny:
        num_topics, epochs, batch_size = 3, 2, 16
    num, num_words = dataset.splits["train"]["x"].shape
    options = {"topic_prior": topic_prior, "word_prior": word_prior}
    loss = partial(objectives.natural_gradient, num_examples=num)
    steps = epochs_to_steps(dataset, epochs, batch_size)
    theirs = partial(scikit_learns, num_topics=num_topics, epochs=epochs, batch_size=batch_size)
    theirs = partial(theirs, delay=delay, forgetting=forgetting, **options)
    return lab.Experiment(
        model=f"LDA, {num_topics} topics",
        module=models.TopicModel(num_words, num_topics, **options),
        players={"model": training.Player(loss, training.robbins_monro(delay, forgetting))},
        dataset=dataset,
        steps=steps,
        batch_size=batch_size,
        evaluate_every=max(1, steps // 10),
        log_every=max(1, steps // 200),
        estimators=(
            lab.Estimator("perplexity", "bound, topics included", perplexity, "words"),
            lab.Estimator("nll_word", "bound per word, topics left out", per_word),
            lab.Estimator("perplexity", "bound", theirs, "words", model="scikit-learn's LDA"),
            lab.Estimator("perplexity", "exact", unigrams, "words", model="independent words"),
        ),
        figures={"topics": topics},
    )


def counts_of(corpus: Corpus):
    """The corpus as counts of words."""
    if corpus.tiny:
        lines = data.built_in_text().splitlines()
        return data.bag_of_words(lines, name="built-in text", max_words=60, min_documents=3)
    return data.load_documents(
        corpus.dataset, corpus.documents, data_dir=corpus.data_dir, max_words=corpus.max_words
    )


def perplexity(trained, arrays):
    """exp of the negative bound per word of all documents together."""
    found = trained.call(_perplexity, {"x": arrays["x"]})
    return evaluation.Measurement(float(found), None, len(arrays["x"]))


def per_word(trained, arrays):
    """Nats per word, with the error of documents as the draws of a ratio."""
    local = np.asarray(trained.call(_local, {"x": arrays["x"]}), np.float64)
    words = arrays["x"].sum(1)
    mean = -local.sum() / words.sum()
    spread = (-local - mean * words).std(ddof=1) / words.mean()
    return evaluation.Measurement(float(mean), float(spread / len(words) ** 0.5), len(words))


def _perplexity(model, batch):
    return inference.perplexity(model.conjugate, model.global_parameters(), batch)


def _local(model, batch):
    return model.conjugate.local(model.global_parameters(), batch)[1]


def scikit_learns(
    trained, arrays, *, num_topics, epochs, batch_size, delay, forgetting, topic_prior, word_prior
):
    """Its online algorithm on the same documents, as often."""
    from sklearn.decomposition import LatentDirichletAllocation

    theirs = LatentDirichletAllocation(
        num_topics,
        doc_topic_prior=topic_prior,
        topic_word_prior=word_prior,
        learning_method="online",
        learning_offset=delay,
        learning_decay=forgetting,
        batch_size=batch_size,
        max_iter=epochs,
        random_state=trained.seed,
    )
    theirs.fit(trained.arrays("train")["x"])
    value = float(theirs.perplexity(arrays["x"]))
    return evaluation.Measurement(value, None, len(arrays["x"]))


def unigrams(trained, arrays):
    """Words drawn independently, with their shares of the training documents."""
    counts = trained.arrays("train")["x"].sum(0) + 1.0
    log_shares = np.log(counts / counts.sum())
    nats = -(arrays["x"] @ log_shares).sum() / arrays["x"].sum()
    return evaluation.Measurement(float(np.exp(nats)), None, len(arrays["x"]))


def topics(trained, num_words: int = 8):
    """The most probable words of each topic, the topics by their share of the words."""
    parameters = np.asarray(jax.device_get(trained.state.params["global"]))
    words = trained.experiment.dataset.info["words"]
    order = np.argsort(-parameters.sum(1))
    shares = parameters.sum(1) / parameters.sum()
    figure = new_figure(6.4, 0.2 * len(order) + 0.5, f"Topics: {trained.experiment.model}")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(len(order) - 0.5, -0.5)
    for row, topic in enumerate(order):
        best = np.argsort(-parameters[topic])[:num_words]
        axes.text(0.0, row, f"{shares[topic]:.1%}", fontsize=8, va="center", color="0.4")
        axes.text(0.09, row, "  ".join(words[word] for word in best), fontsize=8, va="center")
    return figure
