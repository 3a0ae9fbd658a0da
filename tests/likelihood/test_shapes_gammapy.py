"""Predicted counts of every shape, template and norm: against Gammapy, to 1e-6 of the maximum."""

import astropy.units as u
import gammapy.modeling.models as theirs
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from gammapy.data import GTI
from gammapy.maps import Map, MapAxis, MapCoord, RegionGeom, WcsGeom
from gammapy.modeling import Parameter
from regions import CircleSkyRegion

import gmdask.models as ours
from gmdask.errors import ModelError
from gmdask.geometry import WcsGrid, Window
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.pixel_integral import PixelIntegral
from gmdask.models import DatasetModels, Models
from tests.likelihood.gammapy_cubes import (
    GEOM,
    LAT,
    LON,
    as_cube,
    gammapy_npred,
    make_dataset,
    our_npred,
    to_ours,
)
from tests.likelihood.gammapy_response import CompiledDataset

TOLERANCE = 1e-6
POSITION = {"lon_0": 83.6 * u.deg, "lat_0": 22.1 * u.deg}
ENERGY = MapAxis.from_energy_bounds("0.5 TeV", "40 TeV", nbin=3, name="energy_true")
WIDTH = MapAxis.from_nodes([1, 2, 4.0], name="width", unit="deg", interp="lin")


def template(path, frame="icrs", axes=(), unit="sr-1", size=0.9, scale=1.0):
    """File of a random map around the centre of the field."""
    rng = np.random.default_rng(4)
    skydir = (83.55, 22.05) if frame == "icrs" else (184.5, -5.8)
    m = Map.create(
        skydir=skydir, width=(size, 0.8 * size), binsz=0.06, frame=frame, axes=list(axes), unit=unit
    )
    m.data = scale * rng.uniform(0.2, 2, m.data.shape)
    m.write(path, overwrite=True)
    return str(path)


def read_template(path, **keywords):
    return theirs.TemplateSpatialModel.read(template(path, **keywords))


def read_template_nd(path, **keywords):
    filename = template(path, **keywords)
    return theirs.TemplateNDSpatialModel(Map.read(filename), filename=filename)


SHAPES = {
    "elongated Gaussian": lambda _: theirs.GaussianSpatialModel(
        sigma="0.2 deg", e=0.6, phi="30 deg", **POSITION
    ),
    "generalized": lambda _: theirs.GeneralizedGaussianSpatialModel(
        r_0="0.15 deg", eta=0.4, e=0.5, phi="-40 deg", **POSITION
    ),
    "narrow generalized": lambda _: theirs.GeneralizedGaussianSpatialModel(
        r_0="0.01 deg", eta=0.9, **POSITION
    ),
    "disk": lambda _: theirs.DiskSpatialModel(
        r_0="0.3 deg", e=0.7, phi="70 deg", edge_width=0.1, **POSITION
    ),
    "small disk": lambda _: theirs.DiskSpatialModel(r_0="0.03 deg", **POSITION),
    "shell": lambda _: theirs.ShellSpatialModel(radius="0.2 deg", width="0.1 deg", **POSITION),
    "shell2": lambda _: theirs.Shell2SpatialModel(r_0="0.3 deg", eta=0.2, **POSITION),
    "constant": lambda _: theirs.ConstantSpatialModel(value="1 sr-1"),
    "template": lambda folder: read_template(folder / "a.fits"),
    "galactic template": lambda folder: read_template(folder / "a.fits", frame="galactic"),
    "template of energies": lambda folder: read_template(folder / "a.fits", axes=[ENERGY]),
    "template N-D": lambda folder: read_template_nd(folder / "a.fits", axes=[WIDTH]),
    "template N-D of energies": lambda folder: read_template_nd(
        folder / "a.fits", axes=[ENERGY, WIDTH]
    ),
}
# densities around 1 sr-1, where others are normalised
FLAT = ("constant", "template N-D", "template N-D of energies")


@pytest.fixture(scope="module", params=["true", "reco", None])
def dataset(request, tmp_path_factory):
    """Dataset of Gammapy, and its cube."""
    made = make_dataset(request.param, "migra" if request.param else "kernel")
    return made, as_cube(made, tmp_path_factory.mktemp("dataset"))


def check(dataset, models, folder, own=None):
    made, cube = dataset
    npred = our_npred(cube, to_ours(models, folder) if own is None else own)
    expected = gammapy_npred(made, models)
    assert np.abs(npred - expected).max() < TOLERANCE * expected.max()
    change = np.abs(expected - made.background.data).max()
    assert change > 0.1 * expected.max(), "too faint to test anything"
    return npred


def source(shape, amplitude="1e-11 cm-2 s-1 TeV-1", **keywords):
    spectral = theirs.PowerLawSpectralModel(amplitude=amplitude, index=2.2)
    return theirs.SkyModel(spectral, shape, name="source", **keywords)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(dataset, name, tmp_path):
    shape = SHAPES[name](tmp_path)
    amplitude = "3e-8 cm-2 s-1 TeV-1" if name in FLAT else "1e-11 cm-2 s-1 TeV-1"
    check(dataset, [source(shape, amplitude)], tmp_path)


def test_no_shape_and_constant_flux(dataset, tmp_path):
    """The same flux in every pixel: through the PSF with a shape, without it with none."""
    check(dataset, [source(None, "1e-13 cm-2 s-1 TeV-1")], tmp_path)
    spectral = ours.PowerLawSpectralModel(amplitude="1e-13 cm-2 s-1 TeV-1", index=2.2)
    flat = source(theirs.ConstantFluxSpatialModel(), "1e-13 cm-2 s-1 TeV-1")
    own = ours.SkyModel(spectral, ours.ConstantFluxSpatialModel(), name="source")
    check(dataset, [flat], tmp_path, Models([own]))


@pytest.mark.parametrize("name", ["constant", "elongated Gaussian"])
def test_irfs_that_do_not_apply(dataset, name, tmp_path):
    """Without the exposure, counts are the numbers of the flux."""
    irfs = {"exposure": False, "psf": False, "edisp": name == "constant"}
    spectral = theirs.PowerLawSpectralModel(index=2.2)
    value = 1e6 if name == "constant" else 1e2
    spectral.amplitude = Parameter("amplitude", value, unit="TeV-1")
    shape = SHAPES[name](tmp_path)
    check(dataset, [theirs.SkyModel(spectral, shape, name="source", apply_irf=irfs)], tmp_path)


def test_diffuse_emission(dataset, tmp_path):
    """A template that is a spectrum per sr, times a norm."""
    nodes = np.geomspace(3e5, 6e7, 7)
    axis = MapAxis.from_nodes(nodes, name="energy_true", unit="MeV", interp="log")
    path = template(
        tmp_path / "diffuse.fits", "galactic", [axis], "cm-2 s-1 MeV-1 sr-1", 3,
        3e-14 * (nodes[:, None, None] / 1e6) ** -2.5,
    )  # fmt: skip
    shape = theirs.TemplateSpatialModel.read(path, normalize=False)
    spectral = theirs.PowerLawNormSpectralModel(norm=2, tilt=0.1)
    check(dataset, [theirs.SkyModel(spectral, shape, name="diffuse")], tmp_path)


def counts_map(folder, dataset, whole):
    """Template of counts on the grid of the dataset, or on a part of it."""
    rng = np.random.default_rng(2)
    data = dataset[0].background.data * rng.uniform(0.5, 2, GEOM.data_shape)
    result = Map.from_geom(GEOM, data=data, dtype=float)
    if not whole:
        aside = GEOM.center_skydir.directional_offset_by(40 * u.deg, 0.3 * u.deg)
        result = result.cutout(aside, width=1.1 * u.deg)
    result.write(folder / "counts.fits", overwrite=True)
    return result


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("shape", [None, "elongated Gaussian"])
def test_template_npred(dataset, whole, shape, tmp_path):
    counts = counts_map(tmp_path, dataset, whole)
    model = theirs.TemplateNPredModel(
        counts, theirs.PowerLawNormSpectralModel(norm=3, tilt=0.2), name="more",
        filename=str(tmp_path / "counts.fits"), datasets_names=["one"],
        spatial_model=None if shape is None else SHAPES[shape](tmp_path),
    )  # fmt: skip
    check(dataset, [model], tmp_path)


def piecewise(norms=(1, 2, 0.5, 1, 1.4)):
    lon, lat = LON + np.array([-2, 2, 2, -2, 0]), LAT + np.array([-2, -2, 2, 2, 0.1])
    return theirs.PiecewiseNormSpatialModel(
        MapCoord.create((lon * u.deg, lat * u.deg)), norms=list(norms)
    )


@pytest.mark.parametrize("name", ["piecewise", "elongated Gaussian", "template", "template N-D"])
def test_background_with_a_spatial_norm(dataset, name, tmp_path):
    shape = piecewise() if name == "piecewise" else SHAPES[name](tmp_path)
    spectral = theirs.PowerLawNormSpectralModel(norm=1.3, tilt=0.2)
    model = theirs.FoVBackgroundModel(
        dataset_name="one", spectral_model=spectral, spatial_model=shape
    )
    check(dataset, [model], tmp_path)


def test_background_norm_that_is_not_defined_everywhere(dataset, tmp_path):
    lon, lat = LON + np.array([-0.5, 0.5, 0.5, -0.5]), LAT + np.array([-0.5, -0.5, 0.5, 0.5])
    shape = ours.PiecewiseNormSpatialModel(lon * u.deg, lat * u.deg)
    model = ours.BackgroundIRFModel(dataset_name="one", spatial_model=shape)
    with pytest.raises(ModelError, match=r"not defined in [0-9]+ pixels of the mask"):
        CompiledDataset(dataset[1], DatasetModels([model]))
    point = ours.BackgroundIRFModel(dataset_name="one", spatial_model=ours.PointSpatialModel())
    with pytest.raises(ModelError, match="a point source model cannot be a norm"):
        CompiledDataset(dataset[1], DatasetModels([point]))


def test_a_template_on_other_pixels_or_energies(dataset, tmp_path):
    axis = GEOM.axes[0]
    shifted = WcsGeom.create(skydir=(LON + 0.02, LAT), npix=(9, 9), binsz=0.05, axes=[axis])
    other = GEOM.to_image().to_cube([MapAxis.from_energy_bounds("1 TeV", "9 TeV", nbin=3)])
    for geom, message in ((shifted, "does not lie on the pixels"), (other, "other energies than")):
        Map.from_geom(geom).write(tmp_path / "counts.fits", overwrite=True)
        model = ours.TemplateNPredModel(filename=tmp_path / "counts.fits")
        with pytest.raises(ModelError, match=message):
            CompiledDataset(dataset[1], DatasetModels([model]))


@pytest.mark.filterwarnings("ignore")  # Gammapy evaluates the model thirty years away
def test_a_temporal_model(tmp_path):
    """The factor is the mean over the intervals."""
    made = make_dataset("true")
    start, stop = [0, 5000, 9000] * u.s, [4000, 7000, 9900] * u.s
    made.gti = GTI.create(start, stop, reference_time="2020-03-01")
    reference = made.gti.time_ref.utc.mjd
    decay = theirs.ExpDecayTemporalModel(t0="0.05 d", t_ref=reference * u.d)
    model = source(SHAPES["elongated Gaussian"](tmp_path), temporal_model=decay)
    cube = as_cube(made, tmp_path)
    npred = check((made, cube), [model], tmp_path)
    steady = our_npred(cube, to_ours([source(SHAPES["elongated Gaussian"](tmp_path))], tmp_path))
    assert npred.max() < 0.9 * steady.max()
    without = cube.drop_vars(["gti_start", "gti_stop"])
    with pytest.raises(ModelError, match="no good time intervals"):
        CompiledDataset(without, DatasetModels(to_ours([model], tmp_path)))


# --- integrals over pixels: Gammapy's own tests --------------------------------------------------


def integral(model, geom):
    """Integral over the pixels of a geometry."""

    observation = Observation.__new__(Observation)
    header = dict(geom.wcs.to_header())
    observation.grid = WcsGrid(header, geom.data_shape)
    whole = Window(0, geom.data_shape[0], 0, geom.data_shape[1])
    values = model.internal_values
    return PixelIntegral(observation, whole, model, values).images(values, []).values[0]


@pytest.mark.parametrize("width", np.geomspace(1e-4, 1e-1, 10))
@pytest.mark.parametrize(
    ("name", "size", "tolerance"),
    [("Gaussian", "sigma", 6e-3), ("Disk", "r_0", 0.4), ("GeneralizedGaussian", "r_0", 3e-4)],
)
def test_integrals_over_pixels(name, size, tolerance, width):
    """Sums near one, and pixel by pixel as in Gammapy."""
    geom = WcsGeom.create(skydir=(0, 0), npix=100, binsz=0.02)
    pars = {"lon_0": "0.234 deg", "lat_0": "-0.172 deg", size: f"{width} deg"}
    model = getattr(ours, f"{name}SpatialModel")(**pars)
    values = integral(model, geom)
    assert values.sum() == pytest.approx(1, abs=tolerance)
    expected = getattr(theirs, f"{name}SpatialModel")(**pars).integrate_geom(geom).data
    # Gammapy's image is of single precision, and its shapes lose digits below 1e-3 deg
    np.testing.assert_allclose(values, expected, rtol=0, atol=3e-5 * expected.max())


def test_region_integral():
    """Of a Gaussian within its own width, as Gammapy's pixels have it."""
    circle = CircleSkyRegion(SkyCoord(0, 0, unit="deg"), 0.1 * u.deg)
    geom = RegionGeom(circle, binsz_wcs="0.01 deg").to_wcs_geom().to_image()
    values = integral(ours.GaussianSpatialModel(sigma="0.1 deg"), geom)
    inside = geom.region_mask([circle]).data
    assert values[inside].sum() == pytest.approx(0.3953, rel=1e-3)


def test_no_overlap():
    geom = WcsGeom.create(skydir=(0, 0), npix=100, binsz=0.02)
    model = ours.GaussianSpatialModel(lon_0="10.234 deg", sigma="0.01 deg")
    np.testing.assert_allclose(integral(model, geom), 0.0)
