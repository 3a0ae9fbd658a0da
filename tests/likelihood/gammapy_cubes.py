"""A synthetic dataset made by Gammapy, and the same as a cube of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr
from gammapy.datasets import MapDataset
from gammapy.irf import EDispKernelMap, EDispMap, PSFMap, RecoPSFMap
from gammapy.maps import Map, MapAxis, WcsGeom
from gammapy.modeling.models import Models as GammapyModels

from gmdask.models import DatasetModels, Models
from gmdask.store.formats.gadf import read_map_dataset
from tests.likelihood.gammapy_response import CompiledDataset, npred_images

LON, LAT = 83.63, 22.01
RECO = MapAxis.from_energy_bounds("1 TeV", "20 TeV", nbin=3)
TRUE = MapAxis.from_energy_bounds("0.7 TeV", "30 TeV", nbin=5, name="energy_true")
GEOM = WcsGeom.create(skydir=(LON, LAT), npix=(38, 34), binsz=0.05, axes=[RECO], proj="TAN")


def make_dataset(psf: str | None = "true", edisp: str = "migra", name: str = "one") -> MapDataset:
    """Dataset with an offset-dependent exposure, a Gaussian PSF, and a mask."""
    geom_true = GEOM.to_image().to_cube([TRUE])
    offset = geom_true.separation(GEOM.center_skydir).to_value("deg")
    exposure = Map.from_geom(geom_true, unit="m2 s", dtype=float)
    energy = TRUE.center.value[:, None, None]
    exposure.data = 3e9 * energy**0.3 * np.exp(-0.5 * (offset / 1.1) ** 2)
    background = Map.from_geom(GEOM, dtype=float)
    level = np.array([0.4, 0.2, 0.05])[:, None, None]
    background.data = level * (1 + 0.2 * np.cos(3 * offset))
    mask = Map.from_geom(GEOM, data=np.broadcast_to(offset < 0.8, GEOM.data_shape).copy())
    response: dict[str, Any] = {}
    rad = MapAxis.from_bounds(0, 0.5, nbin=100, unit="deg", name="rad")
    sigma = 0.08 * np.array([1.4, 1.2, 1, 0.8, 0.7]) * u.deg
    if psf == "true":
        response["psf"] = PSFMap.from_gauss(TRUE, rad_axis=rad, sigma=sigma)
    elif psf == "reco":
        response["psf"] = RecoPSFMap.from_gauss(RECO, rad_axis=rad, sigma=sigma[::2])
    if edisp == "migra":
        migra = MapAxis.from_bounds(0.2, 3, nbin=80, node_type="edges", name="migra")
        response["edisp"] = EDispMap.from_diagonal_response(TRUE, migra_axis=migra)
        shape = np.exp(-0.5 * ((migra.center - 0.95) / 0.15) ** 2)
        shape /= (shape * np.diff(migra.edges)).sum()
        response["edisp"].edisp_map.data[:] = shape[:, None, None]
    else:
        response["edisp"] = EDispKernelMap.from_gauss(RECO, TRUE, sigma=0.15, bias=-0.05)
    rng = np.random.default_rng(3)
    counts = Map.from_geom(GEOM, dtype=float, data=rng.poisson(background.data * 2).astype(float))
    return MapDataset(
        counts=counts, exposure=exposure, background=background, mask_safe=mask, name=name,
        **response,
    )  # fmt: skip


def as_cube(dataset: MapDataset, folder: Path) -> xr.Dataset:
    """Write it, and read it with our reader."""
    path = folder / f"{dataset.name}.fits"
    dataset.write(path, overwrite=True)
    return read_map_dataset(path)


def to_ours(theirs: Any, folder: Path) -> Models:
    """Models of Gammapy, through its YAML."""
    path = folder / "models.yaml"
    GammapyModels(theirs).write(path, overwrite=True, write_covariance=False, full_output=True)
    return Models.read(path)


def gammapy_npred(dataset: MapDataset, models: Any) -> np.ndarray:
    fresh = dataset.copy(name=dataset.name)
    fresh.models = models
    return np.asarray(fresh.npred().data)


def our_npred(cube: xr.Dataset, models: Models) -> np.ndarray:
    local = DatasetModels(models)
    values = local.parameters.value
    npred = CompiledDataset(cube, local, bins="all").npred(values).reshape(cube["counts"].shape)
    images = npred_images(cube, local)
    np.testing.assert_allclose(images, npred, rtol=1e-9, atol=1e-13 * np.abs(npred).max())
    return np.clip(npred, 0, None)
