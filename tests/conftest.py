"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# before SciPy and the processes of tests load theirs: small products gain nothing from threads that wait for each
# other, and on a busy machine they lose tenfold
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import dask
import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

import gmdask.cluster  # noqa: F401  (the defaults of its settings are there before one is changed for a while)

threadpool_limits(1, "blas")  # of NumPy, which plugins of pytest have loaded

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as a shell starts what runs in the background
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # processes of tests are interrupted by it

USERS_OF_SLURM = {"test_batch.py", "test_slurm.py"}

# the same examples each time; others with pytest --hypothesis-profile random
settings.register_profile("random", derandomize=False)
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Where tests run in several processes: a file stays in one, and so does all that needs the one SLURM."""
    file = item.path.name
    group = item.name if file == "test_notebooks.py" else file
    item.add_marker(pytest.mark.xdist_group("slurm" if file in USERS_OF_SLURM else group))


@pytest.fixture(scope="module", autouse=True)
def _response(request: pytest.FixtureRequest) -> Iterator[None]:
    """Gammapy's response in modules that are marked: their numbers are compared with Gammapy's."""
    marks = getattr(request.module, "pytestmark", [])
    marked = any(
        m.name == "gammapy_response" for m in (marks if isinstance(marks, list) else [marks])
    )
    with dask.config.set({"gmdask.response": "gammapy"} if marked else {}):
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real observations: $GMDASK_SHARED, or ``../shared`` beside the project."""
    default = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("GMDASK_SHARED", default))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real observations: {folder}/data does not exist (set GMDASK_SHARED)")
    return folder


for _folder in ("datasets", "store", "reduction"):
    sys.path.insert(0, str(Path(__file__).parent / _folder))

from tests.datasets.survey_fixtures import (  # noqa: E402, F401  (of several folders)
    _clusters,
    datasets,
    extended_store,
    one_worker,
    survey,
    survey_store,
    two_workers,
)
