"""Baselines with closed forms, to stand beside a model's number."""

import numpy as np


def independent_bernoulli(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """-log p(x) in nats of each test example under independent Bernoulli dimensions.

    The rates are (n_1 + 1) / (n + 2) of the training data (Laplace's rule), so that no
    test example has probability zero.

    >>> independent_bernoulli(np.ones((2, 1)), np.ones((1, 1))).round(4).tolist()
    [0.2877]
    """
    train = np.asarray(train, np.float64).reshape(len(train), -1)
    test = np.asarray(test, np.float64).reshape(len(test), -1)
    rate = (train.sum(0) + 1.0) / (len(train) + 2.0)
    return -(test @ np.log(rate) + (1.0 - test) @ np.log1p(-rate))
