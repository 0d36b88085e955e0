"""Random numbers. They are drawn on the host, so that a seed gives the same numbers on every device.

Outside an unfolding one generator serves all. Inside, each random op of a cell has a stream of its own, split from the
unfolding's seed and drawn in the order of the vertices: however a cell is run, it draws the same masks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from .. import backend
from ..tape import thread
from ..tensor import Tensor
from .recording import DEFAULT_FLOAT

Shape = int | Sequence[int]


@cache
def _shared() -> np.random.Generator:
    # Made when first asked for: importing numpy.random would be a good part of importing this package.
    return np.random.Generator(np.random.PCG64())


class Streams:
    """The random streams of one unfolding: the k-th random op of every cell call draws from the k-th stream."""

    def __init__(self, seed: int) -> None:
        self.seed, self.site = seed, 0
        self.generators: list[np.random.Generator] = []

    def next(self) -> np.random.Generator:
        """The stream of the next random op of the running cell call."""
        while self.site >= len(self.generators):
            self.generators.append(np.random.Generator(np.random.PCG64([self.seed, len(self.generators)])))
        self.site += 1
        return self.generators[self.site - 1]


def manual_seed(seed: int) -> None:
    """Start the shared generator again from a seed.

    >>> manual_seed(0)
    >>> a = uniform(3)
    >>> manual_seed(0)
    >>> bool((a == uniform(3)).all())
    True
    """
    _shared().bit_generator.state = np.random.PCG64(seed).state


def get_state() -> dict[str, Any]:
    """The shared generator's state, as JSON can hold it."""
    return copy.deepcopy(dict(_shared().bit_generator.state))


def set_state(saved: dict[str, Any]) -> None:
    """Go on from a state that `get_state` gave.

    Raises:
        ValueError: it is no such state.
    """
    try:
        _shared().bit_generator.state = saved
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"not a state of the random generator: {error}") from error


def generator() -> np.random.Generator:
    """The generator to draw from now: the running cell call's next stream, else the shared one."""
    return _shared() if thread.now.streams is None else thread.now.streams.next()


def drawn_seed() -> int:
    """A seed for streams of their own: what `generator().integers(2**63)` gives, in a sixth of the time."""
    return generator().bit_generator.random_raw() >> 1


def snapshot() -> tuple[dict[str, Any], Streams | None]:
    """All that later draws depend on, for `replay`."""
    return get_state(), copy.deepcopy(thread.now.streams)


@contextmanager
def replay(before: tuple[dict[str, Any], Streams | None]) -> Iterator[None]:
    """Inside, draw what was drawn after the snapshot; afterwards go on as if nothing had been."""
    now, streams = get_state(), thread.now.streams
    set_state(before[0])
    thread.now.streams = copy.deepcopy(before[1])
    try:
        yield
    finally:
        set_state(now)
        thread.now.streams = streams


def _made(values: np.ndarray, dtype: Any, device: str | None) -> Tensor:
    return Tensor(backend.named(device).from_numpy(values.astype(np.dtype(dtype or DEFAULT_FLOAT), copy=False)))


def _drawn(dtype: Any) -> Any:
    # float32 is drawn as such: half the time, and no copy.
    return np.float32 if np.dtype(dtype or DEFAULT_FLOAT) == np.float32 else np.float64


def uniform(
    shape: Shape, low: float = 0.0, high: float = 1.0, *, dtype: Any = None, device: str | None = None
) -> Tensor:
    """Numbers drawn evenly from low (included) to high."""
    values = generator().random(shape, dtype=_drawn(dtype))
    return _made(values * (high - low) + low if (low, high) != (0.0, 1.0) else values, dtype, device)


def normal(
    shape: Shape, mean: float = 0.0, std: float = 1.0, *, dtype: Any = None, device: str | None = None
) -> Tensor:
    """Numbers drawn from a normal distribution."""
    values = generator().standard_normal(shape, dtype=_drawn(dtype))
    return _made(values * std + mean if (mean, std) != (0.0, 1.0) else values, dtype, device)


def bernoulli(shape: Shape, p: float, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """1 with probability p, else 0."""
    return _made(generator().random(shape, dtype=np.float32) < p, dtype, device)


def integers(shape: Shape, low: int, high: int, *, device: str | None = None) -> Tensor:
    """Integers drawn evenly from low to high - 1."""
    return _made(generator().integers(low, high, shape), np.int64, device)


def permutation(n: int) -> np.ndarray:
    """The numbers 0..n-1 in random order, as a NumPy array."""
    return generator().permutation(n)
