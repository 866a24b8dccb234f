"""Vocabularies, encoding and blocks of text."""

import numpy as np
import pytest

from dgmjax import data
from dgmjax.errors import DataError

TEXT = "To be, or not to be: ça va?\n" * 8


def test_encoding_is_inverted_and_sorted():
    letters = data.Vocabulary.of(TEXT)
    assert list(letters.symbols) == sorted(set(TEXT))
    numbers = letters.encode(TEXT)
    assert numbers.dtype == np.int32 and numbers.max() == len(letters) - 1
    assert [letters.symbols[i] for i in numbers] == list(TEXT)
    assert letters.decode(numbers.astype(np.float32)) == TEXT
    assert data.Vocabulary("zéa\U0001d11e").encode("\U0001d11eaéz").tolist() == [3, 2, 1, 0]
    assert letters.encode("").shape == (0,)


def test_characters_outside_are_named():
    letters = data.Vocabulary.of("abc")
    with pytest.raises(DataError, match=r"^`text` must .*'!', 'é' at position 1"):
        letters.encode("aé!b")
    with pytest.raises(DataError, match=r"^`text` must .*, \.\.\. at position 0"):
        letters.encode("defghijklmnop")


def test_blocks_and_held_out_parts_do_not_overlap():
    text = "".join(map(chr, range(32, 32 + 1000)))  # every character once
    dataset = data.text_dataset(text, 7, validation=0.1, test=0.2)
    letters = data.vocabulary(dataset)
    parts = {split: letters.decode(dataset.splits[split]["x"].ravel()) for split in dataset.splits}
    assert parts["train"] == text[: 700 // 7 * 7]
    assert parts["validation"] == text[700:798]
    assert parts["test"] == text[800:996]
    assert dataset.event_shape == (7,)
    assert dataset.splits["train"]["x"].dtype == np.int32
    assert dataset.info["split_sizes"] == {"train": 100, "validation": 14, "test": 28}
    np.testing.assert_array_equal(
        data.blocks(np.arange(5), 3, 1), [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    )
    assert data.blocks(np.arange(2), 3).shape == (0, 3)


def test_a_stride_overlaps_training_blocks_only():
    text = "".join(map(chr, range(32, 32 + 1000)))
    plain = data.text_dataset(text, 8)
    dense = data.text_dataset(text, 8, stride=2)
    letters = data.vocabulary(dense)
    train = dense.splits["train"]["x"]
    assert letters.decode(train[:3].ravel()) == text[:8] + text[2:10] + text[4:12]
    assert letters.decode(train[-1])[-1] in text[848:850]  # and no further: 850 are held out
    for split in ("validation", "test"):
        np.testing.assert_array_equal(dense.splits[split]["x"], plain.splits[split]["x"])


def test_the_built_in_text_is_prose():
    text = data.built_in_text()
    assert len(text) > 10_000 and " the " in text
    assert len(data.Vocabulary.of(text)) < 120


def test_tiny_shakespeare(data_folder):
    dataset = data.load("tinyshakespeare", data_dir=data_folder, test=0.1)
    letters = data.vocabulary(dataset)
    assert len(letters) == 65
    assert letters.decode(dataset.splits["train"]["x"][0]).startswith("First Citizen:\nBefore we")
    rows = dataset.info["split_sizes"]["test"]
    assert rows == pytest.approx(0.1 * 1_115_394 / dataset.event_shape[0], abs=1)


LETTERS = data.Vocabulary("ab")


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: data.Vocabulary("aab"), "symbols"),
        (lambda: data.Vocabulary.of("aaa"), "symbols"),
        (lambda: LETTERS.decode([0, 2]), "numbers"),
        (lambda: LETTERS.decode([0.5]), "numbers"),
        (lambda: LETTERS.decode([[0, 1]]), "numbers"),
        (lambda: data.text_dataset("abab", 3), "text"),
        (lambda: data.text_dataset("ab" * 50, 3, validation=0.5, test=0.5), "validation"),
        (lambda: data.text_dataset("abc" * 50, 3, symbols=LETTERS), "text"),
        (lambda: data.blocks(np.arange(3), 0), "length"),
        (lambda: data.blocks(np.arange(3), 1, 0), "stride"),
        (lambda: data.vocabulary(data.load("digits")), "dataset"),
    ],
)
def test_bad_input_is_named(act, word):
    with pytest.raises(DataError, match=f"^`{word}` (must|and)"):
        act()
