"""Protocols: the methods that kinds of models have, and what their parts promise."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dgmjax.types import Array, Batch, Key, PyTree

if TYPE_CHECKING:
    import distrax

    from dgmjax.distributions.families import Family
    from dgmjax.inference.filtering import Filtering


class DensityModel(Protocol):
    """A model with an exact density: flows, autoregressive models, linear-Gaussian models."""

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x | context) in nats, of the batch shape of `x[..., *event]`."""
        ...

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples `[*sample_shape, *batch, *event]`; the batch is that of the context."""
        ...


class LatentVariableModel(Protocol):
    """p(x, z) = p(z) p(x | z) with a posterior q(z | x); z may be a pytree.

    A model whose joint density does not split that way also has `log_joint(x, z)`, which is used in
    place of prior and likelihood.
    """

    def prior(self) -> "distrax.Distribution":
        """p(z), without a batch shape, or with that of the batch it is given."""
        ...

    def posterior(self, x: Array) -> "distrax.Distribution":
        """q(z | x), whose batch shape is that of x."""
        ...

    def likelihood(self, z: PyTree) -> Any:
        """p(x | z): `log_prob(x)` of the batch shape of z; for figures `mean()` or `sample`."""
        ...


class ConditionalModel(Protocol):
    """A model that reads more of a batch than `x`: a class, a second modality, earlier frames.

    VRNN, conditional and multimodal VAEs are latent-variable models by way of `given`.
    """

    def given(self, batch: Batch) -> LatentVariableModel:
        """The model of this batch. Raises `DataError` where the batch lacks what it reads."""
        ...


class ImplicitModel(Protocol):
    """A sampler without a density, and a critic that judges its samples.

    With `prior()` and `generate(z)` it can be evaluated behind a fixed observation
    (`evaluation.FixedObservation`). A class-conditional one has `of_classes`, see `implicit`. One
    whose critic judges more than samples (pairs of x and its code) has `pairs(batch, key)`, the
    events of the data and those that the model makes, pytrees alike, which `logit` then reads.
    """

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """Samples `[*sample_shape, *event]`, differentiable with respect to the parameters."""
        ...

    def logit(self, x: Array) -> Array:
        """The critic's value `[...]`: unbounded, or the logit of "x is data"."""
        ...

    def features(self, x: Array) -> Array:
        """The critic's output `[..., F]`, for games that compare features."""
        ...


class EnergyBased(Protocol):
    """A density known up to its normaliser, and a Markov kernel that leaves it invariant."""

    def energy(self, x: Array) -> Array:
        """-log p(x) up to a constant, `[...]` in nats."""
        ...

    def transition(self, key: Key, x: Array) -> Array:
        """The next state of chains at `x[..., *event]`."""
        ...


class Anneals(EnergyBased, Protocol):
    """An energy whose normaliser annealing estimates: `models.RBM`."""

    def annealing(self, rates: Any = None) -> Any:
        """`inference.AnchoredPath` from a density that is known, such as one of these means."""
        ...


class KeepsChains(Protocol):
    """A model that keeps chains between the steps of training: `models.RBM`."""

    def chains(self) -> Array:
        """Where they are, `[C, *event]`."""
        ...

    def keep(self, x: Array) -> None:
        """Puts them at x, in training."""
        ...


class Denoiser(Protocol):
    """A network over noisy data; with its process it is a density model.

    Time runs from the data (0) to noise (1).

    Attributes:
      predicts: which of four equivalent quantities `predict` returns.
    """

    predicts: Literal["score", "noise", "data", "velocity"]

    def predict(self, x: Array, t: Array, context: Array | None = None) -> Array:
        """The prediction for `x[..., *event]` at times `t[...]`, of the shape of x."""
        ...

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples of the data, `[*sample_shape, *batch, *event]`."""
        ...

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x) in nats."""
        ...

    def log_prob_and_error(
        self, x: Array, key: Key, context: Array | None = None
    ) -> tuple[Array, Array | None]:
        """log p(x) in nats, and its standard error where the trace is estimated."""
        ...

    def bound(self, x: Array, key: Key, context: Array | None = None) -> Array:
        """A lower bound on log p(x) in nats."""
        ...


class StartsAtMarginals(Protocol):
    """A network whose output bias can be set to the marginals of the data.

    A pixel that never varies learns its rate from the bias alone, which takes thousands of steps.
    Meanwhile the KL term of a VAE switches off latents that it needs later.
    """

    def start_at_marginals(self, family: "Family", x: Array) -> None:
        """Sets the parameters that are being made so that outputs start at the marginals of x."""
        ...


class ReadsMask(Protocol):
    """A density that depends on the whole batch, as with batch normalisation, except its padding.

    Attributes:
      reads_mask: True.
    """

    reads_mask: bool

    def log_prob(
        self, x: Array, context: Array | None = None, *, mask: Array | None = None
    ) -> Array:
        """log p(x | context) in nats; `mask[B]` is 1 for the rows that are data."""
        ...


class Quantises(Protocol):
    """A model whose latents are codes: `models.VQVAE`."""

    def quantise(
        self, x: Array, key: Key | None = None, mask: Array | None = None
    ) -> tuple[Any, ...]:
        """An `nn.Quantised` for each level; `mask[B]` is 1 for the rows that are data."""
        ...


class HasBaseline(Protocol):
    """A model that predicts its own learning signal: `models.WithBaseline`."""

    def baseline(self, x: Array) -> Array:
        """b(x) `[B]`, in nats, which no sample of the step enters."""
        ...

    def signal_scale(self) -> Array:
        """What the signal is divided by."""
        ...

    def observe(self, residual: Array, mask: Array | None = None) -> None:
        """Is told signal - b(x) `[..., B]`, in training."""
        ...


class HasControlVariate(Protocol):
    """A model with a control variate of its own: `models.WithControlVariate`."""

    def control_variate(self, x: Array, z: PyTree) -> Any:
        """A pytree with `temperature`, `scale` and `residual(x, z)`."""
        ...


class Filters(Protocol):
    """A latent-variable model of sequences whose densities are products over time.

    VRNN, and state-space models with any transition and emission.
    """

    def filtering(self) -> "Filtering":
        """A proposal of every step and the weight of what it proposes."""
        ...


Rule = Any
"""What an array of a batch must hold:

- a family: values that it covers;
- a `range`: one of its integers in each row, such as a class or a length;
- "real": finite numbers;
- "prefix": 0 or 1, in each row ones and then zeros: the steps that a sequence has;
- "present": 0 or 1, a column for each of the rules before this one: the rows in which their arrays
are read. Rows that are not read may hold anything finite.
"""


class ReadsBatches(Protocol):
    """A model that states what it reads of a batch, so that data are checked before training."""

    def data_rules(self, batch: Mapping[str, Any]) -> Mapping[str, Rule]:
        """A rule for every array that the model reads from such a batch."""
        ...
