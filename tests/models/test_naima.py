"""Spectra of naima: Gammapy's values, YAML, copies in other processes, and derivatives."""

import json
import subprocess
import sys

import naima.models as naima
import numpy as np
import pytest
from astropy import units as u
from gammapy.modeling.models import NaimaSpectralModel as GammapyNaima

from gmdask.errors import ModelError
from gmdask.models import (
    EnergyGrid,
    Models,
    NaimaSpectralModel,
    PowerLawNormSpectralModel,
    SkyModel,
)
from gmdask.models.io.serialization import model_from_dict, model_to_dict

ENERGY = np.geomspace(0.1, 30, 7) * u.TeV
TABLE = np.geomspace(0.01, 1000, 40)


def cut_off():
    return naima.ExponentialCutoffPowerLaw(1e46 / u.eV, 10 * u.TeV, 3, 13 * u.TeV)


def compton(particles=None, **settings):
    return naima.InverseCompton(particles or cut_off(), **settings)


CASES = {
    "Compton": lambda: {
        "radiative_model": compton(
            seed_photon_fields=["CMB", ["star", 3e4 * u.K, 2 * u.erg / u.cm**3, 100 * u.deg]]
        )
    },
    "one seed": lambda: {
        "radiative_model": compton(seed_photon_fields=["CMB", "FIR"], nEed=20),
        "seed": "FIR",
        "distance": "2 kpc",
    },
    "self-Compton": lambda: {
        "radiative_model": compton(Eemax=50 * u.PeV),
        "nested_models": {"SSC": {"B": 125 * u.uG, "radius": 2.1 * u.pc}},
    },
    "synchrotron": lambda: {
        "radiative_model": naima.Synchrotron(
            naima.ExponentialCutoffBrokenPowerLaw(
                1e40 / u.TeV, 1 * u.TeV, 5 * u.TeV, 1.5, 2.5, 1 * u.PeV
            ),
            B=100 * u.G,
            Eemax=1e5 * u.PeV,
        )
    },
    "bremsstrahlung": lambda: {
        "radiative_model": naima.Bremsstrahlung(
            naima.PowerLaw(1e46 / u.eV, 10 * u.TeV, 2.5), n0=3 / u.cm**3
        )
    },
    "pions": lambda: {
        "radiative_model": naima.PionDecay(
            naima.BrokenPowerLaw(1e46 / u.eV, 10 * u.TeV, 3 * u.TeV, 2, 2.8),
            nh=10 / u.cm**3,
            Epmax=20 * u.PeV,
        )
    },
    "table": lambda: {
        "radiative_model": compton(naima.TableModel(TABLE * u.TeV, 1e34 * TABLE**-3 / u.eV))
    },
}


@pytest.mark.parametrize("case", CASES)
def test_values_parameters_and_yaml(case, tmp_path):
    """Gammapy's values at random parameters, before and after the way through a file."""
    rng = np.random.default_rng(1)
    model, theirs = NaimaSpectralModel(**CASES[case]()), GammapyNaima(**CASES[case]())
    models = Models([SkyModel(model, name="source")])
    for _ in range(2):
        for (name, par), other in zip(model.named_parameters(), theirs.parameters, strict=True):
            assert (name, str(par.unit), par.frozen) == (other.name, str(other.unit), other.frozen)
            par.value = other.value = par.value * rng.uniform(0.9, 1.2)
        expected = theirs(ENERGY).to_value("cm-2 s-1 TeV-1")
        assert (expected > 0).any()
        np.testing.assert_allclose(model(ENERGY).value, expected, rtol=1e-12)
    models.write(tmp_path / "m.yaml")
    again = Models.read(tmp_path / "m.yaml")
    assert json.dumps(again.to_dict()) == json.dumps(models.to_dict())
    again.check()
    np.testing.assert_allclose(again[0].spectral_model(ENERGY).value, expected, rtol=1e-9)


def test_integrals_and_derivatives():
    """By the rule of Gammapy; derivatives of a power of the amplitude are known."""
    model, theirs = NaimaSpectralModel(compton(nEed=20)), GammapyNaima(compton(nEed=20))
    edges = np.geomspace(0.5, 20, 4)
    grid, values = EnergyGrid(edges), model.internal_values
    f, df = model.integral_bins_gradient(grid, values)
    flux = theirs.integral(edges[:-1] * u.TeV, edges[1:] * u.TeV).to_value("cm-2 s-1")
    np.testing.assert_allclose(f, flux, rtol=1e-10)
    np.testing.assert_allclose(model.integral_bins(grid, values), f, rtol=1e-13)
    np.testing.assert_allclose(df[0] * values[0], f, rtol=1e-9)
    # e_0 only scales: amplitude e_0**alpha
    np.testing.assert_allclose(df[1] * values[1], values[2] * f, rtol=1e-8)
    for k in (2, 3, 4):
        step = 1e-3 * values[k] * np.eye(5)[k]
        near, far = (
            model.integral_bins(grid, values + n * step)
            - model.integral_bins(grid, values - n * step)
            for n in (1, 2)
        )
        slope = (8 * near - far) / (12e-3 * values[k])
        np.testing.assert_allclose(df[k], slope, rtol=0, atol=1e-6 * np.abs(slope).max())


def test_part_of_another_spectrum():
    model = NaimaSpectralModel(compton(nEed=20)) * PowerLawNormSpectralModel(norm=2)
    again = model_from_dict("spectral", model_to_dict(model), {})
    np.testing.assert_allclose(again(ENERGY).value, model(ENERGY).value, rtol=1e-9)
    value, slopes = again.gradient(ENERGY.value, *again.internal_values)
    assert again.parameter_names[-3:] == ("model2.tilt", "model2.norm", "model2.reference")
    np.testing.assert_allclose(slopes[-2] * 2, value, rtol=1e-14)
    np.testing.assert_allclose(slopes[0] * again.internal_values[0], value, rtol=1e-9)
    np.testing.assert_allclose(value, model(ENERGY).value, rtol=1e-9)


@pytest.mark.slow
def test_another_process_rebuilds_it():
    models = Models([SkyModel(NaimaSpectralModel(compton()), name="source")])
    code = (
        "import json, sys; from gmdask.models import DatasetModels; import astropy.units as u; "
        "models = DatasetModels.from_dict(json.load(sys.stdin)); "
        "print(models[0].spectral_model(2 * u.TeV).value)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(models.to_dict()), text=True, check=True,
        capture_output=True,
    )  # fmt: skip
    expected = models[0].spectral_model(2 * u.TeV).value
    assert float(done.stdout) == pytest.approx(expected, rel=1e-12)


def custom(energy):
    return 1e46 * (energy / u.TeV).to_value("") ** -3 / u.eV


def test_refused(monkeypatch):
    model = NaimaSpectralModel(compton())
    model.radiative_model.particle_distribution = custom
    with pytest.raises(ModelError, match="is not one of naima's PowerLaw"):
        model_to_dict(model)
    data = model_to_dict(NaimaSpectralModel(compton()))
    for change, message in (
        ({"radiative_model": None}, "cannot be read from YAML"),
        ({"radiative_model": {"type": "os"}}, "type None, expected one of PowerLaw"),
        (
            {"radiative_model": {"type": "os", "particle_distribution": {"type": "PowerLaw"}}},
            "type 'os', expected one of InverseCompton",
        ),
        ({"radiative_model": {**data["radiative_model"], "size": 1}}, "size: unknown key of Inv"),
        ({"distance": {"data": "far", "unit": "kpc"}}, "radiative_model: "),
        ({"colour": 1}, "colour: unknown key of NaimaSpectralModel"),
    ):
        with pytest.raises(ModelError, match=message):
            model_from_dict("spectral", {**data, **change}, {})
    monkeypatch.setitem(sys.modules, "naima.models", None)
    with pytest.raises(ModelError, match="pip install naima"):
        NaimaSpectralModel(compton())
