"""Simulated datasets as Gammapy sees them: the same pixels, response and predicted counts."""

from __future__ import annotations

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS
from gammapy.datasets import MapDataset
from gammapy.irf import EDispMap, PSFMap
from gammapy.maps import Map, MapAxis, WcsGeom
from gammapy.modeling.models import Models as GammapyModels

import gmdask as gm
from gmdask.datasets.simulation.survey_simulation import truth_path
from tests.datasets.simulated import CONFIG, write_config

pytestmark = pytest.mark.gammapy_response


def axis(cube, dim):
    name = dim.removeprefix("psf_").removeprefix("edisp_")
    coord = cube[dim]
    return MapAxis.from_edges(
        cube[f"{dim}_edges"].values, interp=coord.attrs["interp"], name=name,
        unit=coord.attrs["unit"],
    )  # fmt: skip


def as_map(cube, key):
    array = cube[key]
    prefix = next((p for p in ("psf", "edisp") if key.startswith(p)), None)
    header = cube.attrs[f"{prefix}_wcs" if prefix else "wcs"]
    axes = [axis(cube, dim) for dim in array.dims[:-2]][::-1]
    if key.endswith("_exposure"):
        single = "rad" if prefix == "psf" else "migra"
        axes.insert(0, axis(cube, single).squash())
    wcs = WCS(Header(list(header.items())), naxis=2)
    geom = WcsGeom(wcs, npix=array.shape[:-3:-1], axes=axes)
    values = np.array(array.values).reshape(geom.data_shape)
    return Map.from_geom(geom, data=values, unit=array.attrs["unit"])


def as_gammapy(cube):
    maps = {key: as_map(cube, key) for key in cube.data_vars if not key.startswith("gti")}
    return MapDataset(
        counts=maps["counts"], background=maps["background"], mask_safe=maps["mask_safe"],
        exposure=maps["exposure"], name=cube.attrs["name"],
        psf=PSFMap(maps["psf"], maps["psf_exposure"]),
        edisp=EDispMap(maps["edisp"], maps["edisp_exposure"]),
    )  # fmt: skip


@pytest.fixture(scope="module", params=[("galactic", "CAR"), ("icrs", "TAN")])
def store(request, tmp_path_factory):
    frame, projection = request.param
    geometry = {**CONFIG["geometry"], "frame": frame, "projection": projection}
    places = [{"lon": "20 deg", "lat": "-0.13 deg"}, {"lon": "20.87 deg", "lat": "0.3 deg"}]
    folder = tmp_path_factory.mktemp("survey")
    config = write_config(folder, geometry=geometry, pointings={"list": places})
    models = gm.Models.read(folder / "sky.yaml")
    if frame == "icrs":  # the same numbers in the other frame
        models = gm.Models([model for model in models if model.name != "cloud"])
        for model in models:
            model.spatial_model.frame = frame
        models.write(folder / "sky.yaml", overwrite=True)
    return gm.simulate(config, folder / "survey.zarr")


def test_pixels_are_those_of_gammapys_cutouts(store):
    header = store.open_row(store.rows[0]).attrs["wcs"]
    frame = "galactic" if header["CTYPE1"].startswith("GLON") else "icrs"
    center = SkyCoord(20.5, 0, unit="deg", frame=frame)
    whole = WcsGeom.create(
        skydir=center, npix=(201, 151), binsz=0.05, frame=frame, proj=header["CTYPE1"][-3:]
    )
    for row, place in zip(store.rows, [(20, -0.13), (20.87, 0.3)], strict=True):
        geom = as_gammapy(store.open_row(row)).counts.geom.to_image()
        cutout = whole.cutout(SkyCoord(*place, unit="deg", frame=frame), 44 * 0.05 * u.deg)
        assert geom.data_shape == cutout.data_shape
        assert geom.is_aligned(whole)
        for ours, theirs in zip(geom.get_coord(), cutout.get_coord(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)
        differ = {key for key in header if store.open_row(row).attrs["wcs"][key] != header[key]}
        assert differ <= {"CRPIX1", "CRPIX2"}


def test_predicted_counts_are_gammapys(store):
    models = gm.Models.read(truth_path(store.url))
    ours = gm.Datasets.read(store.url)
    ours.set_models(models)
    theirs = GammapyModels.read(truth_path(store.url))
    for dataset in ours:
        other = as_gammapy(dataset.cube)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other.models = theirs
            expected = other.npred().data
        npred = dataset.npred().values
        assert npred.sum() == pytest.approx(expected.sum(), rel=1e-6)
        np.testing.assert_allclose(npred, expected, rtol=1e-5, atol=1e-7 * expected.max())


def test_response_is_normalised(store):
    dataset = as_gammapy(store.open_row(store.rows[1]))
    psf = dataset.psf.psf_map
    rad = psf.geom.axes["rad"]
    ring = (2 * np.pi * rad.center * rad.bin_width).to_value("sr")
    np.testing.assert_allclose(
        np.einsum("r,eryx->eyx", ring, psf.quantity.to_value("sr-1")), 1, rtol=1e-5
    )
    edisp = dataset.edisp.edisp_map
    width = edisp.geom.axes["migra"].bin_width.value
    np.testing.assert_allclose(np.einsum("m,emyx->eyx", width, edisp.data), 1, rtol=1e-5)


def test_gammapy_stacks_them(store):
    """Maps of counts and of the response are cutouts of one and the same grid."""
    one, two = (as_gammapy(store.open_row(row)) for row in store.rows)
    counts, psf, edisp = one.counts.geom, one.psf.psf_map.geom, one.edisp.edisp_map.geom
    geom = WcsGeom.create(  # 11 x 9 pixels of the response: one lies at the centre, as here
        skydir=SkyCoord(20.5, 0, unit="deg", frame=counts.frame), npix=(111, 91), binsz=0.05,
        frame=counts.frame, proj=counts.projection, axes=counts.axes,
    )  # fmt: skip
    stacked = MapDataset.create(
        geom, energy_axis_true=one.exposure.geom.axes["energy_true"], binsz_irf=0.5,
        rad_axis=psf.axes["rad"], migra_axis=edisp.axes["migra"],
    )  # fmt: skip
    stacked.stack(one)
    stacked.stack(two)
    expected = sum((d.counts.data * d.mask_safe.data).sum() for d in (one, two))
    assert stacked.counts.data.sum() == expected > 0
