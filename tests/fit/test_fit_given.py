"""What may be given to a fit, to datasets and to estimators in place of what is expected."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from astropy import units as u

import gmdask as gm
from gmdask.errors import DuplicateNameError, InputError, UnknownNameError
from tests.datasets.synthetic import gammapy_models, make_run, models

EDGES = [1, 10] * u.TeV


@pytest.fixture(scope="module")
def theirs():
    """One of Gammapy's datasets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        return make_run("run-0", 0, 4)


def test_datasets_by_themselves(datasets):
    one, *others = datasets
    assert gm.Datasets(one).names == [one.name]
    assert gm.Datasets(None).names == []
    some = gm.Datasets(one)
    some.extend(others[0])
    assert some.names == datasets.names[:2]
    own = models(datasets.names)
    expected = gm.Fit(datasets, max_passes=2).run(own).total_stat
    own = models(datasets.names)
    assert gm.Fit(list(datasets), max_passes=2).run(own).total_stat == expected
    with pytest.raises(DuplicateNameError):
        gm.Fit([one, one])
    points = gm.FluxPointsEstimator("source", EDGES)
    own = models([one.name])
    assert points.run(one, own).data.equals(points.run([one], own).data)


def test_what_is_no_dataset(datasets, survey_store):
    own, store = models(datasets.names), gm.Store.open(survey_store)
    for given, said in (
        (str(survey_store), "Datasets.read"), (Path(survey_store), "Datasets.read"),
        (store, "Datasets.from_store"), (own, "Fit.run"), (own[0], "Fit.run"), (3, "got 3"),
        ([None], "got None"),
    ):  # fmt: skip
        for call in (
            gm.Datasets, gm.Fit, datasets.extend,
            lambda d: gm.FluxPointsEstimator(0, EDGES).run(d, own),
            lambda d: gm.LightCurveEstimator(0, EDGES).run(d, own),
            lambda d: gm.export_datasets(d, "nowhere"),
        ):  # fmt: skip
            with pytest.raises(InputError, match=f"expected datasets.*{said}"):
                call(given)
    for given in (3, None, [survey_store]):
        with pytest.raises(InputError, match="expected the path of a store"):
            gm.Datasets.read(given)
    assert len(datasets) == 3


def test_gammapys_own(datasets, theirs):
    from gammapy.datasets import Datasets

    own = models(datasets.names)
    for given in (theirs, [theirs], Datasets([theirs])):
        for call in (gm.Datasets, gm.Fit, lambda d: gm.FluxPointsEstimator(0, EDGES).run(d, own)):
            with pytest.raises(InputError, match=r"Gammapy's MapDataset \(gmdask.from_gammapy"):
                call(given)
    for call in _with_models(datasets):
        with pytest.raises(InputError, match=r"Gammapy's Models \(gmdask.from_gammapy"):
            call(gammapy_models(own))


def _with_models(datasets):
    """All that takes the global models."""
    fit = gm.Fit(datasets)
    return [
        fit.run, fit.optimize, fit.covariance, datasets.stat_sum, datasets.follow,
        lambda m: fit.confidence(m, "index"), lambda m: fit.stat_profile(m, "index", [2]),
        lambda m: fit.stat_contour(m, "index", "amplitude"),
        lambda m: gm.FluxPointsEstimator(0, EDGES).run(datasets, m),
    ]  # fmt: skip


def test_what_is_no_models(datasets):
    own = models(datasets.names)
    datasets.set_models(own)
    for call in _with_models(datasets):
        for given, said in (
            (list(own), "one model or several"), (own[0], "one model or several"), (datasets, ""),
            ("models.yaml", "Models.read"),
        ):  # fmt: skip
            with pytest.raises(InputError, match=f"expected the global Models, got.*{said}"):
                call(given)
    with pytest.raises(InputError, match="expected the parameters of the global models"):
        datasets.set_models_parameters(own)


def test_what_is_no_client(datasets, tmp_path):
    own = models(datasets.names)
    for given in ("local", own, 3):
        for call in (
            lambda c: gm.Fit(datasets, c), lambda c: datasets.stack_reduce("sum", c),
            lambda c: datasets.write(tmp_path / "x.zarr", c),
            lambda c: gm.import_datasets("x.yaml", tmp_path / "x.zarr", c),
            lambda c: gm.export_datasets(datasets, tmp_path / "x", c),
            lambda c: gm.simulate("x.yaml", tmp_path / "x.zarr", c),
            lambda c: gm.compact(tmp_path / "x.zarr", c),
            lambda c: gm.FluxPointsEstimator(0, EDGES).run(datasets, own, c),
            lambda c: gm.LightCurveEstimator(0, EDGES).run(datasets, own, c),
        ):  # fmt: skip
            with pytest.raises(InputError, match=r"expected a client of dask.distributed"):
                call(given)
    assert not list(tmp_path.iterdir())


def test_options_of_a_fit(datasets):
    for options in ({"max_passes": 2.5}, {"max_passes": "3"}, {"on_event": 3}, {"time_limit": "x"}):
        with pytest.raises(InputError, match="expected"):
            gm.Fit(datasets, **options)


def test_sources(datasets):
    own = models(datasets.names)
    run = gm.FluxPointsEstimator
    for source in (0, 7, -9):
        with pytest.raises(UnknownNameError, match="there is no source number"):
            run(source, EDGES).run(datasets, gm.Models() if source == 0 else own)
    with pytest.raises(UnknownNameError, match="no model named 'crab' among: source"):
        run("crab", EDGES).run(datasets, own)
    for source in (1.5, None, own[0], [None]):
        with pytest.raises(InputError, match="expected the name of a model"):
            run(source, EDGES).run(datasets, own)
    assert list(run(["source", "source"], EDGES).run(datasets, own)) == ["source"]


def test_arguments_of_other_types(datasets):
    own, one = models(datasets.names), datasets[0]
    for call, said in (
        (gm.Store.open, "expected a path or a URL of a store"),
        (lambda x: gm.Fit(datasets).stat_profile(own, "index", x), "expected numbers along one axis"),
        (lambda x: own[x], "expected a name, a number, a slice or a mask"),
        (one.downsample, "expected an integer as factor"),
        (one.pad, "expected one or two numbers of pixels"),
        (one.resample_energy_axis, "expected edges in energy|is not an energy"),
        (one.stack, "expected a dataset to stack"),
        (datasets.write, "expected a path"),
        (lambda x: setattr(own, "covariance", x), "expected a matrix of numbers"),
    ):  # fmt: skip
        for given in (object(), {"a": 1}, 1j):
            with pytest.raises(InputError, match=said):
                call(given)
