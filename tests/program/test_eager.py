"""What runs eagerly, with the same results, effects and errors."""

from __future__ import annotations

import types
import weakref
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.program.cells import numbers, running
from tests.program.plain import Plain, State, W, agrees, leaf

SCALE = 0.5  # written by a cell
SETTINGS = types.SimpleNamespace()


def by_branch(cell: Any, x: Any, h: Any) -> Any:
    return x + h if float(x.sum()) > 0 else x - h


def by_item(cell: Any, x: Any, h: Any) -> Any:
    return x + h * x.max().item()


def sums_rows(cell: Any, x: Any, h: Any) -> Any:
    return x + h.sum(axis=0, keepdims=True)


def first_row(cell: Any, x: Any, h: Any) -> Any:
    return x[0] + h


def in_reverse(cell: Any, x: Any, h: Any) -> Any:
    return x + tg.flip(h, axis=0)


def flattened(cell: Any, x: Any, h: Any) -> Any:
    return tg.reshape(tg.reshape(x + h, -1) * 0.5, x.shape)


def by_count(cell: Any, x: Any, h: Any) -> Any:
    return x + h * (1.0 / len(x))


def normalised(cell: Any, x: Any, h: Any) -> Any:
    return x + h - tg.mean(h)


def foreign(cell: Any, x: Any, h: Any) -> Any:
    return x + h * tg.asarray(np.linspace(0.0, 1.0, W))


def through_numpy(cell: Any, x: Any, h: Any) -> Any:
    return x + h + tg.asarray(np.sin(x.numpy()))


def products_of_rows(cell: Any, x: Any, h: Any) -> Any:
    return x + (x @ h.T) @ h


def hooked(cell: Any, x: Any, h: Any) -> Any:
    y = x + h
    if y.requires_grad:
        y.register_hook(lambda g: g * 2.0)
    return y


@pytest.mark.parametrize(
    "body",
    [by_branch, by_item, sums_rows, first_row, in_reverse, flattened, by_count, normalised, foreign, through_numpy,
     products_of_rows, hooked],
)  # fmt: skip
def test_what_is_no_function_of_rows_runs_eagerly(body: Any) -> None:
    cell = Plain()
    cell.forward = lambda x, kids: State(tg.tanh(body(cell, x, kids[0].h @ cell.w)))  # type: ignore[method-assign]
    for _ in range(2):
        agrees(cell, [cell.w], compiles=False)


def appends(cell: Any, h: Any) -> None:
    cell.log.append(h)


def counts(cell: Any, h: Any) -> None:
    cell.calls += 1


def puts(cell: Any, h: Any) -> None:
    cell.seen[len(cell.seen)] = h


def replaces(cell: Any, h: Any) -> None:
    cell.buffer = h


def writes_into(cell: Any, h: Any) -> None:
    cell.count[0] = cell.count[0] + 1.0


def sets_data(cell: Any, h: Any) -> None:
    cell.count.data = cell.count.data + 1.0


def nested(cell: Any, h: Any) -> None:
    cell.deep["list"].append(1)


def global_write(cell: Any, h: Any) -> None:
    global SCALE
    SCALE = 0.25


@pytest.mark.parametrize(
    "write", [appends, counts, puts, replaces, writes_into, sets_data, nested, global_write], ids=lambda f: f.__name__
)
def test_what_a_cell_writes_is_there_as_if_it_had_run_eagerly(write: Any) -> None:
    def made() -> Any:
        cell = Plain()
        cell.log, cell.calls, cell.seen, cell.buffer = [], 0, {}, tg.zeros((1, W), dtype="float64")
        cell.count, cell.deep = tg.zeros(1, dtype="float64"), {"list": []}

        def forward(x: Any, kids: Any) -> State:
            h = tg.tanh(x + kids[0].h @ cell.w)
            write(cell, h)
            return State(h)

        cell.forward = forward  # type: ignore[method-assign]
        return cell

    found = []
    for where in ("eager", "NumPy"):
        cell = made()
        with running(where):
            for _ in range(3):  # a second run finds what the first one left
                tg.unfold(cell, tg.chain([3, 2]), leaf(5, W))
        log, seen = [h.tolist() for h in cell.log], {k: v.tolist() for k, v in cell.seen.items()}
        found.append((log, cell.calls, seen, cell.buffer.tolist(), cell.count.tolist(), cell.deep, SCALE))
        globals()["SCALE"] = 0.5
    np.testing.assert_equal(found[1], found[0])


def test_a_variable_outside_that_is_written_is_written_once_per_call() -> None:
    calls, w = 0, leaf(W, W)

    @tg.cell(arity=1, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        nonlocal calls
        calls += 1
        return tg.tanh(x + kids[0].h @ w)

    with running("NumPy"):
        for _ in range(2):
            tg.unfold(cell, tg.chain([3, 2]), leaf(5, W))
    assert calls == 6


HIDDEN = weakref.WeakValueDictionary()  # names that no one looks into


@pytest.mark.parametrize("values", ["random", "ones", "zeros", "one number"])
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("where", ["a weak dictionary", "a class attribute", "a method's global"])
def test_a_tensor_that_is_found_by_no_name_is_read_at_every_call(values: str, learned: bool, where: str) -> None:
    cell = Plain()
    data = {"random": numbers(W), "ones": np.ones(W), "zeros": np.zeros(W), "one number": np.ones(())}[values]

    class Hides(Plain):
        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            if where == "a weak dictionary":
                b = HIDDEN["b"]
            else:
                b = self.bias if where == "a class attribute" else SETTINGS.bias
            return State(tg.tanh(x + kids[0].h @ self.w + b))

    cell = Hides()
    bias = tg.tensor(data, dtype="float64").requires_grad_(learned)
    HIDDEN["b"], Hides.bias, SETTINGS.bias = bias, bias, bias  # type: ignore[attr-defined]
    by = [cell.w, *([bias] if learned else [])]
    agrees(cell, by, compiles=None)
    bias.data = np.asarray(bias.data + 0.5)
    agrees(cell, by, compiles=None)
    bias.data[...] = 0.25
    agrees(cell, by, compiles=None)
    del SETTINGS.bias


def test_a_ragged_context_and_kept_gradients_run_eagerly() -> None:
    class Attends(Plain):
        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(tg.tanh(x + kids[0].h @ self.w + context.mean(context.each)))

    cell, rows = Attends(), leaf(4, W, seed=7)
    context = tg.Ragged(rows, [1, 0, 3])
    agrees(cell, [cell.w, rows], compiles=False, context=context)
    plain = Plain()
    with running("NumPy") as reasons:
        found = tg.unfold(plain, tg.chain([2]), leaf(2, W), keep=("state_grad", "parameter_grad"))
        found.last().h.sum().backward()
        assert found.state_grad.h.shape == (2, W)
        assert found.parameter_grad(plain.w).shape == (2, W, W)
    assert reasons != [None]


def test_an_anomaly_is_found_where_it_is() -> None:
    cell = Plain()
    cell.forward = lambda x, kids: State(tg.log(kids[0].h - 1.0) * x)  # type: ignore[method-assign]
    with running("NumPy"), tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match=r"level 0"):
        tg.unfold(cell, tg.chain([2]), leaf(2, W))


def message(call: Callable[[], Any]) -> tuple[type[Exception], str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call()
    return caught.type, str(caught.value)


WRONG: dict[str, Any] = {
    "a state of another width": lambda c, x, h: State(tg.concat([h, h], axis=1)),
    "too few rows": lambda c, x, h: State(h[:1] if len(h) > 1 else tg.concat([h, h], axis=0)),
    "no state": lambda c, x, h: h,
    "other fields": lambda c, x, h: namedtuple("Other", ["g"])(h),
    "shapes that do not broadcast": lambda c, x, h: State(h + tg.ones((len(h), W + 1))),
    "an error of its own": lambda c, x, h: 1 / 0,
    "a slot it has not": lambda c, x, h: State(c.kids[1].h),
    "an unknown field": lambda c, x, h: State(c.kids[0].c),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_cell_that_is_wrong_is_told_so_as_eagerly(what: str) -> None:
    cell = Plain()

    def forward(x: Any, kids: Any) -> Any:
        cell.kids = kids
        return WRONG[what](cell, x, x + kids[0].h @ cell.w)

    def wrong() -> Any:
        return tg.unfold(cell, tg.chain([2, 3]), leaf(5, W))

    cell.forward = forward  # type: ignore[method-assign]
    with running("eager"):
        expected = message(wrong)
    with running("NumPy"):
        assert [message(wrong), message(wrong)] == [expected] * 2


@pytest.mark.parametrize("context", [(leaf(1, W),), {"q": leaf(2, W), "r": leaf(1, W)}])
def test_a_context_of_too_few_rows_is_refused_as_eagerly(context: Any) -> None:
    cell = Plain()
    first = (lambda c: c["r"]) if isinstance(context, dict) else (lambda c: c[0])
    cell.forward = lambda x, kids, context: State(x + kids[0].h + first(context))  # type: ignore[method-assign]
    call = lambda: tg.unfold(cell, tg.chain([2, 3]), leaf(5, W), context=context)  # noqa: E731
    with running("eager"):
        expected = message(call)
    with running("NumPy"):
        assert message(call) == expected
