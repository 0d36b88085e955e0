"""Layers that look at each row by itself."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..ops.recording import INTEGERS
from ..tensor import Tensor
from . import functional, init
from .module import Module


class Linear(Module):
    """x W^T + b: [..., in_features] -> [..., out_features].

    weight [out, in] and bias [out] are drawn evenly from -+ 1 / sqrt(in_features).

    >>> Linear(3, 2)(ops.ones((4, 3))).shape
    (4, 2)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: str | None = None, dtype: Any = None
    ) -> None:
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(max(in_features, 1))
        self.weight = init.parameter((out_features, in_features), bound, device, dtype)
        self.bias = init.parameter((out_features,), bound, device, dtype) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The affine map of every row."""
        return functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """As PyTorch writes it."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A vector for each of `num_embeddings` ids: ids [...] -> [..., embedding_dim]; drawn from N(0, 1).

    The gradient of its weight stays rows, one per id read, up to and into the optimiser.

    Args:
        padding_idx: an id whose vector starts as zeros and gets no gradient.

    >>> Embedding(10, 3)([[1, 2], [3, 4]]).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if padding_idx is not None and not 0 <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx is an id from 0 to {num_embeddings - 1}, not {padding_idx}")
        self.padding_idx = padding_idx
        self.weight = init.normal_(
            ops.empty((num_embeddings, embedding_dim), dtype=dtype, device=device).requires_grad_()
        )
        if padding_idx is not None:
            self.weight.data[padding_idx] = 0.0

    def forward(self, ids: Any) -> Tensor:
        """The vectors of integer ids: a Tensor, an array or lists.

        Raises:
            IndexError: an id is negative or too large.
            TypeError: the ids are no integers.
        """
        ids = functional.ids_of(ids, self.weight.device)
        rows = functional.embedding(ids, self.weight)
        if self.padding_idx is None:
            return rows
        return ops.where(ops.expand_dims(ids == self.padding_idx, axis=-1), rows.detach(), rows)

    def extra_repr(self) -> str:
        """As PyTorch writes it."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}{padding}"


class Dropout(Module):
    """In training, each element 0 with probability p, else divided by 1 - p; in evaluation x itself.

    Inside a cell each unfolding draws its own masks, a fresh one for every vertex.
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is the probability of a zero, from 0 to 1, not {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x with some elements dropped."""
        return functional.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """As PyTorch writes it."""
        return f"p={self.p}"


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) over the last axis, times weight, plus bias (Ba et al. 2016, arXiv 1607.06450).

    >>> LayerNorm(2)(ops.tensor([[1.0, 3.0]])).numpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(self, width: int, eps: float = 1e-5, device: str | None = None, dtype: Any = None) -> None:
        if not isinstance(width, INTEGERS):
            raise ValueError(f"LayerNorm is over the last axis alone, so its width is an integer, not {width!r}")
        self.eps = eps
        self.weight = ops.ones(width, dtype=dtype, device=device).requires_grad_()
        self.bias = ops.zeros(width, dtype=dtype, device=device).requires_grad_()

    def forward(self, x: Tensor) -> Tensor:
        """Every row with mean 0 and variance 1, then scaled and shifted."""
        if x.shape[-1:] != self.weight.shape:
            raise ValueError(f"LayerNorm is over rows of {len(self.weight)}, not of x {x.shape}")
        return functional.layer_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Its width and eps."""
        return f"{self.weight.shape[0]}, eps={self.eps}"
