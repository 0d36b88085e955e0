"""The examples run as they stand, in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.test_house import code_lines

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, folder: Path) -> str:
    """What an example prints."""
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], cwd=folder, env=environment, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8")


def test_hello_prints_the_numbers_of_the_slides_and_draws(tmp_path: Path) -> None:
    said = run("hello.py", tmp_path)
    assert "loss 6.153192" in said
    assert "their sum is W_hh.grad: True" in said
    assert "after 500 updates: loss 0.029175, reads 'hell', says 'ello'" in said
    assert {p.name for p in (tmp_path / "runs" / "hello").iterdir()} == {"folded.svg", "unfolded.svg"}


def test_a_tree_lstm_in_under_40_lines_learns_and_is_drawn(tmp_path: Path) -> None:
    assert code_lines((EXAMPLES / "tree_lstm.py").read_text("utf-8")) < 40
    last = run("tree_lstm.py", tmp_path).splitlines()[-3]
    assert float(last.split()[2].rstrip("%")) > 50, last
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"tree_lstm_tree.svg", "tree_lstm_unfolded.svg"}


def test_the_compiler_is_shown_stage_by_stage(tmp_path: Path) -> None:
    said = run("compiler.py", tmp_path)
    assert re.search(r"^%\d+ = sigmoid\(%\d+\) \[n, 32\]$", said, re.MULTILINE), "the trace"
    assert re.search(r"^the gradient of W is %\d+$", said, re.MULTILINE), "the derivative"
    assert re.search(r"^before +product +%\d+ matmul$", said, re.MULTILINE), "the plan"
    assert "product x @ W, [n, 20] x [20, 64], over 990 rows at once" in said, "the explanation"
    assert "it branches on a value" in said
    assert "real_sigmoid(" in said, "the C of a step"
    assert said.count("equal: True") == 3


def test_attention_looks_at_the_letter_that_it_spells(tmp_path: Path) -> None:
    said = run("attention.py", tmp_path).splitlines()
    assert int(said[3].split()[-1].rstrip("%")) > 90, said[3]
    looked = [line.split() for line in said[-8:]]
    assert sum(row[7 - i] == "#" for i, row in enumerate(looked)) >= 6


def test_a_long_chain_in_windows_has_its_gradient_in_less_memory(tmp_path: Path) -> None:
    whole, windows, equal = run("long_chain.py", tmp_path).splitlines()
    assert float(windows.split()[-4]) < float(whole.split()[-4]) / 4
    assert equal.split() == ["equal", "gradients:", "True"]
