"""Traces of small cells, to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.program.capture import Reach
from tinygrad_rnn.program.trace import Signature, Spec, Trace, trace

W = 4
PARAMETER = tg.tensor(np.eye(W, dtype=np.float32)).requires_grad_()


def traced(
    function: Callable[..., Any], arity: int | None = 1, filled: tuple[bool, ...] | None = None, x: bool = True,
    width: int = W,
) -> Trace:  # fmt: skip
    cell = tg.cell(arity=arity, state={"h": width})(function)
    reach = Reach(cell)
    row = Spec((width,), "<f4", True)
    slots = filled or (True,) * (1 if arity is None else arity)
    parameters = tuple(Spec(t.shape, t.dtype.str, t.requires_grad) for t in reach.tensors)
    signature = Signature(row if x else None, ((width,), "<f4"), slots, (row,), parameters, None, True)
    return trace(cell, reach, signature, ("h",))


def ops(values: Any) -> list[str]:
    return sorted(v.op for v in values)


def recurrent(x: Any, kids: Any) -> Any:
    return tg.tanh(x @ PARAMETER + kids[0].h @ PARAMETER.T)
