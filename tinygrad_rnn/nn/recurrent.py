"""Whole sequence layers: stacked, bidirectional recurrent nets, each layer and direction one unfolding of a cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .. import ops
from ..cell import State
from ..structure import Ids, Structure, chain
from ..tensor import Tensor
from ..unfold import unfold
from . import functional
from .cells import CellState, GRUCell, LSTMCell, RNNCell, StepCell
from .module import Module


class Recurrent(Module):
    """Layers of one kind of cell over a batch of sequences: what RNN, LSTM and GRU share.

    Parameters are named as PyTorch names them: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0,
    weight_ih_l0_reverse and so on.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if num_layers < 1:
            raise ValueError(f"{type(self).__name__} needs at least one layer, not num_layers={num_layers}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        suffixes = ["", "_reverse"] if bidirectional else [""]
        self.cells: list[list[StepCell]] = []
        self._owners: dict[str, tuple[StepCell, str]] = {}
        for layer in range(num_layers):
            width = input_size if not layer else hidden_size * len(suffixes)
            self.cells.append([self._cell(width, bias, device, dtype) for _ in suffixes])
            for suffix, made in zip(suffixes, self.cells[-1], strict=True):
                for name, parameter in made.named_parameters():
                    self._owners[f"{name}_l{layer}{suffix}"] = made, name
                    setattr(self, f"{name}_l{layer}{suffix}", parameter)

    def _cell(self, width: int, bias: bool, device: str | None, dtype: Any) -> StepCell:
        """The cell of a layer whose inputs have a width."""
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in vars(self).get("_owners", ()):  # a parameter that is tied or replaced
            setattr(*self._owners[name], value)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """None: the cells' parameters are this module's own, under PyTorch's names."""
        return iter(())

    def forward(
        self, x: Tensor, state: Any = None, lengths: Sequence[int] | Ids | Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Run over a batch of sequences.

        Args:
            x: [T, B, I], or [B, T, I] with batch_first; of a single sequence [T, I], and nothing has a B then.
            state: what the first steps start from, zeros by default: h [layers * directions, B, H], for an LSTM (h, c).
            lengths: the steps of each sequence [B], in any order, 0 allowed; all T by default. What x holds after them
                is not read.

        Returns:
            the last layer's h at each step, [T, B, H * directions] (or batch first), zeros after the end of a sequence;
            and the final state of each sequence, of the form of `state`: that of its last step, in the backward
            direction of its first, and of a sequence without steps its initial one.

        Raises:
            ValueError: x, state or lengths have the wrong shape, or a length is not from 0 to T.
        """
        x = ops.as_tensor(x)
        if x.ndim == 2 and x.shape[1] == self.input_size and lengths is None:
            return self._single(x, state)
        if x.ndim != 3 or x.shape[2] != self.input_size:
            axes = "[B, T, I]" if self.batch_first else "[T, B, I]"
            raise ValueError(f"{self._name} takes x {axes} with I = {self.input_size}, not shape {x.shape}")
        examples, steps = x.shape[:2] if self.batch_first else x.shape[1::-1]
        counts = None if lengths is None else self._lengths(lengths, examples, steps).tobytes()
        along, back, at = _batch(counts, examples, steps, self.batch_first)
        initial = self._initial(state, examples)
        finals = []
        rows = ops.reshape(x, (steps * examples, self.input_size))
        index = None if at is None else ops.asarray(at, device=rows.device)
        rows = rows if index is None else ops.gather_rows(rows, index)
        for layer, cells in enumerate(self.cells):
            if layer:
                rows = functional.dropout(rows, self.dropout, self.training)
            outputs = []
            for cell, structure in zip(cells, (along, back), strict=False):
                run = unfold(cell, structure, rows, initial=next(initial))
                states = run.all()
                outputs.append(states.h)
                # Time by time, sequences of one length end in rows that follow each other: sooner had than last().
                start = (steps - 1) * examples if structure is along else 0
                sliced = at is None and not self.batch_first and steps * examples > 0
                finals.append([ops.span(v, 0, start, start + examples) for v in states] if sliced else run.last())
            rows = ops.concat(outputs, axis=1) if len(outputs) > 1 else outputs[0]
        rows = rows if index is None else ops.scatter_add_rows(rows, index, steps * examples)
        last = [ops.stack(fields, axis=0) for fields in zip(*finals, strict=True)]
        return ops.reshape(rows, (*x.shape[:2], rows.shape[1])), last[0] if len(last) == 1 else CellState(*last)

    def _single(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One sequence, [T, I]: a batch of it alone."""
        several = len(self.cells[0][0].State._fields) > 1
        if state is not None:
            state = tuple(ops.expand_dims(h, axis=1) for h in ([state] if hasattr(state, "shape") else state))
        axis = 0 if self.batch_first else 1
        output, state = self.forward(ops.expand_dims(x, axis=axis), state)
        state = CellState(*(ops.squeeze(h, 1) for h in state)) if several else ops.squeeze(state, 1)
        return ops.squeeze(output, axis), state

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _lengths(self, lengths: Sequence[int] | Ids | Tensor, examples: int, steps: int) -> Ids:
        counts = np.asarray(lengths.numpy() if isinstance(lengths, Tensor) else lengths)
        if counts.shape != (examples,) or (examples and counts.dtype.kind not in "iu"):
            raise ValueError(f"{self._name} takes an integer length for each of {examples} sequences, not {counts!r}")
        wrong = np.flatnonzero((counts < 0) | (counts > steps))
        if len(wrong):
            raise ValueError(f"{self._name}: sequence {wrong[0]} has length {counts[wrong[0]]}; x has {steps} steps")
        return counts.astype(np.int64)

    def _initial(self, state: Any, examples: int) -> Iterator[State | None]:
        """The state that each layer and direction starts from."""
        kind, count = self.cells[0][0].State, self.num_layers * len(self.cells[0])
        if state is None:
            return iter([None] * count)
        fields = [*map(ops.as_tensor, (state,) if len(kind._fields) == 1 and hasattr(state, "shape") else state)]
        shape = (count, examples, self.hidden_size)
        if len(fields) != len(kind._fields) or any(field.shape != shape for field in fields):
            raise ValueError(
                f"{self._name} takes a state ({', '.join(kind._fields)}) of shapes {shape}: layers * directions, B, H; "
                f"not {[field.shape for field in fields]}"
            )
        return (kind(*(field[i] for field in fields)) for i in range(count))

    def extra_repr(self) -> str:
        """The widths, and what is not the default."""
        options = {"num_layers": 1, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        changed = [f"{name}={getattr(self, name)}" for name, usual in options.items() if getattr(self, name) != usual]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])


@lru_cache(maxsize=16)
def _batch(
    lengths: bytes | None, examples: int, steps: int, batch_first: bool
) -> tuple[Structure, Structure, Ids | None]:
    """A batch of sequences in both directions, its lengths as the bytes of int64 [B], or None if all have all steps.

    The vertices stand as x has its rows.

    Returns:
        the structure forward and backward, and which rows of x are vertices (None: all). Kept, since how to run a
        structure is found out once.
    """
    counts = np.full(examples, steps, np.int64) if lengths is None else np.frombuffer(lengths, np.int64)
    example, step = np.divmod(np.arange(steps * len(counts)), steps) if steps else (np.zeros(0, np.int64),) * 2
    if not batch_first:
        order = np.lexsort((example, step))
        example, step = example[order], step[order]
    at = np.flatnonzero(step < counts[example])
    example, step = example[at], step[at]
    chained = chain(counts)
    first = np.cumsum(counts) - counts
    number = np.empty(len(at), np.int64)  # of each vertex of the chains, which is example by example, among the rows
    number[first[example] + step] = np.arange(len(at))
    forward = Structure(
        len(at), number[chained.source], number[chained.target], chained.slot, example, None, len(counts),
        None if chained.within is None else chained.within[np.argsort(number)], step,
    )  # fmt: skip
    return forward, forward.reversed(), None if len(at) == steps * len(counts) else at


class RNN(Recurrent):
    """Layers of `RNNCell` (PyTorch's nn.RNN).

    >>> import tinygrad_rnn as tg
    >>> output, h = RNN(2, 3)(tg.ones((5, 4, 2)), lengths=[5, 0, 3, 1])
    >>> output.shape, h.shape
    ((5, 4, 3), (1, 4, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        self._nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype)

    def _cell(self, width: int, bias: bool, device: str | None, dtype: Any) -> RNNCell:
        return RNNCell(width, self.hidden_size, bias, self._nonlinearity, device, dtype)


class LSTM(Recurrent):
    """Layers of `LSTMCell` (PyTorch's nn.LSTM).

    >>> import tinygrad_rnn as tg
    >>> output, (h, c) = LSTM(2, 3, bidirectional=True)(tg.ones((5, 4, 2)))
    >>> output.shape, h.shape
    ((5, 4, 6), (2, 4, 3))
    """

    def _cell(self, width: int, bias: bool, device: str | None, dtype: Any) -> LSTMCell:
        return LSTMCell(width, self.hidden_size, bias, device, dtype)


class GRU(Recurrent):
    """Layers of `GRUCell` (PyTorch's nn.GRU).

    >>> import tinygrad_rnn as tg
    >>> output, h = GRU(2, 3, num_layers=2, batch_first=True)(tg.ones((4, 5, 2)))
    >>> output.shape, h.shape
    ((4, 5, 3), (2, 4, 3))
    """

    def _cell(self, width: int, bias: bool, device: str | None, dtype: Any) -> GRUCell:
        return GRUCell(width, self.hidden_size, bias, device, dtype)
