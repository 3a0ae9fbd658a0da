"""The commands that estimate fluxes."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import gmdask as gm
from gmdask.cli.main import cli
from gmdask.errors import InputError


@pytest.fixture
def models_file(tmp_path):
    models = gm.Models([
        gm.SkyModel(
            gm.PowerLawSpectralModel(index=2.3, amplitude="2e-12 cm-2 s-1 TeV-1"),
            gm.PointSpatialModel(lon_0="83.63 deg", lat_0="22.01 deg", frame="icrs"),
            name=name,
        )
        for name in ("one", "two")
    ])  # fmt: skip
    models.write(tmp_path / "models.yaml")
    return tmp_path / "models.yaml"


def run(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)


def test_flux_points_and_light_curves(survey_store, models_file, tmp_path):
    edges, folder = "0.5 2 10 TeV", tmp_path / "points"
    sources = "--source", "one", "--source", "two"
    told = run(
        "flux-points", survey_store, models_file, *sources, "--energy-edges", edges, "-o", folder
    )
    assert told.exit_code == 0
    assert "√ts" in told.output
    points = gm.FluxPoints.read(folder / "two.fits")
    models = gm.Models.read(models_file)
    expected = gm.FluxPointsEstimator("two", points.energy_edges, selection_optional="ul").run(
        gm.Datasets.read(survey_store), models
    )
    np.testing.assert_array_equal(points.data["norm_ul"], expected.data["norm_ul"])
    with pytest.raises(InputError, match=r"two\.fits|one\.fits"):
        run(
            "flux-points",
            survey_store,
            models_file,
            *sources,
            "--energy-edges",
            edges,
            "-o",
            folder,
        )
    path = tmp_path / "curve.ecsv"
    whole = "--interval", "1990-01-01", "2040-01-01"
    told = run(
        "light-curve", survey_store, models_file, "--source", "two", "--energy-edges", edges, "-o", path, *whole
    )  # fmt: skip
    assert told.exit_code == 0
    curve = gm.LightCurve.read(path)
    flux = expected.quantity("flux").to_value("cm-2 s-1")
    np.testing.assert_allclose(curve.quantity("flux").to_value("cm-2 s-1")[0], flux, rtol=1e-12)


def test_edges_without_a_unit(survey_store, models_file, tmp_path):
    with pytest.raises(InputError, match="energy-edges"):
        run(
            "flux-points", survey_store, models_file, "--source", "one", "--energy-edges", "1 2",
            "-o", tmp_path / "x.fits",
        )  # fmt: skip
