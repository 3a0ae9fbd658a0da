"""One simulated observation: maps of an analytic response, and counts drawn from the models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.datasets.simulation.event_sampling import photon_counts
from gmdask.datasets.simulation.iact import MIGRA, RAD
from gmdask.datasets.simulation.survey import EVENTS, Observed, Survey
from gmdask.errors import InputError
from gmdask.geometry import Axis, WcsGrid, separation
from gmdask.likelihood.npred import npred_images
from gmdask.likelihood.responses import EXACT
from gmdask.models import BackgroundIRFModel, DatasetModels, PowerLawNormSpectralModel, SkyModel

__all__ = ["REFERENCE", "background_model", "good_times", "simulate_observation"]

Array = NDArray[np.float64]
Single = NDArray[np.float32]

REFERENCE: dict[str, Any] = {"mjdrefi": 60000, "mjdreff": 0.0, "timesys": "tt"}


def background_model(observed: Observed) -> BackgroundIRFModel:
    """Return the true background model of an observation; its tilt is free."""
    model = BackgroundIRFModel(
        PowerLawNormSpectralModel(norm=observed.norm, tilt=observed.tilt),
        dataset_name=observed.name,
    )
    model.spectral_model.parameter("tilt").frozen = False
    return model


def simulate_observation(survey: Survey, observed: Observed) -> xr.Dataset:
    """Simulate one observation.

    Parameters
    ----------
    survey : `Survey`
        The models that apply to the dataset are used.
    observed : `Observed`

    Returns
    -------
    cube : `xarray.Dataset`
        In memory, in the form of stored datasets: single precision, as Gammapy writes maps.

    Raises
    ------
    InputError
        If the predicted counts are invalid.
    ModelError
        If photons cannot be drawn from a spatial model.

    Notes
    -----
    If sources are simulated as events, their photons are drawn one by one, with continuous energies and
    directions. The background is known per bin, so that its counts are drawn per bin.
    """
    cube = _empty_cube(survey, observed)
    sky = list(survey.models.for_dataset(observed.name))
    as_events = [m for m in sky if survey.sources == EVENTS and isinstance(m, SkyModel)]
    models = DatasetModels([m for m in sky if m not in as_events] + [background_model(observed)])
    npred = npred_images(cube, models, EXACT if survey.sources == EVENTS else survey.sources)
    if not np.isfinite(npred).all() or npred.min() < -1e-9:
        msg = (
            f"dataset {observed.name!r}: the models predict counts that are negative or not finite"
        )
        raise InputError(msg)
    counts = survey.random(observed.number, 1).poisson(np.clip(npred, 0, None))
    cube["counts"].values[...] = counts
    random = survey.random(observed.number, 2)
    for model in as_events:
        cube["counts"].values[...] += photon_counts(survey, observed, model, cube, random)
    return cube


def _empty_cube(survey: Survey, observed: Observed) -> xr.Dataset:
    """Return response, background and masks, without counts."""
    energy, true = (
        Axis("energy", survey.energy, unit="TeV"),
        Axis("energy_true", survey.energy_true, unit="TeV"),
    )
    rad, migra = Axis("rad", RAD, "lin", unit="deg"), Axis("migra", MIGRA, "lin")
    grid = survey.pixels.cutout(observed.lon, observed.lat, survey.npix)
    offset = _offset(grid, observed)
    response, zenith = survey.response, observed.zenith
    background = (
        response.background_rate(energy.edges, offset, zenith)
        * grid.solid_angle
        * observed.livetime
    )
    exposure = (
        response.effective_area(true.center[:, None, None], offset, zenith) * observed.livetime
    )
    safe = (energy.edges[:-1] >= response.threshold_at(zenith))[:, None, None]
    safe = safe & (offset <= response.max_offset)
    irf_grid, irfs = _irf_maps(survey, observed, true, rad, migra)
    meta = {"meta": {"livetime": f"{observed.livetime} s"}}
    return xr.Dataset(
        {
            "counts": (("energy", "lat", "lon"), np.zeros(background.shape, np.float32), {"unit": ""}),
            "background": (("energy", "lat", "lon"), background.astype(np.float32), {"unit": ""}),
            "mask_safe": (("energy", "lat", "lon"), safe, {"unit": ""}),
            "exposure": (("energy_true", "lat", "lon"), exposure.astype(np.float32), {"unit": "m2 s", **meta}),
            **irfs,
            **good_times(observed).variables,
        },
        coords={
            **_coords(energy, "energy"), **_coords(true, "energy_true"), **_coords(true, "psf_energy_true"),
            **_coords(true, "edisp_energy_true"), **_coords(rad, "rad"), **_coords(migra, "migra"),
        },
        attrs={
            "name": observed.name, "kind": "MapDataset", "gti": REFERENCE, "zenith": observed.zenith,
            "wcs": grid.header, "psf_wcs": irf_grid.header, "edisp_wcs": irf_grid.header,
        },
    )  # fmt: skip


def good_times(observed: Observed) -> xr.Dataset:
    """Return the good time interval of an observation, in the form of stored datasets."""
    start, stop = observed.start, observed.start + observed.livetime
    return xr.Dataset(
        {
            "gti_start": (("gti",), np.array([start]), {"unit": "s"}),
            "gti_stop": (("gti",), np.array([stop]), {"unit": "s"}),
        },
        attrs={"name": observed.name, "gti": REFERENCE},
    )


def _irf_maps(
    survey: Survey, observed: Observed, true: Axis, rad: Axis, migra: Axis
) -> tuple[WcsGrid, dict[str, Any]]:
    """Return grid and variables of the maps of PSF and energy dispersion, with their exposures."""
    pixels = replace(survey.pixels, pixel=survey.irf_pixel)
    n = int(np.ceil(survey.npix * survey.pixels.pixel / survey.irf_pixel)) + 1
    grid = pixels.cutout(observed.lon, observed.lat, n)
    offset = _offset(grid, observed)
    response, energy, zenith = survey.response, true.center, observed.zenith
    psf = response.psf_profile(energy, rad.center, offset, zenith)
    ring = 2 * np.pi * np.radians(rad.center) * np.diff(np.radians(rad.edges))
    psf /= np.einsum("r,eryx->eyx", ring, psf)[:, None]
    edisp = response.migration(energy, migra.edges, offset, zenith)
    area = response.effective_area(energy[:, None, None], offset, zenith)
    exposure = (area * observed.livetime).astype(np.float32)
    place = ("lat", "lon")
    variables: dict[str, Any] = {}
    for key, inner, values, unit in (("psf", "rad", psf, "sr-1"), ("edisp", "migra", edisp, "")):
        dims = (f"{key}_energy_true", inner, *(f"{key}_{axis}" for axis in place))
        variables[key] = (dims, values.astype(np.float32), {"unit": unit})
        variables[f"{key}_exposure"] = ((dims[0], *dims[2:]), exposure, {"unit": "m2 s"})
    return grid, variables


def _offset(grid: WcsGrid, observed: Observed) -> Array:
    """Offsets (lat, lon) of the pixel centres from the pointing, in deg."""
    return separation(*grid.pixel_centers, observed.lon, observed.lat)


def _coords(axis: Axis, dim: str) -> dict[str, Any]:
    """Coordinates of a dimension: centres, and edges."""
    attrs = {"unit": axis.unit, "interp": axis.interp, "node_type": axis.node_type}
    return {
        dim: (dim, axis.center, attrs),
        f"{dim}_edges": (f"{dim}_edge", axis.edges, {"unit": axis.unit}),
    }
