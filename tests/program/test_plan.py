"""Plans: what is computed once, level by level, and behind the loop."""

from __future__ import annotations

from typing import Any

import tinygrad_rnn as tg
from tests.program.traces import ops, recurrent, traced
from tinygrad_rnn.program import plan


def test_a_plan_hoists_what_needs_no_predecessor_and_defers_the_gradients_of_weights() -> None:
    found = plan.make(traced(recurrent), frozenset([0]))
    assert (ops(found.before.values), ops(found.after.values)) == (["matmul"], [])
    assert "matmul" in ops(found.step.values)
    assert "contract" in ops(found.late.values)
    assert "contract" not in ops((*found.step.values, *found.back.values))


def test_what_no_one_reads_is_computed_behind_the_loop() -> None:
    found = plan.make(traced(recurrent), frozenset())
    assert ops(found.step.values) == ops(found.back.values) == []


def test_views_of_predecessors_states_are_not_kept() -> None:
    found = plan.make(traced(lambda x, kids: tg.tanh(x * kids[0].h[:, :1])), frozenset([0]))
    assert "cut" not in ops(found.kept)


def test_every_value_is_computed_in_one_place_after_what_it_is_made_of() -> None:
    def gru(x: Any, kids: Any) -> Any:
        z, r = tg.split(tg.sigmoid(tg.concat([recurrent(x, kids), recurrent(x * 2.0, kids)], axis=1)), 2, axis=1)
        return tg.softmax(z * kids[0].h + (1.0 - z) * tg.tanh(recurrent(x, kids) * r), axis=1)

    found = plan.make(traced(gru), frozenset([0]))
    order = [v for part in (found.once, *(s.values for s in found.sections)) for v in part]
    assert len(set(order)) == len(order)
    at = {v: i for i, v in enumerate(order)}
    assert all(at[a] < at[v] for v in order for a in v.values if a in at and v not in found.once_back)
