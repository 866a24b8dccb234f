from .defence.attacks import (
    cross_entropy as cross_entropy,
    expectation as expectation,
    fast_gradient_sign as fast_gradient_sign,
    projected_gradient as projected_gradient,
    random_noise as random_noise,
    square_attack as square_attack,
    straight_through as straight_through,
)
from .defence.detection import (
    auroc as auroc,
    likelihood_ratio as likelihood_ratio,
    rank_p_values as rank_p_values,
)
from .defence.nearest import carlini_wagner as carlini_wagner, deep_fool as deep_fool
from .defence.purification import (
    purify as purify,
)
from .imitation.advantages import (
    generalised_advantages as generalised_advantages,
)
from .imitation.agent import (
    Agent as Agent,
    dense_agent as dense_agent,
)
from .imitation.circles import (
    CIRCLES as CIRCLES,
    circle_demonstrations as circle_demonstrations,
    circle_positions as circle_positions,
)
from .imitation.classic import (
    ENVIRONMENTS as ENVIRONMENTS,
)
from .imitation.demonstrations import (
    Demonstrations as Demonstrations,
    demonstrations as demonstrations,
    load_demonstrations as load_demonstrations,
)
from .imitation.environment import (
    Environment as Environment,
    Outcome as Outcome,
    fixed_horizon as fixed_horizon,
)
from .imitation.learner import (
    PolicyLearner as PolicyLearner,
)
from .imitation.losses import (
    clipped_gain as clipped_gain,
    cloning as cloning,
    recognition as recognition,
    value_error as value_error,
)
from .imitation.natural import (
    TrustRegion as TrustRegion,
)
from .imitation.rewards import (
    environment_reward as environment_reward,
    game_reward as game_reward,
    shaped_reward as shaped_reward,
    with_information as with_information,
)
from .imitation.rollouts import (
    begin as begin,
    random_actions as random_actions,
    rollout as rollout,
)
from .imitation.updates import (
    UPDATES as UPDATES,
    Update as Update,
    ppo as ppo,
    trpo as trpo,
)
from .sensing.bases import (
    BASES as BASES,
    cosines as cosines,
    haar as haar,
    synthesis as synthesis,
)
from .sensing.lasso import (
    lasso as lasso,
)
from .sensing.operators import (
    Operator as Operator,
    block_average as block_average,
    denoising as denoising,
    inpainting as inpainting,
    low_resolution_shape as low_resolution_shape,
    measurement_matrix as measurement_matrix,
    random_measurements as random_measurements,
)
from .sensing.posterior import (
    PosteriorSamples as PosteriorSamples,
    covered as covered,
    intervals as intervals,
    posterior_samples as posterior_samples,
)
from .sensing.restoration import (
    Deviation as Deviation,
    Generator as Generator,
    Restored as Restored,
    generator_of as generator_of,
    restore as restore,
    soft_threshold as soft_threshold,
)
from .world_model.control import (
    Task as Task,
    controlled as controlled,
    dreamt as dreamt,
    held_actions as held_actions,
    lived as lived,
    num_parameters as num_parameters,
)
from .world_model.evolution import (
    Evolved as Evolved,
    evolve as evolve,
)
from .world_model.model import (
    WorldModel as WorldModel,
    world_model_loss as world_model_loss,
)
from .world_model.pixels import (
    pendulum_frames as pendulum_frames,
)
