"""How commands are called, and what they gave back."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from tinygrad_rnn import training

TRAIN = ["--epochs", "2", "--hidden", "8", "--embedding", "6", "--batch", "4"]
ROOT = Path(__file__).parents[2]


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def fails(self, code: int, pattern: str) -> None:
        """One line on stderr, with the exit code."""
        assert re.fullmatch(f"tinygrad-rnn: .*{pattern}.*\n", self.err), self.err
        assert self.code == code


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / training.METRICS).read_text().splitlines()]


COMMAND = [sys.executable, "-c", "from tinygrad_rnn.cli import main; main()"]
