"""Schedules: which vertices one call computes, in what order, and from where it reads."""

from __future__ import annotations

import gc
import weakref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.graphs import batches
from tinygrad_rnn.schedule import Place, Schedule, plan


def pairs(p: Schedule, call: int, place: Place) -> list[tuple[int, int]]:
    """(row of the call that reads, public id of the vertex it reads) of a place."""
    where, rows = (np.arange(x.start, x.stop) if isinstance(x, slice) else x for x in (place.where, place.rows))
    read = p.order[p.runs[place.call].start + rows]
    assert place.call < call
    assert (p.runs[place.call].start + rows < p.runs[place.call].stop).all()
    return list(zip(where.tolist(), read.tolist(), strict=True))


@given(s=batches(kinds=2), data=st.data())
def test_each_vertex_runs_once_with_those_of_its_level_kind_and_input(s: tg.Structure, data: st.DataObject) -> None:
    has_input = np.asarray(data.draw(st.lists(st.booleans(), min_size=s.size, max_size=s.size)), bool)
    p = plan(s, np.flatnonzero(has_input))
    assert sorted(p.order.tolist()) == list(range(s.size))
    assert p.rank[p.order].tolist() == list(range(s.size))
    at, keys = 0, []
    for call in p.runs:
        assert call.start == at
        at = call.stop
        members = p.order[call.start : call.stop]
        assert len(members)
        keys.append((call.level, call.kind, call.has_input))
        assert {*zip(s.level[members], s.kind[members], has_input[members])} == {keys[-1]}
    assert at == s.size
    assert keys == sorted(set(keys)), "one call for all of a level, kind and presence of input; levels rise"


@given(s=batches(kinds=2))
def test_slots_say_where_each_predecessor_lies(s: tg.Structure) -> None:
    p = plan(s)
    read = {
        (u, int(p.order[p.runs[i].start + row]), slot)
        for i, slots in enumerate(p.slots)
        for slot, places in slots.items()
        for place in places
        for row, u in pairs(p, i, place)
    }
    assert read == set(zip(s.source.tolist(), s.target.tolist(), s.slot.tolist()))


@given(s=batches(), slots=st.booleans())
def test_edges_say_where_each_row_of_a_multiset_lies(s: tg.Structure, slots: bool) -> None:
    s = s if slots else tg.Structure(s.size, s.source, s.target, None, s.example, None, s.examples)
    p, read = plan(s), []
    for i, (places, segments) in enumerate(p.edges):
        rows = [pair for place in places for pair in pairs(p, i, place)]
        assert sorted(row for row, _ in rows) == list(range(len(segments)))
        assert (np.diff(segments) >= 0).all(), "the rows of one vertex stand together"
        read += [(u, int(p.order[p.runs[i].start + segments[row]])) for row, u in rows]
    assert sorted(read) == sorted(zip(s.source.tolist(), s.target.tolist()))


def test_edges_without_a_slot_are_no_slot_of_another_call() -> None:
    s = tg.Structure(4, [0, 0, 1], [2, 3, 3], [0, -1, -1], kind=[0, 0, 0, 1])
    assert [sorted(slots) for slots in plan(s).slots] == [[], [0], []]


@given(lengths=st.lists(st.integers(0, 6), max_size=5), backwards=st.booleans())
def test_ragged_chains_of_any_order_of_lengths_are_read_in_slices(lengths: list[int], backwards: bool) -> None:
    s = tg.chain(lengths)
    p = plan(s.reversed() if backwards else s)
    for i, slots in enumerate(p.slots):
        places = [place for found in slots.values() for place in found]
        assert all(type(x) is slice for place in places for x in (place.where, place.rows))
        if not backwards:  # a level goes on with the first rows of the one before
            assert [place.call for place in places] == [i - 1] * (i > 0)
            assert all(place.where == place.rows for place in places)


@given(heights=st.integers(1, 4), widths=st.integers(1, 4))
def test_a_grid_reads_in_slices_the_level_before(heights: int, widths: int) -> None:
    p = plan(tg.grid(heights, widths))
    for i, slots in enumerate(p.slots):
        for places in slots.values():
            assert [place.call for place in places] == [i - 1]
            assert all(type(x) is slice for x in (places[0].where, places[0].rows))


@given(s=batches(shared=False))
def test_a_tree_reads_the_level_before_and_leaves_and_nothing_else(s: tg.Structure) -> None:
    p = plan(s, np.flatnonzero(s.predecessors == 0))
    for i, slots in enumerate(p.slots):
        for places in slots.values():
            for place in places:
                below = p.runs[place.call].level
                assert below in (0, p.runs[i].level - 1)
                if below == 0:
                    ids = [u for _, u in pairs(p, i, place)]
                    assert not s.predecessors[ids].any()


def test_a_perfect_binary_tree_is_read_in_slices() -> None:
    parents = np.arange(1, 15)
    s = tg.Structure(15, parents, (parents - 1) // 2, (parents - 1) % 2)
    assert [call.stop - call.start for call in plan(s).runs] == [8, 4, 2, 1]
    for i, slots in enumerate(plan(s).slots):
        assert all(len(places) == 1 for places in slots.values())
        assert all(type(places[0].rows) is slice for places in slots.values())
        assert sorted(slots) == ([] if i == 0 else [0, 1])


def test_a_schedule_is_kept_for_the_next_time() -> None:
    s = tg.chain(3)
    assert plan(s) is plan(s, np.arange(3))
    partial = np.array([0, 2])
    assert plan(s, partial) is plan(s, partial.copy())
    assert plan(s, partial) is not plan(s, partial[:1])


def test_not_all_schedules_there_ever_were_are_kept() -> None:
    s = tg.chain(5)
    for bits in range(32):
        mask = np.array([bits >> i & 1 for i in range(5)], bool)
        assert plan(s, np.flatnonzero(mask)).order.tolist() == [0, 1, 2, 3, 4]
        assert len(s.schedules) < 10


def test_a_schedule_does_not_keep_its_structure_alive() -> None:
    s = tg.chain([2, 1])
    p, there = plan(s), weakref.ref(s)
    gc.disable()
    try:
        del s
        assert there() is None
    finally:
        gc.enable()
    assert p.slots[1][0][0].call == 0, "and is whole without it"


def test_an_empty_structure_has_no_calls() -> None:
    for s in (tg.Structure(0), tg.chain([0, 0])):
        p = plan(s, np.zeros(0, np.int64))
        assert (p.runs, p.slots, p.edges) == ([], [], [])
