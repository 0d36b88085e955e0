"""The compiler's driver: what it keeps, and that nothing which can go wrong is more than one warning."""

from __future__ import annotations

import ctypes
import errno
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tinygrad_rnn
from tinygrad_rnn.native import toolchain

SOURCE = "int answer(void) { return 42; }\n"
posix = pytest.mark.skipif(os.name != "posix", reason="shell scripts and modes of files")


def forget() -> None:
    """As in a new process."""
    toolchain._libraries.clear()
    toolchain._warned.clear()
    toolchain._version.cache_clear()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, not made yet, in a process that has compiled nothing."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("TINYGRAD_RNN_CACHE", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache"
    forget()


@pytest.fixture
def real() -> list[str]:
    """The machine's compiler, or a skip."""
    command = toolchain.compiler()
    if command is None:
        pytest.skip("no C compiler on this machine")
    return command


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a shell script in the compiler's place; it answers --version like one. Gives the file of its calls."""

    if os.name != "posix":
        pytest.skip("the compilers of these tests are shell scripts")

    def put(body: str, version: str = "echo fake 1.0") -> Path:
        script, calls = tmp_path / "fake-cc", tmp_path / "calls"
        script.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then {version}; exit; fi\necho "$@" >> {calls}\n{body}\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("CC", str(script))
        return calls

    return put


def answer(library: ctypes.CDLL | None) -> int:
    assert library is not None
    return int(library.answer())


def contents(folder: Path) -> list[str]:
    """The names in the cache folder; `key.so` for a library."""
    return sorted("key.so" if len(p.stem) == 64 and p.suffix == ".so" else p.name for p in folder.iterdir())


def warned(text: str) -> pytest.WarningsRecorder:
    return pytest.warns(RuntimeWarning, match=text)


def test_a_source_becomes_a_library_and_is_compiled_once(
    real: list[str], folder: Path, fake: Callable[..., Path]
) -> None:
    calls = fake(f'exec {shlex.join(real)} "$@"')
    first = toolchain.load(SOURCE)
    assert answer(first) == 42
    assert toolchain.load(SOURCE) is first
    assert contents(folder) == ["key.so"]
    forget()
    assert answer(toolchain.load(SOURCE)) == 42
    assert len(calls.read_text().splitlines()) == 1
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700


def test_each_source_version_and_command_has_its_own_library(
    real: list[str], folder: Path, fake: Callable[..., Path]
) -> None:
    body = f'exec {shlex.join(real)} "$@"'
    fake(body)
    assert answer(toolchain.load(SOURCE)) == 42
    assert answer(toolchain.load(SOURCE.replace("42", "43"))) == 43
    fake(body, version="echo fake 2.0")
    forget()
    assert answer(toolchain.load(SOURCE)) == 42
    assert contents(folder) == ["key.so"] * 3


def test_nan_and_infinity_survive_the_flags(real: list[str]) -> None:
    library = toolchain.load("int odd(double x) { return (x != x) + 2 * (x - x != 0); }\n")
    assert library is not None
    library.odd.argtypes = [ctypes.c_double]
    assert [library.odd(x) for x in (1.0, float("inf"), float("nan"))] == [0, 2, 3]


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "another's"])
def test_a_damaged_library_is_made_anew(real: list[str], folder: Path, damage: str) -> None:
    assert answer(toolchain.load(SOURCE)) == 42
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    if damage == "another's":
        toolchain.load(SOURCE.replace("42", "43"))
        (other,) = set(folder.iterdir()) - {file}
        broken = other.read_bytes()
        other.unlink()
    else:
        flipped = bytes([*whole[:900], whole[900] ^ 1, *whole[901:]])
        broken = {"truncated": whole[: len(whole) // 2], "empty": b"", "one bit": flipped}[damage]
    file.unlink()  # not written in place: the library is mapped into this process
    file.write_bytes(broken)
    forget()
    assert answer(toolchain.load(SOURCE)) == 42
    assert contents(folder) == ["key.so"]
    assert toolchain._intact(file)


def test_that_there_is_no_compiler_is_one_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with warned("there is no C compiler, so cells run by NumPy, .*pip install ziglang") as found:
        assert toolchain.load(SOURCE) is None
        assert toolchain.load(SOURCE + "\n") is None
    assert len(found) == 1
    assert toolchain.compiler() is None
    assert toolchain.describe().startswith("no C compiler")
    assert not folder.exists()


def test_the_compiler_is_cc_of_the_environment_or_of_the_path_or_ziglang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "ziglang")
    monkeypatch.setenv("PATH", "")
    assert toolchain.compiler() == [sys.executable, "-m", "ziglang", "cc"]
    monkeypatch.setattr("shutil.which", lambda name: "/bin/clang" if name == "clang" else None)
    assert toolchain.compiler() == ["/bin/clang"]
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert toolchain.compiler() == ["/bin/cc"]
    monkeypatch.setenv("CC", " ")
    assert toolchain.compiler() == ["/bin/cc"]
    monkeypatch.setenv("CC", "ccache gcc -m64")
    assert toolchain.compiler() == ["ccache", "gcc", "-m64"]
    monkeypatch.setenv("CC", "gcc '")
    assert toolchain.compiler() == ["gcc '"]


@posix
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("echo 'program.c:1:1: error: no such thing' >&2; exit 1", "program.c:1:1: error: no such thing"),
        ("exit 3", "status 3"),
        ("exit 0", "no library"),
        ("while [ $# -gt 1 ]; do [ $1 = -o ] && echo junk > $2; shift; done", "can't be loaded"),
        ("kill -9 $$", "status -9"),
    ],
)
def test_a_compiler_that_fails_is_one_warning(folder: Path, fake: Callable[..., Path], body: str, text: str) -> None:
    calls = fake(body)
    with warned(text) as seen:
        assert toolchain.load(SOURCE) is None
        assert toolchain.load(SOURCE) is None
        assert toolchain.load(SOURCE + "\n") is None
    ours = [str(w.message) for w in seen if "no compiled program" in str(w.message)]
    assert len(ours) == 1
    assert "NumPy program serves" in ours[0]
    assert "Remedy: take CC out of the environment, or name a working C compiler in it." in ours[0]
    assert calls.exists()
    assert contents(folder) == []


@posix
def test_a_compiler_that_hangs_is_ended(fake: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fake("exec sleep 60")
    monkeypatch.setattr(toolchain, "TIMEOUT", 0.2)
    with warned("took longer than"):
        assert toolchain.load(SOURCE) is None


@posix
@pytest.mark.parametrize("version", ["exit 1", "true", "echo broken >&2; exit 1"])
def test_a_compiler_without_a_version_is_not_used(fake: Callable[..., Path], version: str) -> None:
    calls = fake("exit 0", version)
    with warned("broken" if "broken" in version else "version"):
        assert toolchain.load(SOURCE) is None
    assert not calls.exists()
    assert "unusable" in toolchain.describe()


def test_a_compiler_that_is_not_there_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "none"))
    with warned("none` can't be used"):
        assert toolchain.load(SOURCE) is None
    assert "unusable" in toolchain.describe()


@posix
def test_a_compiler_that_refuses_march_native_is_asked_without(real: list[str], fake: Callable[..., Path]) -> None:
    calls = fake(f'case "$*" in *native*) echo "bad value native" >&2; exit 1;; esac\nexec {shlex.join(real)} "$@"')
    assert answer(toolchain.load(SOURCE)) == 42
    assert ["-march=native" in line for line in calls.read_text().splitlines()] == [True, False]


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["os.replace", "tempfile.mkstemp", "builtins.open"])
def test_a_full_disk_costs_only_the_keeping(
    real: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    toolchain._cpu()  # which opens a file too
    with monkeypatch.context() as patch, warned("No space left on device") as seen:
        patch.setattr(where, full_disk)
        assert answer(toolchain.load(SOURCE)) == 42
        assert answer(toolchain.load(SOURCE.replace("42", "43"))) == 43
    assert len(seen) == 1
    assert contents(folder) == []
    forget()
    assert answer(toolchain.load(SOURCE)) == 42
    assert contents(folder) == ["key.so"]


def test_no_room_for_temporary_files_either_leaves_numpy(
    real: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryDirectory", full_disk)
    with warned("No space left on device(.|\n)*NumPy program serves"):
        assert toolchain.load(SOURCE) is None
    assert contents(folder) == []


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_is_not_used(real: list[str], folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    with warned("can be written by others") as seen:
        assert answer(toolchain.load(SOURCE)) == 42
        assert answer(toolchain.load(SOURCE.replace("42", "43"))) == 43
    assert len(seen) == 1
    assert contents(folder) == []
    assert "not kept" in toolchain.describe()


@posix
def test_a_folder_of_another_user_is_not_used(real: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with warned("another user"):
        assert answer(toolchain.load(SOURCE)) == 42
    assert contents(folder) == []


def test_a_folder_that_is_a_file_is_not_used(real: list[str], folder: Path) -> None:
    folder.write_text("not a folder")
    with warned("can't be used"):
        assert answer(toolchain.load(SOURCE)) == 42
    assert folder.read_text() == "not a folder"


@posix
def test_a_folder_that_can_only_be_read_is_used_for_what_it_has(
    real: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(toolchain.load(SOURCE)) == 42
    forget()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)  # root may write to any folder, whatever its mode
    assert answer(toolchain.load(SOURCE)) == 42
    with warned("Permission denied"):
        assert answer(toolchain.load(SOURCE.replace("42", "43"))) == 43


def test_a_folder_from_which_nothing_loads_is_passed_over(
    real: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(ctypes.CDLL):
        def __init__(self, name: str) -> None:
            if name.startswith(str(folder.resolve())):
                raise OSError("failed to map segment from shared object")
            super().__init__(name)

    assert answer(toolchain.load(SOURCE)) == 42
    forget()
    monkeypatch.setattr(ctypes, "CDLL", Refusing)
    with warned("failed to map"):
        assert answer(toolchain.load(SOURCE)) == 42


def test_no_home_costs_only_the_keeping(real: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(toolchain, "cache_folder", homeless)
    with warned("home directory"):
        assert answer(toolchain.load(SOURCE)) == 42


def test_the_cache_is_in_the_users_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
    assert toolchain.cache_folder() == folder
    monkeypatch.delenv("TINYGRAD_RNN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert toolchain.cache_folder() == tmp_path / "tinygrad_rnn" / "programs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert toolchain.cache_folder().is_relative_to(Path.home())


def test_many_threads_get_one_library(real: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(toolchain.load, [SOURCE] * 16))
    assert answer(found[0]) == 42
    assert len(set(map(id, found))) == 1


def test_two_processes_at_once_end_with_one_whole_file(real: list[str], folder: Path) -> None:
    script = f"from tinygrad_rnn.native import toolchain; print(toolchain.load({SOURCE!r}).answer())"
    root = str(Path(tinygrad_rnn.__file__).parents[1])
    runs = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", script], cwd=root, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [run.communicate(timeout=60)[0].strip() for run in runs] == ["42"] * 3
    assert contents(folder) == ["key.so"]
    (file,) = folder.iterdir()
    assert toolchain._intact(file)


def test_describe_names_compiler_version_and_folder(real: list[str], folder: Path) -> None:
    command, version, kept = toolchain.describe().splitlines()
    assert command == f"C compiler: {shlex.join(real)}"
    assert version.removeprefix("version: ")
    assert kept == f"programs kept in: {folder.resolve()}"
