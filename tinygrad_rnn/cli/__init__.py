"""The command line: `tinygrad-rnn demo | train | predict | render | doctor`.

Whatever a command needs is imported when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
CellName = Literal["tree-lstm", "child-sum", "recursive", "rntn", "lstm", "gru", "rnn"]
OptimizerName = Literal["adagrad", "adam", "adamw", "rmsprop", "sgd"]
Out = Annotated[Path, typer.Option(help="Folder of the run.", file_okay=False)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from tinygrad_rnn import __version__

        typer.echo(f"tinygrad-rnn {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (anywhere on the line).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Recurrent and recursive nets: train a Tree-LSTM on your trees, look at it, see what your machine has."""


@app.command("demo")
def run_demo(
    out: Out = Path("runs/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A few seconds, to see that everything works.")] = False,
) -> None:
    """A Tree-LSTM against a sequential LSTM on ListOps, with pictures. No download; less than a minute.

    In the table of epochs, loss and * are as `train --help` says.
    """
    from .demo import run

    try:
        run(out, seed, quick)
    except KeyboardInterrupt:
        raise Stopped("stopped by Ctrl-C; a demo does not go on, the same command starts a new one") from None


def _share(value: float) -> float:
    if not 0 <= value < 1:  # of 1, nothing is left to learn from
        raise typer.BadParameter(f"{value} is not in the range 0<=x<1.")
    return value


def _positive(value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise typer.BadParameter(f"{value} is not in the range x>0.")
    return value


@app.command()
def train(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Folder with train.txt, dev.txt, test.txt of bracket trees; or listops."),
    ],
    cell: Annotated[
        CellName, typer.Option(help="What runs over the trees; the last three read the leaves in order.")
    ] = ("tree-lstm"),
    hidden: Annotated[int, typer.Option(min=1, help="Width of the hidden state.")] = 150,
    embedding: Annotated[int, typer.Option(min=1, help="Width of the word vectors; of --vectors, if given.")] = 100,
    vectors: Annotated[
        Path | None, typer.Option(help="Word vectors to start from: .npz with words and vec, or GloVe's text.")
    ] = None,
    optimizer: Annotated[OptimizerName, typer.Option(help="How parameters are moved.")] = "adagrad",
    lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate; by default the optimiser's usual one.")
    ] = None,
    embedding_lr: Annotated[float | None, typer.Option(min=0, help="Learning rate of the word vectors.")] = None,
    l2: Annotated[float, typer.Option(min=0, help="Weight decay of all but the word vectors.")] = 1e-4,
    dropout: Annotated[float, typer.Option(callback=_share, help="Dropout before the linear layer, 0<=x<1.")] = 0.5,
    input_dropout: Annotated[float, typer.Option(callback=_share, help="Dropout of the word vectors, 0<=x<1.")] = 0.3,
    word_dropout: Annotated[float, typer.Option(callback=_share, help="Share of unknown words, 0<=x<1.")] = 0.0,
    clip: Annotated[float | None, typer.Option(callback=_positive, help="Clip the gradient's norm to x>0.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    patience: Annotated[int, typer.Option(min=1, help="Stop after so many without a better dev accuracy.")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Trees per update.")] = 25,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    device: Device = "cpu",
    size: Annotated[int, typer.Option(min=10, help="listops: how many expressions to train on.")] = 10_000,
    depth: Annotated[int, typer.Option(min=2, help="listops: how deep operators may nest.")] = 6,
    out: Out = Path("runs/train"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --out was stopped.")] = False,
) -> None:
    """Train a classifier of trees: a class for every node that has an integer label; others count as unlabelled.

    Cells of two children (tree-lstm, recursive, rntn) see trees of more binarised.

    The epoch with the best accuracy at the roots of dev is kept, and its figures on test are reported. After a kill,
    the same command with --resume goes on to the very same bits.

    BLAS has one thread, unless OMP_NUM_THREADS or the like is set.

    Each epoch prints a line: loss is the cross-entropy per tree of train, summed over its labelled nodes; * marks an
    epoch whose accuracy at the roots of dev is better than that of all before it.
    """
    options = locals()
    from .training import run

    run(**options)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or its model file.")],
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="Bracket trees; - is the standard input.")] = "-",
    device: Device = "cpu",
) -> None:
    """Write trees with their predicted labels, one a line; sequence models label the root alone.

    Labels in the input are not looked at, except to report on stderr how many roots were right, if they have any. A
    sequence model needs no tree: a sentence in one pair of brackets will do, as in "( a very good film )".
    """
    from .inspection import write_predictions

    write_predictions(run, file, device)


@app.command()
def render(
    picture: Annotated[Literal["tree", "unfolded", "folded", "ops"], typer.Argument(help="What to draw.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to: .svg, .png, .pdf or .dot.")],
    run: Annotated[Path | None, typer.Option(help="Draw this run's model, with its predictions.")] = None,
    cell: Annotated[CellName | None, typer.Option(help="Without --run: the cell to draw; else a tree-lstm.")] = None,
    tree: Annotated[str, typer.Option(help="The tree, in brackets, or a file whose first tree it is.")] = (
        "(3 (2 It) (4 (4 works) (2 .)))"
    ),
    levels: Annotated[int | None, typer.Option(min=1, help="unfolded: draw the first N levels.", metavar="N")] = None,
) -> None:
    """Draw a tree, a network unfolded over it (binarised as in `train`), its operations, or a cell's circuit."""
    from .inspection import draw

    draw(picture, file, run, cell, tree, levels)


@app.command("doctor")
def run_doctor() -> None:
    """What this machine has, what a missing part would give, and how to install it."""
    from .doctor import run

    run()


def _warn(message: Warning | str, *_: object) -> None:
    """A warning in one line, as errors are."""
    typer.echo(f"tinygrad-rnn: {' '.join(str(message).split())}", err=True)


class Stopped(Exception):
    """Something that ends the command with a message and no traceback: not an error of this program."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line; exits with 0, 1 (it failed), 2 (bad options), 130 (Ctrl-C) or 141 (closed pipe)."""
    with warnings.catch_warnings():
        warnings.showwarning = _warn  # type: ignore[assignment]
        sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    message = ""
    try:
        command = typer.main.get_command(app)
        code = command([a for a in given if a != "--debug"], "tinygrad-rnn", standalone_mode=False) or 0
    except SystemExit:  # the option parser's and the console's way out when whoever read the output has left
        code = 141
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in given:
            raise
        code, message = _explained(error)
    if code == 130 and not message:
        message = "stopped by Ctrl-C"
    if message:
        sys.stdout.flush()
        typer.echo(f"tinygrad-rnn: {' '.join(message.split())}", err=True)
    return code


def _explained(error: BaseException) -> tuple[int, str]:
    """An exit code and one line."""
    if isinstance(error, Stopped | KeyboardInterrupt):
        return 130, str(error)
    if hasattr(error, "format_message"):  # the option parser's
        text = error.format_message().replace("Value error, ", "")  # what the library's own checks begin with
        return 2, f"{text} (see --help)" if text else ""  # no text: the help itself was shown
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        remedy = "; free some space, and try again" if error.errno == errno.ENOSPC else ""
        return 1, f"{where}{error.strerror}{remedy}"
    if isinstance(error, MemoryError):
        return 1, f"not enough memory: {str(error) or 'smaller widths or batches need less'}"
    if isinstance(error, OSError | ValueError | ArithmeticError | RuntimeError):
        return 1, str(error)
    return 1, f"{type(error).__name__}: {error} (a bug? --debug shows where)"
