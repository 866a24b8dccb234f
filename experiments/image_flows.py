"""What the experiments with image flows share."""

from dgmjax import data, objectives, plotting, training


def image_flow_experiment(
    name, module, dataset, levels, *, alpha, epochs, batch_size, learning_rate, published
):
    """Maximum likelihood on dequantised images in logit space; the record is bits a dimension."""
    steps = epochs * (len(dataset.splits["train"]["x"]) // batch_size)
    nll = objectives.negative_log_likelihood
    optimiser = training.adam(learning_rate, steps, clip=50.0)
    return training.Experiment(
        model=name,
        module=module,
        players={"model": training.Player(nll, optimiser)},
        dataset=dataset,
        transform=data.Compose((data.Dequantise(levels), data.Logit(alpha))),
        steps=steps,
        batch_size=batch_size,
        validation=nll,
        evaluate_every=max(10, steps // 25),
        evaluation_batch_size=batch_size,
        log_every=max(1, steps // 500),
        estimators=(
            training.Estimator(
                "bits_per_dim",
                "bound, uniform dequantisation, one draw",
                training.averaged(nll, batch_size, bits=True),
                unit="bits/dim",
                published=published,
            ),
        ),
        figures={
            "samples": plotting.recipes.samples,
            "temperatures": plotting.flows.temperatures,
            "interpolations": plotting.flows.interpolations,
        },
        previews=("samples",),
        ema_decay=0.999,
    )
