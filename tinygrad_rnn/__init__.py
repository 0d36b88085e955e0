"""Reverse-mode autograd for structure: chains, grids, trees and any acyclic graph, on NumPy and CuPy.

A *structure* (which vertex depends on which, in which slot) times a *cell* (how one vertex is computed from its input
and its predecessors' states) *unfolds*, level by level, into an ordinary graph, and one *tape* differentiates it.

Letters of shapes, wherever they stand: T steps, B examples in a batch, I input width, H hidden width, C classes,
N vertices (or rows), E edges.

>>> import tinygrad_rnn as tg
>>> x = tg.tensor([[1.0, 2.0]], requires_grad=True)
>>> y = (x @ tg.ones((2, 1))).tanh().sum()
>>> y.backward()
>>> x.grad.shape
(1, 2)
"""

from typing import TYPE_CHECKING, Any

from . import autograd, func, nn, ops, optim, tape
from . import tensor as tensor_module
from .autograd import backward, checkpoint, enable_grad, grad, gradcheck, is_grad_enabled, no_grad
from .backend import DeviceError, default_device, set_default_device
from .cell import Cell, Kids, Multiset, cell
from .context import Ragged
from .ops import *  # noqa: F403
from .ops import random
from .ops.random import manual_seed
from .structure import Structure, StructureError, chain, from_networkx, grid, union
from .tape import AnomalyError, GraphError, detect_anomaly
from .tensor import Tensor
from .unfold import Unfolding, unfold

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .program.explain import explain


def _program(*args: Any) -> bool:
    """Run an unfolding compiled, if that can be; the compiler is loaded when the first one wants it."""
    from .program import compiled

    Unfolding.program = compiled.run
    return compiled.run(*args)


def __getattr__(name: str) -> Any:
    if name == "explain":
        from .program.explain import explain

        return explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


Unfolding.program = _program
# Tensors are written without the ops, and the tape without Tensors: here they meet.
tensor_module.ops, tensor_module.autograd, tape.tensors = ops, autograd, ops  # type: ignore[attr-defined]

__all__ = [
    "AnomalyError", "Cell", "DeviceError", "GraphError", "Kids", "Multiset", "Ragged", "Structure", "StructureError",
    "Tensor", "Unfolding", "autograd", "backward", "cell", "chain", "checkpoint", "default_device", "detect_anomaly",
    "enable_grad", "explain", "from_networkx", "func", "grad", "gradcheck", "grid", "is_grad_enabled", "manual_seed",
    "nn", "no_grad", "ops", "optim", "random", "set_default_device", "unfold", "union",
]  # fmt: skip
__all__ += ops.__all__
