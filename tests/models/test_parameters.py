import copy
import math

import astropy.units as u
import numpy as np
import pytest

import gmdask as gm
from gmdask.errors import InputError, ModelError, UnknownNameError
from gmdask.models import (
    GaussianSpatialModel,
    Parameter,
    Parameters,
    PointSpatialModel,
    PowerLawSpectralModel,
    SkyModel,
)
from gmdask.models.units import unit_text


def test_value_unit_and_quantity():
    par = Parameter("reference", "1 TeV", error="0.1 TeV", min="100 GeV", frozen=True)
    assert (par.value, par.unit, par.error, par.min) == (1.0, u.TeV, 0.1, 0.1)
    assert math.isnan(par.max)
    assert par.frozen
    par.quantity = 500 * u.GeV
    assert par.value == 0.5
    assert par.unit == u.TeV
    assert par.quantity == 0.5 * u.TeV
    assert Parameter("a", 3 * u.GeV, unit="TeV").value == pytest.approx(0.003, rel=1e-15)
    assert Parameter("a", "1e-12", unit="cm-2 s-1").value == 1e-12
    assert Parameter("a", np.float32(2)).value == 2.0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"value": math.nan}, "p: value is nan, expected a finite number"),
        ({"value": math.inf}, "finite"),
        ({"value": "x"}, "expected a number or a quantity"),
        ({"value": True}, "expected a number"),
        ({"value": [1.0, 2.0]}, "expected a number"),
        ({"value": 1, "unit": "potato"}, "is not a unit"),
        ({"value": 1, "min": 2, "max": 1}, "min 2.0 is larger than max 1.0"),
        ({"value": 1, "unit": "TeV", "min": "1 deg"}, "min: unit 'deg' cannot be converted"),
        ({"value": "1 m", "unit": "TeV"}, "value: unit 'm' cannot be converted to 'TeV'"),
        ({"value": 1, "frozen": "yes"}, "frozen is 'yes', expected true or false"),
        ({"value": 1, "interp": "cubic"}, "interp is 'cubic'"),
        ({"value": 1, "error": "?"}, "error is"),
    ],
)
def test_refused(kwargs, message):
    with pytest.raises(ModelError, match=message):
        Parameter("p", **kwargs)


def test_refused_changes_leave_the_parameter_alone():
    par = Parameter("p", 1.0, min=0, max=2)
    for key, value in [("value", math.nan), ("min", 3), ("max", -1), ("frozen", 1), ("error", "")]:
        with pytest.raises(ModelError):
            setattr(par, key, value)
    assert (par.value, par.min, par.max, par.frozen, par.error) == (1.0, 0.0, 2.0, False, 0.0)
    par.min = None
    assert math.isnan(par.min)


def test_message_says_where_the_parameter_belongs():
    model = SkyModel(PowerLawSpectralModel(), PointSpatialModel(), name="crab")
    with pytest.raises(ModelError, match=r"^crab\.spectral\.index: value is nan"):
        model.parameters["index"].value = math.nan
    renamed = model.copy(name="vela")
    with pytest.raises(ModelError, match=r"^vela\.spatial\.lon_0: "):
        renamed.parameters["lon_0"].quantity = 1 * u.TeV
    with pytest.raises(ModelError, match=r"^PowerLawSpectralModel\.index: value is nan"):
        PowerLawSpectralModel(index=math.nan)
    with pytest.raises(ModelError, match=r"PowerLawSpectralModel\.reference: unit 'deg'"):
        PowerLawSpectralModel(reference="1 deg")


def test_copies_are_independent():
    par = Parameter("p", 1.0, "TeV", interp="log", scale_method=None)
    for twin in (par.copy(), copy.deepcopy(par)):
        twin.value = 2.0
        assert par.value == 1.0
        assert (twin.unit, twin.interp, twin.scale_method) == (u.TeV, "log", None)


def test_texts():
    par = Parameter("p", 1.5, "TeV", error=0.25, min=0, frozen=True)
    assert repr(par) == "<Parameter p = 1.5 ± 0.25 TeV, min=0, max=nan, frozen>"
    assert "p = 1.5" in par._repr_html_()
    pars = Parameters([par, Parameter("q<", 2.0)])
    assert str(pars) == "p   1.5 (frozen) TeV ≥ 0\nq<  2 ± 0"
    flux = Parameters([Parameter("dnde", 1.0, unit="1 / (TeV s cm2)")])
    assert str(flux) == "dnde  1 ± 0 cm-2 s-1 TeV-1"  # as everywhere else
    assert "<td>q&lt;</td>" in pars._repr_html_()
    assert repr(pars) == "Parameters(2: p, q<)"
    assert str(Parameters()) == ""


@pytest.fixture
def pars():
    shared = Parameter("index", 2.0, error=0.1)
    other = Parameter("norm", 1.0, min=0, frozen=True)
    return Parameters.from_names(
        [("a.spectral.index", shared), ("a.spectral.norm", other), ("b.spectral.index", shared)]
    )


def test_shared_parameter_stands_once_and_is_found_by_every_name(pars):
    assert len(pars) == 2
    assert pars.names == ["a.spectral.index", "a.spectral.norm"]
    assert pars["a.spectral.index"] is pars["b.spectral.index"] is pars[0]
    assert pars["index"] is pars["spectral.index"] is pars[0]
    assert pars.index(pars[1]) == 1
    assert pars[0] in pars
    assert "b.spectral.index" in pars
    assert "x" not in pars
    table = pars.to_table()
    assert table.colnames == ["name", "value", "unit", "error", "min", "max", "frozen", "link"]
    assert list(table["link"]) == ["b.spectral.index", ""]


def test_subsets_keep_names(pars):
    free = pars.free
    assert free.names == ["a.spectral.index"]
    assert free["b.spectral.index"] is pars[0]
    assert pars[1:].names == ["a.spectral.norm"]
    assert pars[np.array([True, False])].names == ["a.spectral.index"]
    assert (pars[:1] + pars[1:]).names == pars.names
    assert pars[-1] is pars[1]
    with pytest.raises(InputError, match="mask"):
        pars[[True]]


def test_arrays(pars):
    pars.value = [3.0, 4.0]
    np.testing.assert_array_equal(pars.value, [3.0, 4.0])
    for bad in ([1.0], [1.0, math.nan]):
        with pytest.raises(InputError):
            pars.value = bad
        np.testing.assert_array_equal(pars.value, [3.0, 4.0])
    np.testing.assert_array_equal(pars.error, [0.1, 0.0])
    np.testing.assert_array_equal(pars.min, [math.nan, 0.0])
    np.testing.assert_array_equal(pars.max, [math.nan, math.nan])
    np.testing.assert_array_equal(pars.frozen, [False, True])
    pars.freeze_all()
    assert len(pars.free) == 0
    pars.unfreeze_all()
    assert len(pars.free_parameters) == 2


def test_unknown_and_ambiguous_names(pars):
    with pytest.raises(UnknownNameError, match=r"no parameter 'a.spectral.indx'; near: a.spectral"):
        pars["a.spectral.indx"]
    with pytest.raises(KeyError):
        pars["zzz"]
    with pytest.raises(UnknownNameError, match="not in this sequence"):
        pars.index(Parameter("index", 1.0))
    two = Parameters.from_names([("a.s.p", Parameter("p", 1.0)), ("b.s.p", Parameter("p", 1.0))])
    with pytest.raises(UnknownNameError, match=r"'p' is ambiguous: a\.s\.p, b\.s\.p"):
        two["p"]
    with pytest.raises(UnknownNameError, match="there are none"):
        Parameters()["p"]


def test_model_attributes_are_parameters():
    model = PowerLawSpectralModel(index=2.3, amplitude="3e-8 m-2 s-1 TeV-1")
    assert model.index.value == 2.3
    assert model.reference.frozen
    np.testing.assert_allclose(model.internal_values, [2.3, 3e-12, 1.0], rtol=1e-15)
    np.testing.assert_allclose(model.internal_factors, [1.0, 1e-4, 1.0], rtol=1e-15)
    assert model.internal_units == ("", "cm-2 s-1 TeV-1", "TeV")
    with pytest.raises(ModelError, match=r"set index\.value"):
        model.index = 3
    with pytest.raises(UnknownNameError, match="no parameter 'gamma', only index, amplitude"):
        PowerLawSpectralModel(gamma=2)
    with pytest.raises(ModelError, match="cannot be converted"):
        model.reference = Parameter("reference", "1 deg")
    with pytest.raises(ModelError, match="parameter of another name, 'reference'"):
        model.index = Parameter("reference", 1.0)
    other = PowerLawSpectralModel(index=model.index)
    assert other.index is model.index
    assert "index=2.3" in repr(model)
    assert "<table>" in model._repr_html_()


def test_limits_of_the_class_follow_the_unit():
    lat = GaussianSpatialModel(lat_0=0.1 * u.rad).lat_0
    assert lat.unit == u.rad
    assert lat.max == pytest.approx(math.pi / 2, rel=1e-15)


def test_freeze_and_unfreeze():
    model = PowerLawSpectralModel()
    model.freeze()
    assert model.frozen
    model.unfreeze()
    assert [par.frozen for par in model.parameters] == [False, False, True]


def test_linked_copy_stays_linked():
    model = PowerLawSpectralModel()
    twin = PowerLawSpectralModel(index=model.index)
    a, b = copy.deepcopy([model, twin])
    assert a.index is b.index
    assert a.index is not model.index
    assert a.amplitude is not b.amplitude


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("1 / (TeV s cm2)", "cm-2 s-1 TeV-1"),
        ("cm**-2.s**-1.TeV**-1", "cm-2 s-1 TeV-1"),
        ("erg cm-2 s-1", "erg cm-2 s-1"),
        ("cm-2 s-1 sr-1 MeV-1", "cm-2 MeV-1 s-1 sr-1"),
        ("1e-12 cm-2 s-1", "1e-12 cm-2 s-1"),
        ("km(1/2)", "km0.5"),
        (u.Unit("deg"), "deg"),
        ("", ""),
    ],
)
def test_units_are_shown_in_one_way(unit, text):
    """In tables, views and reports alike."""
    assert unit_text(unit) == text
    assert repr(Parameter("a", 1.0, unit=unit)) == f"<Parameter {f'a = 1 ± 0 {text}'.rstrip()}>"


@pytest.mark.parametrize(
    ("model", "name", "value", "text"),
    [
        (
            PowerLawSpectralModel(),
            "reference",
            0.0,
            "reference is 0 TeV, expected a value at least",
        ),
        (gm.LogParabolaSpectralModel(), "reference", -1.0, "reference is -1 TeV, expected"),
        (gm.models.PowerLaw2SpectralModel(), "emin", 0.0, "emin is 0 TeV, expected"),
        (gm.models.BrokenPowerLawSpectralModel(), "ebreak", -2.0, "ebreak is -2 TeV, expected"),
        (gm.models.LogGaussianSpectralModel(), "Ep", 0.0, "Ep is 0 TeV, expected"),
        (gm.PointSpatialModel(), "lat_0", 95.0, "lat_0 is 95 deg, expected a value from -90 to 90"),
        (gm.GaussianSpatialModel(), "lat_0", -91.0, "lat_0 is -91 deg, expected"),
    ],
)
def test_values_that_mean_nothing_name_the_parameter(model, name, value, text):
    model.check_values()
    par = model.parameter(name)
    par.min, par.max, par.value = math.nan, math.nan, value
    with pytest.raises(ModelError, match=text):
        model.check_values()
