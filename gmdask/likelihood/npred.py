"""Predicted counts in every bin of a dataset: what no fit needs, and looking and simulating do.

The operators of a fit hold the response of each bin per true energy. Over whole images that is far
more than the images themselves; here each model is folded with the response once, at its values.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.background import Background, background_of, make_background
from gmdask.likelihood.bins import Bins, all_bins
from gmdask.likelihood.convolution import Convolution
from gmdask.likelihood.exact.located import LocatedSource
from gmdask.likelihood.gti_norm import temporal_norm
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.pixel_integral import PixelIntegral
from gmdask.likelihood.source import EXACT, Source, shape_of
from gmdask.likelihood.template import TemplateSource
from gmdask.models import (
    BackgroundIRFModel,
    DatasetModels,
    EnergyGrid,
    PointSpatialModel,
    SkyModel,
    TemplateNPredModel,
)
from gmdask.store.axes import cube_axis
from gmdask.sums import times

__all__ = ["npred_images", "npred_parts"]

Array = NDArray[np.float64]
Part = tuple[Window, Array]


def npred_images(cube: xr.Dataset, models: DatasetModels, response: str = EXACT) -> Array:
    """Predicted counts of a dataset, not clipped.

    Parameters
    ----------
    cube : `xarray.Dataset`
        The dataset, lazy or in memory.
    models : `DatasetModels`
        Models that touch it.
    response : {"exact", "gammapy"}
        How sources become counts.

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
    """Predicted counts of a dataset, not clipped, and those of some of its sources.

    Parameters
    ----------
    observation : `Observation`
        Of the cube.
    cube : `xarray.Dataset`
    models : `DatasetModels`
        Models that touch it.
    names : collection of str
        Sky models whose own counts are given, too.
    response : {"exact", "gammapy"}
        How sources become counts.

    Returns
    -------
    npred : array of shape (energy, lat, lon)
        Of all together.
    parts : dict
        Window and counts (energy, lat, lon) in it of those that reach the dataset.
    """
    bins, background = all_bins(observation), background_of(models, observation)
    npred, parts = np.zeros(observation.mask.shape), {}
    flat = npred.reshape(-1)
    axis = cube_axis(cube, "energy_true")
    grid = EnergyGrid(axis.edges, axis.unit)
    for model in models:
        if isinstance(model, SkyModel):
            shape, norm = shape_of(model), temporal_norm(model, cube)
            source = Source(observation, bins, model, shape, [], norm, response)
            part = _source_counts(observation, grid, source)
            if part is not None:
                npred[:, *part[0].slices] += part[1]
                if model.name in names:
                    parts[model.name] = part
        elif isinstance(model, TemplateNPredModel):
            template, values = (
                TemplateSource(observation, bins, model),
                model.spectral_model.internal_values,
            )
            operator, index = template.operator(values, values, derivatives=False)
            if operator is not None:
                flat[index] += operator.forward(
                    template.spectrum(grid, values, {}, derivatives=False)[0]
                )[0]
    if observation.background is not None:
        flat += _background(observation, bins, background)
    return npred, parts


def _background(observation: Observation, bins: Bins, model: BackgroundIRFModel | None) -> Array:
    if model is None:
        return Background(observation, bins, None).template
    norm, spatial = model.spectral_model, model.spatial_model
    values = [part.internal_values for part in (norm, spatial) if part is not None]
    return make_background(observation, bins, norm, spatial).predict(np.concatenate(values))[0]


def _source_counts(observation: Observation, grid: EnergyGrid, source: Source) -> Part | None:
    """Window a source is seen in and its counts (energy, lat, lon); None beyond the mask."""
    model, shape = source.model, source.spatial
    values = shape.internal_values
    spectral = (model.spectral_model, model.temporal_model)
    own = np.concatenate([part.internal_values for part in spectral if part is not None])
    f, _ = source.spectrum(grid, own, {}, derivatives=False)
    if isinstance(source.exact, LocatedSource):
        return _exact_counts(observation, source.exact, values, f)
    apply = {**model.apply_irf, "psf": model.apply_irf["psf"] and model.spatial_model is not None}
    radius = shape.evaluation_radius(values)
    anchor = observation.anchor(shape.center(values), shape.frame, radius, apply)
    if anchor is None:
        return None
    window = anchor.window
    if isinstance(shape, PointSpatialModel):
        image = _corner_image(source, window, values)
    else:
        image = PixelIntegral(observation, window, shape, values).images(values, []).values[0]
    kernels = None if anchor.kernel is None else anchor.kernel.values
    exposure = anchor.exposure * f[:, None, None]
    n_true, n_reco = anchor.edisp.shape
    if observation.psf_energy == "energy":
        flux = times(anchor.edisp.T, exposure * image)
        counts = Convolution(kernels, n_reco, window.shape).apply(flux)
    else:
        true = Convolution(kernels, n_true, window.shape).apply(image) * exposure
        counts = times(anchor.edisp.T, true)
    return window, counts


def _exact_counts(
    observation: Observation, source: LocatedSource, values: Array, f: Array
) -> Part | None:
    """Window and counts of a source of the exact response; None beyond the mask."""
    operator, _ = source.operator(values, derivatives=False)
    if operator is None:
        return None
    window = operator.window
    counts = operator.forward(f)[0]
    return window, counts.reshape(observation.energy.nbin, *window.shape)


def _corner_image(source: Source, window: Window, values: Array) -> Array:
    """Shares (lat, lon) of the four pixels around a point; what is outside the window is lost."""
    image = np.zeros(window.shape)
    pixels, shares = source.corners(values, derivatives=False)
    for (row, column), share in zip(pixels, shares[0], strict=True):
        y, x = row - window.y0, column - window.x0
        if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
            image[y, x] += share
    return image
