"""`tinygrad-rnn doctor`: what this machine has, what a missing part would give, and how to install it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from threadpoolctl import threadpool_info, threadpool_limits

from tinygrad_rnn import backend
from tinygrad_rnn.native import toolchain


class Part(NamedTuple):
    """One part of the machine: what is here (None: nothing), or what it would give and how to get it."""

    name: str
    found: str | None
    missing: str = ""


def run() -> None:
    """Print the parts, one a row."""
    console = Console(highlight=False)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    yes, no = "✓", "–"
    try:
        (yes + no).encode(console.encoding)
    except UnicodeEncodeError:
        yes, no = "+", "-"
    for part in (python(), numpy(), blas(), c_compiler(), gpu(), array_library(), layout()):
        mark = f"[green]{yes}[/]" if part.found else f"[yellow]{no}[/]"
        table.add_row(mark, part.name, Text(part.found or f"none: {part.missing}"))
    console.print(table)


def python() -> Part:
    """The interpreter and what it runs on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Part("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {cores} cores")


def numpy() -> Part:
    """NumPy, and this package."""
    try:
        own = importlib.metadata.version("tinygrad-rnn")
    except importlib.metadata.PackageNotFoundError:
        own = "not installed, run from its folder"
    return Part("NumPy", f"{np.__version__}; tinygrad-rnn {own}")


def blas() -> Part:
    """What multiplies matrices, on how many threads, and how fast."""
    config = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    loaded: dict[str, Any] = next((lib for lib in threadpool_info() if lib["user_api"] == "blas"), {})
    many = loaded.get("num_threads") or 1
    threads = (
        "" if many < 2 else f" on {many} threads, {_speed(1):.0f} on one (OMP_NUM_THREADS=1: often best for small nets)"
    )
    better = ""
    if loaded.get("architecture") in ("Haswell", "Zen") and _has_avx512():
        told = os.environ.get("OPENBLAS_CORETYPE")
        remedy = f"take OPENBLAS_CORETYPE={told} out of" if told else "try OPENBLAS_CORETYPE=SKYLAKEX in"
        better = f"; it leaves this CPU's AVX-512 unused: {remedy} the environment"
    speed = f"{_speed(many):.0f} GFLOP/s in float32{threads}"
    return Part("BLAS", f"{config['name']} {config['version']}; {speed}{better}")


def _has_avx512() -> bool:
    """Whether NumPy finds vectors of 512 bits here."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", ())
    return not {"AVX512_SKX", "X86_V4"}.isdisjoint(found)  # the names of NumPy 2.3 and of 2.4


def _speed(threads: int) -> float:
    """GFLOP/s of products of 512 x 512."""
    a, times = np.ones((512, 512), np.float32), [time.perf_counter()]
    with threadpool_limits(threads, "blas"):
        for _ in range(9):
            a @ a
            times.append(time.perf_counter())
    return float(2 * 512**3 / np.diff(times).min() / 1e9)


def c_compiler() -> Part:
    """What compiles C, and where that is kept."""
    said = "; ".join(toolchain.describe().removeprefix("C compiler: ").splitlines())
    missing = (
        "cells and optimisers' steps would be compiled, not run in NumPy; install gcc or clang, or "
        'pip install ".[c]" in the checkout, or pip install ziglang'
    )
    how = os.environ.get("TINYGRAD_RNN_COMPILE") or "1"
    if how != "1":
        known = "NumPy does its work" if how in ("0", "numpy") else "which is none of 1, 0 and numpy"
        return Part("C", None, f"the environment says TINYGRAD_RNN_COMPILE={how}, {known}; take it out")
    if toolchain.compiler() is None:
        return Part("C", None, missing)
    if "version: unusable" in said:
        remedy = toolchain.REMEDY if os.environ.get("CC") else missing
        return Part("C", None, f"{remedy} ({said})")
    return Part("C", f"cells and optimisers' steps are compiled by {said}")


def gpu() -> Part:
    """An NVIDIA GPU, as its driver names it."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        name = subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=20).partition("\n")[0]
    except (OSError, subprocess.SubprocessError):  # it is not there, or fails
        name = ""
    return Part("GPU", name, "wide models and large batches would run faster on an NVIDIA GPU with its driver")


def array_library() -> Part:
    """CuPy, if it works."""
    try:
        found = backend.named("cuda")
    except backend.DeviceError as error:
        remedy = 'pip install ".[cuda12]" in the checkout, or pip install "cupy-cuda12x[ctk]"'
        return Part("CuPy", None, f"--device cuda would work; {remedy} ({error.__cause__})")
    return Part("CuPy", f"{found.module.__version__}: --device cuda works")


def layout() -> Part:
    """What lays out pictures."""
    from viz import engine

    program = engine.find()
    missing = "pictures would be drawn, not only written as DOT; apt install graphviz, or pip install graphviz-pure"
    return Part(
        "Layout", f"{program[0]}{' (SVG; PNG in Latin text)' if program[1] else ''}" if program else None, missing
    )
