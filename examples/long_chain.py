"""A gradient through 10,000 steps in a seventh of the memory: windows of a chain that the backward pass computes again.

Backpropagation through time keeps what every step has computed. Cut into windows of about sqrt(T) steps, of which only
the seams are kept, a chain needs memory of the order of sqrt(T), for one more forward pass (Chen et al. 2016,
arXiv 1604.06174). Nothing is truncated: the gradient is the whole one.

Run it: python examples/long_chain.py
"""

import tracemalloc
from collections.abc import Callable

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn

T, WINDOW, WIDTH, H = 10_000, 100, 8, 32
tg.manual_seed(0)
cell = nn.LSTMCell(WIDTH, H)
x = tg.random.normal((T, WIDTH))
chain = tg.chain([WINDOW])


def whole() -> tg.Tensor:
    return tg.square(tg.unfold(cell, tg.chain([T]), x).all().h).mean()


def window(h: tg.Tensor, c: tg.Tensor, rows: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
    run = tg.unfold(cell, chain, rows, initial=cell.State(h, c))
    return tg.square(run.all().h).sum(), *run.last()


def windows() -> tg.Tensor:
    total, (h, c) = tg.zeros(()), cell.initial()
    for start in range(0, T, WINDOW):
        loss, h, c = tg.checkpoint(window, h, c, x[start : start + WINDOW])
        total = total + loss
    return total / (T * H)


def measured(name: str, loss: Callable[[], tg.Tensor]) -> list[np.ndarray]:
    tracemalloc.start()
    loss().backward()
    gradients = [p.grad.numpy() for p in cell.parameters()]
    print(f"{name:18} {tracemalloc.get_traced_memory()[1] / 2**20:6.1f} MiB at most")
    tracemalloc.stop()
    for p in cell.parameters():
        p.grad = None
    return gradients


for loss in (whole, windows):  # each cell is traced once, outside the measurement
    loss()
one, other = measured("whole", whole), measured("in windows", windows)
print("equal gradients:   ", all(np.allclose(a, b, rtol=1e-3, atol=1e-7) for a, b in zip(one, other, strict=True)))
