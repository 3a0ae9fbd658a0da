"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from gmdask.errors import InputError

__all__ = ["expanded"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Path with ``~`` and environment variables (``$GAMMAPY_DATA/...``) replaced.

    Parameters
    ----------
    path : str or path
        Variables that are not set stay as they are.

    Raises
    ------
    InputError
        If it is empty, which would stand for the folder one is in.
    """
    if not os.fspath(path):
        msg = "a path is empty (a variable that is not set?)"
        raise InputError(msg)
    return Path(os.path.expandvars(path)).expanduser()
