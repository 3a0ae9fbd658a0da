"""Pixels that are longer in one direction: the PSF is as wide as it is, in both."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

import gmdask as gm
from gmdask.datasets.creation import ResponseMap
from gmdask.geometry import Axis

PSF, SIGMA = 0.2, 0.25  # deg


def observed(size: tuple[float, float]) -> gm.MapDataset:
    """A dataset at the equator of the sky, of 4 deg, with a Gaussian PSF and pixels of some size (lon, lat)."""
    n = [2 * round(2 / side) for side in size]
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": (n[0] + 1) / 2, "CRPIX2": (n[1] + 1) / 2,
        "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -size[0], "CDELT2": size[1], "CUNIT1": "deg",
        "CUNIT2": "deg", "RADESYS": "ICRS",
    }  # fmt: skip
    one = {**cards, "CRPIX1": 1.0, "CRPIX2": 1.0, "CDELT1": -4.0, "CDELT2": 4.0}
    true = Axis("energy_true", np.array([1.0, 3.0, 10.0]), unit="TeV")
    rad = Axis("rad", np.linspace(0, 1.5, 201), "lin", unit="deg")
    profile = np.exp(-0.5 * (rad.center / PSF) ** 2) / (2 * np.pi * PSF**2)
    values = np.broadcast_to(profile[:, None, None], (2, 200, 1, 1))
    shape = (2, n[1], n[0])
    return gm.MapDataset.from_arrays(
        "d", wcs=cards, energy=true.edges * u.TeV, energy_true=true.edges * u.TeV,
        counts=np.random.default_rng(1).poisson(0.3, shape), background=np.full(shape, 1e-3),
        exposure=np.full(shape, 1e13), psf=ResponseMap(values, (true, rad), one, "deg-2"),
    )  # fmt: skip


def models(*, extended: bool) -> gm.Models:
    shape: gm.PointSpatialModel | gm.GaussianSpatialModel = gm.PointSpatialModel(
        lon_0="0 deg", lat_0="0 deg", frame="icrs"
    )
    if extended:
        shape = gm.GaussianSpatialModel(lon_0=0.0, lat_0=0.0, sigma=SIGMA, frame="icrs")
    spectrum = gm.PowerLawSpectralModel(amplitude="1e-11 cm-2 s-1 TeV-1")
    return gm.Models([gm.SkyModel(spectrum, shape, name="s")])


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("size", [(0.15, 0.08), (0.08, 0.15), (0.1, 0.05), (0.1, 0.1)])
def test_widths_and_statistic(size, extended):
    """The widths are those of PSF, source and pixel together; a fit sees the same counts."""
    dataset = observed(size)
    dataset.set_models(models(extended=extended))
    npred = dataset.npred().values
    image = np.clip(npred.sum(axis=0) - 2e-3, 0, None)
    y, x = (
        side * (np.arange(n) - (n - 1) / 2) for side, n in zip(size[::-1], image.shape, strict=True)
    )
    # each pixel has a width of its own, which counts once more where a shape is taken at pixels, and
    # thrice where a point at a corner is spread over the four pixels around it
    true = PSF**2 + (SIGMA**2 if extended else 0.0)
    spread = 2 if extended else 4
    for axis, positions, side in ((0, x, size[0]), (1, y, size[1])):
        found = np.sqrt((image.sum(axis=axis) * positions**2).sum() / image.sum())
        assert found > 0.99 * np.sqrt(true + side**2 / 12)
        assert found < 1.01 * np.sqrt(true + spread * side**2 / 12)
    counts = dataset.counts.values
    cash = 2 * (npred.sum() - (counts * np.log(npred)).sum())
    assert dataset.stat_sum() == pytest.approx(cash, abs=1e-6)
