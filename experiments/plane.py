"""What the experiments on densities of the plane share."""

from dgmjax import bijectors, data, objectives, plotting, training
from experiments import common


def transformer_named(name):
    """The family of the elementwise bijector: "affine" or "spline"."""
    if name == "affine":
        return bijectors.Affine()
    return bijectors.RationalQuadraticSpline(16, bound=4.0)


def density_experiment(model, module, dataset, *, steps, batch_size, learning_rate):
    """Maximum likelihood on points of the plane; the published value is the true entropy."""
    published = None
    if dataset.entropy is not None:
        published = training.Published(dataset.entropy, "entropy of the known density")
    nll = objectives.negative_log_likelihood
    transform = data.Standardise.fit(dataset.splits["train"]["x"])
    return training.Experiment(
        model=model,
        module=module,
        players={"model": training.Player(nll, training.adam(learning_rate, steps, clip=5.0))},
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        validation=nll,
        evaluate_every=max(1, steps // 20),
        evaluation_batch_size=1000,
        estimators=(common.exact_likelihood(published, batch_size=1000),),
        figures={**common.plane_figures(), "layers": plotting.flows.grid_through_layers},
        previews=("density",),
    )
