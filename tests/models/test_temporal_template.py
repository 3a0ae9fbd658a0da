"""Light curves and phase curves from files."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time
from gammapy.maps import MapAxis, RegionNDMap
from gammapy.modeling.models import LightCurveTemplateTemporalModel as GammapyCurve
from gammapy.modeling.models import TemplatePhaseCurveTemporalModel as GammapyPhase

from gmdask.errors import InputNotFoundError, ModelError
from gmdask.models import (
    LightCurveTemplateTemporalModel,
    Models,
    PowerLawSpectralModel,
    SkyModel,
    TemplatePhaseCurveTemporalModel,
    TimeIntervals,
)
from gmdask.models.io.serialization import model_from_dict, model_to_dict
from tests.models.temporal_cases import over_rotations

T_REF = 55197.25
SETS = 200


def curve_file(path, time, norm, system="utc"):
    table = Table({"TIME": time, "NORM": norm})
    table.meta.update(MJDREFI=55197, MJDREFF=0.25, TIMESYS=system, TIMEUNIT=str(time.unit))
    table.write(path)
    return path


def test_light_curve(tmp_path):
    rng = np.random.default_rng(1)
    for n in range(40):
        time = np.sort(rng.uniform(0, 50, rng.integers(2, 30))) * u.h
        norm = rng.uniform(-0.2 * (n % 2), 3, len(time))
        path = curve_file(tmp_path / f"{n}.fits", time, norm)
        model, theirs = LightCurveTemplateTemporalModel.read(path), GammapyCurve.read(path)
        assert model.t_ref.value == pytest.approx(theirs.t_ref.value, abs=1e-9)
        at = Time(T_REF, format="mjd", scale="utc") + rng.uniform(-10, 60, 20) * u.h
        expected = np.asarray(theirs(at)).ravel()
        np.testing.assert_allclose(model(at), expected, rtol=1e-7, atol=1e-7)
        start = rng.uniform(-0.5, 2.3, 5)
        stop = start + rng.uniform(0.001, 1, 5)
        exact = model.bins(start, stop, 0.0)
        share = (np.arange(50_000) + 0.5) / 50_000
        sums = [np.mean(model.evaluate(a + (b - a) * share, 0.0)) * (b - a)
                for a, b in zip(start, stop, strict=True)]  # fmt: skip
        np.testing.assert_allclose(exact, sums, rtol=1e-6, atol=1e-8)
        _, df = model.bins_gradient(start, stop, 0.0)
        moved = [model.bins(start, stop, h) for h in (1e-6, -1e-6)]
        np.testing.assert_allclose(df[0], (moved[0] - moved[1]) / 2e-6, rtol=1e-4, atol=1e-5)


def test_gammapys_rule_is_one_per_cent_too_large(tmp_path):
    """A constant light curve: 1, and 100/99 in Gammapy (1.0101 in its test)."""
    time = np.arange(0, 10, 0.06) * u.h
    path = curve_file(tmp_path / "lc.fits", time, np.ones(len(time)))
    model, theirs = LightCurveTemplateTemporalModel.read(path), GammapyCurve.read(path)
    origin = Time(T_REF, format="mjd", scale="utc")
    start, stop = origin + [1, 3, 5] * u.h, origin + [2, 3.5, 6] * u.h
    assert model.integral(start, stop).sum().value == pytest.approx(1.0, rel=1e-12)
    assert theirs.integral(start, stop).sum().value == pytest.approx(100 / 99, rel=1e-6)


@pytest.mark.parametrize("system", ["utc", "tt"])
def test_light_curve_files_both_ways(tmp_path, system):
    time = np.linspace(0, 2, 9) * u.d
    path = curve_file(tmp_path / "lc.fits", time, 1 + np.sin(time.value), system)
    model, theirs = LightCurveTemplateTemporalModel.read(path), GammapyCurve.read(path)
    at = Time(55197.5, format="mjd", scale="tt") + np.linspace(0, 2, 5) * u.d
    np.testing.assert_allclose(model(at), np.ravel(theirs(at)), rtol=1e-9)
    model.write(tmp_path / "ours.fits")
    again = GammapyCurve.read(tmp_path / "ours.fits")
    np.testing.assert_allclose(model(at), np.ravel(again(at)), rtol=1e-9)
    data = model_to_dict(model)
    assert (data["format"], data["unit"], data["scale"]) == ("table", "", "utc")
    back = model_from_dict("temporal", data, {})
    assert model_to_dict(back) == data
    back.t_ref.value += 1
    moved = model_from_dict("temporal", model_to_dict(back), {})
    np.testing.assert_allclose(moved(at + 1 * u.d), model(at), rtol=1e-9)
    assert back.copy().t_ref.value == back.t_ref.value


def test_light_curve_of_energy(tmp_path):
    energy = MapAxis.from_nodes([0.1, 1, 10], name="energy", interp="log", unit="TeV")
    time = MapAxis.from_nodes([0, 1, 3, 4], name="time", unit="h")
    table = RegionNDMap.create(region=None, axes=[energy, time])
    table.data = np.random.default_rng(2).uniform(1, 5, table.data.shape)
    theirs = GammapyCurve(table, t_ref=Time(55197.25, format="mjd", scale="tt"))
    theirs.write(tmp_path / "map.fits", format="map")
    theirs = GammapyCurve.read(tmp_path / "map.fits", format="map")
    model = LightCurveTemplateTemporalModel.read(tmp_path / "map.fits", format="map")
    assert model.is_energy_dependent
    model.check()
    at = Time(55197.25, format="mjd", scale="tt") + np.linspace(0, 4, 7) * u.h
    days = (at - model.reference_time).to_value("d")
    ours = model.evaluate_energy(days, np.array([0.3, 2.0]), 0.0)
    expected = np.asarray(theirs(at, energy=[0.3, 2] * u.TeV)).reshape(2, 7)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    with pytest.raises(ModelError, match="energy-dependent light curve cannot be integrated"):
        model.integral(at[:1], at[1:2])
    model.write(tmp_path / "ours.fits")
    again = GammapyCurve.read(tmp_path / "ours.fits", format="map")
    np.testing.assert_allclose(
        np.asarray(again(at, energy=[0.3] * u.TeV)).ravel(), expected[0], rtol=1e-6
    )
    assert model_to_dict(model)["format"] == "map"


def phase_table(path, normalize=True):
    phase = np.linspace(0.0, 1, 101)
    norm = 0.1 + phase * (phase < 0.5) + (1 - phase) * (phase >= 0.5)
    Table({"PHASE": phase, "NORM": norm}).write(path)
    return path


@pytest.mark.parametrize("normalize", [True, False])
def test_phase_curve(tmp_path, normalize):
    path = phase_table(tmp_path / "phase.fits")
    arguments = {"f0": "20 s-1", "t_ref": 59731 * u.d, "phi_ref": 0.3}
    model = TemplatePhaseCurveTemporalModel.read(path, normalize, scale="tt", **arguments)
    theirs = GammapyPhase(Table.read(path), normalize=normalize, scale="tt", **arguments)
    at = Time(59731, format="mjd", scale="tt") + np.linspace(0, 1, 11) * u.s
    np.testing.assert_allclose(model(at), theirs(at), rtol=1e-3)  # their MJD: 1e-6 s
    for k in range(10):  # theirs takes one interval at a time
        total = u.Quantity(theirs.integral(at[k], at[k + 1])).to_value("")
        assert model.integral(at[k], at[k + 1]).value == pytest.approx(total, rel=1e-3)
    many = TimeIntervals(Time(59731, format="mjd"), Time(59732, format="mjd"))
    mean = 1.0 if normalize else 0.35
    assert model.integral_norm(many, model.internal_values) == pytest.approx(mean, rel=1e-6)
    data = model_to_dict(model)
    assert data["normalize"] is normalize
    assert model_to_dict(model_from_dict("temporal", data, {})) == data
    model.check()


@pytest.mark.parametrize(
    ("drift", "tolerance"), [(0.0, 1e-11), (1e-9, 1e-11), (1e-3, 1e-8), (1e-2, 1e-4)]
)
def test_phase_curve_integrals_and_gradients(drift, tolerance):
    """Over rotations cut at every corner; the frequency changes by a part in each of them."""
    rng, day = np.random.default_rng(11), 86400
    for _ in range(SETS):
        phase = np.sort(rng.uniform(0, 1, 5))
        model = TemplatePhaseCurveTemporalModel(phase, rng.uniform(0.2, 2, 5), normalize=False)
        f0 = rng.uniform(0.01, 0.1)
        f1, f2 = drift * f0**2 * rng.uniform(-1, 1), drift**2 * f0**3 * rng.uniform(-1, 1)
        at = np.array([0.0, rng.uniform(0, 1), f0, f1, f2])
        ends = np.sort(rng.uniform(-3, 9, 2)) / f0
        f, df = model.bins_gradient(ends[:1] / day, ends[1:] / day, *at)
        np.testing.assert_array_equal(f, model.bins(ends[:1] / day, ends[1:] / day, *at))
        total, derivatives = over_rotations(model.phase, model.norm, at, *ends)
        size = np.abs(model._y).max() / f0  # of one rotation
        assert f[0] * day == pytest.approx(total, rel=tolerance, abs=tolerance * size)
        units = size * np.array([day * f0, 1, 1 / f0, 1 / f0**2, 1 / f0**3])
        ours, truth = df[:, 0] * day / units, derivatives / units
        np.testing.assert_allclose(ours, truth, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("cls", [LightCurveTemplateTemporalModel, TemplatePhaseCurveTemporalModel])
def test_files_that_are_not(tmp_path, cls):
    with pytest.raises(InputNotFoundError, match=r"none\.fits does not exist"):
        cls.read(tmp_path / "none.fits")
    Table({"x": [1.0]}).write(tmp_path / "bad.fits")
    with pytest.raises(ModelError, match=r"bad\.fits: expected a table with columns"):
        cls.read(tmp_path / "bad.fits")
    with pytest.raises(ModelError, match="filename is None, expected the name of a file"):
        model_from_dict("temporal", {"type": cls.tag[0]}, {})


def test_bad_tables(tmp_path):
    with pytest.raises(ModelError, match="format: 'csv', expected 'table' or 'map'"):
        LightCurveTemplateTemporalModel.read(tmp_path / "x.fits", format="csv")
    with pytest.raises(ModelError, match="expected increasing times"):
        LightCurveTemplateTemporalModel([2, 1] * u.d, [1, 1])
    with pytest.raises(ModelError, match="expected 0 to 1"):
        TemplatePhaseCurveTemporalModel([0, 2], [1, 1])
    with pytest.raises(ModelError, match="cannot be normalized"):
        TemplatePhaseCurveTemporalModel([0, 1], [0, 0])
    curve = LightCurveTemplateTemporalModel([1, 2] * u.d, [1, 1])
    with pytest.raises(ModelError, match="LightCurveTemplateTemporalModel: set filename"):
        Models([SkyModel(PowerLawSpectralModel(), temporal_model=curve)]).write(tmp_path / "m.yaml")
