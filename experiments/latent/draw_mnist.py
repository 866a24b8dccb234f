"""DRAW on static MNIST: a bound of at most 80.97 nats with attention (Gregor et al. 2015).

    dgmjax train draw_mnist --data-dir DATA
    dgmjax train draw_mnist --no-attention --num-steps 10 --hidden 200 --latent 20 --epochs 30

The published size, 64 steps of two LSTMs of 256 units, needs a GPU; the second command suits a CPU.
Attention needs many steps: ten small windows cannot draw a digit. The paper reports the ELBO of the
test split, and its figure of the drawing over time is `canvas`. Source: Gregor, Danihelka, Graves,
Rezende & Wierstra, "DRAW: A Recurrent Neural Network For Image Generation", 2015, Tables 2 and 3,
https://arxiv.org/abs/1502.04623.
"""

from dataclasses import replace
from functools import lru_cache

import jax
import numpy as np

from dgmjax import lab, models, objectives, runs
from dgmjax.plotting import image_grid

from ..shared import common
from ..shared.options import Images


def draw_mnist(
    *,
    attention: bool = True,
    latent: int = 100,
    num_steps: int = 64,
    hidden: int = 256,
    read_size: int = 2,
    write_size: int = 5,
    shared: Images = Images(learning_rate=1e-3, epochs=100, batch_size=100),
) -> lab.Experiment:
    """A recurrent VAE that draws on a canvas.

    Args:
      attention: read and write through a small window of Gaussian filters.
      latent: dimensions of z in each step.
      num_steps: T, steps of drawing.
      hidden: units of each LSTM.
      read_size: side of the window that is read.
      write_size: side of the window that is written.
    """
    dataset, transform = common.images(shared, "static")
    of_that_size = (num_steps, hidden, latent, read_size, write_size) == (64, 256, 100, 2, 5)
    if shared.tiny:
        latent, num_steps, hidden, shared = 4, 3, 16, replace(shared, epochs=2)
    window = (read_size, write_size) if attention else None
    differs = None if of_that_size else "other steps, units or windows"
    source = "Gregor et al. 2015, a bound"
    published = runs.Published(80.97, source, differs) if attention else None
    return common.latent_experiment(
        shared,
        model=f"DRAW {num_steps} x {latent}, {hidden} units" + (", attention" if window else ""),
        module=models.DRAW(dataset.event_shape, latent, num_steps, hidden, window),
        loss=objectives.elbo,
        dataset=dataset,
        transform=transform,
        adam={"clip": 10.0},
        validation=objectives.elbo,
        estimators=(
            lab.Estimator(
                "nll_bound_k1",
                "ELBO",
                lab.averaged(objectives.elbo, batch_size=100),
                published=published,
            ),
            common.importance_estimator(20, chunk=10),
            *common.rate_and_distortion("each step in closed form along a path, averaged", 100),
        ),
        figures={"canvas": canvas},
        previews=("canvas",),
        evaluation_batch_size=100,
    )


def canvas(trained, num: int = 8, most: int = 12):
    """The canvas of samples over time: one row per sample, from the first step to the last."""
    drawn = np.asarray(trained.call(_canvases(num), jax.random.key(1)))
    shown = np.unique(np.linspace(0, drawn.shape[1] - 1, most).round().astype(int))
    pictures = drawn[:, shown].reshape(-1, *drawn.shape[2:])
    title = f"Canvas, steps 1 to {drawn.shape[1]}"
    return image_grid(pictures, columns=len(shown), title=title)


@lru_cache
def _canvases(num: int):
    def canvases(model, key):
        z = model.prior().sample(seed=key, sample_shape=(num,))
        return jax.nn.sigmoid(model.canvases(z))

    return canvases
