"""BiGAN on MNIST: features of an encoder that saw no labels, 1-NN 97.1% (Donahue et al. 2017).

    dgmjax train bigan_mnist --data-dir DATA
    dgmjax train bigan_mnist --stochastic --data-dir DATA

The second command is ALI, whose encoder draws its codes. The records are the accuracy of the
nearest training image on test images, in the last hidden layer of the encoder, as published (200
epochs of permutation-invariant networks), and in the code itself (published 92.1). Source: Donahue,
Kraehenbuehl & Darrell, "Adversarial Feature Learning", 2017, Table 1,
https://arxiv.org/abs/1605.09782.
"""

from dgmjax import evaluation, lab, models, runs
from dgmjax.evaluation.samples.neighbours import nearest

from ..shared.games import Play, image_experiment, images_of
from ..shared.image_networks import IMAGE_PLAY, networks


def bigan_mnist(
    *,
    latent: int = 50,
    stochastic: bool = False,
    channels: int = 32,
    hidden: int = 512,
    references: int = 50_000,
    steps: int = 20_000,
    play: Play = IMAGE_PLAY,
) -> lab.Experiment:
    """A game of pairs of DCGAN networks.

    Args:
      latent: dimensions of z.
      stochastic: the encoder is a normal distribution.
      channels: see `nn.DCGANGenerator`.
      hidden: units of the critic's dense layers.
      references: training images that neighbours are looked for in.
      steps: training steps (generator and encoder updates).
    """
    if play.tiny:
        latent, channels, hidden, steps = 4, 4, 8, 10
    dataset, levels = images_of(play)
    generator, features = networks(dataset.event_shape, channels)
    module = models.BiGAN(
        latent=latent,
        generator=generator,
        encoder=features,
        critic=models.PairCritic(features.clone(), hidden),
        stochastic=stochastic,
    )
    players = play.players(steps, generator=("generator", "encoder", "to_code"), both=True)

    def accuracy(of, where, published):
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
            published=runs.Published(published, "Donahue et al. 2017, Table 1, 200 epochs"),
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
            accuracy("hidden", "the last hidden layer of the encoder", 0.9714),
            accuracy("code", "the code", 0.921),
        ),
        figures={"reconstructions": lab.figures.reconstructions},
    )


def _encoded(model, batch, key):
    code = model.encode(batch["x"])
    return code[:, 0], {"code": code, "hidden": model.hidden(batch["x"])}
