"""PixelCNN and PixelRNN on static binarised MNIST: exact 79.20 to 81.30 nats.

    dgmjax train pixelcnn_binarized_mnist --data-dir DATA
    dgmjax train pixelcnn_binarized_mnist --network diagonal_bilstm --data-dir DATA

All networks have a learned vector for each pixel (`positions`), which the papers do not have. AdamW
with a cosine schedule; the best epoch is chosen on the validation split.
Sources: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, Table 4
(PixelCNN 81.30, Row LSTM 80.54, Diagonal BiLSTM of one layer 80.75),
https://arxiv.org/abs/1601.06759; van den Oord et al., "Conditional Image Generation with PixelCNN
Decoders", 2016 (gated; no number on this binarisation), https://arxiv.org/abs/1606.05328;
Salimans, Karpathy, Chen & Kingma, "PixelCNN++", 2017 (no number on MNIST),
https://arxiv.org/abs/1701.05517.
"""

from collections.abc import Callable
from typing import Any, Literal

from dgmjax import lab, models, runs
from dgmjax.distributions import families
from dgmjax.errors import require

from ..shared import common, completion
from ..shared.options import OwnImages, epochs_to_steps

Network = Literal["pixelcnn", "gated", "plus_plus", "row_lstm", "diagonal_bilstm"]
ALL = ("features", "head_features", "first_kernel")
CONVOLUTIONS = (*ALL, "blocks", "kernel_size", "dropout")
# Each network's model, which arguments it takes, and the defaults of this experiment.
NETWORKS: dict[Network, tuple[Callable, tuple[str, ...], dict[str, Any]]] = {
    "pixelcnn": (
        models.PixelCNN,
        CONVOLUTIONS,
        {"features": 24, "blocks": 6, "kernel_size": 5, "epochs": 8},
    ),
    "gated": (
        models.GatedPixelCNN,
        CONVOLUTIONS,
        {"features": 24, "blocks": 7, "kernel_size": 3, "epochs": 7},
    ),
    "plus_plus": (
        models.PixelCNNPlusPlus,
        ("family", "features", "blocks", "resolutions", "dropout"),
        {"features": 16, "blocks": 2, "resolutions": 3, "epochs": 4},
    ),
    "row_lstm": (
        models.RowLSTM,
        (*ALL, "layers"),
        {"features": 16, "blocks": 4, "epochs": 10},
    ),
    "diagonal_bilstm": (
        models.DiagonalBiLSTM,
        (*ALL, "layers"),
        {"features": 32, "blocks": 1, "epochs": 5},
    ),
}
TINY = {"features": 4, "blocks": 2, "kernel_size": 3, "resolutions": 2, "epochs": 2}
SOURCE = "van den Oord et al. 2016, Table 4"
PUBLISHED = {
    "pixelcnn": (81.30, f"{SOURCE}, PixelCNN"),
    "row_lstm": (80.54, f"{SOURCE}, Row LSTM"),
    "diagonal_bilstm": (80.75, f"{SOURCE}, Diagonal BiLSTM (1 layer, h = 32)"),
}


def pixelcnn_binarized_mnist(
    *,
    network: Network = "pixelcnn",
    features: int | None = None,
    blocks: int | None = None,
    kernel_size: int | None = None,
    resolutions: int | None = None,
    positions: bool = True,
    weight_decay: float = 1e-4,
    dropout: float = 0.0,
    epochs: int | None = None,
    shared: OwnImages = OwnImages(learning_rate=2e-3, ema_decay=0.999, batch_size=8),
) -> lab.Experiment:
    """Masked convolutions or recurrent layers over 784 binary pixels in raster order.

    Where they are not given, features, blocks, kernel size and epochs are 24, 6, 5 and 8 for
    "pixelcnn", 24, 7, 3 and 7 for "gated", 16, 2, none and 4 for "plus_plus", 16, 4, none and 10
    for "row_lstm", and 32, 1, none and 5 for "diagonal_bilstm".

    Args:
      network: residual blocks of masked convolutions, gated convolutions in two stacks (without a
        blind spot), those of PixelCNN++ (at several resolutions), or the recurrent layers of
        PixelRNN.
      features: h of the blocks (2h outside them), or of each stack of gated networks.
      blocks: residual blocks, gated layers or recurrent layers; of PixelCNN++ at each resolution,
        an even number.
      kernel_size: of the convolutions of blocks, odd. With blocks it decides how much of the image
        above a pixel is seen: 3 + blocks (kernel_size // 2) rows.
      resolutions: of PixelCNN++, each half as high and wide as the one before; 3 by default.
      positions: a learned vector for each pixel, which the papers do not have.
      weight_decay: of AdamW.
      dropout: rate, in the blocks of convolutions.
      epochs: passes over the 50,000 training images.
    """
    recipe, takes, defaults = NETWORKS[network]
    own = {"kernel_size": kernel_size, "resolutions": resolutions, "dropout": dropout or None}
    for name, value in own.items():
        require(value is None or name in takes, name, f"is not an argument of {network}", value)
    used = common.filled(defaults, features=features, blocks=blocks, epochs=epochs, **own)
    dataset, transform = common.images(shared, "static")
    if shared.tiny:
        used |= {name: TINY[name] for name in used if name in TINY}
    arguments = {
        **used,
        "layers": used["blocks"],
        "head_features": 2 * used["features"],
        "first_kernel": 3 if shared.tiny else 7,
        "family": families.Bernoulli(),
    }
    steps = epochs_to_steps(dataset, used["epochs"], shared.batch_size)
    published = PUBLISHED.get(network)
    return completion.image_density(
        shared,
        model=f"{network.replace('_', ' ')}, {used['blocks']} x {used['features']} features"
        + (", positions" if positions else ""),
        module=recipe(
            dataset.event_shape,
            positions=positions,
            **{name: arguments[name] for name in takes if name in arguments},
        ),
        adam={"weight_decay": weight_decay},
        dataset=dataset,
        transform=transform,
        steps=steps,
        published=published and runs.Published(*published),
        evaluation_batch_size=100,
    )
