"""Datasets of the shape that Fermi-LAT's tools and Gammapy's 3FHL Galactic-centre set have: true energies are nodes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

import gmdask as gm
from tests.datasets.synthetic import write_list

pytestmark = pytest.mark.gammapy_response

SOURCE = gm.SkyModel(
    gm.PowerLawSpectralModel(index=2.3, amplitude="3e-9 cm-2 s-1 TeV-1", reference="0.1 TeV"),
    gm.PointSpatialModel(lon_0="0.3 deg", lat_0="0.1 deg", frame="galactic"),
    name="source",
)


@pytest.fixture(scope="module")
def theirs():
    """Counts in bins, exposure at 12 and PSF at 17 nodes of energy, in GeV, on galactic pixels."""
    from gammapy.datasets import MapDataset
    from gammapy.irf import EDispKernelMap, PSFMap
    from gammapy.maps import Map, MapAxis, WcsGeom

    energy = MapAxis.from_energy_bounds(10, 2000, 11, unit="GeV", name="energy")
    true, psf_true = (
        MapAxis.from_nodes(np.geomspace(10, 2000, n), unit="GeV", name="energy_true", interp="log")
        for n in (12, 17)
    )
    geom = WcsGeom.create(skydir=(0, 0), frame="galactic", npix=(40, 20), binsz=0.2, axes=[energy])
    exposure = Map.from_geom(geom.to_image().to_cube([true]), unit="cm2 s")
    exposure.data += 3e11 * np.linspace(1, 2, 12)[:, None, None]
    rad = MapAxis.from_bounds(0, 2, 200, unit="deg", name="rad")
    rng = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        return MapDataset(
            counts=Map.from_geom(geom, data=rng.poisson(0.6, geom.data_shape).astype(np.float32)),
            background=Map.from_geom(geom, data=np.full(geom.data_shape, 0.5)),
            exposure=exposure,
            psf=PSFMap.from_gauss(psf_true, rad, (0.1 + 0.1 * np.geomspace(1, 0.1, 17)) * u.deg),
            edisp=EDispKernelMap.from_diagonal_response(energy, true),
            name="3fhl-gc",
        )  # fmt: skip


@pytest.fixture(scope="module")
def expected(theirs):
    """Gammapy's predicted counts and statistic."""
    from gammapy.modeling.models import Models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        theirs.models = Models.from_dict(gm.Models([SOURCE]).to_dict())
        found = theirs.npred().data.copy(), theirs.stat_sum()
        theirs.models = None
    return found


def from_object(theirs, folder):
    return gm.from_gammapy(theirs)


def from_files(theirs, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        theirs.write(folder / f"{theirs.name}.fits")
    return gm.Datasets.from_store(
        gm.import_datasets(write_list(folder, [theirs.name]), folder / "s.zarr")
    )[0]


@pytest.mark.parametrize("way", [from_object, from_files])
def test_same_numbers_as_gammapy(way, theirs, expected, tmp_path):
    dataset = way(theirs, tmp_path)
    dataset.set_models([SOURCE])
    npred = dataset.npred().values
    np.testing.assert_allclose(npred, expected[0], rtol=0, atol=1e-6 * expected[0].max())
    assert dataset.stat_sum() == pytest.approx(expected[1], abs=0.01)


def test_methods_know_nodes(theirs):
    """What is cut, stacked and summed keeps the source; what goes back to Gammapy keeps the nodes."""
    dataset = gm.from_gammapy(theirs)
    dataset.set_models([SOURCE])
    whole = float(dataset.npred_signal().sum())
    center = SkyCoord(0, 0, unit="deg", frame="galactic")
    for other in (dataset.to_image(), dataset.downsample(2), dataset.to_masked()):
        other.set_models([SOURCE])
        assert float(other.npred_signal().sum()) == pytest.approx(whole, rel=1e-3)
    part = dataset.cutout(center, 3.0)
    assert float(part.npred_signal().sum()) == pytest.approx(whole, rel=0.02)
    again = gm.to_gammapy(dataset)
    assert again.exposure.geom.axes["energy_true"].node_type == "center"
    result = gm.Fit(gm.Datasets([dataset])).optimize(gm.Models([SOURCE.copy()]))
    assert result.success


def test_counts_at_nodes(theirs):
    """Reconstructed energies may be nodes as well; their bins end half-way."""
    from gammapy.maps import MapAxis

    moved = theirs.copy(name="nodes")
    energy = theirs.counts.geom.axes["energy"]
    nodes = MapAxis.from_nodes(energy.center, name="energy", interp="log")
    for key in ("counts", "background"):
        old = getattr(theirs, key)
        geom = old.geom.to_image().to_cube([nodes])
        setattr(moved, key, type(old)(geom, old.data))
    moved.edisp = None
    dataset = gm.from_gammapy(moved)
    dataset.set_models([SOURCE])
    image = dataset.to_image()
    image.set_models([SOURCE])
    assert float(image.npred().sum()) == pytest.approx(float(dataset.npred().sum()), rel=1e-9)
