"""Components and their containers."""

import copy
import subprocess
import sys
import time

import astropy.units as u
import numpy as np
import pytest

from gmdask.errors import DuplicateNameError, InputError, ModelError, UnknownNameError
from gmdask.models import (
    BackgroundIRFModel,
    Covariance,
    DatasetModels,
    GaussianSpatialModel,
    LogParabolaSpectralModel,
    Models,
    PointSpatialModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    SkyModel,
)


@pytest.fixture
def models():
    """A source everywhere, one in "b" only with the index of the first, two backgrounds."""
    crab = SkyModel(PowerLawSpectralModel(index=2.3), PointSpatialModel(), name="crab")
    halo = SkyModel(
        PowerLawSpectralModel(index=crab.spectral_model.index),
        GaussianSpatialModel(sigma="0.2 deg"),
        name="halo",
        datasets_names="b",
    )
    backgrounds = [BackgroundIRFModel(dataset_name=name) for name in ("a", "b")]
    return Models([crab, halo, *backgrounds])


def test_access(models):
    assert models.names == ["crab", "halo", "a-bkg", "b-bkg"]
    assert models["crab"] is models[0]
    assert models[-1].name == "b-bkg"
    assert [m.name for m in models[1:3]] == ["halo", "a-bkg"]
    assert "crab" in models
    assert models[0] in models
    assert models[0].copy() not in models
    assert models.background_models == {"a": "a-bkg", "b": "b-bkg"}
    with pytest.raises(UnknownNameError, match="no model named 'vela' among: crab, halo"):
        models["vela"]
    with pytest.raises(IndexError):
        models[4]


def test_parameters_by_full_name(models):
    assert models.full_names[:5] == [
        "crab.spectral.index",
        "crab.spectral.amplitude",
        "crab.spectral.reference",
        "crab.spatial.lon_0",
        "crab.spatial.lat_0",
    ]
    assert len(models.full_names) == 5 + 8 + 6
    pars = models.parameters
    assert len(pars) == len(models.full_names) - 1
    assert pars["halo.spectral.index"] is pars["crab.spectral.index"]
    assert pars["a-bkg.spectral.norm"] is models["a-bkg"].parameters["norm"]
    assert models["crab"].parameters["spectral.index"] is pars[0]
    with pytest.raises(UnknownNameError, match="ambiguous"):
        pars["norm"]


def test_names_are_unique(models):
    with pytest.raises(DuplicateNameError, match="'crab'"):
        models.append(models["crab"].copy())
    with pytest.raises(DuplicateNameError):
        models.extend([models["crab"].copy(name="new"), models["crab"].copy(name="new")])
    with pytest.raises(ModelError, match="dataset 'a' already has a background model, 'a-bkg'"):
        models.append(BackgroundIRFModel(dataset_name="a", name="other"))
    with pytest.raises(ModelError, match="not a model component"):
        models.append(PointSpatialModel())
    assert len(models) == 4


def test_structure_changes(models):
    models.append(SkyModel(LogParabolaSpectralModel(), name="vela", datasets_names=["c"]))
    models.extend([BackgroundIRFModel(dataset_name="c")])
    assert models.for_dataset("c").names == ["crab", "vela", "c-bkg"]
    models["vela"].datasets_names = ["d"]
    assert models.for_dataset("c").names == ["crab", "c-bkg"]
    assert models.for_dataset("d").names == ["crab", "vela"]
    models.remove("c-bkg")
    models.append(BackgroundIRFModel(dataset_name="e"))
    assert models.for_dataset("c").names == ["crab"]
    assert models.for_dataset("e").names == ["crab", "e-bkg"]
    assert len(Models(models["crab"])) == 1
    assert len(Models()) == 0


def test_copies_are_deep_and_keep_links(models):
    models.covariance = np.diag(np.arange(len(models.parameters), dtype=float))
    for twin in (models.copy(), copy.deepcopy(models)):
        assert twin.to_dict() == models.to_dict()
        assert twin.parameters["halo.spectral.index"] is twin.parameters["crab.spectral.index"]
        twin.parameters["crab.spectral.index"].value = 9.0
        twin.append(BackgroundIRFModel(dataset_name="z"))
        assert models.parameters["crab.spectral.index"].value == 2.3
        assert "z-bkg" not in models
        np.testing.assert_array_equal(
            twin.covariance.data[:17, :17], models.covariance.data[:17, :17]
        )


def test_dataset_models(models):
    local = models.for_dataset("b")
    assert isinstance(local, DatasetModels)
    assert local.names == ["crab", "halo", "b-bkg"]
    assert local.parameters["crab.spectral.index"] is local.parameters["halo.spectral.index"]
    assert not hasattr(local, "append")
    rebuilt = DatasetModels.from_dict(local.to_dict())
    assert rebuilt.to_dict() == local.to_dict()
    assert rebuilt.parameters["crab.spectral.index"] is rebuilt.parameters["halo.spectral.index"]
    assert models.for_dataset("unknown").names == ["crab"]

    models.parameters["index"].value = 2.7
    models.parameters["b-bkg.spectral.norm"].value = 1.1
    assert local["b-bkg"].parameters["norm"].value == 1.0
    rebuilt.set_parameters(models.parameters)
    assert rebuilt["halo"].parameters["index"].value == 2.7
    assert rebuilt["b-bkg"].parameters["norm"].value == 1.1


def test_set_parameters_converts_units_or_changes_nothing(models):
    local = models.for_dataset("a")
    other = Models(
        [
            SkyModel(
                PowerLawSpectralModel(index=3, reference="500 GeV"),
                PointSpatialModel(),
                name="crab",
            )
        ]
    )
    with pytest.raises(UnknownNameError, match=r"a-bkg\.spectral\.tilt"):
        local.set_parameters(other.parameters)
    assert local["crab"].parameters["index"].value == 2.3
    other.append(models["a-bkg"])
    local.set_parameters(other.parameters)
    assert local["crab"].parameters["reference"].value == 0.5
    assert local["crab"].parameters["index"].value == 3.0


def test_distribution_is_linear():
    def seconds(count):
        models = Models([BackgroundIRFModel(dataset_name=f"obs-{k}") for k in range(count)])
        models.append(SkyModel(PowerLawSpectralModel(), name="crab"))
        start = time.perf_counter()
        for k in range(count):
            assert len(models.for_dataset(f"obs-{k}")) == 2
        return time.perf_counter() - start

    few, many = (min(seconds(count) for _ in range(3)) for count in (500, 4000))
    assert many / few < 40  # 8 if linear, 64 if quadratic


def test_sky_model():
    model = SkyModel(LogParabolaSpectralModel(), datasets_names="ab", apply_irf={"psf": False})
    assert model.datasets_names == ["ab"]
    assert model.applies_to("ab")
    assert not model.applies_to("a")
    assert model.apply_irf == {"exposure": True, "psf": False, "edisp": True}
    assert model.position is None
    assert len(model.name) == 8
    assert model.name != SkyModel(LogParabolaSpectralModel()).name
    model.freeze("spatial")
    assert not model.frozen
    model.freeze()
    assert model.frozen
    model.unfreeze("spectral")
    assert len(model.parameters.free) == 3
    twin = model.copy(name="twin")
    twin.apply_irf["edisp"] = False
    assert (twin.name, model.apply_irf["edisp"]) == ("twin", True)
    with pytest.raises(AttributeError):
        model.name = "x"


def test_background_model():
    model = BackgroundIRFModel(PowerLawNormSpectralModel(norm=1.2), dataset_name="obs-1")
    assert (model.name, model.dataset_name) == ("obs-1-bkg", "obs-1")
    assert model.datasets_names == ["obs-1"]
    np.testing.assert_array_equal(model.evaluate([1, 2] * u.TeV), 1.2)
    assert model.copy(dataset_name="obs-2").name == "obs-2-bkg"
    named = BackgroundIRFModel(dataset_name="obs-1", name="mine")
    assert named.copy(dataset_name="obs-2").name == "mine"
    assert named.copy(name="yours").datasets_names == ["obs-1"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SkyModel(PowerLawNormSpectralModel()), "expected a spectrum"),
        (lambda: SkyModel(PointSpatialModel()), "expected a spectrum"),
        (
            lambda: SkyModel(PowerLawSpectralModel(), PowerLawSpectralModel()),
            "expected a spatial model",
        ),
        (lambda: SkyModel(PowerLawSpectralModel(), name=3), "name of SkyModel is 3"),
        (lambda: SkyModel(PowerLawSpectralModel(), name=""), "expected a string"),
        (lambda: SkyModel(PowerLawSpectralModel(), datasets_names=[1]), "expected names"),
        (lambda: SkyModel(PowerLawSpectralModel(), apply_irf={"arf": True}), "apply_irf has arf"),
        (lambda: BackgroundIRFModel(), "expected the name of a dataset"),
        (
            lambda: BackgroundIRFModel(PowerLawSpectralModel(), dataset_name="a"),
            "expected a norm model",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(ModelError, match=message):
        make()


def test_a_background_belongs_to_one_dataset():
    model = BackgroundIRFModel(dataset_name="a")
    for names in (None, ["a", "b"], []):
        with pytest.raises(ModelError, match="expected exactly one"):
            model.datasets_names = names


def test_covariance(models):
    pars = models.parameters
    assert models.covariance.is_diagonal
    assert not models.has_covariance
    rng = np.random.default_rng(5)
    root = rng.normal(size=(len(pars), len(pars)))
    matrix = root @ root.T
    matrix[2] = matrix[:, 2] = 0  # frozen
    models.covariance = matrix
    np.testing.assert_array_equal(models.covariance.data, matrix)
    np.testing.assert_array_equal(pars.error, np.sqrt(np.diag(matrix)))
    correlation = models.covariance.correlation
    np.testing.assert_allclose(np.delete(np.diag(correlation), 2), 1, rtol=1e-14)
    assert correlation[2, 2] == 0
    part = models.covariance.get_subcovariance(["crab.spectral.amplitude", "crab.spectral.index"])
    np.testing.assert_array_equal(part.data, matrix[np.ix_([1, 0], [1, 0])])
    np.testing.assert_array_equal(np.asarray(part), part.data)
    assert "Covariance of 2" in str(part)
    assert "crab.spectral.index" in part._repr_html_()

    models.append(BackgroundIRFModel(dataset_name="c"))
    models.parameters["c-bkg.spectral.norm"].error = 0.5
    grown = models.covariance
    np.testing.assert_array_equal(grown.data[:-3, :-3], matrix)
    assert grown.data[-2, -2] == 0.25

    free = models.parameters.free
    models.covariance = Covariance(free, np.eye(len(free)))
    assert models.parameters["crab.spectral.reference"].error == 0
    np.testing.assert_array_equal(free.error, 1)
    models.covariance = None
    np.testing.assert_array_equal(models.covariance.errors, models.parameters.error)
    np.testing.assert_array_equal(np.diag(models.covariance.get_subcovariance(free).data), 1)


def test_covariance_refused(models):
    with pytest.raises(InputError, match="covariance of shape"):
        models.covariance = np.eye(3)
    with pytest.raises(InputError, match="do not belong"):
        models.covariance = Covariance(PowerLawSpectralModel().parameters, np.eye(3))
    assert not models.has_covariance


def test_texts(models):
    text = str(models)
    assert text.startswith("Models of 4 components")
    assert "SkyModel 'halo' (PowerLawSpectralModel, GaussianSpatialModel), datasets: b" in text
    assert repr(models) == "Models(4: crab, halo, a-bkg, b-bkg)"
    assert "&#x27;halo&#x27;" in models._repr_html_()
    assert repr(models["a-bkg"]).startswith("BackgroundIRFModel(name='a-bkg', PowerLawNorm")
    assert "<pre>" in models["crab"]._repr_html_()


def test_import_is_light():
    code = (
        "import sys, gmdask.models\n"
        "heavy = {'astropy.coordinates', 'astropy.table', 'scipy', 'xarray', 'dask', 'gammapy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
