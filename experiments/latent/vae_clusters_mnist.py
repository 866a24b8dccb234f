"""Clusters of MNIST by a VAE whose prior is a mixture: accuracy and NMI against the classes.

    dgmjax train vae_clusters_mnist --epochs 60 --training-distortion 1 --data-dir DATA

The ten components of the prior are the clusters: an image belongs to the component of largest
responsibility for its code. As in the source, the networks are pretrained (here by an ELBO with a
small weight of the KL term) and the mixture starts from a fit to their codes; `--pretrain-epochs 0`
omits that. The encoder is asked for codes that small distortions of an image do not change, and of
several fits the one is kept whose clusters of images and of distorted images agree best: no label
chooses. Published, with stacked denoising autoencoders in pretraining and diagonal covariances
(about): 94.5% accuracy. What is missed here is one pair of digits that share a cluster while
another digit has two.
Source: Jiang, Zheng, Tan, Tang & Zhou, "Variational Deep Embedding: An Unsupervised and Generative
Approach to Clustering", 2017, Table 2, https://arxiv.org/abs/1611.05148.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

from dgmjax import data, lab, models, objectives, runs, training
from dgmjax.errors import require

from ..shared import common
from ..shared.options import Epochs, epochs_to_steps

SOURCE = "about; Jiang et al. 2017, Table 2, VaDE with pretraining"


def vae_clusters_mnist(
    *,
    components: int = 10,
    latent: int = 10,
    hidden: tuple[int, ...] = (500, 500),
    covariance: Literal["diag", "full"] = "full",
    pretrain_epochs: int = 15,
    pretrain_beta: float = 0.1,
    distortion: float = 1.0,
    restarts: int = 10,
    training_distortion: float = 0.0,
    warm_up: int = 0,
    marginal_start: bool = True,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=25, batch_size=100),
) -> lab.Experiment:
    """A VAE with a learned mixture of normals as its prior; no label is used in training.

    Args:
      components: of the mixture.
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      covariance: of the components.
      pretrain_epochs: passes before the mixture is fitted to the codes; 0 fits none.
      pretrain_beta: weight of the KL in them.
      distortion: of the images that the encoder reads in them, while the decoder is asked for the
        images themselves: times shifts of two pixels, turns of a quarter of a radian, scales of a
        tenth and shears of a fifth. It also makes the views that choose the fit; 0 for none, and
        the fit of the highest likelihood.
      restarts: fits of the mixture.
      training_distortion: the same in training with the mixture; its bound is then that of codes of
        distorted images.
      warm_up: epochs in which the weight of the KL divergence rises from 0 to 1.
      marginal_start: the decoder's output starts at the marginals of the pixels, see `models.VAE`.
    """
    given = {"distortion": distortion, "training_distortion": training_distortion}
    for name, value in given.items():
        require(0.0 <= value < float("inf"), name, "must be finite and not negative", value)
    dataset, transform = common.mnist(shared, "dynamic")
    if shared.tiny:
        hidden, latent, pretrain_epochs = (16,), 4, min(2, pretrain_epochs)
        shared = replace(shared, epochs=2)
    prior = models.NormalMixture(latent, components, covariance=covariance)
    start = None
    if pretrain_epochs:
        steps = epochs_to_steps(dataset, pretrain_epochs, shared.batch_size)
        corrupted = _distorted(distortion)
        loss = partial(objectives.elbo, beta=pretrain_beta, corruption=corrupted)
        player = training.Player(loss, shared.adam(steps))
        start = partial(
            lab.clustered_start,
            player=player,
            steps=steps,
            restarts=restarts,
            corruption=corrupted,
        )
    loss = partial(objectives.elbo, corruption=_distorted(training_distortion))
    row = lab.Estimator
    vae = models.DenseVAE(dataset.event_shape, latent, hidden, prior_model=prior)
    vae = vae.clone(marginal_start=marginal_start)
    return common.latent_experiment(
        shared,
        model=f"VAE {common.sizes(*hidden, latent)}, {components} clusters",
        module=vae,
        loss=common.warmed_up(loss, dataset, warm_up, shared),
        start=start,
        dataset=dataset,
        transform=transform,
        estimators=(
            row(
                "cluster_accuracy",
                "largest responsibility, best matching of clusters and classes",
                lab.clustering("accuracy"),
                unit="fraction",
                published=runs.Published(0.945, SOURCE),
            ),
            row("nmi", "largest responsibility", lab.clustering("nmi"), unit="fraction"),
            row(
                "probe_accuracy",
                "logistic regression on codes of the training images",
                lab.probe_accuracy(),
                unit="fraction",
            ),
            *common.latent_estimators(vae, dataset, samples=50 if shared.tiny else 500),
        ),
    )


def _distorted(size: float) -> data.RandomAffine | None:
    """Random affine maps of this size, times the usual one; None for 0."""
    usual = data.RandomAffine()
    parts = (usual.shift, usual.angle, usual.log_scale, usual.shear)
    return data.RandomAffine(*(size * part for part in parts)) if size else None
