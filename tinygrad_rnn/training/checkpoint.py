"""Checkpoints: one safetensors file, with everything that is no array as JSON in its metadata."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..tensor import Tensor

_KEY = "tinygrad_rnn"  # one key: safetensors writes several in any order, and equal contents make equal files


class CheckpointError(ValueError):
    """A file that is no checkpoint, or a damaged one."""


class Checkpoint(NamedTuple):
    """What a file holds: arrays by name, and what JSON can hold."""

    arrays: dict[str, np.ndarray]
    info: dict[str, Any]


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Put `data` into a file such that at every moment it is whole: the old one or the new one.

    Raises:
        OSError: it can't be written (no such folder, a full disk); what stood there still does.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.strerror:  # a full disk does not say where, others name the temporary
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    if os.name == "posix":  # the new name itself must survive a power cut too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save(path: str | os.PathLike[str], arrays: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        arrays: Tensors or arrays by name.
        info: what JSON can hold: a configuration, the optimiser's scalars, a random state, an epoch.

    Raises:
        OSError: it can't be written; what stood there still does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/a.safetensors", {"w": np.ones(2)}, {"epoch": 3})
    ...     load(f"{folder}/a.safetensors")
    Checkpoint(arrays={'w': array([1., 1.])}, info={'epoch': 3})
    """
    from safetensors.numpy import save as serialised

    host = {name: np.asarray(_numpy(value), order="C") for name, value in arrays.items()}
    text = json.dumps({"info": info, "checksum": _checksum(host, info)})
    write(path, serialised(host, metadata={_KEY: text}))


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        OSError: there is no such file, or it can't be read.
        CheckpointError: it is no checkpoint, or it was cut or changed since it was written.
    """
    import safetensors

    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: none was saved there, so there is nothing to resume")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error
    if _KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but no checkpoint of tinygrad_rnn")
    try:
        held = json.loads(metadata[_KEY])
        info, checksum = held["info"], held["checksum"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: its description can't be read") from error
    if checksum != _checksum(arrays, info):
        raise CheckpointError(f"{path} is damaged: it does not hold what was written")
    return Checkpoint(arrays, info)


def _numpy(value: Any) -> np.ndarray:
    return value.numpy() if isinstance(value, Tensor) else backend.of(value).to_numpy(value)


def _checksum(arrays: Mapping[str, np.ndarray], info: Any) -> int:
    total = zlib.crc32(json.dumps(info).encode())
    for name in sorted(arrays):
        total = zlib.crc32(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode(), total)
        total = zlib.crc32(arrays[name].tobytes(), total)
    return total
