"""Runs: what the options of `train` mean in terms of trees, cells, optimisers, and what a run's folder holds."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import trees
from tinygrad_rnn import nn, optim, training
from tinygrad_rnn.autograd import no_grad
from tinygrad_rnn.ops import random
from tinygrad_rnn.training import Batch, TreeClassifier

Ids = np.ndarray[Any, np.dtype[np.int64]]
CLASSES = 1000  # more than any treebank labels its nodes with: a larger label is something else


@dataclass(frozen=True)
class Settings:
    """All that decides the bits of a run; the model's file keeps it."""

    data: str
    cell: str
    hidden: int = 64
    embedding: int = 32
    vectors: str | None = None
    optimizer: str = "adam"
    lr: float = 3e-3
    embedding_lr: float = 3e-3
    l2: float = 0.0
    dropout: float = 0.0
    input_dropout: float = 0.0
    word_dropout: float = 0.0
    clip: float | None = None
    batch: int = 32
    seed: int = 0
    size: int = 4000
    depth: int = 4
    trees: str = ""  # a digest of them


class Kind(NamedTuple):
    """A cell as the command line offers it: how it is made, of input and hidden width, and what it runs along."""

    make: Callable[[int, int], Any]
    is_sequence: bool
    is_binary: bool


def _by_kind(make: Callable[[int, int, int], Any]) -> Callable[[int, int], Any]:
    """Leaves, of kind 0, have words and no children; inner nodes two children and no word: each a cell of its own."""
    return lambda inputs, hidden: {0: make(inputs, hidden, 0), 1: make(0, hidden, 2)}


CELLS = {
    "tree-lstm": Kind(_by_kind(nn.NaryTreeLSTMCell), False, True),
    "child-sum": Kind(nn.ChildSumTreeLSTMCell, False, False),
    "recursive": Kind(_by_kind(nn.RecursiveCell), False, True),
    "rntn": Kind(_by_kind(nn.RNTNCell), False, True),
    "lstm": Kind(nn.LSTMCell, True, False),
    "gru": Kind(nn.GRUCell, True, False),
    "rnn": Kind(nn.RNNCell, True, False),
}
OPTIMIZERS: dict[str, tuple[Callable[..., optim.Optimizer], float, float]] = {  # with lr and embedding_lr
    "adagrad": (optim.Adagrad, 0.05, 0.02),
    "adam": (optim.Adam, 1e-3, 1e-3),
    "adamw": (optim.AdamW, 1e-3, 1e-3),
    "rmsprop": (optim.RMSprop, 1e-3, 1e-3),
    "sgd": (optim.SGD, 0.05, 0.1),
}


class Parts(NamedTuple):
    """The trees to train on, to choose the epoch by, and to report on."""

    train: list[trees.Tree]
    dev: list[trees.Tree]
    test: list[trees.Tree]


def read_parts(settings: Settings) -> Parts:
    """The data of a run: `listops` is made, anything else is a folder with train.txt, dev.txt and test.txt.

    Raises:
        OSError, TreeError: a file is missing, can't be read, or holds something else.
        ValueError: a part is empty, or its roots have no labels to count an accuracy by.
    """
    if settings.data == "listops":
        held_out = max(settings.size // 10, 1)
        made = trees.datasets.listops(settings.size + 2 * held_out, settings.depth, seed=0)
        parts = Parts(made[: settings.size], made[settings.size : -held_out], made[-held_out:])
    else:
        if not Path(settings.data).is_dir():
            what = f"{settings.data} is a file" if Path(settings.data).is_file() else f"no folder {settings.data}"
            raise FileNotFoundError(
                f"{what}; DATA is the folder that holds train.txt, dev.txt and test.txt, or listops"
            )
        for file in (f"{part}.txt" for part in Parts._fields):
            if not Path(settings.data, file).exists():
                raise FileNotFoundError(f"{settings.data} has no {file}; DATA holds train.txt, dev.txt and test.txt")
        parts = Parts(*trees.datasets.sst(settings.data))
        refuse_labels(parts, settings.data)
    for name, part in parts._asdict().items():
        if not part:
            raise ValueError(f"{settings.data}: {name}.txt holds no tree")
        if name != "train" and not any(isinstance(tree.label, int) for tree in part):
            raise ValueError(
                f"{settings.data}: no root of {name}.txt has an integer label, by which accuracy is counted; number "
                "the classes from 0"
            )
    return parts


def digest(parts: Parts) -> str:
    """What tells other trees from these."""
    found = hashlib.sha256()
    for part in parts:
        for tree in part:
            found.update(str(tree).encode("utf-8", "surrogatepass"))
        found.update(b"\n")
    return found.hexdigest()[:16]


def refuse_labels(parts: Parts, data: str) -> None:
    """An integer label is a class, and each class costs a row of the linear layer.

    Raises:
        ValueError: a label is negative, or too large to number a class; names file and tree.
    """
    for name, part in parts._asdict().items():
        for number, tree in enumerate(part, 1):
            for label in tree.arrays().labels:
                if isinstance(label, int) and not 0 <= label < CLASSES:
                    raise ValueError(
                        f"{Path(data) / name}.txt, tree {number}: the label {label} is no class from 0 to "
                        f"{CLASSES - 1}; number the classes from 0, or write labels that are no classes as words"
                    )


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make the folder of a run and see that files can be written there; inside, no other training writes there.

    Raises:
        OSError: it can't be made or written.
        FileExistsError: another training writes there.
    """
    _make(folder)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(place)
        raise FileExistsError(f"another training writes to {folder}; wait for it, or choose another --out") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(place)  # and with it the lock, as when the process dies


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.tmp"):  # by a run that was killed; no file takes an hour to write
            if left.stat().st_mtime < time.time() - 3600:
                left.unlink()
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            f"can't write to the folder {folder} ({reason}); make it writable, or choose another --out"
        ) from error


class Model(NamedTuple):
    """A classifier with what it needs to read trees."""

    classifier: TreeClassifier
    settings: Settings
    vocabulary: trees.Vocabulary

    def batcher(self, given: Sequence[trees.Tree]) -> Callable[[Ids | range], Batch]:
        """What gives the batch of some of the trees, by their numbers."""
        kind = CELLS[self.settings.cell]
        if kind.is_binary and any((tree.forest.columns[1, tree.span] > 1).any() for tree in given):
            given = [trees.binarise(tree) for tree in given]

        def batch(ids: Ids | range) -> Batch:
            structure, integers = trees.batch([given[i] for i in ids], self.vocabulary)
            whole = Batch(structure, *integers)
            return training.as_chains(whole) if kind.is_sequence else whole

        return batch

    def batches(self, given: Sequence[trees.Tree], size: int = 256) -> list[Batch]:
        """All of the trees, in order."""
        batch = self.batcher(given)
        return [batch(range(i, min(i + size, len(given)))) for i in range(0, len(given), size)]

    def predict(self, given: Sequence[trees.Tree]) -> list[list[int]]:
        """The class of every node in post-order; of a sequence model only that of the root."""
        found: list[list[int]] = []
        self.classifier.eval()
        batches = self.batches(given)
        with no_grad():
            for batch in batches:
                classes = self.classifier.logits(batch).numpy().argmax(axis=1)
                stops = np.cumsum(np.bincount(batch.structure.example, minlength=batch.structure.examples))
                found += [part.tolist() for part in np.split(classes, stops[:-1])]
        if CELLS[self.settings.cell].is_sequence:
            return [classes[-1:] for classes in found]
        return [_of_own_nodes(tree, classes) for tree, classes in zip(given, found, strict=True)]


def _of_own_nodes(tree: trees.Tree, classes: list[int]) -> list[int]:
    """The classes of a tree's own nodes, without those that binarisation put between."""
    if len(classes) == tree.size:
        return classes
    labels, _, sizes = trees.binarise(tree).arrays()
    between = [str(label).startswith("@") and size > 1 for label, size in zip(labels, sizes, strict=True)]
    return [c for c, is_between in zip(classes, between, strict=True) if not is_between]


def build(settings: Settings, words: Sequence[str], classes: int) -> Model:
    """A model with fresh parameters, on the default device."""
    vocabulary = trees.Vocabulary(words)
    cell = CELLS[settings.cell].make(settings.embedding, settings.hidden)
    classifier = TreeClassifier(
        len(vocabulary), classes, cell, settings.embedding, settings.hidden,
        settings.dropout, settings.input_dropout, settings.word_dropout,
    )  # fmt: skip
    nn.init.normal_(classifier.embedding.weight, std=0.05)
    return Model(classifier, settings, vocabulary)


def start(settings: Settings, parts: Parts) -> tuple[Model, optim.Optimizer]:
    """A model and its optimiser, as training starts with them.

    Raises:
        OSError, ValueError: the vectors can't be read; no node has an integer label.
    """
    random.manual_seed(settings.seed)
    # Vectors are there for words that training never saw, too.
    seen = parts.train if settings.vectors is None else [tree for part in parts for tree in part]
    vocabulary = trees.Vocabulary.from_trees(seen)
    vectors = None if settings.vectors is None else trees.load_vectors(settings.vectors, vocabulary, seed=settings.seed)
    if vectors is not None:
        settings = replace(settings, embedding=vectors.rows.shape[1])
    labels = np.concatenate([tree.forest.columns[2, tree.span] for tree in parts.train])
    classes = int(labels.max()) + 1
    if classes < 2:
        raise ValueError(f"{settings.data}: the nodes of train.txt need integer labels from 0, of two classes or more")
    model = build(replace(settings, trees=digest(parts)), vocabulary.words, classes)
    table = model.classifier.embedding.weight
    if vectors is not None:
        model.classifier.embedding.load_state_dict({"weight": vectors.rows})
    rest = [p for p in model.classifier.parameters() if p is not table]
    make = OPTIMIZERS[settings.optimizer][0]
    # Words are not pulled to zero (Tai et al. 2015), so that rows that no tree reads cost nothing.
    groups = [
        {"params": rest, "lr": settings.lr, "weight_decay": settings.l2},
        {"params": [table], "lr": settings.embedding_lr, "weight_decay": 0.0},
    ]
    return model, make(groups)


def config(model: Model) -> dict[str, Any]:
    """What the files of a run keep beside the arrays."""
    classes = model.classifier.linear.weight.shape[0]
    return {"settings": asdict(model.settings), "classes": classes, "words": model.vocabulary.words}


def load_model(path: Path) -> Model:
    """The trained model of a run: its folder, or the file itself.

    Raises:
        OSError, CheckpointError: it is not there, or damaged.
    """
    file = path / training.MODEL if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"no model at {file}; RUN is the --out folder of a `train` that ended an epoch, or its {training.MODEL}"
        )
    arrays, info = training.load(file)
    if "optimizer" in info:
        raise training.CheckpointError(f"{file} is what --resume goes on from; use {training.MODEL} beside it")
    try:
        held = info["config"]
        model = build(Settings(**held["settings"]), held["words"], held["classes"])
        model.classifier.load_state_dict(arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise training.CheckpointError(f"{file} holds no model of `tinygrad-rnn train`: {error}") from error
    return model
