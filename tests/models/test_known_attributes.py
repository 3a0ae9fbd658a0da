"""An attribute that does not exist is told, with the nearest name, on everything public."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gammapy.modeling.models as theirs
import pytest
import xarray as xr

import gmdask as gm
from gmdask.errors import InputError, ModelError, UnknownAttributeError
from gmdask.models import (
    Covariance,
    PointSpatialModel,
    PowerLawSpectralModel,
    SkyModel,
    SpectralModel,
)


def _flux_points() -> gm.FluxPoints:
    names = ("norm", "e_ref", "ref_dnde")
    return gm.FluxPoints(xr.Dataset({name: ("energy", [1.0]) for name in names}))


CASES: list[tuple[Any, str, str]] = [
    (PowerLawSpectralModel(), "amplitud", "did you mean 'amplitude'?"),
    (PowerLawSpectralModel(), "alfa", "but index, amplitude, reference"),
    (PointSpatialModel(), "lon", "did you mean 'lon_0'?"),
    (PowerLawSpectralModel().index, "valeu", "did you mean 'value'?"),
    (PowerLawSpectralModel().parameters, "values", "did you mean 'value'?"),
    (SkyModel(PowerLawSpectralModel()), "spatial", "did you mean 'spatial_model'?"),
    (gm.BackgroundIRFModel(dataset_name="a"), "spectral", "did you mean 'spectral_model'?"),
    (gm.Models(), "covarianc", "did you mean 'covariance'?"),
    (gm.DatasetModels(), "paramters", "did you mean 'parameters'?"),
    (Covariance(PowerLawSpectralModel().parameters), "dat", "did you mean 'data'?"),
    (gm.Datasets(), "names_", "did you mean 'names'?"),
    (gm.Fit(gm.Datasets()), "backnd", "did you mean 'backend'?"),
    (gm.FluxPointsEstimator(), "energy_edge", "did you mean 'energy_edges'?"),
    (gm.LightCurveEstimator(), "groupes", "did you mean 'groups'?"),
    (_flux_points(), "dat", "did you mean 'data'?"),
    (pickle.loads(pickle.dumps(PowerLawSpectralModel())), "indx", "did you mean 'index'?"),
    (copy.deepcopy(PowerLawSpectralModel()), "indx", "did you mean 'index'?"),
    (SkyModel(PowerLawSpectralModel(), name="a").copy(), "aply_irf", "did you mean 'apply_irf'?"),
]


@pytest.mark.parametrize(("thing", "name", "hint"), CASES)
def test_an_attribute_that_is_not_there_is_refused(thing: Any, name: str, hint: str) -> None:
    with pytest.raises(UnknownAttributeError, match="has no attribute") as caught:
        setattr(thing, name, 3)
    assert hint in str(caught.value)
    assert isinstance(caught.value, AttributeError)
    assert not hasattr(thing, name)


def test_what_cannot_be_set_says_so() -> None:
    for thing, name in ((SkyModel(PowerLawSpectralModel()), "name"), (gm.Datasets(), "names")):
        with pytest.raises(UnknownAttributeError, match=f"{name} cannot be set"):
            setattr(thing, name, "b")


@pytest.mark.parametrize("name", ["models", "background_model"])
def test_datasets_name_the_way_to_set_models(name: str) -> None:
    with pytest.raises(UnknownAttributeError, match=r"set_models\(models\)"):
        setattr(gm.Datasets(), name, gm.Models())
    assert gm.MapDataset.set_otherwise[name] == gm.Datasets.set_otherwise[name]


class Shape(SpectralModel):
    """A user's model, with an attribute that its __init__ and its methods set."""

    defaults = PowerLawSpectralModel.defaults

    def __init__(self, label: str, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.label = label

    def rename(self) -> None:
        self.label = "b"


def test_a_users_class_sets_what_its_init_set() -> None:
    model = Shape("a", index=3)
    model.rename()
    assert (model.label, model.index.value) == ("b", 3)
    with pytest.raises(UnknownAttributeError, match="did you mean 'label'"):
        model.labl = "c"  # type: ignore[attr-defined]


def test_objects_of_gammapy_are_told_with_the_way_to_convert_them() -> None:
    source = theirs.SkyModel(theirs.PowerLawSpectralModel(), name="a")
    tries = [
        lambda: gm.Models([source]),
        lambda: gm.Models(source),
        lambda: gm.Models(theirs.Models([source])),
        lambda: gm.Datasets().set_models(theirs.Models([source])),
        lambda: gm.SkyModel(theirs.PowerLawSpectralModel()),
        lambda: gm.Fit(gm.Datasets()).run(theirs.Models([source])),
        lambda: gm.Datasets([source]),
        lambda: gm.Datasets(source),
        lambda: gm.Models() + source,
        lambda: gm.Datasets().follow(theirs.Models([source])),
        lambda: gm.Datasets().stat_sum(theirs.Models([source])),
        lambda: gm.FluxPointsEstimator("a").run(gm.Datasets(), theirs.Models([source])),
    ]
    for attempt in tries:
        with pytest.raises(InputError, match=r"Gammapy's \w+ \(gmdask.from_gammapy converts it\)"):
            attempt()


@pytest.mark.parametrize("given", [3, "models.yaml", PowerLawSpectralModel()])
def test_what_is_no_component_is_refused(given: Any) -> None:
    with pytest.raises(ModelError, match=r"expected components|is not a model component"):
        gm.Models(given)
    with pytest.raises(InputError, match="expected datasets"):
        gm.Datasets(given)


def test_parts_of_a_component_are_checked_when_they_are_assigned() -> None:
    source = SkyModel(PowerLawSpectralModel(), PointSpatialModel(), name="a")
    background = gm.BackgroundIRFModel(dataset_name="a")
    tries: list[tuple[Any, str, Any]] = [
        (source, "spectral_model", theirs.PowerLawSpectralModel()),
        (source, "spectral_model", gm.PowerLawNormSpectralModel()),
        (source, "spectral_model", PowerLawSpectralModel(amplitude="1 TeV-1")),
        (source, "spatial_model", theirs.PointSpatialModel()),
        (source, "temporal_model", PowerLawSpectralModel()),
        (source, "apply_irf", {"psff": True}),
        (background, "spectral_model", PowerLawSpectralModel()),
        (background, "spatial_model", theirs.PointSpatialModel()),
    ]
    for component, name, value in tries:
        before = getattr(component, name)
        with pytest.raises(ModelError):
            setattr(component, name, value)
        assert getattr(component, name) is before
    other = PowerLawSpectralModel(index=3)
    source.spectral_model = other
    assert gm.Models(source).parameters["a.spectral.index"] is other.index
    assert other.index.where == "a.spectral.index"


def test_no_model_is_inside_itself() -> None:
    product = PowerLawSpectralModel() * gm.PowerLawNormSpectralModel()
    with pytest.raises(ModelError, match=r"CompoundSpectralModel\.model1 cannot be replaced"):
        product.model1 = product  # type: ignore[attr-defined]
    norm = {"type": "pl-norm", "parameters": []}
    circle: dict[str, Any] = {"type": "compound", "operator": "mul", "model2": norm}
    circle["model1"] = circle
    data = {"components": [{"type": "SkyModel", "name": "a", "spectral": circle}]}
    with pytest.raises(ModelError, match="component 'a': models are nested too deeply"):
        gm.Models.from_dict(data)
