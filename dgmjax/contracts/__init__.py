"""Contracts: what objectives, training and evaluation expect of a model, and how they query it.

A model is any object with the methods of a protocol: a bound Flax module, an NNX module, or a class
written by hand. Inheritance is not required. Shapes are `sample_shape + batch_shape + event_shape`;
log-densities are in nats, one per example; methods are pure functions of their arguments and the
parameters, and can be traced. Whether distributions are normalised, and whether a posterior covers
the prior's events, is not checked.

Objectives access a model only through the functions below:

- `given(model, batch)`: the latent-variable model of a batch, in the units of the raw data;
- `log_density(model, batch)`: the log-density of a batch, in the units of the raw data;
- `log_joint(model, x, z)`: a model's own joint density, or its prior and likelihood;
- `implicit(model, batch)`: the sampler and critic of a batch;
- `is_initialising(model)`: whether the parameters of a model are being made.
"""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
