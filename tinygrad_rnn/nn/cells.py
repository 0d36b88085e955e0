"""The step modules of chains. One protocol: `cell(x, kids, context=None) -> State`, which `tg.unfold` calls by level.

Whoever loops by hand calls what the protocol is built on, `state = cell.step(x, state)`, from `state = cell.initial()`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

from .. import ops
from ..cell import Kids
from ..tensor import Tensor
from . import init
from .functional import linear
from .module import Module


class HiddenState(NamedTuple):
    """The state of a cell without memory: h [n, H]."""

    h: Tensor


class CellState(NamedTuple):
    """The state of a cell with memory: the hidden state h [n, H] and the memory c [n, H]."""

    h: Tensor
    c: Tensor


class StateCell(Module):
    """What the cells of this package share: the kind and width of their state, and zeros where there is none."""

    State: ClassVar[type[HiddenState] | type[CellState]] = HiddenState
    arity: int | None = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        if hidden_size < 1:
            raise ValueError(f"{type(self).__name__} needs a hidden_size of at least 1, not {hidden_size}")
        self.input_size, self.hidden_size = input_size, hidden_size

    def _drawn(self, shape: tuple[int, ...], device: str | None, dtype: Any) -> Tensor:
        """A parameter drawn evenly from -+ 1 / sqrt(H), as PyTorch draws all of its recurrent layers."""
        return init.parameter(shape, 1 / math.sqrt(self.hidden_size), device, dtype)

    def initial(self) -> Any:
        """One row of zeros, in the parameters' dtype and on their device."""
        like = next(t for t in vars(self).values() if isinstance(t, Tensor))  # quicker than parameters()
        zeros = ops.zeros((1, self.hidden_size), dtype=like.dtype, device=like.device)
        return self.State(*(zeros for _ in self.State._fields))

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.input_size}, {self.hidden_size}"


class StepCell(StateCell):
    """A cell of one predecessor: a step from its state with an input x [n, I].

    weight_ih [G, I] and weight_hh [G, H] for G = gates * H, and bias_ih [G], bias_hh [G] or None.
    """

    gates: ClassVar[int] = 1

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size)
        rows = self.gates * hidden_size
        self.weight_ih = self._drawn((rows, input_size), device, dtype)
        self.weight_hh = self._drawn((rows, hidden_size), device, dtype)
        self.bias_ih = self._drawn((rows,), device, dtype) if bias else None
        self.bias_hh = self._drawn((rows,), device, dtype) if bias else None

    def step(self, x: Tensor, state: Any) -> Any:
        """The next state from an input [n, I] and a state of n rows (or one, for all)."""
        raise NotImplementedError

    def forward(self, x: Tensor, kids: Kids | None = None, context: Any = None) -> Any:
        """A step from the state of the one predecessor."""
        if kids is None or isinstance(kids, tuple | Tensor):
            name = type(self).__name__
            raise TypeError(f"{name}(x, kids) is what tg.unfold calls; by hand it is {name}.step(x, state)")
        return self.step(x, kids[0])

    def _gates(self, x: Tensor, h: Tensor) -> Tensor:
        """Both affine maps, [n, G]; the biases are added to each other first, which is the smaller sum."""
        bias = None if self.bias_ih is None or self.bias_hh is None else self.bias_ih + self.bias_hh
        return linear(x, self.weight_ih, bias) + linear(h, self.weight_hh)


class RNNCell(StepCell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or with relu (Elman 1990).

    >>> import tinygrad_rnn as tg
    >>> run = tg.unfold(RNNCell(3, 4), tg.chain([2, 5]), tg.ones((7, 3)))
    >>> run.last().h.shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNNCell: nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def step(self, x: Tensor, state: Any) -> HiddenState:
        """x [n, I], state h [n, H] -> h [n, H]."""
        gates = self._gates(x, state.h)
        return HiddenState(ops.tanh(gates) if self.nonlinearity == "tanh" else ops.relu(gates))


class LSTMCell(StepCell):
    """c' = f c + i g, h' = o tanh(c'), with i, f, o = sigmoid and g = tanh of W_ih x + b_ih + W_hh h + b_hh.

    Hochreiter & Schmidhuber 1997, forget gate of Gers et al. 2000; the rows of the weights are in the order i, f, g, o.

    >>> import tinygrad_rnn as tg
    >>> cell = LSTMCell(3, 4)
    >>> state = cell.step(tg.ones((2, 3)), cell.initial())  # a loop by hand
    >>> state.h.shape, state.c.shape
    ((2, 4), (2, 4))
    """

    State, gates = CellState, 4

    def step(self, x: Tensor, state: Any) -> CellState:
        """x [n, I], state h and c [n, H] -> h and c [n, H]."""
        width = self.hidden_size
        i_f, g, o = ops.split(self._gates(x, state.h), [2 * width, width, width], axis=1)
        i, f = ops.split(ops.sigmoid(i_f), 2, axis=1)
        c = f * state.c + i * ops.tanh(g)
        return CellState(ops.sigmoid(o) * ops.tanh(c), c)


class GRUCell(StepCell):
    """h' = (1 - z) n + z h, with r, z = sigmoid of W_ih x + b_ih + W_hh h + b_hh (Cho et al. 2014).

    n = tanh(W_in x + b_in + r (W_hn h + b_hn)), as PyTorch has it; with reset_after=False the paper's form,
    n = tanh(W_in x + b_in + W_hn (r h) + b_hn). The rows of the weights are in the order r, z, n.

    >>> import tinygrad_rnn as tg
    >>> tg.unfold(GRUCell(3, 4, reset_after=False), tg.chain([2]), tg.ones((2, 3))).last().h.shape
    (1, 4)
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
        reset_after: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.reset_after = reset_after

    def step(self, x: Tensor, state: Any) -> HiddenState:
        """x [n, I], state h [n, H] -> h [n, H]."""
        width, h = self.hidden_size, state.h
        x_gates, x_new = ops.split(linear(x, self.weight_ih, self.bias_ih), [2 * width, width], axis=1)
        if self.reset_after:
            h_gates, h_new = ops.split(linear(h, self.weight_hh, self.bias_hh), [2 * width, width], axis=1)
            r, z = ops.split(ops.sigmoid(x_gates + h_gates), 2, axis=1)
            new = ops.tanh(x_new + r * h_new)
        else:
            # Under the transpose the parts of a weight are parts of one level's view, and come together at each level.
            gates, fresh = ops.split(self.weight_hh.T, [2 * width, width], axis=1)
            bias, bias_new = (0.0, 0.0) if self.bias_hh is None else ops.split(self.bias_hh, [2 * width, width])
            r, z = ops.split(ops.sigmoid(x_gates + h @ gates + bias), 2, axis=1)
            new = ops.tanh(x_new + (r * h) @ fresh + bias_new)
        return HiddenState(new + z * (h - new))
