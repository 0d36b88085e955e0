"""`demo`: two models compared, pictures, and no other run replaced."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.called import TRAIN, rows
from tinygrad_rnn import training


def test_demo_compares_and_draws(tmp_path: Path, call: Any) -> None:
    out = tmp_path / "demo"
    result = call("demo", "--quick", "--out", out)
    assert result.code == 0, result.err
    figures = (
        r"unseen expressions: Tree-LSTM \d+\.\d%, sequential LSTM \d+\.\d%  \(\d+ s\) \(too short to learn; the full"
    )
    assert re.search(figures, result.out)
    shown = re.search(r"Tree-LSTM (\S+)%, sequential LSTM (\S+)%", result.out)
    assert shown is not None
    measured = [f"{rows(folder)[-1]['test_root']:.1%}" for folder in (out, out / "lstm")]
    assert [f"{figure}%" for figure in shown.groups()] == measured
    assert {"model.safetensors", "metrics.jsonl", "lstm"} <= set(os.listdir(out))
    for name in ("folded", "unfolded", "tree"):
        assert (out / f"{name}.svg").exists() or (out / f"{name}.dot").exists()
    again = call("demo", "--quick", "--out", out)
    assert again.code == 0
    assert "holds an older demo; this one takes its place" in again.out


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
