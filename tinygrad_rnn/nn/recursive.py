"""Cells of trees. Where leaves differ from inner vertices, give each its cell: `tg.unfold({0: leaf, 1: inner}, ...)`.

A vertex that lacks an input or a predecessor reads zeros in its place, so one cell can serve all vertices. Two cells
save the products with zeros: one of arity 0, which makes leaves of inputs alone, and one of input_size 0, for vertices
without an input.
"""

from __future__ import annotations

from typing import Any

from .. import ops
from ..cell import Kids
from ..tensor import Tensor
from .cells import CellState, HiddenState, StateCell
from .functional import linear


class SlotCell(StateCell):
    """A cell that reads N predecessors by slot, with one product for their hidden states side by side, [h_1; ...; h_N].

    weight_ih [terms * H, I] unless I is 0, weight_hh [gates * H, N H] unless N is 0, bias [gates * H] or None.

    Raises:
        ValueError: it has neither an input nor slots, or no width.
    """

    arity: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        arity: int = 2,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        if arity < 0 or arity + input_size == 0:
            raise ValueError(f"{type(self).__name__} needs an input or slots, not {input_size=} and {arity=}")
        self.arity = arity
        gates, terms = self._counts()
        self.weight_ih = self._drawn((terms * hidden_size, input_size), device, dtype) if input_size else None
        self.weight_hh = self._drawn((gates * hidden_size, arity * hidden_size), device, dtype) if arity else None
        self.bias = self._drawn((gates * hidden_size,), device, dtype) if bias else None

    def _counts(self) -> tuple[int, int]:
        """How many gates there are, and how many terms of the input they share."""
        return 1, 1

    def _beside(self, kids: Kids) -> Tensor:
        """The hidden states of all slots side by side, [n, N H]."""
        return ops.concat([kids[k].h for k in range(self.arity)], axis=1) if self.arity > 1 else kids[0].h

    def _affine(self, x: Tensor, h: Tensor | None) -> Tensor:
        """W_hh h + W_ih x + b, [n, gates * H]."""
        if h is None or self.weight_hh is None:
            assert self.weight_ih is not None
            return linear(x, self.weight_ih, self.bias)
        gates = linear(h, self.weight_hh, self.bias)
        if self.weight_ih is not None:
            return gates + self._shared(linear(x, self.weight_ih))
        # A missing input is one row, repeated (stride 0); any other would be lost here unseen.
        if x.shape[0] > 1 and x.shape[1] and x.data.strides[0]:
            raise ValueError(
                f"{type(self).__name__} has input_size 0 but got inputs of width {x.shape[1]}; give it an input_size, "
                "or the vertices with an input a cell of their own: unfold({kind: cell}, ...)"
            )
        return gates

    def _shared(self, x: Tensor) -> Tensor:
        """The input's terms, one for each gate."""
        return x

    def extra_repr(self) -> str:
        """The widths and the arity."""
        return f"{super().extra_repr()}, arity={self.arity}"


class RecursiveCell(SlotCell):
    """h = tanh(W [h_1; ...; h_N] + b), plus U x inside the tanh where there is an input.

    Socher et al. 2011 (ICML), eq. 2, 2013 (EMNLP), section 4.1; Goodfellow, Bengio & Courville, section 10.6. U is
    weight_ih, W weight_hh. Where a leaf is its input, as in these papers, say so with a cell for leaves:

    >>> import tinygrad_rnn as tg
    >>> @tg.cell(arity=0, state={"h": 3})
    ... def leaf(x, kids):
    ...     return x
    >>> tree = tg.Structure(3, source=[0, 1], target=[2, 2], slot=[0, 1], kind=[0, 0, 1])
    >>> tg.unfold({0: leaf, 1: RecursiveCell(0, 3)}, tree, ([0, 1], tg.ones((2, 3)))).all().h.shape
    (3, 3)
    """

    def forward(self, x: Tensor, kids: Kids, context: Any = None) -> HiddenState:
        """x [n, I] and N predecessors' h [n, H] -> h [n, H]."""
        return HiddenState(ops.tanh(self._affine(x, self._beside(kids) if self.arity else None)))


class RNTNCell(SlotCell):
    """h = tanh(a^T V a + W a + b) for a = [h_1; ...; h_N], plus U x inside the tanh where there is an input.

    The recursive neural tensor network, Socher et al. 2013 (EMNLP), section 4.3; V is weight_tensor [H, N H, N H], of
    which element k of h takes the slice V[k]. For leaves that are their inputs see `RecursiveCell`.

    >>> import tinygrad_rnn as tg
    >>> tree = tg.Structure(3, source=[0, 1], target=[2, 2], slot=[0, 1])
    >>> tg.unfold(RNTNCell(2, 3), tree, ([0, 1], tg.ones((2, 2)))).roots().h.shape
    (1, 3)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        arity: int = 2,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, arity, bias, device, dtype)
        width = arity * hidden_size
        self.weight_tensor = self._drawn((hidden_size, width, width), device, dtype) if arity else None

    def forward(self, x: Tensor, kids: Kids, context: Any = None) -> HiddenState:
        """x [n, I] and N predecessors' h [n, H] -> h [n, H]."""
        if self.weight_tensor is None:
            return HiddenState(ops.tanh(self._affine(x, None)))
        h = self._beside(kids)
        slices, width, _ = self.weight_tensor.shape
        products = linear(h, ops.reshape(self.weight_tensor, (slices * width, width)))
        paired = ops.reshape(products, (products.shape[0], slices, width)) * ops.expand_dims(h, axis=1)
        return HiddenState(ops.tanh(self._affine(x, h) + ops.sum(paired, axis=2)))


class NaryTreeLSTMCell(SlotCell):
    """The N-ary Tree-LSTM (Tai, Socher & Manning 2015, eq. 9-14): every slot has its own matrices and forget gate.

    u = tanh, and i, o, f_1 ... f_N = sigmoid of W x + U [h_1; ...; h_N] + b;
    c = i u + f_1 c_1 + ... + f_N c_N, h = o tanh(c).

    The rows of weight_ih are in the order u, i, o, f (one W_f for all slots), those of weight_hh and bias in the order
    u, i, o, f_1, ..., f_N; each f_k reads all slots, with U_kl its columns l H to (l + 1) H. The paper has one b_f, the
    authors' program one for each slot, as here. With arity 0 there is no f: the leaf module of that program.

    >>> import tinygrad_rnn as tg
    >>> tree = tg.Structure(3, source=[0, 1], target=[2, 2], slot=[0, 1])
    >>> tg.unfold(NaryTreeLSTMCell(2, 3), tree, ([0, 1], tg.ones((2, 2)))).roots().c.shape
    (1, 3)
    """

    State = CellState

    def _counts(self) -> tuple[int, int]:
        return 3 + self.arity, 4 if self.arity else 3

    def _shared(self, x: Tensor) -> Tensor:
        """u, i, o, f -> u, i, o and f for every slot."""
        return ops.concat([x] + [x[:, 3 * self.hidden_size :]] * (self.arity - 1), axis=1) if self.arity > 1 else x

    def forward(self, x: Tensor, kids: Kids, context: Any = None) -> CellState:
        """x [n, I] and N predecessors' h and c [n, H] -> h and c [n, H]."""
        width, arity = self.hidden_size, self.arity
        gates = self._affine(x, self._beside(kids) if arity else None)
        u, others = ops.split(gates, [width, (2 + arity) * width], axis=1)
        i, o, *forget = ops.split(ops.sigmoid(others), 2 + arity, axis=1)
        c = i * ops.tanh(u)
        for k, f in enumerate(forget):
            c = c + f * kids[k].c
        return CellState(o * ops.tanh(c), c)


class ChildSumTreeLSTMCell(StateCell):
    """The child-sum Tree-LSTM (Tai, Socher & Manning 2015, eq. 2-8) for any number of predecessors in no order.

    u = tanh, and i, o = sigmoid of W x + U (sum of the h_k) + b; f_k = sigmoid(W_f x + U_f h_k + b_f);
    c = i u + sum of f_k c_k, h = o tanh(c).

    The rows of weight_ih and bias are in the order u, i, o, f, those of weight_hh in the order u, i, o; weight_fh is
    U_f.

    >>> import tinygrad_rnn as tg
    >>> star = tg.Structure(4, source=[0, 1, 2], target=[3, 3, 3])
    >>> tg.unfold(ChildSumTreeLSTMCell(2, 3), star, tg.ones((4, 2))).roots().h.shape
    (1, 3)
    """

    State = CellState
    arity = None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = self._drawn((4 * hidden_size, input_size), device, dtype)
        self.weight_hh = self._drawn((3 * hidden_size, hidden_size), device, dtype)
        self.weight_fh = self._drawn((hidden_size, hidden_size), device, dtype)
        self.bias = self._drawn((4 * hidden_size,), device, dtype) if bias else None

    def forward(self, x: Tensor, kids: Kids, context: Any = None) -> CellState:
        """x [n, I] and the h and c of all predecessors [E, H] -> h and c [n, H]."""
        width, each = self.hidden_size, kids.each
        gates, x_f = ops.split(linear(x, self.weight_ih, self.bias), [3 * width, width], axis=1)
        u, i_o = ops.split(gates + linear(kids.sum(each.h), self.weight_hh), [width, 2 * width], axis=1)
        i, o = ops.split(ops.sigmoid(i_o), 2, axis=1)
        f = ops.sigmoid(kids.spread(x_f) + linear(each.h, self.weight_fh))
        c = i * ops.tanh(u) + kids.sum(f * each.c)
        return CellState(o * ops.tanh(c), c)
