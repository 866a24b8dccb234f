"""VAE 200-200-50 on dynamic MNIST: L_5000 86.76 nats, 19 active units (Burda et al. 2016).

    dgmjax train vae_mnist --data-dir DATA
    dgmjax train vae_mnist --epochs 3280 --schedule burda --data-dir DATA
    dgmjax train vae_mnist --objective infovae --weight 1000 --data-dir DATA

The second command is the published schedule, 3280 epochs at eight learning rates. `--epochs 600
--learning-rate 2e-3 --schedule flat_cosine --ema-decay 0.9995` gives 87.00 +- 0.23 nats after 13
minutes of one CPU core. `--objective` trains the same networks by other objectives than the ELBO;
all of them are measured by the same bounds.
Sources: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, Table 1, k = 1,
https://arxiv.org/abs/1509.00519; the objectives: Higgins et al., "beta-VAE", 2017,
https://openreview.net/forum?id=Sy2fzU9gl; Zhao, Song & Ermon, "InfoVAE", 2019,
https://arxiv.org/abs/1706.02262; Tolstikhin et al., "Wasserstein Auto-Encoders", 2018,
https://arxiv.org/abs/1711.01558; Li & Turner, "Renyi Divergence Variational Inference", 2016,
https://arxiv.org/abs/1602.02311; Dieng et al., "Variational Inference via chi Upper Bound
Minimization", 2017, https://arxiv.org/abs/1611.00328; Bornschein & Bengio, "Reweighted Wake-Sleep",
2015, https://arxiv.org/abs/1406.2751.
"""

from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

from dgmjax import lab, models, objectives, runs
from dgmjax.errors import require
from dgmjax.types import Objective

from ..shared import common
from ..shared.options import BoundedImages

PUBLISHED = "Burda, Grosse & Salakhutdinov 2016, Table 1, VAE, k = 1"


class Row(NamedTuple):
    """An objective of all parameters, or of those of p(x, z) where q(z | x) has one of its own.

    Attributes:
      objective: of all, or of p.
      posterior: of q, if it has its own.
      weighs: the argument of the objective (of q's, if it has its own) that `weight` sets.
      weight: its default.
    """

    objective: Objective
    posterior: Objective | None = None
    weighs: str | None = None
    weight: float | None = None


SAMPLES = 5
"""K of the objectives that have several posterior samples."""

ROWS = {
    "elbo": Row(objectives.elbo),
    "beta": Row(objectives.elbo, None, "beta", 4.0),
    "infovae": Row(partial(objectives.infovae, alpha=0.0), None, "weight", 1000.0),
    "wae": Row(objectives.wae, None, "weight", 1000.0),
    "renyi": Row(partial(objectives.renyi, num_samples=SAMPLES), None, "alpha", 0.5),
    "chi": Row(
        objectives.elbo,
        partial(objectives.chi_upper_bound, num_samples=SAMPLES, gradient="score"),
        "power",
        2.0,
    ),
    "wake_phase": Row(
        partial(objectives.iwae, num_samples=SAMPLES),
        partial(objectives.wake_phase, num_samples=SAMPLES),
    ),
}


def losses(objective: str, weight: float | None):
    """The loss of `vae_mnist`: an objective, or two with the parameters that each moves."""
    row = ROWS[objective]
    rule = "must be left out: the objective has none"
    require(row.weighs is not None or weight is None, "weight", rule, weight)
    options = {row.weighs: row.weight if weight is None else weight} if row.weighs else {}
    if row.posterior is None:
        return partial(row.objective, **options)
    return {
        "model": (row.objective, ("decoder",)),
        "posterior": (partial(row.posterior, **options), ("encoder",)),
    }


def vae_mnist(
    *,
    objective: Literal["elbo", "beta", "infovae", "wae", "renyi", "chi", "wake_phase"] = "elbo",
    weight: float | None = None,
    latent: int = 50,
    hidden: tuple[int, ...] = (200, 200),
    skip: bool = False,
    marginal_start: bool = True,
    shared: BoundedImages = BoundedImages(learning_rate=1e-3, epochs=400, batch_size=100),
) -> lab.Experiment:
    """A VAE with tanh layers and Bernoulli pixels, all 60,000 training images.

    Args:
      objective: that of training. "infovae" and "wae" keep the aggregated posterior near the prior,
        by a kernel; "renyi" is a bound of 5 samples; "chi" fits the posterior by an upper bound
        beside a decoder trained by the ELBO, "wake_phase" by reweighted samples of it beside one
        trained by the bound of 5.
      weight: beta (4 if left out), the weight of the divergence ("infovae" and "wae", 1000), alpha
        ("renyi", 0.5) or the power ("chi", 2).
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      skip: the decoder reads z in each of its layers, see `models.SkipVAE`.
      marginal_start: the decoder's output starts at the marginals of the pixels, see `models.VAE`.
    """
    dataset, transform = common.images(shared, "dynamic")
    of_that_size = (tuple(hidden), latent) == ((200, 200), 50)
    plain = objective == "elbo" and not skip and of_that_size
    if shared.tiny:
        hidden, latent, shared = (16,), 4, replace(shared, epochs=2)
    trained_by = "" if objective == "elbo" else f", {objective}"
    recipe = models.SkipVAE if skip else models.DenseVAE
    vae = recipe(dataset.event_shape, latent, hidden)
    vae = vae.clone(marginal_start=marginal_start)
    return common.latent_experiment(
        shared,
        model=f"{'skip-' if skip else ''}VAE {common.sizes(*hidden, latent)}{trained_by}",
        module=vae,
        loss=losses(objective, weight),
        dataset=dataset,
        transform=transform,
        adam={"eps": 1e-4},
        estimators=common.latent_estimators(
            vae,
            dataset,
            shared.beside(runs.Published(86.76, PUBLISHED)) if plain else None,
            runs.Published(19, PUBLISHED) if plain else None,
            samples=shared.bound_samples,
        ),
    )
