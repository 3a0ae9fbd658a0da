"""Runs of PKS 2155-304 reduced in bins of ten minutes, to a light curve beside Gammapy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from gammapy.datasets import Datasets
from gammapy.estimators import LightCurveEstimator
from gammapy.modeling.models import Models

import gmdask as gm
from gmdask import reduction
from gmdask.quiet import no_warnings
from gmdask.reduction.recipe import recipe_of
from tests.reduction.configs import config, write
from tests.reduction.dl3 import PKS_RUNS, store

pytestmark = [pytest.mark.slow, pytest.mark.gammapy_response]

EDGES = [1, 20] * u.TeV
BIN = 10 * u.min


def gammapys(observation: Any, recipe: reduction.recipe.Recipe) -> list[Any]:
    """Gammapy's datasets of the bins of an observation, in a plain loop."""
    made: list[Any] = []
    begin = observation.tstart
    while begin < observation.tstop:
        part = observation.select_time([begin, begin + BIN])
        name = f"hess-{observation.obs_id}-{len(made):03d}"
        empty = recipe.reference_at(part.get_pointing_icrs(part.tmid), name)
        made.append(recipe.safe_mask_maker.run(recipe.maker.run(empty, part), part))
        begin = begin + BIN
    return made


def test_light_curve(shared: Path, tmp_path: Path) -> None:
    content = config(shared / "data/dl3", "pks2155")
    content["observations"] |= {"obs_ids": [PKS_RUNS[0]]}
    content["datasets"]["time_bins"] = "10 min"
    content["datasets"]["geom"]["wcs"] |= {
        "binsize": "0.1 deg", "binsize_irf": "1 deg", "width": {"width": "3 deg", "height": "3 deg"}
    }  # fmt: skip
    made_from = reduction.read_config(write(tmp_path, content))
    observations = reduction.select_observations(made_from)
    done = reduction.reduce(observations, made_from, tmp_path / "bins.zarr")
    models = gm.Models.read(shared / "data/pks2155/models_best.yaml")
    models = gm.Models([models["pks2155"]])
    models.extend(done.models)
    datasets = gm.Datasets.from_store(done.store)
    found = gm.LightCurveEstimator("pks2155", EDGES).run(datasets, models)
    assert isinstance(found, gm.LightCurve)

    with no_warnings():
        theirs = Datasets(gammapys(store(shared).obs(PKS_RUNS[0]), recipe_of(made_from)))
        theirs.models = Models(list(gm.to_gammapy(models)))
        curve = LightCurveEstimator(source="pks2155", energy_edges=EDGES).run(theirs)
    assert found.data["norm"].shape == (3, 1)
    expected = {key: getattr(curve, key).data[:, 0, 0, 0] for key in ("norm", "norm_err", "ts")}
    assert expected["ts"].sum() > 4
    for key, tolerance in (("norm", 1e-2), ("norm_err", 2e-2), ("ts", 1e-2)):
        there = expected[key]
        scale = expected["norm_err"] if key == "norm" else there
        np.testing.assert_allclose(
            found.data[key][:, 0] / scale, there / scale, rtol=0, atol=tolerance
        )
