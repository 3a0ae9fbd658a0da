"""What becomes of models when datasets are altered: of copies alone, the global ones stay."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.models import SkyMap, TemplateNPredModel
from gmdask.store.axes import cube_axis
from tests.datasets.synthetic import CENTER, with_models

pytestmark = pytest.mark.gammapy_response

AT = SkyCoord(*CENTER, unit="deg")
CIRCLE = CircleSkyRegion(AT, 0.35 * u.deg)

METHODS = {
    "copy": lambda d, o: d.copy("new"),
    "stack": lambda d, o: d.copy().stack(o),
    "to_masked": lambda d, o: d.to_masked(name="new"),
    "to_image": lambda d, o: d.to_image(name="new"),
    "resample": lambda d, o: d.downsample(2, "energy"),
    "downsample": lambda d, o: d.downsample(2),
    "pad": lambda d, o: d.pad(2),
    "cutout": lambda d, o: d.cutout(AT, 1.0),
    "slice_by_energy": lambda d, o: d.slice_by_energy("1.4 TeV"),
    "slice_by_idx": lambda d, o: d.slice_by_idx({"energy_true": slice(1, 5)}),
    "to_spectrum_dataset": lambda d, o: d.to_spectrum_dataset(CIRCLE),
    "to_region_map_dataset": lambda d, o: d.to_region_map_dataset(CIRCLE),
    "fake": lambda d, o: d.copy().fake(seed=1),
    "to_asimov": lambda d, o: d.to_asimov(),
    "residuals": lambda d, o: d.residuals(),
    "info_dict": lambda d, o: d.info_dict(),
    "npred_signal": lambda d, o: d.npred_signal(),
    "stat_array": lambda d, o: d.stat_array(),
    "to_xarray": lambda d, o: d.to_xarray(),
}


@pytest.fixture
def run(datasets):
    """A run with models whose norms are not 1, and those models."""
    models = with_models(datasets)
    models["run-0-bkg"].spectral_model.norm.value = 1.2
    models["run-0-bkg"].spectral_model.tilt.value = 0.3
    datasets.set_models_parameters(models.parameters)
    return datasets[0], models


def again(run, name="again", norm=0.7):
    """The same run under another name, with a background model of its own."""
    other = run.copy(name)
    models = list(other.models)
    for model in models:
        if isinstance(model, gm.BackgroundIRFModel):
            model.spectral_model.norm.value = norm
    other.set_models(models)
    return other


@pytest.mark.parametrize("method", METHODS)
def test_the_global_models_stay(run, method):
    dataset, models = run
    before, ids = models.to_dict(), [id(p) for p in models.parameters]
    own, stat = dataset.models.to_dict(), dataset.stat_sum()
    METHODS[method](dataset, again(dataset))
    assert models.to_dict() == before
    assert [id(p) for p in models.parameters] == ids
    assert dataset.models.to_dict() == own
    assert dataset.stat_sum() == stat


@pytest.mark.parametrize("method", ["copy", "to_masked", "to_image"])
def test_names_follow(run, method):
    new = METHODS[method](run[0], None)
    assert new.name == "new"
    assert new.models.names == ["source", "new-bkg"]
    assert new.models["new-bkg"].dataset_name == "new"


@pytest.mark.parametrize("method", ["to_spectrum_dataset", "to_region_map_dataset"])
def test_regions_have_no_models_but_of_a_fixed_background(run, method):
    dataset, _ = run
    new = METHODS[method](dataset, None)
    expected_names = ["run-0-bkg"] if method == "to_spectrum_dataset" else []
    assert new.models.names == [name.replace("run-0", new.name) for name in expected_names]
    window = dataset.to_xarray()
    mask = window["mask_safe"].values
    expected = np.where(mask, dataset.npred_background(), 0)
    inside = region_pixels(dataset)
    np.testing.assert_allclose(
        new.background.values[:, 0, 0], expected[:, inside].sum(axis=1), rtol=1e-12
    )


def test_the_background_of_a_spectrum_has_a_frozen_model(run):
    """By the name that background models have; what it predicts is what the map's predicted."""
    dataset, _ = run
    new = dataset.to_spectrum_dataset(CIRCLE, name="spectrum")
    model = new.models["spectrum-bkg"]
    assert isinstance(model, gm.BackgroundIRFModel)
    assert all(parameter.frozen for parameter in model.parameters)
    assert float(new.npred_background().sum()) == pytest.approx(float(new.background.sum()))
    cube = dataset.cube.drop_vars("background")
    assert not len(gm.MapDataset(cube).to_spectrum_dataset(CIRCLE).models)


def region_pixels(dataset) -> np.ndarray:
    wcs = dataset.to_xarray().gmdask.wcs
    y, x = np.indices(dataset.counts.shape[1:])
    return CIRCLE.contains(wcs.pixel_to_world(x, y), wcs)


@pytest.mark.parametrize("method", ["to_image", "resample", "downsample", "to_masked"])
def test_background_goes_on_to_be_predicted(run, method):
    """The sum of what is predicted is predicted of the sum, at the norms as they are."""
    dataset, _ = run
    new = METHODS[method](dataset, None)
    expected = np.where(dataset.mask_safe, dataset.npred_background(), 0.0)
    np.testing.assert_allclose(new.npred_background().sum(), expected.sum(), rtol=1e-12)
    model = next(m for m in new.models if isinstance(m, gm.BackgroundIRFModel))
    assert model.spectral_model.norm.value == 1.2
    assert model.spectral_model.tilt.value == 0.3


def test_background_without_tilt_is_the_plain_sum(run):
    """As in Gammapy, so that global models that are set again give the same."""
    dataset, models = run
    models["run-0-bkg"].spectral_model.tilt.value = 0.0
    dataset.set_models_parameters(models.parameters)
    expected = np.where(dataset.mask_safe, dataset.background, 0.0).sum(axis=0)
    np.testing.assert_allclose(dataset.to_image().background[0], expected, rtol=1e-6)


def test_stack_has_one_background_model(run):
    dataset, _ = run
    other = again(dataset)
    first, second = dataset.npred_background().values, other.npred_background().values
    stacked = dataset.copy().stack(other)
    assert stacked.models.names == ["source", "run-0-bkg"]
    expected = first + np.where(other.mask_safe, second, 0)
    np.testing.assert_allclose(stacked.npred_background(), expected, rtol=1e-12)


def test_norms_do_not_compound(run):
    """Where Gammapy multiplies the background again with each later norm (fault 5)."""
    dataset, _ = run
    other = again(dataset)
    stacked = dataset.copy().stack(other)
    before = stacked.npred_background().values
    for norm in (2.4, 1.2, 0.6):
        models = list(stacked.models)
        models[-1].spectral_model.norm.value = norm
        stacked.set_models(models)
        np.testing.assert_allclose(stacked.npred_background(), before * norm / 1.2, rtol=1e-12)


def test_stack_takes_a_background_model_over(run):
    dataset, _ = run
    bare = dataset.copy()
    bare.set_models(None)
    other = again(dataset)
    expected = bare.background.values + np.where(other.mask_safe, other.npred_background(), 0)
    stacked = bare.stack(other)
    assert stacked.models.names == ["source", "run-0-bkg"]
    np.testing.assert_allclose(stacked.npred_background(), expected, rtol=1e-6)


def template(dataset, name="cloud") -> TemplateNPredModel:
    axis = cube_axis(dataset.cube, "energy")
    data = np.random.default_rng(2).uniform(0, 3, dataset.counts.shape)
    model = TemplateNPredModel(SkyMap(data, dataset.cube.attrs["wcs"], (axis,)), name=name)
    model.spectral_model.tilt.value = 0.5
    return model


@pytest.mark.parametrize(
    "method", ["to_image", "resample", "slice_by_energy", "downsample", "cutout", "pad"]
)
def test_templates_follow(run, method):
    dataset = run[0].copy()
    dataset.set_models([template(dataset)])
    expected = METHODS[method](dataset.copy(), None)
    npred = dataset.npred_signal()
    if method == "slice_by_energy":
        npred = npred[1:] if expected.counts.shape[0] == 3 else npred[-expected.counts.shape[0] :]
    total = expected.npred_signal()
    if method == "cutout":
        assert 0 < total.sum() < npred.sum()
        return
    np.testing.assert_allclose(total.sum(), npred.sum(), rtol=1e-12)


def test_templates_of_a_stack_are_masked(run):
    dataset = run[0].copy()
    dataset.set_models([template(dataset)])
    other = dataset.copy("again")
    expected = dataset.npred_signal() * (1 + other.mask_safe.values)
    np.testing.assert_allclose(dataset.stack(other).npred_signal(), expected, rtol=1e-12)


def test_source_of_a_stack(run):
    """A stack of equal runs predicts, where both are safe, twice what one does."""
    dataset, _ = run
    one = dataset.npred_signal().values
    stacked = dataset.copy().stack(again(dataset))
    expected = one * (1 + dataset.mask_safe.any("energy").values)
    np.testing.assert_allclose(stacked.npred_signal(), expected, rtol=0, atol=1e-9 * one.max())
    assert one.sum() > 100
