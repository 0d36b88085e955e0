"""The training loop: epochs over shuffled batches, early stopping, and a checkpoint of everything after each epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..autograd import no_grad
from ..ops import random
from ..optim import Optimizer, clip_grad_norm_
from ..structure import Ids
from .checkpoint import Checkpoint, load, save, write
from .classifier import Batch, TreeClassifier

CHECKPOINT, MODEL, METRICS = "checkpoint.safetensors", "model.safetensors", "metrics.jsonl"
REMEDY = "lower the learning rate (--lr) or clip the gradients (--clip)"


class Accuracy(NamedTuple):
    """The shares of roots, and of all labelled vertices, that got their label."""

    root: float
    all: float


def evaluate(model: TreeClassifier, batches: Iterable[Batch]) -> Accuracy:
    """How often the model is right, without dropout; vertices without a label don't count."""
    right = {"root": 0, "all": 0}
    total = {"root": 0, "all": 0}
    was_training = model.training
    model.eval()
    with no_grad():
        for batch in batches:
            labels = batch.labels
            hit = model.logits(batch).numpy().argmax(axis=1) == labels
            for name, ids in (("root", batch.roots), ("all", slice(None))):
                right[name] += int(hit[ids].sum())
                total[name] += int((labels[ids] >= 0).sum())
    model.train(was_training)
    return Accuracy(*(right[name] / max(total[name], 1) for name in ("root", "all")))


class Progress(NamedTuple):
    """Where an epoch stands: the examples done, and their mean loss so far."""

    epoch: int
    done: int
    loss: float


@dataclass
class Standing:
    """Where a run stands: the epochs done, the best dev accuracy at the roots and its epoch."""

    epoch: int = 0
    best: float = -1.0
    best_epoch: int = 0


def fit(
    model: TreeClassifier,
    optimizer: Optimizer,
    train: Callable[[Ids], Batch],
    count: int,
    dev: Iterable[Batch],
    folder: Path,
    config: Mapping[str, Any],
    *,
    epochs: int,
    batch_size: int,
    patience: int | None = None,
    max_norm: float = math.inf,
    resume: bool = False,
    progress: Callable[[Progress], object] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """Train, and give the figures of each epoch as it ends.

    After each epoch `folder` holds the checkpoint of everything, the model of the epoch with the best dev accuracy at
    the roots, and all figures as JSON lines. Interrupted anywhere and resumed, the run goes on to the same bits.

    Args:
        train: gives the batch of some of the `count` training examples, by their numbers.
        dev: the batches that early stopping looks at.
        config: what JSON can hold, saved with model and checkpoint.
        patience: stop after so many epochs without a better dev accuracy; None: never.
        max_norm: gradients are clipped to this norm.
        resume: go on from the checkpoint in `folder`.
        progress: called after every batch.

    Raises:
        OSError: a file can't be written; the last checkpoint is whole.
        ArithmeticError: the loss, or a parameter, is no longer finite.
    """
    now = Standing()
    figures: list[str] = []
    if resume:
        now = _restore(load(folder / CHECKPOINT), model, optimizer)
        figures = (folder / METRICS).read_text("utf-8").splitlines()[: now.epoch]
    while now.epoch < epochs and now.epoch - now.best_epoch < (patience or math.inf):
        now.epoch += 1
        started, total = time.perf_counter(), 0.0
        order = random.permutation(count)
        for start in range(0, count, batch_size):
            batch = train(order[start : start + batch_size])
            optimizer.zero_grad()
            loss = model.loss(batch)
            loss.backward()
            if max_norm < math.inf:
                clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            done = min(start + batch_size, count)
            total += loss.item() * (done - start)
            if not math.isfinite(total):
                raise ArithmeticError(
                    f"diverged: in epoch {now.epoch} the loss became {loss.item()} after {done} examples; {REMEDY}"
                )
            progress(Progress(now.epoch, done, total / done))
        if not all(np.isfinite(p.numpy()).all() for p in model.parameters()):
            raise ArithmeticError(f"diverged: epoch {now.epoch} ended with parameters that are not finite; {REMEDY}")
        found = evaluate(model, dev)
        info = {"config": dict(config), "epoch": now.epoch, "dev": found.root}
        if found.root > now.best:
            now.best, now.best_epoch = found.root, now.epoch
            save(folder / MODEL, model.state_dict(), info)
        row = {
            "epoch": now.epoch,
            "loss": total / count,
            "dev_root": found.root,
            "dev_all": found.all,
            "seconds": round(time.perf_counter() - started, 3),
        }
        figures.append(json.dumps(row))
        write(folder / METRICS, ("\n".join(figures) + "\n").encode())
        # Last, for what came before is written again, to the same bits, by a run that goes on from the one before.
        _save(folder / CHECKPOINT, model, optimizer, {**asdict(now), "config": dict(config)})
        yield row


def _save(path: Path, model: TreeClassifier, optimizer: Optimizer, info: dict[str, Any]) -> None:
    """Everything that training goes on from."""
    saved = optimizer.state_dict()
    arrays: dict[str, Any] = {f"model.{name}": value for name, value in model.state_dict().items()}
    scalars: dict[str, dict[str, Any]] = {}
    for i, state in saved["state"].items():
        scalars[str(i)] = {}
        for key, value in state.items():
            if hasattr(value, "shape"):
                arrays[f"optimizer.{i}.{key}"] = value
            else:
                scalars[str(i)][key] = value
    optimizer_info = {"state": scalars, "param_groups": saved["param_groups"]}
    save(path, arrays, {**info, "optimizer": optimizer_info, "random": random.get_state()})


def _restore(found: Checkpoint, model: TreeClassifier, optimizer: Optimizer) -> Standing:
    """Put model, optimiser and random numbers where `_save` found them; what the loop itself counts."""
    parts: dict[str, dict[str, Any]] = {"model": {}, "optimizer": {}}
    for name, value in found.arrays.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    model.load_state_dict(parts["model"])
    saved = found.info["optimizer"]
    for name, value in parts["optimizer"].items():
        i, _, key = name.partition(".")
        saved["state"][i][key] = value
    optimizer.load_state_dict(saved)
    random.set_state(found.info["random"])
    return Standing(*(found.info[field.name] for field in fields(Standing)))
