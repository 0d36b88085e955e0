"""Linear algebra: values against NumPy's, derivatives where there are some, a refusal where there are none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import linalg

RNG = np.random.default_rng(0)
SQUARE, TALL = RNG.standard_normal((2, 3, 3)), RNG.standard_normal((2, 4, 3))
SYMMETRIC = SQUARE @ SQUARE.swapaxes(-1, -2) + np.eye(3)
FORWARD_ONLY = {
    "cholesky": SYMMETRIC, "det": SQUARE, "eigh": SYMMETRIC, "eigvalsh": SYMMETRIC, "inv": SQUARE, "pinv": TALL,
    "qr": TALL, "slogdet": SQUARE, "svd": TALL, "svdvals": TALL,
}  # fmt: skip


def close(found: Any, expected: Any) -> None:
    for ours, theirs in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", FORWARD_ONLY)
def test_values_are_those_of_numpy(name: str) -> None:
    close(getattr(tg.linalg, name)(tg.asarray(FORWARD_ONLY[name])), getattr(np.linalg, name)(FORWARD_ONLY[name]))


@pytest.mark.parametrize("name", FORWARD_ONLY)
def test_what_is_forward_only_says_so(name: str) -> None:
    x = tg.asarray(FORWARD_ONLY[name]).requires_grad_()
    with pytest.raises(tg.GraphError, match=r"linalg\.\w+ is forward only: it has no derivative; give it \.detach\(\)"):
        getattr(linalg, name)(x)
    with tg.no_grad():
        getattr(linalg, name)(x)


def test_options_and_functions_of_two_arguments() -> None:
    square, tall = tg.asarray(SQUARE), tg.asarray(TALL)
    close(linalg.solve(square, tall[:, :3]), np.linalg.solve(SQUARE, TALL[:, :3]))
    close(linalg.matrix_power(square, -2), np.linalg.matrix_power(SQUARE, -2))
    close(linalg.svd(tall, full_matrices=False).U, np.linalg.svd(TALL, full_matrices=False).U)
    close(linalg.qr(tall, mode="complete").Q, np.linalg.qr(TALL, mode="complete").Q)
    close(linalg.cholesky(tg.asarray(SYMMETRIC), upper=True), np.linalg.cholesky(SYMMETRIC).swapaxes(-1, -2))
    close(linalg.pinv(tall, rtol=0.5), np.linalg.pinv(TALL, rtol=0.5))
    assert linalg.matrix_rank(tg.asarray(np.diag([1.0, 1e-3, 0.0]))).item() == 2
    assert linalg.matrix_rank(tg.asarray(np.diag([1.0, 1e-3, 0.0])), rtol=0.1).item() == 1


def test_integers_are_computed_in_the_default_float() -> None:
    assert linalg.inv([[2, 0], [0, 4]]).dtype == np.float32
    assert linalg.pinv([[2, 0], [0, 4]]).tolist() == [[0.5, 0.0], [0.0, 0.25]]


def test_a_singular_matrix_is_named_with_its_shape() -> None:
    with pytest.raises(ValueError, match=r"linalg\.inv\(\[2, 2\] float32\): Singular matrix"):
        linalg.inv(tg.ones((2, 2)))


@pytest.mark.parametrize("ord", [0, 1, 2, 3, -1, math.inf, -math.inf])
def test_norms_of_vectors(ord: float) -> None:
    close(linalg.vector_norm(tg.asarray(TALL), ord=ord, axis=1), np.linalg.vector_norm(TALL, ord=ord, axis=1))
    close(
        linalg.vector_norm(tg.asarray(TALL), ord=ord, keepdims=True),
        np.linalg.vector_norm(TALL, ord=ord, keepdims=True),
    )


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf])
def test_norms_of_matrices(ord: Any) -> None:
    for keepdims in (False, True):
        expected = np.linalg.matrix_norm(TALL, ord=ord, keepdims=keepdims)
        close(linalg.matrix_norm(tg.asarray(TALL), ord=ord, keepdims=keepdims), expected)


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="matrix_norm knows ord 'fro', 'nuc', 1, -1, 2, -2, inf and -inf, not 3"):
        linalg.matrix_norm(tg.ones((2, 2)), ord=3)


@pytest.mark.parametrize("offset", range(-5, 5))
def test_diagonals_and_traces(offset: int) -> None:
    x = tg.asarray(TALL)
    close(linalg.diagonal(x, offset=offset), np.linalg.diagonal(TALL, offset=offset))
    close(linalg.trace(x, offset=offset), np.linalg.trace(TALL, offset=offset))


@pytest.mark.parametrize(
    "function",
    [
        linalg.vector_norm,
        lambda x: linalg.vector_norm(x, ord=3, axis=-1),
        lambda x: linalg.matrix_norm(x, ord=math.inf),
        lambda x: linalg.matrix_norm(x, keepdims=True),
        lambda x: linalg.trace(x, offset=-1),
        lambda x: linalg.diagonal(x, offset=1),
    ],
)
def test_derivatives(function: Any) -> None:
    assert tg.gradcheck(function, [tg.asarray(TALL).requires_grad_()], order=2)


def test_the_norm_of_zeros_has_the_gradient_zero() -> None:
    x = tg.zeros((2, 3)).requires_grad_()
    norms = linalg.vector_norm(x, axis=-1)
    assert norms.tolist() == [0, 0]
    norms.sum().backward()
    assert not x.grad.numpy().any()


def test_a_cell_may_use_norms() -> None:
    @tg.cell(arity=1, state={"h": 3})
    def normed(x: Any, kids: Any) -> Any:
        h = x + kids[0].h
        return h / (1 + tg.linalg.vector_norm(h, axis=-1, keepdims=True))

    rows = RNG.standard_normal((4, 3))
    h = np.zeros(3)
    for row in rows:
        h = (row + h) / (1 + np.linalg.norm(row + h))
    close(tg.unfold(normed, tg.chain([4]), tg.asarray(rows)).last().h, h[None])


def test_a_cell_that_decomposes_matrices_runs_eagerly(device: str) -> None:
    @tg.cell(arity=1, state={"h": 1})
    def volume(x: Any, kids: Any) -> Any:
        return tg.reshape(tg.linalg.det(tg.reshape(x, (-1, 2, 2))), (-1, 1))

    matrices = RNG.standard_normal((4, 4))
    found = tg.unfold(volume, tg.chain([4]), tg.asarray(matrices)).all().h
    close(found[:, 0], np.linalg.det(matrices.reshape(-1, 2, 2)))
    if device == "cpu":
        assert "linalg is not traced" in str(tg.explain(volume, tg.chain([4]), tg.asarray(matrices)))


def test_norms_of_integers_do_not_overflow() -> None:
    assert linalg.vector_norm(tg.asarray(np.array([100, 100], "i1"))).item() == pytest.approx(141.421, rel=1e-5)
    assert linalg.vector_norm([-2, 4], ord=-1).item() == pytest.approx(4 / 3)
    assert linalg.vector_norm([1, -3], ord=math.inf).dtype == np.float32
    assert linalg.matrix_norm(tg.asarray(np.full((2, 2), 100, "i1")), ord=1).item() == 200


def test_complex_matrices() -> None:
    z = SQUARE + 1j * SQUARE.swapaxes(-1, -2)
    positive = z @ z.conj().swapaxes(-1, -2) + np.eye(3)
    close(linalg.cholesky(tg.asarray(positive), upper=True), np.linalg.cholesky(positive, upper=True))
    close(tg.vecdot(tg.asarray(z), tg.asarray(z * 1j)), np.vecdot(z, z * 1j))
    close(linalg.vector_norm(tg.asarray(z)), np.linalg.vector_norm(z))


def test_another_mode_of_qr_is_refused() -> None:
    with pytest.raises(ValueError, match=r"linalg\.qr knows the modes 'reduced' and 'complete', not 'r'"):
        linalg.qr(tg.ones((2, 2)), mode="r")
