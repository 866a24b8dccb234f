"""Every experiment of the catalogue, in miniature: trained, resumed, loaded, measured, sampled."""

import ast
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import chex
import jax
import numpy as np
import pytest

from dgmjax import data, plotting, training
from dgmjax.errors import DataError, DgmjaxError, RunError
from dgmjax.lab import catalogue, runner
from dgmjax.lab.writing import write_samples
from dgmjax.objectives.diffusion.denoising import noise_of_base
from dgmjax.runs import RunFolder
from experiments.shared import denoising, speech

NAMES = [entry.name for entry in catalogue.catalogue()]
STEPS = 4

LIKE_ANOTHER = {
    "bigan_mnist": "gan_mnist",
    "cnf_plane": "flow_matching_plane",
    "cvae_mnist": "vae_digits",
    "cyclegan_digits": "pix2pix_digits",
    "disentangling_sprites": "vae_digits",
    "distilled_flow_mnist": "ddpm_mnist",
    "draw_mnist": "vae_digits",
    "fivo_jsb": "vrnn_jsb",
    "flow_gan_mnist": "gan_mnist",
    "flow_matching_mnist": "ddpm_mnist",
    "gan_grid": "gan_eight_gaussians",
    "gan_stacked_mnist": "gan_mnist",
    "hierarchical_mnist": "vae_digits",
    "hvi_mnist": "vae_digits",
    "infogail_circles": "gail",
    "infogan_mnist": "gan_mnist",
    "iwae_mnist": "vae_digits",
    "latent_diffusion_mnist": "ddpm_mnist",
    "made_binarized_mnist": "nade_binarized_mnist",
    "maf_known_density": "plane_density",
    "maf_mnist_logit": "uci_density",
    "maf_moons": "plane_density",
    "masked_diffusion_binarized_mnist": "masked_diffusion_shakespeare",
    "miwae_mnist": "miwae_breast_cancer",
    "mmd_gan_mnist": "gan_mnist",
    "multimodal_mnist": "vae_digits",
    "parallel_wavenet_spoken_digits": "wavenet_spoken_digits",
    "pixel_defend": "anomaly_detection",
    "pixel_vae_mnist": "vq_prior_mnist",
    "progressive_gan_mnist": "gan_mnist",
    "realnvp_moons": "plane_density",
    "sbn_binarized_mnist": "vae_digits",
    "super_resolution_mnist": "pixelcnn_binarized_mnist",
    "super_resolution_speech": "pixelcnn_binarized_mnist",
    "vae_clusters_mnist": "vae_digits",
    "vae_mnist": "vae_digits",
    "vae_posteriors_mnist": "vae_digits",
    "vae_priors_mnist": "vae_digits",
    "vdm_mnist": "ddpm_mnist",
    "vq_vae_mnist": "vq_prior_mnist",
}
"""Experiments whose miniature goes the way of another's; they run with the slow tests.

Their models and objectives are tested in their rooms, and that they build with every choice below.
"""

SMALLER = {"plane_density": {"layers": 2}}
"""Arguments that `tiny` leaves as they are: it is for pictures, too."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in LIKE_ANOTHER else name
        for name in NAMES
    ],
)
def test_tiny(name, tmp_path, monkeypatch):
    vectors = name == "vae_digits"
    if not vectors:  # they take as long as the pictures, in which the same is seen
        monkeypatch.setattr(plotting, "save_vectors", lambda figure, path: None)
        save = plotting.save
        monkeypatch.setattr(plotting, "save", lambda figure, path, dpi: save(figure, path, 30))
    function = catalogue.load_experiment(name)
    arguments = catalogue.own_defaults(function) | SMALLER.get(name, {})
    shared = {"seed": 0, "tiny": True, "data_dir": None}
    experiment = catalogue.build(function, arguments, **shared)
    run = RunFolder.create(tmp_path, name, arguments, 0, tiny=True, options={"data_dir": None})
    trained = runner.train(experiment, run, seed=0, steps=STEPS)
    records = run.read_records()
    assert records and all(np.isfinite(record.value) for record in records)
    assert {record.experiment for record in records} == {name}
    if experiment.dataset.entropy is None:  # a stand-in for the data of the published number
        assert all(record.published is None for record in records)
    figures = {path.stem for path in run.figures.glob("*.png")}
    assert figures == set(experiment.figures)
    assert {path.stem for path in run.figures.glob("*.pdf")} == (figures if vectors else set())
    loaded = runner.load_run(run.path)
    again = runner.evaluate(loaded)
    assert [r.value for r in again] == pytest.approx([r.value for r in records], rel=1e-4)
    jax.tree.map(np.testing.assert_array_equal, trained.state.params, loaded.state.params)
    if not hasattr(loaded.model, "sample"):
        with pytest.raises(RunError, match="must have `sample`"):
            write_samples(loaded, num=3, out=tmp_path / "samples.npy")
        return
    path = write_samples(loaded, num=3, out=tmp_path / "samples.npy")
    drawn = np.load(path, allow_pickle=False)
    assert drawn.shape == (3, *experiment.dataset.event_shape)
    if "symbols" in experiment.dataset.info:
        text = write_samples(loaded, num=3, out=tmp_path / "samples.txt").read_text()
        symbols = data.vocabulary(experiment.dataset)
        assert text == f"\n{'-' * 60}\n".join(symbols.decode(row) for row in drawn) + "\n"
    else:
        with pytest.raises(DataError, match="must be text"):
            write_samples(loaded, num=3, out=tmp_path / "samples.txt")
    if hasattr(loaded.model, "log_prob"):
        x = loaded.arrays("test")["x"][:2]
        assert jax.eval_shape(loaded.model.log_prob, x).shape == (2,)  # along an ODE it is slow


OTHER_WAYS = [
    ("compressed_sensing", {"prior": "flow"}),
    ("compressed_sensing", {"prior": "gan"}),
    ("compressed_sensing", {"prior": "uae"}),
    ("cvae_mnist", {"conditional_prior": True}),
    ("ddpm_mnist", {"conditional": False}),
    ("flow_gan_mnist", {"training_by": "hybrid"}),
    ("flow_gan_mnist", {"training_by": "likelihood"}),
    ("gail", {"method": "bc"}),
    ("gail", {"method": "wrong_expert"}),
    ("infogan_mnist", {"normalisation": "none", "critic_normalisation": "none", "hidden": 0}),
    ("pix2pix_digits", {"training_by": "regression"}),
    ("pix2pix_digits", {"training_by": "adversarial"}),
    ("semi_supervised_mnist", {"model": "sdgm"}),
    ("vae_continuous_mnist", {"model": "gan_50"}),
    ("vae_continuous_mnist", {"model": "gmmn_10"}),
]
"""Arguments with which other objectives, methods of the model and figures are used."""


@pytest.mark.slow
@pytest.mark.parametrize("name, given", OTHER_WAYS)
def test_other_ways_of_training_reach_their_records_and_figures(name, given, tmp_path):
    function = catalogue.load_experiment(name)
    arguments = catalogue.own_defaults(function) | given
    experiment = catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)
    run = RunFolder.create(tmp_path, name, arguments, 0, tiny=True, options={"data_dir": None})
    runner.train(experiment, run, seed=0, steps=STEPS)
    records = run.read_records()
    assert records and all(np.isfinite(record.value) for record in records)
    assert {path.stem for path in run.figures.glob("*.png")} == set(experiment.figures)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 2])
def test_codes_of_residuals_and_their_prior(levels, tmp_path):
    """The second stage reads a run whose sites have two codes, and all figures are drawn."""
    shared = {"seed": 0, "tiny": True, "data_dir": None}
    given: dict = {"levels": levels, "residual_depth": 2}
    for name in ("vq_vae_mnist", "vq_prior_mnist"):
        function = catalogue.load_experiment(name)
        arguments = catalogue.own_defaults(function) | given
        experiment = catalogue.build(function, arguments, **shared)
        run = RunFolder.create(tmp_path, name, arguments, 0, tiny=True, options={"data_dir": None})
        trained = runner.train(experiment, run, seed=0, steps=STEPS)
        assert {path.stem for path in run.figures.glob("*.png")} == set(experiment.figures)
        given = {"autoencoder": str(run.path)}
    records = {record.metric: record.value for record in run.read_records()}
    assert all(np.isfinite(value) for value in records.values())
    assert trained.sample(3).shape == (3, 2 * (16 if levels == 1 else 20))


@pytest.mark.slow
def test_pairs_of_a_teacher_are_made_once(tmp_path):
    shared = {"seed": 0, "tiny": True, "data_dir": None}
    name, given = "flow_matching_mnist", {}
    for _ in range(2):
        function = catalogue.load_experiment(name)
        arguments = catalogue.own_defaults(function) | given
        experiment = catalogue.build(function, arguments, **shared)
        run = RunFolder.create(tmp_path, name, arguments, 0, tiny=True, options={"data_dir": None})
        trained = runner.train(experiment, run, seed=0, steps=STEPS)
        if name == "flow_matching_mnist":
            name, given = "distilled_flow_mnist", {"teacher": str(run.path), "pairs": 500}
            given["method"] = "one_step"
    (kept,) = Path(given["teacher"]).glob("pairs_*.npz")
    written = kept.stat().st_mtime_ns
    again = catalogue.build(function, arguments, **shared)
    assert kept.stat().st_mtime_ns == written
    pairs = again.dataset.splits["train"]
    assert pairs["x"].shape == pairs["noise"].shape == (256, 8, 8, 1)
    assert abs(float(pairs["noise"].std()) - 1.0) < 0.05
    assert trained.sample(3).shape == (3, 8, 8, 1)


def test_classes_of_speakers_are_digits_again():
    rows = {"x": np.zeros((4, 3), np.int16), "label": np.array([0, 9, 3, 3])}
    rows["speaker"] = np.array([0, 0, 1, 5])
    told = speech.by_speaker(data.Dataset("takes", {"train": rows}, {}))
    classes = told.splits["train"]["label"]
    assert classes.tolist() == [0, 9, 13, 53] and rows["label"].tolist() == [0, 9, 3, 3]
    assert speech.said(told, classes).tolist() == [0, 9, 3, 3]
    unknown = {name: rows[name] for name in ("x", "label")}
    with pytest.raises(DgmjaxError, match="`speakers` must be left out"):
        speech.by_speaker(data.Dataset("takes", {"train": unknown}, {}))


TRAINED_FIRST = ("distilled_flow_mnist", "pixel_defend", "vq_prior_mnist")
"""Experiments for whose miniature another model is trained, each time that one is built."""


WITH_CRITIC = ("infogan_mnist", "bigan_mnist", "pix2pix_digits", "cyclegan_digits")
"""Experiments whose models need what a critic learns."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in TRAINED_FIRST else name
        for name in NAMES
    ],
)
def test_every_choice_of_an_argument_builds(name):
    function = catalogue.load_experiment(name)
    defaults = catalogue.own_defaults(function)
    hints = {one.name: get_type_hints(one.owner)[one.name] for one in catalogue.options(function)}
    choices = {
        name: get_args(hints[name]) for name in defaults if get_origin(hints[name]) is Literal
    }
    ways = [{name: choice} for name in choices for choice in choices[name]]
    others = [way for way in ways if not way.items() <= defaults.items()]
    # The defaults are one way, whichever argument is looked at.
    for way in [*others, {}] if len(others) < len(ways) else others:
        if name in WITH_CRITIC and way.get("game") in ("mmd", "mmd_rational_quadratic"):
            continue  # refused: a row of `test_arguments_that_exclude_each_other_are_named`
        built = catalogue.build(function, defaults | way, seed=0, tiny=True, data_dir=None)
        assert built.steps >= 1 and built.estimators, way


@pytest.mark.parametrize(
    "name, given, argument",
    [
        ("hierarchical_mnist", {"bound": "iwae", "warm_up": 5}, "warm_up"),
        ("hierarchical_mnist", {"bound": "iwae", "free_bits": 1.0}, "free_bits"),
        ("hierarchical_mnist", {"evaluation_samples": 0}, "evaluation_samples"),
        ("vae_clusters_mnist", {"distortion": -1.0}, "distortion"),
        ("wavenet_spoken_digits", {"companding": 255.0}, "companding"),
        ("distilled_flow_mnist", {"method": "consistency", "pairs": 10}, "pairs"),
        ("infogan_mnist", {"ema_decay": 0.999}, "ema_decay"),
        ("infogan_mnist", {"normalisation": "none", "ema_decay": 0.999}, "ema_decay"),
        ("vae_mnist", {"objective": "elbo", "weight": 2.0}, "weight"),
        ("pixelcnn_binarized_mnist", {"network": "row_lstm", "dropout": 0.1}, "dropout"),
        ("pixelcnn_binarized_mnist", {"resolutions": 2}, "resolutions"),
        ("gan_grid", {"game": "mmd", "penalty": "r1"}, "penalty"),
        ("gan_mnist", {"network": "resnet", "hidden": 8}, "hidden"),
        ("gan_grid", {"penalty": "clip", "penalty_weight": 0.0}, "bound"),
        ("gan_grid", {"packing": 2}, "penalty"),
        ("gan_grid", {"packing": 0, "penalty": "none"}, "packing"),
        ("gan_stacked_mnist", {"packing": 3}, "batch_size"),
        ("semi_supervised_mnist", {"model": "m2", "features": "runs/m1"}, "features"),
        ("gan_grid", {"game": "mmd", "packing": 2, "penalty": "none"}, "packing"),
        ("gan_mnist", {"game": "mmd", "conditional": True}, "conditional"),
        ("infogan_mnist", {"game": "mmd"}, "game"),
        ("bigan_mnist", {"game": "mmd"}, "game"),
        ("pix2pix_digits", {"game": "mmd"}, "game"),
        ("cyclegan_digits", {"game": "mmd"}, "game"),
        ("progressive_gan_mnist", {"stages": (0.25, 1.5)}, "stages"),
        ("progressive_gan_mnist", {"stages": (0.25, 0.95), "fade": 0.2}, "stages"),
        ("vae_mnist", {"size": 8}, "size"),
        ("image_flow", {"size": 8}, "size"),
        ("maf_mnist_logit", {"grey": True}, "grey"),
        ("gan_mnist", {"size": 8, "grey": True}, "size"),
        ("iwae_mnist", {"stage_epochs": (1, 1)}, "stage_epochs"),
        ("hierarchical_mnist", {"stages": (1,), "stage_epochs": (1,), "warm_up": 2}, "warm_up"),
        ("pixel_vae_mnist", {"warm_up": -3}, "warm_up"),
        ("vae_clusters_mnist", {"warm_up": 3}, "warm_up"),
        ("miwae_breast_cancer", {"missing": 1.5}, "missing"),
        ("pixel_defend", {"radii": (8, 0)}, "radii"),
        ("pixel_defend", {"train_radius": -1}, "train_radius"),
        ("gail", {"method": "wrong_expert", "demonstrations": -2}, "demonstrations"),
        ("gail", {"method": "wrong_expert", "expert_file": "other.npz"}, "expert_file"),
    ],
)
def test_arguments_that_exclude_each_other_are_named(name, given, argument):
    function = catalogue.load_experiment(name)
    given = catalogue.own_defaults(function) | given
    with pytest.raises(DgmjaxError, match=f"`{argument}` "):
        catalogue.build(function, given, seed=0, tiny=True, data_dir=None)


@pytest.mark.parametrize("name", ["vae_mnist", "iwae_mnist", "hvi_mnist", "vae_priors_mnist"])
def test_published_bounds_stand_beside_bounds_of_as_many_samples(name):
    function = catalogue.load_experiment(name)
    published = {}
    for samples in (5000, 100):
        given = catalogue.own_defaults(function) | {"evaluation_samples": samples}
        built = catalogue.build(function, given, seed=0, tiny=True, data_dir=None)
        published[samples] = built.estimators[0].published
    assert published[5000].value > 80.0 and published[100] is None


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_read(name):
    """An option that nobody reads is accepted, noted, and without effect."""
    (tree,) = ast.parse(inspect.getsource(catalogue.load_experiment(name))).body
    declared = {argument.arg for argument in tree.args.kwonlyargs}
    read = {
        node.id
        for statement in tree.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert declared <= read


def test_a_character_model_takes_its_length_batches_and_rate_from_the_options():
    function = catalogue.load_experiment("char_rnn_shakespeare")
    given = catalogue.own_defaults(function) | {"epochs": 3, "batch_size": 8, "learning_rate": 0.5}
    built = catalogue.build(function, given, seed=0, tiny=True, data_dir=None)
    rows = len(built.dataset.splits["train"]["x"])
    assert built.batch_size == 8 and built.steps == 3 * (rows // 8)
    optimiser = built.players["model"].optimiser
    params = {"w": np.ones(2, np.float32)}
    moved, _ = optimiser.update(params, optimiser.init(params), params)
    np.testing.assert_allclose(np.abs(moved["w"]), 0.5, rtol=0.02)


@pytest.mark.parametrize("samples", [0, 50, 10_001])
def test_distances_need_samples_for_a_covariance_and_test_images_to_compare(samples):
    with pytest.raises(DgmjaxError, match="`samples` must be between 100"):
        denoising.distances_by((1,), ({},), samples, "mnist")


def test_a_learnt_schedule_of_noise_goes_on_learning():
    """Its own Adam had a schedule of one step, after which its rate was 0."""
    function = catalogue.load_experiment("vdm_mnist")
    given = catalogue.own_defaults(function)
    built = catalogue.build(function, given, seed=0, tiny=True, data_dir=None)
    optimiser = built.players["schedule"].optimiser
    params = {"w": np.ones(2, np.float32)}
    state = optimiser.init(params)
    for _ in range(3):
        moved, state = optimiser.update(params, state, params)
        np.testing.assert_allclose(np.abs(moved["w"]), 1e-3, rtol=0.01)


@pytest.mark.parametrize(
    "name, option, player",
    [
        ("gan_grid", "critic_steps", "critic"),
        ("gan_eight_gaussians", "discriminator_steps", "discriminator"),
    ],
)
def test_a_critic_of_several_updates_a_step_learns_to_the_end(name, option, player):
    """Its rate was 0 after a fifth of the steps, since it fell by its updates."""
    function = catalogue.load_experiment(name)
    given = catalogue.own_defaults(function) | {option: 5}
    built = catalogue.build(function, given, seed=0, tiny=True, data_dir=None)
    optimiser, params = built.players[player].optimiser, {"w": np.ones(1, np.float32)}
    state = optimiser.init(params)
    sizes = []
    for _ in range(5 * built.steps):
        moved, state = optimiser.update(params, state, params)
        sizes.append(float(np.abs(moved["w"][0])))
    half = sizes[len(sizes) // 2] / sizes[0]
    assert half == pytest.approx(0.5, abs=0.05) and sizes[-1] > 0.0


def test_every_stage_takes_the_gradient_that_is_asked_for():
    function = catalogue.load_experiment("iwae_mnist")
    given = {"gradient": "dreg", "num_samples": 9, "stages": (3,), "stage_epochs": (1,)}
    given = catalogue.own_defaults(function) | given
    built = catalogue.build(function, given, seed=0, tiny=True, data_dir=None)
    stages = built.players["model"].objective.objectives
    found = [(stage.keywords["num_samples"], stage.keywords["gradient"]) for stage in stages]
    assert found == [(3, "dreg"), (9, "dreg")]


def test_growing_by_known_levels_is_growing():
    function = catalogue.load_experiment("progressive_gan_mnist")
    given = catalogue.own_defaults(function)
    built = catalogue.build(function, given, seed=0, tiny=True, data_dir=None)
    plain = {
        name: replace(player, objective=player.objective.objectives[-1])
        for name, player in built.players.items()
    }
    rows = {"x": np.tanh(np.random.default_rng(0).normal(size=(4, 8, 8, 1))).astype(np.float32)}
    learners = [training.gradient_learner(built.module, each) for each in (built.players, plain)]
    batches = [
        jax.tree.map(lambda a, n=learner.batches_per_step: np.stack([a] * n) if n > 1 else a, rows)
        for learner in learners
    ]
    states = [jax.jit(learners[0].init)(jax.random.key(0), rows)] * 2
    steps = [jax.jit(learner.step) for learner in learners]
    for _ in range(5):  # the second level begins at step 3
        states = [step(state, batch)[0] for step, state, batch in zip(steps, states, batches)]
        chex.assert_trees_all_close(states[0].params, states[1].params, atol=1e-5)
    assert float(states[0].collections["growth"]["value"]) > 0.0


@pytest.mark.parametrize("process", get_args(denoising.ProcessName))
def test_flows_of_the_plane_are_trained_on_paths_that_lead_to_their_source(process):
    function = catalogue.load_experiment("flow_matching_plane")
    given = catalogue.own_defaults(function) | {"process": process}
    built = catalogue.build(function, given, seed=0, tiny=True, data_dir=None)
    module, (x0, key) = built.module, (np.zeros((500, 2), np.float32), jax.random.key(0))
    variables = module.init(key, x0, method="log_prob")

    def ends(model):
        noise = noise_of_base(model, key, x0)
        reached = model.path.interpolate(x0, noise, np.ones(500, np.float32))
        return reached, model.base_at_end().sample(seed=key, sample_shape=500)

    reached, begun = (
        np.linalg.norm(x, axis=1).mean() for x in module.apply(variables, method=ends)
    )
    np.testing.assert_allclose(reached, begun, rtol=0.05)


def test_published_numbers_stand_beside_models_of_their_size():
    def published(name, **given):
        function = catalogue.load_experiment(name)
        given = catalogue.own_defaults(function) | given
        built = catalogue.build(function, given, seed=0, tiny=False, data_dir=None)
        return next((e.published for e in built.estimators if e.published is not None), None)

    assert published("miwae_breast_cancer").value == 0.287
    assert published("miwae_breast_cancer", missing=0.9) is None


@pytest.mark.parametrize(
    "given", [{}, {"hidden": (16,)}, {"layers": 2}, {"model": "made"}, {"model": "nsf"}]
)
def test_the_published_flow_of_logits_stands_beside_its_own_size(given):
    function = catalogue.load_experiment("maf_mnist_logit")
    arguments = catalogue.own_defaults(function) | given
    built = catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)
    assert (built.estimators[0].published is not None) == (given in ({}, {"model": "made"}))


@pytest.mark.parametrize("given", [{}, {"latent": 2}, {"write_size": 1}, {"num_steps": 3}])
def test_the_published_drawing_has_other_sizes_where_ours_has(given):
    function = catalogue.load_experiment("draw_mnist")
    arguments = catalogue.own_defaults(function) | given
    built = catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)
    assert (built.estimators[0].published.differs is None) == (given == {})


@pytest.mark.parametrize("name", NAMES)
def test_a_size_of_zero_is_named(name):
    function = catalogue.load_experiment(name)
    given = catalogue.own_defaults(function)
    sizes = {"batch_size", "epochs", "steps"} & set(given)
    assert len(sizes) == 2
    for size in sizes:
        with pytest.raises(DgmjaxError, match=f"`{size}` must be at least 1; got 0"):
            catalogue.build(function, given | {size: 0}, seed=0, tiny=True, data_dir=None)


def test_without_leapfrog_steps_the_model_is_the_plain_vae_of_the_same_networks():
    function = catalogue.load_experiment("hvi_mnist")
    build = lambda steps: (
        catalogue.build(
            function,
            catalogue.own_defaults(function) | {"leapfrog": steps},
            seed=0,
            tiny=True,
            data_dir=None,
        ).module
    )
    assert build(0) == build(4).model and build(4).num_steps == 4


def test_the_catalogue_has_its_experiments():
    expected = {
        "vae_digits",
        "vae_mnist",
        "iwae_mnist",
        "made_binarized_mnist",
        "maf_moons",
        "realnvp_moons",
        "cnf_plane",
        "ddpm_mnist",
        "distilled_flow_mnist",
        "ebm_plane",
        "flow_matching_mnist",
        "flow_matching_plane",
        "latent_diffusion_mnist",
        "score_matching_plane",
        "vdm_mnist",
        "gan_eight_gaussians",
        "gail",
        "gan_grid",
        "gan_mnist",
        "cyclegan_digits",
        "pix2pix_digits",
        "progressive_gan_mnist",
        "maf_known_density",
        "plane_density",
        "maf_mnist_logit",
        "uci_density",
        "image_flow",
        "infogail_circles",
        "vae_posteriors_mnist",
        "fvsbn_binarized_mnist",
        "nade_binarized_mnist",
        "pixelcnn_binarized_mnist",
        "char_rnn_shakespeare",
        "wavenet_spoken_digits",
        "cvae_mnist",
        "disentangling_sprites",
        "draw_mnist",
        "hierarchical_mnist",
        "hvi_mnist",
        "miwae_breast_cancer",
        "miwae_mnist",
        "multimodal_mnist",
        "pixel_vae_mnist",
        "rbm_mnist",
        "vae_clusters_mnist",
        "vae_priors_mnist",
        "vq_prior_mnist",
        "vq_vae_mnist",
        "vrnn_jsb",
    }
    assert expected <= set(NAMES)


def test_an_absent_usps_is_named_before_anything_is_read(tmp_path):
    function = catalogue.load_experiment("cyclegan_digits")
    given = catalogue.own_defaults(function)
    with pytest.raises(DataError, match=r"must hold usps/usps\.npz.*Put an \.npz there"):
        catalogue.build(function, given, seed=0, tiny=False, data_dir=str(tmp_path))


def test_a_margin_is_cut_off_before_images_are_resized():
    from dgmjax.experiments.shared.digits import of_size

    from dgmjax import data

    small = data.load("digits")
    cut = of_size(small, 4, margin=2)
    assert cut.event_shape == (4, 4, 1)
    for split, arrays in cut.splits.items():
        assert (arrays["x"] == small.splits[split]["x"][:, 2:-2, 2:-2]).all()
    assert (of_size(small, 8).splits["test"]["x"] == small.splits["test"]["x"]).all()


def test_an_outline_lies_around_what_is_bright():
    from experiments.shared.digits import outline

    x = np.zeros((1, 5, 5, 1), np.uint8)
    x[0, 2, 1:3] = 255
    x[0, 0, 4] = 100  # below half of the grey values
    wanted = ["00000", "01100", "10010", "01100", "00000"]
    assert (outline(x, 256)[0, ..., 0] > 0).astype(int).astype(str).tolist() == list(
        map(list, wanted)
    )
