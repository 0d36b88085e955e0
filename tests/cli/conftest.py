"""Small data, and a way to call the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.cli.called import Result
from tinygrad_rnn import cli


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


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], device: str) -> Any:
    def run(*arguments: object) -> Result:
        if device != "cpu" and arguments and arguments[0] in ("train", "predict"):
            arguments = (arguments[0], "--device", device, *arguments[1:])
        with pytest.raises(SystemExit) as caught:
            cli.main([str(a) for a in arguments])
        return Result(int(caught.value.code or 0), *capfd.readouterr())

    return run
