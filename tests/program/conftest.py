"""Programs are for the CPU: on another device all unfoldings are eager, which other tests cover."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def on_the_cpu(device: str) -> None:
    if device != "cpu":
        pytest.skip(f"programs are for the CPU, not for {device}")


@pytest.fixture(autouse=True)
def nothing_in_new_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN in every new array, in place of what an earlier run left there: right numbers, by chance."""
    empty = np.empty

    def poisoned(*args: Any, **options: Any) -> Any:
        made = empty(*args, **options)
        if made.dtype.kind == "f":
            made.fill(np.nan)
        return made

    monkeypatch.setattr(np, "empty", poisoned)
