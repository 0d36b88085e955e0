from __future__ import annotations

from typing import Any

import networkx
import numpy as np
import pytest

import tinygrad_rnn as tg
import viz
from viz.picture import DEEP

from .models import KOREAN, WORDS, H, rows, unfold_tree


def states(picture: viz.Picture) -> networkx.MultiDiGraph[int]:
    """The part of a picture that is the structure, its vertices by public id."""
    graph = picture.to_networkx()
    ids = {i: data["id"] for i, data in graph.nodes(data=True) if data["kind"] == "state"}
    return networkx.relabel_nodes(graph.subgraph(ids), ids)


def edges(structure: tg.Structure) -> list[tuple[int, int, int]]:
    return sorted(zip(structure.source.tolist(), structure.target.tolist(), structure.slot.tolist(), strict=True))


def test_edges_into_a_multiset_have_no_slot_numbers(multiset: Any, two_slots: Any) -> None:
    for cell, letters in ((multiset, {"U", "W"}), (two_slots, {"U", "W₀", "W₁"})):
        pair = tg.Structure(3, source=[0, 1], target=[2, 2], slot=[0, 1])
        assert {edge.label for edge in viz.unfolded(tg.unfold(cell, pair, rows(3, H))).edges} == letters


def test_what_is_no_unfolding_is_refused(rnn: Any) -> None:
    with pytest.raises(TypeError, match="draws what tg.unfold gave, not .*; a cell is drawn by viz.folded"):
        viz.unfolded(rnn)


@pytest.mark.parametrize("steps", [0, 1, 3, 7])
def test_an_unfolded_chain_is_a_dag_of_one_vertex_per_step(rnn: Any, steps: int) -> None:
    picture = viz.unfolded(tg.unfold(rnn, tg.chain(steps), rows(steps)))
    graph = picture.to_networkx()
    assert networkx.is_directed_acyclic_graph(graph)
    assert sorted(states(picture)) == list(range(steps))
    assert len(graph) == 2 * steps
    assert graph.number_of_edges() == max(0, 2 * steps - 1)


def test_three_and_seven_steps_share_the_parameters(rnn: Any, weights: dict[str, tg.Tensor]) -> None:
    """LECTURE-NOTES F1: unfolding again, or longer, makes no parameter."""

    def parameters(steps: int) -> dict[int, str]:
        last = tg.unfold(rnn, tg.chain(steps), rows(steps)).last().h
        nodes = viz.ops(last, names=weights).to_networkx().nodes(data=True)
        return {data["serial"]: data["label"] for _, data in nodes if data["kind"] == "parameter"}

    assert parameters(3) == parameters(7)
    assert sorted(parameters(7).values()) == ["U\n[4, 3]", "W\n[3, 3]"]


@pytest.mark.parametrize(
    "structure",
    [
        tg.chain([3, 0, 2]),
        tg.grid(3, 3),
        tg.union([tg.grid(2, 1), tg.chain(2)]),
        tg.Structure(5, source=[4, 3, 0, 1], target=[0, 0, 2, 2], slot=[1, 0, 0, 1]),
    ],
    ids=["chains", "grid", "union", "renumbered tree"],
)
def test_the_drawn_states_are_the_structure_with_its_slots_and_levels(two_slots: Any, structure: tg.Structure) -> None:
    drawn = states(viz.unfolded(tg.unfold(two_slots, structure, rows(structure.size))))
    assert sorted((u, v, slot) for u, v, slot in drawn.edges(data="slot")) == edges(structure)
    for fact, values in (("level", structure.level), ("example", structure.example)):
        assert dict(drawn.nodes(data=fact)) == dict(enumerate(values.tolist()))


def test_a_tree_has_words_at_its_leaves_and_slots_at_its_edges(two_slots: Any) -> None:
    run, words = unfold_tree(two_slots, WORDS)
    picture = viz.unfolded(run, labels=words, outputs={10: "positive"})
    graph = picture.to_networkx()
    shown = {(data["kind"], data["label"]) for _, data in graph.nodes(data=True)}
    assert {label for kind, label in shown if kind == "input"} == {"The", "movie", "was", "very", "good", "."}
    assert ("output", "positive") in shown
    assert ("state", "h₁₀ c₁₀") in shown
    assert {label for *_, label in graph.edges(data="label")} == {"U", "V", "W₀", "W₁"}
    assert networkx.is_directed_acyclic_graph(graph)
    assert picture.direction == "BT"


def test_slots_go_unnamed_where_there_is_one_and_in_multisets(rnn: Any, multiset: Any) -> None:
    star = tg.Structure(4, source=[0, 1, 2], target=[3, 3, 3])
    for run in (tg.unfold(rnn, tg.chain(3), rows(3)), tg.unfold(multiset, star, rows(4, 3))):
        labels = [label for *_, label in viz.unfolded(run).to_networkx().edges(data="label")]
        assert set(labels) == {"U", "W"}


def test_the_leaves_of_a_tree_stand_in_the_order_of_its_slots(two_slots: Any) -> None:
    # Numbered from the root, level by level: leaf 2 is the last word although its number is the lowest.
    tree = tg.Structure(5, source=[3, 4, 1, 2], target=[1, 1, 0, 0], slot=[0, 1, 0, 1])
    picture = viz.unfolded(tg.unfold(two_slots, tree, rows(5)))
    leaves = next(line for line in picture.dot.splitlines() if "rank=same" in line)
    order = [int(i) for i in leaves.partition("[style=invis]; ")[2].rstrip(" }").split(" -> ")]
    assert [picture.vertices[i].facts["id"] for i in order] == [3, 4, 2]


def test_the_first_state_of_each_example_of_a_batch_names_it(rnn: Any) -> None:
    def labels(*lengths: int) -> list[str]:
        run = tg.unfold(rnn, tg.chain(lengths), rows(sum(lengths)))
        return [v.label for v in viz.unfolded(run).vertices if v.kind == "state"]

    assert labels(1, 0, 2) == ["h₀\nexample 0", "h₁\nexample 2", "h₂"]
    assert labels(2) == ["h₀", "h₁"]


def test_states_of_several_cells_name_their_cell(rnn: Any) -> None:
    other = tg.cell(arity=1, state={"h": 3})(lambda x, kids: kids[0].h)
    structure = tg.Structure(2, source=[0], target=[1], kind=[1, 0])
    run = tg.unfold({0: rnn, 1: other}, structure, rows(2))
    assert [v.label for v in viz.unfolded(run).vertices if v.kind == "state"] == ["h₀\n<lambda>", "h₁\nrnn"]


def test_cells_of_one_name_are_told_apart_by_their_kind() -> None:
    structure = tg.Structure(2, source=[0], target=[1], slot=[0], kind=[1, 0])
    picture = viz.unfolded(tg.unfold({kind: tg.nn.RNNCell(2, 3) for kind in (0, 1)}, structure, rows(2, 2)))
    assert [v.label for v in picture.vertices if v.kind == "state"] == ["h₀\nkind 1", "h₁\nkind 0"]
    assert picture.caption == "U, W: the same at every vertex of a cell"


def test_levels_leave_dots_where_the_rest_would_be(rnn: Any) -> None:
    run = tg.unfold(rnn, tg.chain(6), rows(6))
    picture = viz.unfolded(run, labels="abcdef", levels=range(2, 4))
    assert [v.label for v in picture.vertices if v.kind != "input"] == ["h₂", "h₃", "…", "…"]
    assert [v.label for v in picture.vertices if v.kind == "input"] == ["c", "d"]
    graph = picture.to_networkx()
    assert networkx.dag_longest_path_length(graph) == 3
    assert networkx.is_directed_acyclic_graph(graph)


def test_only_vertices_with_an_input_have_one_in_the_picture(rnn: Any) -> None:
    run = tg.unfold(rnn, tg.chain([1, 1]), (np.array([1]), rows(1)))
    assert [v.label for v in viz.unfolded(run).vertices] == ["h₀\nexample 0", "h₁\nexample 1", "x₁"]


def test_an_unfolding_without_inputs_has_none_in_its_picture(rnn: Any) -> None:
    fixed = tg.cell(arity=1, state={"h": 2})(lambda x, kids: kids[0].h)
    picture = viz.unfolded(tg.unfold(fixed, tg.chain(2), None))
    assert [v.kind for v in picture.vertices] == ["state", "state"]
    assert picture.caption.startswith("W: ")


def test_a_grown_unfolding_draws_what_has_grown(rnn: Any) -> None:
    run = tg.Unfolding(rnn)
    run.advance(rows(2), [[-1], [-1]])
    run.advance(rows(1), [[1]])
    picture = viz.unfolded(run)
    states = {v.facts["id"]: i for i, v in enumerate(picture.vertices) if v.kind == "state"}
    assert sorted(states) == [0, 1, 2]
    assert picture.to_networkx().has_edge(states[1], states[2])


def test_labels_that_do_not_fit_are_refused(rnn: Any) -> None:
    run = tg.unfold(rnn, tg.chain(3), rows(3))
    with pytest.raises(tg.StructureError, match=r"2 labels for 3 vertices; give one per vertex"):
        viz.unfolded(run, labels=["a", "b"])
    with pytest.raises(tg.StructureError, match=r"outputs name vertex 3; ids go from 0 to 2"):
        viz.unfolded(run, outputs={3: "o"})


def test_korean_words_stay_as_they_are(two_slots: Any) -> None:
    run, words = unfold_tree(two_slots, KOREAN)
    assert 'label="재미있다"' in viz.unfolded(run, labels=words).dot


def test_the_leaves_of_a_deep_tree_stand_in_no_line(two_slots: Any) -> None:
    def comb(levels: int) -> viz.Picture:
        spine = np.arange(levels)
        source, target = np.concatenate((spine, levels + 1 + spine)), np.tile(spine + 1, 2)
        structure = tg.Structure(2 * levels + 1, source, target, np.repeat([0, 1], levels))
        return viz.unfolded(tg.unfold(two_slots, structure, rows(structure.size)))

    assert "rank=same" in comb(DEEP - 1).dot
    assert "rank=same" not in comb(DEEP).dot


def test_outputs_may_be_a_tensor() -> None:
    run = tg.unfold(tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x), tg.chain([2]), tg.ones((2, 1)))
    for given in (tg.asarray(np.array([7, 8])), np.array([7, 8]), [7, 8]):
        labels = [data["label"] for _, data in viz.unfolded(run, outputs=given).to_networkx().nodes(data=True)]
        assert {"7", "8"} <= set(labels)
