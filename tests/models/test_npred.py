"""Templates of counts."""

import numpy as np
import pytest
from astropy import units as u
from gammapy.maps import Map, MapAxis, WcsGeom
from gammapy.modeling.models import GaussianSpatialModel as GammapyGaussian
from gammapy.modeling.models import PowerLawNormSpectralModel as GammapyNorm
from gammapy.modeling.models import TemplateNPredModel as GammapyTemplateNPred

from gmdask.errors import ModelError
from gmdask.models import (
    GaussianSpatialModel,
    Models,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    SkyMap,
    TemplateNPredModel,
    read_sky_map,
)

AXIS = MapAxis.from_energy_bounds("1 TeV", "10 TeV", nbin=3)
GEOM = WcsGeom.create(skydir=(83.6, 22.0), npix=(12, 9), binsz=0.1, axes=[AXIS])
SHAPE = {"lon_0": 83.5 * u.deg, "lat_0": 22.1 * u.deg, "sigma": 0.3 * u.deg, "frame": "icrs"}


@pytest.fixture
def path(tmp_path):
    data = np.random.default_rng(0).uniform(0, 3, GEOM.data_shape)
    Map.from_geom(GEOM, data=data, dtype=float).write(tmp_path / "counts.fits")
    return tmp_path / "counts.fits"


@pytest.mark.parametrize("spatial", [False, True])
def test_evaluate_equals_gammapy(path, spatial):
    rng = np.random.default_rng(3)
    for _ in range(20):
        pars = {"norm": rng.uniform(0.5, 2), "tilt": rng.uniform(-1, 1)}
        ours = TemplateNPredModel(
            filename=path, spectral_model=PowerLawNormSpectralModel(**pars),
            spatial_model=GaussianSpatialModel(**SHAPE) if spatial else None,
        )  # fmt: skip
        theirs = GammapyTemplateNPred(
            Map.read(path), GammapyNorm(**pars),
            spatial_model=GammapyGaussian(**SHAPE) if spatial else None,
        )  # fmt: skip
        expected = theirs.evaluate().data
        np.testing.assert_allclose(ours.evaluate().data, expected, rtol=1e-10)
        assert (
            ours.parameters.names
            == [f"{ours.name}.spectral.{name}" for name in ("tilt", "norm", "reference")]
            or [name.split(".")[-1] for name in ours.parameters.names] == theirs.parameters.names
        )


def test_defaults_copies_and_plain_data(path):
    model = TemplateNPredModel(filename=path, name="more", datasets_names="one")
    assert model.spectral_model.tilt.frozen
    assert model.datasets_names == ["one"]
    other = model.copy(name="less")
    other.spectral_model.norm.value = 3.0
    assert model.spectral_model.norm.value == 1.0
    assert other.map is model.map
    models = Models([model, other])
    again = Models.from_dict(models.to_dict())
    assert again.to_dict() == models.to_dict()
    assert again["less"].map is read_sky_map(path)
    assert again.for_dataset("two").names == []
    shaped = TemplateNPredModel(
        filename=path, name="s", spatial_model=GaussianSpatialModel(**SHAPE)
    )
    copied = shaped.copy()
    copied.spatial_model.sigma.value = 9.0
    assert shaped.spatial_model.sigma.value == 0.3
    assert not any(".spatial." in name for name, _ in shaped.named_parameters())


def test_maps_in_memory(path, tmp_path):
    given = read_sky_map(path)
    model = TemplateNPredModel(given, name="more")
    assert Models.from_dict(Models([model]).to_dict())["more"].map is given
    with pytest.raises(ModelError, match="no file name"):
        model.write_map()
    model.write_map(tmp_path / "new.fits")
    np.testing.assert_array_equal(Map.read(tmp_path / "new.fits").data, given.data)
    assert Map.read(tmp_path / "new.fits").geom == GEOM


def test_parameters_of_older_files_are_passed_over_with_a_word(path, caplog):
    """Gammapy reads such files, and takes no notice of these parameters."""
    data = {
        "name": "template", "type": "TemplateNPredModel", "filename": str(path),
        "parameters": [{"name": "norm", "value": 3.0}],
    }  # fmt: skip
    theirs = GammapyTemplateNPred.from_dict(data)
    ours = TemplateNPredModel.from_dict(data)
    np.testing.assert_allclose(ours.evaluate().data, theirs.evaluate().data, rtol=1e-12)
    assert "template: key 'parameters' is ignored" in caplog.text


@pytest.mark.parametrize("bad", ["NaN", "unit"])
def test_maps_that_are_no_counts_are_refused(bad, path):
    sky_map = read_sky_map(path)
    data = sky_map.data.copy()
    if bad == "NaN":
        data[0, 1, 2] = np.nan
    unit = "cm2 s" if bad == "unit" else ""
    with pytest.raises(ModelError, match="expected counts" if bad == "unit" else "NaN or infinite"):
        TemplateNPredModel(SkyMap(data, sky_map.grid.header, sky_map.axes, unit))


def test_refused(path, tmp_path):
    with pytest.raises(ModelError, match="expected a SkyMap or a filename"):
        TemplateNPredModel()
    with pytest.raises(ModelError, match="expected a norm model"):
        TemplateNPredModel(filename=path, spectral_model=PowerLawSpectralModel())
    with pytest.raises(ModelError, match="expected a norm on the sky"):
        TemplateNPredModel(filename=path, spatial_model=3)
    Map.from_geom(GEOM.to_image()).write(tmp_path / "image.fits")
    with pytest.raises(ModelError, match="expected energy with edges"):
        TemplateNPredModel(filename=tmp_path / "image.fits")
