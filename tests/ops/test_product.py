"""Matrix products: values against NumPy's, the products of repeated rows, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

RNG = np.random.default_rng(0)
A, B, V = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 4)), RNG.standard_normal(3)


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (lambda a, b, v: a @ b, A @ B),
        (lambda a, b, v: a @ v, A @ V),
        (lambda a, b, v: v @ b, V @ B),
        (lambda a, b, v: v @ v, V @ V),
        (lambda a, b, v: tg.stack([a, a]) @ b, np.stack([A, A]) @ B),
        (lambda a, b, v: tg.outer(v, v), np.outer(V, V)),
        (lambda a, b, v: tg.vecdot(a, a, axis=0), (A * A).sum(0)),
        (lambda a, b, v: tg.tensordot(a, b, axes=1), A @ B),
        (lambda a, b, v: tg.tensordot(a, a), (A * A).sum()),
        (lambda a, b, v: tg.tensordot(a, b, axes=0), np.tensordot(A, B, 0)),
        (lambda a, b, v: tg.tensordot(a, b, axes=((1,), (0,))), A @ B),
        (lambda a, b, v: tg.einsum("ij,jk", a, b), A @ B),
        (lambda a, b, v: tg.einsum("ij, jk -> ki", a, b), (A @ B).T),
        (lambda a, b, v: tg.einsum("ii->i", a[:, :2]), np.diag(A)),
        (lambda a, b, v: tg.einsum("iii->", tg.stack([a[:, :2]] * 2)), A[0, 0] + A[1, 1]),
        (lambda a, b, v: tg.einsum("ij->", a), A.sum()),
        (lambda a, b, v: tg.einsum("...j->...", a), A.sum(1)),
        (lambda a, b, v: tg.einsum("...ij,jk->...ik", tg.stack([a, a]), b), np.stack([A @ B] * 2)),
        (lambda a, b, v: tg.einsum("...i,...i", tg.stack([a, a]), v), np.stack([A @ V] * 2)),
        (lambda a, b, v: tg.einsum("i...,i...->...", a, a[:, 0]), (A * A[:, :1]).sum(0)),
        (
            lambda a, b, v: tg.einsum("...i,...i->...", tg.stack([a, a, a], axis=1), a[:, None]),
            (A * A).sum(1)[:, None] * np.ones(3),
        ),
        (lambda a, b, v: tg.einsum("...i,...i->...", tg.stack([a, a], axis=0), a), np.stack([(A * A).sum(1)] * 2)),
        (lambda a, b, v: tg.einsum("...ii->...i", tg.stack([a[:, :2]] * 2)), np.stack([np.diag(A)] * 2)),
        (lambda a, b, v: tg.linear(a, tg.permute_dims(b, (1, 0))), A @ B),
        (lambda a, b, v: tg.linear(v, b.T, b[0]), V @ B + B[0]),
        (lambda a, b, v: tg.linear(tg.zeros((2, 0, 3)), b.T), np.zeros((2, 0, 4))),
    ],
)
def test_values_are_those_of_numpy(ours: Any, expected: Any) -> None:
    np.testing.assert_allclose(ours(tg.asarray(A), tg.asarray(B), tg.asarray(V)).numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (np.broadcast_to(A[:1], (5, 3)), B),
        (np.broadcast_to(A[:, :1], (2, 3)), B),
        (A, np.broadcast_to(B[:1], (3, 4))),
        (A, np.broadcast_to(B[:, :1], (3, 4))),
        (np.broadcast_to(A[:1], (1, 3)), B),
        (np.broadcast_to(np.float64(2.0), (2, 3)), B),
        (np.broadcast_to(A[:1, :0], (5, 0)), B[:0]),
    ],
)
def test_a_product_of_repeated_rows_is_the_product(left: np.ndarray, right: np.ndarray, device: str) -> None:
    if device != "cpu":
        left, right = left.copy(), right.copy()  # NumPy's strides do not travel
    out = tg.asarray(left) @ tg.asarray(right)
    np.testing.assert_allclose(out.numpy(), left.copy() @ right.copy(), rtol=1e-13)


def test_a_repeated_row_is_multiplied_once() -> None:
    out = tg.broadcast_to(tg.ones((1, 3)), (1000, 3)) @ tg.ones((3, 4))
    assert out.shape == (1000, 4)
    assert out.data.strides[0] == 0
    out = tg.linear(tg.broadcast_to(tg.ones((1, 3)), (1000, 3)), tg.ones((4, 3)), tg.ones(4))
    assert out.data.strides[0] == 0
    assert out[999].tolist() == [4, 4, 4, 4]


def test_a_weight_used_at_many_steps_gets_the_sum_of_its_gradients() -> None:
    """More rows than the tape lets wait before it multiplies."""
    rng = np.random.default_rng(1)
    xs, gs = rng.standard_normal((50, 97, 3)), rng.standard_normal((50, 97, 2))
    w = tg.asarray(rng.standard_normal((2, 3))).requires_grad_()
    b = tg.zeros(2, dtype="float64").requires_grad_()
    total = tg.zeros((), dtype="float64")
    for x, g in zip(xs, gs):
        total = total + (tg.linear(tg.asarray(x), w, b) * tg.asarray(g)).sum()
    (total + (w * 2.0).sum()).backward()
    np.testing.assert_allclose(w.grad.numpy(), np.einsum("tnh,tni->hi", gs, xs) + 2, rtol=1e-11)
    np.testing.assert_allclose(b.grad.numpy(), gs.sum((0, 1)), rtol=1e-11)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda a, b: a @ b.T, r"matmul\(\[2, 3\] float32, \[4, 3\] float32\): the last axis of x1 must be as long"),
        (lambda a, b: a @ 2.0, r"matmul\(\[2, 3\] float32, \[\] float32\): the last axis of x1"),
        (lambda a, b: tg.ones((2, 1, 3)) @ tg.ones((3, 3, 1)), r"matmul\(\[2, 1, 3\] float32, \[3, 3, 1\] float32\): "),
        (lambda a, b: tg.einsum("ij,jk", a, b.T), r"einsum\(\[2, 3\] float32, \[4, 3\] float32\): "),
        (lambda a, b: tg.einsum("ijk", a), r"einsum\(\[2, 3\] float32\): 'ijk' does not name one letter for each axis"),
        (lambda a, b: tg.einsum("ij,jk", a), r"einsum\(\[2, 3\] float32\): 'ij,jk' does not name one letter"),
        (lambda a, b: tg.einsum("ij->ik", a), r"einsum\(\[2, 3\] float32\): .*output subscript 'k'"),
        (lambda a, b: tg.einsum("->"), r"einsum\('->'\) needs at least one operand"),
        (lambda a, b: tg.tensordot(a, b, axes=([5], [0])), r"tensordot\(.*\): axes \[5\] and \[0\] are not all there"),
        (lambda a, b: tg.tensordot(a, b, axes=3), r"tensordot\(.*\): there are no 3 axes to sum over"),
        (lambda a, b: tg.tensordot(a, b, axes=-1), r"there are no -1 axes to sum over"),
        (lambda a, b: tg.tensordot(a, b, axes=([0], [-3])), r"axes \[0\] and \[-3\] are not all there"),
        (lambda a, b: tg.tensordot(a, b), r"tensordot\(.*\): the axes \[0, 1\] and \[0, 1\] have different lengths"),
        (lambda a, b: tg.outer(a, a), r"outer\(\[2, 3\] float32, \[2, 3\] float32\): the arguments must be vectors"),
        (lambda a, b: tg.vecdot(a, b), r"multiply\(\[2, 3\] float32, \[3, 4\] float32\): "),
        (
            lambda a, b: tg.linear(a, b),
            r"linear\(\[2, 3\] float32, \[3, 4\] float32\): x \[\.\.\., I\], weight \[H, I\]",
        ),
        (lambda a, b: tg.linear(a, b.T, tg.ones(3)), r"linear\(.*, \[3\] float32\): .*bias \[H\] must have the same"),
    ],
)
def test_shapes_that_do_not_fit_are_named_with_the_op(act: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act(tg.ones((2, 3)), tg.ones((3, 4)))
