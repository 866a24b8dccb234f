"""Flow-GAN: a flow as a generator, whose likelihood is exact however it was trained."""

from typing import Any, ClassVar

import flax.linen as nn

from dgmjax.bijectors.base import as_float
from dgmjax.contracts import data_rules
from dgmjax.errors import require
from dgmjax.models.base import DensityModel
from dgmjax.types import Array, Batch, Key


class FlowGAN(nn.Module):
    """A density model that is also the generator of a game.

    Trained by `objectives.negative_log_likelihood`, by `objectives.generator_loss`, or by a
    `weighted_sum` of both (hybrid), beside a critic.

    Attributes:
      flow: any density module whose samples can be differentiated: `models.Flow`.
      critic: `x[..., *event]` -> `[..., 1]`.

    Source: Grover, Dhar & Ermon, "Flow-GAN: Combining Maximum Likelihood and Adversarial Learning
    in Generative Models", 2018, Eq. 9, https://arxiv.org/abs/1705.08868.
    """

    flow: DensityModel
    critic: nn.Module
    preserve_adopted_names: ClassVar[bool] = True

    @property
    def family(self) -> Any:
        """The family of the flow's sites, where it has one."""
        return getattr(self.flow, "family", None)

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """Those of the flow."""
        return dict(data_rules(self.flow, batch))

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x) of the flow, exact, in nats."""
        return self.flow.log_prob(x, context)

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples of the flow."""
        return self.flow.sample(key, sample_shape, context)

    def logit(self, x: Array) -> Array:
        """The critic's value `[...]`."""
        value = as_float(self.critic(x))
        rule = "must have one output"
        require(value.shape[-1] == 1, "critic", rule, value.shape[-1])
        return value[..., 0]
