"""Pixels of the maps of estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from gmdask.datasets import Datasets, with_counts
from gmdask.datasets.creation import pixel_cards
from gmdask.errors import InputError, check_kind
from gmdask.geometry import WcsGrid, enclosing_grid
from gmdask.store.axes import cube_axis

__all__ = ["all_energies", "angle_of", "map_grid"]


def map_grid(datasets: Datasets, position: Any, width: Any, binsz: Any, proj: str) -> WcsGrid:
    """Return the pixels of a map.

    Parameters
    ----------
    datasets : `Datasets`
    position, width, binsz, proj
        See `MapDataset.create`; without a position, the pixels are those of the first dataset, as many as contain
        all datasets.

    Raises
    ------
    InputError
        If some of them are missing or invalid, or there are no datasets.
    """
    grids = [
        WcsGrid(d.cube.attrs["wcs"], d.counts.shape[-2:]) for d in with_counts(datasets, "a map")
    ]
    if not grids:
        msg = "there are no datasets to make a map of"
        raise InputError(msg)
    given = [value is not None for value in (position, width, binsz)]
    if not any(given):
        return enclosing_grid(grids)
    if not given[0] or not given[1]:
        msg = "a map has a position and a width (and a size of pixels, by default that of the first dataset), or none"
        raise InputError(msg)
    check_kind(position, SkyCoord, "a SkyCoord as the centre of the map")
    try:
        sides = u.Quantity(width, "deg").value
        pixel = grids[0].max_pixel_scale if binsz is None else float(u.Quantity(binsz, "deg").value)
    except (TypeError, ValueError, u.UnitsError) as error:
        msg = f"width is {width!r} and binsz {binsz!r}, expected angles"
        raise InputError(msg) from error
    lon, lat = (float(side) for side in np.broadcast_to(sides, 2))
    frame = str(position.frame.name)
    return WcsGrid(*pixel_cards(position, (lon, lat), pixel, proj, frame))


def all_energies(datasets: Datasets) -> u.Quantity:
    """Return the lowest and the highest edge of the energy axes of all datasets.

    Parameters
    ----------
    datasets : `Datasets`
    """
    edges = [cube_axis(dataset.cube, "energy", "TeV").edges[[0, -1]] for dataset in datasets]
    return u.Quantity([np.min(edges), np.max(edges)], "TeV")


def angle_of(value: Any, name: str) -> float:
    """Return an angle that was given by the user in deg.

    Parameters
    ----------
    value : Quantity or str
    name : str
        What it is called in messages.

    Raises
    ------
    InputError
        If it is no positive angle.
    """
    try:
        degrees = float(u.Quantity(value).to_value("deg"))
    except (TypeError, ValueError, u.UnitsError) as error:
        msg = f"{name} is {value!r}, expected an angle"
        raise InputError(msg) from error
    if not 0 < degrees < np.inf:
        msg = f"{name} is {value!r}, expected a positive angle"
        raise InputError(msg)
    return degrees
