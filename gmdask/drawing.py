"""Access from methods to figures and the live view, which belong to higher layers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["draw", "from_above"]


def draw(function: str, *args: Any, **kwargs: Any) -> Any:
    """Call a function of `gmdask.plot`, which is imported only at this moment.

    Methods such as ``dataset.peek()`` use it.

    Parameters
    ----------
    function : str
        Name of the function.
    *args, **kwargs
        Arguments of the function.

    Returns
    -------
    The result of the function: axes, or a figure.
    """
    return from_above("gmdask.plot", function)(*args, **kwargs)


def from_above(module: str, name: str) -> Any:
    """Import an object of a higher layer when a method needs it.

    No layer imports those above it; this is the one place where a method calls upwards.

    Parameters
    ----------
    module, name : str
        Module, and name of the object in it.
    """
    return getattr(import_module(module), name)
