"""The commands that estimate fluxes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.time import Time
from click.testing import CliRunner

import gmdask as gm
from gmdask.cli.main import cli
from gmdask.errors import InputError

pytestmark = pytest.mark.gammapy_response


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
    n = len(gm.Datasets.read(survey_store))
    assert f"compile: {n} of {n} datasets" in told.stderr
    points = gm.FluxPoints.read(folder / "two.fits")
    used = " ".join(f"{edge:.4g}" for edge in points.energy_edges.to_value("TeV"))
    assert f"energy edges are rounded to those of the datasets: {used} TeV\n" in told.stderr
    fluxes = [
        [f"{v:.3g}" for v in points.quantity(key).value] for key in ("dnde", "dnde_err", "dnde_ul")
    ]
    assert "two (dnde in cm-2 s-1 TeV-1)" in told.output
    lines = told.output.split("two (dnde")[1].splitlines()
    assert lines[1].split()[2:] == ["norm", "error", "√ts", "dnde", "error", "limit"]
    assert [line.split()[-3:] for line in lines[2:4]] == [*map(list, zip(*fluxes, strict=True))]
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


def test_response(survey_store, models_file, tmp_path):
    norms = {}
    for response in ("exact", "gammapy"):
        path = tmp_path / f"{response}.fits"
        asked = ["--response", response] if response == "exact" else []  # the setting is the other
        told = run(
            "flux-points", survey_store, models_file, "--source", "one", "--energy-edges", "0.5 20 TeV",
            "-o", path, *asked,
        )  # fmt: skip
        assert told.exit_code == 0
        points = gm.FluxPoints.read(path)
        assert points.data.attrs["response"] == response
        norms[response] = points.data["norm"].values
    assert (abs(norms["exact"] - norms["gammapy"]) > 1e-4).all()


def test_light_curve_of_real_runs(shared, tmp_path):
    folder, store = shared / "data" / "pks2155", tmp_path / "pks2155.zarr"
    gm.import_datasets(folder / "datasets.yaml", store)
    path = tmp_path / "curve.ecsv"
    edges = "0.6799469086438521 20 TeV"
    printed = run(
        "light-curve", store, folder / "models_best.yaml", "--source", "pks2155", "--energy-edges", edges,
        "-o", path,
    ).output  # fmt: skip
    curve = gm.LightCurve.read(path)
    assert curve.data.attrs["response"] == "gammapy"
    expected = gm.LightCurve.read(folder / "light_curve_pks2155.fits")
    assert curve.data.sizes["time"] == 6
    np.testing.assert_allclose(curve.quantity("flux_ul"), expected.quantity("flux_ul"), rtol=1e-4)
    # what is printed are the times that --interval takes; the file holds the same moments in TT
    lines = [line for line in printed.splitlines() if " UTC" in line]
    times = [" ".join(line.split()[:2]) for line in lines]
    assert len(times) == 6
    moments = Time(times, scale="utc")
    assert abs((moments - curve.time_min).to_value("s")).max() < 1e-6
    after = Time(curve.time_max[2].utc, precision=6).iso
    output = run(
        "light-curve", store, folder / "models_best.yaml", "--source", "pks2155", "--energy-edges", edges,
        "-o", tmp_path / "one.ecsv", "--interval", times[2], after,
    ).output  # fmt: skip
    assert f"{times[2]} UTC" in output
    (one,) = gm.LightCurve.read(tmp_path / "one.ecsv").quantity("flux").to_value("cm-2 s-1")
    assert one == pytest.approx(curve.quantity("flux")[2].to_value("cm-2 s-1"), rel=1e-6)


def test_edges_without_a_unit(survey_store, models_file, tmp_path):
    with pytest.raises(InputError, match="energy-edges"):
        run(
            "flux-points", survey_store, models_file, "--source", "one", "--energy-edges", "1 2",
            "-o", tmp_path / "x.fits",
        )  # fmt: skip


def test_a_file_of_another_kind_is_refused_before_the_work(survey_store, models_file, tmp_path):
    with pytest.raises(InputError, match=r"x\.csv: expected the ending"):
        run(
            "flux-points", survey_store, models_file, "--source", "one", "--energy-edges", "1 2 TeV",
            "-o", tmp_path / "x.csv",
        )  # fmt: skip
    assert not (tmp_path / "x.csv").exists()
