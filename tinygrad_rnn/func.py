"""Transforms of functions of Tensors: each takes a function and gives a function, or values, as in a textbook.

Results are recorded, so that transforms nest to any order; `detach()` what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import autograd, ops
from .ops.recording import INTEGERS
from .tensor import Tensor

Function = Callable[..., Any]
Which = int | tuple[int, ...]


def _fresh(x: Any) -> Tensor:
    """A Tensor to differentiate by, that nothing before depends on; what x itself depends on stays reachable."""
    x = ops.as_tensor(x)
    return ops.positive(x) if x.requires_grad else x.detach().requires_grad_()


def _at(args: Sequence[Any], which: Which) -> tuple[list[Any], list[Tensor]]:
    """(the arguments with those of `which` made fresh, the fresh ones)."""
    chosen = (which,) if isinstance(which, INTEGERS) else which
    if not all(isinstance(i, INTEGERS) for i in chosen):
        raise TypeError("argnums are numbers of arguments: first make the derivative, then call it, as grad(f)(x)")
    full = list(args)
    for i in chosen:
        full[i] = _fresh(full[i])
    return full, [full[i] for i in chosen]


def _like(which: Which, values: Sequence[Any]) -> Any:
    return values[0] if isinstance(which, INTEGERS) else tuple(values)


def _gradients(output: Tensor, inputs: Sequence[Tensor], seed: Tensor | None = None) -> list[Tensor]:
    """The gradients of a result, zeros where it does not depend on an input."""
    if output.node is None:
        return [ops.zeros_like(x) for x in inputs]
    found = autograd.grad(output, inputs, seed, create_graph=True, allow_unused=True)
    return [ops.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


def _number(value: Tensor) -> Tensor:
    if value.size != 1:
        raise ValueError(f"a gradient is of a function to one number, not to shape {value.shape}; use jacobian")
    return value


def value_and_grad(fn: Function, argnums: Which = 0) -> Function:
    """The function that gives (fn's value, its gradient by the arguments `argnums`); fn gives one number.

    >>> import tinygrad_rnn as tg
    >>> value, slope = value_and_grad(lambda x: x**3)(tg.tensor(2.0))
    >>> value.item(), slope.item()
    (8.0, 12.0)
    """

    @autograd.enable_grad()
    def both(*args: Any) -> tuple[Tensor, Any]:
        full, inputs = _at(args, argnums)
        value = _number(fn(*full))
        return value, _like(argnums, _gradients(value, inputs))

    return both


def grad(fn: Function, argnums: Which = 0) -> Function:
    """The gradient of a function to one number, as a function; of any order when nested.

    >>> import tinygrad_rnn as tg
    >>> grad(grad(lambda x: x**3))(tg.tensor(2.0)).item()
    12.0
    """
    both = value_and_grad(fn, argnums)
    return lambda *args: both(*args)[1]


@autograd.enable_grad()
def vjp(fn: Function, *primals: Any) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    """(fn(*primals), the function that takes a cotangent v to v^T J, one gradient per primal).

    >>> import tinygrad_rnn as tg
    >>> y, pullback = vjp(lambda x: x * x, tg.tensor([1.0, 2.0]))
    >>> pullback(tg.tensor([1.0, 1.0]))[0].tolist()
    [2.0, 4.0]
    """
    full, inputs = _at(primals, tuple(range(len(primals))))
    output = fn(*full)
    return output, lambda cotangent: tuple(_gradients(output, inputs, cotangent))


def _paired(name: str, primals: Any, tangents: Any) -> tuple[list[Any], list[Any]]:
    """Primals and tangents, one of each or several; refused if their shapes differ."""
    pair = (list(primals), list(tangents)) if isinstance(primals, list | tuple) else ([primals], [tangents])
    shapes = [[ops.as_tensor(x).shape for x in given] for given in pair]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name} takes a tangent for each primal, of its shape: {shapes[0]}, not {shapes[1]}")
    return pair


@autograd.enable_grad()
def jvp(fn: Function, primals: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """(fn(*primals), J u for the tangents u), by differentiating v -> v^T J, which is linear in v.

    Args:
        fn: the function.
        primals, tangents: where it is differentiated, and along what: a list or tuple, or for one argument that alone.

    >>> import tinygrad_rnn as tg
    >>> jvp(lambda x: x * x, tg.tensor(3.0), tg.tensor(1.0))[1].item()
    6.0
    """
    primals, tangents = _paired("jvp", primals, tangents)
    output, pullback = vjp(fn, *primals)
    cotangent = ops.zeros_like(output).requires_grad_()
    pulled = pullback(cotangent)
    total = ops.zeros((), dtype=output.dtype, device=output.device)
    for gradient, tangent in zip(pulled, tangents, strict=True):
        total = total + ops.sum(gradient * tangent)
    return output, _gradients(total, [cotangent])[0]


@autograd.enable_grad()
def hvp(fn: Function, primals: Any, tangents: Any) -> Any:
    """The Hessian of a function to one number, times tangents, without forming it: one Tensor per primal.

    Arguments as `jvp` has them.

    >>> import tinygrad_rnn as tg
    >>> hvp(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 0.0])).tolist()
    [6.0, 0.0]
    """
    alone = not isinstance(primals, list | tuple)
    primals, tangents = _paired("hvp", primals, tangents)
    full, inputs = _at(primals, tuple(range(len(primals))))
    value, total = _number(fn(*full)), ops.zeros(())
    for gradient, tangent in zip(_gradients(value, inputs), tangents, strict=True):
        total = total + ops.sum(gradient * tangent)
    found = _gradients(total, inputs)
    return found[0] if alone else tuple(found)


def jacobian(fn: Function, argnums: Which = 0) -> Function:
    """The function that gives dfn/dx of shape (*result, *argument), one backward pass per element of the result.

    >>> import tinygrad_rnn as tg
    >>> jacobian(lambda x: x * x)(tg.tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """

    @autograd.enable_grad()
    def matrix(*args: Any) -> Any:
        full, inputs = _at(args, argnums)
        output = fn(*full)
        seeds = ops.eye(output.size, dtype=output.dtype, device=output.device)
        rows = [_gradients(output, inputs, ops.reshape(seed, output.shape)) for seed in seeds]
        jacobians = []
        for i, x in enumerate(inputs):
            flat = ops.stack([row[i] for row in rows]) if rows else ops.zeros((0, *x.shape), dtype=x.dtype)
            jacobians.append(ops.reshape(flat, (*output.shape, *x.shape)))
        return _like(argnums, jacobians)

    return matrix


def hessian(fn: Function, argnums: int = 0) -> Function:
    """The function that gives the matrix of second derivatives of a function to one number, (*x.shape, *x.shape).

    >>> import tinygrad_rnn as tg
    >>> hessian(lambda x: (x**3).sum())(tg.tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(grad(fn, argnums), argnums)
