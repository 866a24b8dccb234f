"""GAIL from one demonstration: CartPole 200 of 200, cloning 72 (Ho & Ermon 2016).

    dgmjax train gail
    dgmjax train gail --seeds 10 --seeds-together yes
    dgmjax train gail --environment acrobot --steps 5400
    dgmjax train gail --environment mountain_car --steps 900
    dgmjax train gail --method bc --steps 10000
    dgmjax train gail --method wrong_expert
    dgmjax train gail --expert-file imitation/cartpole_0_expert.npz --data-dir DATA

Published returns from one demonstration (GAIL, cloning, expert): CartPole 200, 72, 200; Acrobot
-77, -131, -75; MountainCar -102, -137, -99. Here every episode has 200 steps and terminal states
absorb, for otherwise the length of an episode tells the reward: a policy that imitates a wrong
expert (one that pushes to the left at all times) must not be better than random actions. Cloning
takes seconds for 10,000 steps and is far from its best after 300.
Demonstrations are those of a policy that PPO found with the true reward
(`experiments/shared/experts.py`). As published, about 50 pairs of states and actions of each are
kept. Source: Ho & Ermon, "Generative Adversarial Imitation Learning", 2016, section 6 and appendix,
https://arxiv.org/abs/1606.03476.
"""

from typing import Literal

import optax

from dgmjax import applications as app, lab, runs, training

from ..shared import imitation
from ..shared.games import Play

EVERY = {"cartpole": 4, "acrobot": 1, "mountain_car": 2, "pendulum": 4}
"""Steps of which one pair is kept: an expert's episode has about 50 before it ends."""

DISCOUNT = {"cartpole": 0.99, "acrobot": 0.99, "mountain_car": 0.99, "pendulum": 0.95}
PUBLISHED = {
    ("cartpole", "gail"): 200.0,
    ("cartpole", "bc"): 72.0,
    ("acrobot", "gail"): -77.0,
    ("acrobot", "bc"): -131.0,
    ("mountain_car", "gail"): -102.0,
    ("mountain_car", "bc"): -137.0,
}
NAMES = {
    "bc": "behavioural cloning",
    "random": "random actions",
    "wrong_expert": "GAIL of a wrong expert",
}


def gail(
    *,
    environment: Literal["cartpole", "acrobot", "mountain_car", "pendulum"] = "cartpole",
    demonstrations: int = 1,
    method: Literal["gail", "bc", "random", "wrong_expert"] = "gail",
    update: Literal["ppo", "trpo"] = "ppo",
    policy_rate: float = 1e-3,
    entropy: float = 0.0,
    every: int | None = None,
    expert_file: str | None = None,
    hidden: tuple[int, ...] = (64, 64),
    environments: int = 32,
    rollout: int = 64,
    steps: int = 300,
    play: Play = Play(
        game="minimax",
        learning_rate=1e-3,
        critic_steps=3,
        b1=0.5,
        schedule="constant",
        batch_size=50,
    ),
) -> lab.Experiment:
    """A policy that imitates demonstrations.

    Args:
      environment: the task.
      demonstrations: episodes that are imitated.
      method: a game between policy and demonstrations; behavioural cloning; random actions; or the
        game with demonstrations of a wrong expert.
      update: of the policy in games.
      policy_rate: of the policy's Adam, in cloning and in PPO.
      entropy: weight of the policy's entropy in PPO.
      every: steps of which one pair is kept; about 50 pairs of an episode if left out.
      expert_file: demonstrations in the format of the library `imitation`.
      hidden: units of the hidden layers of policy, value and critic.
      environments: that act at the same time.
      rollout: steps of each of them in a step of training.
      steps: of training.
    """
    minibatches, play = 8, play.or_penalty("r1")
    if play.tiny:
        steps, hidden, environments, rollout, minibatches = min(steps, 4), (8,), 4, 8, 2
    task = app.fixed_horizon(app.ENVIRONMENTS[environment])
    found = imitation.demonstrated(
        task,
        demonstrations,
        bad=method == "wrong_expert",
        expert_file=expert_file,
        data_dir=play.data_dir,
    )
    cloned = method == "bc"
    dataset = imitation.dataset_of(
        f"{environment}, {demonstrations} demonstration{'s' * (demonstrations > 1)}",
        found,
        demonstrations,
        every or EVERY[environment],
        validation=0.3 if cloned else 0.0,
    )
    published = None
    if (environment, method) in PUBLISHED and demonstrations == 1:
        value = PUBLISHED[environment, method]
        published = runs.Published(value, "Ho & Ermon 2016, appendix, one demonstration")
    agent = app.dense_agent(task, hidden, hidden, critic_outputs=play.outputs)
    options: dict = {}
    if method in ("bc", "random"):
        still = method == "random"
        steps = 1 if still else steps
        optimiser = optax.set_to_zero() if still else training.adam(policy_rate, steps)
        options["players"] = {"policy": training.Player(app.cloning, optimiser, ("policy",))}
        options["validation"] = app.cloning if cloned else None
    else:
        judges = {name: p for name, p in play.players(steps).items() if name == "critic"}
        settings = {"entropy": entropy} if update == "ppo" else {}
        moves = app.UPDATES[update](
            steps, learning_rate=policy_rate, minibatches=minibatches, **settings
        )
        options["players"] = judges
        options["make_learner"] = lambda experiment: app.PolicyLearner(
            agent,
            app.game_reward(play.game),
            moves,
            experiment.players,
            num_environments=environments,
            num_steps=rollout,
            discount=DISCOUNT[environment],
            ema_decay=experiment.ema_decay,
        )
    return lab.Experiment(
        model=NAMES.get(method, f"GAIL, {play.game}, {update}"),
        module=agent,
        dataset=dataset,
        steps=steps,
        batch_size=min(play.batch_size, len(dataset.splits["train"]["x"])),
        estimators=imitation.return_estimators(
            environment, published, None if found.reward is None else found.reward[:demonstrations]
        ),
        figures={
            "episodes": imitation.phase_portrait(environment, found.observation[:demonstrations]),
            "returns": imitation.return_curve(environment),
        },
        evaluate_every=max(1, steps // 20),
        log_every=max(1, steps // 100),
        ema_decay=play.ema_decay,
        **options,
    )
