"""Differentiation: `backward`, `grad`, what is recorded, recomputation, and the check of derivatives by differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import _GeneratorContextManager
from functools import partial
from typing import Any

import numpy as np

from . import backend, ops, tape
from .ops import random
from .tape import GraphError, Leaf, Node, Row
from .tensor import Tensor


def no_grad() -> _GeneratorContextManager[None]:
    """Inside, nothing is recorded; also a decorator.

    >>> import tinygrad_rnn as tg
    >>> x = tg.ones(2).requires_grad_()
    >>> with tg.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    return tape.set_recording(False)


def enable_grad() -> _GeneratorContextManager[None]:
    """Inside, operations are recorded again, within a `no_grad` too; also a decorator."""
    return tape.set_recording(True)


def is_grad_enabled() -> bool:
    """Whether operations are recorded now."""
    return tape.thread.now.recording


_OF_SHAPES = (np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like)


def through_numpy(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What a function of NumPy gives for the arrays of Tensors, as long as no gradient would get lost.

    Raises:
        GraphError: it computes floating numbers of a recorded Tensor.
    """
    recorded = False

    def plain(value: Any) -> Any:
        nonlocal recorded
        if isinstance(value, list | tuple):
            return [plain(v) for v in value] if isinstance(value, list) else tuple([plain(v) for v in value])
        if not isinstance(value, Tensor):
            return value
        if function in _OF_SHAPES:
            return np.broadcast_to(np.zeros((), value.dtype), value.shape)
        recorded = recorded or value.requires_grad
        array = np.asarray(value).view()
        array.flags.writeable = False
        return array

    result = function(*map(plain, args), **{name: plain(value) for name, value in kwargs.items()})
    if recorded and is_grad_enabled():
        for found in result if isinstance(result, list | tuple) else (result,):
            if getattr(found, "dtype", np.dtype(bool)).kind in "fc":
                name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
                raise GraphError(f"{name} of a recorded Tensor has no gradient: take tg's, or give it x.numpy()")
    return result


def rebound(x: Tensor) -> Tensor:
    """The Tensor, unless `x += y` would leave a parameter as it is: that binds the name x to another Tensor.

    Raises:
        GraphError: it requires a gradient, nothing is recorded now, and it is not a cell that computes.
    """
    if type(x.node) is Leaf and not is_grad_enabled() and tape.thread.now.scope is None:
        raise GraphError(
            "+=, -=, *= and /= make a new Tensor, and leave the parameter as it is: take a step with tg.optim.SGD, or "
            "by w.data = w.data - lr * w.grad.data"
        )
    return x


def _seed(output: Tensor, gradient: Tensor | None) -> Tensor:
    """The gradient that a backward pass starts from."""
    if gradient is None:
        if output.size != 1:
            raise GraphError(
                f"backward from shape {output.shape} needs a gradient of that shape; only one element needs none: "
                "call .sum() first, or pass gradient="
            )
        return Tensor(backend.of(output.data).ones(output.data.shape, dtype=output.data.dtype))
    gradient = ops.as_tensor(gradient)
    if gradient.shape != output.shape:
        raise ValueError(f"the gradient has shape {gradient.shape}, the Tensor it belongs to {output.shape}")
    if gradient.data.__class__ is not output.data.__class__:
        raise backend.DeviceError(f"the gradient is on {gradient.device}, the Tensor it belongs to on {output.device}")
    return ops.astype(gradient, output.dtype)


def backward(
    output: Tensor, gradient: Tensor | None = None, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Add d output / d leaf to `.grad` of every leaf that requires it.

    Args:
        output: where it starts.
        gradient: the gradient of what follows by `output`, of its shape; 1 for a Tensor of one element.
        retain_graph: keep what the graph saved, so that it can be walked again; implied by `create_graph`.
        create_graph: record this pass too, so that the gradients can be differentiated.

    Raises:
        GraphError: nothing was recorded, the graph was freed, or a saved array was written to since.
    """
    if output.node is None:
        raise GraphError("this Tensor was not recorded: no Tensor it was computed from requires a gradient")
    seed = _seed(output, gradient)
    _walk([output.node], [seed], None, retain_graph or create_graph, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """The gradients of (the sum of) `outputs` by each of `inputs`; no `.grad` changes.

    Args:
        outputs, grad_outputs: as `output` and `gradient` of `backward`, one or several.
        inputs: recorded Tensors, leaves or not.
        create_graph: record this pass too, so that the gradients can be differentiated.
        allow_unused: give None for an input that the outputs do not depend on.
        retain_graph: keep what the graph saved; default: `create_graph`.

    Raises:
        GraphError: as `backward`; or an input is not recorded, or not used without `allow_unused`.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> (dy,) = tg.grad(x**3, x, create_graph=True)
    >>> tg.grad(dy, x)[0].item()
    18.0
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs or [None] * len(outs))
    if len(given) != len(outs):
        raise ValueError(f"{len(given)} grad_outputs for {len(outs)} outputs")
    nodes = []
    for i, x in enumerate(ins):
        if x.node is None:
            raise GraphError(f"input {i} (shape {x.shape}) was not recorded; create it with requires_grad=True")
        nodes.append(x.node)
    pairs = [(o.node, _seed(o, g)) for o, g in zip(outs, given, strict=True) if o.node is not None]
    if not pairs and not allow_unused:
        raise GraphError("no output was recorded: no Tensor they were computed from requires a gradient")
    retain = create_graph if retain_graph is None else retain_graph
    found = _walk([n for n, _ in pairs], [g for _, g in pairs], nodes, retain, create_graph)
    results: list[Tensor | None] = []
    for i, (x, node) in enumerate(zip(ins, nodes, strict=True)):
        g = found.get(node)
        if g is None and not allow_unused:
            raise GraphError(f"the outputs do not depend on input {i} (shape {x.shape}); allow_unused=True gives None")
        results.append(None if g is None else g if isinstance(g, Tensor) else ops.wrap(g))
    return tuple(results)


def _walk(
    nodes: list[Node], seeds: list[Tensor], inputs: list[Node] | None, retain_graph: bool, create_graph: bool
) -> dict[Node, Any]:
    gradients = seeds if create_graph else [g.data for g in seeds]
    with tape.set_recording(create_graph):
        return tape.run_backward(nodes, gradients, inputs, retain_graph, create_graph)


def checkpoint(fn: Callable[..., Any], *args: Any) -> Any:
    """`fn(*args)`, of whose inner results nothing is kept: the backward pass computes them again.

    `fn` must give a Tensor or a tuple (NamedTuple) of Tensors and compute the same again; dropout draws the same masks.
    So no optimiser may step in between: that is noticed where a derivative reads the parameter itself.
    Gradients flow to the arguments and to every Tensor that `fn` reaches (Chen et al. 2016, arXiv 1604.06174).

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda v: (v * v).sum(), x).backward()
    >>> x.grad
    Tensor([2., 4.], dtype=float32)
    """
    if not tape.thread.now.recording:
        return fn(*args)
    start = tape.next_serial()
    before = random.snapshot()
    result = fn(*args)
    outputs = (result,) if isinstance(result, Tensor) else tuple(result) if isinstance(result, tuple | list) else ()
    if not outputs or not all(isinstance(t, Tensor) for t in outputs):
        raise TypeError(
            f"checkpoint: the function gave {type(result).__name__}; it must give a Tensor or a tuple of them"
        )
    inner = tape.reachable([t.node for t in outputs if t.node is not None], since=start)
    outside = dict.fromkeys(p for node in inner for p in node.parents if p is not None and p.serial < start)
    outside.update((t.node, None) for t in outputs if t.node is not None and t.node.serial < start)

    given = [(x, x.data) for x in args if isinstance(x, Tensor)]

    def again(xp: Any, g: dict[int, Any], needed: list[bool], kept: Any) -> list[Any]:
        if any(x.data is not array for x, array in given):
            raise GraphError("checkpoint: an argument was assigned to since; its function can't be computed again")
        since = tape.next_serial()
        with tape.set_recording(True), random.replay(before):
            repeated = fn(*args)
        repeated = (repeated,) if isinstance(repeated, Tensor) else tuple(repeated)
        if any(repeated[i].node is None for i in g):
            raise GraphError("checkpoint: the function computes other things when it is called again")
        starts = [(repeated[i].node, value) for i, value in g.items()]
        wanted = [p for p, need in zip(outside, needed, strict=True) if need]
        recorded = xp is tape.tensors
        found = tape.run_backward([n for n, _ in starts], [v for _, v in starts], wanted, recorded, recorded, since)
        return [found.get(p) for p in outside]

    # What the replay will read from outside, so that a write to it in between is noticed.
    kept = [array for _, array in given]
    for inside in inner:
        pairs = zip(inside.row.roles, inside.saved or (), strict=True)
        for role, value in pairs:
            if role >= 0 and isinstance(inside.parents[role], Leaf):
                kept.append(value)
            elif role == -3:
                kept += [a for a, parent in zip(value, inside.parents, strict=True) if isinstance(parent, Leaf)]
            elif type(value) is list:  # the leaves that an unfolding, or a checkpoint, has read itself
                kept += [a for a in value if backend.known(a)]
    node = Node(Row("checkpoint", (), joint=again), tuple(outside), (kept,), None, tape.thread.now.scope)
    outs = [ops.output(t.data, node, i) if t.node is not None else t for i, t in enumerate(outputs)]
    if isinstance(result, Tensor):
        return outs[0]
    return type(result)(*outs) if hasattr(result, "_fields") else tuple(outs)


def gradcheck(
    fn: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Tensor],
    order: int = 2,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    seed: int = 0,
) -> bool:
    """Compare the derivatives of `fn(*inputs)` with central differences, by random directions, up to an order.

    The pullback of a random cotangent, <v, J u>, is checked against (f(x + eps u) - f(x - eps u)) / (2 eps); for order
    2 the same is done for the gradient as a function of the inputs. Directions have no tiny components.

    Args:
        inputs: Tensors of float64, or a single one; those that require a gradient are checked, and arrays.

    Returns:
        True.

    Raises:
        AssertionError: derivative and difference differ; the message has both.
        TypeError: an input is not float64.
        GraphError: the result does not depend on the inputs.

    >>> import tinygrad_rnn as tg
    >>> gradcheck(lambda x: (x.tanh() * x).sum(), [tg.tensor([0.3, -0.2], dtype="float64", requires_grad=True)])
    True
    """
    given = [inputs] if isinstance(inputs, Tensor) or backend.known(inputs) else inputs
    inputs = [x if isinstance(x, Tensor) else ops.tensor(x, requires_grad=True) for x in given]
    checked = [i for i, x in enumerate(inputs) if x.requires_grad]
    if not checked:
        raise GraphError("gradcheck: no input requires a gradient")
    for i in checked:
        if inputs[i].dtype != np.float64:
            raise TypeError(f"gradcheck: input {i} is {inputs[i].dtype}; differences need float64")
    rng = np.random.default_rng(seed)

    def direction(like: Tensor) -> Tensor:
        signs = rng.choice([-1.0, 1.0], size=like.shape)
        return ops.asarray(np.asarray(signs * rng.uniform(0.5, 1.0, size=like.shape)), device=like.device)

    def scalar(*xs: Tensor) -> Tensor:
        """<v, fn(x)> for a fixed random v: fn as a function to the numbers."""
        result = fn(*xs)
        tensors = [result] if isinstance(result, Tensor) else list(result)
        if not cotangents:
            cotangents.extend(direction(t) for t in tensors)
        first, *others = [(t * v).sum() for t, v in zip(tensors, cotangents, strict=True)]
        return sum(others, first)

    def slope(lower: Callable[..., Tensor], weights: list[Tensor], *xs: Tensor) -> Tensor:
        """<u, gradient of the function one order lower>."""
        gradients = grad(lower(*xs), [xs[i] for i in checked], create_graph=True, allow_unused=True)
        terms = [(g * w).sum() for g, w in zip(gradients, weights, strict=True) if g is not None]
        return sum(terms[1:], terms[0]) if terms else ops.zeros((), dtype=np.float64)

    def by_tape(checkee: Callable[..., Tensor], ahead: list[Tensor]) -> float:
        leaves = [x.detach().requires_grad_() if x.requires_grad else x for x in inputs]
        value = checkee(*leaves)
        if value.node is None:
            return 0.0
        gradients = grad(value, [leaves[i] for i in checked], allow_unused=True)
        for i, g in zip(checked, gradients, strict=True):
            if g is not None and (g.shape != inputs[i].shape or g.dtype != inputs[i].dtype):
                raise AssertionError(f"the gradient of input {i} is {g.shape} {g.dtype}, the input {inputs[i].shape}")
        return sum(float((g * u).sum()) for g, u in zip(gradients, ahead, strict=True) if g is not None)

    def moved(checkee: Callable[..., Tensor], ahead: list[Tensor], step: float) -> float:
        xs = list(inputs)
        for i, u in zip(checked, ahead, strict=True):
            xs[i] = (inputs[i].detach() + u * step).requires_grad_()
        return float(checkee(*xs))

    cotangents: list[Tensor] = []
    checkee: Callable[..., Tensor] = scalar
    for which in ("first", "second", "third", "fourth")[:order]:
        ahead = [direction(inputs[i]) for i in checked]
        a, b = by_tape(checkee, ahead), (moved(checkee, ahead, eps) - moved(checkee, ahead, -eps)) / (2 * eps)
        if not abs(a - b) <= atol + rtol * max(abs(a), abs(b)):
            raise AssertionError(f"{which} derivative: the tape gives {a:.10g}, central differences {b:.10g}")
        checkee = partial(slope, checkee, [direction(inputs[i]) for i in checked])
    return True
