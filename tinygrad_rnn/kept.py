"""What an unfolding keeps for inspection: the gradients that a backward pass sends by its states and its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from . import ops, tape
from .cell import State
from .gradient import Bag
from .tensor import Tensor


class Kept:
    """The gradients that were asked for by name: "state_grad", "parameter_grad"."""

    def __init__(self, names: Sequence[str]) -> None:
        asked = {names} if isinstance(names, str) else set(names)
        if unknown := asked - {"state_grad", "parameter_grad"}:
            raise ValueError(f"keep knows 'state_grad' and 'parameter_grad', not {sorted(unknown)}")
        self.states = StateGradients() if "state_grad" in asked else None
        self.parameters = ParameterGradients() if "parameter_grad" in asked else None


class StateGradients:
    """dL/dstate of each block of states."""

    def __init__(self) -> None:
        self._found: list[dict[int, Tensor]] = []  # by block and field

    def watch(self, state: State) -> State:
        """The next block, whose gradients are noted when the backward pass comes by."""
        found: dict[int, Tensor] = {}
        self._found.append(found)
        own = type(state)(*map(ops.positive, state))  # a cell may return what it read: another vertex's state
        for field, value in enumerate(own):
            if value.node is None and tape.thread.now.recording and value.dtype.kind == "f":
                # It was computed from constants alone: recorded as the copy of one, its own gradient comes by.
                row, scope = ops.derivatives.TABLE["positive"], tape.thread.now.scope
                value.node = tape.Node(row, (None,), (), value.shape, scope)
            if value.node is not None:
                tape.add_hook(value.node, partial(_note, found, field))
        return own

    def of(self, blocks: Sequence[State]) -> list[list[Tensor]]:
        """The gradient of each field of each block, zeros for those that the loss does not depend on.

        Raises:
            ValueError: no backward pass has come by any of them.
        """
        if self._found and not any(self._found):
            raise ValueError("no backward pass has come by these states: call backward() on what depends on them first")
        return [
            [found.get(field, ops.zeros_like(value)) for field, value in enumerate(block)]
            for block, found in zip(blocks, self._found, strict=True)
        ]


def _note(found: dict[int, Tensor], field: int, g: Tensor) -> None:
    found[field] = g.detach()


class ParameterGradients:
    """The gradient of each parameter by level: the W^(t) of backpropagation through time, before they are summed."""

    def __init__(self) -> None:
        self._found: dict[tape.Node, dict[int, Any]] = {}

    def observe(self, xp: Any, level: int, leaf: tape.Node, c: Any) -> None:
        """Take one contribution of a level to a leaf."""
        g = Bag(c).total(xp, leaf.shape)
        g = g.data if isinstance(g, Tensor) else g
        levels = self._found.setdefault(leaf, {})
        levels[level] = g if level not in levels else levels[level] + g

    def of(self, parameter: Tensor, levels: int) -> Tensor:
        """[levels, *parameter.shape], zeros where a level contributed nothing.

        Raises:
            ValueError: the Tensor requires no gradient, or no backward pass has come by any.
        """
        node: Any = getattr(parameter, "node", None)
        if node is None:
            raise ValueError("there is no gradient by level of a Tensor that requires none; give one of the parameters")
        if not self._found:
            raise ValueError(
                "no backward pass has come by any parameter: call backward() on what depends on them first"
            )
        found = self._found.get(node, {})
        out = ops.zeros((levels, *parameter.shape), dtype=parameter.dtype, device=parameter.device)
        for level, g in found.items():
            out.data[level] = g
        return out
