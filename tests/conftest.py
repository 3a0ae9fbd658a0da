"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real observations: $GMDASK_SHARED, or ``../shared`` beside the project."""
    default = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("GMDASK_SHARED", default))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real observations: {folder}/data does not exist (set GMDASK_SHARED)")
    return folder
