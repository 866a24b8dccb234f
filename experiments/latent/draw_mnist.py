"""DRAW on static MNIST: a bound of at most 80.97 nats with attention (Gregor et al. 2015).

    dgmjax train draw_mnist --data-dir DATA
    dgmjax train draw_mnist --no-attention --num-steps 10 --hidden 200 --latent 20 --epochs 30

The published size, 64 steps of two LSTMs of 256 units, is for a GPU. The second command took 35
minutes on a CPU core that others shared and reached an ELBO of 92.15. The plain VAE of
`vae_posteriors_mnist --posterior diagonal` is at 97.4 after 40 epochs (2 minutes) and at 94.3 after
220 (10 minutes; both with `--no-marginal-start`; 94.6 after 220 without); in 35 minutes, 500 of 740
epochs, it fitted the training images to 88.8 and the validation images no better than 97.2.
Attention with ten steps of 128 units was at 128.5 after ten epochs, for ten small windows cannot
draw a digit. The ELBO of the test split is what the paper reports; `canvas` is its figure of the
drawing over time.
Source: Gregor, Danihelka, Graves, Rezende & Wierstra, "DRAW: A Recurrent Neural Network For Image
Generation", 2015, Tables 2 and 3.
"""

from functools import lru_cache

import jax
import numpy as np

from dgmjax import lab, models, objectives, runs
from dgmjax.plotting import image_grid

from ..shared import common


def draw_mnist(
    *,
    attention: bool = True,
    latent: int = 100,
    num_steps: int = 64,
    hidden: int = 256,
    read_size: int = 2,
    write_size: int = 5,
    learning_rate: float = 1e-3,
    epochs: int = 100,
    batch_size: int = 100,
    tiny: bool = False,
    data_dir: str | None = None,
) -> lab.Experiment:
    """A recurrent VAE that draws on a canvas.

    Args:
      attention: read and write through a small window of Gaussian filters.
      latent: dimensions of z of a step.
      num_steps: T, steps of drawing.
      hidden: units of each LSTM.
      read_size, write_size: sides of the windows.
      learning_rate: peak of the cosine schedule of Adam.
      epochs: passes over the 50,000 training images.
      batch_size: images a step.
      tiny: a few steps of a small model on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    dataset, transform = common.static_mnist(data_dir, tiny)
    if tiny:
        latent, num_steps, hidden, epochs = 4, 3, 16, 2
    window = (read_size, write_size) if attention else None
    published = runs.Published(80.97, "Gregor et al. 2015, a bound") if attention else None
    return common.latent_experiment(
        model=f"DRAW {num_steps} x {latent}, {hidden} units" + (", attention" if window else ""),
        module=models.DRAW(dataset.event_shape, latent, num_steps, hidden, window),
        loss=objectives.elbo,
        dataset=dataset,
        transform=transform,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        clip=10.0,
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
    """The canvas of samples over time: a row a sample, from the first step to the last."""
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
