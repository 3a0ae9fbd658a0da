"""Sampling of the posterior of a fit, its result, file, figure and command."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import gmdask as gm
from gmdask.cli.main import cli
from gmdask.errors import InputError, InputNotFoundError, StoreExistsError
from tests.datasets.clusters import kill, pids, settled
from tests.datasets.synthetic import models


@pytest.fixture(scope="module")
def fitted(survey_store):
    """Two runs with fitted models, the position fixed to be quick."""
    datasets = gm.Datasets.read(survey_store)[:2]
    own = models(datasets.names)
    own["source"].spatial_model.freeze()
    gm.Fit(datasets).run(own)
    return datasets, own


@pytest.fixture(scope="module")
def posterior(fitted):
    datasets, own = fitted
    return gm.sample(gm.Fit(datasets), own, draws=300, seed=1)


def test_many_counts_give_the_distribution_of_the_fit(fitted, posterior):
    _, own = fitted
    assert posterior.success, posterior.message
    assert "4 chains of 300 draws, nuisances sampled" in posterior.message
    assert posterior.names == [
        n for n, p in zip(own.parameters.names, own.parameters, strict=True) if not p.frozen
    ]
    for row in posterior.summary():
        parameter = own.parameters[row["name"]]
        assert row["unit"] == str(parameter.unit)
        assert row["ess_bulk"] > 600
        assert row["mean"] == pytest.approx(parameter.value, abs=0.25 * parameter.error)
        assert row["sd"] == pytest.approx(parameter.error, rel=0.1)
        assert row["q16"] < row["median"] < row["q84"]


def test_marginalised_nuisances_give_the_same_distribution(fitted, posterior):
    datasets, own = fitted
    found = gm.sample(gm.Fit(datasets), own, draws=300, seed=2, nuisances="marginalised")
    assert found.names == ["source.spectral.index", "source.spectral.amplitude"]
    for one, other in zip(found.summary(), posterior.summary()[:2], strict=True):
        assert one["mean"] == pytest.approx(other["mean"], abs=4 * other["sd"] * np.sqrt(2 / 600))
        assert one["sd"] == pytest.approx(other["sd"], rel=4 / np.sqrt(600))


def test_same_draws_on_workers_one_of_which_is_lost(fitted, two_workers):
    datasets, own = fitted
    here = gm.sample(gm.Fit(datasets), own, draws=8, chains=2)
    lost = []

    def lose(event):
        if type(event).__name__ == "DatasetsProgress" and event.work == "sample" and not lost:
            lost.append(next(iter(pids(two_workers).values())))
            kill(lost[0])

    there = gm.sample(gm.Fit(datasets, two_workers, on_event=lose), own, draws=8, chains=2)
    settled(two_workers, 2, lost[0])
    xr.testing.assert_identical(here.posterior.drop_attrs(), there.posterior.drop_attrs())


def test_models_away_from_the_minimum_are_refused(fitted):
    datasets, own = fitted
    away = own.copy()
    away.parameters["source.spectral.amplitude"].value *= 2
    with pytest.raises(
        InputError, match=r"not at their minimum \(the statistic is expected to fall by"
    ):
        gm.sample(gm.Fit(datasets), away)


@pytest.mark.parametrize(("key", "number"), [("draws", 3), ("chains", 0), ("seed", -1)])
def test_wrong_numbers_are_refused(fitted, key, number):
    datasets, own = fitted
    with pytest.raises(InputError, match=f"{key} is {number}, expected at least"):
        gm.sample(gm.Fit(datasets), own, **{key: number})


def test_written_and_read(posterior, tmp_path):
    path = tmp_path / "posterior.zarr"
    posterior.write(path)
    again = gm.Posterior.read(path)
    assert again.names == posterior.names
    xr.testing.assert_identical(again.posterior, posterior.posterior)
    xr.testing.assert_identical(again.sample_stats, posterior.sample_stats)
    with pytest.raises(StoreExistsError, match="already exists"):
        posterior.write(path)
    posterior.write(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["posterior.zarr"]
    tree = xr.open_datatree(path, engine="zarr", consolidated=False)  # as ArviZ does
    assert dict(tree["posterior"].sizes) == {"chain": 4, "draw": 300}
    assert set(tree["sample_stats"].data_vars) == {"lp", "acceptance_rate", "diverging", "n_steps"}


def test_other_folders_are_not_replaced(posterior, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(StoreExistsError, match="is no posterior"):
        posterior.write(tmp_path / "mine", overwrite=True)
    with pytest.raises(InputError, match="is no posterior written by gmdask"):
        gm.Posterior.read(tmp_path / "mine")
    with pytest.raises(InputNotFoundError, match="does not exist"):
        gm.Posterior.read(tmp_path / "nowhere")


def test_chains_apart_are_told(posterior):
    apart = posterior.posterior.copy(deep=True)
    apart["source.spectral.index"][0] += 1
    stats = posterior.sample_stats.copy(deep=True)
    stats["diverging"][0, 0] = True
    found = gm.Posterior(apart, stats)
    assert not found.success
    assert "R-hat is 1.01 or more: source.spectral.index" in found.message
    assert "1 divergent step" in found.message


def test_corner_plot(posterior):
    figure = posterior.plot_corner(truth={"source.spectral.index": 2.3})
    shown = [ax for ax in figure.axes if ax.axison]
    assert len(shown) == 10
    assert shown[-1].get_xlabel() == "run-1-bkg\nnorm"
    assert "10^{-12}" in shown[6].get_ylabel() + shown[-3].get_xlabel()
    with pytest.raises(InputError, match="'nothing' was not sampled"):
        posterior.plot_corner(["nothing"])


def test_command(survey_store, fitted, tmp_path):
    _, own = fitted
    own.write(tmp_path / "models.yaml", full_output=True)
    arguments = [
        "sample", str(survey_store), str(tmp_path / "models.yaml"), "-o", str(tmp_path / "p.zarr"),
        "--where", "name ~ run-[01]", "--draws", "8", "--chains", "2", "--nuisances", "marginalised",
    ]  # fmt: skip
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 3  # 16 draws are too few
    assert "source.spectral.index" in result.output
    assert "less than 200 effective samples" in result.output
    assert gm.Posterior.read(tmp_path / "p.zarr").posterior.attrs["nuisances"] == "marginalised"
    with pytest.raises(InputError, match="already exists"):
        CliRunner().invoke(cli, arguments, catch_exceptions=False)
