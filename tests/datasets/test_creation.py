"""Datasets from scratch, against Gammapy's ``create``; what cannot be is refused."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.datasets.creation import ResponseMap
from gmdask.errors import InputError
from gmdask.geometry import Axis
from tests.datasets.real_pairs import compare_maps, ours, quiet

AT = SkyCoord(83.6, 22.0, unit="deg")
ENERGY, TRUE = np.geomspace(1, 10, 5) * u.TeV, np.geomspace(0.5, 20, 8) * u.TeV
RAD = Axis("rad", np.arange(3.0), "lin")
CIRCLE = CircleSkyRegion(AT, 0.3 * u.deg)


def axes(*, migra: bool):
    from gammapy.maps import MapAxis

    energy = MapAxis.from_energy_edges(ENERGY)
    true = MapAxis.from_energy_edges(TRUE, name="energy_true")
    return energy, true, MapAxis.from_bounds(0.2, 5, 48, name="migra") if migra else None


@pytest.mark.parametrize("frame", ["icrs", "galactic"])
@pytest.mark.parametrize("migra", [True, False])
@pytest.mark.parametrize("reco_psf", [True, False])
def test_create(frame, migra, reco_psf):
    from gammapy.datasets import MapDataset
    from gammapy.maps import WcsGeom

    at = AT.transform_to(frame)
    energy, true, migration = axes(migra=migra)
    with quiet():
        geom = WcsGeom.create(skydir=at, width=(3.1, 2.2), binsz=0.05, frame=frame, axes=[energy])
        other = MapDataset.create(geom, true, migration, reco_psf=reco_psf)
    given = None if migration is None else migration.edges
    own = gm.MapDataset.create(
        "empty", at, (3.1, 2.2), 0.05, ENERGY, TRUE, migra=given, reco_psf=reco_psf
    )
    compare_maps(own, other)
    assert own.cube["gti_start"].size == 0


@pytest.mark.parametrize("migra", [True, False])
def test_create_spectrum(migra):
    from gammapy.datasets import SpectrumDataset
    from gammapy.maps import RegionGeom

    energy, true, migration = axes(migra=migra)
    with quiet():
        other = SpectrumDataset.create(RegionGeom(CIRCLE, axes=[energy]), true, migration)
    given = None if migration is None else migration.edges
    own = gm.SpectrumDataset.create("empty", CIRCLE, ENERGY, TRUE, migra=given)
    compare_maps(own, other)
    assert own.region.radius == pytest.approx(0.3)


def test_stacked_onto_an_empty_one(shared):
    """The same as beginning with the first."""
    run = ours(shared, "crab")[0]
    energy, true, migra, rad = (
        Axis(name, run.cube[f"{name}_edges"].values, interp, unit=unit)
        for name, interp, unit in (
            ("energy", "log", "TeV"), ("energy_true", "log", "TeV"), ("migra", "lin", ""), ("rad", "lin", "deg"),
        )
    )  # fmt: skip
    cards = run.cube.attrs["wcs"]
    at = SkyCoord(cards["CRVAL1"], cards["CRVAL2"], unit="deg")
    empty = gm.MapDataset.create(
        "sum", at, 80 * 0.05, 0.05, energy, true, migra=migra, rad=rad, binsz_irf=0.2
    )
    found, expected = empty.stack(run), run.to_masked()
    for key in ("counts", "background", "mask_safe"):
        np.testing.assert_array_equal(found.cube[key], expected.cube[key])
    np.testing.assert_allclose(found.exposure, expected.exposure, rtol=1e-12)
    np.testing.assert_allclose(found.cube["edisp"], expected.cube["edisp"], rtol=1e-12)
    np.testing.assert_array_equal(found.cube["gti_start"].size, run.cube["gti_start"].size)


def arrays(**changes) -> dict:
    given = {
        "wcs": gm.MapDataset.create("x", AT, 1.0, 0.1, ENERGY).cube.attrs["wcs"], "energy": ENERGY,
        "energy_true": TRUE, "counts": np.ones((4, 10, 10)), "exposure": np.ones((7, 10, 10)),
        "background": np.ones((4, 10, 10)), "mask_safe": np.ones((4, 10, 10), dtype=bool),
    }  # fmt: skip
    return {**given, **changes}


def test_from_arrays_copies_nothing():
    counts = np.ones((4, 10, 10))
    dataset = gm.MapDataset.from_arrays("x", **arrays(counts=counts))
    assert dataset.counts.variable.data is counts
    assert dataset.stat_sum() == pytest.approx(2 * 400)


def test_spectrum_from_arrays():
    edisp = np.full((7, 4), 0.25)
    spectrum = gm.SpectrumDataset.from_arrays(
        "x", region=CIRCLE, energy=ENERGY, energy_true=TRUE, counts=np.arange(4.0),
        exposure=np.full(7, 1e10), edisp=edisp,
    )  # fmt: skip
    model = gm.SkyModel(gm.PowerLawSpectralModel(amplitude=1e-10), name="s")
    spectrum.set_models([model])
    flux = model.spectral_model.integral(TRUE[0], TRUE[-1]).to_value("cm-2 s-1")
    np.testing.assert_allclose(spectrum.npred().values.ravel(), flux * 1e10 / 4, rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exposure": np.ones((4, 10, 10))}, r"'exposure' has shape \(4, 10, 10\), expected \(7"),
        ({"background": np.ones((4, 10, 9))}, "'background' has shape"),
        ({"counts": np.full((4, 10, 10), np.nan)}, "counts is not finite inside the mask"),
        ({"energy": [1, 2, 3]}, "axis 'energy' is .*, expected edges with a unit"),
        ({"energy": [3, 2, 1] * u.TeV}, "do not increase"),
        ({"psf": ResponseMap(np.ones((7, 3, 1, 2)), (Axis("energy_true", TRUE.value), RAD), {})}, "'psf' has shape"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(changes, message):
    with pytest.raises(InputError, match=message):
        gm.MapDataset.from_arrays("x", **arrays(**changes))
