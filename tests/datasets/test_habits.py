"""What people who come from Gammapy type: the same names, the same numbers."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose, assert_array_equal

import gmdask as gm
from gmdask.errors import InputError, InputNotFoundError, StoreExistsError, UnknownNameError
from tests.datasets.real_pairs import quiet
from tests.datasets.synthetic import POSITION, gammapy_models, models
from tests.datasets.test_export import assert_equal

pytestmark = pytest.mark.gammapy_response


@pytest.fixture(scope="module")
def theirs(survey):
    """Gammapy's datasets."""
    from gammapy.datasets import Datasets

    with quiet():
        return Datasets.read(survey, checksum=False)


def two_sources(names):
    """A point source and another beside it, the first also alone."""
    found = models(names)
    other = found["source"].copy(name="other")
    other.spatial_model.lat_0.value -= 0.5
    return gm.Models([*found, other])


# --- predictions --------------------------------------------------------------------------


@pytest.mark.parametrize("names", [None, ["other", "source"], ["source"], "other"])
def test_npred_signal_of_each_source(datasets, theirs, names):
    own = two_sources(datasets.names)
    datasets.set_models(own)
    with quiet():
        other = theirs[0].copy(name=datasets[0].name)
        other.models = gammapy_models(own)
        expected = other.npred_signal(names, stack=False)
        stacked = other.npred_signal(names)
    for dataset in (datasets[0], gm.MapDataset(datasets[0].open().assign_attrs(name="run-0"))):
        if not len(dataset.models):
            dataset.set_models(own)
        found = dataset.npred_signal(names, stack=False)
        assert found.dims == ("models", "energy", "lat", "lon")
        assert list(found["models"].values) == expected.geom.axes["models"].center.tolist()
        assert_allclose(found.values, expected.data, rtol=1e-5, atol=1e-6 * stacked.data.max())
        assert_allclose(
            dataset.npred_signal(names).values,
            stacked.data,
            rtol=1e-5,
            atol=1e-6 * stacked.data.max(),
        )
        assert_allclose(found.sel(models="other" if names != ["source"] else "source").values,
                        dataset.npred_signal("other" if names != ["source"] else "source").values)  # fmt: skip


def test_npred_signal_of_nothing(datasets):
    assert datasets[0].npred_signal(stack=False).shape == (0, *datasets[0].counts.shape)
    with pytest.raises(UnknownNameError, match="no source 'vela'"):
        datasets[0].npred_signal(["vela"], stack=False)


# --- masks --------------------------------------------------------------------------------


def energy_mask(dataset):
    """Above 1.3 TeV, without a corner."""
    mask = np.ones(dataset.counts.shape, bool)
    mask[0] = False
    mask[:, :5, :7] = False
    return mask


def test_a_mask_of_the_fit_is_given_to_a_copy(datasets, theirs):
    own, mask = models(datasets.names), energy_mask(datasets[0])
    with quiet():
        from gammapy.maps import Map

        other = theirs[0].copy(name="run-0")
        other.mask_fit = Map.from_geom(other.counts.geom, data=mask)
        other.models = gammapy_models(own)
        expected = other.stat_sum()
    datasets.set_models(own)
    whole = datasets[0].stat_sum()
    made = datasets[0].copy(mask_fit=mask)
    assert made.stat_sum() == pytest.approx(expected, rel=1e-6)
    assert made.stat_sum() < whole == datasets[0].stat_sum()  # not in place
    assert datasets[0].mask_fit is None
    with pytest.raises(AttributeError, match=r"copy\(mask_fit=mask\)"):
        datasets[0].mask_fit = mask
    assert_array_equal(made.mask_fit.values, mask)
    assert_array_equal(made.mask.values, other.mask.data)
    assert made.info_dict()["n_fit_bins"] == other.mask.data.sum()
    masked = made.residuals().values
    assert_array_equal(np.isnan(masked), ~other.mask.data)
    # again, other ways to say the same, and all of them back
    for given in (made.mask_fit, other.mask_fit):
        assert datasets[0].copy(mask_fit=given).stat_sum() == made.stat_sum()
    assert made.copy(mask_fit=np.array(True)).stat_sum() == whole
    image = np.arange(24 * 24).reshape(24, 24) % 2 == 0
    assert_array_equal(made.copy(mask_fit=image).mask_fit.values[1], image)


def test_the_mask_goes_with_what_is_made_of_the_dataset(datasets, tmp_path):
    mask = energy_mask(datasets[0])
    made = gm.Datasets([d.copy(mask_fit=mask) for d in datasets])
    store = made.write(tmp_path / "masked.zarr")
    assert_array_equal(gm.Datasets.from_store(store)["run-1"].mask_fit.values, mask)
    part = made[0].slice_by_energy("1.5 TeV")
    assert_array_equal(part.mask_fit.values, mask[-part.counts.shape[0] :])
    own = models(datasets.names)
    fitted = gm.Fit(made).run(own)
    again = gm.Fit(gm.Datasets.from_store(store)).run(models(datasets.names))
    assert fitted.total_stat == again.total_stat
    assert fitted.total_stat == pytest.approx(made.stat_sum(own), rel=1e-12)


def test_workers_make_the_mask(datasets, one_worker):
    own, mask = models(datasets.names), energy_mask(datasets[0])
    made = gm.Datasets([d.copy(mask_fit=mask) for d in datasets])
    here = gm.FluxPointsEstimator("source", [1, 20] * u.TeV).run(made, own)
    there = gm.FluxPointsEstimator("source", [1, 20] * u.TeV).run(made, own, one_worker)
    assert_array_equal(here.data["norm"].values, there.data["norm"].values)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((4, 24, 24)), "mask_fit has the type float64, expected booleans"),
        (np.ones((3, 24, 24), bool), r"shape \(3, 24, 24\), expected \(4, 24, 24\)"),
        ("yes", "mask_fit has the type"),
    ],
)
def test_masks_that_are_none(datasets, mask, words):
    with pytest.raises(InputError, match=f"dataset 'run-0': .*{words}"):
        datasets[0].copy(mask_fit=mask)


def test_mask_of_a_spectrum(datasets):
    spectrum = datasets[0].to_spectrum_dataset(region())
    made = spectrum.copy(mask_fit=[True, False, True, True])
    assert_array_equal(made.mask_fit.values.ravel(), [True, False, True, True])


def region():
    from regions import CircleSkyRegion

    return CircleSkyRegion(SkyCoord(*POSITION, unit="deg"), 0.3 * u.deg)


# --- files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.fits", "x.fits.gz"])
def test_a_dataset_as_a_file(datasets, tmp_path, name):
    from gammapy.datasets import MapDataset

    path = tmp_path / name
    datasets[0].write(path)
    with quiet():
        theirs = MapDataset.read(path)
    assert_array_equal(theirs.counts.data, datasets[0].counts.values)
    again = gm.MapDataset.read(path)
    assert_equal(again.cube, datasets[0].open())
    assert gm.MapDataset.read(path, name="other").name == "other"
    with pytest.raises(StoreExistsError, match=r"x\.fits.* already exists"):
        datasets[1].write(path)
    datasets[1].write(path, overwrite=True)
    assert gm.MapDataset.read(path).name == "run-1"
    assert [file.name for file in tmp_path.iterdir()] == [name]
    if name.endswith(".gz"):
        assert gzip.decompress(path.read_bytes())[:6] == b"SIMPLE"


def test_paths_as_users_write_them(datasets, tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    datasets[0].write("$PLACE/x.fits")
    assert gm.MapDataset.read("~/x.fits").name == "run-0"
    datasets[1:].write("~/x.yaml")
    assert gm.Datasets.read("$PLACE/x.yaml").names == ["run-1", "run-2"]
    files = {"x.fits", "x.yaml", "run-1.fits", "run-2.fits"}
    assert {file.name for file in tmp_path.iterdir()} == files


def test_a_spectrum_as_a_file(datasets, tmp_path):
    from gammapy.datasets import SpectrumDataset

    spectrum = datasets[0].to_spectrum_dataset(region())
    spectrum.write(tmp_path / "s.fits.gz")
    again = gm.SpectrumDataset.read(tmp_path / "s.fits.gz")
    assert isinstance(again, gm.SpectrumDataset)
    assert isinstance(gm.MapDataset.read(tmp_path / "s.fits.gz"), gm.SpectrumDataset)
    assert_array_equal(again.counts.values, spectrum.counts.values)
    with quiet():
        theirs = SpectrumDataset.read(tmp_path / "s.fits.gz")
    assert_array_equal(theirs.counts.data, spectrum.counts.values)
    datasets[0].write(tmp_path / "m.fits")
    with pytest.raises(
        InputError, match=r"m\.fits: contains a MapDataset, expected a SpectrumDataset"
    ):
        gm.SpectrumDataset.read(tmp_path / "m.fits")


def test_files_that_are_none(datasets, tmp_path):
    with pytest.raises(InputNotFoundError, match=r"none\.fits"):
        gm.MapDataset.read(tmp_path / "none.fits")
    with pytest.raises(InputError, match=r"x\.zarr: expected a FITS file"):
        datasets[0].write(tmp_path / "x.zarr")
    assert not list(tmp_path.iterdir())


def test_datasets_as_files(datasets, tmp_path, one_worker):
    from gammapy.datasets import Datasets

    datasets.append(datasets[0].to_spectrum_dataset(region(), name="on source"))
    events = []
    made = datasets.write(tmp_path / "x.yaml", one_worker, on_event=events.append)
    assert made == tmp_path / "x.yaml"
    assert [event.done for event in events] == [1, 2, 3, 4]
    files = {"x.yaml", "run-0.fits", "run-1.fits", "run-2.fits", "on_source.fits"}
    assert {file.name for file in tmp_path.iterdir()} == files
    with quiet():
        theirs = Datasets.read(made)
    assert theirs.names == datasets.names
    again = gm.Datasets.read(made)
    assert [type(d) for d in again] == [type(d) for d in datasets]
    assert_equal(again[1].cube, datasets[1].open())
    # what is there stays, unless it is to be replaced
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(StoreExistsError, match=r"x\.yaml already exists"):
        datasets[:1].write(made)
    with pytest.raises(StoreExistsError, match=r"run-0\.fits already exists"):
        datasets[:1].write(tmp_path / "y.yaml")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    datasets[:1].write(made, overwrite=True)
    assert gm.Datasets.read(made).names == ["run-0"]
    with pytest.raises(InputError, match="cannot be appended to"):
        datasets.write(made, append=True)


@pytest.mark.parametrize("name", ["x.fits", "x.fits.gz", "x.csv", "X.YML.json"])
def test_no_store_has_the_name_of_a_file(datasets, survey, tmp_path, name):
    for write in (datasets.write, lambda path: gm.import_datasets(survey, path)):
        with pytest.raises(InputError, match="a store is a folder"):
            write(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_names_complete(datasets):
    assert datasets._ipython_key_completions_() == ["run-0", "run-1", "run-2"]


# --- text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["datasets", "estimators", "events", "fit", "store"])
def test_everything_public_has_a_text_of_its_own(module):
    home = getattr(gm, module)
    kinds = [getattr(home, name) for name in home.__all__]
    without = [k for k in kinds if isinstance(k, type) and k.__repr__ is object.__repr__]
    assert without == []


def test_texts(datasets, tmp_path):
    own = models(datasets.names)
    fit = gm.Fit(datasets[:1], checkpoint=tmp_path / "c.json")
    assert repr(fit) == "<Fit of 1 dataset in this process, backend 'newton'>"
    estimator = gm.FluxPointsEstimator("source", [1, 2, 20] * u.TeV, selection_optional="ul")
    assert (
        repr(estimator) == "<FluxPointsEstimator of 'source': 2 energy bins, 1 TeV to 20 TeV, ul>"
    )
    curves = gm.LightCurveEstimator("source", [1, 20] * u.TeV)
    assert repr(curves) == "<LightCurveEstimator of 'source': 1 energy bin, 1 TeV to 20 TeV>"
    points = estimator.run(datasets[:1], gm.Models(own[:1]))
    assert repr(points) == "<FluxPoints of 'source': 2 energy, 1.257 to 20 TeV>"
    dnde = points.quantity("dnde_ul")[1].value
    assert f"{dnde:.4g}"[:5] in str(points)
    assert repr(own.covariance) == "<Covariance of 14 parameters, errors only>"


def test_models_beside_datasets(datasets, tmp_path):
    """Gammapy reads both; here the datasets get copies of the models."""
    from gammapy.datasets import Datasets

    own = models(datasets.names)
    own.parameters["index"].value = 2.45
    with pytest.raises(InputError, match="were given no models"):
        datasets.write(tmp_path / "x.yaml", filename_models=tmp_path / "m.yaml")
    assert not list(tmp_path.iterdir())
    datasets.set_models(own)
    own.parameters["index"].value = 2.5
    made = datasets.write(tmp_path / "x.yaml", filename_models=tmp_path / "m.yaml")
    assert gm.Models.read(tmp_path / "m.yaml").parameters["index"].value == 2.5
    again = gm.Datasets.read(made, tmp_path / "m.yaml")
    assert again[0].models.names == ["source", "run-0-bkg"]
    assert_allclose(again.stat_sum(), datasets.stat_sum(own), rtol=1e-12)
    with quiet():
        theirs = Datasets.read(made, filename_models=tmp_path / "m.yaml")
        assert theirs.models.names == own.names
    with pytest.raises(StoreExistsError, match=r"m\.yaml"):
        datasets.write(tmp_path / "new.zarr", filename_models=tmp_path / "m.yaml")
    assert not (tmp_path / "new.zarr").exists()


def test_pixels_that_no_memory_holds(datasets):
    with pytest.raises(InputError, match=r"dataset 'run-0': 1000000 more pixels on each side"):
        datasets[0].pad(10**6)
    assert datasets[0].pad((2, 1)).counts.shape[1:] == (26, 28)  # longitude, latitude
