"""Names as users give them: one or several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gmdask.errors import InputError, check_kind

__all__ = ["check_texts", "list_of_names", "new_names"]


def check_texts(*values: object) -> None:
    """Refuse what is neither text nor None.

    Raises
    ------
    InputError
        If one is something else.
    """
    for value in values:
        check_kind(value, str | None, "a name, part of one, or a kind of model, as text")


def list_of_names(names: str | Iterable[str]) -> list[str]:
    """List of one name or several.

    Raises
    ------
    InputError
        If one is not text.
    """
    given: Any = [names] if isinstance(names, str) or not isinstance(names, Iterable) else names
    found = list(given)
    for name in found:
        check_kind(name, str, "a name, or a list of names")
    return found


def new_names(old: str | Iterable[str], new: str | Iterable[str]) -> dict[str, str]:
    """New name of each old one.

    Raises
    ------
    InputError
        If one is not text, or there are not as many of both.
    """
    before, after = list_of_names(old), list_of_names(new)
    if len(before) != len(after):
        msg = f"there are {len(before)} old names, and {len(after)} new ones"
        raise InputError(msg)
    return dict(zip(before, after, strict=True))
