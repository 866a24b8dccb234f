"""PixelCNN and PixelRNN on static binarised MNIST: exact 79.20 to 81.30 nats.

    dgmjax train pixelcnn_binarized_mnist --data-dir DATA
    dgmjax train pixelcnn_binarized_mnist --network diagonal_bilstm --data-dir DATA

On one CPU core that another training and tests shared: PixelCNN 83.52 nats in 57 minutes, gated
PixelCNN 83.35 in 75, Row LSTM 82.79 in 62, and one layer of Diagonal BiLSTM, of the size published,
81.92 in 44, 1.2 above the paper. All have a learned vector for each pixel (`positions`), which the
papers do not: without it PixelCNN stopped at 84.7, with 84.3 on the training split.
AdamW with a cosine schedule; the best epoch is chosen on the validation split.
Sources: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, Table 4
(PixelCNN 81.30, Row LSTM 80.54, Diagonal BiLSTM of one layer 80.75); van den Oord et al.,
"Conditional Image Generation with PixelCNN Decoders", 2016 (gated; no number on this binarisation).
"""

from typing import Literal

from dgmjax import lab, models, runs, training
from dgmjax.errors import require

from ..shared import common, completion

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
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-4,
    dropout: float = 0.0,
    ema_decay: float | None = 0.999,
    epochs: int | None = None,
    batch_size: int = 8,
    tiny: bool = False,
    data_dir: str | None = None,
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
      learning_rate: peak of the cosine schedule of AdamW.
      weight_decay: of AdamW.
      dropout: rate, in the blocks of convolutions.
      ema_decay: of the averaged parameters that are evaluated; None for those of the last step.
      epochs: passes over the 50,000 training images.
      batch_size: images a step.
      tiny: a few steps of a small model on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    recurrent = network in ("row_lstm", "diagonal_bilstm")
    for name, value in {"kernel_size": kernel_size, "dropout": dropout or None}.items():
        require(value is None or not recurrent, name, f"is not an argument of {network}", value)
    used = common.filled(
        DEFAULTS[network], features=features, blocks=blocks, kernel_size=kernel_size, epochs=epochs
    )
    dataset, transform = common.static_mnist(data_dir, tiny)
    if tiny:
        small = {"features": 4, "blocks": 1, "kernel_size": 3, "epochs": 2}
        used = {name: small[name] for name in used}
    layers = {"layers" if recurrent else "blocks": used["blocks"]}
    convolutions = {} if recurrent else {"kernel_size": used["kernel_size"], "dropout": dropout}
    steps = common.epochs_to_steps(dataset, used["epochs"], batch_size)
    published = PUBLISHED.get(network)
    return completion.image_density(
        model=f"{network.replace('_', ' ')}, {used['blocks']} x {used['features']} features"
        + (", positions" if positions else ""),
        module=RECIPES[network](
            dataset.event_shape,
            features=used["features"],
            head_features=2 * used["features"],
            first_kernel=3 if tiny else 7,
            positions=positions,
            **layers,
            **convolutions,
        ),
        optimiser=training.adam(learning_rate, steps, weight_decay=weight_decay),
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        published=published and runs.Published(*published),
        ema_decay=ema_decay,
        evaluation_batch_size=100,
    )
