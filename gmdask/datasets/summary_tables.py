"""Tables of many datasets: sums, metadata, good time intervals, energies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, QTable, Table, vstack
from astropy.time import Time

from gmdask.datasets.base import Dataset
from gmdask.datasets.derived_cube import lazy, opened
from gmdask.datasets.given import with_counts
from gmdask.datasets.map_dataset import MapDataset
from gmdask.datasets.operations.gti import time_intervals
from gmdask.datasets.operations.irf import IRFS
from gmdask.datasets.operations.stack import emptied, stack

__all__ = ["energy_ranges", "gti_table", "info_table", "meta_table"]


def info_table(datasets: Sequence[Dataset], cumulative: bool = False) -> QTable:
    """One row per dataset with the keys of its ``info_dict``.

    Parameters
    ----------
    datasets : sequence of `Dataset`
    cumulative : bool
        Whether row n describes the stack of the first n datasets, with backgrounds as predicted by
        the models.
    """
    rows = _stacks(with_counts(datasets, "a cumulative table")) if cumulative else datasets
    found = [dataset.info_dict() for dataset in rows]
    if len({tuple(info) for info in found}) < 2:
        return QTable(rows=found)
    return vstack([QTable(rows=[info]) for info in found], join_type="outer")


def _stacks(datasets: Sequence[MapDataset]) -> Iterator[MapDataset]:
    """The stacks of the first dataset, the first two, ...; without responses, which sums do not need."""
    total = None
    for dataset in datasets:
        cube = dataset.cube
        names = [f"{key}{rest}" for key in IRFS for rest in ("", "_exposure")]
        cube = cube.drop_vars([name for name in names if name in cube])
        background = dataset.npred_background()
        if background is not None and "background" in cube:
            template = cube["background"]
            cube = cube.assign(background=(template.dims, background.values, template.attrs))
        if total is None:
            total = emptied(lazy(cube)).load(scheduler="synchronous")
        total = stack(total, opened(cube, dataset.name), (None, None))
        yield type(dataset)(total.assign_attrs(name="stacked"))


def meta_table(datasets: Sequence[Dataset]) -> Table:
    """Return the metadata of the observations, with the name and kind of the dataset.

    Parameters
    ----------
    datasets : sequence of `Dataset`
        If a dataset lacks a column, the table is masked.
    """
    return vstack([_meta_rows(dataset) for dataset in datasets] or [Table()], join_type="outer")


def _meta_rows(dataset: Dataset) -> Table:
    columns: dict[str, Any] = dataset.cube.attrs.get("meta_table", {}).get("columns", {})
    n = max((len(column["values"]) for column in columns.values()), default=1)
    rows = Table({"NAME": [dataset.name] * n, "TYPE": [type(dataset).__name__] * n})
    for name, column in columns.items():
        values = column["values"]
        if any(isinstance(value, list | tuple) for value in values):  # of a stacked dataset
            cells = np.empty(len(values), dtype=object)
            cells[:] = [list(value) for value in values]
            values = cells
        rows[name] = Column(values, unit=column["unit"] or None)
    return rows


def gti_table(datasets: Sequence[Dataset]) -> QTable | None:
    """Return start and stop of the good time intervals of each dataset, as times in columns START and STOP.

    Parameters
    ----------
    datasets : sequence of `Dataset`
        Datasets without intervals are left out; None if all are.
    """
    found = [time_intervals(dataset.cube) for dataset in datasets]
    spans = [(start[0], stop[-1]) for start, stop in filter(None, found)]
    if not spans:
        return None
    columns = zip(*spans, strict=True)
    return QTable([Time(list(times)) for times in columns], names=("START", "STOP"))


def energy_ranges(datasets: Sequence[Dataset]) -> tuple[u.Quantity, u.Quantity]:
    """Lowest and highest energy of each dataset, reconstructed where there are counts.

    Parameters
    ----------
    datasets : sequence of `Dataset`

    Returns
    -------
    energy_min, energy_max : Quantity of shape (dataset,)
        In TeV.
    """
    low, high = np.array([dataset.energy_range for dataset in datasets]).reshape(-1, 2).T
    return u.Quantity(low, "TeV"), u.Quantity(high, "TeV")
