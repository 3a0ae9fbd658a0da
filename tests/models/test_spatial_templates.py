"""Templates and the piecewise norm: against Gammapy, the formula in mpmath, and differences."""

import logging

import mpmath as mp
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from gammapy.maps import Map, MapAxis, MapCoord, WcsGeom
from gammapy.modeling.models import PiecewiseNormSpatialModel as GammapyPiecewise
from gammapy.modeling.models import TemplateNDSpatialModel as GammapyTemplateND
from gammapy.modeling.models import TemplateSpatialModel as GammapyTemplate

from gmdask.errors import InputError, InputNotFoundError, ModelError
from gmdask.geometry import Axis
from gmdask.models import (
    Models,
    PiecewiseNormSpatialModel,
    SkyGrid,
    SkyMap,
    SpatialModel,
    TemplateNDSpatialModel,
    TemplateSpatialModel,
    read_sky_map,
)

N_SETS = 200
ENERGY = MapAxis.from_energy_bounds("0.5 TeV", "20 TeV", nbin=3, name="energy_true")
NODES = MapAxis.from_nodes([1, 3, 9.0], unit="TeV", name="energy_true", interp="log")
WIDTH = MapAxis.from_nodes([1, 2, 4.0], name="width", unit="deg", interp="lin")
HEAT = MapAxis.from_edges([1, 2, 4.0, 9], name="kt", unit="keV", interp="log")
CENTRES = {"icrs": (83.6, 22.0), "galactic": (184.5, -5.8), "fk5": (83.6, 22.0)}


def random_map(rng, frame="icrs", axes=(), unit="sr-1", dtype=float, npix=(20, 16)):
    geom = WcsGeom.create(
        skydir=CENTRES[frame], npix=npix, binsz=0.1, axes=list(axes), proj="TAN",
        frame="icrs" if frame == "fk5" else frame,
    )  # fmt: skip
    if frame == "fk5":
        geom.wcs.wcs.radesys, geom.wcs.wcs.equinox = "FK5", 2000.0
        geom = WcsGeom(geom.wcs, geom.npix, axes=list(axes))
    result = Map.from_geom(geom, unit=unit, dtype=dtype)
    result.data[:] = rng.uniform(0.1, 2, result.data.shape)
    return result


def positions(rng, centre, count=12):
    return (centre[k] + rng.uniform(-1.3, 1.3, count) for k in (0, 1))


@pytest.fixture
def written(tmp_path):
    def write(template, name="map.fits"):
        template.write(tmp_path / name, overwrite=True)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("frame", CENTRES)
@pytest.mark.parametrize("axes", [(), (ENERGY,), (NODES,)])
@pytest.mark.parametrize("normalize", [True, False])
def test_template_equals_gammapy(written, frame, axes, normalize):
    rng = np.random.default_rng(5)
    template = random_map(rng, frame, axes)
    template.data.ravel()[:30] = 0.0
    path = written(template)
    theirs = GammapyTemplate.read(path, normalize=normalize)
    ours = TemplateSpatialModel.read(path, normalize=normalize)
    assert ours.frame == theirs.frame
    assert ours.position.separation(theirs.position) < 1e-10 * u.deg
    assert ours.evaluation_radius(np.zeros(2)) == theirs.evaluation_radius.to_value("deg")
    assert ours.evaluation_bin_size_min(np.zeros(2)) is theirs.evaluation_bin_size_min is None
    assert ours.parameters.frozen.all()
    energy = np.array([0.3, 0.6, 1.0, 5.0, 15.0, 30.0]) * u.TeV
    largest = ours.map.data.max()
    for _ in range(N_SETS // 20):
        for model in (ours, theirs):
            model.lon_0.value = CENTRES[frame][0] + 0.1
            model.lat_0.value = CENTRES[frame][1] - 0.05
        lon, lat = (x * u.deg for x in positions(rng, CENTRES[frame]))
        if axes:
            values, expected = ours(lon, lat, energy), theirs(lon, lat, energy[:, None])
        else:
            values, expected = ours(lon, lat), theirs(lon, lat)
        assert values.unit == expected.unit == u.Unit("sr-1")
        np.testing.assert_allclose(values.value, expected.value, rtol=0, atol=1e-12 * largest)


def test_template_is_the_formula():
    """Bilinear in the logarithm, in mpmath, from astropy's pixels."""
    rng = np.random.default_rng(6)
    template = random_map(rng)
    model = TemplateSpatialModel(ours_of(template), normalize=False)
    for _ in range(N_SETS):
        lon, lat = CENTRES["icrs"][0] + rng.uniform(-0.8, 0.8), 22 + rng.uniform(-0.6, 0.6)
        x, y = (float(v) for v in template.geom.wcs.wcs_world2pix(lon, lat, 0))
        i, j = int(np.floor(y)), int(np.floor(x))
        total = mp.mpf(0)
        for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (1 - abs(mp.mpf(y) - i - di)) * (1 - abs(mp.mpf(x) - j - dj))
            total += weight * mp.log(mp.mpf(float(template.data[i + di, j + dj])))
        value = model.evaluate(SkyGrid([lon], [lat]), *CENTRES["icrs"])
        # the centre of the map is its own rounding away from the numbers given
        assert value[0] == pytest.approx(float(mp.exp(total)), rel=1e-11)


def ours_of(template):
    """Map of Gammapy as one of ours, without a file."""
    cards = dict(template.geom.to_image().wcs.to_header())
    cards.setdefault("CRPIX1", 0.0)
    axes = [
        Axis(
            a.name,
            a.edges.value if a.node_type == "edges" else a.center.value,
            a.interp,
            a.node_type,
            str(a.unit),
        )
        for a in template.geom.axes
    ]
    return SkyMap(template.data, cards, axes, str(template.unit))


@pytest.mark.parametrize("axes", [(WIDTH, HEAT), (WIDTH,), (ENERGY, HEAT), (HEAT, ENERGY, WIDTH)])
def test_template_nd_equals_gammapy(written, axes):
    rng = np.random.default_rng(7)
    path = written(random_map(rng, axes=axes, npix=(12, 9)))
    theirs = GammapyTemplateND(Map.read(path), filename=path)
    ours = TemplateNDSpatialModel.read(path)
    assert list(ours.parameter_names) == theirs.parameters.names
    for name, par in ours.named_parameters():
        other = theirs.parameters[name]
        np.testing.assert_allclose(
            [par.value, par.min, par.max], [other.value, other.min, other.max]
        )
        assert par.unit == other.unit
    assert ours.evaluation_radius(ours.internal_values) is theirs.evaluation_radius is None
    assert ours.position is None
    energy = np.array([0.6, 1.0, 5.0, 30.0]) * u.TeV
    for _ in range(N_SETS // 4):
        for par in theirs.parameters:
            par.value = rng.uniform(par.min, par.max)
            ours.parameter(par.name).value = par.value
        lon, lat = (x * u.deg for x in positions(rng, CENTRES["icrs"]))
        if ours.is_energy_dependent:
            values, expected = ours(lon, lat, energy), theirs(lon, lat, energy[:, None])
        else:
            values, expected = ours(lon, lat), theirs(lon, lat)
        np.testing.assert_allclose(values.value, expected.value, rtol=0, atol=1e-12 * 2)
        grid = SkyGrid(lon.value, lat.value, energy.value)
        s, ds = ours.gradient(grid, *ours.internal_values)
        np.testing.assert_array_equal(s, ours.evaluate(grid, *ours.internal_values))
        truth = differences(ours, grid, ours.internal_values, 1e-5)
        np.testing.assert_allclose(ds, truth, rtol=0, atol=1e-6 * max(np.abs(truth).max(), 1e-3))


def differences(model, grid, values, step):
    rows = []
    for k in range(len(values)):
        low, high = (
            model.evaluate(grid, *(values + sign * step * np.eye(len(values))[k]))
            for sign in (-1, 1)
        )
        rows.append((high - low) / (2 * step))
    return np.array(rows)


@pytest.mark.parametrize("frame", ["icrs", "galactic"])
@pytest.mark.parametrize("axes", [(), (ENERGY,)])
def test_gradient_of_a_template(frame, axes):
    """Exact between pixels; a step of 1e-7 deg crosses none of their borders here."""
    rng = np.random.default_rng(8)
    model = TemplateSpatialModel(ours_of(random_map(rng, frame, axes)))
    lon, lat = (CENTRES[frame][k] + rng.uniform(-0.5, 0.5, 50) for k in (0, 1))
    grid = SkyGrid(lon, lat, [1.0, 5.0])
    values = model.internal_values + np.array([0.03, -0.02])
    s, ds = model.gradient(grid, *values)
    np.testing.assert_array_equal(s, model.evaluate(grid, *values))
    truth = differences(model, grid, values, 1e-7)
    np.testing.assert_allclose(ds, truth, rtol=0, atol=1e-6 * np.abs(truth).max())


def test_normalisation_and_clipping():
    geom = WcsGeom.create(npix=(20, 10), binsz=0.5)
    flat = Map.from_geom(geom, unit="sr-1")
    flat.data += 1.0
    model = TemplateSpatialModel(ours_of(flat))
    coarse = WcsGeom.create(npix=(10, 5), binsz=1.0)
    coords = coarse.get_coord()
    values = model(coords.lon, coords.lat) * coarse.solid_angle()
    assert values.sum().to_value("") == pytest.approx(1, rel=1e-4)
    flat.data *= -1
    clipped = TemplateSpatialModel(ours_of(flat), normalize=False)
    np.testing.assert_array_equal(clipped.evaluate(SkyGrid([0, 0.2], [0, 0.2]), 0.0, 0.0), 0)


def test_warnings(caplog):
    empty = Map.create(width=(1, 1), binsz=0.5)
    with caplog.at_level(logging.WARNING):
        model = TemplateSpatialModel(ours_of(empty))
        assert np.isfinite(model.map.data).all()
        TemplateSpatialModel(ours_of(empty), normalize=False)
        planes = Map.create(width=(1, 1), binsz=0.5, axes=[ENERGY])
        planes.data[0] = 1
        planes.data[0, 0, 0] = np.nan
        planes.data[0, 0, 1] = -1
        TemplateSpatialModel(ours_of(planes), normalize=False)
    text = caplog.text
    for message in (
        "Map values are all zeros. Check",
        "all zeros in at least one energy bin",
        "Map has NaN values",
        "Map has negative values",
        "Missing spatial template unit, assuming sr^-1",
    ):
        assert message in text


def test_refused(tmp_path, written):
    rng = np.random.default_rng(1)
    sky_map = ours_of(random_map(rng))
    with pytest.raises(ModelError, match="expected a SkyMap or a filename"):
        TemplateSpatialModel()
    with pytest.raises(InputNotFoundError, match="does not exist"):
        TemplateSpatialModel.read(tmp_path / "nowhere.fits")
    (tmp_path / "text.fits").write_text("no FITS")
    with pytest.raises(ModelError, match="not a FITS file"):
        read_sky_map(tmp_path / "text.fits")
    with pytest.raises(ModelError, match="expected sr-1 or"):
        TemplateSpatialModel(ours_of(random_map(rng, unit="cm2")), normalize=False)
    with pytest.raises(ModelError, match="expected energy_true"):
        TemplateSpatialModel(ours_of(random_map(rng, axes=(WIDTH,))))
    reco = MapAxis.from_energy_bounds("1 TeV", "2 TeV", nbin=2)
    with pytest.raises(ModelError, match="expected 'energy_true'"):
        TemplateNDSpatialModel(ours_of(random_map(rng, axes=(reco,))))
    with pytest.raises(InputError, match="depends on energy"):
        TemplateSpatialModel(ours_of(random_map(rng, axes=(ENERGY,))))(1 * u.deg, 1 * u.deg)
    with pytest.raises(ModelError, match="from its axes"):
        SkyMap(sky_map.data[0], sky_map.grid.header)
    with pytest.raises(ModelError, match="has no file name"):
        TemplateSpatialModel(sky_map).write_map()


def test_files_keep_the_map(tmp_path):
    """Read back by both programs: pixels, axes and values."""
    rng = np.random.default_rng(2)
    reco = MapAxis.from_energy_bounds("1 TeV", "20 TeV", nbin=4)
    for k, axes in enumerate([(), (ENERGY,), (NODES,), (HEAT, WIDTH), (reco,), (ENERGY, HEAT)]):
        for frame in CENTRES:
            template = random_map(rng, frame, axes)
            path = tmp_path / f"{k}{frame}.fits"
            ours_of(template).write(path)
            theirs, ours = Map.read(path), read_sky_map(path)
            assert theirs.geom == template.geom
            np.testing.assert_array_equal(theirs.data, template.data)
            np.testing.assert_array_equal(ours.data, template.data)
            assert ours.axis_names == tuple(axis.name for axis in axes)
            assert read_sky_map(path) is ours
            ours_of(template).write(path)  # is there already


@pytest.mark.parametrize("bands", [False, True])
def test_a_fermi_template(bands, tmp_path, monkeypatch):
    """Energies in a table ENERGIES, no unit in the header; or as in Gammapy's copy of the diffuse emission."""
    rng = np.random.default_rng(3)
    axis = MapAxis.from_nodes(
        np.geomspace(1e3, 1e6, 5), name="energy_true", unit="MeV", interp="log"
    )
    template = random_map(rng, "galactic", (axis,), "")
    image = fits.PrimaryHDU(template.data, template.geom.to_image().wcs.to_header())
    name = "ENERGY" if bands else "Energy"
    columns = [fits.Column(name, "D", unit="MeV", array=axis.center.value)]
    if bands:
        columns.insert(0, fits.Column("CHANNEL", "I", array=np.arange(5)))
    table = fits.BinTableHDU.from_columns(columns, name="ENERGIES")
    if bands:
        for header in (image.header, table.header):
            header["AXCOLS1"], header["INTERP1"] = "ENERGY", "log"
        image.header["BANDSHDU"] = "ENERGIES"
        image.header["BUNIT"] = "1 / (cm2 s MeV sr)"
    path = tmp_path / "fermi.fits"
    fits.HDUList([image, table]).writeto(path)
    theirs = GammapyTemplate.read(path, normalize=False)
    ours = TemplateSpatialModel.read(path, normalize=False)
    lon, lat = (x * u.deg for x in positions(rng, CENTRES["galactic"]))
    energy = np.array([2.0, 30, 500]) * u.GeV
    expected = theirs(lon, lat, energy[:, None])
    assert expected.unit == u.Unit("cm-2 s-1 MeV-1 sr-1")
    values = ours(lon, lat, energy)
    np.testing.assert_allclose(values.to_value(expected.unit), expected.value, atol=1e-12 * 2)
    monkeypatch.setenv("GMDASK_TEST_DATA", str(tmp_path))
    (tmp_path / "models.yaml").write_text(
        "components:\n- name: diffuse\n  type: SkyModel\n"
        "  spectral: {type: PowerLawNormSpectralModel, parameters: [{name: norm, value: 1.0}]}\n"
        "  spatial: {type: TemplateSpatialModel, filename: $GMDASK_TEST_DATA/fermi.fits, normalize: false}\n"
    )
    (model,) = Models.read(tmp_path / "models.yaml")
    assert isinstance(model.spatial_model, TemplateSpatialModel)
    assert model.spatial_model.map is ours.map


# --- piecewise norm ------------------------------------------------------------------------------


def nodes(rng, lon=83.6, lat=22.0):
    return lon + rng.uniform(-3, 3, 12), lat + rng.uniform(-2, 2, 12)


@pytest.mark.parametrize("interp", ["lin", "log"])
@pytest.mark.parametrize("centre", [(83.6, 22.0), (0.3, -10.0)])
def test_piecewise_equals_gammapy(interp, centre):
    """To 1e-6, where Gammapy stops its iteration of the slopes; ours is linear in the norms."""
    rng = np.random.default_rng(9)
    lon, lat = nodes(rng, *centre)
    at_lon, at_lat = centre[0] + rng.uniform(-3, 3, 60), centre[1] + rng.uniform(-2, 2, 60)
    grid = SkyGrid(at_lon % 360, at_lat)
    for _ in range(N_SETS // 4):
        norms = rng.uniform(0.3, 2, 12)
        coords = MapCoord.create((lon % 360 * u.deg, lat * u.deg))
        theirs = GammapyPiecewise(coords, norms=norms, interp=interp)
        ours = PiecewiseNormSpatialModel(lon % 360 * u.deg, lat * u.deg, norms, interp=interp)
        values = ours(grid.lon * u.deg, grid.lat * u.deg)
        expected = theirs(grid.lon * u.deg, grid.lat * u.deg)
        assert values.unit == ""
        np.testing.assert_allclose(values.value, expected.value, rtol=0, atol=1e-6)
        s, ds = ours.gradient(grid, *norms)
        truth = SpatialModel.gradient(ours, grid, *norms)[1]
        np.testing.assert_allclose(ds, truth, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(s, ours.evaluate(grid, *norms))


def test_piecewise_at_nodes_and_of_planes():
    """Exact at nodes, and wherever the norms lie on a plane."""
    rng = np.random.default_rng(10)
    for _ in range(N_SETS // 4):
        lon, lat = nodes(rng)
        norms = rng.uniform(0.3, 2, 12)
        model = PiecewiseNormSpatialModel(lon * u.deg, lat * u.deg, norms)
        inside = SkyGrid(lon, lat)
        np.testing.assert_allclose(model.evaluate(inside, *norms), norms, rtol=1e-12)
        plane = 1 + 0.2 * (lon - 83.6) - 0.1 * (lat - 22)
        at = SkyGrid(83.6 + rng.uniform(-1, 1, 9), 22 + rng.uniform(-1, 1, 9))
        expected = 1 + 0.2 * (at.lon - 83.6) - 0.1 * (at.lat - 22)
        values = model.evaluate(at, *plane)
        there = np.isfinite(values)
        np.testing.assert_allclose(values[there], expected[there], rtol=1e-11)


def test_piecewise_reference_values():
    geom = WcsGeom.create(skydir=(0, 0), npix=(2, 2), binsz=0.3, frame="galactic")
    corners = geom.footprint
    lon, lat = corners.l, corners.b
    model = PiecewiseNormSpatialModel(lon, lat, np.arange(4.0), frame="galactic")
    values = model(*geom.to_image().get_coord())
    np.testing.assert_allclose(values.value, [[0, 3], [1, 2]], atol=1e-5)
    again = PiecewiseNormSpatialModel(lon, lat, frame="galactic")
    np.testing.assert_allclose(again(*geom.to_image().center_coord).value, 1.0)
    assert again.parameters.names == ["norm_0", "norm_1", "norm_2", "norm_3"]


def test_piecewise_refused():
    square = [0.0, 1, 1, 0] * u.deg, [0.0, 0, 1, 1] * u.deg
    with pytest.raises(ModelError, match="expected 4 or more pairs"):
        PiecewiseNormSpatialModel(square[0][:3], square[1][:3])
    with pytest.raises(ModelError, match="norms: 3 for 4 nodes"):
        PiecewiseNormSpatialModel(*square, [1, 2, 3])
    with pytest.raises(ModelError, match="interp: 'cubic'"):
        PiecewiseNormSpatialModel(*square, interp="cubic")
