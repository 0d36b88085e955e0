"""How an op becomes a Tensor: operands of one dtype and device, the backend's function, and the record of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from .. import backend, tape
from ..backend import Array, DeviceError
from ..tape import Node, Row, thread
from ..tensor import Tensor
from .derivatives import TABLE

Like = Tensor | Array | complex
DEFAULT_FLOAT = np.dtype(np.float32)
INTEGERS = (int, np.integer)
_WEAK = (bool, int, float, complex)
# What to do about it, by words of NumPy's errors.
_REMEDIES = {
    "broadcast": "lengths of an axis must be equal, or one of them 1",
    "is out of bounds": "axes count from 0, or from the last as -1",
    "Size of label": "a letter stands for one length in all operands",
    "must match exactly": "all axes but the one that is joined must be equally long",
    "same number of dimensions": "give all as many axes, with reshape or expand_dims",
    "cannot reshape": "as many elements must come out as go in; one length may be -1",
}


def wrap(array: Array, node: Node | None = None) -> Tensor:
    """An array (or NumPy scalar) as a Tensor with a node."""
    return Tensor(array if backend.known(array) else backend.of(array).asarray(array), node)


def as_tensor(value: Any, dtype: Any = None) -> Tensor:
    """A Tensor or array as it is; anything else as a constant of `dtype`, by default float32 for Python floats."""
    if value.__class__ is Tensor:
        return value
    if backend.known(value):
        if isinstance(value, ndarray) and (type(value) is not ndarray or not value.dtype.isnative):
            value = np.asarray(value, value.dtype.newbyteorder("="))  # memmap, matrix, masked arrays; big-endian ones
        return Tensor(value)
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "_fields") and any(isinstance(v, Tensor) for v in value):
        raise TypeError(f"a state of {', '.join(value._fields)} is no Tensor: read one of them, as .{value._fields[0]}")
    array = np.asarray(value) if not isinstance(value, list | tuple) else _from_nested(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"a Tensor holds numbers, not {type(value).__name__} with elements of dtype {array.dtype}")
    if dtype is not None:
        array = array.astype(dtype)
    elif not isinstance(value, np.generic | np.ndarray) and array.dtype.kind in "fc":
        kept = [v.dtype for v in value if isinstance(v, Tensor) and v.dtype.kind in "fc"] if array.ndim else []
        array = array.astype(np.result_type(DEFAULT_FLOAT if array.dtype.kind == "f" else np.complex64, *kept))
    return Tensor(backend.named(None).from_numpy(array))


def _from_nested(value: Sequence[Any]) -> np.ndarray:
    tensors = [v for v in value if isinstance(v, Tensor)]
    if thread.now.recording and any(v.node is not None for v in tensors):
        raise tape.GraphError("an array of recorded Tensors has no gradient: join them with tg.stack, or detach() them")
    try:
        return np.asarray([v.numpy() if isinstance(v, Tensor) else v for v in value] if tensors else value)
    except ValueError as error:
        raise ValueError(f"the nested lists are ragged ({error}); every row needs the same length") from error


def record(row: Row, out: Array, parents: tuple[Node | None, ...], saved: tuple[Any, ...]) -> Tensor:
    """The result of an op as a Tensor, on the tape if any parent is and recording is on."""
    now = thread.now
    node = None
    if now.recording:
        for parent in parents:
            if parent is not None:
                node = Node(row, parents, saved, out.shape, now.scope)
                break
    if now.anomaly:
        tape.check_finite(row, out, node)
    return Tensor(out, node)


def output(out: Array, bundle: Node, number: int) -> Tensor:
    """One result of an operation that has several, whose node is `bundle`."""
    return Tensor(out, Node(TABLE["output"], (bundle,), (number,), out.shape, bundle.scope))


def plain(name: str, *operands: Like, **options: Any) -> Tensor:
    """An op without a derivative: nothing is recorded."""
    operands = promote(name, *operands) if len(operands) == 2 else tuple(map(as_tensor, operands))
    arrays = [x.data if isinstance(x, Tensor) else x for x in operands]
    xp = backend.of(next(a for a in arrays if backend.known(a)))
    try:
        return Tensor(xp.asarray(getattr(xp, name)(*arrays, **options)))
    except Exception as error:
        raise explain(error, name, *operands) from error


def astype(x: Like, dtype: Any, *, copy: bool = False) -> Tensor:
    """x with elements of another dtype: without `copy` the Tensor itself if it has that one already.

    >>> astype([1, 2], "float64").dtype
    dtype('float64')
    """
    x = as_tensor(x)
    dtype = np.dtype(dtype)
    if x.data.dtype == dtype:
        return record(TABLE["positive"], backend.of(x.data).astype(x.data, dtype), (x.node,), ()) if copy else x
    parent = x.node if dtype.kind == "f" else None
    return record(TABLE["astype"], backend.of(x.data).astype(x.data, dtype), (parent,), (x.data.dtype,))


def result_dtype(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that arrays of these are computed in: a floating one beats an integer one, whatever their sizes."""
    strongest = max("biufc".index(d.kind.replace("u", "i")) for d in dtypes)
    kinds = "fc" if strongest == 4 else "biufc"[strongest].replace("i", "iu")
    return np.result_type(*(d for d in dtypes if d.kind in kinds))


def promote(name: str, x1: Any, x2: Any) -> tuple[Any, Any]:
    """Two operands made to fit: Python and NumPy scalars stay weak scalars, Tensors get one dtype and share a device.

    Raises:
        DeviceError: the Tensors live on two devices.
    """
    x1, x2 = _weak_or_tensor(x1), _weak_or_tensor(x2)
    if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):
        x1 = as_tensor(x1)
    if isinstance(x1, Tensor) and isinstance(x2, Tensor):
        one_device(name, (x1, x2))
        dtype = result_dtype(x1.data.dtype, x2.data.dtype)
        x1, x2 = astype(x1, dtype), astype(x2, dtype)
    else:
        x1, x2 = (_room_for(x1, x2), x2) if isinstance(x1, Tensor) else (x1, _room_for(x2, x1))
    return x1, x2


def _weak_or_tensor(x: Any) -> Any:
    x = x.item() if isinstance(x, np.generic) else x
    return x if type(x) in _WEAK else as_tensor(x)


def _room_for(x: Tensor, scalar: complex) -> Tensor:
    """x in a dtype that can hold a weak scalar's kind."""
    if type(scalar) is complex:
        return astype(x, np.result_type(x.data.dtype if x.data.dtype.kind in "fc" else DEFAULT_FLOAT, np.complex64))
    if type(scalar) is float and x.data.dtype.kind in "biu":
        return astype(x, DEFAULT_FLOAT)
    return x


def same_place(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Several Tensors with one dtype on one device, for ops of many arguments.

    Raises:
        DeviceError: they live on different devices.
    """
    first = tensors[0].data
    dtype, kind = first.dtype, first.__class__
    for x in tensors:
        if x.data.dtype is not dtype or x.data.__class__ is not kind:
            break
    else:
        return list(tensors)
    one_device(name, tensors)
    dtype = result_dtype(*(x.data.dtype for x in tensors))
    return [astype(x, dtype) for x in tensors]


def one_device(name: str, tensors: Sequence[Tensor]) -> None:
    """Refuse Tensors of different devices.

    Raises:
        DeviceError: they live on two; the message names them.
    """
    first = tensors[0]
    for other in tensors[1:]:
        if other.data.__class__ is not first.data.__class__:
            raise DeviceError(f"{name}: Tensors on {first.device} and {other.device}; move one with .to(){_where()}")


def axis_of(name: str, x: Tensor, axis: int) -> int:
    """An axis as a number >= 0.

    Raises:
        IndexError: there is no such axis.
    """
    ndim: int = x.data.ndim
    if not -ndim <= axis < ndim:
        raise IndexError(f"{name}: axis {axis} is out of range for shape {x.shape}")
    return int(axis) % ndim


def _where() -> str:
    return f" [{thread.now.scope}]" if thread.now.scope else ""


def explain(error: Exception, name: str, *operands: Any) -> Exception:
    """The backend's error once more, with the op, the shapes and dtypes, and the cell and level it happened in."""
    shown = ", ".join(
        f"{list(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__ + " " + str(x) for x in operands
    )
    kind = type(error) if type(error) in (ValueError, IndexError, TypeError, OverflowError) else ValueError
    text = str(error).strip().removesuffix(".")
    remedy = next((f"; {remedy}" for words, remedy in _REMEDIES.items() if words in text), "")
    return kind(f"{name}({shown}): {text}{remedy}{_where()}")
