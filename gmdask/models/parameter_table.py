"""The parameters of models as a table: a method of `Models`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gmdask.models.component import Component
from gmdask.models.io.links import link_labels

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["to_parameters_table"]


def to_parameters_table(models: Sequence[Component]) -> Table:
    """Return an astropy table with one row per parameter; shared ones are repeated.

    Returns
    -------
    Table
        Columns model, type, name, value, unit, error, min, max, frozen, link (the first
        name of a shared parameter) and prior.
    """
    from astropy.table import Table  # which takes long to import

    rows = [
        (component.name, kind, name, par)
        for component in models
        for kind, model in component.models.items()
        for name, par in model.named_parameters()
    ]
    pars = [par for *_, par in rows]
    labels = link_labels(pair for component in models for pair in component.named_parameters())
    table = Table()
    for k, column in enumerate(("model", "type", "name")):
        table[column] = np.array([row[k] for row in rows], dtype=str)
    table["value"] = np.array([par.value for par in pars], dtype=float)
    table["unit"] = np.array([str(par.unit) for par in pars], dtype=str)
    for column in ("error", "min", "max"):
        table[column] = np.array([getattr(par, column) for par in pars], dtype=float)
    table["frozen"] = np.array([par.frozen for par in pars], dtype=bool)
    table["link"] = np.array([labels.get(id(par), "") for par in pars], dtype=str)
    priors = [type(par.prior).__name__ if par.prior is not None else "" for par in pars]
    table["prior"] = np.array(priors, dtype=str)
    for column in ("value", "error", "min", "max"):
        table[column].format = ".4g"
    return table
