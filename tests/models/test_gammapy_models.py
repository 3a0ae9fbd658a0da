"""Models of Gammapy as ours, and back, with templates and maps that are in no file."""

from __future__ import annotations

import json
from typing import Any

import gammapy.modeling.models as theirs
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from gammapy.maps import Map, MapAxis, RegionNDMap, WcsNDMap

import gmdask as gm
from gmdask.errors import InputError, ModelError
from gmdask.models import (
    BackgroundIRFModel,
    GaussianPrior,
    Models,
    SkyMap,
    SkyModel,
    TemplateNPredModel,
    TemplateSpatialModel,
)
from gmdask.models.io.region_map import RegionMap
from gmdask.models.spatial.base import SkyGrid
from tests.models.model_cases import CASES
from tests.models.model_example import example

NOT_IN_GAMMAPY = {
    "ConstantFluxSpatialModel", "LogGaussianSpectralModel", "MeyerCrabSpectralModel",
    "ScaleSpectralModel",
}  # fmt: skip
CENTER = SkyCoord(83.6, 22.0, unit="deg")


def _sky_map(*axes: MapAxis, unit: str = "", seed: int = 1) -> Map:
    made = WcsNDMap.create(skydir=CENTER, width=1.0, binsz=0.25, frame="icrs", axes=axes, unit=unit)
    made.data = np.random.default_rng(seed).uniform(1, 2, made.data.shape)
    return made


def _values(model: Any) -> np.ndarray:
    """Values of a model at some points of its kind."""
    at = model.internal_values.tolist()
    if model.kind == "spectral":
        return np.asarray(model.evaluate(np.geomspace(0.2, 20, 9), *at))
    if model.kind == "temporal":
        start = model.t_ref.value if "t_ref" in model.parameter_names else 0.0
        return np.asarray(model.evaluate(np.linspace(0.2, 3.0, 9) + start, *at))
    lon, lat = model.center(model.internal_values) or (10.0, 20.0)
    energy = [0.5, 2.0] if model.is_energy_dependent else None
    grid = SkyGrid(lon + np.linspace(-0.1, 0.1, 7), lat + np.linspace(-0.1, 0.08, 7), energy)
    return np.asarray(model.evaluate(grid, *at))


@pytest.mark.parametrize("kind_name", sorted(set(CASES)), ids=lambda pair: pair[1])
def test_every_class_both_ways(kind_name: tuple[str, str]) -> None:
    model = CASES[kind_name](np.random.default_rng(2)).model
    for k, par in enumerate(model.parameters):
        par.error, par.frozen = 0.01 * (k + 1), k % 2 == 1
    if kind_name[1] in NOT_IN_GAMMAPY:
        with pytest.raises(InputError, match="Gammapy cannot make these models"):
            gm.to_gammapy(model)
        return
    other = gm.to_gammapy(model)
    assert type(other).__name__ == kind_name[1]
    assert [par.value for par in other.parameters] == model.parameters.value.tolist()
    back = gm.from_gammapy(other)
    assert type(back) is type(model)
    np.testing.assert_allclose(_values(back), _values(model), rtol=1e-12)
    for par, twin in zip(model.parameters, back.parameters, strict=True):
        assert repr(twin) == repr(par)


def test_models_with_links_priors_and_covariance_both_ways() -> None:
    models = example()
    models[0].spectral_model.alpha.prior = GaussianPrior(mu=2, sigma=0.1)
    models[0].spectral_model.alpha.min = 1
    size = len(models.parameters)
    root = np.random.default_rng(0).normal(size=(size, size))
    models.covariance = root @ root.T
    other = gm.to_gammapy(models)
    assert isinstance(other, theirs.Models)
    assert other["halo"].spectral_model.amplitude is other[0].spectral_model.amplitude
    back = gm.from_gammapy(other)
    assert json.dumps(back.to_dict()) == json.dumps(models.to_dict())
    np.testing.assert_allclose(back.covariance.data, models.covariance.data, rtol=1e-12)
    again = gm.from_gammapy(gm.to_gammapy(models.select(tag="sky-model")))
    assert again.names == ["crab: a 'source'", "halo"]


def test_one_component_both_ways() -> None:
    source = example()["halo"]
    source.covariance = np.diag(np.arange(len(source.parameters)) + 0.5) + 0.1
    other = gm.to_gammapy(source)
    assert isinstance(other, theirs.SkyModel)
    back = gm.from_gammapy(other)
    assert isinstance(back, SkyModel)
    assert back.to_dict() == source.to_dict()
    np.testing.assert_allclose(back.covariance.data, source.covariance.data, rtol=1e-12)
    background = theirs.FoVBackgroundModel(dataset_name="a", name="b")
    ours = gm.from_gammapy(background)
    assert isinstance(ours, BackgroundIRFModel)
    assert (ours.name, ours.dataset_name) == ("b", "a")
    assert gm.to_gammapy(gm.from_gammapy(background)).datasets_names == ["a"]


def test_covariance_of_gammapys_model_comes_along() -> None:
    model = theirs.PowerLawSpectralModel()
    model.covariance = np.array([[0.01, 2e-15, 0], [2e-15, 1e-26, 0], [0, 0, 0]])
    ours = gm.from_gammapy(model)
    expected = model.evaluate_error(2 * u.TeV, n_samples=100)
    found = ours.evaluate_error(2 * u.TeV, n_samples=100)
    np.testing.assert_allclose(found.to_value(expected.unit), expected.value, rtol=1e-6)


@pytest.mark.parametrize("normalize", [True, False])
def test_template_in_memory(normalize: bool) -> None:
    axis = MapAxis.from_energy_bounds("0.1 TeV", "10 TeV", nbin=3, name="energy_true")
    unit = "" if normalize else "cm-2 s-1 TeV-1 sr-1"
    data = _sky_map(axis, unit=unit)
    other = theirs.TemplateSpatialModel(data, normalize=normalize)
    at = SkyCoord([83.5, 83.7], [21.9, 22.1], unit="deg")
    expected = other(at.ra, at.dec, 2 * u.TeV)
    for ours in (
        gm.from_gammapy(other),
        TemplateSpatialModel(data, normalize=normalize),
        TemplateSpatialModel(gm.from_gammapy(data), normalize=normalize),
        gm.from_gammapy(gm.to_gammapy(gm.from_gammapy(other))),
    ):
        found = ours(at.ra, at.dec, 2 * u.TeV)
        np.testing.assert_allclose(found.to_value(expected.unit), expected.value, rtol=1e-12)
        assert ours.filename is None
        twin = type(ours)(**type(ours).extra_from_dict(ours.extra_to_dict()))
        np.testing.assert_array_equal(twin(at.ra, at.dec, 2 * u.TeV), found)


def test_counts_template_in_memory() -> None:
    axis = MapAxis.from_energy_bounds("0.1 TeV", "10 TeV", nbin=3, name="energy")
    data = _sky_map(axis)
    other = theirs.TemplateNPredModel(data, name="a", datasets_names=["x"])
    for ours in (gm.from_gammapy(other), TemplateNPredModel(data, name="a", datasets_names=["x"])):
        np.testing.assert_allclose(ours.evaluate().data, other.evaluate().data, rtol=1e-12)
        assert ours.datasets_names == ["x"]
    np.testing.assert_array_equal(gm.to_gammapy(ours).map.data, data.data)


def _light_curve() -> theirs.LightCurveTemplateTemporalModel:
    axes = [MapAxis.from_nodes([0, 1, 3], name="time", unit="d", interp="lin")]
    curve = RegionNDMap.create(region=None, axes=axes)
    curve.data = np.array([1.0, 2.0, 0.5]).reshape(curve.data.shape)
    return theirs.LightCurveTemplateTemporalModel(curve, t_ref=Time(55000.5, format="mjd"))


def test_light_curve_in_memory() -> None:
    other = _light_curve()
    ours = gm.from_gammapy(other)
    time = Time([55000.7, 55002.0], format="mjd", scale=other.scale)
    found = ours.evaluate(time.mjd, *ours.internal_values.tolist())
    np.testing.assert_allclose(found, other(time), rtol=1e-9)
    back = gm.to_gammapy(ours)
    np.testing.assert_allclose(back(time), other(time), rtol=1e-9)
    assert back.filename is None


def test_models_in_memory_are_sent_as_plain_data() -> None:
    """As to workers, and with a digest that other processes share."""
    nd = RegionNDMap.create(
        region=None,
        axes=[
            MapAxis.from_energy_bounds("0.1 TeV", "10 TeV", nbin=3, name="energy_true"),
            MapAxis.from_nodes([1, 2, 4], name="x", interp="lin"),
        ],
        unit="cm-2 s-1 TeV-1",
    )
    nd.data = np.random.default_rng(0).uniform(1e-12, 1e-11, nd.data.shape)
    ours = gm.models.TemplateNDSpectralModel(nd)
    phase = gm.models.TemplatePhaseCurveTemporalModel([0, 0.5, 1], [1.0, 2.0, 1.0])
    models = Models(
        [
            SkyModel(ours, name="a", temporal_model=gm.from_gammapy(_light_curve())),
            SkyModel(ours.copy(), name="b", temporal_model=phase),
        ]
    )
    twins = Models.from_dict(models.to_dict())
    for model, twin in zip(models, twins, strict=True):
        for part, other in zip(model.models.values(), twin.models.values(), strict=True):
            np.testing.assert_array_equal(_values(part), _values(other))
    assert isinstance(ours.map, RegionMap)
    assert ours.map.digest == gm.from_gammapy(nd).digest
    assert gm.from_gammapy(nd * 2).digest != ours.map.digest


def test_models_without_a_file_are_not_written(tmp_path: Any) -> None:
    models = Models([SkyModel(gm.PowerLawSpectralModel(), TemplateSpatialModel(_sky_map()))])
    with pytest.raises(ModelError, match="set filename"):
        models.write(tmp_path / "m.yaml")
    assert not list(tmp_path.iterdir())
    models[0].spatial_model.filename = "map.fits"
    models.write(tmp_path / "m.yaml")
    assert theirs.Models.read(tmp_path / "m.yaml")[0].spatial_model.map.data.shape == (4, 4)


def test_digest_of_a_map_is_that_of_its_content() -> None:
    first, same, other = (gm.from_gammapy(_sky_map(seed=seed)) for seed in (1, 1, 2))
    assert isinstance(first, SkyMap)
    assert first.digest == same.digest != other.digest
    assert repr(first) == "<SkyMap: 4 × 4 values, icrs>"


def test_what_cannot_be_converted_says_so() -> None:
    nearest = theirs.TemplateSpatialModel(_sky_map(), interp_kwargs={"method": "nearest"})
    with pytest.raises(ModelError, match="a: interp_kwargs has method='nearest'"):
        gm.from_gammapy(theirs.SkyModel(theirs.PowerLawSpectralModel(), nearest, name="a"))
    with pytest.raises(InputError, match="expected one of Gammapy's MapDataset"):
        gm.from_gammapy(3)

    class Mine(theirs.SpectralModel):
        tag = "Mine"
        index = theirs.PowerLawSpectralModel.index

    with pytest.raises(ModelError, match="unknown spectral model type 'Mine'"):
        gm.from_gammapy(Mine())


def test_a_template_with_a_file_is_read_from_it(tmp_path: Any) -> None:
    path = tmp_path / "map.fits"
    data = _sky_map()
    data.write(path)
    other = theirs.TemplateSpatialModel(Map.read(path), filename=str(path))
    ours = gm.from_gammapy(other)
    assert (ours.filename, ours.normalize) == (str(path), True)
    assert "map" not in ours.extra_to_dict()
    at = SkyCoord(83.5, 21.9, unit="deg")
    np.testing.assert_allclose(
        ours(at.ra, at.dec).value, other(at.ra, at.dec).to_value("sr-1"), rtol=1e-12
    )


def test_models_that_gammapy_cannot_write() -> None:
    energy = u.Quantity([0.5, 5], "TeV")
    for other in (
        theirs.create_crab_spectral_model("meyer"),
        theirs.ScaleSpectralModel(theirs.LogParabolaSpectralModel(beta=0.2), norm=3),
    ):
        expected = other(energy)
        found = gm.from_gammapy(other)(energy)
        np.testing.assert_allclose(found.to_value(expected.unit), expected.value, rtol=1e-12)
