"""Energy edges between which every bin of a spectrum has enough counts, or a significant signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from gmdask.errors import InputError
from gmdask.store.axes import cube_axis

if TYPE_CHECKING:
    from gmdask.datasets.spectrum_dataset import SpectrumDataset

__all__ = ["resample_energy_edges"]

CONDITIONS = (
    "counts_min", "background_min", "excess_min", "sqrt_ts_min", "npred_min", "npred_background_min",
    "npred_signal_min",
)  # fmt: skip


def resample_energy_edges(dataset: SpectrumDataset, conditions: Mapping[str, float]) -> u.Quantity:
    """Return energy edges, for `SpectrumDataset.resample_energy_axis`, whose bins meet conditions.

    Parameters
    ----------
    dataset : `SpectrumDataset` or `SpectrumDatasetOnOff`
    conditions : mapping
        Least values of sums of ``info_dict`` in each bin, such as ``{"counts_min": 20}`` or
        ``{"sqrt_ts_min": 3}``; also of "background", "excess", "npred", "npred_background" and "npred_signal".

    Returns
    -------
    edges : Quantity of shape (group + 1,)
        Some of the edges of the dataset's axis, from the lowest to the highest bin of its masks.

    Raises
    ------
    InputError
        If a condition is not known, or the dataset as a whole does not meet them.

    Notes
    -----
    As Gammapy's function of this name: bins are joined from the highest energies downwards, until the
    conditions are met. The bins that remain at the lowest energies, which Gammapy does not provide for, are
    joined to the group above them, and this one to the next until it meets the conditions, too.
    """
    if "region" not in dataset.cube.attrs:
        msg = f"dataset {dataset.name!r} is not a spectrum, whose energy bins can be grouped"
        raise InputError(msg)
    unknown = [key for key in conditions if key not in CONDITIONS]
    if unknown or not conditions:
        msg = f"conditions: {unknown or 'none'}, expected any of {', '.join(CONDITIONS)}"
        raise InputError(msg)

    cube, sums = dataset.cube, dataset.sums_in()
    safe = cube["mask_safe"].values if "mask_safe" in cube else np.ones(cube["counts"].shape, bool)

    def met(start: int, stop: int) -> bool:
        group = np.zeros_like(safe)
        group[start:stop] = safe[start:stop]
        found = sums(group)
        return all(found[key.removesuffix("_min")] >= least for key, least in conditions.items())

    mask = dataset.mask
    inside = np.flatnonzero((safe if mask is None else mask.values).any(axis=(1, 2)))
    bins = [int(inside[-1]) + 1] if len(inside) else [0]
    lowest = int(inside[0]) if len(inside) else 0
    for start in range(bins[0] - 1, lowest - 1, -1):
        if met(start, bins[-1]):
            bins.append(start)
    while len(bins) > 1 and bins[-1] > lowest:
        bins.pop()
        if met(lowest, bins[-1]):
            bins.append(lowest)
    if len(bins) == 1:
        options = ", ".join(f"{key}={least}" for key, least in conditions.items())
        msg = f"dataset {dataset.name!r}: all bins together do not meet the conditions ({options})"
        raise InputError(msg)
    axis = cube_axis(dataset.cube, "energy")
    return u.Quantity(axis.edges[bins[::-1]], axis.unit)
