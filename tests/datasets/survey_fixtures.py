"""Fixtures of several folders: surveys, stores and clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

import gmdask as gm
from tests.datasets.clusters import close_clients, local_client
from tests.datasets.synthetic import write_survey


@pytest.fixture(scope="session")
def survey(tmp_path_factory) -> Path:
    """Datasets file of three runs with a point source."""
    folder = tmp_path_factory.getbasetemp() / "survey"
    path = folder / "datasets.yaml"
    return path if path.exists() else write_survey(folder)


@pytest.fixture(scope="session")
def survey_store(survey) -> Path:
    """The same as a store on disk."""
    path = survey.parent / "survey.zarr"
    if not path.exists():
        gm.import_datasets(survey, path)
    return path


@pytest.fixture
def datasets(survey_store) -> gm.Datasets:
    """The runs, freshly opened, without models."""
    return gm.Datasets.read(survey_store)


@pytest.fixture(scope="session")
def extended_store(tmp_path_factory) -> Path:
    """Store of two runs with an elongated Gaussian source."""
    folder = tmp_path_factory.getbasetemp() / "extended"
    path = folder / "survey.zarr"
    if not path.exists():
        gm.import_datasets(write_survey(folder, 2, extended=True, seed=4), path)
    return path


@pytest.fixture(scope="session")
def _clusters():
    yield
    close_clients()


@pytest.fixture
def two_workers(_clusters):
    """Client of two local workers."""
    return local_client(2)


@pytest.fixture
def one_worker(_clusters):
    """Client of one local worker."""
    return local_client(1)
