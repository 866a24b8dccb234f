"""Exported models: the same numbers without the data, the experiment and Flax; altered files."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from dgmjax import data, lab, models, nn, objectives, training
from dgmjax.cli import commands
from dgmjax.errors import DgmjaxError, RunError
from dgmjax.lab import hub
from dgmjax.lab.exported import gallery, read_facts


def flow(*, tiny: bool = False) -> lab.Experiment:
    """A flow of standardised points."""
    loss = objectives.negative_log_likelihood
    points = data.load("moons", n_train=64, n_validation=8, n_test=16)
    return lab.Experiment(
        model="MAF",
        module=models.MAF(2, 1, (4,)),
        players={"model": training.Player(loss, training.adam(1e-3, 3))},
        dataset=points,
        transform=data.Standardise.fit(points.splits["train"]["x"]),
        steps=3,
        batch_size=16,
        estimators=(lab.Estimator("nll_nats", "exact", lab.averaged(loss)),),
    )


def vae(*, tiny: bool = False) -> lab.Experiment:
    """A VAE of the digits."""
    return lab.Experiment(
        model="VAE",
        module=models.DenseVAE((8, 8, 1), 2, (4,)),
        players={"model": training.Player(objectives.elbo, training.adam(1e-3, 3))},
        dataset=data.load("digits"),
        transform=data.Binarise("threshold", levels=17),
        steps=3,
        batch_size=16,
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Trained models and the folders of their exports, by name."""
    folder = tmp_path_factory.mktemp("exported")
    found = {}
    for function in (flow, vae):
        trained = lab.train(function, run=folder / f"run_{function.__name__}", quiet=True)
        found[function.__name__] = trained, lab.export(trained, folder / function.__name__)
    return found


SERVE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("flax", "optax", "orbax", "sklearn", "tensorflow_datasets"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hidden())
import numpy as np
from dgmjax.lab import load_export
model = load_export(sys.argv[1])
x = np.load(sys.argv[2])
np.savez(sys.argv[3], nats=getattr(model, sys.argv[4])(x), drawn=model.sample(seed=5, num=3),
         few=getattr(model, sys.argv[4])(x[:2]))
"""


@pytest.mark.parametrize(
    "name, function", [pytest.param("flow", "log_prob", marks=pytest.mark.slow), ("vae", "elbo")]
)
def test_a_process_without_the_data_gives_the_same_numbers(exported, tmp_path, name, function):
    trained, folder = exported[name]
    x = trained.experiment.dataset.splits["test"]["x"][:7]
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, folder, tmp_path / "x.npy", tmp_path / "y.npz", function],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    served = np.load(tmp_path / "y.npz")
    first, second = jax.random.split(jax.random.key(0))
    batch = trained.experiment.transform({"x": x}, first)
    loss = {"flow": objectives.negative_log_likelihood, "vae": objectives.elbo}[name]
    expected = -trained.call(loss, batch, second)[0]
    np.testing.assert_allclose(served["nats"], expected, rtol=1e-5)
    if name == "flow":
        np.testing.assert_allclose(served["few"], expected[:2], rtol=1e-5)
    assert served["drawn"].shape == (3, *x.shape[1:])
    keys = jax.random.split(jax.random.key(5), 3)
    one = trained.call("sample", keys[1], ())
    undone = trained.experiment.transform.inverse(one)
    np.testing.assert_allclose(served["drawn"][1], undone, rtol=1e-4, atol=1e-5)


def spectral(*, tiny: bool = False) -> lab.Experiment:
    """A GAN of points whose critic has spectral normalisation."""
    networks = nn.NormalisedMLP((4,), (2,)), nn.NormalisedMLP((4,), None, weights="spectral")
    gan = models.GAN(2, networks[0], nn.Critic(networks[1], weights="spectral"))
    losses = {"critic": objectives.critic_loss, "generator": objectives.generator_loss}
    player = lambda name: training.Player(losses[name], training.adam(1e-3, 3), (name,))
    return lab.Experiment(
        model="GAN",
        module=gan,
        players={name: player(name) for name in losses},
        dataset=data.load("eight_gaussians", n_train=64, n_validation=8, n_test=16),
        steps=3,
        batch_size=16,
    )


def test_names_with_slashes_are_read_back(tmp_path):
    """Singular vectors are named `Dense_0/kernel/u`: read back nested, no function took them."""
    trained = lab.train(spectral, run=tmp_path / "run", quiet=True)
    served = lab.load_export(lab.export(trained, tmp_path / "out"))
    variables = trained.learner.variables(trained.state)
    assert "spectral" in variables
    jax.tree.map(np.testing.assert_array_equal, served.variables, dict(variables))
    one = trained.call("sample", jax.random.split(jax.random.key(5), 3)[1], ())
    np.testing.assert_allclose(served.sample(seed=5, num=3)[1], one, rtol=1e-4, atol=1e-5)


def test_samples_are_those_of_their_seed_whatever_keys_jax_is_set_to():
    """Keys of another kind have four words, which the compiled function refused."""
    served = lab.load_export("gallery:gan")
    usual = served.sample(seed=3, num=2)
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(served.sample(seed=3, num=2), usual)


def test_the_parameters_and_facts_are_those_of_the_run(exported):
    trained, folder = exported["flow"]
    loaded = lab.load_export(folder)
    jax.tree.map(
        np.testing.assert_array_equal,
        loaded.variables["params"],
        dict(trained.learner.variables(trained.state)["params"]),
    )
    facts = json.loads((folder / "model.json").read_text())
    assert facts["step"] == 3 and facts["records"][0]["metric"] == "nll_nats"
    assert facts["functions"]["log_prob"] == {
        "unit": "nats", "is_bound": False, "platforms": ["cpu", "cuda", "tpu"],
    }  # fmt: skip
    card = (folder / "README.md").read_text()
    for words in (
        "# MAF",
        "dgmjax train flow.py --seed 0",
        "nll_nats (exact)",
        "datasets: [moons]",
    ):
        assert words in card
    with pytest.raises(RunError, match="exported with `elbo`"):
        loaded.elbo(np.zeros((1, 2), np.float32))
    with pytest.raises(DgmjaxError, match=r"must have shape \[n, 2\]; got \(1, 3\)"):
        loaded.log_prob(np.zeros((1, 3), np.float32))


def test_a_model_is_pushed_and_pulled_and_altered_files_are_refused(exported, tmp_path, capsys):
    _, folder = exported["flow"]
    there, back = tmp_path / "there", tmp_path / "back"
    assert commands.main(["push", str(folder), str(there)]) == 0
    assert commands.main(["pull", str(there), str(back)]) == 0
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {path.name: path.read_bytes() for path in back.iterdir()} == files
    weights = bytearray(files["model.safetensors"])
    weights[-1] ^= 1
    (there / "model.safetensors").write_bytes(weights)
    for command in (["pull", str(there), str(tmp_path / "x")], ["push", str(there), str(back)]):
        assert commands.main(command) == 2
        assert "must hold model.safetensors as it was exported" in capsys.readouterr().err
    with pytest.raises(RunError, match="as it was exported"):
        lab.load_export(there)
    facts = json.loads(files["model.json"])
    facts["sha256"]["../outside"] = "0"
    (back / "model.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="must be an export"):
        hub.push(back, str(tmp_path / "y"))
    with pytest.raises(RunError, match="new folder, or one of an export"):
        lab.export(exported["flow"][0], tmp_path)


def test_numbers_of_another_kind_are_taken_where_they_are_the_same(exported):
    loaded, x = lab.load_export(exported["vae"][1]), np.arange(64).reshape(1, 8, 8, 1) % 17
    np.testing.assert_array_equal(
        loaded.elbo(x.astype(np.float32)), loaded.elbo(x.astype(np.uint8))
    )
    for wrong in (x + 0.5, x - 3, np.full(x.shape, np.nan)):
        with pytest.raises(DgmjaxError, match="`x` must hold numbers of the raw data"):
            loaded.elbo(wrong.astype(np.float32))
    with pytest.raises(DgmjaxError, match="`x` must hold numbers of the raw data"):
        loaded.elbo(np.full(x.shape, 256, np.uint16))  # not 0
    with pytest.raises(DgmjaxError, match="`x` must hold levels of the raw data, 0 to 16"):
        loaded.elbo(np.full(x.shape, 255, np.uint8))
    with pytest.raises(DgmjaxError, match="`x` must hold at least one example"):
        loaded.elbo(x[:0])


def test_programs_do_not_tell_where_the_source_lies(exported):
    for _, folder in exported.values():
        for file in folder.iterdir():
            content = file.read_bytes()
            assert b".py" not in content.replace(b"flow.py", b"").replace(b"vae.py", b""), file


def test_the_gallery_is_small_and_sound(tmp_path):
    folders = gallery()
    assert len(folders) >= 5
    assert sum(f.stat().st_size for path in folders.values() for f in path.iterdir()) < 5e6
    for name, folder in folders.items():
        hub.pull(f"gallery:{name}", tmp_path / name)  # compares all checksums
        facts = read_facts(folder)
        assert not [how for how in facts["functions"].values() if "not_exported" in how]
        assert facts["records"], "a model of the gallery has its numbers with it"


@pytest.mark.parametrize(
    "name",
    ["gan", "vae_digits"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("flow_matching", "maf", "pixelcnn")],
)
def test_a_model_of_the_gallery_samples_and_scores(name, tmp_path, capsys):
    out = tmp_path / "x.npy"
    assert commands.main(["sample", f"gallery:{name}", "--num", "3", "--out", str(out)]) == 0
    x, model = np.load(out), lab.load_export(f"gallery:{name}")
    assert x.shape == (3, *model.facts["dataset"]["event_shape"]) and np.ptp(x) > 0
    for function in model.facts["functions"].keys() - {"sample"}:
        assert np.isfinite(getattr(model, function)(x)).all()
    for options in (["--label", "1"], ["--temperature", "0.5"], ["--out", str(tmp_path / "x.txt")]):
        assert commands.main(["sample", f"gallery:{name}", *options]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_a_model_that_the_gallery_lacks_is_named(capsys):
    assert commands.main(["sample", "gallery:pixlcnn"]) == 2
    assert "got gallery:pixlcnn. Did you mean `pixelcnn`?" in capsys.readouterr().err


def test_a_hub_is_asked_through_its_client(exported, tmp_path, monkeypatch):
    import types

    _, folder = exported["flow"]
    calls = []
    client = types.ModuleType("huggingface_hub")
    client.create_repo = lambda name, **options: calls.append(name)
    client.upload_folder = lambda **options: calls.append(options["allow_patterns"])
    client.snapshot_download = lambda repo_id, local_dir: hub.push(folder, local_dir)
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    assert hub.push(folder, "hf:me/flow") == "hf:me/flow"
    assert calls[0] == "me/flow" and set(calls[1]) == {path.name for path in folder.iterdir()}
    assert (hub.pull("hf:me/flow", tmp_path / "x") / "model.json").is_file()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DgmjaxError, match=r"pip install .dgmjax.hub.."):
        hub.push(folder, "hf:me/flow")
