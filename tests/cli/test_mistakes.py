"""Every mistake is told in one line, and leaves nothing half-written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.called import TRAIN, rows
from tinygrad_rnn import training
from tinygrad_rnn.cli import runs


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train"], 2, "[Mm]issing argument.*DATA.*see --help"),
        (["train", "x", "--what"], 2, "No such option.*--what"),
        (["train", "x", "--hidden", "0"], 2, "--hidden"),
        (["train", "x", "--cell", "cnn"], 2, "'cnn'.*tree-lstm"),
        (["fly"], 2, "No such command 'fly'"),
        (["train", "x", "--dropout", "1"], 2, "--dropout.*1.0 is not in the range 0<=x<1"),
        (["train", "x", "--word-dropout", "-1"], 2, "--word-dropout.*-1.0 is not in the range 0<=x<1"),
        (["train", "x", "--clip", "0"], 2, "--clip.*0.0 is not in the range x>0"),
        (["train", "x", "--seed", "-1"], 2, "--seed.*[ >=]0"),
        (["demo", "--seed", "-1"], 2, "--seed.*[ >=]0"),
        (
            ["train", "x", "--cell", "lstmm"],
            2,
            r"Invalid value for '--cell': 'lstmm' is not one of 'tree-lstm', 'child",
        ),
        (["train", "nowhere"], 1, "no folder nowhere; DATA is the folder that holds train.txt, dev.txt and test.txt"),
        (["train", os.devnull], 1, f"no folder {os.devnull}; DATA is the folder"),
        (["train", "listops", "--device", "tpu"], 1, "unknown device 'tpu'"),
        (
            ["predict", "nowhere"],
            1,
            r"no model at nowhere; RUN is the --out folder of a `train` .*, or its model\.safetensors",
        ),
        (["render", "tree", "a.svg", "--run", "r", "--cell", "gru"], 2, "--run draws the cell of r.*give one of them"),
        (
            ["render", "tree", "a.svg", "--cell", "gru"],
            2,
            "--cell is for unfolded, folded and ops: a tree without --run",
        ),
        (["render", "tree", "a.svg", "--tree", " "], 2, "--tree is empty; give a tree in brackets, or a file"),
        (["render", "tree", "a.svg", "--levels", "2"], 2, "--levels is for unfolded alone, not tree"),
        (["render", "tree", "a.svg", "--tree", "(1 (2"], 1, "line 1, column 6: found the end of the text"),
        (["render", "tree", "a.svg", "--tree", os.devnull], 1, f"{os.devnull} holds no tree"),
        (["render", "tree", "a.gif"], 1, "a.gif: a picture is saved as"),
        (["render", "tree", "a.svg", "--tree", "none.txt"], 1, "none.txt: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], code: int, message: str, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call(*arguments).fails(code, message)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        ("train", "(1 (0 a) (1 b)", r"train.txt, line 1, column 15: found the end of the text, expected 1 more '\)'"),
        ("dev", "\n\n(1 a))", r"dev.txt, line 3, column 6: found '\)', expected '\('"),
        ("test", "", r"test.txt holds no tree"),
        ("train", "(1 (0 a) (1 ))", r"train.txt, line 1, column 13: found '\)', expected a word or a tree in the node"),
        (
            "dev",
            "(S (1 a) (2 b))",
            "no root of dev.txt has an integer label, by which accuracy is counted; number the classes",
        ),
        ("train", "(S (NP a) (VP b))", "need integer labels from 0, of two classes or more"),
        ("dev", None, "has no dev.txt; DATA holds train.txt, dev.txt and test.txt"),
        (
            "train",
            "(1 a)\n(99999999999 (1 a) (3 b))",
            "train.txt, tree 2: the label 99999999999 is no class from 0 to 999",
        ),
        ("train", "(1000 (1 a) (3 b))", "train.txt, tree 1: the label 1000 is no class.*; number the classes from 0"),
        ("dev", "(1 (-1 a) (3 b))", "dev.txt, tree 1: the label -1 is no class from 0 to 999"),
    ],
)
def test_bad_trees_are_named(part: str, text: str | None, message: str, data: Path, tmp_path: Path, call: Any) -> None:
    (data / f"{part}.txt").unlink()
    if text is not None:
        (data / f"{part}.txt").write_text(text)
    call("train", data, "--out", tmp_path / "run", *TRAIN).fails(1, message)
    assert not (tmp_path / "run").exists()


def test_a_run_that_diverges_ends_in_one_line(data: Path, tmp_path: Path, call: Any) -> None:
    command = ["train", data, "--out", tmp_path / "run", *TRAIN, "--optimizer", "sgd"]
    call(*command, "--lr", "1e38").fails(
        1, r"diverged: in epoch 1 the loss became .*; lower the .*--lr\) or .*--clip\)"
    )


def test_a_file_in_place_of_the_folder_of_data_is_told(data: Path, tmp_path: Path, call: Any) -> None:
    file = data / "train.txt"
    call("train", file, "--out", tmp_path / "run", *TRAIN).fails(1, f"{file} is a file; DATA is the folder that holds")


@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_folder_that_cannot_be_written_is_told_before_training(
    command: str, data: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["train", data, *TRAIN] if command == "train" else ["demo", "--quick"]
    monkeypatch.setattr(training, "fit", None)
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    expected = rf"can't write to the folder {out} \(Not a directory\); make it writable, or choose another --out"
    call(*arguments, "--out", out).fails(1, expected)

    def read_only(dir: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(dir / "tmp123"))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    result = call(*arguments, "--out", tmp_path / "run")
    result.fails(1, rf"can't write to the folder {tmp_path / 'run'} \(Permission denied\); make it writable")
    assert "tmp123" not in result.err


def test_a_label_that_training_did_not_have_is_only_a_miss(data: Path, tmp_path: Path, call: Any) -> None:
    (data / "dev.txt").write_text("(9 (0 a) (1 x))")
    assert call("train", data, "--out", tmp_path / "run", *TRAIN).code == 0
    assert rows(tmp_path / "run")[0]["dev_root"] == 0


def test_bad_vectors_are_named(data: Path, tmp_path: Path, call: Any) -> None:
    (tmp_path / "v.txt").write_text("a 1 2 3\nb 1 x 3\n")
    call("train", data, "--out", tmp_path / "run", "--vectors", tmp_path / "v.txt", *TRAIN).fails(1, "v.txt, line 2")
    call("train", data, "--out", tmp_path / "run", "--vectors", tmp_path / "none.txt", *TRAIN).fails(
        1, "none.txt: No such file or directory"
    )


def test_a_damaged_model_is_named(data: Path, tmp_path: Path, call: Any) -> None:
    out = tmp_path / "run"
    call("train", data, "--out", out, *TRAIN)
    whole = (out / training.MODEL).read_bytes()
    (out / training.MODEL).write_bytes(whole[:-1])
    call("predict", out, data / "test.txt").fails(1, "model.safetensors is damaged")
    message = "checkpoint.safetensors is what --resume goes on from; use model.safetensors beside it"
    call("predict", out / training.CHECKPOINT, data / "test.txt").fails(1, message)
    training.save(out / training.MODEL, {}, {"a": 1})
    call("predict", out, data / "test.txt").fails(1, "model.safetensors holds no model of `tinygrad-rnn train`")


def full_disk(handle: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_the_last_checkpoint(
    data: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    call("train", data, "--out", out, *TRAIN)
    before = {name: (out / name).read_bytes() for name in os.listdir(out)}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        more = ["train", data, "--out", out, "--resume", *TRAIN, "--epochs", "4"]
        call(*more).fails(1, "No space left on device; free some space, and try again")
    assert {name: (out / name).read_bytes() for name in os.listdir(out)} == before
    assert call(*more).code == 0


def test_ctrl_c_says_how_to_go_on(data: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    evaluate = training.loop.evaluate
    calls: list[int] = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) in (1, 3):
            raise KeyboardInterrupt
        return evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training.loop, "evaluate", interrupted)
        command = ["train", data, "--out", out, *TRAIN]
        call(*command).fails(130, "stopped by Ctrl-C; the first epoch was not done, so nothing is kept")
        call(*command).fails(130, "Ctrl-C; the same command with --resume goes on after the last whole epoch")
    assert training.load(out / training.CHECKPOINT).info["epoch"] == 1
    with monkeypatch.context() as patch:
        patch.setattr(runs, "read_parts", lambda settings: (_ for _ in ()).throw(KeyboardInterrupt))
        call("train", data, "--out", tmp_path / "other", *TRAIN).fails(130, "stopped by Ctrl-C")


@pytest.mark.parametrize(
    ("said", "shown"), [("Unable to allocate 9 TiB", "Unable to allocate 9 TiB"), ("", "smaller widths or batches")]
)
def test_too_little_memory_is_no_bug(
    said: str, shown: str, data: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any, **__: Any) -> None:
        raise MemoryError(said) if said else MemoryError

    monkeypatch.setattr(training, "fit", greedy)
    call("train", data, "--out", tmp_path / "run", *TRAIN).fails(1, f"not enough memory: {shown}")


def test_there_must_be_something_to_resume(data: Path, tmp_path: Path, call: Any) -> None:
    call("train", data, "--out", tmp_path / "run", *TRAIN)
    (tmp_path / "run" / training.CHECKPOINT).unlink()
    call("train", data, "--out", tmp_path / "run", "--resume", *TRAIN).fails(1, "so there is nothing to resume")
