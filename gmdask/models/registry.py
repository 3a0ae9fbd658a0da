"""Model classes by the names that Gammapy's YAML files use for them."""

from __future__ import annotations

from typing import Any, TypeVar

from gmdask.errors import ModelError

__all__ = ["get_class", "known_types", "register"]

_CLASSES: dict[tuple[str, str], type] = {}

T = TypeVar("T", bound=type)


def register(cls: T) -> T:
    """Make a model class known to the reader of YAML files (a class decorator).

    Parameters
    ----------
    cls : type
        Class with attributes ``kind`` ("spectral", "spatial" or "component") and ``tag``
        (all names it is read from, the first of which is written).

    Returns
    -------
    type
        The class itself.
    """
    kind: str = cls.kind  # type: ignore[attr-defined]
    tags: tuple[str, ...] = cls.tag  # type: ignore[attr-defined]
    for tag in tags:
        other = _CLASSES.setdefault((kind, tag), cls)
        if other is not cls:
            message = f"{kind} model type {tag!r} is taken by {other.__name__}"
            raise ModelError(message)
    return cls


def known_types(kind: str) -> list[str]:
    """Names of all registered types of one kind, class names and short tags."""
    return [tag for k, tag in _CLASSES if k == kind]


def get_class(kind: str, tag: object) -> Any:
    """Class of a model type.

    Parameters
    ----------
    kind : str
        "spectral", "spatial" or "component".
    tag : object
        Class name or short tag, as found in the file.

    Raises
    ------
    ModelError
        If there is no such type.
    """
    cls = _CLASSES.get((kind, tag)) if isinstance(tag, str) else None
    if cls is None:
        message = f"unknown {kind} model type {tag!r}; known: {', '.join(known_types(kind))}"
        raise ModelError(message)
    return cls
