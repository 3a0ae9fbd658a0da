"""The way from what a user holds up to the figures, which lie on a higher floor."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["draw"]


def draw(function: str, *args: Any, **kwargs: Any) -> Any:
    """Call a function of `gmdask.plot`, which is imported only now.

    Methods such as ``dataset.peek()`` are drawn by it. No floor imports those above it, and this is
    the one place where a method reaches up.

    Parameters
    ----------
    function : str
        Its name.
    *args, **kwargs
        Passed on.

    Returns
    -------
    What the function returns: axes, or a figure.
    """
    return getattr(import_module("gmdask.plot"), function)(*args, **kwargs)
