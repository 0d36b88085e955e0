"""Ops that move elements: values against NumPy's, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("ours", "numpys"),
    [
        (lambda x: tg.reshape(x, (4, -1)), lambda x: x.reshape(4, -1)),
        (lambda x: x.reshape(6, 4), lambda x: x.reshape(6, 4)),
        (lambda x: x.reshape((6, 4)), lambda x: x.reshape(6, 4)),
        (lambda x: x.reshape(-1), lambda x: x.reshape(-1)),
        (lambda x: tg.expand_dims(x, axis=-1), lambda x: np.expand_dims(x, -1)),
        (lambda x: tg.expand_dims(x, axis=np.int64(1)), lambda x: np.expand_dims(x, 1)),
        (lambda x: tg.expand_dims(x, axis=(0, 2)), lambda x: np.expand_dims(x, (0, 2))),
        (lambda x: tg.squeeze(x[:1], axis=0), lambda x: x[0]),
        (lambda x: tg.permute_dims(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1)),
        (lambda x: x.mT, lambda x: x.swapaxes(-1, -2)),
        (lambda x: x[0].T, lambda x: x[0].T),
        (lambda x: tg.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1)),
        (lambda x: tg.moveaxis(x, (0, 1), (-1, 0)), lambda x: np.moveaxis(x, (0, 1), (-1, 0))),
        (
            lambda x: tg.moveaxis(tg.stack([x, x]), (0, 1), (1, 0)),
            lambda x: np.moveaxis(np.stack([x, x]), (0, 1), (1, 0)),
        ),
        (
            lambda x: tg.moveaxis(tg.stack([x, x]), (0, 2), (2, 1)),
            lambda x: np.moveaxis(np.stack([x, x]), (0, 2), (2, 1)),
        ),
        (lambda x: tg.broadcast_to(x[:, :1], (2, 3, 4)), lambda x: np.broadcast_to(x[:, :1], (2, 3, 4))),
        (lambda x: tg.flip(x), lambda x: np.flip(x)),
        (lambda x: tg.flip(x, axis=(0, -1)), lambda x: np.flip(x, (0, -1))),
        (lambda x: tg.roll(x, 5), lambda x: np.roll(x, 5)),
        (lambda x: tg.roll(x, (1, -1), axis=(0, 2)), lambda x: np.roll(x, (1, -1), (0, 2))),
        (lambda x: tg.tril(x, k=1), lambda x: np.tril(x, 1)),
        (lambda x: tg.triu(x, k=-1), lambda x: np.triu(x, -1)),
        (lambda x: tg.concat([x, x], axis=-1), lambda x: np.concatenate([x, x], -1)),
        (lambda x: tg.concat([x, x[0]], axis=None), lambda x: np.concatenate([x, x[0]], None)),
        (lambda x: tg.stack([x, x], axis=-1), lambda x: np.stack([x, x], -1)),
        (lambda x: tg.split(x, 2, axis=2)[1], lambda x: x[:, :, 2:]),
        (lambda x: tg.split(x, [1, 0, 2], axis=1)[2], lambda x: x[:, 1:]),
        (lambda x: tg.split(x, np.array([1, 2]), axis=np.int64(1))[1], lambda x: x[:, 1:]),
        (lambda x: tg.unstack(x, axis=1)[2], lambda x: x[:, 2]),
        (lambda x: tg.repeat(x, 2, axis=1), lambda x: np.repeat(x, 2, 1)),
        (lambda x: tg.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3))),
        (lambda x: tg.tile(x, (2,)), lambda x: np.tile(x, (2,))),
        (lambda x: tg.take(x, [2, 0, 2], axis=1), lambda x: x.take([2, 0, 2], 1)),
        (lambda x: tg.take(x, [], axis=0), lambda x: x[:0]),
        (
            lambda x: tg.broadcast_to(tg.reshape(x, (24,))[:4], (3, 4)),
            lambda x: np.broadcast_to(np.arange(4.0), (3, 4)),
        ),
    ],
)
def test_values_are_those_of_numpy_and_gradients_flow(ours: Any, numpys: Any) -> None:
    x = tg.tensor(X, requires_grad=True)
    out, expected = ours(x), numpys(X)
    np.testing.assert_array_equal(out.numpy(), expected)
    (out * out).sum().backward()
    # Each element of the result is one of x or 0, so sum(x * dL/dx) = 2 L counts every one of them once.
    assert (x.grad * x).sum().item() == 2 * (expected**2).sum()


def test_concat_of_repeated_rows_repeats_one_row() -> None:
    a = tg.broadcast_to(tg.tensor([[1.0, 2.0]]), (3, 2))
    joined = tg.concat([a, a], axis=1)
    assert joined.tolist() == [[1, 2, 1, 2]] * 3
    assert joined.data.strides[0] == 0


@pytest.mark.parametrize(
    ("error", "act", "message"),
    [
        (ValueError, lambda a: tg.reshape(a, (4, 4)), r"reshape\(\[2, 3\] float32, tuple \(4, 4\)\): cannot reshape"),
        (
            IndexError,
            lambda a: tg.expand_dims(a, axis=9),
            r"expand_dims: axis 9 is out of range for a result of 3 axes",
        ),
        (ValueError, lambda a: tg.squeeze(a, 0), r"squeeze: axis 0 of shape \(2, 3\) is no axis of length 1"),
        (ValueError, lambda a: tg.squeeze(a, 5), r"squeeze: axis 5 of shape \(2, 3\)"),
        (
            ValueError,
            lambda a: tg.permute_dims(a, (0, 0)),
            r"permute_dims: axes \(0, 0\) do not name each axis of shape",
        ),
        (ValueError, lambda a: a[0].mT, r"matrix_transpose needs two axes or more, not shape \(3,\)"),
        (ValueError, lambda a: a[0].T, r"\.T is for matrices, not shape \(3,\); use \.mT or permute_dims"),
        (ValueError, lambda a: tg.moveaxis(a, (0, 1), (0, 0)), "moveaxis.*: as many axes must come from as go to"),
        (ValueError, lambda a: tg.moveaxis(a, (0, 1), 0), "moveaxis.*: as many axes must come from as go to"),
        (IndexError, lambda a: tg.moveaxis(a, 0, 7), r"moveaxis: axis 7 is out of range for shape \(2, 3\)"),
        (ValueError, lambda a: tg.broadcast_to(a, (4, 4)), r"broadcast_to\(\[2, 3\] float32, tuple \(4, 4\)\): "),
        (ValueError, lambda a: tg.flip(a, axis=5), r"flip\(\[2, 3\] float32\): axis 5"),
        (ValueError, lambda a: tg.roll(a, 1, axis=5), r"roll\(\[2, 3\] float32\): axis 5"),
        (ValueError, lambda a: tg.tril(a[0]), r"tril needs two axes or more, not shape \(3,\)"),
        (ValueError, lambda a: tg.triu(tg.tensor(1.0)), r"triu needs two axes or more, not shape \(\)"),
        (ValueError, lambda a: tg.concat([a, a[:, :2]]), r"concat\(\[2, 3\] float32, \[2, 2\] float32\): "),
        (ValueError, lambda a: tg.concat([]), "concat needs at least one Tensor"),
        (IndexError, lambda a: tg.concat([a], axis=2), r"concat: axis 2 is out of range for shape \(2, 3\)"),
        (ValueError, lambda a: tg.stack([a, a[:1]]), r"stack: the shapes differ: \[\(2, 3\), \(1, 3\)\]"),
        (ValueError, lambda a: tg.split(a, 2, axis=1), "split: an axis of length 3 is not 2 equal parts; give their"),
        (ValueError, lambda a: tg.split(a, [1, 1], axis=1), r"split: lengths \[1, 1\] do not add up to 3, .* axis 1"),
        (ValueError, lambda a: tg.split(a, [4, -1], axis=1), r"split: lengths \[4, -1\] do not add up to 3"),
        (IndexError, lambda a: tg.split(a, 1, axis=2), r"split: axis 2 is out of range for shape \(2, 3\)"),
        (IndexError, lambda a: tg.unstack(a, axis=2), r"unstack: axis 2 is out of range for shape \(2, 3\)"),
        (ValueError, lambda a: tg.repeat(a, -1, axis=0), r"repeat: -1 times along axis 0 does not fit shape \(2, 3\)"),
        (ValueError, lambda a: tg.repeat(a, 2, axis=2), r"repeat: 2 times along axis 2 does not fit shape \(2, 3\)"),
        (IndexError, lambda a: tg.take(a, [0], axis=4), r"take: axis 4 is out of range for shape \(2, 3\)"),
    ],
)
def test_what_does_not_fit_is_named_with_the_op(error: Any, act: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        act(tg.ones((2, 3)))


def test_concat_of_repeated_rows_checks_how_many_there_are() -> None:
    one, other = (tg.broadcast_to(tg.ones((1, 2)), (n, 2)) for n in (3, 5))
    with pytest.raises(ValueError, match=r"concat\(\[3, 2\] float32, \[5, 2\] float32"):
        tg.concat([one, other], axis=1)


def test_pieces_are_repeated_as_often_as_each_is_told() -> None:
    x = tg.asarray([[1.0, 2.0], [3.0, 4.0]]).requires_grad_()
    assert tg.repeat(x, 2).tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    out = tg.repeat(x, tg.asarray([0, 3]), axis=1)
    assert out.tolist() == [[2, 2, 2], [4, 4, 4]]
    out.sum().backward()
    assert x.grad.tolist() == [[0, 3], [0, 3]]
