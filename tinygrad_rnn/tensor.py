"""The Tensor: an array and, if recorded, its node. Operators and methods are one line each: they call the ops, which
the package binds to this module, so that a Tensor can be written without knowing any of them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import backend, hooks
from .backend import Array
from .gradient import Rows
from .tape import GraphError, Leaf, Node

if TYPE_CHECKING:
    from . import autograd, ops
else:
    ops = autograd = None  # bound by the package

Axis = int | tuple[int, ...] | None


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    Make one with `tinygrad_rnn.tensor`; operations on Tensors that require a gradient are recorded, and `backward()`
    differentiates them.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4., 6.], dtype=float32)
    """

    __slots__ = ("__weakref__", "data", "node")
    __array_ufunc__ = None  # NumPy's operators leave mixed expressions to Tensor's
    __hash__ = object.__hash__

    def __init__(self, data: Array, node: Node | None = None) -> None:
        self.data = data
        self.node = node

    # What it is.
    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return int(self.data.ndim)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self.data.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements."""
        return self.data.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> str:
        """Where its array lives: 'cpu', 'cuda', 'cuda:1'."""
        return backend.device_of(self.data)

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded. Set it on a leaf only."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        self.requires_grad_(requires_grad)

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user rather than by a recorded operation."""
        return self.node is None or type(self.node) is Leaf

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes accumulated: dense, of this shape; on the way, see `retain_grad`."""
        node = self.node
        if type(node) is not Leaf:
            return getattr(hooks.retained(node), "grad", None)
        if node.grad is None:
            return None
        g = node.grad.dense() if type(node.grad) is Rows else node.grad
        return g if type(g) is Tensor else ops.wrap(g)

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if grad is not None and type(self.node) is not Leaf:
            raise GraphError("only a leaf that requires a gradient has .grad; on others, retain_grad() keeps one")
        for what in ("shape", "dtype", "device") if grad is not None else ():
            ours, theirs = getattr(self, what), getattr(grad, what)
            if ours != theirs:
                raise ValueError(f".grad must have the Tensor's {what} {ours}, not {theirs}")
        if type(self.node) is Leaf:
            self.node.grad = grad if grad is None or grad.requires_grad else grad.data
        elif kept := hooks.retained(self.node):
            kept.grad = None

    # Gradients.
    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for a gradient (or, on a leaf, no longer).

        Raises:
            TypeError: its dtype is no real floating one.
            GraphError: it was computed by a recorded operation.
        """
        if requires_grad and self.node is None:
            if self.dtype.kind != "f":
                raise TypeError(
                    f"only real floating Tensors can require a gradient, not {self.dtype}; use astype first"
                )
            self.node = Leaf(self.shape)
        elif not requires_grad:
            if not self.is_leaf:
                raise GraphError("requires_grad can be switched off on leaves only; use detach()")
            self.node = None
        return self

    def backward(self, gradient: Tensor | None = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add d self / d leaf to `.grad` of every leaf that requires it; see `autograd.backward`."""
        autograd.backward(self, gradient, retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> hooks.Hook:
        """Call `hook(gradient)` when this Tensor's gradient is complete; a returned Tensor replaces it.

        Returns:
            what removes the hook, by `remove()` or when it is called.
        """
        if self.node is None:
            raise GraphError("register_hook needs a Tensor that requires a gradient; this one is not recorded")
        return hooks.add_hook(self.node, hook)

    def retain_grad(self) -> None:
        """Keep its gradient in `.grad` though it is no leaf: dL/dh of a state on the way.

        >>> import tinygrad_rnn as tg
        >>> h = tg.tanh(tg.zeros(2).requires_grad_())
        >>> h.retain_grad()
        >>> (3 * h).sum().backward()
        >>> h.grad.tolist()
        [3.0, 3.0]
        """
        if type(self.node) is not Leaf and hooks.retained(self.node) is None:
            self.register_hook(hooks.Retained())

    def detach(self) -> Tensor:
        """The same array, not recorded."""
        return Tensor(self.data)

    def clone(self) -> Tensor:
        """A copy, recorded like any operation."""
        return ops.positive(self)

    # Other places.
    def numpy(self) -> np.ndarray:
        """Its values as a read-only NumPy array: a view on the CPU, a copy from another device."""
        host = backend.of(self.data).to_numpy(self.data).view()
        host.flags.writeable = False
        return host

    def item(self) -> Any:
        """Its one element as a Python scalar."""
        if self.data.size != 1:
            raise ValueError(f"a Tensor of shape {self.shape} has no one element; use .tolist() or .numpy()")
        return self.data.item()

    def tolist(self) -> Any:
        """Its elements as nested lists of Python scalars."""
        return self.data.tolist()

    def to(self, device: Any = None, dtype: Any = None) -> Tensor:
        """The Tensor on a device ('cpu', 'cuda', ...), of a dtype, or both: itself if it is there already."""
        return ops.to(self, device, dtype)

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """`to`, as the array API calls it."""
        return ops.to(self, device)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return sys.modules[__package__]

    def astype(self, dtype: Any) -> Tensor:
        """The Tensor with elements of another dtype: itself if it has that one already."""
        return ops.astype(self, dtype)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return autograd.through_numpy(function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.device != "cpu":
            raise TypeError(f"a Tensor on {self.device} is not converted silently; call .numpy()")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise GraphError("only leaves can be copied deeply; detach() the Tensor first")
        twin = Tensor(self.data.copy(), Leaf(self.shape) if self.requires_grad else None)
        memo[id(self)] = twin
        if isinstance(self.node, Leaf) and isinstance(twin.node, Leaf):
            twin.node.grad = copy.deepcopy(self.node.grad, memo)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise GraphError("only leaves can be pickled; detach() the Tensor first")
        return _restore, (np.array(self.numpy()), self.requires_grad, self.device)

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=100)
        notes = [*([] if self.size or self.ndim < 2 else [f"shape={self.shape}"]), f"dtype={self.dtype}"]
        if self.device != "cpu":
            notes.append(f"device={self.device!r}")
        if self.node is not None:
            notes.append("requires_grad=True" if type(self.node) is Leaf else f"op={self.node.row.name}")
        return f"Tensor({text}, {', '.join(notes)})"

    # One element or many.
    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a Tensor of 0 axes has no len()")
        return int(self.data.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"a Tensor of shape {self.shape} is neither true nor false; use .any() or .all()")
        return bool(self.data.item())

    # fmt: off
    def __int__(self) -> int: return int(self.item())
    def __float__(self) -> float: return float(self.item())
    def __complex__(self) -> complex: return complex(self.item())
    def __format__(self, spec: str) -> str: return format(self.item() if spec else str(self), spec)
    # fmt: on

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only an integer Tensor of one element can be an index, not {self.dtype}")
        return int(self.item())

    def __getitem__(self, key: Any) -> Tensor:
        return ops.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write into a fresh buffer and rebind it: no other Tensor changes."""
        if self.node is not None:
            step = "detach() it first; a step by hand is (p - lr * p.grad).detach().requires_grad_()"
            raise GraphError(f"a recorded Tensor is not assigned into; use where() or concat(), or {step}")
        if isinstance(value, Tensor) and value.node is not None and autograd.is_grad_enabled():
            raise GraphError("the value's gradient would be lost; use where() or concat(), or detach() it first")
        fresh = self.data.copy()
        fresh[ops.raw_index(key, backend.of(fresh))] = value.data if isinstance(value, Tensor) else value
        self.data = fresh

    # Operators. Where they cost most, `ops` puts itself in their place: `__add__` and its like are then the ops.
    # fmt: off
    def __neg__(self) -> Tensor: return ops.negative(self)
    def __pos__(self) -> Tensor: return ops.positive(self)
    def __abs__(self) -> Tensor: return ops.abs(self)
    def __invert__(self) -> Tensor: return ops.bitwise_invert(self)
    def __add__(self, other: Any) -> Tensor: return ops.add(self, other)
    def __radd__(self, other: Any) -> Tensor: return ops.add(other, self)
    def __sub__(self, other: Any) -> Tensor: return ops.subtract(self, other)
    def __rsub__(self, other: Any) -> Tensor: return ops.subtract(other, self)
    def __mul__(self, other: Any) -> Tensor: return ops.multiply(self, other)
    def __rmul__(self, other: Any) -> Tensor: return ops.multiply(other, self)
    def __truediv__(self, other: Any) -> Tensor: return ops.divide(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return ops.divide(other, self)
    def __floordiv__(self, other: Any) -> Tensor: return ops.floor_divide(self, other)
    def __rfloordiv__(self, other: Any) -> Tensor: return ops.floor_divide(other, self)
    def __mod__(self, other: Any) -> Tensor: return ops.remainder(self, other)
    def __rmod__(self, other: Any) -> Tensor: return ops.remainder(other, self)
    def __pow__(self, other: Any) -> Tensor: return ops.pow(self, other)
    def __rpow__(self, other: Any) -> Tensor: return ops.pow(other, self)
    def __matmul__(self, other: Any) -> Tensor: return ops.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return ops.matmul(other, self)
    def __iadd__(self, other: Any) -> Any: return autograd.rebound(self) + other
    def __isub__(self, other: Any) -> Any: return autograd.rebound(self) - other
    def __imul__(self, other: Any) -> Any: return autograd.rebound(self) * other
    def __itruediv__(self, other: Any) -> Any: return autograd.rebound(self) / other
    def __eq__(self, other: Any) -> Any: return NotImplemented if other is None else ops.equal(self, other)
    def __ne__(self, other: Any) -> Any: return NotImplemented if other is None else ops.not_equal(self, other)
    def __lt__(self, other: Any) -> Tensor: return ops.less(self, other)
    def __le__(self, other: Any) -> Tensor: return ops.less_equal(self, other)
    def __gt__(self, other: Any) -> Tensor: return ops.greater(self, other)
    def __ge__(self, other: Any) -> Tensor: return ops.greater_equal(self, other)
    def __and__(self, other: Any) -> Tensor: return ops.bitwise_and(self, other)
    def __rand__(self, other: Any) -> Tensor: return ops.bitwise_and(other, self)
    def __or__(self, other: Any) -> Tensor: return ops.bitwise_or(self, other)
    def __ror__(self, other: Any) -> Tensor: return ops.bitwise_or(other, self)
    def __xor__(self, other: Any) -> Tensor: return ops.bitwise_xor(self, other)
    def __rxor__(self, other: Any) -> Tensor: return ops.bitwise_xor(other, self)
    # fmt: on

    # The functions that read best behind a dot; every other one is in the package's namespace.
    @property
    def T(self) -> Tensor:
        """The transpose of a matrix."""
        if self.ndim != 2:
            raise ValueError(f".T is for matrices, not shape {self.shape}; use .mT or permute_dims")
        return ops.matrix_transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return ops.matrix_transpose(self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over axes."""
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean over axes."""
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The maximum over axes; ties share the gradient."""
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The minimum over axes; ties share the gradient."""
        return ops.min(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The index of the maximum."""
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether any element is true."""
        return ops.any(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether all elements are true."""
        return ops.all(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """The same elements in another shape; one length may be -1."""
        return ops.reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)  # type: ignore[arg-type]

    def squeeze(self, axis: int | tuple[int, ...]) -> Tensor:
        """Axes of length 1 removed."""
        return ops.squeeze(self, axis)

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return ops.sqrt(self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(self)


def _restore(values: np.ndarray, requires_grad: bool, device: str) -> Tensor:
    return Tensor(backend.named(device).from_numpy(values)).requires_grad_(requires_grad)
