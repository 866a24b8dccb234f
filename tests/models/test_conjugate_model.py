"""Conjugate models as modules: the learner's step is that of the kernel, on any devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start

from dgmjax import data, inference, models, objectives, training
from dgmjax.errors import DataError, DgmjaxError

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(0.7, (64, 12)).astype(np.int32)
BATCHES = COUNTS.reshape(4, 16, 12)


def learner_of(model, num_examples):
    loss = lambda m, b, k: objectives.natural_gradient(m, b, k, num_examples=num_examples)
    return training.gradient_learner(
        model, {"model": training.Player(loss, training.robbins_monro(2.0, 0.6))}
    )


def kernel_steps(conjugate, parameters, batches, num_examples):
    kernel = inference.stochastic_variational_inference(
        conjugate, num_examples, delay=2.0, forgetting=0.6
    )
    state, bounds = kernel.init(parameters), []
    for x in batches:
        bounds.append(inference.global_bound(conjugate, state.parameters, {"x": x}))
        state, _ = jax.jit(kernel.step)(KEY, state, {"x": x})
    return state.parameters


def mixture():
    points = RNG.normal(size=(64, 2)).astype(np.float32) + np.array([[3.0, -1.0]]) * (
        RNG.integers(0, 2, (64, 1))
    )
    covariance = tuple(map(tuple, np.cov(points.T).tolist()))
    options = {"num_components": 2, "loc": tuple(points.mean(0).tolist())}
    model = models.ConjugateModel(inference.normal_mixture, {**options, "covariance": covariance})
    return model, points.astype(np.float32).reshape(4, 16, 2)


CASES = {"topics": lambda: (models.TopicModel(12, 3), BATCHES), "mixture": mixture}


@pytest.mark.staggered(of=2)
@pytest.mark.parametrize("name", CASES)
def test_gradient_descent_is_the_kernel(name):
    model, batches = CASES[name]()
    learner = learner_of(model, 64)
    state = jax.jit(learner.init)(KEY, {"x": batches[0]})
    expected = kernel_steps(model.conjugate, state.params["global"], batches, 64)
    for x in batches:
        state, metrics = jax.jit(learner.step)(state, {"x": x})
    assert np.isfinite(metrics["loss"])
    for found, wanted in zip(*map(jax.tree.leaves, (state.params["global"], expected))):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-3)


def test_the_loss_is_the_bound_of_a_document():
    model = models.TopicModel(12, 3)
    variables = compiled_start(model, KEY, method="global_parameters")
    batch = {"x": COUNTS}
    loss, _ = applied(
        model, variables, batch, KEY, method=objectives.natural_gradient, num_examples=len(COUNTS)
    )
    bound = inference.global_bound(model.conjugate, variables["params"]["global"], batch)
    assert float(loss.sum()) == pytest.approx(-float(bound), rel=1e-4)


def test_padding_changes_nothing_and_devices_agree():
    learner = learner_of(models.TopicModel(12, 3), 64)
    options = {"key": KEY, "steps": 8, "batch_size": 16}
    alone = training.fit(learner, {"x": COUNTS}, **options).state
    execution = training.Execution(mesh="data=4")
    shared = training.fit(learner, {"x": COUNTS}, **options, execution=execution).state
    np.testing.assert_allclose(shared.params["global"], alone.params["global"], rtol=1e-4)
    step = jax.jit(learner.step)
    padded = {"x": jnp.concatenate([COUNTS[:8], 9 + COUNTS[:8]]), "mask": jnp.arange(16) < 8}
    found = step(jax.jit(learner.init)(KEY, padded), padded)[0].params["global"]
    plain = step(jax.jit(learner.init)(KEY, padded), {"x": COUNTS[:8]})[0].params["global"]
    np.testing.assert_allclose(found, plain, rtol=1e-4)


def test_samples_follow_the_mean_of_the_topics():
    model = models.TopicModel(6, 2, topic_prior=50.0, document_length=200)
    topics = jnp.array([[40.0, 30.0, 20.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 20.0, 30.0, 40.0]])
    drawn = model.apply({"params": {"global": topics}}, KEY, (300,), method="sample")
    assert drawn.shape == (300, 6) and (drawn.sum(1) == 200).all()
    expected = (topics / topics.sum(1, keepdims=True)).mean(0)
    np.testing.assert_allclose(drawn.mean(0) / 200, expected, atol=0.01)
    mixed, points = mixture()
    variables = compiled_start(mixed, KEY, {"x": points[0]}, method="global_parameters")
    assert mixed.apply(variables, KEY, (5, 2), method="sample").shape == (5, 2, 2)


def test_models_of_another_kind_are_named():
    with pytest.raises(DgmjaxError, match=r"^`model` must have global latents"):
        objectives.natural_gradient(
            models.DenseVAE((2,), 1, (2,)), {"x": COUNTS}, KEY, num_examples=3
        )
    with pytest.raises(DgmjaxError, match=r"^`num_examples`"):
        objectives.natural_gradient(models.TopicModel(12, 3), {"x": COUNTS}, KEY, num_examples=0)
    for options, word in (((0.5, 0.7), "delay"), ((1.0, 0.5), "forgetting")):
        with pytest.raises(DgmjaxError, match=f"^`{word}`"):
            training.robbins_monro(*options)


TEXT = "Apples and pears grow here\nPears are green, apples red\n\nRed apples; green pears\n" * 8


def test_documents_are_counted(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text(TEXT)
    lines = data.load_documents(path, max_words=3, test=0.25)
    assert sum(len(arrays["x"]) for arrays in lines.splits.values()) == 24
    assert len(lines.info["words"]) == 3 and "apples" in lines.info["words"]
    speeches = data.load_documents(path, "speeches", test=0.4)
    assert speeches.splits["train"]["x"].sum(1).max() > 4
    np.savez(tmp_path / "counts.npz", x=COUNTS, words=np.array(list("abcdefghijkl")))
    own = data.load_documents(tmp_path / "counts.npz")
    assert own.info["words"] == list("abcdefghijkl") and own.event_shape == (12,)


def test_documents_that_are_none_are_named(tmp_path):
    with pytest.raises(DataError, match=r"^`dataset` must be a file"):
        data.load_documents(tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"^`data_dir` must hold tinyshakespeare"):
        data.load_documents(data_dir=tmp_path)
    (tmp_path / "own.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"^`dataset` must end in"):
        data.load_documents(tmp_path / "own.csv")
    (tmp_path / "own.txt").write_text("one\ntwo\nthree")
    with pytest.raises(DataError, match=r"^`documents` must hold words"):
        data.load_documents(tmp_path / "own.txt")
    with pytest.raises(DgmjaxError, match=r"^`documents` must be one of"):
        data.load_documents(tmp_path / "own.txt", "words")
    for name, x, word in (("a", -COUNTS, "x"), ("b", COUNTS + 0.5, "x"), ("c", COUNTS[0], "x")):
        np.savez(tmp_path / f"{name}.npz", x=x)
        with pytest.raises(DataError, match=f"^`{word}` must be counts"):
            data.load_documents(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "d.npz", x=COUNTS, words=np.array(["a"]))
    with pytest.raises(DataError, match=r"^`words` must name each"):
        data.load_documents(tmp_path / "d.npz")
