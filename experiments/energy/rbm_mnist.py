"""RBM of 500 hidden units on static MNIST: about 86.3 nats by AIS (Salakhutdinov & Murray 2008).

    dgmjax train rbm_mnist --data-dir DATA
    dgmjax train rbm_mnist --method cd --gibbs-steps 25 --data-dir DATA
    dgmjax train rbm_mnist --hidden 16 --data-dir DATA

log Z is estimated by annealed importance sampling with 100 chains and 14,500 temperatures, and
exact with at most 20 hidden units. The estimate is too low on average, so that the likelihood is
optimistic. Published with contrastive divergence of 1, 3 and 25 steps: 125.5, 105.5 and 86.3 nats.
Source: Salakhutdinov & Murray, "On the Quantitative Analysis of Deep Belief Networks", 2008,
Table 1, https://homepages.inf.ed.ac.uk/imurray2/pub/08dbn_ais/.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np

from dgmjax import lab, models, objectives, runs, training
from dgmjax.errors import require_sizes
from dgmjax.lab.trained import transformed
from dgmjax.models.energy.rbm import ENUMERATED
from dgmjax.plotting.images import image_grid

from ..shared import common
from ..shared.options import Images

PUBLISHED = {1: 125.5, 3: 105.5, 25: 86.3}


def rbm_mnist(
    *,
    hidden: int = 500,
    method: Literal["pcd", "cd"] = "pcd",
    gibbs_steps: int = 1,
    num_chains: int = 100,
    temperatures: int = 14_500,
    shared: Images = Images(learning_rate=0.1, epochs=100, batch_size=100),
) -> lab.Experiment:
    """An RBM trained by stochastic gradient descent without momentum.

    Args:
      hidden: units of h; at most 20 for an exact likelihood.
      method: "pcd" with persistent chains, or "cd" with chains that start at the data.
      gibbs_steps: k, sweeps of a training step.
      num_chains: persistent chains, and chains of the estimate of log Z.
      temperatures: of the estimate, spaced as in the source: denser towards 1.
    """
    require_sizes(num_chains=num_chains, temperatures=temperatures)
    dataset, transform = common.images(shared, "static")
    if shared.tiny:
        hidden, temperatures, shared = min(hidden, 16), 20, replace(shared, epochs=2)
    persistent = method == "pcd"
    steps = shared.steps(dataset)
    published = None
    if hidden == 500 and not persistent and gibbs_steps in PUBLISHED:
        row = f"Salakhutdinov & Murray 2008, Table 1, CD{gibbs_steps}"
        published = runs.Published(PUBLISHED[gibbs_steps], row)
    module = models.RBM(dataset.event_shape, hidden, num_chains if persistent else 0)
    return common.experiment(
        shared,
        model=f"RBM {hidden}, {method.upper()}-{gibbs_steps}",
        module=module,
        loss=partial(
            objectives.contrastive_divergence, num_steps=gibbs_steps, persistent=persistent
        ),
        optimiser=training.sgd(shared.learning_rate, steps, schedule=shared.schedule, momentum=0.0),
        dataset=dataset,
        transform=transform,
        steps=steps,
        evaluations=20,
        start=from_marginals,
        estimators=(
            *((common.exact_likelihood(),) if hidden <= ENUMERATED else ()),
            *lab.partition_estimators(spaced(temperatures), num_chains, published),
            common.baseline(),
        ),
        figures={"samples": lab.figures.samples, "filters": filters},
    )


def from_marginals(experiment, params, key):
    """Visible biases at the logits of the pixels' means, as if no hidden unit were there."""
    del key
    x = transformed(experiment, "train")["x"]
    means = (x.reshape(len(x), -1).sum(0) + 1.0) / (len(x) + 2.0)
    return {**params, "visible_bias": jnp.asarray(np.log(means / (1.0 - means)), jnp.float32)}


def spaced(count):
    """0 to 1: shares of 1/29, 8/29 and 20/29 of the temperatures up to 0.5, 0.9 and 1.

    >>> [round(float(b), 3) for b in spaced(29)[[0, 1, 9, 29]]]
    [0.0, 0.5, 0.9, 1.0]
    """
    return np.interp(np.linspace(0.0, 29.0, count + 1), [0, 1, 9, 29], [0.0, 0.5, 0.9, 1.0])


def filters(trained, num=100):
    """What hidden units read: their weights, each scaled to [0, 1]."""
    weights = np.asarray(trained.state.params["weights"]).T[:num]
    images = weights.reshape(-1, *trained.experiment.dataset.event_shape)
    low, high = (f(images, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return image_grid((images - low) / (high - low), title=f"Weights: {trained.experiment.model}")
