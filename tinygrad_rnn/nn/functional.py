"""Functions of layers and losses. Axes are `axis`; activations and softmax are the package's ops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, ops
from ..ops import linear as linear
from ..ops import log_softmax as log_softmax
from ..ops import logsumexp as logsumexp
from ..ops import one_hot as one_hot
from ..ops import random
from ..ops import relu as relu
from ..ops import sigmoid as sigmoid
from ..ops import softmax as softmax
from ..ops import softplus as softplus
from ..ops import tanh as tanh
from ..tensor import Tensor


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Each element 0 with probability p, else divided by 1 - p (Srivastava et al. 2014); x itself without `training`.

    Raises:
        ValueError: p is no probability.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is the probability of a zero, from 0 to 1, not {p}")
    if not training or p == 0:
        return x
    kept = random.bernoulli(x.shape, 1 - p, dtype=x.dtype, device=x.device)
    return x * (kept * (1 / (1 - p) if p < 1 else 0.0))


def embedding(ids: Any, weight: Tensor) -> Tensor:
    """The rows of weight [V, D] that integer ids [...] name -> [..., D]; their gradient stays rows.

    Raises:
        IndexError: an id is negative or too large.
        TypeError: the ids are no integers.
    """
    ids = ids_of(ids, weight.device)
    check_ids("Embedding's input", ids, weight.shape[0])
    rows = ops.gather_rows(weight, ops.reshape(ids, -1))
    return ops.reshape(rows, (*ids.shape, rows.shape[1])) if ids.ndim != 1 else rows


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over the last axis, times weight, plus bias (Ba et al. 2016, arXiv 1607.06450).

    >>> layer_norm(ops.tensor([[1.0, 3.0]])).numpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    normal = centred / ops.sqrt(variance + eps)
    normal = normal if weight is None else normal * weight
    return normal if bias is None else normal + bias


def _reduced(
    name: str, losses: Tensor, reduction: str, count: int | None = None, shape: tuple[int, ...] | None = None
) -> Tensor:
    """Losses summed or averaged over `count`, or in `shape` one by one."""
    if reduction == "none":
        return losses if shape is None else ops.reshape(losses, shape)
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{name}: reduction is 'mean', 'sum' or 'none', not {reduction!r}")
    total = ops.sum(losses)
    return total if reduction == "sum" else total / (losses.size if count is None else count)


def _same_shape(name: str, prediction: Tensor, target: Any) -> Tensor:
    """The target as a Tensor beside the prediction; broadcasting one of them would be a mistake unseen."""
    wanted: Tensor = target if isinstance(target, Tensor) else ops.asarray(target, prediction.dtype, prediction.device)
    if wanted.shape != prediction.shape:
        raise ValueError(
            f"{name}: the prediction has shape {prediction.shape}, the target {wanted.shape}; make them equal"
        )
    return wanted


def ids_of(ids: Any, device: str) -> Tensor:
    """Ids as a Tensor: lists and arrays on this device, a Tensor where it is."""
    if isinstance(ids, Tensor):
        return ids
    found = ops.asarray(ids, device=device)
    return found if found.size or not isinstance(ids, list) else found.astype(np.int64)  # no list of floats


def check_ids(name: str, ids: Tensor, count: int) -> None:
    """Refuse what is no integer from 0 to count - 1; a negative one would count from the end, unseen."""
    _check_bounds(name, *_bounds(name, ids), count)


def _bounds(name: str, ids: Tensor) -> tuple[int, int]:
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integer ids, not {ids.dtype}")
    xp = backend.of(ids.data)
    return (int(xp.min(ids.data)), int(xp.max(ids.data))) if ids.data.size else (0, -1)


def _check_bounds(name: str, low: int, high: int, count: int) -> None:
    if low < 0 or high >= count:
        raise IndexError(f"{name}: id {low if low < 0 else high} is out of range; there are {count}, from 0")


def cross_entropy(logits: Tensor, targets: Any, reduction: str = "mean", ignore_index: int = -100) -> Tensor:
    """-log softmax(logits)[target]: logits [..., C], targets [...] of class ids -> a scalar, or [...] for "none".

    Args:
        targets: integers, a Tensor, an array or lists; or probabilities [..., C], floats, for -sum of t log softmax.
        reduction: "mean" (over the targets that count), "sum" or "none".
        ignore_index: a target that does not count: its loss is 0.

    Raises:
        ValueError: the shapes do not fit, or the reduction is unknown.
        IndexError: a target is no class.
        TypeError: the targets are neither integers nor probabilities.

    >>> cross_entropy(ops.zeros((1, 4)), [2])  # log(4)
    Tensor(1.3862944, dtype=float32)
    """
    logits = ops.as_tensor(logits)
    given = ids_of(targets, logits.device)
    if given.dtype.kind == "f" and given.shape == logits.shape:
        given = _same_shape("cross_entropy", logits, targets)
        return _reduced("cross_entropy", -ops.sum(given * ops.log_softmax(logits), axis=-1), reduction)
    kept, counts, shape = _targets("cross_entropy", logits, targets, ignore_index)
    rows = logits if logits.ndim == 2 else ops.reshape(logits, (-1, logits.shape[-1]))
    losses = ops.cross_entropy(rows, Tensor(kept))
    return _counted("cross_entropy", losses, counts, reduction, shape)


def nll_loss(log_probabilities: Tensor, targets: Any, reduction: str = "mean", ignore_index: int = -100) -> Tensor:
    """The negative log-probability of each target; arguments as `cross_entropy` has them."""
    kept, counts, shape = _targets("nll_loss", log_probabilities, targets, ignore_index)
    classes, xp = log_probabilities.shape[-1], backend.of(kept)
    # Rows of one long column: their gradient is scattered as rows, whatever the device.
    index = Tensor(xp.arange(0, len(kept) * classes, classes) + kept)
    losses = -ops.gather_rows(ops.reshape(log_probabilities, -1), index)
    return _counted("nll_loss", losses, counts, reduction, shape)


def _targets(name: str, scores: Tensor, targets: Any, ignore_index: int) -> tuple[Any, Any, tuple[int, ...]]:
    """(the class of each row of scores as an int64 array, which of them count or None if all do, the targets' shape).

    Raises:
        ValueError, IndexError, TypeError: see `cross_entropy`.
    """
    target, shape = ids_of(targets, scores.device), scores.shape
    classes = shape[-1] if shape else 0
    if target.shape != shape[:-1] or not classes:
        raise ValueError(
            f"{name} takes scores [..., C] and a class id for each row of them, not shapes {scores.shape} "
            f"and {target.shape}"
        )
    what, xp = f"{name}'s targets", backend.of(target.data)
    ids = xp.reshape(target.data, (-1,))
    low, high = _bounds(what, target)
    counts = ids != ignore_index if low <= ignore_index <= high else None
    if counts is not None:
        ids = xp.where(counts, ids, 0)
        low, high = _bounds(what, Tensor(ids))
    _check_bounds(what, low, high, classes)
    return xp.astype(ids, np.int64), counts, shape[:-1]


def _counted(name: str, losses: Tensor, counts: Any, reduction: str, shape: tuple[int, ...]) -> Tensor:
    if counts is None:
        return _reduced(name, losses, reduction, losses.size, shape)
    return _reduced(name, ops.where(Tensor(counts), losses, 0.0), reduction, int(counts.sum()), shape)


def mse_loss(prediction: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """(prediction - target)^2, of one shape."""
    target = _same_shape("mse_loss", prediction, target)
    return _reduced("mse_loss", ops.square(prediction - target), reduction)


def binary_cross_entropy_with_logits(logits: Tensor, targets: Any, reduction: str = "mean") -> Tensor:
    """-t log s(x) - (1 - t) log(1 - s(x)) for targets t from 0 to 1, exact for large |x|."""
    targets = _same_shape("binary_cross_entropy_with_logits", logits, targets)
    losses = targets * ops.softplus(-logits) + (1 - targets) * ops.softplus(logits)
    return _reduced("binary_cross_entropy_with_logits", losses, reduction)


def gaussian_nll(prediction: Tensor, target: Any, variance: float | Tensor = 1.0, reduction: str = "mean") -> Tensor:
    """-log N(target; prediction, variance), constant included: with variance 1 half the squared error + log(2 pi)/2.

    Goodfellow, Bengio & Courville, section 10.2.3.
    """
    target = _same_shape("gaussian_nll", prediction, target)
    log_variance = ops.log(variance) if isinstance(variance, Tensor) else math.log(variance)
    losses = (ops.square(prediction - target) / variance + log_variance + math.log(2 * math.pi)) * 0.5
    return _reduced("gaussian_nll", losses, reduction)


def l1_loss(prediction: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """|prediction - target|, of one shape."""
    return _reduced("l1_loss", ops.abs(prediction - _same_shape("l1_loss", prediction, target)), reduction)
