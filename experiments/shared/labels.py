"""Parts of experiments on images and their classes: a classifier of real images."""

import functools

import jax
import numpy as np

from dgmjax import data, evaluation, lab
from dgmjax.plotting import image_grid

MOST_ROWS = 10_000
"""Real training images that the classifier sees."""


@functools.lru_cache(maxsize=1)
def _classifier(trained):
    """Logistic regression from pixels to classes, fitted to real training images."""
    from sklearn.linear_model import LogisticRegression

    train = trained.arrays("train")
    x = train["x"][:MOST_ROWS].reshape(-1, train["x"][0].size)
    return LogisticRegression(C=0.05, max_iter=2000).fit(x, train["label"][:MOST_ROWS])


@functools.lru_cache(maxsize=1)
def digit_classifier():
    """A function from raw built-in digits to their classes: logistic regression."""
    from sklearn.linear_model import LogisticRegression

    train = data.load("digits").splits["train"]
    flat = lambda x: np.reshape(x, (len(x), -1)) / 16.0
    fitted = LogisticRegression(C=0.05, max_iter=2000).fit(flat(train["x"]), train["label"])
    return lambda x: fitted.predict(flat(x))


def classes_of(trained, x: np.ndarray) -> np.ndarray:
    """The classes that a classifier of real images gives to images, scaled as the model's are."""
    return _classifier(trained).predict(x.reshape(len(x), -1))


def generated(trained, images_of, each: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """`each` images of every class, and the classes; `images_of(model, key, label)`."""
    classes = int(trained.arrays("train")["label"].max()) + 1
    label = np.tile(np.arange(classes), each)
    return np.asarray(trained.call(images_of, jax.random.key(seed), label)), label


def recognised(images_of, each: int):
    """Two estimators: how often the classifier of real images names the class asked for."""

    def of_generated(trained, arrays):
        x, label = generated(trained, images_of, each)
        right = _classifier(trained).predict(x.reshape(len(x), -1)) == label
        return evaluation.average(right)

    def of_real(trained, arrays):
        x = arrays["x"].reshape(len(arrays["x"]), -1)
        return evaluation.average(_classifier(trained).predict(x) == arrays["label"])

    how = "logistic regression on pixels, fitted to real images"
    real = lab.Estimator(
        "recognised", how, of_real, unit="fraction", model="real test images (reference)"
    )
    return lab.Estimator("recognised", how, of_generated, unit="fraction"), real


def class_grid(images_of, rows: int = 8):
    """A figure: a column of generated images for each class."""

    def draw(trained):
        x, label = generated(trained, images_of, rows)
        title = f"Each class generated: {trained.experiment.model}"
        return image_grid(x, columns=int(label.max()) + 1, title=title)

    return draw
