"""Errors, indices, peaks and inverses of spectra: Gammapy's numbers, or brute force."""

from __future__ import annotations

from typing import Any

import gammapy.modeling.models as theirs
import numpy as np
import pytest
from astropy import units as u
from gammapy.maps import MapAxis

import gmdask.models as ours
from gmdask.errors import InputError
from gmdask.geometry import Axis
from gmdask.models import SpectralModel

N = 200  # samples per parameter
ENERGY = u.Quantity([0.3, 1, 7], "TeV")

# free parameters, and errors of the first and second of them that are correlated
CASES = {
    "PowerLawSpectralModel": {"index": 0.1, "amplitude": 1e-13},
    "PowerLaw2SpectralModel": {"amplitude": 1e-13, "index": 0.1},
    "ExpCutoffPowerLawSpectralModel": {"index": 0.1, "amplitude": 1e-13, "lambda_": 0.02},
    "LogParabolaSpectralModel": {"amplitude": 1e-13, "alpha": 0.1, "beta": 0.05},
    "PowerLawNormSpectralModel": {"tilt": 0.1, "norm": 0.2},
}


def _pair(name: str) -> tuple[SpectralModel, Any]:
    pair = getattr(ours, name)(), getattr(theirs, name)()
    errors = np.array([CASES[name].get(key, 0.0) for key in pair[0].parameters.names])
    correlation = np.where(np.eye(len(errors)), 1.0, 0.6)
    for model in pair:
        model.covariance = correlation * np.outer(errors, errors)
    return pair


def _compound() -> tuple[SpectralModel, Any]:
    pair = [
        kind.PowerLawSpectralModel() * kind.PowerLawNormSpectralModel(norm=1.5)
        for kind in (ours, theirs)
    ]
    for model in pair:
        model.covariance = np.diag([0.1, 2e-13, 0, 0, 0.2, 0]) ** 2
    return pair[0], pair[1]


def _assert_near(found: u.Quantity, expected: u.Quantity) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.to_value(expected.unit), expected.value, rtol=1e-6)


@pytest.mark.parametrize("name", [*CASES, "compound"])
def test_errors_are_those_of_gammapy(name: str) -> None:
    model, other = _compound() if name == "compound" else _pair(name)
    low, high = ENERGY, 3 * ENERGY
    options = {"n_samples": N, "random_state": 5}
    _assert_near(model.evaluate_error(ENERGY, **options), other.evaluate_error(ENERGY, **options))
    _assert_near(
        model.integral_error(low, high, **options), other.integral_error(low, high, **options)
    )
    _assert_near(
        model.energy_flux_error(low, high, **options), other.energy_flux_error(low, high, **options)
    )
    _assert_near(
        model.spectral_index_error(ENERGY, **options), other.spectral_index_error(ENERGY, **options)
    )
    _assert_near(model.spectral_index(ENERGY), other.spectral_index(ENERGY))


def test_errors_of_one_energy_and_of_given_samples() -> None:
    model, other = _pair("PowerLawSpectralModel")
    at, n = 2 * u.TeV, 50
    _assert_near(model.evaluate_error(at, N), other.evaluate_error(at, N))
    drawn = model.sample_parameters_from_covariance(n, free_only=False)
    samples = [u.Quantity(drawn[:, k], par.unit) for k, par in enumerate(model.parameters)]
    samples[1] = samples[1].to("cm-2 s-1 GeV-1")
    _assert_near(
        model.evaluate_error(ENERGY, samples=samples), other.evaluate_error(ENERGY, samples=samples)
    )


def test_error_of_an_amplitude_is_that_of_the_spectrum() -> None:
    model = ours.PowerLawSpectralModel(amplitude="1e-8 m-2 s-1 TeV-1")
    model.amplitude.error = "1e-9 m-2 s-1 TeV-1"
    dnde, down, up = model.evaluate_error(1 * u.TeV).to_value("m-2 s-1 TeV-1")
    assert dnde == pytest.approx(1e-8, rel=0.01)
    assert down == pytest.approx(1e-9, rel=0.05)
    assert up == pytest.approx(1e-9, rel=0.05)


@pytest.mark.parametrize("name", ["PowerLawSpectralModel", "PowerLawNormSpectralModel"])
def test_pivot_energy_of_power_laws_is_that_of_gammapy(name: str) -> None:
    model, other = _pair(name)
    _assert_near(model.pivot_energy, other.pivot_energy)


def test_pivot_energy_by_samples_is_that_of_gammapy() -> None:
    model, other = _pair("LogParabolaSpectralModel")
    found, expected = model.pivot_energy, other.pivot_energy
    assert found.to_value("TeV") == pytest.approx(expected.to_value("TeV"), rel=1e-3)


def test_no_pivot_energy_where_the_error_is_the_same_everywhere(caplog: Any) -> None:
    model = ours.LogParabolaSpectralModel()
    model.amplitude.error = 1e-13
    assert np.isnan(model.pivot_energy)
    assert "no pivot energy" in caplog.text


PEAKS = [
    ours.ExpCutoffPowerLawSpectralModel(index=1.4, lambda_="0.2 TeV-1", alpha=0.7),
    ours.ExpCutoffPowerLawSpectralModel(index=1.4, lambda_="0.0002 GeV-1", alpha=1.3),
    ours.LogParabolaSpectralModel(alpha=2.3, beta=0.2, reference="2 TeV"),
    ours.LogParabola2SpectralModel(alpha=1.8, beta=0.2, reference="2 TeV", escale="0.5 TeV"),
    ours.SuperExpCutoffPowerLaw4FGLDR3SpectralModel(
        reference="1 TeV", expfactor=0.4, index_1=1.7, index_2=0.6
    ),
    ours.SuperExpCutoffPowerLaw4FGLDR3SpectralModel(
        reference="1 TeV", expfactor=0.4, index_1=2.4, index_2=-0.3
    ),
    ours.SuperExpCutoffPowerLaw4FGLDR3SpectralModel(
        reference="1 TeV", expfactor=0.4, index_1=1.7, index_2=0
    ),
]


@pytest.mark.parametrize("model", PEAKS)
def test_peak_is_where_the_energy_flux_is_largest(model: Any) -> None:
    peak = model.e_peak.to("TeV")
    around = peak * np.array([0.999, 1, 1.001])
    sed = (model(around) * around**2).value
    assert sed[1] > max(sed[0], sed[2])
    assert model.spectral_index(peak).value == pytest.approx(2, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ExpCutoffPowerLawSpectralModel", {"index": 2.3}),
        ("ExpCutoffPowerLawSpectralModel", {"index": 1.3, "lambda_": "0 TeV-1"}),
        ("SuperExpCutoffPowerLaw4FGLDR3SpectralModel", {"expfactor": -0.1}),
        ("SuperExpCutoffPowerLaw4FGLDR3SpectralModel", {"index_1": 9, "index_2": 1}),
        ("LogParabolaSpectralModel", {"beta": -0.1}),
    ],
)
def test_no_peak(name: str, values: dict[str, Any]) -> None:
    assert np.isnan(getattr(ours, name)(**values).e_peak)


@pytest.mark.parametrize("name", list(CASES))
def test_inverse_is_that_of_gammapy(name: str) -> None:
    model, other = _pair(name)
    if name == "PowerLawNormSpectralModel":
        model.tilt.value = other.tilt.value = 0.4
    value = model(3 * u.TeV)
    found, expected = model.inverse(value), other.inverse(value)
    np.testing.assert_allclose(np.min(found.to_value("TeV")), 3, rtol=1e-9)
    np.testing.assert_allclose(found.to_value("TeV"), expected.to_value("TeV"), rtol=1e-9)
    several = model.inverse_all(u.Quantity([value, value / 2]))
    np.testing.assert_allclose(model(several[1]).value, value.value / 2, rtol=1e-9)


def test_inverse_of_a_value_that_is_nowhere_is_nan() -> None:
    assert np.isnan(ours.ExpCutoffPowerLawSpectralModel().inverse(1 * u.Unit("cm-2 s-1 TeV-1")))


def test_reference_fluxes_are_those_of_gammapy() -> None:
    model, other = _pair("ExpCutoffPowerLawSpectralModel")
    axis = MapAxis.from_energy_bounds("100 GeV", "10000 GeV", 4)
    expected = other.reference_fluxes(axis)
    for given in (axis, Axis("energy", axis.edges.value, "log", "edges", "GeV")):
        found = model.reference_fluxes(given)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            _assert_near(found[key], value)


def test_bad_energies_are_refused() -> None:
    with pytest.raises(InputError, match="positive and increasing"):
        ours.PowerLawSpectralModel().integral_error(2 * u.TeV, 1 * u.TeV)
