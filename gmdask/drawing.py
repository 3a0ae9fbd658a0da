"""The way from what a user holds up to figures and the live view, which lie on higher floors."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["draw", "from_above"]


def draw(function: str, *args: Any, **kwargs: Any) -> Any:
    """Call a function of `gmdask.plot`, which is imported only now.

    Methods such as ``dataset.peek()`` are drawn by it.

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
    return from_above("gmdask.plot", function)(*args, **kwargs)


def from_above(module: str, name: str) -> Any:
    """Import something of a higher floor when a method needs it.

    No floor imports those above it, and this is the one place where a method reaches up.

    Parameters
    ----------
    module, name : str
        What to import from where.
    """
    return getattr(import_module(module), name)
