"""Vocabularies and vectors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trees import strategies
from trees import Tree, Vocabulary, load_vectors, parse, parse_all


@given(st.lists(strategies.trees, max_size=4), st.integers(1, 3))
def test_words_of_trees_in_order_of_frequency(some: list[Tree], minimum: int) -> None:
    words = [word for tree in some for word in tree.words()]
    vocabulary = Vocabulary.from_trees(some, minimum)
    known = vocabulary.words[1:]
    assert set(known) == {word for word in words if words.count(word) >= minimum}
    assert list(known) == sorted(known, key=lambda word: (-words.count(word), word))
    ids = vocabulary.encode(words)
    assert ids.dtype == np.int64
    assert vocabulary.decode(ids) == [word if word in vocabulary else "<unk>" for word in words]
    again = Vocabulary(json.loads(json.dumps(vocabulary.words)))
    assert again.words == vocabulary.words
    assert len(again) == len(known) + 1


def test_id_0_is_the_unknown_word_even_where_trees_hold_it() -> None:
    vocabulary = Vocabulary.from_trees([parse("(X a <unk> <unk>)")])
    assert vocabulary.words == ("<unk>", "a")
    assert vocabulary.encode(["a", "<unk>", "b"]).tolist() == [1, 0, 0]


def test_a_vocabulary_without_words_or_with_a_word_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a word for id 0"):
        Vocabulary([])
    with pytest.raises(ValueError, match="'b' stands more than once"):
        Vocabulary(["a", "b", "b"])


@pytest.mark.parametrize("wrong", [-1, 2])
def test_an_id_that_is_none_is_refused(wrong: int) -> None:
    with pytest.raises(IndexError, match=f"id {wrong} is not in a vocabulary of 2 words"):
        Vocabulary(["?", "a"]).decode([0, wrong])


WORDS = ["the", "The", "/", "(", "-", "New York"]
VECTORS = np.arange(12.0).reshape(6, 2) / 8


@pytest.fixture(params=["npz", "glove", "word2vec"])
def vectors(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / ("v.npz" if request.param == "npz" else "v.txt")
    if request.param == "npz":
        np.savez(path, words=np.array(WORDS), vec=VECTORS.astype(np.float16))
    else:
        lines = [f"{word} {x} {y}" for word, (x, y) in zip(WORDS, VECTORS.tolist(), strict=True)]
        header = ["6 2"] if request.param == "word2vec" else []
        path.write_text("\n".join([*header, *lines, ""]), "utf-8")
    return path


def test_vectors_stand_in_the_order_of_the_ids(vectors: Path) -> None:
    vocabulary = Vocabulary(["<unk>", "The", "THE", "New York", "dog", r"\/", "-LRB-"])
    rows, found = load_vectors(vectors, vocabulary)
    assert rows.dtype == np.float32
    assert rows.shape == (7, 2)
    assert found.tolist() == [False, True, True, True, False, True, True]
    assert np.array_equal(rows[found], VECTORS[[1, 0, 5, 2, 3]])  # THE is found as 'the', The as it stands
    assert 0 < np.abs(rows[~found]).max() < 0.5
    assert np.array_equal(load_vectors(vectors, vocabulary).rows, rows)
    assert not np.array_equal(load_vectors(vectors, vocabulary, seed=1).rows, rows)


def test_rows_for_missing_words_may_be_given(vectors: Path) -> None:
    missing = np.full((2, 2), 7.0)
    rows = load_vectors(vectors, Vocabulary(["<unk>", "the"]), missing).rows
    assert rows.tolist() == [[7, 7], [0, 0.125]]
    assert missing.tolist() == [[7, 7], [7, 7]]
    with pytest.raises(ValueError, match=r"missing has the shape \(3, 2\); .* needs \(2, 2\)"):
        load_vectors(vectors, Vocabulary(["<unk>", "the"]), np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("lines", "number"), [(["a 1 2", "b 1"], 2), (["a 1 2", "b 1 x"], 2), (["a 1 2", "", "b 1 2"], 2)]
)
def test_a_line_that_is_no_vector_is_named(tmp_path: Path, lines: list[str], number: int) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"bad.txt, line {number}: .*: expected a word and 2 numbers"):
        load_vectors(path, Vocabulary(["?", "b"]))


@pytest.mark.parametrize("line", ["hello world", "hello", "", "a\t1\t2"])
def test_a_text_that_holds_no_vectors_is_refused_at_its_first_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(f"{line}\n")
    expected = re.escape(f"bad.txt, line 1: {line!r}: expected a word and its numbers")
    with pytest.raises(ValueError, match=expected):
        load_vectors(path, Vocabulary(["?"]))


@pytest.mark.parametrize("text", ["", "6 2\n"])
def test_a_text_without_lines_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.txt holds no vectors: expected lines of a word and its numbers"):
        load_vectors(path, Vocabulary(["?"]))


def test_vectors_may_be_of_width_1(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("a 3\nb 4\n")
    assert load_vectors(path, Vocabulary(["a", "b"])).rows.tolist() == [[3], [4]]


def test_an_archive_of_something_else_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    vocabulary = Vocabulary(["?"])
    message = "bad.npz is no archive of plain arrays 'words' and 'vec'"
    np.savez(path, words=np.array(["a"]))
    with pytest.raises(ValueError, match=message):
        load_vectors(path, vocabulary)
    np.savez(path, words=np.array(["a", 3], object), vec=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=message) as caught:
        load_vectors(path, vocabulary)
    assert "pickle" not in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        load_vectors(path, vocabulary)
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ValueError, match=message):
        load_vectors(path, vocabulary)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=message):
        load_vectors(path, vocabulary)
    np.savez(path, words=np.array(["a", "b"]), vec=np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"words \(2,\) and vec \(3, 2\) do not fit"):
        load_vectors(path, vocabulary)
    np.savez(path, words=np.array(["a", "b"]), vec=np.zeros((2, 0)))
    with pytest.raises(ValueError, match=r"vec \(2, 0\) do not fit, .* neither W nor D being 0"):
        load_vectors(path, vocabulary)
    np.savez(path, words=np.array(["a"]), vec=np.array([["x"]]))
    with pytest.raises(ValueError, match=r"bad\.npz: vec holds <U1, expected real numbers"):
        load_vectors(path, vocabulary)


def test_the_vectors_of_sst_cover_nine_of_ten_words(data_root: Path) -> None:
    train = parse_all((data_root / "sst" / "train.txt").read_text("utf-8"))
    vocabulary = Vocabulary.from_trees(train)
    rows, found = load_vectors(data_root / "vectors" / "glove_sst_f16.npz", vocabulary)
    assert rows.shape == (18281, 100)
    assert np.isfinite(rows).all()
    assert found.mean() > 0.9


def test_a_vector_that_is_not_finite_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("a 1 2\nb nan 2\n")
    with pytest.raises(ValueError, match=r"v\.txt: the vector of 'b' holds NaN or Inf"):
        load_vectors(tmp_path / "v.txt", Vocabulary(["<unk>", "a", "b"]))


def test_a_vocabulary_shows_its_first_words() -> None:
    assert repr(Vocabulary(["<unk>", "a"])) == "<Vocabulary of 2 words: <unk>, a>"
    assert repr(Vocabulary("abcdef")) == "<Vocabulary of 6 words: a, b, c, d, ...>"


def test_one_tree_has_a_vocabulary_too() -> None:
    assert Vocabulary.from_trees(parse("(1 (2 b) (3 a))")).words == ("<unk>", "a", "b")


def test_a_text_may_begin_with_a_byte_order_mark_and_hold_words_that_are_no_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes("\ufeffa 1 2\n".encode() + b"\xff\xfe 3 4\nb 5 6\n")
    rows, found = load_vectors(path, Vocabulary(["a", "b"]))
    assert found[-2:].all()
    assert rows[-2:].tolist() == [[1, 2], [5, 6]]


def test_an_archive_whose_words_are_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, words=np.array([b"a"]), vec=np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"bad\.npz: words holds \|S1, expected text"):
        load_vectors(path, Vocabulary(["a"]))


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_a_damaged_archive_is_refused(tmp_path: Path, at: float) -> None:
    path = tmp_path / "bad.npz"
    np.savez_compressed(path, words=np.array(["a", "b"] * 50), vec=np.ones((100, 2)))
    whole = bytearray(path.read_bytes())
    place = int(len(whole) * at)
    whole[place : place + 40] = bytes(40)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"bad\.npz"):
        load_vectors(path, Vocabulary(["a"]))
    with pytest.raises(FileNotFoundError):
        load_vectors(tmp_path / "none.npz", Vocabulary(["a"]))
