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

from importlib import import_module
from typing import TYPE_CHECKING, Any

# The array API's dtypes and constants.
from numpy import bool, complex64, complex128, float32, float64, int8, int16, int32, int64

from numpy import e, inf, nan, newaxis, pi, uint8, uint16, uint32, uint64  # isort: skip

from . import autograd, func, nn, ops, optim, standard, tape
from . import tensor as tensor_module
from .autograd import backward, checkpoint, enable_grad, grad, gradcheck, is_grad_enabled, no_grad
from .backend import DeviceError, default_device, set_default_device
from .cell import Cell, Kids, Multiset, cell
from .context import Ragged
from .ops import *  # noqa: F403
from .ops import random
from .ops.random import manual_seed
from .standard import *  # noqa: F403
from .structure import Structure, StructureError, chain, from_networkx, grid, union
from .tape import AnomalyError, GraphError, detect_anomaly
from .tensor import Tensor
from .unfold import Unfolding, unfold

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

_FROM_ELSEWHERE = {  # names of PyTorch and NumPy
    "array": "tensor", "cat": "concat", "clamp": "clip", "concatenate": "concat", "cpu": "to(x, 'cpu')",
    "cumprod": "cumulative_prod", "cumsum": "cumulative_sum", "cuda": "to(x, 'cuda')", "dot": "matmul",
    "double": "astype(x, tg.float64)", "flatten": "reshape", "float": "astype(x, tg.float32)", "from_numpy": "asarray",
    "hstack": "concat", "long": "astype(x, tg.int64)", "mm": "matmul", "mul": "multiply", "norm": "linalg.vector_norm",
    "permute": "permute_dims", "rand": "random.uniform", "randn": "random.normal", "sub": "subtract",
    "t": "matrix_transpose", "transpose": "permute_dims", "unsqueeze": "expand_dims", "view": "reshape",
    "vstack": "concat",
}  # fmt: skip

if TYPE_CHECKING:
    from . import linalg
    from .program.explain import explain


def _program(*args: Any) -> Any:
    """Run an unfolding compiled, if that can be; the compiler is loaded when the first one wants it."""
    from .program import compiled

    Unfolding.program = compiled.run
    return compiled.run(*args)


def __getattr__(name: str) -> Any:
    if name == "explain":
        from .program.explain import explain

        return explain
    if name == "linalg":  # few need it: others should not wait for its import
        return import_module(".linalg", __name__)
    hint = f"; here it is {_FROM_ELSEWHERE[name]}" if name in _FROM_ELSEWHERE else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


Unfolding.program = _program
# Tensors are written without the ops, and the tape without Tensors: here they meet.
tensor_module.ops, tensor_module.autograd, tape.tensors = ops, autograd, ops  # type: ignore[attr-defined]

__all__ = [
    "AnomalyError", "Cell", "DeviceError", "GraphError", "Kids", "Multiset", "Ragged", "Structure", "StructureError",
    "Tensor", "Unfolding", "autograd", "backward", "bool", "cell", "chain", "checkpoint", "complex64", "complex128",
    "default_device", "detect_anomaly", "e", "enable_grad", "explain", "float32", "float64", "from_networkx", "func",
    "grad", "gradcheck", "grid", "inf", "int8", "int16", "int32", "int64", "is_grad_enabled", "linalg", "manual_seed",
    "nan", "newaxis", "nn", "no_grad", "ops", "optim", "pi", "random", "set_default_device", "uint8", "uint16",
    "uint32", "uint64", "unfold", "union",
]  # fmt: skip
__all__ += ops.__all__ + standard.__all__
