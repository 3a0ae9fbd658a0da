"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["expanded"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Path with ``~`` and environment variables (``$GAMMAPY_DATA/...``) replaced.

    Parameters
    ----------
    path : str or path
        Variables that are not set stay as they are.
    """
    return Path(os.path.expandvars(path)).expanduser()
