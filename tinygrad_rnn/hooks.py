"""Hooks: who looks at a gradient as it passes a node, and may put another in its place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

hooked: WeakSet[Any] = WeakSet()  # the nodes that have hooks; the hooks are the nodes' own, for they may hold them


class Hook(partial[Any]):
    """A hook that is there: `remove()`, or a call, takes it away."""

    def remove(self) -> None:
        """Take it away, if it is still there."""
        self()

    def __repr__(self) -> str:
        return "<Hook>"


class Retained:
    """A hook that adds up the gradients that come by: what `.grad` is of a Tensor that is no leaf."""

    grad: Any = None

    def __call__(self, g: Any) -> None:
        """Take one more."""
        self.grad = g if self.grad is None else self.grad + g


def add_hook(node: Any, hook: Callable[[Any], Any]) -> Hook:
    """Call `hook` with the whole gradient of a node's result; what it returns, if not None, replaces the gradient."""
    if node not in hooked:
        hooked.add(node)
        node.hooks = {}
    key = object()  # a function may be there twice
    node.hooks[key] = hook
    return Hook(node.hooks.pop, key, None)


def retained(node: Any) -> Retained | None:
    """The hook of a node that keeps its gradient, if there is one."""
    return next((hook for hook in node.hooks.values() if type(hook) is Retained), None) if node in hooked else None


def run_hooks(node: Any, g: Any, tensors: Any, create_graph: bool) -> Any:
    """The gradient of a node's result, after all its hooks have seen it.

    Args:
        tensors: the `xp` of Tensors, as which hooks get the gradient.
        create_graph: whether it is a Tensor already.

    Raises:
        TypeError, ValueError: a hook returned no Tensor, or one of another shape.
    """
    wrapped = g if create_graph else tensors.wrap(g)
    for hook in sorted(node.hooks.values(), key=lambda hook: type(hook) is Retained):  # which comes last
        changed = hook(wrapped)
        if changed is None:
            continue
        if type(changed) is not type(wrapped):
            raise TypeError(
                f"a hook on {node} returned a {type(changed).__name__}; return a Tensor, or None to leave the gradient"
            )
        if tuple(changed.shape) != node.shape:
            raise ValueError(
                f"a hook on {node} returned a gradient of shape {tuple(changed.shape)}; "
                f"return one of shape {node.shape}, or None to leave it"
            )
        wrapped = tensors.astype(changed, wrapped.dtype)
    return wrapped if create_graph else wrapped.data
