"""`predict` and `render`."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.called import TRAIN


def test_predict_reads_sentences_from_standard_input(
    data: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("train", data, "--cell", "gru", "--out", tmp_path / "run", *TRAIN)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"( a x y )\n( b x )")))
    result = call("predict", tmp_path / "run")
    assert re.fullmatch(r"\(\d a x y\)\n\(\d b x\)\n", result.out)
    assert result.err == ""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"( a \xff )"), errors="surrogateescape"))
    call("predict", tmp_path / "run").fails(1, "standard input, line 1, column 5: found the byte 0xff")


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


def test_render_draws_the_cell_that_is_asked_for_and_what_a_run_predicts(data: Path, tmp_path: Path, call: Any) -> None:
    def drawn(*arguments: object) -> str:
        assert call("render", *arguments).code == 0
        return Path(str(arguments[1])).read_text()

    a, b = tmp_path / "a.dot", tmp_path / "b.dot"
    assert drawn("folded", a, "--cell", "gru") != drawn("folded", b, "--cell", "lstm")
    call("train", data, "--out", tmp_path / "run", *TRAIN)
    plain = drawn("tree", a, "--tree", data / "test.txt")
    assert drawn("tree", b, "--run", tmp_path / "run", "--tree", data / "test.txt") != plain
    unlabelled = "( ( x) ( y))"
    assert drawn("tree", b, "--run", tmp_path / "run", "--tree", unlabelled) != drawn("tree", a, "--tree", unlabelled)
    found = drawn("unfolded", a, "--run", tmp_path / "run", "--tree", unlabelled)
    without = drawn("unfolded", b, "--run", tmp_path / "run", "--tree", "((1 x) ( y))")
    assert found.count("\n") > without.count("\n"), "a prediction for each node, not for the one that has a label"


def test_levels_draws_the_first_ones(tmp_path: Path, call: Any) -> None:
    def states(*options: str) -> int:
        assert call("render", "unfolded", tmp_path / "a.dot", *options).code == 0
        return len(re.findall("h[₀-₉]", (tmp_path / "a.dot").read_text()))

    assert [states("--levels", "1"), states("--levels", "2"), states()] == [3, 4, 5]


def test_too_large_a_picture_names_the_option(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viz.engine.LIMIT", 5)
    call("render", "unfolded", tmp_path / "a.svg").fails(1, "draw fewer with --levels N, or save as .dot")
    call("render", "tree", tmp_path / "a.svg").fails(1, "draw a smaller tree, or save as .dot")
