"""What is remembered of cells: what may change between runs, what is shared, and what is let go of."""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.program.plain import Plain, State, W, agrees, leaf
from tinygrad_rnn.program import recall

SCALE = 0.5  # read by cells, and changed
SETTINGS = types.SimpleNamespace(scale=0.5)


@pytest.mark.parametrize("name", ["w", "b"])
def test_an_attribute_that_is_bound_anew_is_read_anew(name: str) -> None:
    cell = Plain()
    agrees(cell, [cell.w, cell.b])
    setattr(cell, name, leaf(*getattr(cell, name).shape, seed=8))
    agrees(cell, [cell.w, cell.b])
    getattr(cell, name).data = getattr(cell, name).data * 2.0
    agrees(cell, [cell.w, cell.b])


def test_variables_around_a_function_may_be_bound_anew() -> None:
    w, factor = leaf(W, W), 0.5

    @tg.cell(arity=1, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        return tg.tanh(x + kids[0].h @ w * factor)

    agrees(cell, [w])
    w = leaf(W, W, seed=4)
    agrees(cell, [w])
    factor = 2.0
    agrees(cell, [w])


class Settings:
    scale = 0.5


class Slotted:
    __slots__ = ("scale",)

    def __init__(self) -> None:
        self.scale = 0.5


class Options(dict[str, float]):
    scale = 0.5


class Limits(NamedTuple):
    low: float

    def factor(self) -> float:
        return self.low * SCALE


class Early:
    def factor(self) -> float:
        return 0.5


class Late(Early):
    pass


class Constants(Plain):
    """Reads numbers wherever a program may keep them."""

    factor = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.slotted, self.array = {"p": [0.5]}, Slotted(), np.full(W, 0.5)
        self.many, self.options, self.limits, self.late = [0.5] * 300, Options(), Limits(1.0), Late()
        self.read: Callable[[Any], Any] = lambda cell: 1.0

    @property
    def from_property(self) -> float:
        return SCALE

    @staticmethod
    def from_static() -> float:
        return SCALE

    @classmethod
    def from_class(cls) -> float:
        return cls.factor

    def forward(self, x: Any, kids: Any, context: Any = None) -> State:
        return State(tg.tanh(x + kids[0].h @ self.w * self.read(self)))


def set_scale(cell: Any, value: float) -> None:
    globals()["SCALE"] = value


CONSTANTS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, float], Any]]] = {
    "an attribute": (lambda c: c.p, lambda c, v: setattr(c, "p", v)),
    "a global": (lambda c: SCALE, set_scale),
    "a global's attribute": (lambda c: SETTINGS.scale, lambda c, v: setattr(SETTINGS, "scale", v)),
    "an item": (lambda c: c.numbers["p"][0], lambda c, v: c.numbers["p"].__setitem__(0, v)),
    "a class attribute": (lambda c: c.factor, lambda c, v: setattr(Constants, "factor", v)),
    "another class's attribute": (lambda c: Settings.scale, lambda c, v: setattr(Settings, "scale", v)),
    "a property": (lambda c: c.from_property, set_scale),
    "a static method": (lambda c: c.from_static(), set_scale),
    "a class method": (lambda c: c.from_class(), lambda c, v: setattr(Constants, "factor", v)),
    "a slot": (lambda c: c.slotted.scale, lambda c, v: setattr(c.slotted, "scale", v)),
    "an array": (lambda c: tg.asarray(c.array), lambda c, v: c.array.fill(v)),
    "a long list": (lambda c: c.many[7], lambda c, v: c.many.__setitem__(7, v)),
    "an attribute of a dict": (lambda c: c.options.scale, lambda c, v: setattr(c.options, "scale", v)),
    "a method of a tuple": (lambda c: c.limits.factor(), set_scale),
    "a method that a class gets": (lambda c: Late().factor(), lambda c, v: setattr(Late, "factor", lambda self: v)),
    "an attribute that a class gets": (lambda c: getattr(c.late, "more", 0.5), lambda c, v: setattr(Late, "more", v)),
    "another module's": (lambda c: tests_settings.SCALE, lambda c, v: setattr(tests_settings, "SCALE", v)),
}
tests_settings = types.ModuleType("tests_settings")


@pytest.mark.parametrize("place", CONSTANTS)
def test_a_constant_may_change_between_runs(place: str) -> None:
    read, write = CONSTANTS[place]
    cell = Constants()
    cell.read = read
    for value in (0.5, 3.0, 1.0, 1, True, 0.5):
        write(cell, value)
        agrees(cell, [cell.w], compiles=None)
    write(cell, 0.5)


def test_training_and_evaluation() -> None:
    cell = Plain()
    cell.forward = lambda x, kids: State(tg.tanh(cell.drop(x) + kids[0].h @ cell.w))  # type: ignore[method-assign]
    agrees(cell, [cell.w])
    cell.eval()
    agrees(cell, [cell.w])
    cell.train()
    agrees(cell, [cell.w])
    cell.drop.p = 0.1
    agrees(cell, [cell.w])


def test_cells_made_anew_share_one_trace() -> None:
    def made(seed: int) -> Any:
        w = leaf(W, W, seed=seed)
        return tg.cell(arity=1, state={"h": W})(lambda x, kids: tg.tanh(x + kids[0].h @ w)), w

    cell, w = made(0)
    agrees(cell, [w])
    before = len(recall._traces)
    for seed in range(1, 4):
        cell, w = made(seed)
        agrees(cell, [w])
    assert len(recall._traces) == before


def test_cells_that_are_equal_are_not_the_same() -> None:
    @dataclass(frozen=True)
    class Cell:
        width: int
        w: Any = field(compare=False)
        arity = 1

        def initial(self) -> State:
            return State(tg.zeros((1, self.width), dtype="float64"))

        def __call__(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(tg.tanh(x + kids[0].h @ self.w))

    cells = [Cell(W, leaf(W, W, seed=i)) for i in range(2)]
    for cell in cells:
        agrees(cell, [cell.w], compiles=None)


def test_a_cell_is_let_go_of() -> None:
    cell = Plain()
    agrees(cell, [cell.w])
    gone = weakref.ref(cell)
    del cell
    gc.collect()
    assert gone() is None


@pytest.mark.xfail(strict=True, reason="what is remembered of a cell holds whatever the cell refers to, itself too")
def test_a_cell_that_refers_to_itself_is_let_go_of() -> None:
    cell = Plain()
    cell.names = {"me": cell}
    agrees(cell, [cell.w])
    gone = weakref.ref(cell)
    del cell
    gc.collect()
    assert gone() is None


def test_a_trace_does_not_spoil_what_is_known_of_the_cell() -> None:
    class Fresh(Plain):  # of a class that nothing has copied yet
        pass

    cell = Fresh()
    known = recall.reach_of(cell)
    agrees(cell, [cell.w])
    assert "__slotnames__" in vars(Fresh)  # what Python notes when it first copies an object
    assert recall.reach_of(cell) is known
    Fresh.more = 1.0  # type: ignore[attr-defined]
    assert not known.valid()
