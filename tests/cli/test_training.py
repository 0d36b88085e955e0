"""`train`: every cell, every optimiser, and a kill -9 that leaves no trace in the result."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import trees
from tests.cli.called import COMMAND, ROOT, TRAIN, rows
from tinygrad_rnn import cli, training
from tinygrad_rnn.cli import runs
from tinygrad_rnn.cli.training import THREADS


@pytest.mark.parametrize("cell", get_args(cli.CellName))
def test_every_cell_trains_and_predicts(data: Path, tmp_path: Path, call: Any, cell: str) -> None:
    out = tmp_path / "run"
    result = call("train", data, "--cell", cell, "--out", out, *TRAIN)
    assert result.code == 0, result.err
    assert result.err == ""
    assert re.search(r"epoch  2 .* of roots.*\nbest epoch \d: dev .*, test .*%", result.out)
    assert sorted(os.listdir(out)) == ["checkpoint.safetensors", "metrics.jsonl", "model.safetensors"]
    assert [row.get("epoch") for row in rows(out)] == [1, 2, None]
    predicted = call("predict", out, data / "test.txt")
    assert re.fullmatch(r"\d+ of 16 roots right \(\d+\.\d%\)\n", predicted.err)
    found = trees.parse_all(predicted.out)
    assert [tree.words() for tree in found] == [tree.words() for tree in trees.read(data / "test.txt")]
    right = sum(a.label == b.label for a, b in zip(found, trees.read(data / "test.txt")))
    assert right / 16 == rows(out)[-1]["test_root"]


@pytest.mark.parametrize("optimizer", get_args(cli.OptimizerName))
def test_every_optimizer_trains(data: Path, tmp_path: Path, call: Any, optimizer: str) -> None:
    result = call("train", data, "--optimizer", optimizer, "--out", tmp_path / "run", *TRAIN)
    assert result.code == 0, result.err
    assert rows(tmp_path / "run")[1]["loss"] < rows(tmp_path / "run")[0]["loss"]


OPTIONS = [
    "--seed 1", "--hidden 9", "--embedding 7", "--lr 0.2", "--embedding-lr 0.2", "--l2 0.1", "--dropout 0",
    "--input-dropout 0", "--word-dropout 0.4", "--clip 0.01", "--batch 5", "--optimizer sgd", "--cell gru",
]  # fmt: skip


def test_every_option_changes_what_is_trained(data: Path, tmp_path: Path, call: Any) -> None:
    losses: dict[str, float] = {}
    for i, option in enumerate(["", "", *OPTIONS]):
        out = tmp_path / str(i)
        assert call("train", data, "--out", out, *TRAIN, *option.split()).code == 0
        losses[option if option or not i else "again"] = rows(out)[1]["loss"]
    assert losses.pop("again") == losses.pop("")
    plain = rows(tmp_path / "0")[1]["loss"]
    assert [option for option, loss in losses.items() if loss == plain] == []
    arrays = {option: training.load(tmp_path / str(i) / training.MODEL).arrays for i, option in enumerate(OPTIONS, 2)}
    assert arrays["--hidden 9"]["linear.weight"].shape[1] == 9
    assert arrays["--embedding 7"]["embedding.weight"].shape[1] == 7
    assert any(array.shape == (24, 8) for array in arrays["--cell gru"].values()), "three gates of 8"


def test_training_stops_after_its_patience(data: Path, tmp_path: Path, call: Any) -> None:
    options = ["--epochs", "30", "--patience", "2", "--lr", "0", "--embedding-lr", "0", *TRAIN[2:]]
    call("train", data, "--out", tmp_path / "run", *options)
    assert [row.get("epoch") for row in rows(tmp_path / "run")] == [1, 2, 3, None]


def test_the_report_is_on_test_and_predict_counts_what_is_right(data: Path, tmp_path: Path, call: Any) -> None:
    wrong = [f"({(y + 1) % 4} ({y} {w}) (1 (1 x) (0 y)))" for y, w in enumerate("abcd")] * 4
    (data / "test.txt").write_text("\n".join(wrong))
    options = ["--epochs", "15", "--lr", "0.2", "--dropout", "0", "--input-dropout", "0", "--hidden", "16"]
    result = call("train", data, "--out", tmp_path / "run", *options)
    assert "dev 100.0%, test 0.0% of roots" in result.out
    assert (rows(tmp_path / "run")[-1]["dev_root"], rows(tmp_path / "run")[-1]["test_root"]) == (1, 0)
    assert call("predict", tmp_path / "run", data / "test.txt").err == "0 of 16 roots right (0.0%)\n"
    assert call("predict", tmp_path / "run", data / "dev.txt").err == "16 of 16 roots right (100.0%)\n"


def test_a_run_does_not_go_on_with_other_trees(data: Path, tmp_path: Path, call: Any) -> None:
    call("train", data, "--out", tmp_path / "run", *TRAIN)
    for part in ("train", "dev", "test"):
        file = data / f"{part}.txt"
        file.write_text(file.read_text().replace("(0 (0 a)", "(3 (0 a)"))
    result = call("train", data, "--out", tmp_path / "run", "--resume", *TRAIN)
    result.fails(1, "run was started with other trees than those in")


def test_what_a_kill_has_left_is_not_left_for_ever(data: Path, tmp_path: Path, call: Any) -> None:
    out = tmp_path / "run"
    out.mkdir()
    left = out / f".{training.CHECKPOINT}.17.tmp"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 4000,) * 2)
    call("train", data, "--out", out, *TRAIN)
    assert not left.exists()


def test_what_another_process_writes_now_is_left_alone(data: Path, tmp_path: Path, call: Any) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / f".{training.CHECKPOINT}.17.tmp").write_bytes(b"half")
    call("train", data, "--out", out, *TRAIN)
    assert (out / f".{training.CHECKPOINT}.17.tmp").read_bytes() == b"half"


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.mark.parametrize("asked", [None, "2"])
def test_blas_has_one_thread_unless_the_environment_says_otherwise(
    asked: str | None, data: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    seen = []

    fit = training.fit

    def noting(*args: Any, **options: Any) -> Any:
        seen.append(blas_threads())
        return fit(*args, **options)

    monkeypatch.setattr(training, "fit", noting)
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        assert call("train", data, "--out", tmp_path / "run", *TRAIN).code == 0
        assert blas_threads() == before
    wanted = before if asked else [1] * len(before)
    assert seen == [wanted]
    assert set(before) == {2}, "else it shows nothing"


def test_the_names_offered_are_the_names_known() -> None:
    assert get_args(cli.CellName) == tuple(runs.CELLS)
    assert get_args(cli.OptimizerName) == tuple(runs.OPTIMIZERS)


def test_training_learns(data: Path, tmp_path: Path, call: Any) -> None:
    options = ["--epochs", "15", "--lr", "0.2", "--dropout", "0", "--input-dropout", "0", "--hidden", "16"]
    call("train", data, "--out", tmp_path / "run", *options)
    assert rows(tmp_path / "run")[-1]["test_root"] == 1.0


def test_vectors_reach_the_words_that_training_never_saw(data: Path, tmp_path: Path, call: Any) -> None:
    (data / "test.txt").write_text("(0 (0 unseen) (1 x))")
    (tmp_path / "v.txt").write_text("unseen 1 2 3\nx 4 5 6\n")
    out = tmp_path / "run"
    result = call("train", data, "--vectors", tmp_path / "v.txt", "--out", out, "--embedding-lr", "0", *TRAIN)
    assert result.code == 0, result.err
    model = runs.load_model(out)
    ids = model.vocabulary.encode(["unseen", "x"])
    assert model.classifier.embedding.weight.numpy()[ids].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_wide_trees_are_binarised_and_predicted_as_they_were(tmp_path: Path, data: Path, call: Any) -> None:
    for part in ("train", "dev", "test"):
        (data / f"{part}.txt").write_text("(1 (0 a) (1 b) (0 c) (1 d))\n(0 (0 a) (1 (0 b) (1 c) (0 a)))\n" * 4)
    call("train", data, "--out", tmp_path / "run", *TRAIN)
    found = trees.parse_all(call("predict", tmp_path / "run", data / "test.txt").out)
    assert [t.arrays()[1:2] for t in found] == [t.arrays()[1:2] for t in trees.read(data / "test.txt")]
    assert [len(t.children) for t in found[:2]] == [4, 2]


@pytest.mark.parametrize(("cell", "judged"), [("lstm", "words"), ("tree-lstm", "nodes")])
def test_the_lines_say_what_was_judged(cell: str, judged: str, tmp_path: Path, data: Path, call: Any) -> None:
    said = call("train", data, "--cell", cell, "--out", tmp_path / "run", *TRAIN).out
    assert re.findall(r"% of all (\w+)", said) == [judged] * 3


def test_listops_is_made_on_the_spot(tmp_path: Path, call: Any) -> None:
    result = call("train", "listops", "--size", "40", "--depth", "3", "--out", tmp_path / "run", *TRAIN)
    assert result.out.startswith("listops: 40 train, 4 dev, 4 test trees")
    assert result.code == 0


def test_a_killed_run_goes_on_to_the_same_bits(data: Path, tmp_path: Path, call: Any) -> None:
    options = [*TRAIN, "--epochs", "40", "--patience", "40", "--clip", "5", "--device", "cpu"]
    assert call("train", data, "--out", tmp_path / "whole", *options).code == 0
    parts = tmp_path / "parts"
    process = subprocess.Popen(
        [*COMMAND, "train", str(data), "--out", str(parts), *options],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (parts / training.CHECKPOINT).exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert training.load(parts / training.CHECKPOINT).info["epoch"] < 40
    assert call("train", data, "--out", parts, "--resume", *options).code == 0
    for name in (training.CHECKPOINT, training.MODEL):
        assert (parts / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [row | {"seconds": 0} for row in rows(parts)] == [row | {"seconds": 0} for row in rows(tmp_path / "whole")]


def test_a_run_is_not_overwritten_and_goes_on_with_its_own_options(data: Path, tmp_path: Path, call: Any) -> None:
    out = tmp_path / "run"
    call("train", data, "--out", out, "--resume", *TRAIN).fails(1, "no checkpoint at")
    call("train", data, "--out", out, *TRAIN)
    call("train", data, "--out", out, *TRAIN).fails(1, "holds a run already; go on with --resume, or choose another")
    call("train", data, "--out", out, "--resume", *TRAIN, "--lr", "0.3", "--l2", "0").fails(
        1, r"was started with lr 0\.05, not 0\.3; l2 0\.0001, not 0\.0; --resume goes on with the same options"
    )
    (data / "train.txt").write_text("(0 (1 new) (0 words))")
    call("train", data, "--out", out, "--resume", *TRAIN).fails(1, "was started with other trees than those in")


def test_a_star_marks_the_epochs_that_are_better_than_all_before_a_resumption_too(
    data: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", data, "--out", tmp_path / "run", *TRAIN]
    shares = iter([0.5, 0.25, 0.5, 0.75])

    def evaluate(*_: Any) -> training.Accuracy:
        return training.Accuracy(next(shares), 0.5)

    monkeypatch.setattr(training.loop, "evaluate", evaluate)
    printed = call(*command).out + call(*command, "--resume", "--epochs", "4").out
    assert re.findall(r"^epoch +(\d) .* s(  \*)?$", printed, re.MULTILINE) == [
        ("1", "  *"), ("2", ""), ("3", ""), ("4", "  *")
    ]  # fmt: skip


def test_a_setting_that_there_is_not_begins_nothing(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "off")
    result = call("train", "listops", "--out", tmp_path / "run")
    assert result.code != 0
    assert "TINYGRAD_RNN_COMPILE=off in the environment: it can be 1, 0" in " ".join(result.err.split())
    assert not (tmp_path / "run").exists()


def test_a_run_that_stops_early_says_why(data: Path, tmp_path: Path, call: Any) -> None:
    result = call("train", data, "--out", tmp_path / "run", *TRAIN, "--lr", "0", "--epochs", "9", "--patience", "2")
    assert "stopped after epoch 3: dev was never better than in 1 (--patience)\n" in result.out
    again = call(
        "train", data, "--out", tmp_path / "run", *TRAIN, "--lr", "0", "--patience", "1", "--resume", "--epochs", "9"
    )
    assert "stopped after epoch 3: dev was never better than in 1 (--patience)\n" in again.out


@pytest.mark.skipif(sys.platform == "win32", reason="no lock of a folder")
def test_two_trainings_do_not_write_to_one_folder(data: Path, tmp_path: Path, call: Any) -> None:
    out = tmp_path / "run"
    with runs.claimed(out):
        result = call("train", data, "--epochs", "1", "--out", out)
    assert result.code == 1
    assert f"another training writes to {out}; wait for it, or choose another --out" in " ".join(result.err.split())
    assert not [*out.iterdir()]
    assert call("train", data, "--epochs", "1", "--out", out).code == 0
