"""The component that modifies the response: files, copies, names, and what is refused."""

from __future__ import annotations

import pytest
from astropy import units as u

import gmdask as gm
from gmdask.errors import InputError, ModelError
from gmdask.models import (
    EnergyScaleModel,
    GaussianPrior,
    LogNormalPrior,
    PiecewiseNormSpectralModel,
)
from gmdask.schemas import schema_problems


def modifiers():
    hess = gm.ResponseModifier(datasets_names=["run-0", "run-1"], name="hess")
    hess.exposure_model.norm.prior = GaussianPrior(mu=1.0, sigma=0.1)
    pieces = PiecewiseNormSpectralModel([0.5, 2, 10] * u.TeV, norms=[1.0, 1.1, 0.9])
    magic = gm.ResponseModifier(pieces, "run-2")
    magic.exposure_model.parameters[0].frozen = True
    shifted = gm.ResponseModifier(energy_model=EnergyScaleModel(scale=1.1), name="shifted")
    shifted.energy_model.scale.prior = LogNormalPrior(mu=1.0, sigma=0.15)
    return gm.Models([gm.SkyModel(gm.PowerLawSpectralModel(), name="source"), hess, magic, shifted])


def test_round_trip(tmp_path):
    models = modifiers()
    assert models.names == ["source", "hess", "run-2-response", "shifted"]
    models["hess"].exposure_model.norm.value = 1.23
    models.write(tmp_path / "models.yaml")
    again = gm.Models.read(tmp_path / "models.yaml")
    assert str(again.to_dict()) == str(models.to_dict())
    assert not schema_problems(models.to_dict(), "models.json")
    assert again["hess"].exposure_model.norm.prior.sigma == 0.1
    assert again["hess"].datasets_names == ["run-0", "run-1"]
    assert "hess.exposure.norm" in again.parameters.names
    assert again["shifted"].exposure_model is None
    assert again["shifted"].energy_model.scale.prior == LogNormalPrior(mu=1.0, sigma=0.15)
    assert [m.name for m in again.for_dataset("run-2")] == ["source", "run-2-response", "shifted"]


def test_copies_and_links(tmp_path):
    models = modifiers()
    copied = models.copy()
    copied["hess"].exposure_model.norm.value = 2.0
    assert models["hess"].exposure_model.norm.value == 1.0
    assert "other.exposure.norm" in models["hess"].copy(name="other").parameters.names
    other = gm.ResponseModifier(datasets_names=["run-3"])
    other.exposure_model.norm = models["hess"].exposure_model.norm
    linked = gm.Models([*models, other])
    linked.write(tmp_path / "models.yaml")
    again = gm.Models.read(tmp_path / "models.yaml")
    assert again["hess"].exposure_model.norm is again["run-3-response"].exposure_model.norm


def test_default():
    """A norm of 1 whose tilt is frozen."""
    made = gm.ResponseModifier(name="all")
    assert made.datasets_names is None
    assert made.dataset_name is None
    assert [p.name for p in made.parameters.free_parameters] == ["norm"]
    made.freeze("exposure")
    assert made.frozen


def test_refused():
    with pytest.raises(ModelError, match=r"exposure_model is .*expected a norm model"):
        gm.ResponseModifier(gm.PowerLawSpectralModel())
    made = gm.ResponseModifier()
    with pytest.raises(ModelError, match="expected a norm model"):
        made.exposure_model = gm.PowerLawSpectralModel()
    with pytest.raises(ModelError, match=r"'x'.*key 'exposure' is missing"):
        gm.Models.from_dict({"components": [{"type": "ResponseModifier", "name": "x"}]})
    with pytest.raises(InputError, match="'hess': Gammapy has no ResponseModifier"):
        gm.to_gammapy(modifiers())
