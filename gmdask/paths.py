"""Paths given by users."""

from __future__ import annotations

import os
from pathlib import Path

from gmdask.errors import InputError, check_kind

__all__ = ["expanded"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Expand ``~`` and environment variables (``$GAMMAPY_DATA/...``) in a path.

    Parameters
    ----------
    path : str or path
        Variables that are not set are left as they are.

    Raises
    ------
    InputError
        If it is no path, or begins with an unknown user, or is empty, which would mean the current folder.
    """
    check_kind(path, (str, os.PathLike), "a path")
    if not os.fspath(path):
        msg = "a path is empty (is a variable not set?)"
        raise InputError(msg)
    try:
        return Path(os.path.expandvars(path)).expanduser()
    except RuntimeError as error:
        msg = f"{os.fspath(path)}: begins with a user who has no home folder (./~ is a file of that name)"
        raise InputError(msg) from error
