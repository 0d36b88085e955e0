from __future__ import annotations

from typing import Any

import networkx
import pytest

import tinygrad_rnn as tg
import viz

from .models import rows


def leaf(*shape: int) -> tg.Tensor:
    return tg.ones(shape).requires_grad_()


def test_operations_and_parameters_are_vertices_and_arguments_edges() -> None:
    w, b = leaf(4, 3), leaf(3)
    picture = viz.ops((rows(2).astype("float32") @ w + b).tanh(), names={"w": w})
    shown = [(v.label, v.kind) for v in picture.vertices]
    assert sorted(shown) == [
        ("add\n[2, 3]", "op"),
        ("matmul\n[2, 3]", "op"),
        ("parameter\n[3]", "parameter"),
        ("tanh\n[2, 3]", "result"),
        ("w\n[4, 3]", "parameter"),
    ]
    names = [v.facts["op"] for v in picture.vertices]
    assert sorted((names[e.source], names[e.target]) for e in picture.edges) == [
        ("add", "tanh"),
        ("leaf", "add"),
        ("leaf", "matmul"),
        ("matmul", "add"),
    ]


def test_an_argument_given_twice_is_two_edges_and_a_leaf_alone_one_vertex() -> None:
    w = leaf(2)
    assert repr(viz.ops(w * w)) == "Picture(2 vertices, 2 edges)"
    assert repr(viz.ops(w)) == "Picture(1 vertices, 0 edges)"


def test_operations_stand_in_the_frame_of_their_cell_call(rnn: Any, weights: dict[str, tg.Tensor]) -> None:
    loss = (tg.unfold(rnn, tg.chain(2), rows(2)).all().h @ weights["V"]).sum()
    picture = viz.ops(loss, names=weights)
    assert [
        line.split('label="')[1].split('"')[0] for line in picture.dot.splitlines() if "style=rounded]" in line
    ] == ["rnn, level 0", "rnn, level 1"]
    tanhs = [v for v in picture.vertices if v.facts["op"] == "tanh"]
    assert [(v.group, v.facts["cell"], v.facts["level"]) for v in tanhs] == [(0, "rnn", 0), (1, "rnn", 1)]
    assert all(v.group is None for v in picture.vertices if v.kind in ("parameter", "result"))
    assert networkx.is_directed_acyclic_graph(picture.to_networkx())


def test_a_compiled_unfolding_shows_only_what_leads_to_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = tg.nn.LSTMCell(4, 3), rows(2)

    def drawn() -> list[str]:
        picture = viz.ops(tg.unfold(cell, tg.chain(2), x).last().h.sum())
        ends = {e.source for e in picture.edges}
        assert [v.kind for i, v in enumerate(picture.vertices) if i not in ends] == ["result"]
        return sorted(v.facts["op"] for v in picture.vertices if v.kind == "op")

    compiled = drawn()
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "0")
    assert set(drawn()) <= set(compiled)


def test_frames_nest_as_cell_calls_do(rnn: Any) -> None:
    outer = tg.cell(arity=1, state={"h": 3})(lambda x, kids: tg.unfold(rnn, tg.chain(1), x).last().h + kids[0].h)
    picture = viz.ops(tg.unfold(outer, tg.chain(1), rows(1)).last().h)
    opened = [line.strip() for line in picture.dot.splitlines() if "subgraph" in line or line.strip() == "}"]
    assert opened == ["subgraph cluster_0 {", "subgraph cluster_1 {", "}", "}", "}"]


def test_levels_leave_dots_where_the_rest_would_be(rnn: Any, weights: dict[str, tg.Tensor]) -> None:
    loss = tg.unfold(rnn, tg.chain(5), rows(5)).all().h.sum()
    picture = viz.ops(loss, names=weights, levels=range(2, 4))
    assert {v.facts["level"] for v in picture.vertices if v.kind == "op"} == {2, 3}
    assert sorted(v.label for v in picture.vertices if v.kind == "parameter") == ["U\n[4, 3]", "W\n[3, 3]"]
    dots = {i for i, v in enumerate(picture.vertices) if v.kind == "cut"}
    ends = [picture.vertices[e.target if e.source in dots else e.source] for e in picture.edges if {*e[:2]} & dots]
    assert sorted(v.facts["op"] for v in ends) == ["leaf", "leaf", "matmul", "tanh", "tanh"]


def test_lines_noted_by_anomaly_detection_are_no_frames(rnn: Any) -> None:
    with tg.detect_anomaly():
        picture = viz.ops(tg.unfold(rnn, tg.chain(1), rows(1)).last().h.sum())
    assert [v.facts["cell"] for v in picture.vertices if v.facts["op"] in ("tanh", "sum")] == ["rnn", None]


def test_a_tensor_without_a_graph_is_refused() -> None:
    with pytest.raises(tg.GraphError, match=r"not recorded, so there is no op graph; compute it from"):
        viz.ops(tg.ones((2,)))
    loss = leaf(2).exp().sum()
    loss.backward()
    with pytest.raises(tg.GraphError, match=r"a backward pass freed the op graph; .*retain_graph=True"):
        viz.ops(loss)


def test_a_chain_of_operations_deeper_than_the_recursion_limit_is_drawn() -> None:
    y = leaf(1)
    for _ in range(5000):
        y = y.tanh()
    picture = viz.ops(y)
    assert picture.dot.count("->") == 5000


def test_rows_that_users_never_name_are_written_as_they_write_them() -> None:
    w = leaf(4)
    picture = viz.ops(w[1:3] + w[::2])
    assert sorted(v.label for v in picture.vertices) == ["add\n[2]", "parameter\n[4]", "slice\n[2]", "slice\n[2]"]
    assert {v.facts["op"] for v in picture.vertices} == {"leaf", "add", "span", "index"}
