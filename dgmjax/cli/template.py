"""A small VAE on binary images: what it is, and the number that it must reach.

    dgmjax train template.py                              # scikit-learn's digits
    dgmjax train template.py --dataset PATH --latent 20   # .npz, .npy or IDX files of your own

This first line is what `dgmjax list` shows. Say here where the number comes from.
"""

from dgmjax import data, lab, models, objectives, training


def template(
    *,
    dataset: str | None = None,
    latent: int = 8,
    hidden: tuple[int, ...] = (128,),
    learning_rate: float = 1e-3,
    batch_size: int = 64,
    steps: int = 2000,
    tiny: bool = False,
    data_dir: str | None = None,
) -> lab.Experiment:
    """A VAE with Bernoulli pixels. Each argument is an option of the command line.

    Args:
      dataset: images with a train, a validation and a test split; the digits if left out.
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      learning_rate: of Adam.
      batch_size: images per step.
      steps: training steps.
      tiny: shrink the experiment to seconds, to see that it runs.
      data_dir: folder of data sets.
    """
    if tiny:
        hidden, latent = (16,), 2

    # 1. Data: raw, in splits. The transform is applied to each batch, with fresh randomness.
    images = data.load(dataset or "digits", data_dir=data_dir)
    levels = 17 if dataset is None else 256  # grey values are 0 .. levels - 1
    transform = data.Binarise("dynamic", levels=levels)

    # 2. Model: a Flax module that returns distributions: `prior`, `posterior`, `likelihood`.
    model = models.DenseVAE(images.event_shape, latent=latent, hidden=hidden)

    # 3. Objective: a function (model, batch, key) -> (loss of each example, metrics).
    loss = objectives.elbo

    # 4. Numbers: each is measured on the test split, with the parameters of the best validation.
    bound = lab.Estimator(
        "nll_bound_k1",
        "ELBO",
        lab.averaged(objectives.elbo),
        published=None,  # runs.Published(86.76, "authors, year, table") puts a number beside it
    )

    return lab.Experiment(
        model=f"VAE, {latent} latents",
        module=model,
        players={"model": training.Player(loss, training.adam(learning_rate, steps))},
        dataset=images,
        transform=transform,
        validation=loss,
        steps=steps,
        batch_size=batch_size,
        evaluate_every=max(1, steps // 10),
        log_every=max(1, steps // 200),
        estimators=(bound, BASELINE),
        figures={"means": lab.figures.means, "reconstructions": lab.figures.reconstructions},
        previews=("means",),
    )


BASELINE = lab.Estimator(
    "nll_nats",
    "exact",
    lab.independent_pixels,
    model="independent Bernoulli pixels (baseline)",  # measured beside the experiment's own
)
"""The number that any model must beat."""
