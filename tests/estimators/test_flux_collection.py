"""Flux points of several sources together, against Gammapy's."""

from __future__ import annotations

import numpy as np
import pytest

import gmdask as gm
from tests.datasets import real_pairs

pytestmark = pytest.mark.gammapy_response


def test_numbers_of_gammapy(shared):
    from gammapy.datasets import Datasets
    from gammapy.estimators.points.sed import FluxCollectionEstimator
    from gammapy.modeling import Fit
    from gammapy.modeling.models import Models

    second = gm.SkyModel(
        gm.PowerLawSpectralModel(index=2.4, amplitude="2e-12 cm-2 s-1 TeV-1"),
        gm.PointSpatialModel(lon_0="83.983 deg", lat_0="21.7886 deg", frame="icrs"), name="second",
    )  # fmt: skip
    best = gm.Models.read(shared / "data" / "crab" / "models_best.yaml")
    source = next(model for model in best if isinstance(model, gm.SkyModel))
    models = gm.Models([source, second])
    ours = real_pairs.ours(shared, "crab")[[0, 1]]
    ours.set_response("gammapy")
    # Gammapy leaves out a bin whose edge is a rounding error beyond that of an energy range
    edges = real_pairs.theirs(shared, "crab").counts.geom.axes["energy"].edges
    edges = edges[[0, len(edges) // 2, -1]]
    points = gm.FluxCollectionEstimator(
        [source.name, "second"], edges, selection_optional="all"
    ).run(ours, models)
    with real_pairs.quiet():
        theirs = Datasets([real_pairs.theirs(shared, "crab", k) for k in (0, 1)])
        theirs.models = Models.from_dict(models.to_dict())
        estimator = FluxCollectionEstimator(
            edges, theirs.models, selection_optional=["errn-errp"], solver=Fit()
        )
        expected = estimator.run(theirs)
    for name, found in points.items():
        table = expected["flux_points"][name].to_table(sed_type="likelihood")
        error = np.asarray(table["norm_err"])
        np.testing.assert_allclose(found.data["norm_err"], error, rtol=2e-2)
        for key in ("norm", "norm_errn", "norm_errp"):
            away = np.abs(found.data[key].values - np.asarray(table[key])) / error
            assert away.max() < 2e-2, key
        np.testing.assert_allclose(found.data["ts"], np.asarray(table["ts"]), rtol=1e-3, atol=2e-2)
