"""Classes of users: in YAML, and in a process that never imported their module by name."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u

from gmdask.errors import ModelError
from gmdask.models import (
    Models,
    ParameterDefault,
    PowerLawSpectralModel,
    SkyModel,
    SpatialModel,
    SpectralModel,
    get_class,
    register,
)

MODULE = '''
import numpy as np
from gmdask.models import (
    ParameterDefault, PowerLawSpectralModel, SpectralModel, TemporalModel, register,
)

@register
class Bump(SpectralModel):
    """A user's curve, of which only values are known."""
    tag = ("Bump", "bump")
    defaults = (
        ParameterDefault("amplitude", 1e-12, "cm-2 s-1 TeV-1"),
        ParameterDefault("centre", 1.0, "TeV"),
    )

    def evaluate(self, energy, amplitude, centre):
        return amplitude * np.exp(-np.log(energy / centre) ** 2)

class Steeper(PowerLawSpectralModel):
    """Neither registered nor with a tag of its own."""
    def evaluate(self, energy, *values):
        return super().evaluate(energy, *values) / energy

class Ramp(TemporalModel):
    tag = ("Ramp",)
    defaults = (ParameterDefault("slope", 1.0, "d-1"),)

    def evaluate(self, time, slope):
        return slope * (time - 50000)

class Wrong(SpectralModel):
    tag = ("Wrong",)
    defaults = (ParameterDefault("a", 1.0),)

    def evaluate(self, energy, a):
        return a
'''
WORKER = """
import json, sys
import numpy as np
from gmdask.models import DatasetModels
models = DatasetModels.from_dict(json.load(sys.stdin))
found = [c.spectral_model.evaluate(np.array([2.0]), *c.spectral_model.internal_values)[0]
         for c in models]
print(json.dumps([found, [type(c.spectral_model).__module__ for c in models]]))
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    name = f"user_models_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE.replace('"Bump", "bump"', f'"Bump{name}",'))
    monkeypatch.syspath_prepend(str(tmp_path))
    return __import__(name)


def user_models(user):
    return Models([
        SkyModel(user.Bump(centre="2 TeV"), name="bump", temporal_model=user.Ramp()),
        SkyModel(user.Steeper(), name="steeper"),
        SkyModel(user.Bump() + PowerLawSpectralModel(), name="both"),
    ])  # fmt: skip


def test_another_process_rebuilds_them(user, tmp_path):
    """Nothing is pickled: the import path travels as plain data."""
    models = user_models(user)
    data = models.to_dict()
    assert data["components"][0]["spectral"]["class"] == f"{user.__name__}:Bump"
    assert data["components"][2]["spectral"]["model1"]["class"] == f"{user.__name__}:Bump"
    assert "class" not in data["components"][2]["spectral"]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", WORKER], input=json.dumps(data), text=True, check=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    values, modules = json.loads(done.stdout)
    expected = [
        m.spectral_model.evaluate(np.array([2.0]), *m.spectral_model.internal_values)[0]
        for m in models
    ]
    assert values == expected
    assert modules[:2] == [user.__name__] * 2
    assert values[1] == pytest.approx(1e-12 / 8)


def test_yaml_of_registered_classes(user, tmp_path):
    models = Models([SkyModel(user.Bump(centre="2 TeV"), name="bump")])
    models.write(tmp_path / "m.yaml")
    again = Models.read(tmp_path / "m.yaml")
    assert type(again[0].spectral_model) is user.Bump
    assert json.dumps(again.to_dict()) == json.dumps(models.to_dict())
    again.check()


def test_a_file_imports_nothing(user, tmp_path):
    Models([SkyModel(user.Steeper(), name="s")]).write(tmp_path / "m.yaml")
    with pytest.raises(ModelError, match=f"is a user's class: import {user.__name__} first"):
        Models.read(tmp_path / "m.yaml")


def test_wrong_classes_are_told_before_a_fit(user):
    models = Models([
        SkyModel(PowerLawSpectralModel(), name="ok"), SkyModel(user.Wrong(), name="bad"),
    ])  # fmt: skip
    with pytest.raises(ModelError, match=r"bad\.spectral: Wrong\.evaluate returns shape \(\)"):
        models.check()


def test_wrong_classes_inside_others_are_told_too(user):
    model = user.Wrong() + PowerLawSpectralModel()
    with pytest.raises(ModelError, match=r"both\.spectral: Wrong\.evaluate returns shape \(\)"):
        Models([SkyModel(model, name="both")]).check()


class Shape(SpatialModel):
    """What the tests below vary."""

    tag = ("ShapeOfATest",)
    defaults = (ParameterDefault("lon_0", 0.0, "deg"), ParameterDefault("lat_0", 0.0, "deg"))
    value = staticmethod(lambda grid: np.ones(grid.shape))
    slope = staticmethod(lambda grid: np.ones((2, *grid.shape)))

    def evaluate(self, grid, lon_0, lat_0):
        return self.value(grid)

    def gradient(self, grid, lon_0, lat_0):
        return self.value(grid), self.slope(grid)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"value": lambda grid: 1.0}, r"evaluate returns shape \(\), expected \(2, 3\)"),
        ({"value": lambda grid: grid.lon * np.nan}, "evaluate is not finite"),
        ({"value": lambda grid: u.Quantity(grid.lon, "deg")}, "a quantity in deg, expected plain"),
        (
            {"slope": lambda grid: grid.lon},
            r"gradient returns shape \(2, 3\), expected \(2, 2, 3\)",
        ),
    ],
)
def test_wrong_shapes(attributes, message):
    attributes = {key: staticmethod(value) for key, value in attributes.items()}
    Shape().check()
    with pytest.raises(ModelError, match=message):
        type("Broken", (Shape,), {"tag": ("Broken",), **attributes})().check()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:X", "cannot be imported"),
        ("math:nothing", "cannot be imported"),
        ("math:pi", "class math:pi is not a spectral model"),
        ("os:getcwd", "class os:getcwd is not a spectral model"),
        ("x", "class is 'x', expected module:name"),
    ],
)
def test_bad_paths(path, message):
    spectral = {"type": "Unknown", "class": path, "parameters": []}
    data = {"components": [{"name": "a", "type": "SkyModel", "spectral": spectral}]}
    with pytest.raises(ModelError, match=message):
        Models.from_dict(data)


def notebook_class():
    class Local(SpectralModel):
        tag = ("LocalOfATest",)
        defaults = (ParameterDefault("a", 1e-12, "cm-2 s-1 TeV-1"),)

        def evaluate(self, energy, a):
            return a * energy

    return Local


def test_classes_that_no_other_process_can_find(tmp_path):
    cls = register(notebook_class())
    models = Models([SkyModel(cls(), name="a")])
    with pytest.raises(ModelError, match="put it in a module that can be imported"):
        models.to_dict()
    assert models.for_dataset("x").names == ["a"]
    models.write(tmp_path / "m.yaml")  # which the same process can read
    assert type(Models.read(tmp_path / "m.yaml")[0].spectral_model) is cls
    again = register(notebook_class())  # a cell that is run again
    assert get_class("spectral", "LocalOfATest") is again


def test_a_tag_is_needed_and_unique():
    with pytest.raises(ModelError, match="a tag of its own"):
        register(type("NoTag", (PowerLawSpectralModel,), {}))
    with pytest.raises(ModelError, match="spectral model type 'pl' is already used by PowerLaw"):
        register(type("Taken", (SpectralModel,), {"tag": ("pl",)}))
