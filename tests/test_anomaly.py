"""Anomaly detection: the first NaN or Inf is refused, and the error names the op, its forward line, cell and level."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import AnomalyError, tape


def leaf(values: Any, dtype: str = "float64") -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, requires_grad=True)


def here() -> str:
    """'test_anomaly.py:<line>' of the caller's next line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return f"test_anomaly.py:{frame.f_back.f_lineno + 1}: "


def test_an_anomaly_of_the_forward_pass_names_op_shape_and_line() -> None:
    x = leaf([1.0, 2.0])
    with tg.detect_anomaly():
        message = (
            r"the result of multiply \(shape \(2,\)\) holds NaN or Inf; computed at .*anomaly\.py:\d+: x \* np\.inf"
        )
        with pytest.raises(AnomalyError, match=message):
            x * np.inf
        with pytest.raises(AnomalyError, match=r"the result of add \(shape \(\)\)"):
            tg.tensor(1.0) + np.nan  # not recorded, and of no axis
    assert (x * np.inf).shape == (2,)


@pytest.mark.parametrize("shape", [(), (2,)])
def test_an_anomaly_of_the_backward_pass_names_the_op_and_its_forward_line(shape: tuple[int, ...]) -> None:
    x = leaf(np.ones(shape))
    with tg.detect_anomaly():
        line = here()
        y = x * 2.0
        z = (y + 1.0).exp()
        y.register_hook(lambda g: tg.full(shape, np.inf, dtype="float64"))
        message = rf"the gradient that reaches multiply \(shape .*\) holds NaN or Inf; .*{re.escape(line)}y = x \* 2\.0"
        with pytest.raises(AnomalyError, match=message):
            z.sum().backward()


def test_an_anomaly_in_a_cell_names_the_cell_and_the_level() -> None:
    @tg.cell(arity=1, state={"h": 1})
    def growing(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return kids[0].h * x * 1e200 + x

    expected = pytest.raises(AnomalyError, match=r"result of multiply .* cell growing, level 2")
    with np.errstate(over="ignore"), tg.detect_anomaly(), expected:
        tg.unfold(growing, tg.chain(4), tg.ones((4, 1), dtype="float64"))


def test_under_detect_anomaly_what_is_finite_is_computed_as_ever() -> None:
    x, table = leaf(2.0), leaf(np.zeros((9, 2)))
    with tg.detect_anomaly():
        (x * x * x + tg.gather_rows(table, [1]).sum()).backward()
        (second,) = tg.grad(tg.grad(x**3, x, create_graph=True)[0], x)
        with pytest.raises(KeyError), tg.detect_anomaly():
            raise KeyError
        assert tape.thread.now.anomaly
    assert not tape.thread.now.anomaly
    assert (x.grad.item(), second.item()) == (12, 12)
    assert isinstance(table.node.grad, tape.Rows)


def test_integers_are_no_anomaly() -> None:
    with tg.detect_anomaly():
        assert (tg.tensor([1]) + 1).tolist() == [2]


def test_an_anomaly_in_the_backward_pass_names_the_op_that_made_it() -> None:
    x = tg.tensor([2.0, 3.0], requires_grad=True)
    with tg.detect_anomaly():
        y = x * 0.0
        z = tg.pow(y, 0.5).sum()  # the culprit
        with pytest.raises(AnomalyError, match=r"the gradient that pow gives.*# the culprit"):
            z.backward()
