"""Spectra made of other spectra, and a user's own."""

import operator

import astropy.units as u
import numpy as np
import pytest
from gammapy.modeling.models import CompoundSpectralModel as GammapyCompound
from gammapy.modeling.models import PowerLawSpectralModel as GammapyPowerLaw
from gammapy.modeling.models import ScaleSpectralModel as GammapyScale

from gmdask.errors import ModelError
from gmdask.models import (
    CompoundSpectralModel,
    ConstantSpectralModel,
    EnergyGrid,
    ExpCutoffPowerLawNormSpectralModel,
    LogParabolaSpectralModel,
    Parameter,
    ParameterDefault,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    ScaleSpectralModel,
    SpectralModel,
)
from gmdask.models.io.serialization import model_to_dict
from tests.models.spectral_cases import EDGES, again, assert_gradient, assert_same

SETS = 200


# --- of other models ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mul", "add", "sub"])
def test_compound(name):
    rng = np.random.default_rng(10)
    for _ in range(SETS):
        index, other = rng.uniform(1.5, 3, 2)
        amplitude = 10 ** rng.uniform(-12, -10)
        first = PowerLawSpectralModel(index=index, amplitude=amplitude)
        theirs = GammapyPowerLaw(index=index, amplitude=amplitude * u.Unit("cm-2 s-1 TeV-1"))
        if name == "mul":
            second = ExpCutoffPowerLawNormSpectralModel(lambda_=0.05, norm=0.7)
        else:
            second = PowerLawSpectralModel(index=other, amplitude=0.1 * amplitude)
        data = model_to_dict(second)
        model = CompoundSpectralModel(first, second, getattr(operator, name))
        theirs = GammapyCompound(theirs, _gammapy(data), getattr(operator, name))
        if name == "sub":  # where a difference changes its sign, Gammapy's rule gives 1e288
            y = model.evaluate(np.geomspace(0.1, 30, 1000), *model.internal_values)
            if y.min() * y.max() <= 0:
                f = model.integral_bins(EnergyGrid(EDGES), model.internal_values)
                assert np.abs(f).max() < 1e-6
                continue
        assert_same(model, theirs, rtol=1e-9)
        assert_gradient(model)
        grid, values = EnergyGrid(EDGES), model.internal_values
        f, df = model.integral_bins_gradient(grid, values)
        np.testing.assert_allclose(f, model.integral_bins(grid, values), rtol=1e-12)
        step = 1e-5 * np.eye(len(values))[0]
        ends = [model.integral_bins(grid, values + h) for h in (step, -step)]
        slope = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(df[0], slope, rtol=0, atol=1e-6 * np.abs(slope).max())
    assert model.parameter_names[0] == "model1.index"
    assert model_to_dict(again(model)) == model_to_dict(model)
    assert set(model_to_dict(model)) == {"type", "operator", "model1", "model2"}
    assert model.parameter("model1.index") is first.index


def _gammapy(data):
    from gammapy.modeling.models import SPECTRAL_MODEL_REGISTRY

    return SPECTRAL_MODEL_REGISTRY.get_cls(data["type"]).from_dict({"spectral": data})


def test_operators_on_models():
    power, norm = PowerLawSpectralModel(), PowerLawNormSpectralModel(norm=2)
    energy = [1, 3] * u.TeV
    assert u.allclose((power * norm)(energy), 2 * power(energy))
    assert u.allclose((norm * power)(energy), 2 * power(energy))
    assert u.allclose((power + power)(energy), 2 * power(energy))
    assert u.allclose((power - power)(energy), 0 * power(energy))
    constant = 1e-12 * u.Unit("cm-2 s-1 TeV-1")
    assert u.allclose((power + constant)(energy), power(energy) + constant)
    assert u.allclose(("1e-12 cm-2 s-1 TeV-1" + power)(energy), power(energy) + constant)
    assert isinstance((power - constant).model2, ConstantSpectralModel)
    assert (norm * norm).is_norm
    both = power + power
    assert len(both.parameters) == 3
    twin = both.copy()
    twin.parameter("model1.index").value = 5
    assert (twin.model2.index.value, power.index.value) == (5, 2)
    nested = (power + power) * norm
    assert nested.parameter_names[3] == "model1.model2.index"
    assert model_to_dict(again(nested)) == model_to_dict(nested)
    assert nested.linear == "model2.norm"
    with pytest.raises(TypeError):
        power * 2
    with pytest.raises(ModelError, match="one of the models must be a norm"):
        power * power
    with pytest.raises(ModelError, match="one of the models is a norm, the other is not"):
        power + norm
    with pytest.raises(ModelError, match="operator: 'pow', expected one of mul, add, sub"):
        CompoundSpectralModel(power, norm, "pow")
    with pytest.raises(ModelError, match="model2 is 3, expected a spectral model"):
        CompoundSpectralModel(power, 3, "mul")


def test_scale():
    inner = LogParabolaSpectralModel(alpha=2.1, beta=0.2, reference="1 TeV")
    model = ScaleSpectralModel(inner, norm=0.3)
    theirs = GammapyScale(_gammapy(model_to_dict(inner)), norm=0.3)
    assert_same(model, theirs)
    assert_gradient(model)
    f, df = model.integral_bins_gradient(EnergyGrid(EDGES), np.array([0.0]))
    assert (f == 0).all()
    np.testing.assert_allclose(df[0], inner.integral_bins(EnergyGrid(EDGES), inner.internal_values))
    assert model.parameter_names == ("norm",)
    assert model_to_dict(again(model)) == model_to_dict(model)
    twin = model.copy()
    twin.model.alpha.value = 3
    assert inner.alpha.value == 2.1


# --- of a user ---------------------------------------------------------------------------------


class UserCurve(SpectralModel):
    """Only values."""

    tag = ("UserCurve",)
    defaults = (
        ParameterDefault("amplitude", 1e-12, "cm-2 s-1 TeV-1"),
        ParameterDefault("index", 2.0),
        ParameterDefault("ecut", 10.0, "TeV"),
    )

    @staticmethod
    def evaluate(energy, amplitude, index, ecut):
        """Value."""
        return amplitude * energy**-index * np.exp(-energy / ecut)


class GammapyStyle(SpectralModel):
    """Parameters as class attributes."""

    tag = ("GammapyStyle",)
    amplitude = Parameter("amplitude", "3e-12 cm-2 s-1 TeV-1", min=0)
    index = Parameter("index", 2.0, frozen=True)

    def evaluate(self, energy, amplitude, index):
        """Value."""
        return amplitude * energy**-index


def test_a_class_that_only_has_values():
    model = UserCurve(index=2.3)
    twin = ExpCutoffPowerLawNormSpectralModel(index=2.3, norm=1e-12, lambda_=0.1)
    model.check()
    energy = EnergyGrid(EDGES)
    _, df = model.integral_bins_gradient(energy, model.internal_values)
    _, exact = twin.integral_bins_gradient(energy, twin.internal_values)
    for ours, other in ((df[0], exact[1]), (df[1], exact[0]), (df[2], -exact[3] / 100)):
        np.testing.assert_allclose(ours, other, rtol=0, atol=1e-9 * np.abs(other).max())
    hessian = model.integral_bins_hessian(energy, model.internal_values)
    other = twin.integral_bins_hessian(energy, twin.internal_values)
    np.testing.assert_allclose(hessian[1, 1], other[0, 0], rtol=1e-6)
    assert model(2 * u.TeV).unit == "cm-2 s-1 TeV-1"


def test_parameters_as_class_attributes():
    model = GammapyStyle(amplitude="1e-12 cm-2 s-1 TeV-1")
    assert GammapyStyle.parameter_names == ("amplitude", "index")
    assert (model.amplitude.value, model.amplitude.min, model.index.frozen) == (1e-12, 0, True)
    assert model.amplitude is not GammapyStyle().amplitude
    model.check()


def bad_class(**attributes):
    return type("Broken", (SpectralModel,), {"tag": ("Broken",), **attributes})


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"defaults": ("index",)}, "Broken: defaults has 'index', expected ParameterDefault"),
        (
            {"defaults": (ParameterDefault("a", 1.0),) * 2},
            "Broken: two parameters of the same name",
        ),
        ({"defaults": (ParameterDefault("a b", 1.0),)}, "a parameter cannot be named 'a b'"),
        ({"defaults": (ParameterDefault("copy", 1.0),)}, "a parameter cannot be named 'copy'"),
        ({"defaults": (ParameterDefault("a", np.nan),)}, "Broken: default of a: value is nan"),
        ({"defaults": (ParameterDefault("a", 1.0, "blob"),)}, "default of 'blob' is not a unit"),
        ({"evaluate": lambda self, energy, index: energy}, "evaluate takes index, but"),
        (
            {"evaluate": lambda self, energy, b: b, "defaults": (ParameterDefault("a", 1.0),)},
            "evaluate takes b, but its parameters are a",
        ),
    ],
)
def test_wrong_classes_are_told_at_definition(attributes, message):
    with pytest.raises(ModelError, match=message):
        bad_class(**attributes)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda e, a: a, r"Broken.evaluate returns shape \(\), expected \(2, 3\)"),
        (lambda e, a: e * np.nan, "Broken.evaluate is not finite at Broken"),
        (lambda e, a: u.Quantity(e, "m"), "returns a quantity in m, expected plain numbers in"),
        (lambda e, a: "x", "Broken.evaluate returns str, expected plain numbers"),
    ],
)
def test_wrong_classes_are_told_by_check(value, message):
    cls = bad_class(defaults=(ParameterDefault("a", 1.0),), evaluate=staticmethod(value))
    with pytest.raises(ModelError, match=message):
        cls().check()


def test_a_class_without_parameters_says_so():
    def evaluate(self, energy, *values):
        return energy

    with pytest.raises(ModelError, match="Broken has no parameters: list them in defaults"):
        bad_class(evaluate=evaluate)().check()
    bad_class(evaluate=evaluate, without_parameters=True)().check()


@pytest.mark.parametrize("cls", [PowerLawSpectralModel, LogParabolaSpectralModel])
def test_built_in_models_pass_the_check(cls):
    cls().check()
