"""Makes helper modules importable, in spawned processes too, and their fixtures known."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
sys.path.insert(0, str(Path(__file__).parent))

from survey_fixtures import (  # noqa: F401
    _clusters,
    datasets,
    extended_store,
    one_worker,
    survey,
    survey_store,
    two_workers,
)
