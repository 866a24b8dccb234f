"""VAE posteriors on static MNIST: diagonal, planar, IAF and three Sylvester flows, one network.

    dgmjax train vae_posteriors_mnist --posterior sylvester-orthogonal --data-dir DATA
    dgmjax train vae_posteriors_mnist --posterior spherical --latent 11 --data-dir DATA
    dgmjax train vae_posteriors_mnist --posterior hyperbolic --latent 10 --data-dir DATA
    dgmjax train vae_posteriors_mnist --posterior deterministic --latent 16 --data-dir DATA

Published (van den Berg et al. 2018), ELBO in nats, about: diagonal 86.55, planar 86.06, IAF 84.20,
Sylvester 83.3 to 83.4, with gated convolutions, 2000 epochs and warm-up. Encoder and decoder here
are MLPs of two layers, the same for all rows, so that the order of the rows is comparable and not
their level. The second command has codes on a sphere (Davidson et al., "Hyperspherical Variational
Auto-Encoders", 2018, https://arxiv.org/abs/1804.00891), the third in hyperbolic space (Mathieu et
al., "Continuous Hierarchical Representations with Poincare Variational Auto-Encoders", 2019,
https://arxiv.org/abs/1901.06033); the last is a regularised autoencoder (Ghosh et al., "From
Variational to Deterministic Autoencoders", 2020, https://arxiv.org/abs/1903.12436), which has no
density of images.
Source: van den Berg, Hasenclever, Tomczak & Welling, "Sylvester Normalizing Flows for Variational
Inference", 2018, Table 1, https://arxiv.org/abs/1803.05649.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

from dgmjax import lab, models, objectives, runs

from ..shared import common
from ..shared.options import BoundedImages

Posterior = Literal[
    "diagonal",
    "planar",
    "iaf",
    "sylvester-orthogonal",
    "sylvester-householder",
    "sylvester-triangular",
    "deterministic",
    "spherical",
    "hyperbolic",
]
SOURCE = "about; van den Berg et al. 2018, ELBO"
DIFFERS = "convolutional networks"
PUBLISHED = {
    "diagonal": 86.55,
    "planar": 86.06,
    "iaf": 84.20,
    "sylvester-orthogonal": 83.32,
    "sylvester-householder": 83.40,
    "sylvester-triangular": 83.40,
}

MANIFOLDS = {
    "deterministic": (models.PointMass, None),
    "spherical": (models.VonMisesFisher, models.SphericalUniform),
    "hyperbolic": (models.WrappedNormal, models.WrappedNormal),
}
"""Posteriors that are no flows over R^D, and their priors; None for N(0, I)."""


def posterior_model(posterior: Posterior, latent: int, layers: int, hidden: int, context: int):
    """The conditional density of z given the encoder's features, or None for the diagonal."""
    if posterior == "diagonal":
        return None
    base = models.DiagonalNormal((latent,))
    if posterior in MANIFOLDS:
        return MANIFOLDS[posterior][0](latent)
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
    marginal_start: bool = True,
    smooth: Literal["weights", "slope"] = "weights",
    shared: BoundedImages = BoundedImages(learning_rate=1e-3, epochs=200, batch_size=100),
) -> lab.Experiment:
    """A VAE whose posterior is a flow over a diagonal normal, or one without noise.

    Args:
      posterior: which.
      layers: of the flow.
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      flow_hidden: units of the autoregressive networks of IAF.
      marginal_start: the decoder's output starts at the marginals of the pixels, see `models.VAE`.
      smooth: of a deterministic posterior: the decoder's weights decay (RAE-L2), or its Jacobian is
        penalised (RAE-GP).
    """
    dataset, transform = common.images(shared, "static")
    if shared.tiny:
        hidden, latent, layers, flow_hidden, shared = (16, 16), 4, 1, 8, replace(shared, epochs=1)
    model = posterior_model(posterior, latent, layers, flow_hidden, hidden[-1])
    name = f"{posterior} ({layers})" if posterior not in ("diagonal", *MANIFOLDS) else posterior
    _, make_prior = MANIFOLDS.get(posterior, (None, None))
    prior = make_prior and make_prior(latent)
    vae = models.DenseVAE(
        dataset.event_shape, latent, hidden, posterior_model=model, prior_model=prior
    )
    vae = vae.clone(marginal_start=marginal_start)
    if posterior == "deterministic":
        return regularised(
            shared, vae, f"{common.sizes(*hidden, latent)}", smooth, dataset, transform
        )
    published = PUBLISHED.get(posterior)
    return common.latent_experiment(
        shared,
        model=f"VAE {common.sizes(*hidden, latent)}, {name} posterior",
        module=vae,
        loss=objectives.elbo,
        dataset=dataset,
        transform=transform,
        adam={"clip": 5.0},
        validation=objectives.elbo,
        estimators=common.latent_estimators(
            vae,
            dataset,
            samples=shared.bound_samples,
            published_elbo=published and runs.Published(published, SOURCE, DIFFERS),
        ),
    )


def regularised(shared, vae, sizes, smooth, dataset, transform):
    """A regularised autoencoder, measured by its reconstructions."""
    penalty = 1e-2 if smooth == "slope" else 0.0
    loss = partial(objectives.regularised_autoencoder, weight=1e-2, gradient_penalty=penalty)
    decay = {"weight_decay": 1e-4, "decayed": ("decoder",)} if smooth == "weights" else {}
    return common.latent_experiment(
        shared,
        model=f"RAE-{'GP' if penalty else 'L2'} {sizes}",
        module=vae,
        loss=loss,
        dataset=dataset,
        transform=transform,
        adam={"clip": 5.0, **decay},
        validation=loss,
        estimators=(
            lab.Estimator(
                "distortion_nats",
                "-log p(x | z), averaged",
                lab.averaged(objectives.information_bound),
            ),
            common.active_units(),
        ),
    )
