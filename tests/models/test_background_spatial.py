"""Background models with a norm on the sky, and what they do to a map."""

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from gammapy.maps import MapAxis, WcsGeom
from gammapy.modeling.models import DiskSpatialModel as GammapyDisk
from gammapy.modeling.models import FoVBackgroundModel
from gammapy.modeling.models import PowerLawNormSpectralModel as GammapyNorm

from gmdask.errors import ModelError
from gmdask.models import (
    BackgroundIRFModel,
    DiskSpatialModel,
    Models,
    PiecewiseNormSpatialModel,
    PowerLawNormSpectralModel,
)

AXIS = MapAxis.from_energy_bounds("1 TeV", "10 TeV", nbin=3)
GEOM = WcsGeom.create(skydir=(83.6, 22.0), npix=(12, 9), binsz=0.1, axes=[AXIS])
DISK = {"lon_0": 83.5 * u.deg, "lat_0": 22.1 * u.deg, "r_0": 0.5 * u.deg, "edge_width": 0.3}
NORM = {"norm": 1.3, "tilt": 0.2}


def model(**keywords):
    spectral = PowerLawNormSpectralModel(**NORM)
    return BackgroundIRFModel(spectral, "one", spatial_model=DiskSpatialModel(**DISK), **keywords)


def background(wcs=True):
    attrs = {"wcs": dict(GEOM.to_image().wcs.to_header())} if wcs else {}
    energy = xr.Variable(("energy",), AXIS.center.to_value("GeV"), {"unit": "GeV"})
    data = np.random.default_rng(0).uniform(1, 2, GEOM.data_shape)
    return xr.DataArray(data, dims=("energy", "lat", "lon"), coords={"energy": energy}, attrs=attrs)


def test_evaluate_on_a_map_equals_gammapy():
    theirs = FoVBackgroundModel("one", GammapyNorm(**NORM), GammapyDisk(**DISK))
    given = background()
    result = model().evaluate(map=given)
    expected = given.values * theirs.evaluate_geom(GEOM).value
    np.testing.assert_allclose(result.values, expected, rtol=0, atol=1e-10 * expected.max())
    assert result.dims == given.dims


def test_evaluate_on_a_region_and_without_a_shape():
    region = background()[:, 0, 0]
    expected = region.values * 1.3 * AXIS.center.value**-0.2
    np.testing.assert_allclose(model().evaluate(map=region).values, expected, rtol=1e-12)
    flat = BackgroundIRFModel(PowerLawNormSpectralModel(**NORM), "one")
    given = background(wcs=False)
    expected = given.values * (1.3 * AXIS.center.value**-0.2)[:, None, None]
    np.testing.assert_allclose(flat.evaluate(map=given).values, expected, rtol=1e-12)
    assert flat.evaluate(1 * u.TeV).value == pytest.approx(1.3)
    with pytest.raises(ModelError, match="WCS cards of the map"):
        model().evaluate(map=given)


def test_evaluate_at_positions():
    own = model()
    value = own.evaluate(2 * u.TeV, 83.5 * u.deg, 22.1 * u.deg)
    disk = own.spatial_model(83.5 * u.deg, 22.1 * u.deg).value
    assert value.to_value("") == pytest.approx(1.3 * 2**-0.2 * disk)
    with pytest.raises(ModelError, match="lon and lat are required"):
        own.evaluate(2 * u.TeV)


def test_parameters_copies_and_plain_data():
    own = model()
    assert own.parameters.names[-1].endswith("one-bkg.spatial.edge_width")
    copied = own.copy(dataset_name="two")
    copied.spatial_model.r_0.value = 3.0
    assert own.spatial_model.r_0.value == 0.5
    assert copied.name == "two-bkg"
    corners = [0.0, 1, 1, 0] * u.deg, [0.0, 0, 1, 1] * u.deg
    norms = BackgroundIRFModel(None, "three", spatial_model=PiecewiseNormSpatialModel(*corners))
    norms.spatial_model.norm_2.value = 1.5
    models = Models([own, copied, norms])
    own.spatial_model.r_0 = copied.spatial_model.r_0
    again = Models.from_dict(models.to_dict())
    assert again.to_dict() == models.to_dict()
    assert again["one-bkg"].spatial_model.r_0 is again["two-bkg"].spatial_model.r_0
    assert again["three-bkg"].spatial_model.norm_2.value == 1.5
    own.freeze("spatial")
    assert own.spatial_model.frozen
    assert not own.spectral_model.frozen
    with pytest.raises(ModelError, match="expected a norm on the sky"):
        BackgroundIRFModel(None, "one", spatial_model=PowerLawNormSpectralModel())
