"""The command line: every command, every error in one line, and a kill -9 that leaves no trace in the result."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import tinygrad_rnn as tg
import trees
from tinygrad_rnn import cli, training
from tinygrad_rnn.cli import doctor, runs
from tinygrad_rnn.native import toolchain

TRAIN = ["--epochs", "2", "--hidden", "8", "--embedding", "6", "--batch", "4"]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of small trees: the label of the root is that of its first word."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [f"({y} ({y} {w}) (1 (1 x) (0 y)))" for y, w in enumerate("abcd")] * 4
    for part in ("train", "dev", "test"):
        (folder / f"{part}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(autouse=True)
def _same_device_afterwards(device: str) -> Iterator[None]:
    yield
    tg.set_default_device(device)


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def fails(self, code: int, pattern: str) -> None:
        """One line on stderr, with the exit code."""
        assert re.fullmatch(f"tinygrad-rnn: .*{pattern}.*\n", self.err), self.err
        assert self.code == code


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], device: str) -> Any:
    def run(*arguments: object) -> Result:
        if device != "cpu" and arguments and arguments[0] in ("train", "predict"):
            arguments = (arguments[0], "--device", device, *arguments[1:])
        with pytest.raises(SystemExit) as caught:
            cli.main([str(a) for a in arguments])
        return Result(int(caught.value.code or 0), *capfd.readouterr())

    return run


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / training.METRICS).read_text().splitlines()]


# Training


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


def test_listops_is_made_on_the_spot(tmp_path: Path, call: Any) -> None:
    result = call("train", "listops", "--size", "40", "--depth", "3", "--out", tmp_path / "run", *TRAIN)
    assert result.out.startswith("listops: 40 train, 4 dev, 4 test trees")
    assert result.code == 0


COMMAND = [sys.executable, "-c", "from tinygrad_rnn.cli import main; main()"]


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
    call("train", data, "--out", out, "--resume", *TRAIN, "--lr", "0.3").fails(1, "was started with lr 0.05, not 0.3")
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


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train"], 2, "[Mm]issing argument.*DATA.*see --help"),
        (["train", "x", "--what"], 2, "No such option: --what"),
        (["train", "x", "--hidden", "0"], 2, "--hidden"),
        (["train", "x", "--cell", "cnn"], 2, "'cnn'.*tree-lstm"),
        (["fly"], 2, "No such command 'fly'"),
        (["train", "x", "--dropout", "1"], 2, "--dropout.*1.0 is not in the range 0<=x<1"),
        (["train", "x", "--word-dropout", "-1"], 2, "--word-dropout.*-1.0 is not in the range 0<=x<1"),
        (["train", "nowhere"], 1, "no folder nowhere; DATA is the folder that holds train.txt, dev.txt and test.txt"),
        (["train", os.devnull], 1, f"no folder {os.devnull}; DATA is the folder"),
        (["train", "listops", "--device", "tpu"], 1, "unknown device 'tpu'"),
        (
            ["predict", "nowhere"],
            1,
            r"no model at nowhere; RUN is the --out folder of a `train` .*, or its model\.safetensors",
        ),
        (["render", "tree", "a.svg", "--run", "r", "--cell", "gru"], 2, "--run draws the cell of r.*give one of them"),
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
        ("train", "(S (NP a) (VP b))", "need integer labels from 0, of two classes or more"),
        ("dev", None, r"dev.txt: No such file or directory"),
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
    call("train", data, "--vectors", tmp_path / "v.txt", *TRAIN).fails(1, "v.txt, line 2")
    call("train", data, "--vectors", tmp_path / "none.txt", *TRAIN).fails(1, "none.txt: No such file or directory")


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
        call(*more).fails(1, "No space left on device; free some space and try again")
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


def test_debug_shows_the_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="no folder nowhere"):
        cli.main(["train", "nowhere", "--debug"])


def test_a_bug_is_one_line_too(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise KeyError("x")

    monkeypatch.setattr(doctor, "run", broken)
    call("doctor").fails(1, r"KeyError: 'x' \(a bug\? --debug shows where\)")


def test_a_reader_that_leaves_early_ends_it_quietly(data: Path, tmp_path: Path, call: Any) -> None:
    call("train", data, "--out", tmp_path / "run", *TRAIN)
    (data / "test.txt").write_text("(1 (0 a) (1 b))\n" * 20_000)
    process = subprocess.Popen(
        [*COMMAND, "predict", str(tmp_path / "run"), str(data / "test.txt")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 141


# Other commands


def test_help_names_every_command_and_loads_no_engine() -> None:
    script = "import sys\nfrom tinygrad_rnn.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    script += "print([name for name in ('networkx', 'graphviz', 'safetensors', 'trees', 'viz') if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stdout.endswith("[]\n")
    for name in ("demo", "train", "predict", "render", "doctor"):
        assert re.search(rf"\b{name}\b", ran.stdout)


def test_the_version_is_that_of_the_package(call: Any) -> None:
    result = call("--version")
    assert (result.code, result.out, result.err) == (0, f"tinygrad-rnn {tg.__version__}\n", "")
    assert re.fullmatch(r"\d+\.\d+\.\d+", tg.__version__)
    ran = subprocess.run(
        [sys.executable, "-m", "tinygrad_rnn", "--version"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, result.out, "")


def test_no_command_shows_the_help(call: Any) -> None:
    result = call()
    assert "Usage" in result.out + result.err
    assert "tinygrad-rnn:" not in result.err


def test_predict_reads_sentences_from_standard_input(
    data: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("train", data, "--cell", "gru", "--out", tmp_path / "run", *TRAIN)
    monkeypatch.setattr(sys, "stdin", io.StringIO("( a x y )\n( b x )"))
    result = call("predict", tmp_path / "run")
    assert re.fullmatch(r"\(\d a x y\)\n\(\d b x\)\n", result.out)
    assert result.err == ""


@pytest.mark.parametrize("kind", ["tree", "unfolded", "folded", "ops"])
@pytest.mark.parametrize("with_run", [False, True])
def test_render_draws(kind: str, with_run: bool, data: Path, tmp_path: Path, call: Any) -> None:
    run = []
    if with_run:
        call("train", data, "--out", tmp_path / "run", *TRAIN)
        run = ["--run", tmp_path / "run"]
    file = tmp_path / "a.dot"
    result = call("render", kind, file, *run, "--tree", data / "test.txt")
    assert (result.code, result.out) == (0, f"{file}\n"), result.err
    expected = {"tree": '>x<|"x"|x', "unfolded": "h", "folded": "delay|square", "ops": "weight_hh"}[kind]
    assert re.search(expected, file.read_text())


def test_levels_draws_the_first_ones(tmp_path: Path, call: Any) -> None:
    def states(*options: str) -> int:
        assert call("render", "unfolded", tmp_path / "a.dot", *options).code == 0
        return len(re.findall("h[₀-₉]", (tmp_path / "a.dot").read_text()))

    assert [states("--levels", "1"), states("--levels", "2"), states()] == [3, 4, 5]


def test_too_large_a_picture_names_the_option(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viz.engine.LIMIT", 5)
    call("render", "unfolded", tmp_path / "a.svg").fails(1, "draw fewer with --levels N, or save as .dot")
    call("render", "tree", tmp_path / "a.svg").fails(1, "draw a smaller tree, or save as .dot")


def test_a_reader_that_leaves_before_the_table_ends_it_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run([*COMMAND, "doctor"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_doctor_names_every_part_and_what_a_missing_one_would_give(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call("doctor")
    for part in ("Python", "NumPy", "BLAS", "C", "GPU", "CuPy", "Layout"):
        assert re.search(rf"^[✓–] +{part} ", result.out, re.MULTILINE)

    def without_cupy(device: str) -> None:
        raise tg.backend.DeviceError("install it") from ImportError("No module named 'cupy'")

    monkeypatch.setattr(tg.backend, "named", without_cupy)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("viz.engine.find", lambda: None)
    monkeypatch.setattr(toolchain, "compiler", lambda: None)
    result = call("doctor")
    words = " ".join(result.out.split())
    cupy = 'pip install ".[cuda12]" in the checkout, or pip install "cupy-cuda12x[ctk]" (No module named \'cupy\')'
    c = 'optimisers\' steps would be compiled, not run in NumPy; install gcc or clang, or pip install ".[c]" in'
    for remedy in ("NVIDIA GPU with its driver", cupy, c, "pip install graphviz-pure"):
        assert remedy in words
    assert result.code == 0


def test_doctor_says_which_compiler_there_is_or_why_it_is_of_no_use(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    described = "C compiler: mycc\nversion: mycc 1\nprograms kept in: here"
    monkeypatch.setattr(toolchain, "compiler", lambda: ["mycc"])
    monkeypatch.setattr(toolchain, "describe", lambda: described)
    found = "cells and optimisers' steps are compiled by mycc; version: mycc 1; programs kept in: here"
    assert f"✓ C {found}" in " ".join(call("doctor").out.split())
    described = described.replace("mycc 1", "unusable: exec format error")
    assert re.search("– C none: cells and .* unusable: exec format error", " ".join(call("doctor").out.split()))


@pytest.mark.parametrize(("how", "why"), [("0", "NumPy does its work"), ("off", "which is none of 1, 0 and numpy")])
def test_doctor_says_what_the_environment_forbids(
    call: Any, monkeypatch: pytest.MonkeyPatch, how: str, why: str
) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", how)
    assert f"TINYGRAD_RNN_COMPILE={how}, {why}; take it out" in " ".join(call("doctor").out.split())


def test_a_setting_that_there_is_not_begins_nothing(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "off")
    result = call("train", "listops", "--out", tmp_path / "run")
    assert result.code != 0
    assert "TINYGRAD_RNN_COMPILE=off in the environment: it can be 1, 0" in " ".join(result.err.split())
    assert not (tmp_path / "run").exists()


def test_demo_compares_and_draws(tmp_path: Path, call: Any) -> None:
    out = tmp_path / "demo"
    result = call("demo", "--quick", "--out", out)
    assert result.code == 0, result.err
    figures = (
        r"unseen expressions: Tree-LSTM \d+\.\d%, sequential LSTM \d+\.\d%  \(\d+ s\) \(too short to learn; the full"
    )
    assert re.search(figures, result.out)
    assert {"model.safetensors", "metrics.jsonl", "lstm"} <= set(os.listdir(out))
    for name in ("folded", "unfolded", "tree"):
        assert (out / f"{name}.svg").exists() or (out / f"{name}.dot").exists()
    assert call("demo", "--quick", "--out", out).code == 0


@pytest.mark.parametrize("listops", [False, True])
def test_demo_replaces_no_other_run(listops: bool, data: Path, tmp_path: Path, call: Any) -> None:
    out = tmp_path / "run"
    call("train", *(["listops", "--size", "40", "--depth", "4"] if listops else [data]), "--out", out, *TRAIN)
    before = {name: (out / name).read_bytes() for name in os.listdir(out)}
    call("demo", "--quick", "--out", out).fails(1, f"{out} holds a run that no demo made; choose another --out")
    out.rename(tmp_path / "lstm")
    call("demo", "--quick", "--out", tmp_path).fails(1, "lstm holds a run that no demo made; choose another --out")
    assert {name: (tmp_path / "lstm" / name).read_bytes() for name in os.listdir(tmp_path / "lstm")} == before


def test_a_demo_stopped_by_ctrl_c_may_be_started_anew(
    tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tinygrad_rnn.cli.demo.report", interrupted)
        result = call("demo", "--quick", "--out", tmp_path / "demo")
        result.fails(130, "stopped by Ctrl-C; a demo does not go on, the same command starts a new one")
    assert (tmp_path / "demo" / training.CHECKPOINT).exists()
    assert "--resume" not in result.err
    assert call("demo", "--quick", "--seed", "1", "--out", tmp_path / "demo").code == 0
