"""Parse trees: labels at the nodes, words in a line below, predictions told from mistakes by colour and by shape."""

from __future__ import annotations

from collections.abc import Sequence

from trees import Tree, unescape

from .picture import DEEP, Picture, text


def tree(tree: Tree, predictions: Sequence[object] | None = None, depth: int | None = None) -> Picture:
    """Draw a tree from its root down.

    Args:
        tree: what to draw.
        predictions: a label per node in post-order (the order of `tree.subtrees()` and of `trees.batch`), None where
            nothing was predicted. Right ones stand in blue ovals; wrong ones, as "predicted ≠ label", in orange boxes.
            Nodes without a label show what was predicted, and are not judged.
        depth: draw only nodes at most that far from the root.

    Returns:
        a Picture whose vertices know the post-order `id` of their node.

    Raises:
        ValueError: there are not as many predictions as nodes, or the depth is negative.

    >>> from trees import parse
    >>> picture = tree(parse("(3 (2 It) (4 works))"), predictions=[2, 3, 3])
    >>> [data["label"] for _, data in picture.to_networkx().nodes(data=True)]
    ['3', '2', 'It', '3 ≠ 4', 'works']
    """
    if not isinstance(tree, Tree):
        raise TypeError(f"viz.tree draws a Tree, not a {type(tree).__name__}: trees.parse(text) makes one of brackets")
    labels, words, sizes = tree.arrays()
    predictions = getattr(predictions, "tolist", lambda: predictions)()  # a Tensor, or an array
    if predictions is not None and len(predictions) != len(labels):
        raise ValueError(
            f"{len(predictions)} predictions for {len(labels)} nodes; give one per node in post-order, or None"
        )
    if depth is not None and depth < 0:
        raise ValueError(f"depth={depth}: the root is at depth 0, so give 0 or more")
    guesses = [None] * len(labels) if predictions is None else [None if p is None else text(p) for p in predictions]
    picture = Picture(direction="TB")
    if any(guess is not None and str(label) for guess, label in zip(guesses, labels, strict=True)):
        picture.caption = "oval: right, box: predicted ≠ label"
    below: list[int] = []
    deepest = 0
    # From the root down: each node waits with the vertex of its parent, its slot and its depth.
    waiting: list[tuple[int, int | None, int, int]] = [(len(labels) - 1, None, 0, 0)]
    while waiting:
        node, parent, slot, far = waiting.pop()
        deepest = max(deepest, far)
        if depth is not None and far > depth:
            picture.edge(parent, None, kind="branch", slot=slot)
            below.append(len(picture.vertices) - 1)
            continue
        label, guess = str(labels[node]), guesses[node]
        judged = guess is not None and label != ""  # what has no label can't be wrong
        kind = "label" if not judged else "right" if guess == label else "wrong"
        here = picture.vertex(f"{guess} ≠ {label}" if kind == "wrong" else label or guess or "", kind, id=node)
        if parent is not None:
            picture.edge(parent, here, kind="branch", slot=slot)
        word = words[node]
        if word is not None:
            below.append(picture.vertex(unescape(word), "word", id=node))
            picture.edge(here, below[-1], kind="word")
        child, children = node - 1, []
        while child > node - sizes[node]:
            children.append(child)
            child -= int(sizes[child])
        waiting += [(c, here, len(children) - 1 - k, far + 1) for k, c in enumerate(children)]
    if below and deepest <= DEEP:
        picture.row(below)
    return picture
