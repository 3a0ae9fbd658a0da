"""Spectra of regions: against Gammapy's, through the store, in a fit, and with a PSF."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from regions import (
    CircleAnnulusSkyRegion,
    CircleSkyRegion,
    EllipseSkyRegion,
    PointSkyRegion,
    RectangleSkyRegion,
)

import gmdask as gm
from gmdask.errors import InputError, ModelError
from tests.datasets.real_pairs import compare_maps, ours, quiet, start_models, theirs

pytestmark = pytest.mark.gammapy_response

CRAB = SkyCoord(83.63, 22.01, unit="deg")
CIRCLE = CircleSkyRegion(CRAB, 0.11 * u.deg)
ASIDE = CRAB.directional_offset_by(20 * u.deg, 0.05 * u.deg)

REGIONS = {
    "circle": CIRCLE,
    "circle aside": CircleSkyRegion(ASIDE, 0.23 * u.deg),
    "ellipse": EllipseSkyRegion(CRAB, 0.5 * u.deg, 0.3 * u.deg, 30 * u.deg),
    "annulus": CircleAnnulusSkyRegion(CRAB, 0.1 * u.deg, 0.3 * u.deg),
    "rectangle": RectangleSkyRegion(CRAB, 0.4 * u.deg, 0.3 * u.deg, 20 * u.deg),
    "point": PointSkyRegion(CRAB),
}


@pytest.fixture(params=REGIONS)
def region(request):
    return REGIONS[request.param]


@pytest.fixture
def pair(shared):
    return ours(shared, "crab")[0], theirs(shared, "crab")


@pytest.fixture
def source(shared):
    """Model of the source, of gmdask and of Gammapy, for all datasets."""
    own, other = (models[0] for models in start_models(shared, "crab"))
    own.datasets_names = other.datasets_names = None
    return own, other


def compare(own, other, source, their_source):
    """Compare what a source predicts, and the statistic."""
    own.set_models([source])
    with quiet():
        other.models = [their_source]
        npred, stat = other.npred().data, other.stat_sum()
    np.testing.assert_allclose(own.npred(), npred, rtol=0, atol=1e-6 * npred.max())
    assert abs(own.stat_sum() - stat) < 1e-4


def test_spectrum(pair, source, region):
    own, other = pair
    with quiet():
        expected = other.to_spectrum_dataset(region, name=other.name)
    found = own.to_spectrum_dataset(region)
    assert isinstance(found, gm.SpectrumDataset)
    compare_maps(found, expected)
    compare(found, expected, *source)


def test_map_of_a_region(pair, source, region):
    """With a PSF: the containment of a circle, an integral over pixels in other shapes."""
    own, other = pair
    with quiet():
        expected = other.to_region_map_dataset(region, name=other.name)
    found = own.to_region_map_dataset(region)
    compare_maps(found, expected)
    compare(found, expected, *source)


@pytest.mark.parametrize("name", ["circle", "ellipse", "annulus"])
def test_extended_source_in_a_region(pair, source, name):
    from gammapy.modeling.models import GaussianSpatialModel

    own, other = pair
    with quiet():
        expected = other.to_region_map_dataset(REGIONS[name], name=other.name)
        their_source = source[1].copy(name="wide")
        their_source.spatial_model = GaussianSpatialModel(
            lon_0=CRAB.ra, lat_0=CRAB.dec, sigma="0.08 deg", frame="icrs"
        )
    shape = gm.GaussianSpatialModel(lon_0=CRAB.ra.deg, lat_0=CRAB.dec.deg, sigma=0.08, frame="icrs")
    wide = gm.SkyModel(source[0].spectral_model.copy(), shape, name="wide")
    compare(own.to_region_map_dataset(REGIONS[name]), expected, wide, their_source)


@pytest.mark.parametrize("name", ["circle", "circle aside"])
def test_containment_correction(pair, source, name):
    own, other = pair
    with quiet():
        expected = other.to_spectrum_dataset(
            REGIONS[name], containment_correction=True, name=other.name
        )
    found = own.to_spectrum_dataset(REGIONS[name], containment_correction=True)
    compare_maps(found, expected)
    compare(found, expected, *source)


@pytest.mark.parametrize("analysis", ["pks2155", "hawc"])
def test_spectra_of_other_instruments(shared, analysis):
    own, other = ours(shared, analysis)[0], theirs(shared, analysis)
    models, their_models = start_models(shared, analysis)
    at = their_models[0].position.icrs
    circle = CircleSkyRegion(at, 0.23 * u.deg)
    with quiet():
        expected = other.to_spectrum_dataset(circle, name=other.name)
        their_source = their_models[0].copy(name=models[0].name)
        their_source.datasets_names = None
    models[0].datasets_names = None
    found = own.to_spectrum_dataset(circle)
    compare_maps(found, expected)
    compare(found, expected, models[0], their_source)


def test_union(pair):
    """What Gammapy cannot do, as a union has no centre there; its sums of maps can."""
    own, other = pair
    union = CIRCLE | CircleSkyRegion(
        CRAB.directional_offset_by(90 * u.deg, 0.4 * u.deg), 0.12 * u.deg
    )
    found = own.to_spectrum_dataset(union)
    with quiet():
        counts = other.counts.to_region_nd_map(union, np.sum, weights=other.mask_safe)
        exposure = other.exposure.to_region_nd_map(union, np.mean)
    np.testing.assert_array_equal(found.counts, counts.data)
    np.testing.assert_allclose(found.exposure, exposure.data, rtol=1e-6)


def test_background_norm_is_kept(pair):
    own = pair[0].copy()
    norm = gm.PowerLawNormSpectralModel(norm=1.3, tilt=0.2)
    own.set_models([gm.BackgroundIRFModel(norm, dataset_name=own.name)])
    found = own.to_spectrum_dataset(CIRCLE)
    whole = pair[0].to_spectrum_dataset(CIRCLE)
    factor = 1.3 * own.cube["energy"].values ** -0.2
    np.testing.assert_allclose(
        found.background, whole.background * factor[:, None, None], rtol=1e-12
    )
    assert found.models.names == [f"{found.name}-bkg"]  # frozen


@pytest.fixture(scope="module")
def spectra(shared, tmp_path_factory):
    """Datasets file of Gammapy with the spectra of the Crab."""
    from gammapy.datasets import Datasets

    folder = tmp_path_factory.mktemp("spectra")
    found = []
    with quiet():
        for k in range(4):
            run = theirs(shared, "crab", k)
            found.append(run.to_spectrum_dataset(CIRCLE, name=run.name))
        Datasets(found).write(folder / "datasets.yaml")
    return folder / "datasets.yaml", found


def free_spectrum(model):
    """Fix the position, which a spectrum says nothing about."""
    for parameter in model.spatial_model.parameters:
        parameter.frozen = True
    return model


def test_joint_fit(spectra, source, tmp_path):
    """The statistic of Gammapy's fit, and its values, from a store."""
    from gammapy.datasets import Datasets
    from gammapy.modeling import Fit

    path, _ = spectra
    gm.import_datasets(path, tmp_path / "spectra.zarr")
    datasets = gm.Datasets.read(tmp_path / "spectra.zarr")
    assert all(isinstance(dataset, gm.SpectrumDataset) for dataset in datasets)
    models = gm.Models([free_spectrum(source[0])])
    datasets.set_models(models)
    with quiet():
        others = Datasets.read(path)
        others.models = [free_spectrum(source[1])]
        assert abs(datasets.stat_sum() - others.stat_sum()) < 1e-6
        Fit().run(others)
    result = gm.Fit(datasets).run(models)
    assert result.success
    for own, other in zip(models.parameters, others.models.parameters, strict=True):
        assert own.name == other.name
        if not own.frozen:
            assert abs(own.value - other.value) < 0.05 * own.error
            other.value = own.value
    with quiet():
        assert abs(result.total_stat - others.stat_sum()) < 1e-6


def test_written_and_read(spectra, tmp_path):
    """A spectrum that is made of a map is stored like one that is read."""
    path, theirs_ = spectra
    store = gm.Store.create(tmp_path / "made.zarr")
    read = gm.Datasets.read(path)
    record = store.write_block([read[0].cube.load()], "0" * 16)
    store.commit([record])
    again = gm.Datasets.read(tmp_path / "made.zarr")[0]
    assert isinstance(again, gm.SpectrumDataset)
    assert again.region.radius == pytest.approx(0.11, abs=1e-6)
    compare_maps(again, theirs_[0])


def test_a_spectrum_does_what_a_map_does(pair, source, spectra):
    own = pair[0].to_spectrum_dataset(CIRCLE)
    with quiet():
        other = spectra[1][0].copy(name=own.name)
        low = u.Quantity("1 TeV")
        sliced, image = other.slice_by_energy(low, name=own.name), other.to_image(name=own.name)
    compare_maps(own.slice_by_energy(low), sliced)
    compare(own.slice_by_energy(low), sliced, *source)
    found = own.to_image()
    np.testing.assert_allclose(found.counts, image.counts.data)
    compare(found, image, *source)


def test_stack_of_spectra(shared):
    """Spectra with kernels, which Gammapy can stack (with migration it cannot)."""
    at = start_models(shared, "pks2155")[0][0].position.icrs
    circle = CircleSkyRegion(at, 0.2 * u.deg)
    runs = [run.to_spectrum_dataset(circle) for run in ours(shared, "pks2155")[:3]]
    with quiet():
        others = [theirs(shared, "pks2155", k) for k in range(3)]
        others = [run.to_spectrum_dataset(circle, name=run.name) for run in others]
        total = others[0].to_masked(name="total")
        for other in others[1:]:
            total.stack(other)
    found = runs[0].to_masked(name="total")
    for run in runs[1:]:
        found.stack(run)
    compare_maps(found, total)


def test_stack_of_spectra_with_migration(shared):
    runs = [run.to_spectrum_dataset(CIRCLE) for run in ours(shared, "crab")]
    found = runs[0].to_masked(name="total")
    for run in runs[1:]:
        found.stack(run)
    masks = [run.mask_safe.values for run in runs]
    weights = [
        m.any() * run.cube["edisp_exposure"].values for m, run in zip(masks, runs, strict=True)
    ]
    expected = sum(w[:, None] * run.edisp.values for w, run in zip(weights, runs, strict=True))
    np.testing.assert_allclose(found.edisp, expected / sum(weights)[:, None], rtol=1e-12)
    counts = sum(run.counts.values * m for m, run in zip(masks, runs, strict=True))
    np.testing.assert_array_equal(found.counts, counts)


def test_psf_in_reconstructed_energy_is_refused(shared):
    own = ours(shared, "hawc")[0]
    models, _ = start_models(shared, "hawc")
    models[0].datasets_names = None
    at = models[0].position.icrs
    found = own.to_region_map_dataset(CircleSkyRegion(at, 0.3 * u.deg))
    found.set_models([models[0]])
    with pytest.raises(ModelError, match="PSF in reconstructed energy cannot be used on a region"):
        found.stat_sum()


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (CircleSkyRegion(CRAB.directional_offset_by(0 * u.deg, 1.95 * u.deg), 0.2 * u.deg), "not completely inside"),
        (CircleSkyRegion(CRAB.directional_offset_by(0 * u.deg, 30 * u.deg), 0.2 * u.deg), "contains no pixel"),
        (PointSkyRegion(CRAB.directional_offset_by(0 * u.deg, 30 * u.deg)), "contains no pixel"),
        ("circle(83.6, 22.0, 0.1", "not a region"),
        (3.0, "not a region"),
    ],
)  # fmt: skip
def test_regions_that_cannot_be(pair, region, message):
    with pytest.raises(InputError, match=message):
        pair[0].to_spectrum_dataset(region)


def test_mask_that_cuts_a_region(pair):
    cube = pair[0].cube
    mask = xr.zeros_like(cube["mask_safe"]).load()
    mask[:, 40:] = True
    with pytest.raises(InputError, match="mask varies between the pixels"):
        gm.MapDataset(cube.assign(mask_fit=mask)).to_spectrum_dataset(CIRCLE)


def test_containment_needs_a_circle_and_a_psf(pair, shared):
    with pytest.raises(InputError, match="for circles only"):
        pair[0].to_spectrum_dataset(REGIONS["annulus"], containment_correction=True)
    with pytest.raises(InputError, match="no PSF in true energy"):
        ours(shared, "hawc")[0].to_spectrum_dataset(CIRCLE, containment_correction=True)
    with pytest.raises(InputError, match="needs a map"):
        pair[0].to_spectrum_dataset(CIRCLE).to_spectrum_dataset(CIRCLE)


def test_spectrum_of_a_region_that_is_not_known(spectra, source, tmp_path):
    """Every source is in it."""
    path = spectra[0].parent / "hess-23523.fits"
    with fits.open(path) as hdus:
        kept = [hdu for hdu in hdus if not hdu.name.endswith("_REGION")]
        fits.HDUList(kept).writeto(tmp_path / "run.fits")
    listed = "datasets:\n- {name: run, type: SpectrumDataset, filename: run.fits}\n"
    (tmp_path / "datasets.yaml").write_text(listed)
    found = gm.Datasets.read(tmp_path / "datasets.yaml")[0]
    known = gm.Datasets.read(spectra[0])["hess-23523"]
    assert found.region is None
    for dataset in (found, known):
        dataset.set_models([source[0]])
    assert found.stat_sum() == known.stat_sum()
    assert found.slice_by_energy("1 TeV").stat_sum() == known.slice_by_energy("1 TeV").stat_sum()


def test_region_that_cannot_be_read(spectra, tmp_path):
    with fits.open(spectra[0].parent / "hess-23523.fits") as hdus:
        hdus["COUNTS_REGION"].data["SHAPE"][:] = "blob"
        hdus.writeto(tmp_path / "run.fits")
    listed = "datasets:\n- {name: run, type: SpectrumDataset, filename: run.fits}\n"
    (tmp_path / "datasets.yaml").write_text(listed)
    with pytest.raises(
        InputError, match=r"run\.fits: dataset 'run': HDU COUNTS_REGION: its shapes"
    ):
        gm.Datasets.read(tmp_path / "datasets.yaml")


def on_off_spectrum():
    """What Gammapy makes of an on/off spectrum: its background is on the off regions and their WCS."""
    from gammapy.datasets import SpectrumDatasetOnOff
    from gammapy.maps import MapAxis, RegionGeom, RegionNDMap

    energy = MapAxis.from_energy_bounds(1, 10, 3, unit="TeV")
    true = MapAxis.from_energy_bounds(0.5, 20, 5, unit="TeV", name="energy_true")
    off = [
        CircleSkyRegion(CRAB.directional_offset_by(angle * u.deg, 1 * u.deg), 0.11 * u.deg)
        for angle in (90, 180, 270)
    ]
    on, others = (
        RegionGeom.create(CIRCLE, axes=[energy]),
        RegionGeom.from_regions(off, axes=[energy]),
    )
    on_off = SpectrumDatasetOnOff(
        name="spectrum",
        counts=RegionNDMap.from_geom(on, data=np.array([30, 10, 3])[:, None, None]),
        counts_off=RegionNDMap.from_geom(others, data=np.array([60, 15, 4])[:, None, None]),
        acceptance=RegionNDMap.from_geom(on, data=np.ones((3, 1, 1))),
        acceptance_off=RegionNDMap.from_geom(others, data=np.full((3, 1, 1), 3.0)),
        exposure=RegionNDMap.from_geom(
            RegionGeom.create(CIRCLE, axes=[true]), data=np.full((5, 1, 1), 1e13), unit="cm2 s"
        ),
    )
    return on_off.to_spectrum_dataset(name="spectrum")


def test_spectrum_whose_background_is_of_off_regions(tmp_path):
    from gammapy.modeling.models import PowerLawSpectralModel, SkyModel

    with quiet():
        other = on_off_spectrum()
        other.write(tmp_path / "spectrum.fits")
    (tmp_path / "datasets.yaml").write_text(
        "datasets:\n- {name: spectrum, type: SpectrumDataset, filename: spectrum.fits}\n"
    )
    model = gm.SkyModel(gm.PowerLawSpectralModel(amplitude=1e-12), name="source")
    their_model = SkyModel(PowerLawSpectralModel(amplitude="1e-12 cm-2 s-1 TeV-1"), name="source")
    for own in (gm.from_gammapy(other), gm.Datasets.read(tmp_path / "datasets.yaml")[0]):
        assert own.region.radius == pytest.approx(0.11, abs=1e-6)
        assert own.background.values.ravel() == pytest.approx([20, 5, 4 / 3])
        compare(own, other, model, their_model)
