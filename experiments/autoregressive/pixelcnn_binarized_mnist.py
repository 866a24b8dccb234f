"""PixelCNN and PixelRNN on static binarised MNIST: exact 79.20 to 81.30 nats.

    dgmjax train pixelcnn_binarized_mnist --data-dir DATA
    dgmjax train pixelcnn_binarized_mnist --network diagonal_bilstm --data-dir DATA

All networks have a learned vector for each pixel (`positions`), which the papers do not have. AdamW
with a cosine schedule; the best epoch is chosen on the validation split.
Sources: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, Table 4
(PixelCNN 81.30, Row LSTM 80.54, Diagonal BiLSTM of one layer 80.75),
https://arxiv.org/abs/1601.06759; van den Oord et al., "Conditional Image Generation with PixelCNN
Decoders", 2016 (gated; no number on this binarisation), https://arxiv.org/abs/1606.05328.
"""

from typing import Literal

from dgmjax import lab, models, runs
from dgmjax.errors import require

from ..shared import common, completion
from ..shared.options import OwnImages, epochs_to_steps

Network = Literal["pixelcnn", "gated", "row_lstm", "diagonal_bilstm"]
RECIPES = {
    "pixelcnn": models.PixelCNN,
    "gated": models.GatedPixelCNN,
    "row_lstm": models.RowLSTM,
    "diagonal_bilstm": models.DiagonalBiLSTM,
}
DEFAULTS: dict[Network, dict[str, int]] = {
    "pixelcnn": {"features": 24, "blocks": 6, "kernel_size": 5, "epochs": 8},
    "gated": {"features": 24, "blocks": 7, "kernel_size": 3, "epochs": 7},
    "row_lstm": {"features": 16, "blocks": 4, "epochs": 10},
    "diagonal_bilstm": {"features": 32, "blocks": 1, "epochs": 5},
}
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
    positions: bool = True,
    weight_decay: float = 1e-4,
    dropout: float = 0.0,
    epochs: int | None = None,
    shared: OwnImages = OwnImages(learning_rate=2e-3, ema_decay=0.999, batch_size=8),
) -> lab.Experiment:
    """Masked convolutions or recurrent layers over 784 binary pixels in raster order.

    Where they are not given, features, blocks, kernel size and epochs are 24, 6, 5 and 8 for
    "pixelcnn", 24, 7, 3 and 7 for "gated", 16, 4, none and 10 for "row_lstm", and 32, 1, none and 5
    for "diagonal_bilstm".

    Args:
      network: residual blocks of masked convolutions, gated convolutions in two stacks (without a
        blind spot), or the recurrent layers of PixelRNN.
      features: h of the blocks (2h outside them), or of each stack of the gated network.
      blocks: residual blocks, gated layers or recurrent layers.
      kernel_size: of the convolutions of blocks, odd. With blocks it decides how much of the image
        above a pixel is seen: 3 + blocks (kernel_size // 2) rows.
      positions: a learned vector for each pixel, which the papers do not have.
      weight_decay: of AdamW.
      dropout: rate, in the blocks of convolutions.
      epochs: passes over the 50,000 training images.
    """
    recurrent = network in ("row_lstm", "diagonal_bilstm")
    for name, value in {"kernel_size": kernel_size, "dropout": dropout or None}.items():
        require(value is None or not recurrent, name, f"is not an argument of {network}", value)
    used = common.filled(
        DEFAULTS[network], features=features, blocks=blocks, kernel_size=kernel_size, epochs=epochs
    )
    dataset, transform = common.images(shared, "static")
    if shared.tiny:
        small = {"features": 4, "blocks": 1, "kernel_size": 3, "epochs": 2}
        used = {name: small[name] for name in used}
    layers = {"layers" if recurrent else "blocks": used["blocks"]}
    convolutions = {} if recurrent else {"kernel_size": used["kernel_size"], "dropout": dropout}
    steps = epochs_to_steps(dataset, used["epochs"], shared.batch_size)
    published = PUBLISHED.get(network)
    return completion.image_density(
        shared,
        model=f"{network.replace('_', ' ')}, {used['blocks']} x {used['features']} features"
        + (", positions" if positions else ""),
        module=RECIPES[network](
            dataset.event_shape,
            features=used["features"],
            head_features=2 * used["features"],
            first_kernel=3 if shared.tiny else 7,
            positions=positions,
            **layers,
            **convolutions,
        ),
        adam={"weight_decay": weight_decay},
        dataset=dataset,
        transform=transform,
        steps=steps,
        published=published and runs.Published(*published),
        evaluation_batch_size=100,
    )
