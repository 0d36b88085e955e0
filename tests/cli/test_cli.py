"""The command line as a whole: help, version, debugging, and readers that leave."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.cli.called import COMMAND, ROOT, TRAIN
from tinygrad_rnn import cli
from tinygrad_rnn.cli import doctor


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
    command = [*COMMAND, "predict", str(tmp_path / "run"), str(data / "test.txt")]
    quiet = {**os.environ, "TINYGRAD_RNN_COMPILE": "numpy"}  # of a compiler that is not there
    with subprocess.Popen(command, cwd=ROOT, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


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


def test_a_reader_that_leaves_before_the_table_ends_it_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run([*COMMAND, "doctor"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_a_warning_is_one_line(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("two\nlines", RuntimeWarning, stacklevel=1)

    monkeypatch.setattr(doctor, "run", warn)
    result = call("doctor")
    assert (result.code, result.err) == (0, "tinygrad-rnn: two lines\n")
