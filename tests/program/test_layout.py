"""The layout of a run: every vertex once, and where its predecessors lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.graphs import predecessors
from tests.program.cells import structures
from tinygrad_rnn.program.layout import Layout, foldable
from tinygrad_rnn.schedule import plan


@given(s=structures(2), folded=st.booleans(), each=st.booleans(), data=st.data())
def test_rows_are_a_permutation_and_slots_name_the_predecessors_rows(
    s: tg.Structure, folded: bool, each: bool, data: st.DataObject
) -> None:
    fed = np.asarray(data.draw(st.lists(st.booleans(), min_size=s.size, max_size=s.size)), bool)
    layout = Layout(s, plan(s, np.flatnonzero(fed)), {0: 2}, folded, s.examples if each else 1)
    assert sorted(layout.row.tolist()) == list(range(s.size))
    assert (layout.order[layout.row] == np.arange(s.size)).all()
    kids, done = predecessors(s), set()
    for call in layout.calls:
        variant = layout.variants[call.variant]
        for i in range(call.start, call.stop):
            v = int(layout.order[variant.start + i])
            assert variant.has_input == fed[v]
            for k in range(2):
                if k not in variant.slots:
                    assert k not in kids[v], "a slot is folded away though it is filled"
                    continue
                row = int(variant.slots[k].index[i])
                if k in kids[v]:
                    assert row == layout.initials + layout.row[kids[v][k]]
                    assert kids[v][k] in done, "it is read before it is computed"
                else:
                    assert row == (0 if layout.initials == 1 else s.example[v])
        done.update(layout.order[variant.start + call.start : variant.start + call.stop].tolist())
    assert len(done) == s.size


@given(s=structures(None))
def test_edges_of_multisets_come_by_vertex(s: tg.Structure) -> None:
    layout = Layout(s, plan(s), {0: None}, True, 1)
    found = []
    for variant in layout.variants:
        if -1 in variant.slots:
            sources = layout.order[variant.slots[-1].index - layout.initials]
            found += zip(sources.tolist(), layout.order[variant.start + variant.segments].tolist(), strict=True)
            assert (np.diff(variant.segments) >= 0).all()
    assert sorted(found) == sorted(zip(s.source.tolist(), s.target.tolist(), strict=True))


@pytest.mark.parametrize("folded", [True, False])
def test_leaves_of_trees_are_a_variant_of_their_own_where_they_are_folded(folded: bool) -> None:
    s = tg.union([tg.Structure(3, [0, 1], [2, 2], [0, 1])] * 4)
    layout = Layout(s, plan(s), {0: 2}, folded, 1)
    assert any(v.filled == (False, False) for v in layout.variants) is folded


def test_a_variant_for_leaves_pays_for_trees_and_not_for_long_chains() -> None:
    tree = tg.Structure(3, [0, 1], [2, 2], [0, 1])
    assert foldable(plan(tree), {0: 2})
    assert foldable(plan(tg.chain(7)), {0: 1})
    assert not foldable(plan(tg.chain(8)), {0: 1})
    assert not foldable(plan(tg.chain(50)), {0: 1})
    assert foldable(plan(tg.chain(50)), {0: 2}), "nobody fills the second slot"


def test_a_chain_reads_rows_that_follow_each_other() -> None:
    layout = Layout(tg.chain([5] * 3), plan(tg.chain([5] * 3)), {0: 1}, False, 3)
    (variant,) = layout.variants
    assert min(variant.slots[0].starts) >= 0
    assert variant.slots[0].whole >= 0
