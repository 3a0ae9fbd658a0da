"""Predicted counts in every bin of a dataset, for display and simulation rather than for fits.

The operators of a fit contain the response of each bin per true energy. For whole images this is far
more than the images themselves; here each model is folded with the response once, at its parameter values.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.likelihood.background import Background, background_of, make_background
from gmdask.likelihood.bins import Bins, all_bins
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.responses import EXACT, Part
from gmdask.likelihood.source import Source, shape_of
from gmdask.likelihood.spectral_factors import factors_of
from gmdask.likelihood.template import TemplateSource
from gmdask.models import (
    BackgroundIRFModel,
    DatasetModels,
    EnergyGrid,
    SkyModel,
    TemplateNPredModel,
)
from gmdask.store.axes import cube_axis

__all__ = ["npred_images", "npred_parts"]

Array = NDArray[np.float64]


def npred_images(cube: xr.Dataset, models: DatasetModels, response: str = EXACT) -> Array:
    """Return the predicted counts of a dataset, not clipped.

    Parameters
    ----------
    cube : `xarray.Dataset`
        The dataset, lazy or in memory.
    models : `DatasetModels`
        Models that apply to it.
    response : {"exact", "gammapy"}
        How predicted counts are computed.

    Returns
    -------
    npred : array of shape (energy, lat, lon)

    Raises
    ------
    ModelError
        If a model cannot be used on the dataset.
    """
    return npred_parts(Observation(cube), cube, models, (), response)[0]


def npred_parts(
    observation: Observation,
    cube: xr.Dataset,
    models: DatasetModels,
    names: Collection[str] = (),
    response: str = EXACT,
) -> tuple[Array, dict[str, Part]]:
    """Return the predicted counts of a dataset, not clipped, and those of some of its sources.

    Parameters
    ----------
    observation : `Observation`
        Observation of the cube.
    cube : `xarray.Dataset`
    models : `DatasetModels`
        Models that apply to it.
    names : collection of str
        Sky models whose own counts are returned, too.
    response : {"exact", "gammapy"}
        How predicted counts are computed.

    Returns
    -------
    npred : array of shape (energy, lat, lon)
        Predicted counts of all models together.
    parts : dict
        Window and counts (energy, lat, lon) of the sources that reach the dataset.
    """
    bins, background = all_bins(observation), background_of(models, observation)
    npred, parts = np.zeros(observation.mask.shape), {}
    axis = cube_axis(cube, "energy_true")
    grid = EnergyGrid(axis.edges, axis.unit)
    for model in models:
        if isinstance(model, SkyModel):
            shape = shape_of(model)
            factors = factors_of(model, models, cube, observation.energy_true.center)
            source = Source(observation, bins, model, shape, [], factors, response)
            own = np.concatenate([model.spectral_model.internal_values, factors.values])
            part = _counts(grid, source, shape.internal_values, own)
        elif isinstance(model, TemplateNPredModel):
            template, own = (
                TemplateSource(observation, bins, model),
                model.spectral_model.internal_values,
            )
            part = _counts(grid, template, np.zeros(0), own)
        else:
            continue
        if part is not None:
            npred[:, *part[0].slices] += part[1]
            if model.name in names:
                parts[model.name] = part
    if observation.background is not None:
        npred.reshape(-1)[:] += _background(observation, bins, background)
    return npred, parts


def _background(observation: Observation, bins: Bins, model: BackgroundIRFModel | None) -> Array:
    if model is None:
        return Background(observation, bins, None).template
    norm, spatial = model.spectral_model, model.spatial_model
    values = [part.internal_values for part in (norm, spatial) if part is not None]
    return make_background(observation, bins, norm, spatial).predict(np.concatenate(values))[0]


def _counts(
    grid: EnergyGrid, source: Source | TemplateSource, shape: Array, spectrum: Array
) -> Part | None:
    """Window and counts (energy, lat, lon) of a source by its parameters; None beyond the mask."""
    flux, _ = source.spectrum(grid, spectrum, {}, derivatives=False)
    return source.response.image(shape, flux)
