"""Description of the file formats, made from their schemas: ``python -m gmdask.schema_description``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from gmdask.schemas import SCHEMA_VERSION, read_schema

__all__ = ["describe"]

FILES = {
    "commit.json": "commits/&lt;number&gt;.json",
    "manifest.json": "manifests/&lt;block&gt;.json",
    "block.json": "blocks/&lt;block&gt;/zarr.json",
    "datasets.json": "datasets.yaml",
    "models.json": "models.yaml",
    "simulation.json": "configuration of gmdask simulate",
    "reduction.json": "configuration of gmdask reduce",
    "result.json": "result.json",
    "coverage.json": "file of gmdask coverage",
    "checkpoint.json": "checkpoint.json",
}
DEEPEST = {"models.json": 1}  # depth of the description; deeper keys differ between classes


def describe() -> str:
    """Return the description as Markdown."""
    lines = [
        f"# Files of gmdask, schemas {SCHEMA_VERSION}",
        "",
        "Made from the schemas beside it by `python -m gmdask.schema_description`; keys in brackets are optional.",
    ]
    for name, place in FILES.items():
        schema = read_schema(name)
        lines += ["", f"## {place}", "", f"{schema['title']} ([{name}]({name})).", ""]
        if "description" in schema:
            lines += [schema["description"], ""]
        lines += _members(schema, schema, DEEPEST.get(name, 5))
    return "\n".join(lines) + "\n"


def _members(
    schema: dict[str, Any], root: dict[str, Any], deepest: int, depth: int = 0
) -> Iterator[str]:
    """Yield one line per key, with its members below it."""
    required = schema.get("required", ())
    for key, given in schema.get("properties", {}).items():
        member = _resolved(given, root)
        shown = f"`{key}`" if key in required else f"[`{key}`]"
        text = member.get("description", "")
        yield f"{'  ' * depth}- {shown} ({_kind(member, root)}){': ' + text if text else ''}"
        if depth < deepest:
            yield from _members(_below(member, root), root, deepest, depth + 1)


def _below(member: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a member, of its items, or of the values of its keys."""
    for key in ("items", "additionalProperties"):
        if "properties" not in member and isinstance(member.get(key), dict):
            return _resolved(member[key], root)
    return member


def _resolved(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """Return a schema merged with the definition it refers to; its own keys take precedence."""
    if not isinstance(schema, dict):
        return {}
    own = {key: value for key, value in schema.items() if key != "$ref"}
    if "$ref" not in schema:
        return own
    found: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return {**_resolved(found, root), **own}


def _kind(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """Describe the type of a value in a few words."""
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return " or ".join(_kind(_resolved(part, root), root) for part in schema[key])
    types = schema.get("type", "anything")
    text = types if isinstance(types, str) else " or ".join(types)
    if types == "array" and isinstance(schema.get("items"), dict):
        text += f" of {_kind(_resolved(schema['items'], root), root)}"
    return str(text)


if __name__ == "__main__":
    sys.stdout.write(describe())
