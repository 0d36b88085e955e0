"""W6: how much the peak of memory rises in training steps of an LSTM, each side in a fresh process (Linux).

A step is that of W1. A tiny LSTM runs first, so that libraries are loaded; then memory that was freed goes back to the
system, the peak is set back to what the process holds, input and weights included, and is read again after the first
step and after four.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

import common
import numpy as np

SHAPES = [common.Shape(35, 20, 650, 650), common.Shape(2000, 8, 256, 256)]
SIDES = ("tinygrad_rnn", "torch")


def training(side: str, shape: common.Shape) -> common.Step:
    """The step of a side. Only its own library is imported."""
    T, B, I, H = shape  # noqa: E741
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((T, B, I), np.float32), rng.standard_normal((T, B, H), np.float32)
    if side == "torch":
        import torch

        torch.set_num_threads(1)
        model, rows, gradient = torch.nn.LSTM(I, H), torch.from_numpy(x), torch.from_numpy(dy)
    else:
        import tinygrad_rnn as tg

        model, rows, gradient = tg.nn.LSTM(I, H), tg.asarray(x), tg.asarray(dy)
    return common.training_step(model.parameters(), lambda: model(rows)[0].backward(gradient))


def memory(name: str) -> int:
    """VmRSS (held now) or VmHWM (the peak) of this process, in bytes."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def rises(side: str, shape: common.Shape) -> dict[str, int]:
    """The rise of the peak in bytes, in this process."""
    training(side, common.Shape(2, 2, 8, 8))()
    step = training(side, shape)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else what making the weights left behind would hide a part of the rise
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak is what is held now
    before, found = memory("VmRSS"), {}
    for count, name in ((1, "first step"), (3, "four steps")):
        for _ in range(count):
            step()
        found[name] = memory("VmHWM") - before
    return found


def main() -> None:
    parser = common.options("W6: the peak memory of an LSTM's training step against PyTorch's.")
    parser.add_argument("--shapes", nargs="+", type=common.Shape.parse, default=SHAPES, metavar="T,B,I,H")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # measure it here: the fresh process
    options = parser.parse_args()
    if options.side:
        print(json.dumps(rises(options.side, options.shapes[0])))
        return
    table = common.Table("W6: rise of the peak of memory, LSTM, (T, B, I, H)", "MiB", options)
    for shape in options.shapes:
        found = {}
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side, "--shapes", ",".join(map(str, shape))]
            found[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for name in found["torch"]:
            table.rows(f"{shape} {name}", {side: found[side][name] for side in SIDES}, 1 / 2**20)


if __name__ == "__main__":
    main()
