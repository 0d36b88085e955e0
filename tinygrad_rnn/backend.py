"""Where arrays live. One `Backend` per array library: the array API's functions by their standard names, and the few
beside them that recurrent nets need. The only file that names CuPy."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

Array = Any  # a NumPy array, a CuPy array or the stand-in of a trace: whatever a Backend computes with
Span = tuple[int, int, int]  # (axis, start, stop): a slice along one axis

# Names of the array API that CuPy's main namespace may still spell the old way.
_OLD_NAMES = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atan2": "arctan2",
    "atanh": "arctanh", "bitwise_invert": "invert", "bitwise_left_shift": "left_shift", "pow": "power",
    "bitwise_right_shift": "right_shift", "concat": "concatenate", "permute_dims": "transpose",
}  # fmt: skip


class Backend:
    """The functions of one array library: any name of its module (`xp.tanh`), plus the methods below.

    Args:
        name: the device's name, such as "cpu" or "cuda".
        module: the array library's namespace.
        array: the type of its arrays.
        to_numpy, from_numpy: the two ways across.
        erf: the error function, elementwise; NumPy has none.
    """

    def __init__(
        self,
        name: str,
        module: Any,
        array: type,
        to_numpy: Callable[[Array], np.ndarray],
        from_numpy: Callable[[np.ndarray], Array],
        erf: Callable[[Array], Array] | None = None,
    ) -> None:
        self.name, self.module, self.array = name, module, array
        self.to_numpy, self.from_numpy = to_numpy, from_numpy
        self.erf = erf or self._erf_on_host

    def __getattr__(self, name: str) -> Any:
        """A function of the module, found once and then kept, so that the hot path pays one dict look-up."""
        module = self.__dict__["module"]
        found = getattr(module, name, None)
        if found is None:
            found = getattr(module, _OLD_NAMES.get(name, name))
        setattr(self, name, found)
        return found

    def _erf_on_host(self, x: Array) -> Array:
        host = self.to_numpy(self.asarray(x))
        dtype = host.dtype if host.dtype.kind == "f" else np.float64
        values = np.fromiter(map(math.erf, host.ravel().tolist()), dtype, count=host.size)
        return self.from_numpy(values.reshape(host.shape))

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), which is 0 where exp overflows."""
        with np.errstate(over="ignore", under="ignore"):
            return 1 / (1 + self.exp(x * -1.0))

    def matmul(self, a: Array, b: Array) -> Array:
        """The matrix product; an operand whose rows are all one row (stride 0) is multiplied once.

        That is how an empty slot or a missing input costs nothing: it reads one row, broadcast over the level.
        """
        if a.ndim == 2 and b.ndim == 2 and b.size:
            rows, inner = a.shape
            across, down = a.strides
            if rows > 1 and not across:
                return self.broadcast_to(self.module.matmul(a[:1], b), (rows, b.shape[1]))
            if inner == b.shape[0] > 1:
                if not down:
                    return a[:, :1] * b.sum(axis=0, dtype=b.dtype)
                if not b.strides[0]:
                    return a.sum(axis=1, dtype=a.dtype)[:, None] * b[:1]
                if 2 < rows <= 64 and a.__class__ is np.ndarray and b.strides[0] == b.itemsize < b.strides[1]:
                    # For a few rows OpenBLAS is slow with a transposed right operand: (b^T a^T)^T takes half the time.
                    return np.ascontiguousarray(np.matmul(b.T, a.T).T)
            if a.__class__ is np.ndarray:
                return a.dot(b)  # the same product; matmul takes longer to get to it
        return self.module.matmul(a, b)

    def gather_rows(self, x: Array, index: Array) -> Array:
        """x[index] along axis 0: index [E] of integers -> [E, ...]."""
        return self.take(x, index, axis=0)

    def scatter_add_rows(self, rows: Array, index: Array, count: int) -> Array:
        """The adjoint of `gather_rows`: out [count, ...] with out[i] = sum of the rows whose index is i."""
        out = self.zeros((count, *rows.shape[1:]), dtype=rows.dtype)
        return self._reduce_into(out, "add", rows, index)

    def segment_max(self, rows: Array, index: Array, count: int, initial: float) -> Array:
        """out [count, ...] with out[i] = the maximum of the rows whose index is i, or `initial` if there is none."""
        out = self.full((count, *rows.shape[1:]), initial, dtype=rows.dtype)
        return self._reduce_into(out, "maximum", rows, index)

    def _reduce_into(self, out: Array, ufunc: str, rows: Array, index: Array) -> Array:
        if self.module is not np:
            getattr(self.module, ufunc).at(out, index, rows)
        elif len(index):
            # Sorting and one reduceat is several times faster than NumPy's ufunc.at on rows.
            steps = np.diff(index)
            if (steps < 0).any():
                order = np.argsort(index, kind="stable")
                rows, index = rows[order], index[order]
                steps = np.diff(index)
            starts = np.concatenate((np.zeros(1, np.intp), np.flatnonzero(steps) + 1))
            if len(starts) < len(index):
                rows, index = getattr(np, ufunc).reduceat(rows, starts, axis=0), index[starts]
            out[index] = rows
        return out

    def gather_blocks(self, blocks: Sequence[Array], places: Sequence[tuple[Any, Any]], count: int) -> Array:
        """Rows of several blocks as one array: out[where] = blocks[b][rows] for each (where, rows) = places[b]."""
        first = blocks[0]
        out = self.empty((count, *first.shape[1:]), dtype=first.dtype)
        for block, (where, rows) in zip(blocks, places, strict=True):
            out[where] = block[rows]
        return out

    def assemble(self, keys: Sequence[Any], values: Sequence[Array], shape: tuple[int, ...]) -> Array:
        """The sum of parts, each added to zeros of `shape` at its key: a `Span`, row indices [E], or any index."""
        if all(type(key) is tuple and type(key[0]) is int for key in keys):
            tiles = sorted(zip(keys, values, strict=True), key=lambda tile: tile[0])
            if _tiles(tiles, shape):
                return self.concat([value for _, value in tiles], axis=tiles[0][0][0])
        out = self.zeros(shape, dtype=values[0].dtype)
        rows = [i for i, key in enumerate(keys) if type(key) is self.array]
        if rows:
            index = self.concat([keys[i] for i in rows]) if len(rows) > 1 else keys[rows[0]]
            picked = self.concat([values[i] for i in rows]) if len(rows) > 1 else values[rows[0]]
            out = self.scatter_add_rows(picked, index, shape[0])
        for key, value in zip(keys, values, strict=True):
            if type(key) is self.array:
                continue
            if type(key) is tuple and type(key[0]) is int:
                axis, start, stop = key
                out[(slice(None),) * axis + (slice(start, stop),)] += value
            elif key.repeats:
                self.module.add.at(out, key.index, value)
            else:
                out[key.index] += value
        return out

    def part(self, x: Array, key: Any) -> Array:
        """The part of an array at a key, as `assemble` has them."""
        if type(key) is tuple and type(key[0]) is int:
            axis, start, stop = key
            return x[(slice(None),) * axis + (slice(start, stop),)]
        return x[key.index] if type(key) is Index else self.gather_rows(x, key)

    def to(self, x: Array, device: str) -> Array:
        """The array on another device."""
        return named(device).from_numpy(self.to_numpy(x))


class Index:
    """A general index as the key of a part. `repeats`: it may name one element twice (integer arrays)."""

    __slots__ = ("index", "repeats")

    def __init__(self, index: Any, repeats: bool) -> None:
        self.index, self.repeats = index, repeats


def _tiles(tiles: Sequence[tuple[Span, Array]], shape: tuple[int, ...]) -> bool:
    """Whether sorted spans cover one axis of `shape` without gap or overlap."""
    axis, at, _ = tiles[0][0]
    if at != 0:
        return False
    for (a, start, stop), _ in tiles:
        if a != axis or start != at:
            return False
        at = stop
    return at == shape[axis]


def _repeated(x: Array, shape: tuple[int, ...]) -> Array:
    """np.broadcast_to, which takes twice as long where the array lies in one piece."""
    lead = len(shape) - x.ndim if x.__class__ is np.ndarray and x.flags.c_contiguous and x.size else -1
    if lead < 0:
        return np.broadcast_to(x, shape)
    strides = [0] * lead
    for have, wanted, stride in zip(x.shape, shape[lead:], x.strides, strict=True):
        if have != wanted and have != 1:
            return np.broadcast_to(x, shape)
        strides.append(0 if have == 1 else stride)
    out: Array = np.ndarray(shape, x.dtype, x, 0, strides)
    out.flags.writeable = False
    return out


_add: Any = np.add.reduce


def _sum(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """np.sum; of a matrix along one axis by a product with ones, in half the time or, if it is narrow, a tenth."""
    along = axis[0] if type(axis) is tuple and len(axis) == 1 else axis
    # Any other matrix BLAS would copy first.
    if x.ndim == 2 and x.size > 1023 and along in (0, 1, -1) and x.dtype.char in "fd" and min(x.strides) == x.itemsize:
        out: Array = x.dot(np.ones(x.shape[1], x.dtype)) if along else np.ones(len(x), x.dtype).dot(x)
        return np.expand_dims(out, along) if keepdims else out
    return _add(x, axis, None, None, keepdims)


def _reduction(ufunc: Any) -> Callable[..., Array]:
    return lambda x, axis=None, keepdims=False: ufunc.reduce(x, axis, None, None, keepdims)


NUMPY = Backend("cpu", np, np.ndarray, lambda a: a, lambda a: a)
vars(NUMPY).update(  # NumPy's own take longer to begin; these reductions know only axis and keepdims
    {name: _reduction(ufunc) for name, ufunc in (("max", np.maximum), ("min", np.minimum))}, sum=_sum,
    broadcast_to=_repeated, matrix_transpose=lambda x: x.swapaxes(-1, -2), reshape=lambda x, shape: x.reshape(shape),
)  # fmt: skip
_by_type: dict[type, Backend] = {np.ndarray: NUMPY}
_by_name: dict[str, Backend] = {"cpu": NUMPY}
_default = "cpu"


class DeviceError(RuntimeError):
    """A device that is not there, or arrays of two devices in one operation."""


class _Thread(threading.local):
    stand_in: Any = None  # what makes arrays in place of every device, while a cell is traced


_thread = _Thread()


def stand_ins(array: type, xp: Any) -> None:
    """Make `xp` the backend of arrays that only stand for others: the Values of a trace."""
    _by_type[array] = xp


@contextmanager
def standing_in(xp: Any) -> Iterator[None]:
    """Inside, this thread makes its new arrays with `xp`, whatever device is named."""
    before, _thread.stand_in = _thread.stand_in, xp
    try:
        yield
    finally:
        _thread.stand_in = before


def register(added: Backend) -> Backend:
    """Add an array library under its device name."""
    _by_type[added.array] = _by_name[added.name] = added
    return added


def _register_cupy() -> Backend:
    try:
        import cupy
        from cupyx.scipy.special import erf

        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise DeviceError(
            f"device 'cuda' needs CuPy and an NVIDIA GPU ({type(error).__name__}: {error}); "
            "pip install 'cupy-cuda12x[ctk]' or 'cupy-cuda13x[ctk]', or use device='cpu'"
        ) from error
    return register(Backend("cuda", cupy, cupy.ndarray, cupy.asnumpy, cupy.asarray, erf))


def named(device: str | None) -> Backend:
    """The backend of a device: 'cpu', 'cuda', 'cuda:1' (None: the default device).

    Raises:
        DeviceError: no such device, or it is not available on this machine.
    """
    name, _, number = (device or _default).partition(":")
    if (name != "cuda" and (number or name not in _by_name)) or not (number or "0").isdigit():
        raise DeviceError(f"unknown device {device!r}; use one of 'cpu', 'cuda', 'cuda:1'")
    found = _by_name.get(name) or _register_cupy()
    if number:
        found.cuda.Device(int(number)).use()
    if _thread.stand_in is None:
        return found
    if found is not NUMPY:
        raise DeviceError(f"what stands in for arrays while a cell is traced is on the CPU, not on {device!r}")
    return _thread.stand_in  # type: ignore[no-any-return]


def of(array: Array) -> Backend:
    """The backend of an array (NumPy's scalars count as NumPy's arrays).

    Raises:
        TypeError: not an array of any known library.
    """
    found = _by_type.get(type(array))
    if found is not None:
        return found
    if isinstance(array, np.ndarray | np.generic):
        return NUMPY
    if type(array).__module__.partition(".")[0] == "cupy":
        return _register_cupy()
    name = type(array).__name__
    remedy = "a Tensor's .data takes y.data" if name == "Tensor" else "numpy.asarray or tg.tensor makes one of it"
    raise TypeError(f"{name} is no array of NumPy or CuPy; {remedy}")


def known(value: object) -> bool:
    """Whether `value` is an array of a registered library."""
    return type(value) in _by_type or isinstance(value, np.ndarray)


def device_of(array: Array) -> str:
    """'cpu', 'cuda' (the first GPU), 'cuda:1', ..."""
    found = of(array)
    if found is NUMPY:
        return "cpu"
    number = getattr(getattr(array, "device", None), "id", 0)
    return found.name if not number else f"{found.name}:{number}"


def set_default_device(device: str) -> None:
    """Where `tensor`, `zeros`, modules... make their arrays when no `device` is given.

    Raises:
        DeviceError: no such device.
    """
    global _default
    named(device)
    _default = device


def default_device() -> str:
    """The device that new arrays are made on when none is named."""
    return _default
