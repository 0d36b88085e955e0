"""The one door to Graphviz: DOT text in, the bytes of a picture out, or an error that says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig

# The layout leaves room for the widest of the common fonts, so that an SVG may name others that fit in its place. The
# DOT text names one alone, since graphviz-pure knows no widths of a list; in a PNG, its font without serifs is Arial.
FONT = "DejaVu Sans"
_FONTS = f"{FONT},Arial,Helvetica,sans-serif"
LIMIT = 2000  # vertices; a layout of more takes minutes, and nobody can read it
_NOT_IN_ITS_FONTS = re.compile(r"[^\u0000-\u058f\u1e00-\u20cf→≠]")


class EngineError(RuntimeError):
    """A picture that could not be laid out or drawn; its DOT text is never lost."""


def find() -> tuple[str, bool] | None:
    """The program that draws, and whether it is graphviz-pure: the user's `dot`, else graphviz-pure, else None."""
    dot = shutil.which("dot")
    if dot:
        return dot, False
    # A virtual environment that is run without being activated has its scripts outside PATH.
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts")))
    pure = shutil.which("graphviz-pure", path=places)
    return (pure, True) if pure else None


def render(dot: str, format: str, size: int, timeout: float) -> bytes:
    """Lay out and draw a graph.

    Args:
        dot: the graph, as DOT text.
        format: "svg", "png" or "pdf".
        size: how many vertices it has.
        timeout: seconds after which the program is stopped.

    Raises:
        EngineError: too many vertices, no program, one that can't draw this, that fails, or that takes too long.
    """
    if size > LIMIT:
        raise EngineError(
            f"{size:,} vertices are too many to lay out (the limit is {LIMIT:,}); draw fewer with levels= or depth=, "
            "or save as .dot"
        )
    found = find()
    if found is None:
        raise EngineError(
            "no layout engine: install Graphviz (https://graphviz.org/download, e.g. apt install graphviz), or "
            "run pip install graphviz-pure"
        )
    program, pure = found
    foreign = _NOT_IN_ITS_FONTS.search(dot) if pure and format == "png" else None
    if pure and (format == "pdf" or foreign):
        what = f"can't write {foreign.group()!r} in a PNG" if foreign else "makes no PDF"
        raise EngineError(
            f"graphviz-pure {what}; save as .svg, or install Graphviz (https://graphviz.org/download, "
            "e.g. apt install graphviz)"
        )
    if pure and format == "png":
        dot = dot.replace(f'fontname="{FONT}"', "fontname=Arial")
    command = [program, f"-T{format}", *(["-Gdpi=144"] if format == "png" else [])]
    try:
        run = subprocess.run(command, input=dot.encode("utf-8", "replace"), capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"{program} was stopped after {timeout:g} s with {size:,} vertices; draw fewer with levels= or depth=, "
            "give it a longer timeout=, or save as .dot"
        ) from None
    except OSError as error:
        raise EngineError(f"{program} can't be run: {error}; mend that Graphviz or take it off PATH") from error
    if run.returncode or not run.stdout:
        said = run.stderr.decode("utf-8", "replace").strip()
        raise EngineError(f"{program} failed (exit code {run.returncode}): {said or 'it said nothing'}")
    if format == "svg":
        return run.stdout.replace(f'font-family="{FONT}"'.encode(), f'font-family="{_FONTS}"'.encode())
    return run.stdout
