"""Text as data: a vocabulary of characters, and blocks of one length in held-out splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dgmjax.data.dataset import Dataset, describe, split_rows
from dgmjax.errors import DataError, require


@dataclass(frozen=True)
class Vocabulary:
    """The characters of a text and their numbers: `symbols[k]` has the number k.

    >>> letters = Vocabulary.of("hello")
    >>> letters.symbols
    'ehlo'
    >>> letters.decode(letters.encode("hole"))
    'hole'
    >>> letters.encode("help")
    Traceback (most recent call last):
    ...
    dgmjax.errors.DataError: `text` must consist of the 4 characters of the vocabulary; got 'p' at \
position 3. Make the vocabulary of all texts together, or remove those characters.
    """

    symbols: str

    def __post_init__(self):
        require(
            len(self.symbols) >= 2 and len(set(self.symbols)) == len(self.symbols),
            "symbols",
            "must be at least two different characters",
            repr(self.symbols),
            error=DataError,
        )

    @classmethod
    def of(cls, text: str) -> "Vocabulary":
        """The sorted characters of a text."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Code points, sorted, and the numbers that belong to them."""
        codes = _code_points(self.symbols)
        order = np.argsort(codes)
        return codes[order], order.astype(np.int32)

    def encode(self, text: str) -> np.ndarray:
        """The numbers of the characters, int32 `[len(text)]`.

        Raises:
          DataError: characters outside the vocabulary; the message names them and the position of
            the first.
        """
        codes, numbers = self._codes
        given = _code_points(text)
        place = np.minimum(np.searchsorted(codes, given), len(codes) - 1)
        unknown = np.flatnonzero(codes[place] != given)
        if len(unknown):
            strange = sorted({text[i] for i in unknown})
            named = ", ".join(map(repr, strange[:10])) + (", ..." if len(strange) > 10 else "")
            require(
                False,
                "text",
                f"must consist of the {len(self)} characters of the vocabulary",
                f"{named} at position {unknown[0]}",
                "Make the vocabulary of all texts together, or remove those characters.",
                DataError,
            )
        return numbers[place]

    def decode(self, numbers: Any) -> str:
        """The text of numbers `[T]` in any dtype that holds them exactly.

        Raises:
          DataError: not one axis, or numbers that no character has.
        """
        numbers = np.asarray(numbers)
        require(numbers.ndim == 1, "numbers", "must have one axis", numbers.shape, "", DataError)
        sound = (numbers >= 0) & (numbers < len(self)) & (numbers == np.round(numbers))
        rule = f"must be integers 0 .. {len(self) - 1}"
        require(bool(sound.all()), "numbers", rule, numbers[~sound][:10], "", DataError)
        return "".join(self.symbols[int(number)] for number in numbers)


def _code_points(text: str) -> np.ndarray:
    # Four bytes for every character, so that positions in the array are those in the text.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def vocabulary(dataset: Dataset) -> Vocabulary:
    """The vocabulary of a data set of text, such as `data.load("tinyshakespeare")`."""
    return vocabulary_of({"name": dataset.name, **dataset.info})


def vocabulary_of(info: Mapping[str, Any]) -> Vocabulary:
    """The same from the facts of a data set."""
    symbols = info.get("symbols")
    rule = "must be text, with the `symbols` of its characters in `info`"
    require(isinstance(symbols, str), "dataset", rule, info.get("name"), "", DataError)
    return Vocabulary(str(symbols))


def blocks(numbers: np.ndarray, length: int, stride: int | None = None) -> np.ndarray:
    """Windows `[N, length]` of a sequence `[T]`, one every `stride` (None: without overlap).

    >>> blocks(np.arange(7), 3).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    stride = length if stride is None else stride
    require(length >= 1, "length", "must be at least 1", length, "", DataError)
    require(stride >= 1, "stride", "must be at least 1", stride, "", DataError)
    return (
        np.lib.stride_tricks.sliding_window_view(numbers, length)[::stride].copy()
        if (len(numbers) >= length)
        else np.empty((0, length), numbers.dtype)
    )


def text_dataset(
    text: str,
    length: int,
    *,
    name: str = "text",
    validation: float = 0.05,
    test: float = 0.1,
    stride: int | None = None,
    symbols: Vocabulary | None = None,
) -> Dataset:
    """A text as blocks of `length` characters, int32 numbers of the vocabulary in `info`.

    The text is cut in the order train, validation, test, and each part then into blocks: no
    held-out character is seen in training, and each is counted once.

    Args:
      text: at least long enough for one block of each part.
      validation, test: shares of the text that are held out.
      stride: characters from the start of a training block to that of the next; `length`, without
        overlap, if None. A stride of length / n shows each character at n places of a block.
      symbols: the vocabulary; that of the text if None.

    Raises:
      DataError: a text that is too short, shares that do not fit, unknown characters.
    """
    shares = min(validation, test) >= 0 and validation + test < 1
    rule = "and `test` must be at least 0 and less than 1 together"
    require(shares, "validation", rule, (validation, test), "", DataError)
    symbols = Vocabulary.of(text) if symbols is None else symbols
    numbers = symbols.encode(text)
    # Cut before blocks are made: a block across the border would show held-out characters.
    ends = np.round(len(numbers) * np.array([1 - validation - test, 1 - test])).astype(int)
    wanted = {"train": 1.0, "validation": validation, "test": test}
    pieces = dict(zip(wanted, np.split(numbers, ends), strict=True))
    # Held-out parts never overlap: each of their characters counts once.
    strides = {"train": stride}
    splits = {
        split: {"x": blocks(pieces[split], length, strides.get(split))}
        for split in wanted
        if wanted[split] > 0
    }
    short = {split: len(pieces[split]) for split in splits if not len(splits[split]["x"])}
    rule = f"must be long enough for a block of {length} characters in every part"
    require(not short, "text", rule, short, "Shorten the blocks.", DataError)
    made = f"in order, the last {test} test, {validation} before it validation"
    facts = {"source": name, "version": f"{len(text)} characters", "symbols": symbols.symbols}
    return Dataset(name, splits, describe(splits, **facts, splits=made))


def lines_dataset(
    lines: Sequence[str],
    *,
    name: str = "lines",
    longest: int = 120,
    splits: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Dataset:
    """Lines as rows `x[N, L]` of one length, int32 numbers of the vocabulary in `info`.

    A line ends in a line break, which fills the row up to L, one more than the longest line: an
    autoregressive model that has seen the first break is certain of the others.

    Args:
      lines: without their breaks; empty ones, and repetitions of a line, are left out.
      longest: of characters of a line; longer lines are left out, and counted in `info`.
      splits: see `split_rows`; 80% train and 10% each for validation and test if None.
      seed: of the split.

    Raises:
      DataError: lines with breaks inside, or fewer than ten that are left.

    >>> found = lines_dataset(["C" * n for n in range(1, 21)])
    >>> found.event_shape, len(found.info["symbols"])
    ((21,), 2)
    """
    inside = [line for line in lines if "\n" in line]
    require(not inside, "lines", "must have no line breaks inside", inside[:1], "", DataError)
    kept = list(dict.fromkeys(line for line in lines if 0 < len(line) <= longest))
    rule = f"must hold at least ten different lines of at most {longest} characters"
    require(len(kept) >= 10, "lines", rule, len(kept), "", DataError)
    symbols = Vocabulary.of("\n".join(kept))
    length = 1 + max(map(len, kept))
    numbers = symbols.encode("".join(line.ljust(length, "\n") for line in kept))
    shares = splits or {"train": 0.8, "validation": 0.1, "test": 0.1}
    rows = split_rows({"x": numbers.reshape(len(kept), length)}, shares, seed)
    longer = sum(len(line) > longest for line in lines)
    facts = {"source": name, "symbols": symbols.symbols, "left_out": longer}
    return Dataset(name, rows, describe(rows, **facts, splits=f"random, seed {seed}"))


def bag_of_words(
    documents: Sequence[str],
    *,
    name: str = "bag of words",
    max_words: int = 2000,
    min_documents: int = 5,
    stop_words: str | None = "english",
    test: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Counts of words, `x[N, W]`, of documents in any order; the words are `info["words"]`.

    Words are scikit-learn's: two letters or more, in lower case. Documents without a word of the
    vocabulary, which is that of the training documents, are left out.

    Args:
      documents: texts.
      max_words: the most frequent words are kept.
      min_documents: in which a word occurs at least.
      stop_words: "english" leaves out scikit-learn's list of frequent words; None keeps them.
      test: share of the documents that is held out, at random.
      seed: of the split.

    Raises:
      DataError: no words are left in a part.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    require(0.0 < test < 1.0, "test", "must be in (0, 1)", test, error=DataError)
    order = np.random.default_rng(seed).permutation(len(documents))
    held = round(test * len(documents))
    parts = {"train": order[held:], "test": order[:held]}
    count = CountVectorizer(max_features=max_words, min_df=min_documents, stop_words=stop_words)
    rule = f"must hold words that {min_documents} of them have in common"
    try:
        count.fit([documents[row] for row in parts["train"]])
    except ValueError as error:
        # scikit-learn's way to say that no word is left.
        require(False, "documents", rule, str(error), "Lower `min_documents`.", DataError)
    splits = {}
    for part, rows in parts.items():
        x = count.transform([documents[row] for row in rows]).toarray().astype(np.int32)
        splits[part] = {"x": x[x.sum(1) > 0]}
        require(len(splits[part]["x"]) > 0, "documents", rule, f"none in {part}", "", DataError)
    words = [str(word) for word in count.get_feature_names_out()]
    facts = {"source": name, "version": f"{len(documents)} documents", "words": words}
    return Dataset(name, splits, describe(splits, **facts, splits=f"random, seed {seed}"))


def built_in_text() -> str:
    """English prose of some 15,000 characters without a download: scikit-learn's descriptions."""
    from sklearn import datasets

    loaders = (
        datasets.load_breast_cancer,
        datasets.load_diabetes,
        datasets.load_digits,
        datasets.load_iris,
        datasets.load_wine,
    )
    return "\n\n".join(load().DESCR for load in loaders)
