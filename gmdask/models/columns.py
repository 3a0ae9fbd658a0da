"""Tables of templates."""

from __future__ import annotations

from typing import Any

from gmdask.errors import InputNotFoundError, ModelError

__all__ = ["read_columns"]


def read_columns(filename: str, names: tuple[str, ...]) -> Any:
    """Read a table, and the columns of such names in any case.

    Raises
    ------
    InputNotFoundError
        If there is no file.
    ModelError
        If a column is missing.
    """
    from astropy.table import Table

    try:
        table = Table.read(filename)
        columns = {name.upper(): name for name in table.colnames}
        return table, [table[columns[name]] for name in names]
    except FileNotFoundError as error:
        message = f"template {filename} does not exist"
        raise InputNotFoundError(message) from error
    except (KeyError, OSError, ValueError) as error:
        message = f"{filename}: expected a table with columns {' and '.join(names)}: {error}"
        raise ModelError(message) from error
