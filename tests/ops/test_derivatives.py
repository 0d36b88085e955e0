"""The table of derivatives, row by row: differences, dtypes, PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.ops.table import ANY, CASES, Case
from tinygrad_rnn import tape
from tinygrad_rnn.ops.derivatives import TABLE

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def results(value: Any) -> list[tg.Tensor]:
    return [value] if isinstance(value, tg.Tensor) else list(value)


def leaves(case: Case, shapes: list[tuple[int, ...]], seed: int, dtype: Any = np.float64) -> list[tg.Tensor]:
    arrays = case.arrays(shapes, seed)
    return [tg.asarray(a if dtype == np.float64 else a.astype(dtype)).requires_grad_() for a in arrays]


@every_case
@settings(max_examples=15)
@given(data=st.data())
def test_derivatives_of_order_1_and_2_agree_with_differences(case: Case, data: st.DataObject) -> None:
    shapes, options = data.draw(case.draws)
    xs = leaves(case, shapes, data.draw(st.integers(0, 9)))
    tg.gradcheck(lambda *args: case.fn(*args, **options), xs, order=2, eps=case.eps, atol=case.atol)


@every_case
@settings(max_examples=4)
@given(data=st.data())
def test_float32_in_gives_float32_out_and_float32_gradients_of_both_orders(case: Case, data: st.DataObject) -> None:
    shapes, options = data.draw(case.draws)
    xs = leaves(case, shapes, 0, np.float32)
    outs = results(case.fn(*xs, **options))
    first = tg.grad(outs, xs, [tg.ones_like(o) for o in outs], create_graph=True, allow_unused=True)
    found = [g for g in first if g is not None]
    assert {t.dtype for t in (*outs, *found)} <= {np.dtype(np.float32)}
    assert [g.shape for x, g in zip(xs, first) if g is not None] == [
        x.shape for x, g in zip(xs, first) if g is not None
    ]
    again = [g for g in found if g.requires_grad]
    if again:
        second = tg.grad(again, xs, [tg.ones_like(g) for g in again], allow_unused=True)
        assert {g.dtype for g in second if g is not None} <= {np.dtype(np.float32)}


@pytest.mark.torch
@pytest.mark.parametrize("case", [case for case in CASES if case.torch], ids=lambda case: case.name)
@settings(max_examples=6)
@given(data=st.data())
def test_values_and_gradients_agree_with_torch(case: Case, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    shapes, options = data.draw(case.draws)
    xs = leaves(case, shapes, data.draw(st.integers(0, 9)))
    ys = [torch.tensor(x.numpy().copy(), requires_grad=True) for x in xs]
    ours = results(case.fn(*xs, **options))
    assert case.torch is not None
    theirs = case.torch(torch, *ys, **options)
    theirs = list(theirs) if isinstance(theirs, tuple | list) else [theirs]
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs):
        assert mine.shape == tuple(other.shape)
        np.testing.assert_allclose(mine.numpy(), other.detach().numpy(), rtol=1e-12, atol=1e-12)
    rng = np.random.default_rng(0)
    cotangents = [rng.standard_normal(o.shape) for o in ours]
    mine = tg.grad(ours, xs, [tg.asarray(c) for c in cotangents], allow_unused=True)
    other = torch.autograd.grad(theirs, ys, [torch.tensor(c) for c in cotangents], allow_unused=True)
    for g, h in zip(mine, other):
        g, h = (np.zeros(1) if v is None else v for v in (g, h))
        h = h if isinstance(h, np.ndarray) else h.numpy()
        np.testing.assert_allclose(g if isinstance(g, np.ndarray) else g.numpy(), h, rtol=1e-10, atol=1e-12)


def test_every_row_of_the_table_is_checked_and_its_nodes_hold_what_it_says() -> None:
    seen = set()

    @settings(max_examples=3, phases=[Phase.generate], derandomize=True, database=None)
    @given(draw=st.tuples(*(case.draws for case in CASES)))
    def record(draw: Any) -> None:
        for case, (shapes, options) in zip(CASES, draw):
            outs = results(case.fn(*leaves(case, shapes, 0), **options))
            for node in tape.reachable([o.node for o in outs if o.node is not None]):
                seen.add(node.row.name)
                assert node.row.joint or node.row is tape.LEAF or len(node.parents) == len(node.row.vjps), node
                assert node.row is tape.LEAF or len(node.saved or ()) == len(node.row.roles), node

    record()
    assert set(TABLE) - seen == set()


def test_no_two_rows_of_the_checks_have_one_name() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def _once_right(xp: Any, g: Any, x: Any) -> Any:
    """The derivative of the sine, which itself has none: the cosine is a constant here."""
    return g * (tg.asarray(np.cos(x.numpy()), device=x.device) if isinstance(x, tg.Tensor) else xp.cos(x))


def test_a_wrong_row_is_found_in_either_order(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tg.tensor([0.3, -0.8], dtype="float64", requires_grad=True)
    monkeypatch.setattr(TABLE["sin"], "vjps", (lambda xp, g, x: g * xp.cos(x) * 1.001,))
    with pytest.raises(AssertionError, match=r"first derivative: the tape gives .*, central differences"):
        tg.gradcheck(tg.sin, [x])
    monkeypatch.setattr(TABLE["sin"], "vjps", (_once_right,))
    tg.gradcheck(tg.sin, [x], order=1)
    with pytest.raises(AssertionError, match=r"second derivative: the tape gives .*, central differences"):
        tg.gradcheck(tg.sin, [x], order=2)


def test_the_values_of_a_case_are_apart_from_each_other_and_from_kinks() -> None:
    case = Case("any", tg.abs, CASES[0].draws, ANY)
    for seed in range(4):
        values = np.concatenate([a.reshape(-1) for a in case.arrays([(3, 3, 3), (3, 3)], seed)])
        assert np.diff(np.sort(values)).min() > 1e-3
        assert np.abs(2 * values - np.round(2 * values)).min() > 1e-3
