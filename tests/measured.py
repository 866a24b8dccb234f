"""Records for tests."""

from dgmjax.runs.record import Record


def record(metric: str, value: float, unit: str = "nats") -> Record:
    """A record of seed 0 without a published number."""
    return Record(
        experiment="vae_mnist",
        model="VAE",
        dataset="mnist",
        binarisation="dynamic",
        split="test",
        num_examples=100,
        metric=metric,
        estimator="averaged",
        value=value,
        standard_error=None,
        unit=unit,
        published=None,
        seed=0,
        step=1,
        device="cpu x 1",
        versions={},
        seconds=1.0,
    )
