"""Summation of background templates over bins.

A template is summed such that its model, with its current parameters, predicts the sum of its previous
predictions: bin by bin it is weighted with the ratio of the norms before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from gmdask.geometry import WcsGrid
from gmdask.models import BackgroundIRFModel
from gmdask.store.axes import cube_axis

__all__ = ["background_factors", "ratio"]


def background_factors(cube: xr.Dataset, model: Mapping[str, Any] | None) -> xr.Variable:
    """Return the norm of the background of a cube, per energy and, with a spatial model, per pixel.

    Parameters
    ----------
    cube : `xarray.Dataset`
    model : mapping or None
        Plain data of the background model; None for a norm of 1.
    """
    energy = cube_axis(cube, "energy", "TeV")
    if model is None:
        return xr.Variable(("energy",), np.ones(energy.nbin))
    background = BackgroundIRFModel.from_dict(dict(model))
    if background.spatial_model is None:
        return xr.Variable(("energy",), background.factors(energy.center, None)[:, 0, 0])
    grid = WcsGrid(cube.attrs["wcs"], (cube.sizes["lat"], cube.sizes["lon"]))
    values = np.nan_to_num(background.factors(energy.center, grid))
    return xr.Variable(("energy", "lat", "lon"), values)


def ratio(before: xr.Variable, after: xr.Variable) -> xr.Variable:
    """Return the ratio of two norms, 1 where it is undefined."""
    some = after > 0
    share = before / (after * some + ~some)
    return share * some + ~some
