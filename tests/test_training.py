"""Checkpoints, the classifier of vertices, and a loop that goes on to the same bits wherever it was stopped."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import trees
from tinygrad_rnn import nn, optim, training
from tinygrad_rnn.gradient import Rows
from tinygrad_rnn.training import Batch, TreeClassifier

# The root says whether the first word is "b": the cell must carry one bit up the tree.
TEXTS = [
    "({0} ({0} ({0} {w}) (0 a)) (1 b))",
    "({0} ({0} {w}) (1 (1 b) (0 a)))",
    "({0} ({0} {w}) (0 a))",
    "({0} ({0} {w}) (1 b))",
]
TREES = [trees.parse(text.format(int(w == "b"), w=w)) for text in TEXTS for w in "ab"]
VOCABULARY = trees.Vocabulary.from_trees(TREES)


def batch(given: list[trees.Tree] = TREES) -> Batch:
    structure, integers = trees.batch(given, VOCABULARY)
    return Batch(structure, *integers)


def classifier(seed: int = 0, **options: Any) -> TreeClassifier:
    tg.manual_seed(seed)
    return TreeClassifier(len(VOCABULARY), 2, nn.NaryTreeLSTMCell(4, 5, 2), embedding=4, hidden=5, **options)


# Checkpoints


def test_a_checkpoint_gives_back_arrays_and_json(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    arrays = {"w": tg.tensor([[1.0, 2.0]]), "half": np.ones((2, 3), np.float16)[:, ::2], "one": np.array(7)}
    info = {"epoch": 3, "words": ["한", "a"], "best": 0.1, "random": tg.random.get_state()}
    training.save(file, arrays, info)
    found = training.load(file)
    assert found.info == info
    assert {name: (a.dtype.name, a.tolist()) for name, a in found.arrays.items()} == {
        "w": ("float32", [[1.0, 2.0]]),
        "half": ("float16", [[1.0, 1.0], [1.0, 1.0]]),
        "one": ("int64", 7),
    }
    other = tmp_path / "b.safetensors"
    training.save(other, dict(reversed(arrays.items())), info)
    assert file.read_bytes() == other.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "b.safetensors"]


def test_damage_anywhere_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    training.save(file, {"w": np.arange(50.0)}, {"epoch": 3})
    whole = file.read_bytes()
    for length in (0, 4, 100, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(training.CheckpointError, match=r"a\.safetensors is damaged"):
            training.load(file)
    for at in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[at] ^= 1
        file.write_bytes(changed)
        with pytest.raises(training.CheckpointError, match=r"a\.safetensors is (damaged|a safetensors file, but)"):
            training.load(file)


def test_a_safetensors_file_of_others_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(training.CheckpointError, match=r"other\.safetensors is a safetensors file, but no checkpoint"):
        training.load(tmp_path / "other.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none\.safetensors"):
        training.load(tmp_path / "none.safetensors")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    training.write(file, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        training.write(file, b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(file))
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_cannot_be_written_is_named_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "none" / "a"
    with pytest.raises(FileNotFoundError) as caught:
        training.write(path, b"x")
    assert caught.value.filename == str(path)


# The classifier


def test_chains_read_the_leaves_and_learn_every_label_they_can_end() -> None:
    given = [trees.parse("(4 (3 (2 a) (1 b)) (0 a))"), trees.parse("( (1 b) (3 (x b) (2 a)))"), trees.parse("(0 a)")]
    whole = batch(given)
    chains = training.as_chains(whole)
    assert chains.structure.source.tolist() == [0, 1, 3, 4]
    assert chains.structure.example.tolist() == [0, 0, 0, 1, 1, 1, 2]
    # a: 2; "a b": 3; all: 4 | b: 1; b: none; "b a" at the end: 3, for the root has none | a: 0
    assert chains.labels.tolist() == [2, 3, 4, 1, -1, 3, 0]
    assert chains.words.tolist() == whole.words.tolist()
    assert chains.roots.tolist() == [2, 5, 6]


def test_an_example_without_words_is_no_chain() -> None:
    with pytest.raises(ValueError, match="example 1 has no word"):
        training.as_chains(batch([TREES[0], trees.parse("(3 (2) (4))")]))


def test_scores_of_a_batch_are_those_of_each_tree_by_recursion() -> None:
    model = classifier(dropout=0.5, input_dropout=0.5, word_dropout=0.5).eval()
    found = model.logits(batch()).numpy()
    expected = []
    for tree in TREES:
        run = tg.Unfolding(model.cell)  # one vertex at a time
        number: dict[int, int] = {}
        for i, node in enumerate(tree.subtrees()):
            x = model.embedding(VOCABULARY.encode(node.words())) if node.is_leaf else tg.zeros((1, 4))
            kids = [number[child.span.stop] for child in node.children]
            number[node.span.stop] = i
            expected.append(model.linear(run.advance(x, [kids]).h).numpy()[0])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_cross_entropy_of_labelled_vertices_per_example() -> None:
    model = classifier()
    given = [trees.parse("(1 (0 a) (x b))"), trees.parse("( (1 b) (0 a))")]
    logits = model.logits(batch(given)).numpy().astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(log_p[0, 0] + log_p[2, 1] + log_p[3, 1] + log_p[4, 0]) / 2
    assert model.loss(batch(given)).item() == pytest.approx(expected, rel=1e-5)


def test_word_vectors_get_row_gradients() -> None:
    model = classifier()
    model.loss(batch()).backward()
    assert type(model.embedding.weight.node.grad) is Rows


def test_all_words_dropped_are_one_unknown_word() -> None:
    model = classifier(word_dropout=1.0)
    model.loss(batch()).backward()
    assert np.flatnonzero(np.abs(model.embedding.weight.grad.numpy()).sum(axis=1)).tolist() == [0]
    model.zero_grad()
    model.eval().loss(batch()).backward()
    assert np.flatnonzero(np.abs(model.embedding.weight.grad.numpy()).sum(axis=1)).tolist() == [1, 2]


def test_accuracy_counts_labelled_vertices_and_leaves_dropout_off() -> None:
    model = classifier(dropout=0.9)
    model.linear.load_state_dict({"weight": np.zeros((2, 5)), "bias": [0.0, 1.0]})  # always 1
    found = training.evaluate(model, [batch([trees.parse("(1 (0 a) (x b))"), trees.parse("( (1 b) (0 a))")])])
    assert found == (1.0, 0.5)
    assert model.training
    assert training.evaluate(model, []) == (0.0, 0.0)


# The loop


class Interrupted(Exception):
    pass


def run(
    folder: Path, seed: int = 0, stop_at: tuple[int, int] | None = None, **options: Any
) -> tuple[TreeClassifier, list[dict[str, Any]]]:
    folder.mkdir(exist_ok=True)
    model = classifier(seed, dropout=0.2, word_dropout=0.05)
    optimizer = optim.Adam(model.parameters(), lr=options.pop("lr", 0.05))

    def progress(p: training.Progress) -> None:
        if (p.epoch, p.done) == stop_at:
            raise Interrupted

    options = {"epochs": 6, "batch_size": 3, "max_norm": 1.0, "progress": progress} | options
    dev = options.pop("dev", [batch()])
    rows = training.fit(
        model, optimizer, lambda ids: batch([TREES[i] for i in ids]), len(TREES), dev, folder, {"a": 1}, **options
    )
    return model, list(rows)


def test_it_learns_and_writes_a_line_for_each_epoch(tmp_path: Path) -> None:
    _, rows = run(tmp_path, epochs=20)
    assert rows[-1]["dev_root"] == 1.0
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    lines = (tmp_path / training.METRICS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.safetensors", "metrics.jsonl", "model.safetensors"]


def test_the_model_kept_is_that_of_the_best_epoch(tmp_path: Path) -> None:
    _, rows = run(tmp_path)
    arrays, info = training.load(tmp_path / training.MODEL)
    accuracies = [row["dev_root"] for row in rows]
    assert info == {"config": {"a": 1}, "epoch": accuracies.index(max(accuracies)) + 1, "dev": max(accuracies)}
    best = classifier(seed=5)
    best.load_state_dict(arrays)
    assert training.evaluate(best, [batch()]).root == max(accuracies)


def test_it_stops_when_dev_gets_no_better(tmp_path: Path) -> None:
    _, rows = run(tmp_path, dev=[], patience=2, epochs=9)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    _, rows = run(tmp_path, dev=[], patience=2, epochs=9, resume=True)
    assert rows == []


@pytest.mark.parametrize("stop_at", [(1, 3), (3, 6), (5, 8)])
def test_a_run_that_was_interrupted_goes_on_to_the_same_bits(tmp_path: Path, stop_at: tuple[int, int]) -> None:
    run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", stop_at=stop_at)
    if stop_at[0] > 1:
        run(tmp_path / "parts", seed=99, resume=True)  # another start, which the checkpoint replaces
    else:
        run(tmp_path / "parts")  # nothing was kept yet
    for name in (training.CHECKPOINT, training.MODEL):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    whole, parts = (
        [json.loads(line) for line in (tmp_path / name / training.METRICS).read_text().splitlines()]
        for name in ("whole", "parts")
    )
    assert [row | {"seconds": 0} for row in whole] == [row | {"seconds": 0} for row in parts]


def test_more_epochs_are_added_to_a_finished_run(tmp_path: Path) -> None:
    run(tmp_path / "whole", epochs=4)
    run(tmp_path / "parts", epochs=2)
    run(tmp_path / "parts", epochs=4, resume=True)
    name = training.CHECKPOINT
    assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run(tmp_path, epochs=1)
    model = TreeClassifier(len(VOCABULARY), 2, nn.NaryTreeLSTMCell(4, 7, 2), embedding=4, hidden=7)
    optimizer = optim.Adam(model.parameters())
    with pytest.raises(ValueError, match=r"misshapen: cell\.weight_ih"):
        next(
            training.fit(
                model, optimizer, lambda ids: batch(), 1, [], tmp_path, {}, epochs=2, batch_size=1, resume=True
            )
        )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_last_step_that_spoils_the_parameters_is_no_epoch(tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match="diverged: epoch 1 ended with parameters that are not finite; lower the"):
        run(tmp_path, epochs=1, lr=1e300, max_norm=float("inf"), batch_size=1000)
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        ArithmeticError, match=r"diverged: in epoch \d the loss became (nan|inf) after \d examples; lower"
    ):
        run(tmp_path, lr=1e38, max_norm=float("inf"))
