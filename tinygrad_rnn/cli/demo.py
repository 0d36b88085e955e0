"""`tinygrad-rnn demo`: a Tree-LSTM against a sequential LSTM on the same ListOps expressions, and pictures of it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

import viz
from tinygrad_rnn import training

from . import runs
from .inspection import picture
from .training import epochs_of, few_threads, new_console, report

SIZES = {False: (6000, 12), True: (200, 2)}  # by --quick: examples, epochs


def run(out: Path, seed: int, quick: bool) -> None:
    """Train both, compare them, draw.

    Raises:
        FileExistsError: `out` holds another run than a demo's.
    """
    console = new_console()
    size, epochs = SIZES[quick]
    refuse_other_runs(out, out / "lstm")
    if (out / training.MODEL).exists():
        console.print(f"{out} holds an older demo; this one takes its place")
    console.print(f"ListOps: what is the value of an expression such as [MAX 2 [MIN 4 7 ] 0 ]? {size:,} to learn from.")
    started = time.perf_counter()
    roots = {}
    with runs.claimed(out), few_threads():
        for cell, folder in (("tree-lstm", out), ("lstm", out / "lstm")):
            settings = settings_of(cell, seed, size)
            parts = runs.read_parts(settings)
            model, optimizer = runs.start(settings, parts)
            folder.mkdir(exist_ok=True)
            for _ in epochs_of(console, model, optimizer, parts, folder, epochs, patience=None, name=f"{cell:9} "):
                pass
            roots[cell] = report(console, folder, parts).root
    console.print(
        f"\nright values on {len(parts.test)} unseen expressions: Tree-LSTM {roots['tree-lstm']:.1%}, "
        f"sequential LSTM {roots['lstm']:.1%}  ({time.perf_counter() - started:.0f} s)"
        f"{' (too short to learn; the full demo does)' if quick else ''}\n"
    )
    draw(console, out, parts)


def settings_of(cell: str, seed: int, size: int) -> runs.Settings:
    """What a demo trains."""
    return runs.Settings("listops", cell, clip=5.0, seed=seed, size=size)


def refuse_other_runs(*folders: Path) -> None:
    """A demo replaces demos only: runs with a demo's settings, whatever their seed."""
    for folder in folders:
        if not (folder / training.MODEL).exists():
            continue
        found = replace(runs.load_model(folder).settings, seed=0, trees="")
        if found not in [settings_of(found.cell, 0, size) for size, _ in SIZES.values()]:
            raise FileExistsError(f"{folder} holds a run that no demo made; choose another --out")


def draw(console: Console, out: Path, parts: runs.Parts) -> None:
    """The folded cell, its unfolding over a short expression, and that expression's tree with predictions."""
    model = runs.load_model(out)
    shown = min((tree for tree in parts.test if tree.height > 5), key=lambda tree: tree.size)
    for kind in ("folded", "unfolded", "tree"):
        try:
            console.print(f"drawn: {picture(kind, model, shown, with_predictions=True).save(out / f'{kind}.svg')}")
        except viz.EngineError as error:
            console.print(str(error), style="yellow")
