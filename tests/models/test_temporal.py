"""Temporal models: exact integrals, derivatives, scales of time, and Gammapy where it is right."""

import astropy.units as u
import mpmath as mp
import numpy as np
import pytest
from astropy.time import Time
from gammapy.modeling.models import Model as GammapyModel

from gmdask.errors import InputError, ModelError
from gmdask.models import (
    ConstantTemporalModel,
    ExpDecayTemporalModel,
    GaussianTemporalModel,
    GeneralizedGaussianTemporalModel,
    LinearTemporalModel,
    ParameterDefault,
    PowerLawTemporalModel,
    SineTemporalModel,
    TemporalModel,
    TimeIntervals,
)
from gmdask.models.io.serialization import model_from_dict, model_to_dict
from tests.models.temporal_cases import EXACT, T_REF, draw, exact_integral

mp.mp.dps = 40
SETS = 200


@pytest.mark.parametrize("tag", EXACT)
def test_values_and_integrals(tag):
    """1e-11 of mpmath, relative to times that are only known to 1e-11 d."""
    rng = np.random.default_rng(1)
    for n in range(SETS):
        model, values, start, stop = draw(tag, rng)
        at = [0.0 if name == "t_ref" else values[name] for name in model.parameter_names]
        function = EXACT[tag][0]
        truth = [float(function(mp.mpf(t), **values)) for t in start]
        np.testing.assert_allclose(model.evaluate(start, *at), truth, rtol=1e-12)
        if n < 25:
            truth = [
                float(exact_integral(tag, values, a, b)) for a, b in zip(start, stop, strict=True)
            ]
            np.testing.assert_allclose(model.bins(start, stop, *at), truth, rtol=3e-12)
            intervals = TimeIntervals(T_REF + start, T_REF + stop)
            norm = model.integral_norm(intervals, model.internal_values)
            assert norm == pytest.approx(sum(truth) / np.sum(stop - start), rel=2e-8)
        by_sums = TemporalModel.bins(model, start, stop, *at)
        np.testing.assert_allclose(by_sums, model.bins(start, stop, *at), rtol=2e-10)


@pytest.mark.parametrize("tag", EXACT)
def test_gradients(tag):
    rng = np.random.default_rng(2)
    for _ in range(SETS):
        model, values, start, stop = draw(tag, rng)
        at = [0.0 if name == "t_ref" else values[name] for name in model.parameter_names]
        f, df = model.bins_gradient(start, stop, *at)
        np.testing.assert_array_equal(f, model.bins(start, stop, *at))
        _, by_differences = TemporalModel.bins_gradient(model, start, stop, *at)
        for name, mine, other in zip(model.parameter_names, df, by_differences, strict=True):
            if (tag, name) == ("gengauss", "t_ref"):  # steps over the kink: below
                continue
            size = 1e-6 * np.abs(mine).max() + 1e-9 * np.abs(f).max()
            np.testing.assert_allclose(mine, other, rtol=0, atol=size)
        intervals = TimeIntervals(T_REF + start, T_REF + stop)
        norm, slopes = model.integral_norm_gradient(intervals, model.internal_values)
        assert norm == pytest.approx(model.integral_norm(intervals, model.internal_values))
        np.testing.assert_allclose(slopes, df.sum(axis=1) / intervals.ontime, rtol=1e-6, atol=1e-8)
    hessian = model.integral_norm_hessian(intervals, model.internal_values)
    assert hessian.shape == (len(at), len(at))
    assert np.isfinite(hessian).all()


def test_pulse_by_its_time():
    model = GeneralizedGaussianTemporalModel(t_rise="1 d", t_decay="3 d", eta=0.4)
    start, stop = np.array([-3.0, -0.5, 0.2]), np.array([-1.0, 0.7, 6.0])
    at = [0.0, 1.0, 3.0, 0.4]
    moved = [model.bins(start, stop, h, *at[1:]) for h in (1e-6, -1e-6)]
    _, df = model.bins_gradient(start, stop, *at)
    np.testing.assert_allclose(df[0], (moved[0] - moved[1]) / 2e-6, rtol=1e-7)


# --- Gammapy ----------------------------------------------------------------------------------


def gammapy(model):
    quantities = {p.name: p.quantity for p in model.parameters}
    return GammapyModel.create(model.tag[1], "temporal", scale=model.scale, **quantities)


@pytest.mark.parametrize("scale", ["utc", "tt"])
@pytest.mark.parametrize("tag", EXACT)
def test_as_gammapy_where_it_is_right(tag, scale):
    """Not the sine (its primitive is wrong), nor the numerical rule (1/99 too large)."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        model, _, start, stop = draw(tag, rng)
        model.scale = scale
        theirs = gammapy(model)
        origin = Time(T_REF, format="mjd", scale=scale)
        start, stop = origin + start * u.d, origin + stop * u.d
        np.testing.assert_allclose(model(start), theirs(start), rtol=1e-7)
        expected = theirs.integral(start, stop)
        expected = u.Quantity(expected).to_value("")
        ours = model.integral(start, stop).value
        if tag == "sinus":
            continue
        if tag == "gengauss":
            # 100 points at both ends, each with a weight of 1/99
            if scale == "tt":  # it also reads the times as those of the other scale
                np.testing.assert_allclose(ours * 100 / 99, expected, rtol=0.02)
            continue
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_reference_values_of_gammapy():
    """From its test_temporal.py, and the exact values where those are wrong."""
    t_ref = Time(T_REF, format="mjd")
    start, stop = t_ref + [1, 3, 5] * u.day, t_ref + [2, 3.5, 6] * u.day
    for model, expected in (
        (ConstantTemporalModel(), 1.0),
        (LinearTemporalModel(alpha=1.0, beta=0.1 / u.day, t_ref=t_ref.mjd * u.d), 1.345),
        (ExpDecayTemporalModel(t_ref=t_ref.mjd * u.d), 0.102557),
        (GaussianTemporalModel(t_ref=(T_REF + 3) * u.d, sigma="2 d"), 0.682679),
        (PowerLawTemporalModel(alpha=-1.0, t_ref=t_ref.mjd * u.d), 0.411847),
    ):
        assert model.integral(start, stop).sum().value == pytest.approx(expected, rel=1e-5)
    model = PowerLawTemporalModel(alpha=-2.0, t_ref=t_ref.mjd * u.d)
    one = model.integral(t_ref + [1] * u.day, t_ref + [4] * u.day)
    assert one.sum().value == pytest.approx(0.25, rel=1e-9)
    # Gammapy: 0.758918, 1/99 more
    model = GeneralizedGaussianTemporalModel(
        t_ref=(T_REF + 3) * u.d, t_rise="2 d", t_decay="2 d", eta=0.5
    )
    gaussian = GaussianTemporalModel(t_ref=(T_REF + 3) * u.d, sigma="2 d")
    ours = model.integral(t_ref + 1 * u.d, t_ref + 2 * u.d).value
    exact = gaussian.integral(t_ref + 1 * u.d, t_ref + 2 * u.d).value
    assert ours == pytest.approx(exact, rel=1e-10)
    assert ours * 100 / 99 == pytest.approx(0.758918, rel=1e-3)
    # Gammapy: 1.08261, from a primitive with a sine
    omega = np.pi / 4
    model = SineTemporalModel(amp=0.5, omega=omega * u.rad / u.day, t_ref=t_ref.mjd * u.d)
    exact = [
        b - a - 0.5 / omega * (np.cos(omega * b) - np.cos(omega * a))
        for a, b in ((1, 2), (3, 3.5), (5, 6))
    ]
    ours = model.integral(start, stop)
    np.testing.assert_allclose(ours.value, np.array(exact) / 2.5, rtol=1e-8)
    theirs = u.Quantity(gammapy(model).integral(start, stop)).sum().value
    assert theirs == pytest.approx(1.08261, rel=1e-5)
    assert abs(ours.sum().value - 1.08261) > 0.02


# --- scales ---------------------------------------------------------------------------------------


def test_times_of_any_scale_mean_the_same():
    start = Time("2020-03-01T00:00:00", scale="utc") + [0, 1] * u.h
    stop = start + 1000 * u.s
    model = GaussianTemporalModel(t_ref=start[0].utc.mjd * u.d, sigma="500 s", scale="utc")
    intervals = TimeIntervals(start, stop)
    norm = model.integral_norm(intervals, model.internal_values)
    erf = float(mp.erf(2 / mp.sqrt(2)))
    assert norm == pytest.approx(np.sqrt(np.pi / 2) * 500 * erf / 2000, rel=1e-6)
    for scale in ("tt", "tdb", "tai"):
        other = TimeIntervals(getattr(start, scale), getattr(stop, scale))
        assert model.integral_norm(other, model.internal_values) == pytest.approx(norm, rel=1e-12)
    in_tt = TimeIntervals(start.tt.mjd, stop.tt.mjd)
    assert model.integral_norm(in_tt, model.internal_values) == pytest.approx(norm, rel=1e-7)
    in_utc = TimeIntervals(start.utc.mjd, stop.utc.mjd, scale="utc")
    assert model.integral_norm(in_utc, model.internal_values) == pytest.approx(norm, rel=1e-7)
    seconds = ((start - Time(58000, format="mjd", scale="tt")).to_value("s"), 1000.0)
    fits = TimeIntervals.from_seconds(seconds[0], seconds[0] + 1000, (58000, 0.0))
    assert model.integral_norm(fits, model.internal_values) == pytest.approx(norm, rel=1e-7)
    twin = GaussianTemporalModel(t_ref=start[0].tt.mjd * u.d, sigma="500 s", scale="tt")
    assert twin.integral_norm(intervals, twin.internal_values) == pytest.approx(norm, rel=1e-7)
    shifted = GaussianTemporalModel(t_ref=start[0].utc.mjd * u.d, sigma="500 s", scale="tt")
    assert abs(shifted.integral_norm(intervals, shifted.internal_values) / norm - 1) > 0.01
    assert u.allclose(model(start[0].tt), 1.0, rtol=1e-9)
    assert model.reference_time.scale == "utc"


def test_a_leap_second_counts():
    """2016-12-31 has 86401 s of UTC."""
    start = Time("2016-12-31T23:59:00", scale="utc")
    stop = Time("2017-01-01T00:01:00", scale="utc")
    assert TimeIntervals(start, stop).ontime * 86400 == pytest.approx(121, abs=1e-6)


@pytest.mark.parametrize(
    ("start", "stop"), [([1.0], [1.0]), ([], []), ([1.0], [np.nan]), ([1.0, 2.0], [3.0])]
)
def test_bad_intervals(start, stop):
    with pytest.raises(InputError):
        TimeIntervals(start, stop)


# --- corners ---------------------------------------------------------------------------------


def test_power_law_before_its_reference():
    model = PowerLawTemporalModel(t_ref=T_REF, scale="tt")
    values, before = model.internal_values, TimeIntervals([T_REF - 1], [T_REF + 2])
    assert model.integral_norm(before, values) == pytest.approx(0.5)
    values[0] = 0.5
    with pytest.raises(ModelError, match=r"of power 0\.5 is not defined before t_ref"):
        model.integral_norm(before, values)
    from_zero = TimeIntervals([T_REF], [T_REF + 2])
    norm, slopes = model.integral_norm_gradient(from_zero, values)
    assert norm == pytest.approx(2**1.5 / 3)
    values[0] += 1e-6
    moved = model.integral_norm(from_zero, values)
    assert slopes[0] == pytest.approx((moved - norm) / 1e-6, rel=1e-4)


def test_round_trip_and_bad_scale():
    model = SineTemporalModel(omega="3 rad h-1", scale="tdb")
    data = model_to_dict(model)
    assert data["scale"] == "tdb"
    assert model_to_dict(model_from_dict("temporal", data, {})) == data
    with pytest.raises(ModelError, match="temporal: scale: 'local', expected one of utc"):
        model_from_dict("temporal", {**data, "scale": "local"}, {})


class UserFlare(TemporalModel):
    """Only values, with a kink."""

    tag = ("UserFlare",)
    defaults = (ParameterDefault("t_ref", T_REF, "d"), ParameterDefault("decay", 1.0, "d"))

    @staticmethod
    def evaluate(time, t_ref, decay):
        """Value."""
        return np.where(time < t_ref, 0.0, np.exp(-np.clip(time - t_ref, 0, None) / decay))

    def breaks(self, t_ref, decay):
        """Where it starts."""
        return [t_ref]


def test_a_class_that_only_has_values():
    model = UserFlare(decay="2 d", scale="tt")
    model.check()
    intervals = TimeIntervals([T_REF - 1, T_REF + 3], [T_REF + 1, T_REF + 4])
    norm, slopes = model.integral_norm_gradient(intervals, model.internal_values)
    parts = 2 * (1 - np.exp(-0.5) + np.exp(-1.5) - np.exp(-2))
    assert norm == pytest.approx(parts / 3, rel=1e-12)
    by_ref = np.exp(-0.5) * -1 + np.exp(-1.5) - np.exp(-2)
    assert slopes[0] == pytest.approx(by_ref / 3, rel=1e-6)
    broken = type("Broken", (UserFlare,), {"evaluate": staticmethod(lambda t, t_ref, decay: 1.0)})
    with pytest.raises(ModelError, match=r"Broken\.evaluate returns shape"):
        broken().check()
