"""From C source to a loaded library: the only place that runs a compiler.

A library is compiled once per source, compiler, flags and CPU, and kept in the user's cache folder. Whatever goes
wrong, `load` answers None and the NumPy program serves.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import itertools
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

# NaN must come out as NaN and Inf as Inf, so neither -ffast-math nor -ffinite-math-only may ever stand here.
FLAGS = "-std=c11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp-simd".split()
REMEDY = "take CC out of the environment, or name a working C compiler in it"
TIMEOUT = 120  # seconds that a compiler may take

_DIGEST = hashlib.sha256().digest_size

_lock = threading.RLock()  # reentrant: a hook of warnings.showwarning may come back here
_libraries: dict[str, ctypes.CDLL | None] = {}
_warned: set[str] = set()


class _Failure(Exception):
    """The compiler did not do its work; the text says how, without names that differ from run to run."""


def load(source: str) -> ctypes.CDLL | None:
    """The shared library of a C source, or None if it can't be had.

    No compiler, one that fails, or a cache folder that can't be used, is a RuntimeWarning, once per process and reason.
    """
    with _lock:
        if source not in _libraries:
            _libraries[source] = _load(source)
        return _libraries[source]


def compiler() -> list[str] | None:
    """The start of the compiler's command line: $CC, or cc, gcc or clang, or the ziglang package's, or None."""
    if given := os.environ.get("CC", "").strip():
        try:
            return shlex.split(given, posix=os.name != "nt")
        except ValueError:  # an open quote: its failure as a command will say what stands there
            return [given]
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    if sys.executable and importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    return None


def cache_folder() -> Path:
    """Where compiled programs are kept: $TINYGRAD_RNN_CACHE, or a folder in the user's own cache folder."""
    if given := os.environ.get("TINYGRAD_RNN_CACHE"):
        return Path(given).expanduser()
    if given := os.environ.get("XDG_CACHE_HOME"):
        base = Path(given)
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches").expanduser()
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser()
    else:
        base = Path("~/.cache").expanduser()
    return base / "tinygrad_rnn" / "programs"


def describe() -> str:
    """Which compiler there is, its version and the folder of compiled programs: a line each."""
    command = compiler()
    if command is None:
        return "no C compiler: cells run as NumPy programs (remedy: install gcc or clang, or pip install ziglang)"
    try:
        version = _version(tuple(command)).partition("\n")[0]
    except (OSError, _Failure) as error:
        version = f"unusable: {_said(error)}"
    folder, refusal = _usable_folder()
    kept = f"programs not kept: {refusal}" if refusal else f"programs kept in: {folder}"
    return f"C compiler: {shlex.join(command)}\nversion: {version}\n{kept}"


def _load(source: str) -> ctypes.CDLL | None:
    command = compiler()
    if command is None:
        _warn(
            "there is no C compiler, so cells run by NumPy, with the same results. Remedy: install gcc or clang, or "
            "pip install ziglang; TINYGRAD_RNN_COMPILE=numpy in the environment says that none is wanted."
        )
        return None
    try:
        identity = "\0".join((*command, *FLAGS, _version(tuple(command)), _cpu(), source))
        key = hashlib.sha256(identity.encode()).hexdigest()
        folder, refusal = _usable_folder()
        file = folder / f"{key}.so"
        if refusal:
            _warn_of_cache(refusal)
        elif _intact(file) and (library := _opened(file)[0]):
            return library
        # A loaded library outlives its file, so this folder need not outlive the block.
        with tempfile.TemporaryDirectory(prefix="tinygrad_rnn-", ignore_cleanup_errors=True) as work:
            built = _compile(command, source, Path(work))
            problem = ""
            if not refusal:
                try:
                    _store(built, file)
                    library, problem = _opened(file)
                    if library:
                        return library
                    file.unlink()
                except OSError as error:
                    problem = _said(error)
            library, worse = _opened(built)
            if library is None:
                raise _Failure(f"what it made can't be loaded: {worse}")
            if problem:
                _warn_of_cache(f"{folder} can't be used: {problem}")
            return library
    except (OSError, _Failure) as error:
        _warn(
            f"no compiled program: the C compiler `{shlex.join(command)}` can't be used: {_said(error)}\n"
            "The NumPy program serves, with the same results. "
            f"Remedy: {REMEDY if os.environ.get('CC') else 'install a working C compiler, or name one in $CC'}."
        )
        return None


def _compile(command: list[str], source: str, work: Path) -> Path:
    """The library of a source, in the folder `work`."""
    text, built = work / "program.c", work / "program.so"
    text.write_text(source, "utf-8")
    message = ""
    # Some compilers refuse -march=native, some assemblers what it makes: a plain one is better than none.
    for flags in (FLAGS, [flag for flag in FLAGS if flag != "-march=native"]):
        run = _run([*command, *flags, "-shared", "-fPIC", str(text), "-o", str(built), "-lm"])
        if run.returncode == 0 and built.exists():
            return built
        message = message or run.stderr.replace(f"{work}{os.sep}", "").strip()
    raise _Failure("\n".join(message.splitlines()[:5]) or f"it ended with status {run.returncode} and no library")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT,
            env={**os.environ, "LC_ALL": "C"},  # one text in any locale, as the cache's key and in warnings
        )
    except subprocess.TimeoutExpired as error:
        raise _Failure(f"it took longer than {TIMEOUT} s") from error


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    run = _run([*command, "--version"])
    if run.returncode or not run.stdout.strip():
        raise _Failure("\n".join(run.stderr.strip().splitlines()[:5]) or "it does not tell its version")
    return run.stdout


@functools.cache
def _cpu() -> str:
    """What -march=native depends on."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            # Of the first CPU alone: the whole file takes long where there are many.
            lines = list(itertools.takewhile(str.strip, file))
    except OSError:
        lines = [platform.processor()]
    changing = ("cpu mhz", "bogomips", "clock")
    return "".join([platform.machine(), *(line for line in lines if not line.lower().startswith(changing))])


def _usable_folder() -> tuple[Path, str]:
    """The cache folder, made if need be, and why it can't be used: "" if nobody else can write code into it."""
    folder = Path()
    try:
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = folder.resolve()
        found = folder.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        return folder, f"{folder} can't be used: {_said(error)}"
    if os.name == "nt":  # whose folders belong to their user by inherited rights
        return folder, ""
    if found.st_uid != os.geteuid():
        return folder, f"{folder} belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return folder, f"{folder} can be written by others (chmod 700 helps)"
    return folder, ""


def _store(built: Path, file: Path) -> None:
    """Keep a library under its final name, whole or not at all, its digest at the end (loaders ignore what follows)."""
    body = built.read_bytes()
    handle, name = tempfile.mkstemp(prefix=".new-", dir=file.parent)
    try:
        with open(handle, "wb") as part:
            part.write(body + _digest(body, file))
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _intact(file: Path) -> bool:
    """Whether a kept library is whole: to load a truncated one can crash the process."""
    try:
        data = file.read_bytes()
    except OSError:
        return False
    return len(data) > _DIGEST and data[-_DIGEST:] == _digest(data[:-_DIGEST], file)


def _digest(body: bytes, file: Path) -> bytes:
    return hashlib.sha256(file.name.encode() + body).digest()


def _opened(file: Path) -> tuple[ctypes.CDLL | None, str]:
    """The library in a file, or why it can't be loaded."""
    try:
        return ctypes.CDLL(str(file)), ""
    except OSError as error:
        return None, str(error).replace(str(file), "library")


def _said(error: Exception) -> str:
    """An error's text, without the name of a temporary file: a reason is warned of once."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _warn_of_cache(reason: str) -> None:
    _warn(
        f"compiled programs are not kept, so each process compiles them anew: {reason}. "
        "Nothing else changes. Remedy: name a folder of your own in $TINYGRAD_RNN_CACHE."
    )


def _warn(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=4)
