"""Mu-law codes, `.wav` files, and likelihoods of padded sequences given a class."""

import wave

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io.wavfile
from scrambling import applied

from dgmjax import models, objectives
from dgmjax.data import (
    MuLaw,
    SixteenBit,
    built_in_tones,
    mu_law_decode,
    mu_law_encode,
    read_wav,
    write_wav,
)
from dgmjax.data.audio import unigram_bits
from dgmjax.distributions import families
from dgmjax.errors import DataError, DgmjaxError

EVERY = np.arange(-32768, 32768).astype(np.int16)


def test_mu_law_is_its_formula_inverted_by_its_codes():
    codes = mu_law_encode(EVERY)
    assert codes.min() == 0 and codes.max() == 255 and (np.diff(codes) >= 0).all()
    assert len(np.unique(codes)) == 256
    np.testing.assert_array_equal(mu_law_encode(mu_law_decode(np.arange(256))), np.arange(256))
    x = EVERY / 32768.0
    squeezed = np.sign(x) * np.log(1 + 255 * np.abs(x)) / np.log(256)
    np.testing.assert_array_equal(codes, np.minimum(np.floor((squeezed + 1) * 128), 255))


def test_mu_law_error_grows_with_loudness_only():
    """|x - decode(encode(x))| is about half a cell: log(256) (1/255 + |x|) 2/256 / 2."""
    sound = EVERY.astype(np.float64)
    error = np.abs(sound - mu_law_decode(mu_law_encode(EVERY))) / 32768
    cell = 2 / 256 * np.log(256) * (1 / 255 + np.abs(sound) / 32768)
    assert (error <= 0.53 * cell + 1 / 32768).all()


@pytest.mark.parametrize("transform", [MuLaw(), MuLaw(16), SixteenBit()])
def test_transforms_and_their_inverses(transform):
    x = EVERY.reshape(256, 256)
    transform.check({"x": x})
    new = jax.jit(lambda x: transform({"x": x}, None))(x)["x"]
    back = np.asarray(transform.inverse(new))
    assert back.dtype == np.int16 and "log_det" not in transform({"x": x}, None)
    if isinstance(transform, SixteenBit):
        np.testing.assert_array_equal(back, x)
    else:
        np.testing.assert_array_equal(new, mu_law_encode(x, transform.levels))
        np.testing.assert_array_equal(back, mu_law_decode(np.asarray(new), transform.levels))


def test_wav_files(tmp_path):
    sound = EVERY[::37]
    path = write_wav(tmp_path / "a.wav", sound, 8000)
    np.testing.assert_array_equal(read_wav(path, 8000), sound)
    rate, theirs = scipy.io.wavfile.read(path)
    assert rate == 8000
    np.testing.assert_array_equal(theirs, sound)


def _with(path, channels=1, width=2, rate=8000):
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(bytes(8 * channels * width))


@pytest.mark.parametrize(
    "form, said",
    [({"channels": 2}, "mono"), ({"width": 1}, "16-bit"), ({"rate": 44100}, "8000 Hz")],
)
def test_other_sound_is_refused(tmp_path, form, said):
    _with(tmp_path / "a.wav", **form)
    with pytest.raises(DataError, match=f"^`path` must .*{said}"):
        read_wav(tmp_path / "a.wav", 8000)


@pytest.mark.parametrize("lost", [1, 2, 16])
def test_truncated_sound_is_refused(tmp_path, lost):
    _with(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-lost])
    said = f"^`path` must hold the 16 bytes .* that it announces; got {16 - lost} bytes in .*a.wav"
    with pytest.raises(DataError, match=said):
        read_wav(tmp_path / "a.wav", 8000)


def test_bad_input_is_named(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF not a sound")
    for act, word in [
        (lambda: read_wav(tmp_path / "a.wav", 8000), "path"),
        (lambda: read_wav(tmp_path / "none.wav", 8000), "path"),
        (lambda: write_wav(tmp_path / "b.wav", np.zeros((3, 2), np.int16), 8000), "samples"),
        (lambda: write_wav(tmp_path / "b.wav", np.zeros(3), 8000), "samples"),
        (lambda: mu_law_encode(np.zeros(3)), "x"),
        (lambda: mu_law_decode(np.array([256])), "codes"),
        (lambda: MuLaw(1000), "levels"),
        (lambda: MuLaw().check({"x": np.zeros((2, 5, 2), np.int16)}), "x"),
        (lambda: SixteenBit().check({"x": np.zeros((2, 5), np.float32)}), "x"),
    ]:
        with pytest.raises(DataError, match=f"^`{word}` must"):
            act()


def test_built_in_tones_have_the_shape_of_spoken_digits():
    tones = built_in_tones(100, 64)
    train = tones.splits["train"]
    assert train["x"].dtype == np.int16 and train["x"].shape[1:] == (64,)
    assert (train["x"][np.arange(64) >= train["length"][:, None]] == 0).all()
    assert set(np.concatenate([s["label"] for s in tones.splits.values()])) == set(range(10))


def test_unigram_bits():
    """Against the closed form with one added count."""
    train, test = np.array([0, 0, 1]), np.array([0, 1])
    expected = -(np.log2(3 / 6) + np.log2(2 / 6)) / 2
    assert unigram_bits(train, test, 3) == pytest.approx(expected)


def conditional(timeline=None):
    """A class-conditional WaveNet over 3 categories and 6 sites, scrambled."""
    density = models.WaveNet(
        (6,),
        families.Categorical(3),
        channels=3,
        skip_channels=3,
        stacks=1,
        layers=2,
        context_features=2,
        local_features=0 if timeline is None else timeline[1],
        hop=4,
    )
    module = models.ClassConditional(density, 2, timeline)
    batch = {
        "x": jnp.array([[0, 1, 2, 0, 0, 0], [2, 2, 1, 0, 1, 0]]),
        "length": jnp.array([3, 6]),
        "label": jnp.array([0, 1]),
    }
    init = lambda key: module.init(key, batch, key, method=objectives.padded_sequence_nll)
    generator = np.random.default_rng(0)
    draw = lambda a: jnp.asarray(generator.normal(size=a.shape), jnp.float32)
    variables = jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0)))
    return module, variables, batch


def test_padding_does_not_count():
    """Other padding changes nothing, and a sum over all endings gives the same."""
    module, variables, batch = conditional()
    nll = jax.jit(lambda v, b: module.apply(v, b, None, method=objectives.padded_sequence_nll)[0])
    found = nll(variables, batch)
    other = {**batch, "x": batch["x"].at[0, 3:].set(2)}
    np.testing.assert_allclose(nll(variables, other), found, rtol=1e-6)
    log_prob = jax.jit(lambda v, x, c: module.apply(v, x, c, method="log_prob"))
    endings = np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), 1)
    start = np.broadcast_to(np.asarray(batch["x"][0, :3]), (27, 3))
    joint = log_prob(variables, jnp.asarray(np.hstack([start, endings])), jnp.eye(2)[0])
    np.testing.assert_allclose(-jax.nn.logsumexp(joint), found[0], rtol=1e-5)
    whole = log_prob(variables, batch["x"], jnp.eye(2)[batch["label"]])
    np.testing.assert_allclose(-whole[1], found[1], rtol=1e-5)


@pytest.mark.slow
def test_a_timeline_is_what_the_class_has_learned_for_each_frame():
    module, variables, batch = conditional((2, 3))
    context = applied(module, variables, batch["label"], method="context")
    frames = variables["params"]["frames"]
    assert frames.shape == (2, 2, 3)
    np.testing.assert_array_equal(context, np.hstack([np.eye(2), frames.reshape(2, -1)]))
    of_second = lambda model, x: model.log_prob(x, model.context(jnp.int32(1)))
    log_prob = lambda v, x: module.apply(v, x, method=of_second)
    slope = jax.grad(lambda v: log_prob(v, batch["x"][1]).sum())(variables)["params"]["frames"]
    assert (slope[0] == 0).all() and (slope[1] != 0).all()
    endings = np.stack(np.unravel_index(np.arange(3**6), (3,) * 6), 1)
    total = jax.nn.logsumexp(jax.jit(log_prob)(variables, jnp.asarray(endings)))
    np.testing.assert_allclose(total, 0.0, atol=1e-5)
    with pytest.raises(DgmjaxError, match="timeline"):
        models.ClassConditional(module.density, 2, (0, 3)).init(
            jax.random.key(0), batch["label"], method="context"
        )


def test_a_cold_class_draws_its_most_probable_path():
    module, variables, _ = conditional()
    cold = {"temperature": 1e-6}
    draw = jax.jit(lambda v, k, c: module.apply(v, k, (), c, **cold, method="sample"))
    drawn = np.stack([draw(variables, jax.random.key(seed), jnp.eye(2)) for seed in (0, 1)])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    log_prob = jax.jit(lambda v, x, c: module.apply(v, x, c, method="log_prob"))
    for label, path in enumerate(drawn[0]):
        for site in range(6):  # changing one site lowers p(x_<= site), summed over what follows
            endings = np.indices((3,) * (6 - site)).reshape(6 - site, -1).T
            start = np.broadcast_to(path[:site], (len(endings), site))
            joint = log_prob(variables, jnp.asarray(np.hstack([start, endings])), jnp.eye(2)[label])
            mass = np.bincount(endings[:, 0], np.exp(np.asarray(joint, np.float64)))
            assert mass.argmax() == path[site]


def test_the_mixture_over_classes_is_a_density():
    module, variables, batch = conditional()
    x = jnp.asarray(np.stack(np.unravel_index(np.arange(3**6), (3,) * 6), 1))
    log_prob = jax.jit(lambda v, x: module.apply(v, x, method="log_prob"))(variables, x)
    np.testing.assert_allclose(np.exp(np.asarray(log_prob, np.float64)).sum(), 1.0, atol=1e-5)
    joint = jax.jit(lambda v, x: module.apply(v, x, method="log_joint"))(variables, batch["x"])
    given = lambda v, x, c: module.apply(v, x, c, method="log_prob")
    for label in range(2):
        one = jax.jit(given)(variables, batch["x"], jnp.eye(2)[label])
        np.testing.assert_allclose(joint[:, label], one - np.log(2), rtol=1e-5)
    sample = jax.jit(lambda v, k: module.apply(v, k, (5,), method="sample"))
    assert sample(variables, jax.random.key(0)).shape == (5, 6)
    with pytest.raises(DgmjaxError, match=r"^`context` must"):
        module.apply(variables)
