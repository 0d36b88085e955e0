"""`doctor`: what there is, and what a missing part would give."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.cli import doctor
from tinygrad_rnn.native import toolchain


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
    monkeypatch.delenv("CC", raising=False)
    assert re.search("– C none: cells and .* unusable: exec format error", " ".join(call("doctor").out.split()))
    monkeypatch.setenv("CC", "mycc")
    assert "– C none: take CC out of the environment, or name a" in " ".join(call("doctor").out.split())


@pytest.mark.parametrize(("how", "why"), [("0", "NumPy does its work"), ("off", "which is none of 1, 0 and numpy")])
def test_doctor_says_what_the_environment_forbids(
    call: Any, monkeypatch: pytest.MonkeyPatch, how: str, why: str
) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", how)
    assert f"TINYGRAD_RNN_COMPILE={how}, {why}; take it out" in " ".join(call("doctor").out.split())


def test_doctor_says_when_the_blas_leaves_wide_vectors_unused(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = {"user_api": "blas", "num_threads": 3, "architecture": "Haswell"}
    monkeypatch.setattr(doctor, "threadpool_info", lambda: [{"user_api": "openmp"}, loaded])
    monkeypatch.setattr(doctor, "_has_avx512", lambda: True)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    words = " ".join(call("doctor").out.split())
    assert re.search(r" \d+ GFLOP/s in float32 on 3 threads, \d+ on one \(OMP_NUM_THREADS=1: often best", words)
    assert "it leaves this CPU's AVX-512 unused: try OPENBLAS_CORETYPE=SKYLAKEX in the environment" in words
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    words = " ".join(call("doctor").out.split())
    assert "it leaves this CPU's AVX-512 unused: take OPENBLAS_CORETYPE=Zen out of the environment" in words
    monkeypatch.setattr(doctor, "_has_avx512", lambda: False)
    assert "AVX-512" not in call("doctor").out
    monkeypatch.setattr(doctor, "threadpool_info", list)
    assert re.search(r"✓ +BLAS .* GFLOP/s", " ".join(call("doctor").out.split()))


def test_doctor_speaks_where_its_marks_can_not_be_written() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tinygrad_rnn", "doctor"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert found.returncode == 0
    assert re.search(r"^\+ +Python ", found.stdout, re.MULTILINE)
