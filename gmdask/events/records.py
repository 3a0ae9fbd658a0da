"""Events as plain data, and as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from gmdask.events.kinds import Event

__all__ = [
    "counted",
    "line_of",
    "record",
]


def record(event: Event) -> dict[str, Any]:
    """Return an event as plain data, as in a line of ``events.jsonl``.

    Parameters
    ----------
    event : `Event`

    Returns
    -------
    record : dict
        "event", the class name; "time", the current time as ISO 8601 in UTC; and its attributes.
        Values that are not finite become None.
    """
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    content = {field.name: _plain(getattr(event, field.name)) for field in fields(event)}
    return {"event": type(event).__name__, "time": now, **content}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def line_of(record: Mapping[str, Any]) -> str | None:
    """Describe an event in one line; None for an event that is not worth one.

    Parameters
    ----------
    record : mapping
        See `record`.
    """
    kind = record["event"]
    if kind == "DatasetsProgress":
        what = {
            "reduce": "observation",
            "reoptimize": "point",
            "sample": "draw",
            "map": "part",
            "coverage": "simulation",
        }.get(record["work"], "dataset")
        return f"{record['work']}: {record['done']} of {counted(record['total'], what)}"
    if kind == "RunStart":
        return f"started on host {record['host']}, process {record['pid']}"
    if kind == "FitStart":
        where = record["store"] or "memory"
        going = f", resumed after pass {record['passes']}" if record.get("passes") else ""
        datasets = counted(len(record["datasets"]), "dataset")
        parameters = counted(len(record["parameters"]), "shared parameter")
        return f"fit of {where}: {datasets}, {parameters}{going}"
    if kind == "Planned":
        projected, limit = (f"{record[key] / 1e6:.0f} MB" for key in ("projected", "limit"))
        return f"memory planned: {projected} of {limit} on each of {counted(record['workers'], 'worker')}"
    if kind == "CompileEnd":
        return f"{counted(record['datasets'], 'dataset')} in {counted(record['groups'], 'group')}"
    if kind == "FitPass":
        return _pass_text(record)
    if kind == "CheckpointWritten":
        return f"checkpoint after pass {record['number']}"
    if kind == "CheckpointFailed":
        return str(record["error"])
    if kind == "WorkerLost":
        return f"worker {record['address']} lost"
    if kind == "FitEnd":
        end = "done" if record["success"] else "stopped"
        return f"{end}: {record['message']} ({counted(record['passes'], 'pass')})"
    return f"failed: {record['error']}" if kind == "FitFailed" else None


def counted(number: int, thing: str) -> str:
    """Return a number with its noun, such as "1 dataset" or "2 datasets"."""
    if number == 1:
        return f"1 {thing}"
    return f"{number} {thing}es" if thing.endswith("s") else f"{number} {thing}s"


def _pass_text(record: Mapping[str, Any]) -> str:
    stat = math.inf if record["stat"] is None else record["stat"]
    distance = "" if record["edm"] is None else f", edm {record['edm']:.1e}"
    return f"pass {record['number']}: statistic {stat:.4f}{distance}{'' if record['accepted'] else ' (rejected)'}"
