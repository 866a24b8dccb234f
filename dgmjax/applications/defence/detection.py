"""Inputs that are not like the training data: p-values of a density, and likelihood ratios."""

from typing import Literal

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.types import ArrayLike


def rank_p_values(
    train_scores: ArrayLike, scores: ArrayLike, sided: Literal["lower", "both"] = "lower"
) -> np.ndarray:
    """p-values `[M]` of scores among those of training data: small for unusual inputs.

    With N training scores, p = (1 + #{i : s_i <= s}) / (N + 1) is the share of training data that
    is no more probable than the input. If the input is drawn as they were, P(p <= a) <= a. A score
    may also be too high (the likelihood of a plain image); "both" counts the shorter tail twice,
    p = min(1, 2 (1 + min(#{s_i <= s}, #{s_i >= s})) / (N + 1)).

    Args:
      train_scores: `[N]`, log-likelihoods of data that the density was trained on, or better of
        held-out ones: those of memorised data are too high.
      scores: `[M]`.

    Source: Song, Kim, Nowozin, Ermon & Kushman, "PixelDefend: Leveraging Generative Models to
    Understand and Defend against Adversarial Examples", 2018, Eq. 3,
    https://arxiv.org/abs/1710.10766.

    >>> rank_p_values([1.0, 2.0, 3.0], [0.0, 2.5]).tolist()
    [0.25, 0.75]
    """
    train, scores = np.sort(_scores("train_scores", train_scores)), _scores("scores", scores)
    require(sided in ("lower", "both"), "sided", 'must be "lower" or "both"', repr(sided))
    below = np.searchsorted(train, scores, side="right")
    if sided == "lower":
        return (1.0 + below) / (len(train) + 1.0)
    above = len(train) - np.searchsorted(train, scores, side="left")
    return np.minimum(1.0, 2.0 * (1.0 + np.minimum(below, above)) / (len(train) + 1.0))


def likelihood_ratio(log_prob: ArrayLike, background: ArrayLike) -> np.ndarray:
    """log p(x) - log p_0(x) `[M]`, where the background p_0 knows what is common to all images.

    Raw likelihoods mostly measure how complex an image is: those of other, simpler data are higher
    than those of the training data. A background model, trained on the same data with some pixels
    replaced by noise, shares that part, and the ratio is left with what is special to the data.

    Source: Ren, Liu, Fertig, Snoek, Poplin, DePristo, Dillon & Lakshminarayanan, "Likelihood Ratios
    for Out-of-Distribution Detection", 2019, Eq. 4, https://arxiv.org/abs/1906.02845.

    >>> likelihood_ratio([-10.0, -20.0], [-15.0, -18.0]).tolist()
    [5.0, -2.0]
    """
    of_model, of_background = _scores("log_prob", log_prob), _scores("background", background)
    same = of_model.shape == of_background.shape
    rule = f"must have one number for each of the {len(of_model)} of `log_prob`"
    require(same, "background", rule, of_background.shape, "", DataError)
    return of_model - of_background


def auroc(inside: ArrayLike, outside: ArrayLike, *, paired: bool = False) -> tuple[float, float]:
    """P(s_in > s_out) + P(s_in = s_out) / 2, the area under the ROC curve, and its standard error.

    1/2 is no knowledge; below it, the score is inverted. The error is that of DeLong's method: the
    spread of each example's rank in the other group.

    Args:
      inside, outside: `[N]` and `[M]`, scores that should be higher inside.
      paired: whether the scores of a row belong to one example (an image, and what was made of
        it), which must not be counted as two; N = M then.

    Source: DeLong, DeLong & Clarke-Pearson, "Comparing the Areas under Two or More Correlated
    Receiver Operating Characteristic Curves", 1988, https://doi.org/10.2307/2531595.

    >>> auroc([2.0, 3.0], [1.0, 2.0])[0]
    0.875
    """
    one, other = _scores("inside", inside), _scores("outside", outside)
    rule = "must hold at least two scores"
    for name, scores in (("inside", one), ("outside", other)):
        require(len(scores) >= 2, name, rule, len(scores), "", DataError)
    of_one, of_other = _share_below(one, other), 1.0 - _share_below(other, one)
    if paired:
        rule = f"must be as many as those of `inside`, {len(one)}, where they are paired"
        require(len(one) == len(other), "outside", rule, len(other), "", DataError)
        variance = (of_one + of_other).var(ddof=1) / len(one)
    else:
        variance = of_one.var(ddof=1) / len(one) + of_other.var(ddof=1) / len(other)
    return float(of_one.mean()), float(np.sqrt(variance))


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of `others`, the share below each score; equal ones count half."""
    ordered = np.sort(others)
    below, upto = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    return (below + upto) / (2.0 * len(others))


def _scores(name: str, scores: ArrayLike) -> np.ndarray:
    array = np.asarray(scores, np.float64)
    whole = array.ndim == 1 and array.size >= 1
    require(whole, name, "must be [N], at least one", f"shape {array.shape}", "", DataError)
    known = not np.isnan(array).any()
    require(known, name, "must not be NaN", "NaN", "Infinite scores are in order.", DataError)
    return array
