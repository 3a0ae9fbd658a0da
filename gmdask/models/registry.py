"""Model classes, by the names that Gammapy's YAML files use, and classes defined by users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, TypeVar

from gmdask.errors import ModelError

__all__ = ["class_path", "get_class", "known_types", "reading_file", "register", "type_name"]

_CLASSES: dict[tuple[str, str], type] = {}
_IN_FILE: ContextVar[bool] = ContextVar("_IN_FILE", default=False)
_OWN = "gmdask."

T = TypeVar("T", bound=type)


def register(cls: T) -> T:
    """Register a model class for reading YAML files (a class decorator).

    Parameters
    ----------
    cls : type
        Class with attributes ``kind`` ("spectral", "spatial", "temporal", "prior" or
        "component") and ``tag`` (all names under which it is read; the first one is written).

    Returns
    -------
    type
        The class itself.

    Raises
    ------
    ModelError
        If it has no tag, or a tag that is already used.
    """
    kind: str = getattr(cls, "kind", "")
    tags: object = cls.__dict__.get("tag")
    if not kind or not isinstance(tags, tuple) or not tags:
        msg = f"{cls.__name__}: it needs a kind and a tag of its own, which is a tuple of names"
        raise ModelError(msg)
    for tag in tags:
        other = _CLASSES.setdefault((kind, tag), cls)
        same = (other.__module__, other.__qualname__) == (cls.__module__, cls.__qualname__)
        if other is not cls and not same:
            msg = f"{kind} model type {tag!r} is already used by {other.__name__}"
            raise ModelError(msg)
        _CLASSES[kind, tag] = cls  # a notebook cell may be run again
    return cls


def known_types(kind: str) -> list[str]:
    """Return the names of all registered types of one kind, class names and short tags."""
    return [tag for k, tag in _CLASSES if k == kind]


@contextmanager
def reading_file() -> Iterator[None]:
    """Context in which a file is read or written: no module is imported on behalf of the file."""
    token = _IN_FILE.set(True)
    try:
        yield
    finally:
        _IN_FILE.reset(token)


def type_name(cls: type) -> str:
    """Return the name under which a class is written."""
    tags: tuple[str, ...] = cls.__dict__.get("tag", ())
    return tags[0] if tags else cls.__name__


def class_path(cls: type) -> str | None:
    """Return the import path "module:qualname" of a user's class, None for a class of this package.

    Raises
    ------
    ModelError
        If another process cannot import it; this is not checked while a file is written.
    """
    if cls.__module__.startswith(_OWN):
        return None
    if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
        if _IN_FILE.get():
            return None
        msg = (
            f"{cls.__name__} is defined in a notebook, a script or a function, where other "
            "processes cannot find it: put it in a module that can be imported"
        )
        raise ModelError(msg)
    return f"{cls.__module__}:{cls.__qualname__}"


def get_class(kind: str, tag: object, path: object = None) -> Any:
    """Return the class of a model type.

    Parameters
    ----------
    kind : str
        "spectral", "spatial", "temporal", "prior" or "component".
    tag : object
        Class name or short tag, as found in the file.
    path : object, optional
        Import path of a user's class, as returned by `class_path`. It is imported, except while a
        file is read.

    Raises
    ------
    ModelError
        If there is no such type.
    """
    cls = _CLASSES.get((kind, tag)) if isinstance(tag, str) else None
    if path is not None and (cls is None or f"{cls.__module__}:{cls.__qualname__}" != path):
        return _imported(kind, tag, path)
    if cls is None:
        msg = f"unknown {kind} model type {tag!r}; known: {', '.join(known_types(kind))}"
        raise ModelError(msg)
    return cls


def _imported(kind: str, tag: object, path: object) -> Any:
    module, _, name = path.partition(":") if isinstance(path, str) else ("", "", "")
    if not module or not name:
        msg = f"class is {path!r}, expected module:name"
        raise ModelError(msg)
    if _IN_FILE.get():
        msg = f"{kind} model type {tag!r} is a user's class: import {module} first"
        raise ModelError(msg)
    try:
        cls: Any = import_module(module)
        for part in name.split("."):
            cls = getattr(cls, part)
    except (ImportError, AttributeError) as error:
        msg = f"{kind} model type {tag!r}: class {path} cannot be imported: {error}"
        raise ModelError(msg) from error
    if not isinstance(cls, type) or getattr(cls, "kind", None) != kind:
        msg = f"class {path} is not a {kind} model"
        raise ModelError(msg)
    return cls
