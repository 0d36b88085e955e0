"""A step of each optimiser over the parameters of an LSTM, against PyTorch's at its defaults."""

from __future__ import annotations

import os

import common
import numpy as np
import torch

import tinygrad_rnn as tg
from tinygrad_rnn import optim

OPTIMISERS = {"SGD": {"lr": 0.1, "momentum": 0.9}, "Adagrad": {}, "RMSprop": {}, "Adam": {}, "AdamW": {}}
STEPS = 3  # before results are compared


def sides(name: str, width: int) -> tuple[common.Sides, list[np.ndarray], list[np.ndarray]]:
    """Three sides of the same parameters, and what ours and PyTorch's are after a few steps."""
    rng = np.random.default_rng(0)
    shapes = [(4 * width, width)] * 2 + [(4 * width,)] * 2
    start = [(rng.normal(size=shape) / width**0.5).astype(np.float32) for shape in shapes]
    gradients = [(rng.normal(size=shape) / 100).astype(np.float32) for shape in shapes]
    steps: dict[str, common.Step] = {}
    params: dict[str, list] = {}
    for side, module, tensor in [
        ("tinygrad_rnn", optim, tg.tensor),
        ("tinygrad_rnn in NumPy", optim, tg.tensor),
        (f"torch {torch.__version__}", torch.optim, torch.tensor),
    ]:
        leaves = params[side] = [tensor(a, requires_grad=True) for a in start]
        for leaf, g in zip(leaves, gradients, strict=True):
            leaf.grad = tensor(g)
        steps[side] = getattr(module, name)(leaves, **OPTIMISERS[name]).step
    steps["tinygrad_rnn in NumPy"] = without_c(steps["tinygrad_rnn in NumPy"])
    for step in steps.values():
        for _ in range(STEPS):
            step()
    ours, _, theirs = params.values()
    return steps, [p.numpy() for p in ours], [p.detach().numpy() for p in theirs]


def without_c(step: common.Step) -> common.Step:
    """The step with nothing compiled."""

    def plain() -> None:
        before = os.environ.get("TINYGRAD_RNN_COMPILE")
        os.environ["TINYGRAD_RNN_COMPILE"] = "0"
        step()
        if before is None:
            del os.environ["TINYGRAD_RNN_COMPILE"]
        else:
            os.environ["TINYGRAD_RNN_COMPILE"] = before

    return plain


def main() -> None:
    parser = common.options(__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 650], metavar="H", help="hidden widths")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = common.Table("steps of optimisers over the parameters of an LSTM", "us per step", options)
    for width in options.widths:
        for name in OPTIMISERS:
            steps, ours, theirs = sides(name, width)
            common.agree(ours, theirs, 1e-5)
            table.rows(f"{name}, H={width}", common.alternate(steps, options.seconds), 1e6)


if __name__ == "__main__":
    main()
