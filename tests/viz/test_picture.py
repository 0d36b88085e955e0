from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import tinygrad_rnn as tg
import viz
from viz import engine
from viz.picture import EDGES, VERTICES

NASTY = [
    'say "hi"',
    "\\N \\l back\\slash\\",
    "two\nlines",
    "<b>bold</b>",
    "<html>",
    "a&amp;b &lt; AT&T",
    "영화는 재미있다",
    "node",
    "{left|right}",
    "tab\there \x00 \x1b",
    "한글 \ud800 half",
    "-- ; // # [x=y]",
    "",
]


def picture(*labels: str) -> viz.Picture:
    drawn = viz.Picture("caption", direction="TB")
    for label in labels:
        drawn.vertex(label, "word")
    return drawn


needs_an_engine = pytest.mark.skipif(engine.find() is None, reason="neither Graphviz nor graphviz-pure is installed")


@needs_an_engine
@pytest.mark.parametrize("label", NASTY)
def test_a_label_shows_as_it_is(label: str) -> None:
    """Through the engine and back: no quote, escape, entity, HTML or control character of a label is DOT's."""
    drawn = viz.Picture()
    frame = drawn.group(label)
    a, b = drawn.vertex(label, "op", frame), drawn.vertex("b", "op")
    drawn.edge(a, b, label)
    texts = [
        element.text or ""
        for element in ElementTree.fromstring(drawn._repr_svg_()).iter()
        if element.tag.endswith("text")
    ]
    shown = label.translate({0: "␀", 9: "␉", 27: "␛"}).replace("\ud800", "?")
    lines = [line for line in shown.split("\n") if line]
    read = [text.replace("\u00a0", " ").strip() for text in texts]
    for line in lines:
        assert read.count(line.strip()) == 3
    assert len(read) == 3 * len(lines) + 1


def test_the_same_picture_gives_the_same_text_with_small_integers_as_ids() -> None:
    drawn = picture("a", "b")
    drawn.edge(0, 1, "W")
    assert drawn.dot == drawn.dot
    assert [line.split()[0] for line in drawn.dot.splitlines() if "[label=" in line and "graph" not in line] == [
        "0",
        "1",
        "0",
    ]


def test_networkx_gets_labels_kinds_and_facts_and_no_layout() -> None:
    drawn = viz.Picture()
    a, b = drawn.vertex("a", "input", id=7), drawn.vertex("b", "state")
    drawn.edge(a, b, "U", "against", slot=1)
    drawn.row([b, a])
    graph = drawn.to_networkx()
    assert dict(graph.nodes(data=True)) == {
        0: {"label": "a", "kind": "input", "id": 7},
        1: {"label": "b", "kind": "state"},
    }
    assert list(graph.edges(data=True)) == [(0, 1, {"label": "U", "kind": "against", "slot": 1})]
    assert '1 -> 0 [label=" U" dir=back]' in drawn.dot


def test_dots_stand_for_an_end_that_is_not_drawn() -> None:
    drawn = picture("a")
    drawn.edge(None, 0)
    drawn.edge(0, None, kind="branch")
    assert [(e.source, e.target, e.kind) for e in drawn.edges] == [(1, 0, "cut"), (0, 2, "branch")]
    assert [v.label for v in drawn.vertices] == ["a", "…", "…"]


@needs_an_engine
def test_every_kind_of_vertex_and_edge_can_be_drawn() -> None:
    drawn = viz.Picture()
    ends = [drawn.vertex(kind, kind) for kind in VERTICES]
    for kind in EDGES:
        drawn.edge(ends[0], ends[1], "label", kind)
    svg = ElementTree.fromstring(drawn._repr_svg_())
    classes = [element.get("class") for element in svg.iter()]
    assert (classes.count("node"), classes.count("edge")) == (len(VERTICES), len(EDGES))


@needs_an_engine
def test_saving_writes_the_format_of_the_suffix(tmp_path: Path) -> None:
    drawn = picture("word")
    assert drawn.save(tmp_path / "x.svg").read_text("utf-8").rstrip().endswith("</svg>")
    assert drawn.save(str(tmp_path / "x.PNG")).read_bytes().startswith(b"\x89PNG")
    assert drawn.save(tmp_path / "x.dot").read_text("utf-8") == drawn.dot
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.PNG", "x.dot", "x.svg"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert picture().save(tmp_path / "new" / "folder" / "x.dot").is_file()


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.jpg: a picture is saved as \.svg, \.png, \.pdf, \.dot, not as '\.jpg'"):
        picture().save(tmp_path / "x.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.dot"
    path.write_text("before")

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        picture("a").save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.dot"]
    assert path.read_text() == "before"


def test_a_hundred_thousand_vertices_and_frames_ten_thousand_deep_become_text() -> None:
    drawn, frame = viz.Picture(), None
    for i in range(100_000):
        if i < 10_000:
            frame = drawn.group(str(i), frame)
        drawn.vertex("v", "op", frame)
    text = drawn.dot
    assert text.count("[label=v ") == 100_000
    assert text.count("{") == text.count("}") == 10_001


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda run: viz.ops(run), r"viz\.ops draws what a Tensor was computed by, not a Unfolding: give run"),
        (lambda run: viz.folded(run), r"viz\.folded draws one cell, not Unfolding"),
        (lambda run: viz.folded(tg.nn.RNNCell), r"viz\.folded draws one cell, not RNNCell"),
        (lambda run: viz.folded({0: tg.nn.RNNCell(1, 1)}), r"viz\.folded draws one cell, not dict"),
        (lambda run: viz.tree("(3 a)"), r"viz\.tree draws a Tree, not a str: trees\.parse\(text\) makes one"),
    ],
)
def test_a_function_says_what_it_draws(draw: Any, message: str) -> None:
    run = tg.unfold(tg.nn.RNNCell(1, 1), tg.chain(2), tg.ones((2, 1)))
    with pytest.raises(TypeError, match=message):
        draw(run)
