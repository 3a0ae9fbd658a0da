"""Coverage of fits of simulations: by known distributions, and the same wherever it runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from scipy import stats

import gmdask as gm
from gmdask.cli.main import cli
from gmdask.errors import InputError, StoreExistsError
from tests.datasets.clusters import kill, pids, settled
from tests.datasets.synthetic import models

AMPLITUDE = "source.spectral.amplitude"


def made(n=400, seed=1, width=1.0, observed=0.0):
    """Coverage of one parameter whose estimates are normal around the truth."""
    rng = np.random.default_rng(seed)
    z = width * rng.normal(size=n)
    ts = np.where(rng.uniform(size=n) < 0.5, 0.0, rng.normal(size=n) ** 2)
    return gm.Coverage(
        xr.Dataset(
            {
                "value": (("simulation", "parameter"), (3 + 0.2 * z)[:, None]),
                "error": (("simulation", "parameter"), np.full((n, 1), 0.2)),
                "truth": (("parameter",), [3.0]),
                "root": (("simulation", "profiled"), z[:, None]),
                "ts": (("simulation", "source"), ts[:, None]),
                "stat": (("simulation",), rng.chisquare(10, size=n)),
                "success": (("simulation",), np.ones(n, dtype=bool)),
                "status": (("simulation",), np.full(n, "converged")),
                "observed_stat": ((), observed),
            },
            {
                "parameter": ["a"], "unit": (("parameter",), ["TeV"]), "profiled": ["a"], "source": ["b"],
            },
            {"seed": seed},
        )
    )  # fmt: skip


def test_summary_of_normal_estimates():
    n = 4000
    row = made(n).summary()[0]
    assert row["n"] == n
    assert abs(row["pull_mean"]) < 4 / np.sqrt(n)
    assert row["pull_width"] == pytest.approx(1, abs=4 / np.sqrt(2 * n))
    for key, share in (("within_68", 0.6827), ("interval_95", 0.9545), ("limit_95", 0.95)):
        assert row[key] == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))
    assert made(n, width=1.3).summary()[0]["within_68"] < 0.6


def test_null_distribution():
    assert made(4000).null_p_value("b") > 1e-3
    wide = made(4000)
    wide.data["ts"] = 1.5 * wide.data["ts"]
    assert wide.null_p_value("b") < 1e-3
    often = made(4000)
    often.data["ts"] = often.data["ts"] + 0.01
    assert often.null_p_value("b") < 1e-3
    with pytest.raises(InputError, match="TS of 'c' was not computed; known: b"):
        often.null_p_value("c")


def test_goodness_of_fit():
    assert made(observed=stats.chi2(10).isf(0.1)).goodness_of_fit() == pytest.approx(0.1, abs=0.06)
    assert made(observed=1e3).goodness_of_fit() == 1 / 401


def test_failed_fits_are_left_out():
    found = made(100)
    found.data["success"][:10] = False
    found.data["value"][10:20] = np.nan
    assert found.summary()[0]["n"] == 80
    assert "100 simulations, 90 fits a success" in str(found)


@pytest.fixture(scope="module")
def setup(survey_store):
    """One run with the source at a fixed place, at the minimum of its data."""
    datasets = gm.Datasets.read(survey_store)[:1]
    own = models(datasets.names)
    own["source"].spatial_model.freeze()
    own["source"].spectral_model.index.frozen = True
    gm.Fit(datasets).run(own)
    return datasets, own


@pytest.fixture(scope="module")
def found(setup):
    datasets, own = setup
    return gm.coverage(
        gm.Fit(datasets), own, simulations=6, seed=3, profiled=[AMPLITUDE], sources=["source"]
    )


def test_fits_of_simulations(setup, found):
    datasets, own = setup
    assert found.n_success == 6
    assert list(found.data["parameter"].values) == [
        AMPLITUDE,
        f"{datasets.names[0]}-bkg.spectral.norm",
    ]
    assert found.data["truth"][0] == own.parameters[AMPLITUDE].value
    assert np.abs(found.pulls).max() < 4
    # many counts: the signed root is the pull, and TS the square of value over error
    np.testing.assert_allclose(found.data["root"][:, 0], found.pulls[:, 0], rtol=0.15, atol=0.03)
    assert (found.data["ts"] > 50).all()
    assert len({float(v) for v in found.data["value"][:, 0]}) == 6
    datasets.follow(own)
    assert float(found.data["observed_stat"]) == datasets.stat_sum()


def test_one_simulation_by_hand(setup, found):
    """The fifth, of counts that `fake` draws with its seed."""
    datasets, own = setup
    run = datasets[0].copy()
    run.set_models(own)
    run.fake(int(np.random.SeedSequence([3, 5, 0]).generate_state(1)[0]))
    fitted = own.copy()
    result = gm.Fit(run).run(fitted)
    assert result.total_stat == float(found.data["stat"][5])
    assert fitted.parameters[AMPLITUDE].value == float(found.data["value"][5, 0])
    held = own.copy()
    held.parameters[AMPLITUDE].frozen = True
    rise = gm.Fit(run).optimize(held).total_stat - result.total_stat
    assert float(found.data["root"][5, 0]) ** 2 == pytest.approx(rise, rel=1e-5, abs=1e-8)


def test_same_on_workers_one_of_which_is_lost(setup, two_workers):
    datasets, own = setup
    here = gm.coverage(gm.Fit(datasets), own, simulations=3, seed=3)
    lost = []

    def lose(event):
        if type(event).__name__ == "DatasetsProgress" and event.work == "coverage" and not lost:
            lost.append(next(iter(pids(two_workers).values())))
            kill(lost[0])

    there = gm.coverage(gm.Fit(datasets, two_workers, on_event=lose), own, simulations=3, seed=3)
    settled(two_workers, 2, lost[0])
    xr.testing.assert_identical(here.data, there.data)


def test_written_and_read(found, tmp_path):
    path = tmp_path / "coverage.json"
    found.write(path)
    again = gm.Coverage.read(path)
    xr.testing.assert_identical(again.data, found.data)
    with pytest.raises(StoreExistsError, match="already exists"):
        found.write(path)
    content = json.loads(path.read_text())
    content["data_vars"].pop("ts")
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="is not the coverage of a fit"):
        gm.Coverage.read(path)


def test_without_profiles_and_sources_written_and_read(setup, tmp_path):
    datasets, own = setup
    plain = gm.coverage(gm.Fit(datasets), own, simulations=2)
    plain.write(tmp_path / "coverage.json")
    again = gm.Coverage.read(tmp_path / "coverage.json")
    assert str(again) == str(plain)
    again.plot()


def test_figure(found):
    axes = found.plot().axes
    assert [ax.get_xlabel() for ax in axes] == ["pull", "pull", "statistic at the minimum", "TS"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"simulations": 1}, "simulations is 1, expected at least 2"),
        ({"sources": ["nothing"]}, "nothing"),
        ({"profiled": ["source.spectral.index"]}, "is frozen, expected a free one"),
        ({"profiled": AMPLITUDE}, "expected a list of names"),
    ],
)
def test_wrong_arguments_are_refused(setup, options, message):
    datasets, own = setup
    with pytest.raises(InputError, match=message):
        gm.coverage(gm.Fit(datasets), own, **options)


def test_command(survey_store, setup, tmp_path):
    _, own = setup
    own.write(tmp_path / "models.yaml", full_output=True)
    result = CliRunner().invoke(cli, [
        "coverage", str(survey_store), str(tmp_path / "models.yaml"), "-o", str(tmp_path / "c.json"),
        "--where", "name ~ run-0", "--simulations", "2", "--profile", AMPLITUDE,
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2 simulations, 2 fits a success" in result.output
    assert gm.Coverage.read(tmp_path / "c.json").data.sizes["simulation"] == 2
    assert (tmp_path / "c.png").stat().st_size > 1000
