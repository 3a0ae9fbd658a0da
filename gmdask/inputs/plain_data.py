"""YAML and JSON as plain data; depth, aliases and repeated keys are checked during parsing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from gmdask.errors import GmdaskError, InputError

__all__ = ["check_yaml", "load_json", "load_yaml"]

MAX_DEPTH = 100
MAX_NODES = 10_000_000  # keys and values in a file
MAX_REPEATED = 1_000_000  # keys and values added by aliases

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# raised by YAML constructors for values that do not match their tag, such as the date 2001-99-99
_NOT_YAML = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def load_yaml(content: bytes | str, where: str, error: type[GmdaskError] = InputError) -> Any:
    """Load the plain data of one YAML document.

    Parameters
    ----------
    content : bytes or str
        Text, as UTF-8 if it is bytes.
    where : str
        File, with which messages begin.
    error : type of GmdaskError
        Error to raise.

    Raises
    ------
    InputError
        If it is not YAML, repeats a key, is nested more than 100 levels deep, or has too many keys
        and values: more than 10 million, or more than one million added by aliases.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        check_yaml(text, where, error)
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 (a safe loader in either case)
    except GmdaskError:
        raise
    except _NOT_YAML as failed:
        raise error(f"{where}: not YAML: {_one_line(failed)}") from failed


def check_yaml(text: str, where: str, error: type[GmdaskError] = InputError) -> None:
    """Check a YAML document like `load_yaml`, without building it.

    Parameters
    ----------
    text : str
        The document.
    where, error
        See `load_yaml`.
    """
    try:
        _check_events(yaml.parse(text, Loader=_LOADER))
    except _TooMuchError as failed:
        raise error(f"{where}: {failed}") from failed
    except _NOT_YAML as failed:
        raise error(f"{where}: not YAML: {_one_line(failed)}") from failed


def _one_line(failed: Exception) -> str:
    problem, mark = (getattr(failed, key, None) for key in ("problem", "problem_mark"))
    if problem is not None and mark is not None:
        return f"{problem} in line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(failed).split())


class _TooMuchError(Exception):
    """Valid YAML, but beyond the limits."""


class _Collection:
    """A sequence or mapping that is still open."""

    def __init__(self, event: CollectionStartEvent) -> None:
        self.anchor, self.nodes = event.anchor, 1
        self.is_mapping = isinstance(event, MappingStartEvent)
        self.is_key = True  # for a mapping: whether the next node is a key
        self.keys: set[str] = set()


def _check_events(events: Iterator[Any]) -> None:
    """Check a document before it is built; an alias counts as everything that it stands for."""
    open_ones: list[_Collection] = []
    sizes: dict[str, int] = {}
    total = repeated = 0
    for event in events:
        if isinstance(event, CollectionEndEvent):
            closed = open_ones.pop()
            _add(open_ones, closed.nodes)
            if closed.anchor is not None:
                sizes[closed.anchor] = closed.nodes
        elif isinstance(event, NodeEvent):
            start: Any = event.start_mark
            where = f"in line {start.line + 1}"
            total += 1
            _check_key(open_ones, event, where)
            if isinstance(event, CollectionStartEvent):
                open_ones.append(_Collection(event))
            elif isinstance(event, AliasEvent):
                if any(one.anchor == event.anchor for one in open_ones):
                    raise _TooMuchError(f"alias *{event.anchor} {where} is part of itself")
                size = sizes.get(
                    str(event.anchor), 1
                )  # unknown aliases are rejected by the constructor
                repeated += size
                _add(open_ones, size)
            else:
                _add(open_ones, 1)
                if event.anchor is not None:
                    sizes[event.anchor] = 1
            if len(open_ones) > MAX_DEPTH:
                raise _TooMuchError(f"nested deeper than {MAX_DEPTH} levels {where}")
            if total > MAX_NODES:
                raise _TooMuchError(f"more than {MAX_NODES} keys and values {where}")
            if repeated > MAX_REPEATED:
                raise _TooMuchError(f"aliases stand for more than {MAX_REPEATED} values {where}")


def _add(open_ones: list[_Collection], nodes: int) -> None:
    if open_ones:
        open_ones[-1].nodes += nodes


def _check_key(open_ones: list[_Collection], event: NodeEvent, where: str) -> None:
    """Reject a repeated key, of which only the last value would count."""
    if not open_ones or not open_ones[-1].is_mapping:
        return
    mapping = open_ones[-1]
    if mapping.is_key and isinstance(event, ScalarEvent):
        if event.value in mapping.keys:
            raise _TooMuchError(f"key {event.value!r} is repeated {where}")
        mapping.keys.add(event.value)
    mapping.is_key = not mapping.is_key


def load_json(content: bytes, where: str, error: type[GmdaskError] = InputError) -> Any:
    """Load the plain data of one JSON document.

    Parameters
    ----------
    content : bytes
        Text as UTF-8.
    where : str
        File, with which messages begin.
    error : type of GmdaskError
        Error to raise.

    Raises
    ------
    InputError
        If it is not JSON, or repeats a key.
    """
    try:
        return json.loads(content.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as failed:
        raise error(f"{where}: is not JSON: {failed}") from failed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key in found if sum(key == name for name, _ in pairs) > 1)
        raise ValueError(f"key {twice!r} is repeated")
    return found
