"""`tinygrad-rnn predict` and `render`: what a trained model says, and pictures of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import typer

import trees
import viz
from tinygrad_rnn import backend
from trees import Tree

from . import runs

_ADVICE = re.compile(r"draw fewer with levels= or depth=(, give it a longer timeout=)?")


def write_predictions(run: Path, file: str, device: str) -> None:
    """Write the trees of a file with predicted labels."""
    backend.set_default_device(device)
    model = runs.load_model(run)
    if file == "-" and sys.stdin is None:
        raise OSError("standard input is closed: give a file in place of -")
    given = trees.parse_all(sys.stdin.buffer.read(), "standard input") if file == "-" else trees.read(file)
    found = model.predict(given)
    for tree, classes in zip(given, found, strict=True):
        if len(classes) == tree.size:
            _, words, sizes = tree.arrays()
            typer.echo(Tree.from_arrays(classes, words, sizes))
        else:
            typer.echo(Tree(classes[-1], children=[Tree("", word) for word in tree.words()]))
    labelled = [
        (tree.label, classes[-1]) for tree, classes in zip(given, found, strict=True) if isinstance(tree.label, int)
    ]
    if labelled:
        right = sum(label == guess for label, guess in labelled)
        typer.echo(f"{right} of {len(labelled)} roots right ({right / len(labelled):.1%})", err=True)


def draw(kind: str, file: Path, run: Path | None, cell: str | None, tree: str, levels: int | None) -> None:
    """Draw a tree, an unfolding over it, its operations, or a cell."""
    if run is not None and cell is not None:
        raise typer.BadParameter(f"--run draws the cell of {run}, --cell a fresh one: give one of them")
    if levels is not None and kind != "unfolded":
        raise typer.BadParameter(f"--levels is for unfolded alone, not {kind}")
    if cell is not None and kind == "tree":
        raise typer.BadParameter("--cell is for unfolded, folded and ops: a tree without --run has no cell")
    if not tree.strip():
        raise typer.BadParameter("--tree is empty; give a tree in brackets, or a file")
    given = [trees.parse(tree)] if tree.lstrip().startswith("(") else trees.read(tree)
    if not given:
        raise ValueError(f"{tree} holds no tree")
    shown = given[0]
    if run is None:
        model = runs.build(
            runs.Settings("", cell or "tree-lstm"), trees.Vocabulary.from_trees([shown]).words, classes=5
        )
    else:
        model = runs.load_model(run)
    drawn = picture(kind, model, shown, with_predictions=run is not None, levels=levels)
    try:
        typer.echo(drawn.save(file))
    except viz.EngineError as error:  # speaks of arguments in Python
        fewer = "draw fewer with --levels N" if kind == "unfolded" else "draw a smaller tree"
        raise viz.EngineError(_ADVICE.sub(fewer, str(error))) from error


def picture(
    kind: str, model: runs.Model, shown: trees.Tree, with_predictions: bool, levels: int | None = None
) -> viz.Picture:
    """A picture of a model: of its cell ("folded"), or of what it makes of a tree."""
    classifier = model.classifier.eval()
    if kind == "folded":
        cell = classifier.cell
        return viz.folded(cell[1] if isinstance(cell, Mapping) else cell, output="o")  # that of inner nodes
    batch = model.batches([shown])[0]
    if kind == "ops":
        return viz.ops(classifier.logits(batch), names=dict(classifier.named_parameters()))
    if kind == "unfolded":
        words = dict(zip(batch.leaves.tolist(), shown.words(), strict=True))
        guesses = classifier.logits(batch).numpy().argmax(axis=1)
        labelled = batch.labels >= 0  # nodes without a label among others, such as ListOps' tokens, were not learnt
        learnt = np.flatnonzero(labelled | ~labelled.any()).tolist() if with_predictions else []
        outputs = {v: guesses[v] for v in learnt}
        return viz.unfolded(classifier.unfold(batch), words, outputs, None if levels is None else range(levels))
    if not with_predictions:
        return viz.tree(shown)
    found = model.predict([shown])[0]
    classes = [*[None] * (shown.size - len(found)), *found]
    labels = shown.arrays().labels
    judged = [isinstance(label, int) for label in labels]  # words were not learnt
    some = any(judged)
    return viz.tree(shown, [c if own or not some else None for c, own in zip(classes, judged, strict=True)])
