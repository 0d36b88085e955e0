"""Programs are for the CPU: on another device all unfoldings are eager, which other tests cover."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def on_the_cpu(device: str) -> None:
    if device != "cpu":
        pytest.skip(f"programs are for the CPU, not for {device}")
