"""Import of Gammapy, which is installed only with the extra of that name, where it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["gammapy_module"]


def gammapy_module(name: str, what: str) -> Any:
    """Import a module of Gammapy.

    Parameters
    ----------
    name : str
        Name such as "datasets".
    what : str
        The operation that needs it, for the message.

    Raises
    ------
    ImportError
        If Gammapy is not installed.
    """
    try:
        return import_module(f"gammapy.{name}")
    except ImportError as error:
        msg = f'{what} needs Gammapy: pip install "gmdask[gammapy]" ({error})'
        raise ImportError(msg) from error
