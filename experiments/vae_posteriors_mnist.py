"""VAE posteriors on static MNIST: diagonal, planar, IAF and three Sylvester flows, one network.

    dgmjax train vae_posteriors_mnist --posterior sylvester-orthogonal --data-dir DATA

About (van den Berg et al. 2018), ELBO: planar 86.06, IAF 84.20, Sylvester 83.3-83.4 against 86.55
of the diagonal posterior, with gated convolutions, 2000 epochs and warm-up. Here encoder and
decoder are MLPs of two layers, the same for all rows, so the order of the rows and not their
level is what to compare. It has run in miniature only (`--tiny`).
Source: van den Berg, Hasenclever, Tomczak & Welling, "Sylvester Normalizing Flows for Variational
Inference", 2018, Table 1.
"""

from functools import partial
from typing import Literal

from dgmjax import models, objectives, training
from experiments import common

Posterior = Literal[
    "diagonal",
    "planar",
    "iaf",
    "sylvester-orthogonal",
    "sylvester-householder",
    "sylvester-triangular",
]
SOURCE = "about; van den Berg et al. 2018, ELBO, convolutional networks"
PUBLISHED = {
    "diagonal": 86.55,
    "planar": 86.06,
    "iaf": 84.20,
    "sylvester-orthogonal": 83.32,
    "sylvester-householder": 83.40,
    "sylvester-triangular": 83.40,
}


def posterior_model(posterior: Posterior, latent: int, layers: int, hidden: int, context: int):
    """The conditional density of z given the encoder's features, or None for the diagonal."""
    if posterior == "diagonal":
        return None
    base = models.ConditionalNormal((latent,))
    if posterior == "planar":
        return models.PlanarFlow(latent, layers, amortised=True, base=base)
    if posterior == "iaf":
        return models.IAF(latent, layers, (hidden,), context_features=context, base=base)
    kind = posterior.removeprefix("sylvester-")
    sizes = {"orthogonal": {"num_columns": latent // 2}, "householder": {"num_reflections": 8}}
    options = sizes.get(kind, {})
    return models.SylvesterFlow(latent, layers, kind, amortised=True, base=base, **options)


def vae_posteriors_mnist(
    *,
    posterior: Posterior = "sylvester-orthogonal",
    layers: int = 4,
    latent: int = 32,
    hidden: tuple[int, ...] = (300, 300),
    flow_hidden: int = 320,
    learning_rate: float = 1e-3,
    epochs: int = 200,
    batch_size: int = 100,
    tiny: bool = False,
    data_dir: str | None = None,
) -> training.Experiment:
    """A VAE whose posterior is a flow over a diagonal normal.

    Args:
      posterior: which.
      layers: of the flow.
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      flow_hidden: units of the autoregressive networks of IAF.
      learning_rate: peak of the cosine schedule of Adam.
      epochs: passes over the 50,000 training images.
      batch_size: images a step.
      tiny: a few steps of a small model on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    dataset, transform = common.static_mnist(data_dir, tiny)
    if tiny:
        hidden, latent, layers, flow_hidden, epochs = (16, 16), 4, 1, 8, 1
    steps = epochs * (len(dataset.splits["train"]["x"]) // batch_size)
    model = posterior_model(posterior, latent, layers, flow_hidden, hidden[-1])
    samples = 50 if tiny else 5000
    bound = partial(objectives.importance_bound, num_samples=samples, chunk=min(50, samples))
    name = posterior if posterior == "diagonal" else f"{posterior} ({layers})"
    return training.Experiment(
        model=f"VAE {'-'.join(map(str, (*hidden, latent)))}, {name} posterior",
        module=models.dense_vae(dataset.event_shape, latent, hidden, posterior_model=model),
        players={
            "model": training.Player(objectives.elbo, training.adam(learning_rate, steps, clip=5.0))
        },
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        validation=objectives.elbo,
        evaluate_every=max(10, steps // 20),
        log_every=max(1, steps // 500),
        estimators=(
            training.Estimator(
                "nll_bound_k1",
                "ELBO",
                training.averaged(objectives.elbo),
                published=training.Published(PUBLISHED[posterior], SOURCE),
            ),
            training.Estimator(
                f"nll_bound_k{samples}",
                f"importance-weighted bound, {samples} samples",
                training.averaged(bound, batch_size=100),
            ),
            training.Estimator(
                "kl_nats", "averaged", training.averaged(objectives.elbo, metric="kl")
            ),
        ),
        figures=common.vae_figures(),
        previews=("means",),
    )
