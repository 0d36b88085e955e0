"""Gradients clipped by their norm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import ops
from ..gradient import Rows
from ..tensor import Tensor


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients together so that their norm |g| is at most v = `max_norm`: g <- v g / |g|.

    Returns:
        |g| before, over all parameters, as a Tensor of one element (Pascanu et al. 2013, algorithm 1).

    Raises:
        ValueError: `max_norm` is not positive.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = tg.tensor([3.0, 4.0])
    >>> clip_grad_norm_([w], 1.0).item(), w.grad
    (5.0, Tensor([0.6, 0.8], dtype=float32))
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, not {max_norm}")
    if hasattr(parameters, "parameters"):
        raise TypeError(f"clip_grad_norm_ takes parameters: give {type(parameters).__name__}'s .parameters()")
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    nodes: list[Any] = [p.node for p in given if getattr(p.node, "grad", None) is not None]
    squares = []
    for node in nodes:
        if type(node.grad) is Rows:
            node.grad = node.grad.coalesced()
        g = ops.as_tensor(node.grad.values if type(node.grad) is Rows else node.grad).detach()
        squares.append((g * g).sum())
    total = ops.sqrt(ops.sum(ops.stack(squares))) if squares else ops.zeros(())
    if float(total) > max_norm:
        scale = max_norm / float(total)
        for node in nodes:
            g = node.grad
            # Not in place: one array may be the gradient of several leaves.
            node.grad = Rows(g.index, g.values * scale, g.shape) if type(g) is Rows else g * scale
    return total
