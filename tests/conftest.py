"""What every test shares: the run's device, hypothesis's settings, the data, PyTorch where it is."""

from __future__ import annotations

import os

# Set before NumPy loads, and inherited by xdist's workers, whose processes already fill the cores.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import importlib.util
from pathlib import Path

import hypothesis
import pytest

from tests import strict
from tinygrad_rnn import backend

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=["cpu", "cuda", "strict"],
        default="cpu",
        help="default device of the run; 'strict' is a double of CuPy on the CPU (tests/strict.py)",
    )


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("ci" if "CI" in os.environ else "default")
    cupy, array = strict.namespace, strict.StrictArray
    backend.register(backend.Backend("strict", cupy, array, to_numpy=lambda a: a.get(), from_numpy=cupy.asarray))
    try:
        backend.set_default_device(config.getoption("--device"))
    except backend.DeviceError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))
    if config.getoption("--device") != "cpu":  # a docstring shows what the CPU prints
        doctests = [item for item in items if isinstance(item, pytest.DoctestItem)]
        config.hook.pytest_deselected(items=doctests)
        items[:] = [item for item in items if not isinstance(item, pytest.DoctestItem)]


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> str:
    """The default device of this run."""
    return str(pytestconfig.getoption("--device"))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the data sets, $TINYGRAD_RNN_DATA or ../shared/data beside the checkout, or a skip."""
    default = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("TINYGRAD_RNN_DATA", default))
    if not root.is_dir():
        pytest.skip(f"no data at {root}: set TINYGRAD_RNN_DATA to the folder of the data sets")
    return root


@pytest.fixture
def eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every unfolding in the test runs op by op, for what looks at the single ops."""
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "0")
