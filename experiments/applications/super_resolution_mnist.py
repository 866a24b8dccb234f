"""Super-resolution of binary MNIST, 7x7 to 28x28, in exact nats: PixelCNN, 79.20 to 81.30 in all.

    dgmjax train super_resolution_mnist --data-dir DATA
    dgmjax train super_resolution_mnist --features 16 --blocks 3 --epochs 3 --data-dir DATA

y counts the ones of each block of 4x4 pixels of the static binarisation, 17 levels. As x determines
y, log p(x) = log p(y) + log p(x | y) is exact, and its sum is comparable with a PixelCNN of whole
images on the same data. What y leaves open is bounded from above by images that are uniform given
y, sum log C(16, y), which need no model. PSNR stands beside it: the mean of samples has a higher
one than any sample, being blurred, and says nothing about whether images look like digits.
Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, Table 4
(PixelCNN 81.30 of whole images), and Multi-Scale PixelRNN, https://arxiv.org/abs/1601.06759.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from dgmjax import evaluation, lab, models, nn, runs
from dgmjax.distributions import families
from dgmjax.errors import require
from dgmjax.plotting import image_grid

from ..shared import common, super_resolution
from ..shared.options import OwnImages, epochs_to_steps

PUBLISHED = runs.Published(81.30, "van den Oord et al. 2016, Table 4, PixelCNN", "of whole images")


def super_resolution_mnist(
    *,
    factor: int = 4,
    features: int = 24,
    blocks: int = 5,
    kernel_size: int = 5,
    context: int = 8,
    images: int = 100,
    samples: int = 16,
    epochs: int = 8,
    shared: OwnImages = OwnImages(learning_rate=2e-3, ema_decay=0.999, batch_size=8),
) -> lab.Experiment:
    """PixelCNNs of low resolutions and of images given them.

    Args:
      factor: side of a block, a divisor of the image's sides.
      features, blocks, kernel_size: of the PixelCNN of x given y; that of y has half the blocks.
      context: features that each pixel reads of the low resolution around it.
      images: test images that are restored.
      samples: of each.
      epochs: passes over the training images.
    """
    dataset, transform = common.images(shared, "static")
    shape = dataset.event_shape
    if shared.tiny:
        features, blocks, kernel_size, context, images, samples = 4, 1, 3, 2, 5, 2
        epochs = 1
    height, width, channels = shape
    divides = factor >= 2 and height % factor == 0 == width % factor
    require(divides, "factor", f"must be a divisor of {height} and {width}, at least 2", factor)
    low = (height // factor, width // factor, channels)
    options: dict[str, Any] = {
        "features": features,
        "head_features": 2 * features,
        "positions": True,
    }
    module = models.CoarseToFine(
        coarse=models.PixelCNN(
            low,
            families.Categorical(factor**2 + 1),
            blocks=max(1, blocks // 2),
            first_kernel=3,
            **options,
        ),
        fine=models.PixelCNN(
            shape,
            blocks=blocks,
            kernel_size=kernel_size,
            first_kernel=3 if shared.tiny else 7,
            local_features=context,
            **options,
        ),
        encoder=nn.LowResolutionContext(context, 4 * context, factor, scale=float(factor**2)),
        reduce=super_resolution.BlockCounts(tuple(shape), factor),
    )
    bare = lambda x: x
    nats = super_resolution.fine_nats(100)
    whole = lab.Estimator(
        nats[-1].metric,
        nats[-1].estimator,
        nats[-1].measure,
        published=None if shared.tiny or shared.dataset else PUBLISHED,
    )
    return common.experiment(
        shared,
        model=f"PixelCNN {low[0]}x{low[1]} to {height}x{width}, {blocks} x {features} features",
        module=module,
        loss=super_resolution.both_terms,
        dataset=dataset,
        transform=transform,
        steps=epochs_to_steps(dataset, epochs, shared.batch_size),
        adam={"weight_decay": 1e-4},
        validation=super_resolution.both_terms,
        evaluation_batch_size=100,
        estimators=(
            *nats[:-1],
            whole,
            lab.Estimator(
                "fine_nll_nats",
                "exact, of x given y",
                partial(uniform_given_counts, factor),
                model="uniform over images of the same y (baseline)",
            ),
            *super_resolution.signal_to_noise(images, samples, bare, peak=True),
            lab.Estimator(
                "consistent_blocks",
                f"blocks of a sample that hold as many ones as y says, {images} images",
                partial(consistent, images, samples),
                unit="fraction",
            ),
        ),
        figures={
            "restored": partial(restored_images, images, samples),
            "samples": lab.figures.samples,
            "data": lab.figures.data,
        },
    )


def uniform_given_counts(factor: int, trained, arrays):
    """sum log C(factor^2, y), the entropy of x where all images of the same y are equal."""
    y = np.asarray(trained.experiment.module.reduce(jnp.asarray(arrays["x"])))
    n = float(factor**2)
    each = gammaln(n + 1.0) - gammaln(y + 1.0) - gammaln(n - y + 1.0)
    return evaluation.average(np.asarray(each).reshape(len(y), -1).sum(1))


def consistent(images: int, samples: int, trained, _):
    """How many blocks of the samples reduce to the y that they were given."""
    _, y, drawn = super_resolution.restored(trained, images, samples)
    again = np.asarray(trained.experiment.module.reduce(jnp.asarray(drawn[0])))
    return evaluation.average((again == y).reshape(len(y), -1).mean(1))


def restored_images(images: int, samples: int, trained, num: int = 12):
    """Rows: test images, their low resolution, samples, and the mean of all samples."""
    x, y, drawn = super_resolution.restored(trained, images, samples)
    num = min(num, len(x))
    blocks = np.asarray(trained.experiment.module.reduce.spread(jnp.asarray(y)))
    rows = [x, blocks, *drawn[: min(3, samples)], drawn.mean(0)]
    names = ["truth", "low resolution", *["sample"] * (len(rows) - 3), f"mean of {samples}"]
    pictures = np.concatenate([row[:num] for row in rows])
    return image_grid(pictures, columns=num, row_names=names)
