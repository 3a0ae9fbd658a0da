"""Links between parameters in plain data: entries with the same label are one parameter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from gmdask.errors import ModelError
from gmdask.models.parameter import Parameter

__all__ = ["check_links", "link_labels", "same_value"]

_LINKED = (
    "unit",
    "value",
    "error",
    "min",
    "max",
    "frozen",
    "prior",
)  # in which linked entries agree


def link_labels(named: Iterable[tuple[str, Parameter]]) -> dict[int, str]:
    """Return the label of each parameter that occurs more than once, by its id; equal models give equal labels.

    Parameters
    ----------
    named : iterable of (str, Parameter)
        Full names and parameters.
    """
    first: dict[int, str] = {}
    labels: dict[int, str] = {}
    for name, par in named:
        if id(par) in first and id(par) not in labels:
            digest = sha256(first[id(par)].encode()).hexdigest()[:8]
            labels[id(par)] = f"{par.name}@{digest}"
        first.setdefault(id(par), name)
    return labels


def check_links(components: dict[str, dict[str, Any]]) -> None:
    """Reject linked parameters whose entries differ, of which only one could be taken.

    Parameters
    ----------
    components : dict
        Valid plain data of components by their names.

    Raises
    ------
    ModelError
        Naming both entries and what differs; a key that only one of them has does not count.
    """
    firsts: dict[str, tuple[str, dict[str, Any]]] = {}
    for component, data in components.items():
        for place, entry in _linked(data, component):
            first_place, first = firsts.setdefault(entry["link"], (place, entry))
            for key in _LINKED:
                if key in first and key in entry and not same_value(first[key], entry[key]):
                    msg = (
                        f"linked parameters differ: {key} is {first[key]!r} in {first_place}, "
                        f"{entry[key]!r} in {place}"
                    )
                    raise ModelError(msg)


def _linked(data: dict[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the entries of linked parameters in a model and in those that it contains, with their places."""
    for entry in data.get("parameters") or []:
        if entry.get("link") is not None:
            yield f"{place}.{entry['name']}", entry
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _linked(value, f"{place}.{key}")


def same_value(a: Any, b: Any) -> bool:
    """Whether two values of plain data are the same; NaN is the same as NaN."""
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or a == b
