"""JSON Schemas of files: find what is wrong with a file, and where."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = ["SCHEMA_VERSION", "read_schema", "schema_problems"]

SCHEMA_VERSION = "1.0"


def read_schema(schema: str) -> dict[str, Any]:
    """Read one of the schemas.

    Parameters
    ----------
    schema : str
        Its file in ``data_schemas/1.0``.
    """
    beside = (
        Path(__file__).parents[1] / "data_schemas" / SCHEMA_VERSION / schema
    )  # in a source tree
    if beside.exists():
        text = beside.read_text()
    else:
        text = files("gmdask.data_schemas").joinpath(SCHEMA_VERSION, schema).read_text()
    found: dict[str, Any] = json.loads(text)
    return found


@lru_cache(maxsize=8)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(read_schema(schema))


def schema_problems(data: object, schema: str = "models.json", limit: int = 3) -> list[str]:
    """Find where plain data violate a schema.

    Parameters
    ----------
    data : object
        Plain data, as read from YAML.
    schema : str
        File of the schema in ``data_schemas/1.0``.
    limit : int
        Largest number of problems to report.

    Returns
    -------
    list of str
        Each names component, key and expectation; empty if the data are valid.
    """
    problems = []
    for error in _validator(schema).iter_errors(data):
        place = _place(data, error.absolute_path)
        expected = error.message
        if error.validator == "type":
            expected = f"expected {_either(error.schema['type'])}"
        if error.validator == "enum":
            expected = f"expected one of {', '.join(map(str, error.validator_value))}"
        elif error.validator in ("pattern", "minProperties", "maxProperties"):
            words = error.schema.get("description", f"what fits {error.validator_value}")
            expected = f"{error.instance!r}, expected {words}"
        elif error.validator == "required":
            expected = error.message.replace("is a required property", "is missing")
        problems.append(f"{place}: {expected}" if place else str(expected))
        if len(problems) == limit:
            break
    return problems


def _either(types: str | list[str]) -> str:
    return types if isinstance(types, str) else " or ".join(types)


def _place(data: Any, path: Iterable[str | int]) -> str:
    """Return a path of keys, with names for list items that have one."""
    words = []
    for key in path:
        data = data[key]
        name = data.get("name") if isinstance(data, dict) else None
        if isinstance(key, int):
            words.append(repr(name) if isinstance(name, str) else str(key))
        else:
            words.append("component" if key == "components" else key)
    return " ".join(words)
