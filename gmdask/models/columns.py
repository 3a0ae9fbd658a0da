"""Tables that templates are read from."""

from __future__ import annotations

from typing import Any

from gmdask.errors import ModelError
from gmdask.inputs import read_table

__all__ = ["read_columns"]


def read_columns(filename: str, names: tuple[str, ...]) -> Any:
    """Read a table, and its columns of the given names in upper or lower case.

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    ModelError
        If it is not a table, or a column is missing.
    """
    table = read_table(filename, what="template", error=ModelError)
    try:
        columns = {name.upper(): name for name in table.colnames}
        return table, [table[columns[name]] for name in names]
    except KeyError as error:
        msg = f"{filename}: expected a table with columns {' and '.join(names)}: {error}"
        raise ModelError(msg) from error
