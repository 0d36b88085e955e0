"""`tinygrad-rnn train`: options to a run, with a progress bar."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from tinygrad_rnn import backend, optim, training
from tinygrad_rnn.program.compiled import setting

from . import Stopped, runs

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # who sets one knows how many BLAS shall have


def few_threads() -> Any:
    """Inside, BLAS has one thread, unless the environment says otherwise.

    Products of these sizes gain a tenth by a second one, and lose much where threads wait for a busy core.
    """
    return threadpool_limits(None if any(name in os.environ for name in THREADS) else 1, "blas")


def new_console() -> Console:
    """Where results go: text as it is, one line a line."""
    return Console(highlight=False, soft_wrap=True, markup=False)


def run(out: Path, resume: bool, device: str, epochs: int, patience: int, **options: Any) -> None:
    """Train, then report the best epoch on test.

    Raises:
        FileExistsError: `out` holds a run already, and `resume` is not asked for.
        ValueError: `resume`, but with other options than the run was started with.
    """
    console = new_console()
    backend.set_default_device(device)
    setting()  # if the environment says what can't be, nothing is begun
    settings = complete(**options)
    parts = runs.read_parts(settings)
    checkpoint = out / training.CHECKPOINT
    if checkpoint.exists() and not resume:
        raise FileExistsError(f"{out} holds a run already; go on with --resume, or choose another --out")
    model, optimizer = runs.start(settings, parts)
    if resume:
        refuse_other_options(runs.config(model), training.load(checkpoint).info["config"], out)
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts._asdict().items())
    parameters = sum(p.size for p in model.classifier.parameters())
    # A loss that overflows ends the run with one line of its own.
    with runs.claimed(out), few_threads(), np.errstate(all="ignore"):
        console.print(f"{settings.data}: {sizes} trees; {settings.cell}, {parameters:,} parameters")
        try:
            for _ in epochs_of(console, model, optimizer, parts, out, epochs, patience, resume):
                pass
        except KeyboardInterrupt:
            kept = "the same command with --resume goes on after the last whole epoch"
            if not checkpoint.exists():
                kept = "the first epoch was not done, so nothing is kept"
            raise Stopped(f"stopped by Ctrl-C; {kept}") from None
    done = training.load(checkpoint).info
    if done["epoch"] < epochs:
        console.print(
            f"stopped after epoch {done['epoch']}: dev was never better than in {done['best_epoch']} (--patience)"
        )
    with few_threads():
        report(console, out, parts)


def complete(**options: Any) -> runs.Settings:
    """The settings of a run, with the optimiser's own learning rates where none are given."""
    _, lr, embedding_lr = runs.OPTIMIZERS[options["optimizer"]]
    options["lr"] = lr if options["lr"] is None else options["lr"]
    options["embedding_lr"] = embedding_lr if options["embedding_lr"] is None else options["embedding_lr"]
    options["vectors"] = None if options["vectors"] is None else str(options["vectors"])
    return runs.Settings(**options)


def refuse_other_options(now: dict[str, Any], before: dict[str, Any], out: Path) -> None:
    """A run goes on with the options and trees that it began with."""
    names = [field.name for field in fields(runs.Settings) if field.name != "trees"]
    pairs = [(name, before["settings"].get(name), now["settings"][name]) for name in names]
    other = [f"{name} {a}, not {b}" for name, a, b in pairs if a != b]
    if other:
        raise ValueError(f"{out} was started with {'; '.join(other)}; --resume goes on with the same options")
    if before["settings"].get("trees", now["settings"]["trees"]) != now["settings"]["trees"]:
        raise ValueError(f"{out} was started with other trees than those in {now['settings']['data']}")


def epochs_of(
    console: Console,
    model: runs.Model,
    optimizer: optim.Optimizer,
    parts: runs.Parts,
    out: Path,
    epochs: int,
    patience: int | None,
    resume: bool = False,
    name: str = "",
) -> Iterator[dict[str, Any]]:
    """`training.fit` with a progress bar and a line for each epoch."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    batch = model.batcher(parts.train)
    best = training.load(out / training.CHECKPOINT).info["best"] if resume else -1.0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{name}epoch", total=len(parts.train), loss=0.0)

        def show(p: training.Progress) -> None:
            bar.update(task, description=f"{name}epoch {p.epoch}", completed=p.done, loss=p.loss)

        settings = model.settings
        figures = training.fit(
            model.classifier, optimizer, batch, len(parts.train), model.batches(parts.dev), out, runs.config(model),
            epochs=epochs, batch_size=settings.batch, patience=patience,
            max_norm=float("inf") if settings.clip is None else settings.clip, resume=resume, progress=show,
        )  # fmt: skip
        for row in figures:
            better = row["dev_root"] > best
            best = max(best, row["dev_root"])
            console.print(
                f"{name}epoch {row['epoch']:2}  loss {row['loss']:7.3f}  dev {row['dev_root']:6.1%} of roots, "
                f"{row['dev_all']:6.1%} of all {_parts(model)}  {row['seconds']:5.1f} s{'  *' if better else ''}"
            )
            yield row


def _parts(model: runs.Model) -> str:
    """What is judged: the nodes of a tree; of a sequence its words, each by the largest subtree that it ends."""
    return "words" if runs.CELLS[model.settings.cell].is_sequence else "nodes"


def report(console: Console, out: Path, parts: runs.Parts) -> training.Accuracy:
    """Evaluate the best epoch on test: a line to read, and the last line of the metrics."""
    model = runs.load_model(out)
    info = training.load(out / training.MODEL).info
    found = training.evaluate(model.classifier, model.batches(parts.test))
    row = {"best_epoch": info["epoch"], "dev_root": info["dev"], "test_root": found.root, "test_all": found.all}
    metrics = out / training.METRICS
    lines = [line for line in metrics.read_text("utf-8").splitlines() if "best_epoch" not in line]
    training.write(metrics, "\n".join([*lines, json.dumps(row), ""]).encode())
    console.print(
        f"best epoch {info['epoch']}: dev {info['dev']:.1%}, test {found.root:.1%} of roots, "
        f"{found.all:.1%} of all {_parts(model)}; model in {out / training.MODEL}"
    )
    return found
