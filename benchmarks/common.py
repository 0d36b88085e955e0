"""How every comparison here is measured: one thread, CPU time of the process, medians, sides in turn.

Import it first: the threads of BLAS are fixed when NumPy loads.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_variable] = "1"
if "ATEN_CPU_CAPABILITY" not in os.environ:
    # Prescribed to NumPy's BLAS alone, another processor's kernels would decide the comparison.
    for _variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(_variable, None)
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

Step = Callable[[], object]


class Peer:
    """A side that runs in a process of its own, for a package that does not live beside PyTorch.

    Args:
        command: starts a script that calls `serve`.
    """

    def __init__(self, *command: object) -> None:
        self._process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._requests: Any = self._process.stdin
        self._answers: Any = self._process.stdout

    def turn(self, repeats: int) -> float:
        """CPU seconds of `repeats` steps over there; with 0 it waits until the peer is ready."""
        self._requests.write(f"{repeats}\n")
        answer = self._answers.readline()
        if not answer:
            raise RuntimeError(f"the peer ended, status {self._process.wait()}; its own message stands above")
        return float(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def serve(step: Step) -> None:
    """The other end of a `Peer`: answer each number of repeats with their CPU seconds, until the input ends."""
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(_turn(step, int(line)), flush=True)


Sides = Mapping[str, Step | Peer]


def _turn(side: Step | Peer, repeats: int) -> float:
    """CPU seconds of `repeats` steps."""
    if isinstance(side, Peer):
        return side.turn(repeats)
    gc.collect()
    start = time.process_time()
    for _ in range(repeats):
        side()
    return time.process_time() - start


def alternate(sides: Sides, seconds: float, least: int = 7, turn: float = 0.05) -> dict[str, float]:
    """Median CPU seconds of a step of each side; they take turns for `seconds` and at least `least` rounds.

    Taking turns lets whatever else the machine does disturb all sides alike. A turn repeats its step for about `turn`
    seconds, so that short steps find their caches warm, as they do in training. What stood in memory before is frozen,
    so that a garbage collection costs a side what the side itself made, not the modules and data around it.
    """
    repeats = {}
    for name, side in sides.items():
        _turn(side, 1)
        repeats[name] = max(1, round(turn / max(_turn(side, 1), 1e-9)))
    gc.collect()
    gc.freeze()
    spent: dict[str, list[float]] = {name: [] for name in sides}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(spent.values()))) < least:
        for name, side in sides.items():
            spent[name].append(_turn(side, repeats[name]) / repeats[name])
    return {name: statistics.median(times) for name, times in spent.items()}


def training_step(parameters: Iterable[Any], backward: Step) -> Step:
    """A step that forgets the gradients of `parameters`, ours or PyTorch's, and computes them anew."""
    leaves = list(parameters)

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        backward()

    return step


def gradients(parameters: Iterable[Any]) -> list[np.ndarray]:
    """The gradients of `parameters`, ours or PyTorch's."""
    return [(p.grad.to_dense() if getattr(p.grad, "is_sparse", False) else p.grad).numpy() for p in parameters]


def agree(found: Iterable[np.ndarray], expected: Iterable[np.ndarray], tolerance: float = 1e-4) -> None:
    """Raise AssertionError unless each array differs from the expected one by at most `tolerance` of its norm."""
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        if mine.shape != theirs.shape:
            raise AssertionError(f"array {number} has shape {mine.shape}, not {theirs.shape}")
        error = np.linalg.norm(mine - theirs) / max(np.linalg.norm(theirs), 1e-12)
        if not error <= tolerance:
            raise AssertionError(f"array {number}, of shape {theirs.shape}, is off by {error:.1e} of its norm")


class Shape(NamedTuple):
    """Of a batch of sequences: T steps, B examples, I input width, H hidden width."""

    T: int
    B: int
    I: int  # noqa: E741
    H: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "T,B,I,H"."""
        return cls(*(int(number) for number in text.split(",")))

    def __str__(self) -> str:
        return f"({', '.join(map(str, self))})"


class Table:
    """Rows as they are measured, on the screen and with `--json PATH` as JSON lines in a file."""

    def __init__(self, title: str, unit: str, options: argparse.Namespace, rate: str = "") -> None:
        self.title, self.unit, self.path, self.rate = title, unit, options.json, rate
        print(f"{title}\n{'case':36} {'side':40} {unit:>14} {'ours / it':>10} {rate:>10}".rstrip(), flush=True)

    def rows(
        self, case: str, medians: dict[str, float], scale: float, ours: str = "tinygrad_rnn", count: int = 0
    ) -> None:
        """One row a side: its median times `scale`, and our time divided by its (below 1: ours is faster).

        A table with a `rate` shows too how many things a second that is, for `count` things a step.
        """
        for name, seconds in medians.items():
            ratio = medians[ours] / seconds
            rate = f" {count / seconds:10.0f}" if self.rate else ""
            print(f"{case:36} {name:40} {seconds * scale:14.3f} {ratio:10.2f}{rate}", flush=True)
            row = {"title": self.title, "case": case, "side": name, "unit": self.unit}
            more = {self.rate: count / seconds} if self.rate else {}
            self._append({**row, "median": seconds * scale, "ours/it": ratio, **more})

    def _append(self, row: dict[str, object]) -> None:
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def options(description: str) -> argparse.ArgumentParser:
    """A parser with the options that all scripts share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=10.0, help="time a case (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="append the figures to PATH as JSON lines")
    return parser
