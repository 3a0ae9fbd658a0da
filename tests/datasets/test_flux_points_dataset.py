"""Flux points as data: in files, stores, lists with other kinds, and fits."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from astropy import units as u
from click.testing import CliRunner

import gmdask as gm
from gmdask.cli.main import cli
from gmdask.errors import InputError, ModelError
from tests.datasets.flux_tables import ENERGY, dataset, mixed, models, table
from tests.datasets.real_pairs import quiet

KINDS = ["dnde", "e2dnde", "flux", "eflux", "likelihood"]
# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".fits", ".fits.gz", ".ecsv"])
@pytest.mark.parametrize("sed_type", KINDS)
def test_files_of_every_type(tmp_path, sed_type, ending):
    """They say the same, read by Gammapy, and written again."""
    from gammapy.datasets import FluxPointsDataset

    path = tmp_path / f"points{ending}"
    table(sed_type).write(path)
    own = gm.FluxPointsDataset.read(path)
    assert own.name == "points"
    np.testing.assert_allclose(own.quantity("dnde"), dataset().quantity("dnde"), rtol=1e-12)
    with quiet():
        other = FluxPointsDataset.read(path)
        for key in ("dnde", "dnde_err", "dnde_errn", "dnde_errp", "dnde_ul"):
            expected = getattr(other.data, key).quantity.ravel()
            np.testing.assert_allclose(own.quantity(key), expected.to("cm-2 s-1 TeV-1"), rtol=1e-12)
        np.testing.assert_array_equal(own.mask, other.mask.ravel())
    again = tmp_path / f"again{ending}"
    own.write(again)
    back = gm.FluxPointsDataset.read(again)
    with quiet():
        theirs = FluxPointsDataset.read(again)
    for key in ("dnde", "dnde_err", "dnde_ul"):
        np.testing.assert_allclose(back.quantity(key), own.quantity(key), rtol=1e-14)
        expected = getattr(theirs.data, key).quantity.ravel().to("cm-2 s-1 TeV-1")
        np.testing.assert_allclose(expected, own.quantity(key), rtol=1e-12)
    np.testing.assert_array_equal(back.is_ul, own.is_ul)


@pytest.mark.parametrize("stat_type", ["chi2", "distrib"])
def test_objects_of_gammapy(stat_type):
    own = dataset()
    own.stat_type = stat_type
    own = own.copy(mask_fit=np.arange(9) != 2)
    own.set_models(models())
    with quiet():
        other = gm.to_gammapy(own)
        assert type(other).__name__ == "FluxPointsDataset"
        other.models = [gm.to_gammapy(models()[0])]
        assert own.stat_sum() == pytest.approx(float(other.stat_sum()), rel=1e-10)
        back = gm.from_gammapy(other)
    assert back.name == own.name
    assert back.stat_type == stat_type
    back.set_models(models())
    assert back.stat_sum() == pytest.approx(own.stat_sum(), rel=1e-12)
    np.testing.assert_allclose(own.flux_pred(), other.flux_pred().ravel(), rtol=1e-12)
    for method in ("diff", "diff/model"):
        expected = other.residuals(method).ravel()
        np.testing.assert_allclose(own.residuals(method), u.Quantity(expected), rtol=1e-9)


def test_flux_points_of_an_estimate():
    """A table with scans keeps them, whoever reads it."""
    from gammapy.datasets import FluxPointsDataset

    found = table("likelihood")
    scan = np.geomspace(0.2, 5, 11)
    found["norm_scan"] = np.tile(scan, (9, 1))
    found["stat"] = np.arange(9.0)
    found["stat_scan"] = (
        found["stat"][:, None] + ((scan - found["norm"][:, None]) / found["norm_err"][:, None]) ** 2
    )
    own = gm.FluxPointsDataset.from_table(found, "points")
    own.stat_type = "profile"
    own.set_models(models())
    with quiet():
        other = gm.to_gammapy(own)
        other.models = [gm.to_gammapy(models()[0])]
        assert isinstance(other, FluxPointsDataset)
        assert own.stat_sum() == pytest.approx(float(other.stat_sum()), rel=1e-9)
    parabolas = own.copy()
    parabolas.stat_type = "chi2"  # of the points that are no limits they are the same
    np.testing.assert_allclose(own.stat_array()[:7], parabolas.stat_array()[:7], rtol=1e-6)


def test_energies_that_are_not_means_of_the_bins(caplog, tmp_path):
    found = table()
    found["e_ref"] = found["e_ref"] * 1.1
    with caplog.at_level(logging.WARNING):
        own = gm.FluxPointsDataset.from_table(found, "points")
    assert "Gammapy compares them at the means" in caplog.text
    np.testing.assert_allclose(own.energy_ref.value, 1.1 * ENERGY)
    own.set_models(models())
    with quiet():
        other = gm.to_gammapy(own)
        other.models = [gm.to_gammapy(models()[0])]
        assert own.stat_sum() == pytest.approx(float(other.stat_sum()), rel=1e-9)


REFUSED = {
    "no table of fluxes": (lambda t: t.rename_column("dnde", "flx"), "not a table of fluxes"),
    "unit": (lambda t: setattr(t["dnde"], "unit", "m"), "column dnde is in 'm', expected"),
    "energies": (lambda t: t["e_ref"].__setitem__(3, 0.01), "positive increasing ones"),
    "error of zero": (lambda t: t["dnde_err"].__setitem__(2, 0.0), "dnde_err is not positive for 1 points, at 0.94"),
    "no error": (lambda t: t["dnde_err"].__setitem__(2, np.nan), "dnde_err is missing for 1 points"),
    "infinite": (lambda t: t["dnde"].__setitem__(2, np.inf), "dnde is infinite for 1 points"),
    "light curve": (lambda t: t.__setitem__("time_min", np.arange(9.0)), "a light curve or a profile"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    change, message = REFUSED[what]
    found = table()
    change(found)
    with pytest.raises(InputError, match=f"dataset 'points': .*{message}"):
        gm.FluxPointsDataset.from_table(found, "points")
    if what == "error of zero":  # not where it is masked
        found["mask_fit"] = np.arange(9) != 2
        gm.FluxPointsDataset.from_table(found, "points")


def test_statistics_and_models_that_do_not_fit():
    own = dataset()
    with pytest.raises(
        InputError, match="stat_type is 'cash', expected one of chi2, distrib, profile"
    ):
        own.stat_type = "cash"
    with pytest.raises(InputError, match="'norm_scan' is missing"):
        own.stat_type = "profile"
    background = gm.BackgroundIRFModel(gm.PowerLawNormSpectralModel(), dataset_name="points")
    with pytest.raises(ModelError, match="has no background"):
        own.set_models([background])


# --- lists and stores --------------------------------------------------------------------------


def many(n: int = 12) -> gm.Datasets:
    """Flux points of several instruments, one of them with another statistic, and on/off spectra."""
    found = [dataset(f"points-{k}", seed=k) for k in range(n)]
    found[3].stat_type = "distrib"
    return gm.Datasets(found)


def test_store(tmp_path):
    datasets = many()
    store = datasets.write(tmp_path / "points.zarr")
    assert {row.kind for row in store.rows} == {"FluxPointsDataset"}
    assert len({row.block for row in store.rows}) == 1  # alike, but for numbers
    assert store.rows[0].counts is None
    back = gm.Datasets.read(tmp_path / "points.zarr")
    datasets.set_models(models())
    back.set_models(models())
    assert [d.stat_type for d in back] == [d.stat_type for d in datasets]
    assert [d.stat_sum() for d in back] == [d.stat_sum() for d in datasets]
    back[0].stat_type = "distrib"
    assert back[0].stat_sum() != datasets[0].stat_sum()
    assert not gm.Store.open(tmp_path / "points.zarr").verify()


def test_every_door_of_the_command_line(tmp_path):
    many().write(tmp_path / "datasets.yaml")
    models().write(tmp_path / "models.yaml")
    run = CliRunner()
    store, out = tmp_path / "points.zarr", tmp_path / "out"
    for arguments in (
        ["import", tmp_path / "datasets.yaml", store], ["info", store], ["ls", store],
        ["fit", store, tmp_path / "models.yaml", "-o", out], ["report", out],
        ["export", store, tmp_path / "again"], ["verify", store],
    ):  # fmt: skip
        result = run.invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        if arguments[0] == "info":
            assert "FluxPointsDataset" in result.output
    assert (out / "residuals.png").is_file()
    assert (out / "report.html").is_file()
    assert json.loads((out / "result.json").read_text())["success"]
    assert (tmp_path / "again" / "points-3.fits").is_file()


def test_what_needs_counts_says_so(shared):
    datasets, _ = mixed(shared)
    for call in (
        lambda: datasets.slice_by_energy("1 TeV", "10 TeV"),
        lambda: datasets.stack_reduce(),
        lambda: gm.FluxPointsEstimator("Crab Nebula", [1, 10] * u.TeV).run(
            datasets, mixed(shared)[1]
        ),
    ):
        with pytest.raises(
            InputError, match="dataset 'HAWC' is a FluxPointsDataset, expected counts"
        ) as caught:
            call()
        assert str(caught.value).endswith("--where 'kind != FluxPointsDataset'")
    low, high = datasets.energy_ranges
    assert high[2].value == pytest.approx(316)
    assert low[2].value == pytest.approx(1)
    assert len(datasets.info_table()) == len(datasets.meta_table) == 3


def test_figures(shared):
    from matplotlib.figure import Figure

    from gmdask.plot import plot_residuals

    datasets, start = mixed(shared)
    datasets.set_models(start)
    assert isinstance(plot_residuals(datasets), Figure)
    figure = datasets["HAWC"].plot_residuals()
    assert len(figure.axes) == 2
    line = figure.axes[1].containers[0].lines[0]
    expected = datasets["HAWC"].residuals("diff/model").value[datasets["HAWC"].mask]
    np.testing.assert_allclose(line.get_ydata(), expected)
