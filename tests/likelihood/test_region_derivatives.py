"""Derivatives of what a region sees of a source, against differences of the statistic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleAnnulusSkyRegion, RectangleSkyRegion

import gmdask as gm
from gmdask.models import DatasetModels
from tests.datasets.synthetic import CENTER, EXTENSION, POSITION
from tests.likelihood.gammapy_response import CompiledDataset

AT = SkyCoord(*CENTER, unit="deg")
REGIONS = {
    "annulus": CircleAnnulusSkyRegion(AT, 0.1 * u.deg, 0.5 * u.deg),
    "rectangle": RectangleSkyRegion(AT, 0.5 * u.deg, 0.3 * u.deg, 20 * u.deg),
}


def source(kind: str) -> gm.SkyModel:
    at: dict[str, Any] = {"lon_0": POSITION[0], "lat_0": POSITION[1], "frame": "icrs"}
    shape = (
        gm.PointSpatialModel(**at)
        if kind == "point"
        else gm.GaussianSpatialModel(**at, **EXTENSION)
    )
    spectrum = gm.PowerLawSpectralModel(index=2.3, amplitude=4e-12)
    for parameter in shape.parameters:
        parameter.frozen = False
    return gm.SkyModel(spectrum, shape, name="source")


@pytest.mark.parametrize("kind", ["point", "extended"])
@pytest.mark.parametrize("region", REGIONS)
def test_gradient_and_hessian(datasets, kind, region):
    """At a fixed response; the second derivatives of a point are those within its four pixels."""
    cube = datasets[0].to_region_map_dataset(REGIONS[region]).compute().cube
    compiled = CompiledDataset(cube, DatasetModels([source(kind)]))
    values = compiled._models.parameters.value
    found = compiled.evaluate(values, values, order=2)
    # an amplitude by a share of it; a point, of which pixel coordinates are derived by differences
    # that are good to 1e-9, by more than what is smooth only
    step = 1e-3 if kind == "point" else 1e-4
    steps = np.where(np.abs(values) < 1e-6, 1e-4 * np.abs(values), step)
    free = np.flatnonzero(compiled.free)

    def gradient(at):
        return compiled.evaluate(at, values, order=1).gradient

    def stat(at):
        return compiled.evaluate(at, values).stat

    shifts = [np.where(np.arange(len(values)) == k, steps, 0.0) for k in free]
    first = np.array([(stat(values + d) - stat(values - d)) / (2 * d.sum()) for d in shifts])
    second = np.array(
        [(gradient(values + d) - gradient(values - d)) / (2 * d.sum()) for d in shifts]
    )
    scale = np.sqrt(np.diag(found.gauss_newton))  # in units of about the errors
    np.testing.assert_allclose(found.gradient / scale, first / scale, rtol=1e-5, atol=1e-4)
    outer = np.outer(scale, scale)
    np.testing.assert_allclose(found.observed / outer, second / outer, rtol=1e-5, atol=1e-4)
    assert np.abs(found.gradient).min() > 0
