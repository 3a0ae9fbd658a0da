"""Select the rows of a store that fulfil conditions such as ``livetime > 1000``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from gmdask.errors import InputError
from gmdask.store.records import Row

__all__ = ["COLUMNS", "chosen_rows"]

COLUMNS = ("name", "kind", "block", "frame", "lon", "lat", "livetime", "counts")
TEXTS = COLUMNS[:4]
_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|==?|<|>|~)\s*(.*?)\s*")
_QUOTED = re.compile(r"(['\"])(.*)\1")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
    "==": operator.eq, "!=": operator.ne, "~": fnmatchcase,
}  # fmt: skip


def chosen_rows(rows: Sequence[Row], conditions: Iterable[str]) -> list[bool]:
    """Whether each row fulfils all conditions.

    Parameters
    ----------
    rows : sequence of `Row`
    conditions : iterable of str
        Each consists of a column, a comparison (``< <= > >= = !=``, and ``~`` for names with ``*`` and
        ``?``) and a value: lon and lat in deg, livetime in s. A row without the number fulfils none.

    Raises
    ------
    InputError
        If a condition is invalid.
    """
    tests = [_read(condition) for condition in conditions]
    return [all(test(row) for test in tests) for row in rows]


def _read(condition: str) -> Callable[[Row], bool]:
    match = _CONDITION.fullmatch(condition)
    if match is None or match[1] not in COLUMNS:
        raise InputError(
            f"condition {condition!r}: expected a column ({', '.join(COLUMNS)}), a comparison and a value, "
            "such as 'livetime > 1000' or 'name ~ hess-*'"
        )
    column, sign, text = match.groups()
    value: str | float = text
    if (column in TEXTS and sign[0] in "<>") or (column not in TEXTS and sign == "~"):
        raise InputError(f"condition {condition!r}: {sign!r} cannot be used with {column}")
    if column not in TEXTS:
        try:
            value = float(text)
        except ValueError as error:
            raise InputError(
                f"condition {condition!r}: {text!r}, expected a number (lon, lat in deg, livetime in s)"
            ) from error
        if math.isnan(value):
            raise InputError(f"condition {condition!r}: nothing can be compared with {text!r}")
    elif (quoted := _QUOTED.fullmatch(text)) is not None:
        value = quoted[2]
    compare = _COMPARISONS[sign]

    def test(row: Row) -> bool:
        found = getattr(row.pointing if column in ("lon", "lat", "frame") else row, column)
        return found is not None and compare(found, value)

    return test
