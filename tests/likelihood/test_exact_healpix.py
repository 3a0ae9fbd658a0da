"""The exact response needs no rectangles: sources in pixels of HEALPix, against integrals over the pixels."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import gmdask as gm
from gmdask.errors import InputError
from gmdask.geometry import Grid, separation
from gmdask.geometry.grid import GRIDS
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.models import (
    DatasetModels,
    DiskSpatialModel,
    GaussianSpatialModel,
    PointSpatialModel,
    PowerLawSpectralModel,
    SkyModel,
    SpatialModel,
)
from tests.geometry.healpix_face import HealpixFace
from tests.likelihood.test_exact_accuracy import AREA, cube

CORE, SHAPE, NODES = 0.08, (36, 40), 12
# face, first column and row: around the equator, and in the polar caps
PLACES = {"equator": (4, 300, 250), "cap": (1, 760, 700), "south": (10, 200, 260)}


def pixels_of(place: str) -> dict[str, object]:
    face, x, y = PLACES[place]
    return {"nside": 1024, "face": face, "x": x, "y": y, "frame": "icrs"}


@pytest.fixture(autouse=True)
def healpix(monkeypatch):
    monkeypatch.setitem(GRIDS, "healpix_face", HealpixFace)


def field(place: str) -> tuple[xr.Dataset, HealpixFace]:
    data = cube(SHAPE, core=CORE)
    attrs = {k: v for k, v in data.attrs.items() if k != "wcs"}
    pixels = pixels_of(place)
    return xr.Dataset(data.data_vars, data.coords, attrs | {"healpix_face": pixels}), HealpixFace(
        pixels, SHAPE
    )


def source(spatial: SpatialModel) -> DatasetModels:
    spectrum = PowerLawSpectralModel(index=0, amplitude=f"{1 / 9 / AREA} cm-2 s-1 TeV-1")
    return DatasetModels([SkyModel(spectral_model=spectrum, spatial_model=spatial, name="s")])


def npred(data: xr.Dataset, spatial: SpatialModel, response: str = "exact") -> np.ndarray:
    models = source(spatial)
    compiled = CompiledDataset(data, models, bins="all", response=response)
    return np.asarray(compiled.npred(models.parameters.value).reshape(SHAPE))


def at(grid: Grid) -> dict[str, float]:
    lon, lat = (float(a) for a in grid.to_sky(18.3, 19.6))
    return {"lon_0": lon, "lat_0": lat}


def expected(grid: Grid, lon_0: float, lat_0: float, width: float = CORE) -> np.ndarray:
    """Integral of a Gaussian over each pixel by Gauss and Legendre: equal parts of a pixel have equal solid angles."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    y, x = (np.add.outer(np.arange(n), nodes / 2).ravel() for n in grid.shape)
    rows, columns = np.meshgrid(y, x, indexing="ij")
    apart = separation(*grid.to_sky(columns, rows), lon_0, lat_0)
    share = np.exp(-0.5 * (apart / width) ** 2).reshape(grid.shape[0], NODES, grid.shape[1], NODES)
    found = np.einsum("yixj,i,j->yx", share, weights, weights)
    return np.asarray(found / found.sum())


@pytest.mark.parametrize("place", PLACES)
def test_a_point_source_and_a_gaussian(place):
    data, grid = field(place)
    found, right = npred(data, PointSpatialModel(**at(grid))), expected(grid, **at(grid))
    assert np.unravel_index(found.argmax(), SHAPE) == (20, 18)
    np.testing.assert_allclose(found, right, atol=2e-6 * right.max())
    found = npred(data, GaussianSpatialModel(**at(grid), sigma=0.1))
    right = expected(grid, **at(grid), width=np.hypot(CORE, 0.1))
    np.testing.assert_allclose(found, right, atol=2e-6 * right.max())


def test_a_disk_without_a_psf():
    data, grid = field("cap")
    found = npred(data.drop_vars("psf"), DiskSpatialModel(**at(grid), r_0=0.3))
    inside = grid.area / (2 * np.pi * (1 - np.cos(np.radians(0.3))))
    assert found[20, 18] == pytest.approx(inside, rel=1e-9)
    assert found.sum() == pytest.approx(1.0, abs=1e-4)  # of a disk with an edge of some width


def test_a_fit():
    data, grid = field("equator")
    truth = at(grid)
    counts = np.random.default_rng(0).poisson(2000 * expected(grid, **truth))
    data["counts"] = (data["counts"].dims, counts[None].astype(float), {"unit": ""})
    shape = PointSpatialModel(lon_0=truth["lon_0"] + 0.03, lat_0=truth["lat_0"], frame="icrs")
    models = gm.Models([*source(shape)])
    models["s"].spectral_model.index.frozen = True
    result = gm.Fit(gm.MapDataset(data)).run(models)
    assert result.success, result.message
    for name, value in truth.items():
        found = models["s"].spatial_model.parameter(name)
        assert 0.5 < found.error / (CORE / np.sqrt(counts.sum())) < 2
        assert abs(found.value - value) < 4 * found.error


def test_gammapy_has_no_numbers_for_it():
    data, grid = field("equator")
    with pytest.raises(
        InputError, match="needs pixels of a WCS projection, these are of a HealpixFace"
    ):
        npred(data, PointSpatialModel(**at(grid)), response="gammapy")
