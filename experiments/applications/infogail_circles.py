"""InfoGAIL on three kinds of circles: purity of the codes at least 0.95.

    dgmjax train infogail_circles
    dgmjax train infogail_circles --information 0

Demonstrations of three circles, which nothing tells apart, are imitated by one policy with a latent
code of three values. The record is the share of episodes whose circle is that of their code, under
the best matching of codes to circles. `--information 0` is GAIL with a code that nothing asks for.
A published figure shows the circles apart; it has no number. Source: Li, Song & Ermon, "InfoGAIL:
Interpretable Imitation Learning from Visual Demonstrations", 2017, section 5.1,
https://arxiv.org/abs/1703.08840.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import applications as app, data, evaluation, lab, training
from dgmjax.data.dataset import describe
from dgmjax.plotting.canvas import new_figure, tidy

from ..shared.games import Play

CODES, EACH = 3, 100
COLOURS = ("#1f5fa8", "#c8102e", "#2e8b57")
REFERENCES = np.stack([app.circle_positions(radius) for radius in (1.0, -1.0, 2.0)])


def infogail_circles(
    *,
    demonstrations: int = 10,
    information: float = 0.1,
    policy_rate: float = 1e-3,
    hidden: tuple[int, ...] = (64, 64),
    environments: int = 32,
    rollout: int = 64,
    steps: int = 600,
    play: Play = Play(
        game="minimax",
        learning_rate=1e-3,
        critic_steps=3,
        b1=0.5,
        schedule="constant",
        batch_size=128,
    ),
) -> lab.Experiment:
    """A policy with a latent code that imitates demonstrations of three kinds.

    Args:
      demonstrations: episodes of each kind.
      information: weight of log q(code | state, action) in the reward.
      policy_rate: of the policy's Adam.
      hidden: units of the hidden layers of policy, value, critic and recognition.
      environments: that act at the same time.
      rollout: steps of each of them in a step of training.
      steps: of training.
    """
    minibatches, play = 8, play.or_penalty("r1")
    if play.tiny:
        steps, hidden, environments, rollout, minibatches = min(steps, 4), (8,), 4, 8, 2
        demonstrations = min(demonstrations, 2)
    dataset = _dataset(demonstrations)
    critic = {name: p for name, p in play.players(steps).items() if name == "critic"}
    adam = training.adam(play.learning_rate, steps, schedule=play.schedule)
    judges = {**critic, "recognition": training.Player(app.recognition, adam, ("recognition",))}
    moves = app.ppo(steps, learning_rate=policy_rate, minibatches=minibatches)
    agent = app.dense_agent(
        app.CIRCLES, hidden, hidden, critic_outputs=play.outputs, num_codes=CODES
    )
    return lab.Experiment(
        model=f"InfoGAIL, {play.game}" if information else f"GAIL, {play.game}",
        module=agent,
        players=judges,
        dataset=dataset,
        steps=steps,
        batch_size=min(play.batch_size, len(dataset.splits["train"]["x"])),
        make_learner=lambda experiment: app.PolicyLearner(
            agent,
            app.with_information(app.game_reward(play.game), information),
            moves,
            experiment.players,
            num_environments=environments,
            num_steps=rollout,
            ema_decay=experiment.ema_decay,
        ),
        estimators=(
            lab.Estimator(
                "mode_purity",
                f"best matching of codes to the nearest circles, {CODES * EACH} episodes",
                lambda trained, _: _matched(trained)[0],
                "fraction",
            ),
            lab.Estimator(
                "recognised_codes",
                f"codes that q recognises from a whole episode, {CODES * EACH} episodes",
                lambda trained, _: _matched(trained)[1],
                "fraction",
            ),
            lab.Estimator(
                "distance_to_circle",
                "mean distance to the nearest circle at the same time",
                lambda trained, _: _matched(trained)[2],
                "radius",
            ),
        ),
        figures={"circles": circles},
        evaluate_every=max(1, steps // 20),
        log_every=max(1, steps // 100),
        ema_decay=play.ema_decay,
    )


@lru_cache
def _dataset(each: int) -> data.Dataset:
    splits = {}
    for seed, (split, count) in enumerate((("train", each), ("test", 5))):
        x, action, circle = app.circle_demonstrations(count, seed)
        found = app.demonstrations(app.CIRCLES, list(x), list(action))
        label = np.repeat(circle, app.CIRCLES.horizon).astype(np.int32)
        splits[split] = {**found.pairs(), "label": label}
    facts = {"demonstrations": CODES * each, "derived": True}
    name = f"circles, {CODES * each} demonstrations"
    return data.Dataset(name, splits, describe(splits, **facts))


def _episodes(model, key):
    """Positions `[H + 1, N, 2]` of episodes, and log q(code | episode) `[N, codes]`."""
    code = jnp.repeat(jnp.arange(CODES), EACH)
    seen = model.play(key, len(code), code)
    events = model.event(seen.observation, seen.action)
    each = [model.log_recognition(events, jnp.full(code.shape, c)).sum(0) for c in range(CODES)]
    positions = jnp.concatenate([seen.observation[..., :2], seen.next_observation[-1:, :, :2]])
    return positions, jnp.stack(each, -1)


def played(trained):
    """Positions `[N, H + 1, 2]`, codes `[N]`, recognised codes and distances to all circles."""
    positions, known = map(np.asarray, trained.call(_episodes, jax.random.key(1)))
    positions = positions.swapaxes(0, 1)
    apart = np.linalg.norm(positions[:, None] - REFERENCES, axis=-1).mean(-1)
    return positions, np.repeat(np.arange(CODES), EACH), known.argmax(-1), apart


@lru_cache(1)
def _matched(trained):
    """Purity, recognised codes, distances."""
    _, code, known, apart = played(trained)
    purity = evaluation.cluster_accuracy(code, apart.argmin(1))
    recognised = evaluation.average((known == code).astype(np.float64))
    return purity, recognised, evaluation.average(apart.min(1))


def circles(trained):
    """Demonstrations, and episodes of the policy in the colour of their code."""
    positions, code, _, _ = played(trained)
    x = trained.arrays("train")["x"].reshape(
        -1, app.CIRCLES.horizon, app.CIRCLES.observation_shape[0]
    )
    figure = new_figure(8.0, 4.0, f"Circles of {trained.experiment.model}")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for episode in x:
        left.plot(episode[:, 0], episode[:, 1], color="#6d7178", linewidth=0.6)
    for episode, value in zip(positions[::5], code[::5]):
        right.plot(episode[:, 0], episode[:, 1], color=COLOURS[value], linewidth=0.6, alpha=0.6)
    for axes, title in ((left, "demonstrations"), (right, "policy, by code")):
        axes.set_title(title, fontsize=9)
        axes.set_aspect("equal", adjustable="box")
        tidy(axes)
    return figure
