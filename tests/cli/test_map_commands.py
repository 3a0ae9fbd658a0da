"""The command that makes maps of a trial source."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import gmdask as gm
from gmdask.cli.main import cli
from gmdask.errors import InputError


def run(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)


def test_ts_map(survey_store, tmp_path):
    path, drawn = tmp_path / "map.fits", tmp_path / "map.png"
    place = "--center", "83.63", "22.01", "icrs", "--width", "0.4", "0.4", "--binsz", "0.1"
    options = "--kernel-width", "0.3", "--select", "ul", "--plot", drawn, "-o", path
    told = run("ts-map", survey_store, *place, *options)
    assert told.exit_code == 0
    assert "map: 1 of 1 part" in told.stderr
    maps = gm.FluxMaps.read(path)
    assert maps.data["norm_ul"].shape == (1, 4, 4)
    assert f"highest √TS {float(maps.data['sqrt_ts'].max()):.2f}" in told.output
    assert drawn.stat().st_size > 1000
    with pytest.raises(InputError, match="already exists"):
        run("ts-map", survey_store, *place, *options)
    again = run("ts-map", survey_store, *place, *options, "--overwrite", "--sed-type", "flux")
    assert again.exit_code == 0
    ours = gm.FluxMaps.read(path).quantity("flux").value
    np.testing.assert_allclose(ours, maps.quantity("flux").value, rtol=1e-9)
    with pytest.raises(InputError, match="--center is"):
        run("ts-map", survey_store, "--center", "a", "b", "icrs", "-o", tmp_path / "other.fits")
    with pytest.raises(InputError, match="ending"):
        run("ts-map", survey_store, "-o", tmp_path / "other.png")


def test_excess_map(survey_store, tmp_path):
    path = tmp_path / "map.fits.gz"
    one = gm.Datasets.read(survey_store).names[0]
    told = run(
        "excess-map",
        survey_store,
        "--where",
        f"name = {one}",
        "--radius",
        "0.2",
        "--select",
        "ul",
        "-o",
        path,
    )
    assert told.exit_code == 0
    expected = gm.ExcessMapEstimator("0.2 deg", selection_optional="ul").run(
        gm.Datasets.read(survey_store)[[one]]
    )
    found = gm.FluxMaps.read(path)
    for key in ("norm_ul", "sqrt_ts"):
        np.testing.assert_allclose(found.data[key].values, expected.data[key].values, rtol=1e-12)
    assert f"highest √TS {float(expected.data['sqrt_ts'].max()):.2f}" in told.output


def test_profile(survey_store, tmp_path):
    regions, path = tmp_path / "rings.reg", tmp_path / "profile.fits"
    regions.write_text("icrs\ncircle(83.63, 22.01, 0.2)\ncircle(83.63, 22.41, 0.2)\n")
    told = run("profile", survey_store, regions, "--energy-edges", "0.5 10 TeV", "-o", path)
    assert told.exit_code == 0
    found = gm.FluxProfile.read(path)
    np.testing.assert_allclose(found.data["x_ref"], [0, 0.4], atol=1e-3)
    with pytest.raises(InputError, match="already exists"):
        run("profile", survey_store, regions, "-o", path)


def test_sensitivity(shared, tmp_path):
    from astropy.table import QTable

    spectra = gm.Datasets.read(shared / "data" / "joint_crab" / "datasets.yaml")
    spectra[[6]].write(tmp_path / "one.zarr")
    path = tmp_path / "sensitivity.ecsv"
    told = run("sensitivity", tmp_path / "one.zarr", "--gamma-min", "5", "-o", path)
    assert told.exit_code == 0
    expected = gm.SensitivityEstimator(gamma_min=5).run(spectra[6])
    np.testing.assert_array_equal(QTable.read(path)["excess"], expected["excess"])
    with pytest.raises(InputError, match="expected the ending"):
        run("sensitivity", tmp_path / "one.zarr", "-o", tmp_path / "sensitivity.fits")
