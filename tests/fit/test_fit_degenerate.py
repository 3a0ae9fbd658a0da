"""Fits, flux points and light curves of data that say little or nothing."""

from __future__ import annotations

import warnings
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from astropy import units as u

import gmdask as gm
from gmdask.errors import InputError
from gmdask.optimize.status import Status
from tests.cli.in_process import run as run_command
from tests.datasets.synthetic import gammapy_models, make_run, models

pytestmark = pytest.mark.gammapy_response

BOTH = pytest.mark.parametrize("backend", ["newton", "minuit"])
NAMES = ["a", "b"]
EDGES = [0.5, 3, 20] * u.TeV


def own_models(names=NAMES):
    """Models with the position frozen: the kinks of a point are not what is tested."""
    own = models(list(names))
    own["source"].spatial_model.freeze()
    return own


@cache
def runs(change=None, pixels=9):
    """Two small runs of Gammapy, the first or both changed, and the same as datasets of ours."""
    from gammapy.data import GTI

    rng, theirs = np.random.default_rng(3), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        for number, name in enumerate(NAMES):
            run = make_run(name, number, pixels)
            run.models = gammapy_models(own_models([name]))
            run.counts.data = rng.poisson(run.npred().data).astype(float)
            run.models = None
            run.gti = GTI.create(1800 * number * u.s, 1800 * (number + 1) * u.s)
            if change is not None:
                change(run)
            theirs.append(run)
        return theirs, gm.from_gammapy(theirs)


def gammapy_stat(theirs, own):
    """Gammapy's statistic at the values of our models."""
    from gammapy.datasets import Datasets

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Datasets(theirs)
        found.models = gammapy_models(own)
        return found.stat_sum()


def empty(run):
    run.counts.data[:] = 0


def empty_first(run):
    """A short run, as there are at high energies."""
    if run.name == "a":
        empty(run)
        run.exposure.data *= 1e-3
        run.background.data *= 1e-3


def masked(run):
    run.mask_safe.data[:] = False


def masked_first(run):
    if run.name == "a":
        masked(run)


def one_bin(run):
    masked(run)
    run.mask_safe.data[1, 4, 4] = True


def no_background(run):
    run.background.data[:] = 0
    empty(run)
    run.counts.data[:2, 4, 4] = 3


@BOTH
@pytest.mark.parametrize("change", [empty, masked])
def test_no_data_is_no_success(backend, change):
    theirs, ours = runs(change)
    own = own_models()
    result = gm.Fit(ours, backend=backend).run(own)
    assert not result.success
    assert "source.spectral.amplitude" in result.concerned
    assert not own.parameters.error[1:].any()
    assert np.isfinite(own.parameters.value).all()
    assert result.total_stat == pytest.approx(gammapy_stat(theirs, own), abs=1e-3)
    if change is masked:
        assert result.status is Status.UNCONSTRAINED
        assert result.message.startswith("the data constrain nothing")
        assert result.concerned == (
            "source.spectral.index", "source.spectral.amplitude",
            "a-bkg.spectral.norm", "b-bkg.spectral.norm",
        )  # fmt: skip
    else:
        assert own.parameters["a-bkg.spectral.norm"].value == 0
    if change is masked or backend == "newton":
        assert result.total_stat == 0
    quick = gm.Fit(ours, backend=backend).optimize(own_models())
    assert not quick.success


def test_no_counts_and_limits():
    theirs, ours = runs(empty)
    own = own_models()
    for name in ("source.spectral.amplitude", "a-bkg.spectral.norm", "b-bkg.spectral.norm"):
        own.parameters[name].min = 0
    own.parameters["index"].frozen = True
    result = gm.Fit(ours).run(own)
    assert result.success  # zero is the best of all values that are allowed
    assert result.status is Status.AT_LIMITS
    assert own.parameters["amplitude"].value == 0
    assert result.total_stat == 0
    limit = gm.Fit(ours).confidence(own, "amplitude", sigma=2)
    at = own.copy()
    at.parameters["amplitude"].value = limit["errp"]
    assert gammapy_stat(theirs, at) == pytest.approx(4, rel=1e-3)


@BOTH
@pytest.mark.parametrize("change", [empty_first, masked_first])
def test_one_dataset_without_data(backend, change):
    theirs, ours = runs(change)
    own = own_models()
    result = gm.Fit(ours, backend=backend).run(own)
    assert result.success, result.message
    assert "no error for a-bkg.spectral.norm" in result.message
    assert result.total_stat == pytest.approx(gammapy_stat(theirs, own), abs=1e-3)
    assert own.parameters["source.spectral.amplitude"].error > 0
    if change is masked_first:
        alone = own_models(["b"])
        expected = gm.Fit(ours["b"]).run(alone)
        assert result.total_stat == pytest.approx(expected.total_stat, abs=1e-3)
    else:
        assert own.parameters["a-bkg.spectral.norm"].value == pytest.approx(0, abs=1e-6)
        source = 2 * float(ours["a"].npred_signal().where(ours["a"].mask).sum())
        assert result.stat["a"] == pytest.approx(source, rel=1e-4)


def test_one_bin():
    theirs, ours = runs(one_bin)
    own = own_models()
    result = gm.Fit(ours).run(own)
    assert result.total_stat == pytest.approx(gammapy_stat(theirs, own), abs=1e-3)
    assert "degenerate" in result.message


def test_no_background():
    _, ours = runs(no_background)
    own = own_models()
    result = gm.Fit(ours).run(own)
    assert "no error for a-bkg.spectral.norm" in result.message
    assert own.parameters["a-bkg.spectral.norm"].value == 1.0
    assert own.parameters["source.spectral.amplitude"].error > 0


def test_one_pixel():
    theirs, ours = runs(pixels=1)
    own = own_models()
    result = gm.Fit(ours).run(own)
    assert result.total_stat == pytest.approx(gammapy_stat(theirs, own), abs=1e-3)


@pytest.mark.parametrize(
    "change", [empty, empty_first, masked, masked_first, one_bin, no_background]
)
@pytest.mark.parametrize("reoptimize", [False, True])
def test_estimators(change, reoptimize):
    _, ours = runs(change)
    options = {"selection_optional": "all", "reoptimize": reoptimize}
    points = gm.FluxPointsEstimator("source", EDGES, **options).run(ours, own_models()).data
    seen = points["npred_excess"].notnull().any("dataset").values
    assert (points["success"].values <= seen).all()
    for key in ("norm", "norm_ul", "ts"):
        assert (np.isfinite(points[key].values) >= points["success"].values).all(), key
    errors = points["norm_err"].values
    assert not (errors == 0).any()  # what is not known is not known exactly
    curve = gm.LightCurveEstimator("source", EDGES, groups=[["a"], ["b"]], **options)
    found = curve.run(ours, own_models()).data
    if change in (masked, masked_first):
        assert not found["success"].values[0].any()
        assert np.isnan(found["norm"].values[0]).all()
    if change in (empty_first, masked_first):
        assert found["success"].values[1].all()
        assert np.isfinite(found["norm_err"].values[1]).all()


def test_limits_of_an_empty_run():
    """Without counts and background the statistic is 2 s: the limit lies where it is n_sigma²."""

    def change(run):
        no_background(run)
        empty(run)

    _, ours = runs(change)
    points = gm.FluxPointsEstimator("source", EDGES, selection_optional="ul").run(
        ours, own_models()
    )
    at_one = points.data["npred_excess"].sum("dataset").values
    own = own_models()
    for number, (low, high) in enumerate(pairwise(EDGES)):
        part = ours.slice_by_energy(low, high)
        part.set_models(own)
        signal = sum(float(d.npred_signal().where(d.mask).sum()) for d in part)
        assert points.data["norm_ul"].values[number] == pytest.approx(4 / (2 * signal), rel=1e-6)
    assert at_one == pytest.approx(0, abs=1e-12)
    points.plot()


def test_edges_that_are_none():
    _, ours = runs()
    for edges, words in (
        (EDGES[::-1], "at least two increasing values"),
        (EDGES[:1], "at least two increasing values"),
        ([1, 10], "expected energies"),
        ([100, 200] * u.TeV, "no dataset has an energy bin between 100 and 200 TeV"),
    ):
        with pytest.raises(InputError, match=words):
            gm.FluxPointsEstimator("source", edges).run(ours, own_models())


def test_profiles_where_nothing_is_known():
    _, ours = runs(masked)
    own = own_models()
    fit = gm.Fit(ours)
    assert not fit.confidence(own, "amplitude")["success"]
    contour = fit.stat_contour(own, "amplitude", "index", numpoints=4)
    assert not contour["success"]
    assert np.isnan(contour["source.spectral.index"]).all()
    scan = fit.stat_profile(own, "amplitude", [0, 1e-12], reoptimize=True)
    assert not scan["stat_scan"].any()


@pytest.mark.slow
@pytest.mark.parametrize("change", [empty, masked])
def test_commands_end_in_words(change, tmp_path):
    _, ours = runs(change)
    ours.write(tmp_path / "sky.zarr")
    own_models().write(tmp_path / "models.yaml")
    for command, code in (
        (["fit", "sky.zarr", "models.yaml", "-o", "out"], 3),
        (["flux-points", "sky.zarr", "models.yaml", "--source=source", "--energy-edges=0.5 3 20 TeV", "-o", "sed"],
         0 if change is empty else 3),
    ):  # fmt: skip
        done = run_command(*command, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        assert done.returncode == code, (command, done.stdout, done.stderr)
        words = {
            3: "the data constrain no" if change is masked else "source.spectral.amplitude",
            0: "",
        }
        assert words[code] in done.stderr
