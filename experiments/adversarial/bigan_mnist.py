"""BiGAN on MNIST: features of an encoder that saw no labels, 1-NN 96.3% (Donahue et al. 2017).

    dgmjax train bigan_mnist --data-dir DATA
    dgmjax train bigan_mnist --stochastic --data-dir DATA

The second command is ALI, whose encoder draws its codes. The records are the accuracy of the
nearest training image on test images: in the last hidden layer of the encoder 0.967, published
0.9628 after 25 epochs (as many as here), 0.9714 after 200 and 0.9735 after 400; in the code itself
0.946, published 0.921. At a constant rate they are 0.958 and 0.944. Nearest pixels are right for
0.967 of 3000 test images: a good number says that features keep the digit. Networks are dense, as
published: they do not know which pixels are neighbours. Source: Donahue, Kraehenbuehl & Darrell,
"Adversarial Feature Learning", 2017, Table 1, https://arxiv.org/abs/1605.09782.
"""

from dataclasses import replace
from typing import Literal

from dgmjax import evaluation, lab, models, runs
from dgmjax.evaluation.samples.neighbours import nearest

from ..shared.games import Play, image_experiment, images_of
from ..shared.image_networks import (
    NORMALISED_PLAY,
    dense_networks,
    networks,
    pair_critic,
    require_no_averages,
)


def bigan_mnist(
    *,
    latent: int = 50,
    stochastic: bool = False,
    network: Literal["dense", "dcgan"] = "dense",
    channels: int = 32,
    hidden: int = 1024,
    normalisation: Literal["none", "batch"] = "batch",
    critic_normalisation: Literal["none", "batch", "layer"] = "none",
    references: int = 50_000,
    steps: int = 9_766,
    play: Play = replace(NORMALISED_PLAY, batch_size=128, schedule="cosine"),
) -> lab.Experiment:
    """A game of pairs.

    Args:
      latent: dimensions of z.
      stochastic: the encoder is a normal distribution.
      network: of all three players.
      channels: of "dcgan", see `nn.DCGANGenerator`.
      hidden: units of dense layers.
      normalisation: of the generator's and the encoder's layers.
      critic_normalisation: of the critic's layers of images.
      references: training images that neighbours are looked for in.
      steps: training steps (generator and encoder updates); 25 epochs.
    """
    play.require_critic()
    if play.tiny:
        latent, channels, hidden, steps = 4, 4, 8, 10
    require_no_averages(play, normalisation, critic_normalisation)
    dataset, levels = images_of(play)
    build, size = (dense_networks, hidden) if network == "dense" else (networks, channels)
    generator, features = build(
        dataset.event_shape, size, normalisation=normalisation, critic_normalisation=normalisation
    )
    if network == "dense":  # of pixels and code side by side, as published
        critic = pair_critic(dataset.event_shape, hidden, critic_normalisation)
    else:
        judged = networks(dataset.event_shape, channels, critic_normalisation=critic_normalisation)
        critic = models.PairCritic(judged.features, hidden)
    module = models.BiGAN(
        latent=latent,
        generator=generator,
        encoder=features,
        critic=critic,
        stochastic=stochastic,
    )
    players = play.players(steps, generator=("generator", "encoder", "to_code"), both=True)
    differs = "ALI" if stochastic else "other networks" if network != "dense" else None

    def accuracy(of, where, published, epochs):
        def measure(trained, arrays):
            train = {name: array[:references] for name, array in trained.arrays("train").items()}
            known, test = (
                trained.per_example(_encoded, {"x": part["x"]}, 500)[of] for part in (train, arrays)
            )
            found, _ = nearest(test, known)
            return evaluation.average(train["label"][found[:, 0]] == arrays["label"])

        return lab.Estimator(
            f"nearest_neighbour_accuracy_{of}",
            f"nearest of {references} training images in {where}",
            measure,
            unit="fraction",
            published=runs.Published(
                published, f"Donahue et al. 2017, Table 1, {epochs} epochs", differs
            ),
        )

    return image_experiment(
        play,
        model="ALI" if stochastic else "BiGAN",
        module=module,
        players=players,
        dataset=dataset,
        levels=levels,
        steps=steps,
        estimators=(
            accuracy("hidden", "the last hidden layer of the encoder", 0.9628, 25),
            accuracy("code", "the code", 0.921, 200),
        ),
        figures={"reconstructions": lab.figures.reconstructions},
    )


def _encoded(model, batch, key):
    code = model.encode(batch["x"])
    return code[:, 0], {"code": code, "hidden": model.hidden(batch["x"])}
