"""Elementwise work in C: every op, folds wherever they are needed, and pieces of pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.program.cells import TOLERANCE, numbers, run, same
from tinygrad_rnn.native import toolchain

pytestmark = pytest.mark.skipif(toolchain.compiler() is None, reason="no C compiler on this machine")

UNARY = """positive negative abs sign floor ceil round trunc square exp expm1 sin cos tan atan sinh cosh tanh asinh
sigmoid erf isfinite isinf isnan logical_not softplus relu""".split()
POSITIVE = "reciprocal log log1p log2 log10 sqrt".split()
WITHIN = "asin acos atanh".split()  # of what lies between -1 and 1
BINARY = """add subtract multiply divide maximum minimum atan2 hypot logaddexp equal not_equal less less_equal greater
greater_equal logical_and logical_or logical_xor floor_divide remainder""".split()


def every_op(x: Any, y: Any) -> list[Any]:
    near = tg.tanh(x) * 0.9
    found = [getattr(tg, name)(x) for name in UNARY]
    found += [getattr(tg, name)(tg.abs(x) + 0.3) for name in POSITIVE]
    found += [getattr(tg, name)(near) for name in WITHIN] + [tg.acosh(tg.abs(x) + 1.2)]
    found += [getattr(tg, name)(x, y) for name in BINARY]
    found += [getattr(tg, name)(x, 0.7) for name in BINARY] + [getattr(tg, name)(-0.7, y) for name in BINARY]
    found += [tg.pow(tg.abs(x) + 0.2, y), x**2, x**3, 1.7**y, tg.where(x > y, x, y), tg.where(x > 0.2, 0.3, y)]
    found += [tg.clip(x, -0.3, 0.4), tg.clip(x, min=0.1), tg.clip(x, max=0.1), tg.where(~((x > y) | (x < 0.1)), x, -y)]
    return [v.astype(x.dtype) for v in found]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fill", ["normal", "special"])
def test_every_op_is_numpys(dtype: str, fill: str) -> None:
    if fill == "special":
        odd = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-30, 100.0]
        x, y = (np.array(v).astype(dtype).T for v in zip(*[(a, b) for a in odd for b in odd[::-1]], strict=True))
        data = np.stack([x, y], axis=1)
    else:
        data = numbers(11, 2).astype(dtype)
    count = len(every_op(tg.ones((1, 1), dtype=dtype), tg.ones((1, 1), dtype=dtype)))

    @tg.cell(arity=1, state={"h": count})
    def cell(x: Any, kids: Any) -> Any:
        return tg.concat(every_op(x[:, :1], x[:, 1:]), axis=1) + tg.zeros_like(kids[0].h)

    x = tg.asarray(data).requires_grad_(fill == "normal")
    with np.errstate(all="ignore"):
        eager, ours = (run(cell, tg.chain([1] * len(data)), x, [x], where) for where in ("eager", "C"))
    for name, a in ours.items():
        np.testing.assert_allclose(a, eager[name], rtol=3e-6 if dtype == "float32" else 1e-13, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("width", [1, 2, 9, 33])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_folds_within_folds_stored_and_read_again(width: int, dtype: str) -> None:
    """Of rows of one element too, and where nothing else of the row is stored."""
    w = tg.asarray((numbers(width, width) / width).astype(dtype)).requires_grad_()
    scale, shift = (tg.asarray(numbers(n, seed=n).astype(dtype)).requires_grad_() for n in (width, 1))

    @tg.cell(arity=1, state={"h": width, "s": 1, "m": 1})
    def cell(x: Any, kids: Any) -> Any:
        y = x + kids[0].h @ w
        centred = y - y.mean(axis=1, keepdims=True)
        h = tg.softmax(centred * scale, axis=1) + kids[0].s * 0.1
        largest = tg.max(y - tg.logsumexp(y, axis=1, keepdims=True) * 0.1, axis=1, keepdims=True)
        return h * shift, tg.sum(y * kids[0].h, axis=1, keepdims=True) * 0.1, largest + kids[0].m * shift

    x = tg.asarray(numbers(9, width).astype(dtype)).requires_grad_()
    by = [x, w, scale, shift]
    s = tg.chain([2, 3, 4])
    same(run(cell, s, x, by, "C"), run(cell, s, x, by), TOLERANCE[dtype])


def test_a_sum_for_a_parameter_alone_is_summed_before_it_is_stored() -> None:
    w, scale = (tg.asarray(numbers(*shape)).requires_grad_() for shape in ((3, 3), (1,)))
    cell = tg.cell(arity=1, state={"h": 3})(lambda x, kids: tg.softmax(kids[0].h @ w + x, axis=1) * scale)
    x = tg.asarray(numbers(5, 3)).requires_grad_()
    s = tg.chain([2, 3])
    same(run(cell, s, x, [scale, x, w], "C"), run(cell, s, x, [scale, x, w]), 1e-12)


def test_pieces_of_pieces_of_different_lengths() -> None:
    @tg.cell(arity=2, state={"h": 7, "c": 3})
    def cell(x: Any, kids: Any) -> Any:
        whole = tg.concat([x, kids[0].h[:, 1:4], kids[1].c], axis=1)  # 5 + 3 + 3
        a, b = whole[:, 2:9], tg.concat([whole[:, 8:], kids[0].h[:, :4]], axis=1)
        h = tg.tanh(a) * tg.sigmoid(b)
        return tg.concat([h[:, 3:], h[:, :3] * x[:, :1]], axis=1), h[:, 2:5] + kids[1].h[:, 4:]

    s, x = tg.grid([2, 3], [3, 2]), tg.asarray(numbers(12, 5)).requires_grad_()
    same(run(cell, s, x, [x], "C"), run(cell, s, x, [x]), 1e-12)
