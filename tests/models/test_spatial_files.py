"""Shapes, templates and norms in YAML: written by each program, read by the other."""

import pickle

import gammapy.modeling.models as theirs
import numpy as np
import pytest
import yaml
from astropy import units as u
from gammapy.maps import Map, MapAxis, MapCoord
from gammapy.modeling.models import Models as GammapyModels

import gmdask.models as ours
from gmdask.errors import ModelError
from gmdask.models import Models, SkyMap, read_sky_map

ENERGY = MapAxis.from_energy_bounds("0.5 TeV", "20 TeV", nbin=3, name="energy_true")
RECO = MapAxis.from_energy_bounds("1 TeV", "10 TeV", nbin=2)
HEAT = MapAxis.from_edges([1, 2, 4.0, 9], name="kt", unit="keV", interp="log")
POSITION = {"lon_0": "83.6 deg", "lat_0": "22 deg"}

ANALYTIC = {
    "GeneralizedGaussianSpatialModel": {"r_0": "0.3 deg", "eta": 0.4, "e": 0.3, "phi": "20 deg"},
    "DiskSpatialModel": {"r_0": "0.3 deg", "e": 0.3, "phi": "20 deg", "edge_width": 0.2},
    "ShellSpatialModel": {"radius": "0.3 deg", "width": "0.1 deg"},
    "Shell2SpatialModel": {"r_0": "0.3 deg", "eta": 0.3},
}


def write_map(path, axes=(), unit="sr-1", frame="galactic"):
    skydir = (184.5, -5.8) if frame == "galactic" else (83.6, 22.0)
    m = Map.create(skydir=skydir, npix=(9, 7), binsz=0.1, frame=frame, axes=axes, unit=unit)
    m.data = np.random.default_rng(1).uniform(0.5, 2, m.data.shape)
    m.write(path, overwrite=True)
    return m


def all_models(folder):
    """Models of Gammapy with every shape; their maps are written."""
    maps = {
        "image.fits": ((), "sr-1"), "cube.fits": ([ENERGY], "sr-1"), "nd.fits": ([HEAT], "sr-1"),
        "counts.fits": ([RECO], ""), "norm.fits": ((), ""),
    }  # fmt: skip
    for name, (axes, unit) in maps.items():
        write_map(folder / name, axes, unit, "icrs" if name == "nd.fits" else "galactic")
    shapes = {
        name: getattr(theirs, name)(**POSITION, **pars, frame="galactic")
        for name, pars in ANALYTIC.items()
    }
    shapes["constant"] = theirs.ConstantSpatialModel(value="2 sr-1")
    image, cube, nd = (str(folder / name) for name in ("image.fits", "cube.fits", "nd.fits"))
    shapes["image"] = theirs.TemplateSpatialModel.read(image, normalize=False)
    shapes["cube"] = theirs.TemplateSpatialModel.read(cube)
    shapes["cube"].lon_0.value += 0.02
    shapes["cube"].lon_0.frozen = False
    shapes["nd"] = theirs.TemplateNDSpatialModel(Map.read(nd), filename=nd)
    shapes["nd"].kt.value = 3.3
    models = [
        theirs.SkyModel(theirs.PowerLawSpectralModel(), shape, name=name)
        for name, shape in shapes.items()
    ]
    corners = MapCoord.create(([80.0, 86, 86, 80] * u.deg, [20.0, 20, 24, 24] * u.deg))
    norms = theirs.PiecewiseNormSpatialModel(corners, norms=[1, 1.2, 0.8, 1.1])
    counts = str(folder / "counts.fits")
    return [
        *models,
        theirs.TemplateNPredModel(
            Map.read(counts), name="counts", filename=counts, datasets_names=["a"]
        ),
        theirs.FoVBackgroundModel(dataset_name="a", spatial_model=norms),
        theirs.FoVBackgroundModel(
            dataset_name="b", spatial_model=shapes["DiskSpatialModel"].copy()
        ),
    ]


def same(mine, other):
    """Same parameters (those Gammapy lists), frames and options."""
    for model in mine:
        twin = other[model.name]
        assert type(model).__name__ in (type(twin).__name__, "BackgroundIRFModel")
        pairs = model.named_parameters()
        assert len(pairs) == len(twin.parameters)
        for (_, par), expected in zip(pairs, twin.parameters, strict=True):
            assert par.name == expected.name
            assert par.value == pytest.approx(expected.value, rel=1e-14)
            np.testing.assert_equal([par.min, par.max], [expected.min, expected.max])
            assert par.frozen == expected.frozen
            assert par.unit == expected.unit
        if model.spatial_model is not None:
            assert model.spatial_model.frame == twin.spatial_model.frame
            assert getattr(model.spatial_model, "normalize", None) == getattr(
                twin.spatial_model, "normalize", None
            )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("full_output", [True, False])
def test_both_ways(tmp_path, full_output):
    written = GammapyModels(all_models(tmp_path))
    written["constant"].spatial_model.value.value = 1.0  # Gammapy does not write it
    written.write(tmp_path / "theirs.yaml", full_output=full_output, write_covariance=False)
    mine = Models.read(tmp_path / "theirs.yaml")
    same(mine, written)
    mine.write(tmp_path / "mine.yaml", full_output=full_output)
    again = GammapyModels.read(tmp_path / "mine.yaml")
    same(mine, again)
    assert "link" not in (tmp_path / "mine.yaml").read_text()
    data = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    names = [
        item["filename"]
        for component in data["components"]
        for item in (component, component.get("spatial", {}))
        if "filename" in item
    ]
    assert names == ["image.fits", "cube.fits", "nd.fits", "counts.fits"]
    third = Models.read(tmp_path / "mine.yaml")
    assert third.to_dict(full_output=False) == mine.to_dict(full_output=False)
    at = np.array([184.4, 184.6]) * u.deg, np.array([-5.8, -5.7]) * u.deg
    for name in (*ANALYTIC, "image"):
        values = mine[name].spatial_model(*at)
        expected = again[name].spatial_model(*at)
        np.testing.assert_allclose(values.value, expected.to_value("sr-1"), rtol=1e-9)


def test_the_value_of_a_constant_is_kept(tmp_path):
    """Gammapy reads it, though it does not write it."""
    shape = ours.ConstantSpatialModel(value=3)
    Models([ours.SkyModel(ours.PowerLawSpectralModel(), shape, name="c")]).write(
        tmp_path / "a.yaml"
    )
    assert GammapyModels.read(tmp_path / "a.yaml")["c"].spatial_model.value.value == 3
    assert Models.read(tmp_path / "a.yaml")["c"].spatial_model.value.value == 3


def in_memory(tmp_path, filename):
    write_map(tmp_path / "source.fits")
    given = read_sky_map(tmp_path / "source.fits")
    sky_map = SkyMap(given.data, given.grid.header, given.axes, given.unit)
    shape = ours.TemplateSpatialModel(sky_map, filename=filename)
    return Models([ours.SkyModel(ours.PowerLawSpectralModel(), shape, name="source")])


def test_maps_are_written_if_missing(tmp_path):
    folder = tmp_path / "run"
    models = in_memory(tmp_path, "maps/new.fits")
    models.write(folder / "models.yaml")
    written = folder / "maps" / "new.fits"
    np.testing.assert_array_equal(
        read_sky_map(written).data, read_sky_map(tmp_path / "source.fits").data
    )
    stamp = written.stat().st_mtime_ns
    models.write(folder / "models.yaml", overwrite=True)
    assert written.stat().st_mtime_ns == stamp
    models.write(folder / "models.yaml", overwrite=True, overwrite_templates=True)
    assert written.stat().st_mtime_ns != stamp
    again = Models.read(folder / "models.yaml")
    assert again["source"].spatial_model.filename == str(written)
    again.write(folder / "again.yaml")
    assert "filename: maps/new.fits" in (folder / "again.yaml").read_text()
    again.write(tmp_path / "other" / "far.yaml")
    assert f"filename: {written}" in (tmp_path / "other" / "far.yaml").read_text()


def test_a_map_without_a_name_cannot_be_written(tmp_path):
    with pytest.raises(ModelError, match="TemplateSpatialModel: set filename to write its map"):
        in_memory(tmp_path, None).write(tmp_path / "models.yaml")
    assert not (tmp_path / "models.yaml").exists()


def test_plain_data_carry_what_workers_need(tmp_path):
    """The name of a file that exists, or the map itself."""
    models = in_memory(tmp_path, None)
    copied = Models.from_dict(models.to_dict())
    assert copied["source"].spatial_model._source is models["source"].spatial_model._source
    sent = Models.from_dict(pickle.loads(pickle.dumps(models.to_dict())))
    values = [m["source"].spatial_model(184.5 * u.deg, -5.8 * u.deg).value for m in (models, sent)]
    assert values[0] == values[1]
    read = ours.TemplateSpatialModel.read(tmp_path / "source.fits")
    data = read.extra_to_dict()
    assert "map" not in data
    assert data["filename"] == str(tmp_path / "source.fits")
    twin = ours.TemplateSpatialModel.read(tmp_path / "source.fits")
    assert twin.map is read.map  # made once


@pytest.mark.parametrize(
    ("spatial", "message"),
    [
        ({"type": "template"}, "TemplateSpatialModel: key 'filename' is missing"),
        ({"type": "template", "filename": "nowhere.fits"}, "map nowhere.fits does not exist"),
        ({"type": "template", "filename": "a", "size": 1}, "size: unknown key of Template"),
        ({"type": "piecewise-norm", "frame": "icrs"}, "lon: None, expected data and unit"),
        ({"type": "disk", "radius": 1}, "radius: unknown key of DiskSpatialModel"),
    ],
)
def test_errors_name_the_key(spatial, message):
    component = {"name": "a", "type": "SkyModel", "spectral": {"type": "pl"}, "spatial": spatial}
    with pytest.raises(Exception, match=message) as caught:
        Models.from_dict({"components": [component]})
    assert "component 'a'" in str(caught.value)


def test_norms_and_spectra_are_told_apart(tmp_path):
    """A template that is a spectrum takes a norm; a norm on the sky is no shape."""
    write_map(tmp_path / "diffuse.fits", [ENERGY], "cm-2 s-1 MeV-1 sr-1")
    shape = ours.TemplateSpatialModel.read(tmp_path / "diffuse.fits", normalize=False)
    assert shape.density_unit == "cm-2 s-1 TeV-1 sr-1"
    ours.SkyModel(ours.PowerLawNormSpectralModel(), shape)
    with pytest.raises(ModelError, match="expected a norm"):
        ours.SkyModel(ours.PowerLawSpectralModel(), shape)
    with pytest.raises(ModelError, match="expected a spectrum"):
        ours.SkyModel(ours.PowerLawNormSpectralModel(), ours.DiskSpatialModel())
    corners = [0.0, 1, 1, 0] * u.deg, [0.0, 0, 1, 1] * u.deg
    with pytest.raises(ModelError, match="expected a spatial model"):
        ours.SkyModel(ours.PowerLawSpectralModel(), ours.PiecewiseNormSpatialModel(*corners))
