"""Flow-GAN on MNIST: one flow by likelihood, by a game, and by both (Grover et al. 2018).

    dgmjax train flow_gan_mnist --training-by likelihood --data-dir DATA
    dgmjax train flow_gan_mnist --training-by adversarial --data-dir DATA
    dgmjax train flow_gan_mnist --training-by hybrid --data-dir DATA
    dgmjax train flow_gan_mnist --flow nice --training-by likelihood --steps 4000 --data-dir DATA

The same flow each time (RealNVP of images; or NICE of their pixels, the source's flow for MNIST, of
a cost for a CPU), whose likelihood is exact however it was trained; `dgmjax evaluate RUN --samples`
adds the distances of its samples. The point of the three: likelihood and samples are not the same
thing. NICE after 4000 steps, by likelihood, by the relativistic game with one step of the critic,
and by both: 4.33, 8.56 and 6.06 bits/dim; both games collapse. Published for CIFAR-10, in bits/dim:
3.54 by likelihood, 8.53 adversarial, 4.21 hybrid; there is no number that can be compared for
MNIST. Source: Grover, Dhar & Ermon, "Flow-GAN: Combining Maximum Likelihood and Adversarial
Learning in Generative Models", 2018, Table 1, https://arxiv.org/abs/1705.08868.
"""

import math
from typing import Literal

from dgmjax import bijectors, data, lab, models, nn, objectives, training

from ..shared.games import Play, images_of

NAMES = {"realnvp": "RealNVP", "nice": "NICE"}


def nice(event_shape, layers: int, hidden: tuple[int, ...]) -> models.Flow:
    """NICE over the pixels of an image in row-major order, whose events are images."""
    features = math.prod(event_shape)
    flow = models.NICE(features, layers, hidden)
    image = models.Fixed(bijectors.Reshape, ((features,), tuple(event_shape)))
    return flow.clone(layers=(*flow.layers, image))


def flow_gan_mnist(
    *,
    training_by: Literal["likelihood", "adversarial", "hybrid"] = "hybrid",
    likelihood_weight: float = 1e-3,
    flow: Literal["realnvp", "nice"] = "realnvp",
    levels: int = 2,
    blocks: int = 1,
    channels: int = 32,
    layers: int = 4,
    hidden: tuple[int, ...] = (500, 500),
    critic_channels: int = 32,
    steps: int = 10_000,
    play: Play = Play(
        game="wasserstein",
        penalty_weight=10.0,
        critic_steps=5,
        b1=0.5,
        b2=0.9,
        learning_rate=1e-4,
        ema_decay=0.999,
        batch_size=64,
    ),
) -> lab.Experiment:
    """A flow over dequantised images in logits, and a critic of the same; "auto" is the penalty on
    lines.

    Args:
      training_by: what the flow follows. By likelihood alone its rate is ten times
        `learning_rate`, and falls to 0; of the other options of the game none counts then.
      likelihood_weight: of the negative log-likelihood per image beside the game, in "hybrid".
      flow: convolutional couplings, or additive ones of vectors of pixels.
      levels: scales of RealNVP.
      blocks: residual blocks of a coupling's network in RealNVP.
      channels: of the couplings' networks in RealNVP.
      layers: couplings of NICE.
      hidden: units of the hidden layers of a coupling's network in NICE.
      critic_channels: of the critic, a DCGAN's.
      steps: training steps (flow updates).
    """
    if play.tiny:
        levels, channels, critic_channels, hidden, steps = 1, 4, 4, (8,), 5
    dataset, grey = images_of(play)
    if flow == "nice":
        density = nice(dataset.event_shape, layers, hidden)
    else:
        density = models.RealNVPImages(
            dataset.event_shape, levels, channels=channels, blocks=blocks
        )
    module = models.FlowGAN(density, nn.Critic(nn.DCGANFeatures(critic_channels)))
    nll = objectives.negative_log_likelihood
    if training_by == "likelihood":
        adam = training.adam(10.0 * play.learning_rate, steps, clip=50.0)
        players = {"flow": training.Player(nll, adam, params=("flow",))}
    else:
        terms = {"nll": (likelihood_weight, nll)} if training_by == "hybrid" else None
        players = play.or_penalty("lines").players(steps, generator=("flow",), terms=terms)
    return lab.Experiment(
        model=f"{NAMES[flow]}, trained by {training_by}",
        module=module,
        players=players,
        dataset=dataset,
        transform=data.Compose((data.Dequantise(grey), data.Logit(0.05))),
        steps=steps,
        batch_size=play.batch_size,
        evaluate_every=max(1, steps // 10),
        log_every=max(1, steps // 100),
        ema_decay=play.ema_decay,
        evaluation_batch_size=100,
        estimators=(
            lab.Estimator(
                "bits_per_dim",
                "bound, uniform dequantisation, one draw",
                lab.averaged(nll, 100, bits=True),
                unit="bits/dim",
            ),
        ),
        figures={"samples": lab.figures.samples},
        previews=("samples",),
    )
