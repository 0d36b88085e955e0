"""The C text that every generated source begins with: elementwise functions, small matrix products, rows moved."""

from __future__ import annotations

from importlib.resources import files


def prelude(real: str) -> str:
    """The prelude for `real`, "float" or "double", the type that a source computes in.

    >>> prelude("double").partition(chr(10))[0]
    '#define REAL double'
    """
    return f"#define REAL {real}\n" + (files(__package__) / "prelude.h").read_text("utf-8")
