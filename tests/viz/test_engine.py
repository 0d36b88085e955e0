"""The engine with programs made for the test: whatever happens, the picture's file is whole or as it was."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import viz
from viz import engine

Program = Callable[..., Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Make a program of a name and a Python source; PATH and the environment's scripts then hold such ones only."""
    bin = tmp_path / "bin"
    bin.mkdir()
    monkeypatch.setenv("PATH", str(bin))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "scripts"))

    def make(name: str, source: str, folder: Path = bin) -> Path:
        path = folder / name
        path.write_text(f"#!{sys.executable}\nimport sys, time\ntext = sys.stdin.read()\n{source}\n")
        path.chmod(0o755)
        return path

    if sys.platform == "win32":
        pytest.skip("the programs made for this test start by their first line")
    return make


def picture(label: str = "a") -> viz.Picture:
    drawn = viz.Picture()
    drawn.vertex(label, "word")
    return drawn


def refused(drawn: viz.Picture, path: Path, match: str, timeout: float = 60.0) -> None:
    """Saving fails with a message, leaves the file as it was, and the DOT text beside it."""
    path.write_text("before")
    with pytest.raises(viz.EngineError, match=match) as caught:
        drawn.save(path, timeout=timeout)
    beside = path.with_suffix(".dot")
    assert f"Its DOT text is in {beside}" in str(caught.value)
    assert beside.read_text("utf-8") == drawn.dot
    assert path.read_text() == "before"
    assert sorted(p.name for p in path.parent.iterdir() if p.is_file()) == ["x.dot", path.name]


def test_without_an_engine_both_installs_are_named_and_the_dot_file_is_written(
    program: Program, tmp_path: Path
) -> None:
    assert engine.find() is None
    refused(picture(), tmp_path / "x.svg", r"no layout engine: install Graphviz .*or run pip install graphviz-pure")
    with pytest.raises(viz.EngineError, match="no layout engine"):
        picture()._repr_svg_()


def test_the_users_dot_comes_before_graphviz_pure(program: Program, tmp_path: Path) -> None:
    pure = program("graphviz-pure", "print('pure', *sys.argv[1:])")
    assert engine.find() == (str(pure), True)
    assert picture().save(tmp_path / "x.svg").read_text() == "pure -Tsvg\n"
    dot = program("dot", "print('dot', *sys.argv[1:])")
    assert engine.find() == (str(dot), False)
    assert picture().save(tmp_path / "x.pdf").read_text() == "dot -Tpdf\n"


def test_an_svg_names_the_fonts_that_fit_where_the_first_is_missing(program: Program, tmp_path: Path) -> None:
    program("dot", """print(f'<text font-family="DejaVu Sans">{"fontname=Arial" in text}</text>')""")
    for file in ("x.svg", "x.png"):
        fonts = "DejaVu Sans,Arial,Helvetica,sans-serif" if file == "x.svg" else "DejaVu Sans"
        drawn = picture('fontname="DejaVu Sans"').save(tmp_path / file).read_text()
        assert drawn == f'<text font-family="{fonts}">False</text>\n'


def test_graphviz_pure_draws_a_png_in_the_sans_serif_font_it_has(program: Program, tmp_path: Path) -> None:
    program("graphviz-pure", "print(text)")
    written = picture("DejaVu Sans").save(tmp_path / "x.png").read_text()
    assert (written.count("fontname=Arial"), written.count('fontname="DejaVu Sans"')) == (3, 0)
    assert '"DejaVu Sans"' in written


def test_graphviz_pure_is_found_beside_the_interpreter(program: Program, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    path = program("graphviz-pure", "print(1)", tmp_path / "scripts")
    assert engine.find() == (str(path), True)


def test_the_engine_reads_the_dot_text(program: Program, tmp_path: Path) -> None:
    program("dot", "sys.stdout.buffer.write(text.encode())")
    assert picture("영화").save(tmp_path / "x.png").read_text("utf-8") == picture("영화").dot


def test_what_graphviz_pure_cannot_draw_is_refused_with_what_can(program: Program, tmp_path: Path) -> None:
    program("graphviz-pure", "print('drawn')")
    refused(picture(), tmp_path / "x.pdf", r"graphviz-pure makes no PDF; save as \.svg, or install Graphviz")
    (tmp_path / "x.pdf").unlink()
    refused(picture("영화"), tmp_path / "x.png", r"graphviz-pure can't write '영' in a PNG; save as \.svg, or install")
    assert picture("영화").save(tmp_path / "y.svg").read_text() == "drawn\n"
    assert picture("h₀ … 2 ≠ 3 é Я").save(tmp_path / "y.png").read_text() == "drawn\n"


def test_a_layout_that_takes_too_long_is_stopped(program: Program, tmp_path: Path) -> None:
    program("dot", "time.sleep(60)")
    refused(picture(), tmp_path / "x.svg", r"dot was stopped after 0\.3 s with 1 vertices; .*timeout=", timeout=0.3)


def test_what_a_failing_engine_says_is_passed_on(program: Program, tmp_path: Path) -> None:
    program("dot", "sys.exit('syntax error in line 2')")
    refused(picture(), tmp_path / "x.svg", r"dot failed \(exit code 1\): syntax error in line 2")
    program("dot", "")
    refused(picture(), tmp_path / "x.svg", r"dot failed \(exit code 0\): it said nothing")


def test_an_engine_that_cannot_be_run_is_named(program: Program, tmp_path: Path) -> None:
    program("dot", "").write_text("#!/no/such/interpreter\n")
    refused(picture(), tmp_path / "x.svg", r"dot can't be run: .*; mend that Graphviz or take it off PATH")


def test_too_many_vertices_are_refused_before_any_layout(program: Program, tmp_path: Path) -> None:
    program("dot", "print('drawn')")
    drawn = viz.Picture()
    for _ in range(engine.LIMIT):
        drawn.vertex("a", "word")
    drawn.save(tmp_path / "y.svg")
    drawn.vertex("a", "word")
    (tmp_path / "y.svg").unlink()
    refused(
        drawn, tmp_path / "x.svg", r"2,001 vertices are too many to lay out \(the limit is 2,000\); .*levels= or depth="
    )
    assert drawn.save(tmp_path / "x.dot").stat().st_size > 2000
