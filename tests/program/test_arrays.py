"""Which arrays are shared: played through with names in place of numbers, every read finds what was written there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.program.cells import WHICH, Random, inputs_of, recipes, running, structures
from tests.program.test_part import CELLS
from tinygrad_rnn.program import numpy_target
from tinygrad_rnn.program.c.kernel import supported
from tinygrad_rnn.program.c.target import CTarget
from tinygrad_rnn.program.graph import LEAVES, PARAMETER, READS, Value
from tinygrad_rnn.program.machine import Machine
from tinygrad_rnn.program.part import root
from tinygrad_rnn.program.plan import LANES

slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
Name = tuple[int, int]  # the number of a Value, a column of it


def source(v: Value) -> Value:
    """What a view is a view of."""
    while v.is_view and v.domain != PARAMETER:
        (v,) = v.values
    return v


def name(v: Value, column: int) -> Name:
    """What a column holds, whatever view or concat it is reached through."""
    while True:
        if v.is_view and v.values[0].domain != PARAMETER:
            (a,) = v.values
            column = column + v.options[1] if v.op == "cut" else column if a.width == v.width else 0
            v = a
        elif v.op == "concat" and v.ndim == 2 and v.options[0] == 1:
            for piece in v.values:
                if column < piece.width:
                    v = piece
                    break
                column -= piece.width
        else:
            return v.number, column


class Play:
    """A machine, step by step, with what each column of each array holds."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.holds = machine, {}  # type: tuple[Machine, dict[Name, Name]]

    def read(self, v: Value) -> None:
        """See that a Value is where it is looked for."""
        if source(v).domain == PARAMETER or source(v).op in LEAVES:
            return
        array, first, one = root(v, self.machine.homes)
        for column in range(v.width):
            held = self.holds.get((array.number, first if one else first + column))
            value = self.machine.values[name(v, column)[0]]
            if (value.domain != PARAMETER and value.op not in LEAVES) or held is not None:
                assert held == name(v, column), f"column {column} of {v} lies in {array}, which holds {held} there"

    def write(self, v: Value) -> None:
        """Put a Value where it belongs."""
        array, first, _ = root(v, self.machine.homes)
        self.holds.update({(array.number, first + c): name(v, c) for c in range(v.width) if not v.is_view})

    def sections(self, first: int, last: int) -> None:
        """Run some sections of the plan."""
        target = self.machine.target
        for section, part in list(zip(self.machine.plan.sections, self.machine.parts, strict=True))[first:last]:
            stored = {*part.kept, *part.room, *(v for v, *_ in (*part.slices, *part.guests))}
            for step in section.steps:
                at_once = target is not numpy_target and step.kind == LANES and supported(step, target.real)
                inside = set(step.values)
                for v in step.values:
                    for a in () if v.is_view else v.values:
                        if not at_once or a not in inside:
                            self.read(a)
                    if not at_once:
                        self.write(v)
                for v in step.values if at_once else ():
                    if v in stored:
                        self.write(v)

    def forward(self) -> None:
        """The forward pass: the states are there at its end."""
        self.sections(0, 3)
        for v in self.machine.plan.trace.states:
            self.read(v)

    def backward(self) -> None:
        """The backward pass: what goes to predecessors is there after each call, the other gradients at its end."""
        gradients = self.machine.plan.trace.gradients.items()
        self.sections(3, 5)
        for key, g in gradients:
            if key[0] in READS:
                self.read(g)
        self.sections(5, 6)
        for key, g in gradients:
            if key[0] not in READS:
                self.read(g)


@settings(max_examples=100, suppress_health_check=slow, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    case=st.sampled_from([1, 2, None]).flatmap(lambda arity: st.tuples(recipes(arity), structures(arity))), which=WHICH
)
def test_every_read_finds_what_was_written(case: Any, which: str) -> None:
    recipe, s = case
    cell = Random(recipe._replace(context="none"), "float64")
    play_through(cell, s, inputs_of(s, which, "float64")[0])


@pytest.mark.parametrize("made", CELLS, ids=lambda f: f.__name__)
def test_and_in_cells_where_it_did_not(made: Any) -> None:
    function, state, width, _ = made()
    s = tg.chain([7, 5])
    play_through(tg.cell(arity=1, state=state)(function), s, tg.ones((12, width), dtype="float64").requires_grad_())


def play_through(cell: Any, s: tg.Structure, inputs: Any) -> None:
    with running("NumPy"):
        found = tg.explain(cell, s, inputs)
    for group in found.groups:
        for target in (numpy_target, CTarget("f8")):
            play = Play(Machine(group.machine.plan, target))
            for _ in range(2):
                play.forward()
                play.backward()
            if not play.machine.spoils:
                play.backward()
