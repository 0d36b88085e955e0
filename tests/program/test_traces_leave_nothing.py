"""A cell is traced on stand-ins: what it reaches is itself in the trace, and is afterwards what it was before."""

from __future__ import annotations

import collections
import dataclasses
import functools
import importlib
import random
import sys
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.program.plain import Plain, State, W, agrees, gradients, leaf
from tinygrad_rnn import nn

SEEN = types.SimpleNamespace()
COUNT = 0


def why(cell: Any) -> str:
    return tg.explain(cell, tg.chain([3, 0, 2]), leaf(5, W)).reason


@functools.cache
def half(width: int) -> tg.Tensor:
    return tg.full((width,), 0.5, dtype="float64")


@functools.cache
def halved(number: int) -> float:
    return number / 2


def squash(x: tg.Tensor) -> tg.Tensor:
    return tg.tanh(x)


@pytest.mark.parametrize("draw", [random.random, random.uniform, np.random.rand])
def test_a_cell_that_draws_from_shared_random_numbers_runs_eagerly(draw: Callable[..., float]) -> None:
    between = (0, 1) if draw == random.uniform else ()

    @tg.cell(arity=1, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        return x if draw(*between) < 1 else kids[0].h  # the same in both traces

    assert "Python's or NumPy's own random numbers" in why(cell)
    agrees(cell, [], False)


def test_a_cached_function_is_left_without_stand_ins() -> None:
    @functools.cache
    def mask(width: int) -> tg.Tensor:
        return tg.full((width,), 0.5, dtype="float64")

    @tg.cell(arity=1, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        return tg.tanh(x) * mask(W) + kids[0].h

    assert "can't find again" in why(cell)  # traced before it was ever called
    assert mask(W).tolist() == [0.5] * W
    kept = mask(W)
    kept.data = kept.data * 4.0
    agrees(cell, [], False)
    assert mask(W) is kept


def test_a_cached_function_that_a_method_calls_is_left_without_stand_ins() -> None:
    class Masked(Plain):
        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(tg.tanh(x) * half(W) + kids[0].h)

    cell = Masked()
    assert "remembers results" in why(cell)
    assert half(W).tolist() == [0.5] * W
    agrees(cell, [], False)


def test_a_cached_number_is_a_constant() -> None:
    class Divided(Plain):
        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(tg.tanh(x) / halved(W) + kids[0].h)

    cell = Divided()
    assert "remembers results" in why(cell)
    agrees(cell, [])  # eagerly it has been called once


def test_a_number_that_a_function_remembers_is_a_constant() -> None:
    table = functools.cache(lambda number: number if number < 2 else table(number - 1) + table(number - 2))

    @tg.cell(arity=1, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        return tg.tanh(x) / table(40) + kids[0].h

    agrees(cell, [])


def test_what_a_function_notes_on_itself_is_a_write() -> None:
    def noise(x: Any) -> Any:
        noise.calls += 1  # type: ignore[attr-defined]
        return x * float(noise.calls)  # type: ignore[attr-defined]

    noise.calls = 0  # type: ignore[attr-defined]

    @tg.cell(arity=1, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        return tg.tanh(noise(x) + kids[0].h)

    assert why(cell)
    assert noise.calls == 0  # type: ignore[attr-defined]


def test_an_equal_number_assigned_anew_is_no_change() -> None:
    cell = Plain()
    agrees(cell, [cell.w])
    cell.p = float("0.5")
    agrees(cell, [cell.w])
    with tg.no_grad():
        assert not why(cell)


def test_constants_that_are_equal_and_look_otherwise_are_others() -> None:
    class Stepping(Plain):
        steps: Any = range(0, 3, 2)

        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(tg.tanh(x) * float(self.steps.stop) + kids[0].h)

    cell = Stepping()
    agrees(cell, [])
    cell.steps = range(0, 4, 2)
    agrees(cell, [])
    cell.steps = slice(np.array([1.0, 2.0]), 5)
    agrees(cell, [])
    cell.steps = slice(np.array([1.0, 2.0]), 6)
    agrees(cell, [])


def test_shapes_may_be_asked_of_numpy() -> None:
    @tg.cell(arity=1, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        return tg.tanh(x) * np.shape(x)[1] + kids[0].h * np.ndim(x)

    agrees(cell, [])


def test_what_can_not_be_copied_makes_a_cell_run_eagerly() -> None:
    class Pair(tuple):  # type: ignore[type-arg]
        __slots__ = ()

        def __new__(cls, one: Any, other: Any) -> Pair:
            return super().__new__(cls, (one, other))

    cell = Plain()
    cell.pair = Pair(np.ones(2), {1})
    assert "no copy of what it reaches can be made (TypeError: " in why(cell)
    agrees(cell, [cell.w], False)


def test_an_object_that_can_not_be_looked_at_makes_a_cell_run_eagerly() -> None:
    cell = Plain()
    cell.mock = mock.Mock(spec=dict)
    assert "what it reaches can't be looked at (TypeError: " in why(cell)
    agrees(cell, [cell.w], False)


def test_a_parameter_may_be_added_to_in_a_cell_that_is_evaluated() -> None:
    class Adding(Plain):
        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            total = self.b
            total += x
            return State(tg.tanh(total + kids[0].h))

    cell = Adding()
    agrees(cell, [cell.b])
    with tg.no_grad(), tg.detect_anomaly():  # eagerly
        tg.unfold(cell, tg.chain([3, 0, 2]), leaf(5, W)).all()


def test_what_a_method_writes_to_an_object_or_a_variable_outside_is_undone() -> None:
    class Writing(Plain):
        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            global COUNT
            COUNT += 1
            SEEN.last = x
            return super().forward(x, kids)

    cell = Writing()
    assert "it changes an object" in why(cell)
    assert (COUNT, vars(SEEN)) == (0, {})


def test_a_write_to_a_class_is_noticed() -> None:
    class Counting(Plain):
        calls = 0

        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            Counting.calls += 1
            return super().forward(x, kids)

    assert "it changes a class, a module or a variable" in why(Counting())


def test_functions_and_objects_without_tensors_are_themselves_in_a_trace() -> None:
    class Choosing(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.mode = squash, SEEN

        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            twice = 2.0 if self.act is squash else 1.0
            return State(self.act(x + kids[0].h @ self.w) * twice * (3.0 if self.mode is SEEN else 1.0))

    cell = Choosing()
    agrees(cell, [cell.w])


@dataclasses.dataclass(frozen=True)
class Frozen:
    w: tg.Tensor
    arity: int = 1

    def initial(self) -> State:
        return State(tg.zeros((1, W), dtype="float64"))

    def __call__(self, x: Any, kids: Any, context: Any = None) -> State:
        return State(tg.tanh(x + kids[0].h @ self.w))


def test_cells_are_told_apart_by_identity_whether_they_are_equal_or_have_no_hash() -> None:
    class Unhashable(Frozen):
        __hash__ = None  # type: ignore[assignment]

    w = leaf(W, W)
    for cell in (Frozen(w), Frozen(w), Unhashable(w)):
        agrees(cell, [w])


@pytest.mark.parametrize("start", ["b", "own"])  # which the cell adds too, and which is there for it alone
def test_a_start_that_is_computed_has_its_gradient_in_a_recorded_backward_pass(start: str) -> None:
    class Started(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.own = leaf(1, W, seed=4)

        def initial(self) -> State:
            return State((getattr(self, start) * 2.0).reshape((1, W)))

    cell = Started()
    by = [getattr(cell, start), cell.w]
    agrees(cell, by)
    states = tg.unfold(cell, tg.chain([3, 0, 2]), leaf(5, W)).all()
    once = gradients(states, by, retain_graph=True)
    recorded = gradients(states, by, create_graph=True)
    for one, other in zip(once, recorded, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)


class Dotted(dict):  # type: ignore[type-arg]
    __getattr__ = dict.__getitem__


def test_a_dict_with_dots_is_a_dict() -> None:
    config = Dotted(scale=0.5)

    @tg.cell(arity=1, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        return tg.tanh(config.scale * x + kids[0].h)

    agrees(cell, [])
    config["scale"] = 2.0
    agrees(cell, [])


def test_numbers_are_read_anew_wherever_they_are_found() -> None:
    class Config:
        scale = 0.5

        @classmethod
        def twice(cls) -> float:
            return 2 * cls.scale

    class Slotted:
        __slots__ = "__hidden", "shown"

        def __init__(self) -> None:
            self.__hidden, self.shown = 1.0, 1.0

        def product(self) -> float:
            return self.__hidden * self.shown

        def hide(self, value: float) -> None:
            self.__hidden = value

    class One:
        __slots__ = "gain"

    class Longer(list):  # type: ignore[type-arg]
        gain = 1.0

    def wrapped(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(function)
        def twin(x: Any) -> Any:
            return function(x) * Config.scale

        return twin

    one = One()
    one.gain = 1.0
    slots, longer, tanh = Slotted(), Longer([leaf(W, W)]), wrapped(tg.tanh)
    squash.gain = 1.0  # type: ignore[attr-defined]

    class Reading(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.config, self.longer = Config, longer

        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            h = tanh(x + kids[0].h @ self.longer[0]) * self.config.scale * Config.twice() * slots.product()
            return State(h * self.longer.gain * squash.gain * one.gain)  # type: ignore[attr-defined]

    cell = Reading()
    agrees(cell, [longer[0]])
    changes: list[tuple[Any, str]] = [
        (Config, "scale"),
        (slots, "shown"),
        (longer, "gain"),
        (squash, "gain"),
        (one, "gain"),
    ]
    for thing, name in changes:
        setattr(thing, name, getattr(thing, name) * 1.5)
        agrees(cell, [longer[0]])
    slots.hide(3.0)
    agrees(cell, [longer[0]])
    del squash.gain  # type: ignore[attr-defined]


def test_what_is_deep_in_helpers_is_reached() -> None:
    last: list[float] = [0.5]

    def chain(depth: int) -> Callable[[Any], Any]:
        if not depth:
            return lambda x: x * last[0]
        inner = chain(depth - 1)
        return lambda x: inner(x)

    class Deep(nn.Module):
        arity = 1

        def __init__(self) -> None:
            self.helpers = [chain(8)]

        def initial(self) -> State:
            return State(tg.zeros((1, W), dtype="float64"))

        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(self.helpers[0](tg.tanh(x)) + kids[0].h)

    cell = Deep()
    agrees(cell, [])
    last[0] = 2.0
    agrees(cell, [])


def test_what_a_queue_or_a_reference_holds_is_read_anew() -> None:
    class Box:
        gain = 1.0

    box = Box()
    recent, reference = collections.deque([1.0]), weakref.ref(box)

    @tg.cell(arity=1, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        held = reference()
        return tg.tanh(x) * recent[0] * (held.gain if held else 0.0) + kids[0].h

    agrees(cell, [], False)
    recent[0], box.gain = 3.0, 0.5
    agrees(cell, [], False)


def test_what_is_named_as_the_standard_library_is_the_users_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code.py").write_text("scale = 0.5\ndef scaled(x):\n    return x * scale\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "code", raising=False)
    code: Any = importlib.import_module("code")
    made: Any = types.new_class("Made")  # says that it is from the module types
    made.gain = 1.0

    class Reading(Plain):
        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(code.scaled(tg.tanh(x)) * made.gain + kids[0].h)

    cell = Reading()
    agrees(cell, [])
    code.scale = 2.0
    agrees(cell, [])
    made.gain = 3.0
    agrees(cell, [])
    monkeypatch.delitem(sys.modules, "code")
