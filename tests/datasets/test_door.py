"""What comes from outside is checked, by whatever way it comes: files, Gammapy's objects, arrays."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

import gmdask as gm
from gmdask.datasets.io.fits_files import file_names
from gmdask.errors import InputError
from tests.datasets.synthetic import make_run, models


@pytest.fixture(scope="module")
def run():
    """A dataset of Gammapy, with counts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        made = make_run("run-0", 0, 12)
        made.counts.data = np.round(made.background.data)
    return made


@pytest.fixture(scope="module")
def sound(run):
    return gm.from_gammapy(run)


def spoilt(dataset, key, change):
    """Dataset with values of an array changed, as a user of xarray does."""
    cube = dataset.cube.load().copy(deep=True)
    cube[key].values[...] = change(cube[key].values)
    return type(dataset)(cube)


def one(change):
    """Change a single value."""

    def changed(values):
        values[(0, *(n // 2 for n in values.shape[1:]))] = change
        return values

    return changed


REFUSED = [
    ("psf", lambda v: v * np.nan, "psf is NaN or infinite everywhere"),
    ("psf", lambda v: v * 0, "psf is zero everywhere"),
    ("psf", lambda v: -v, "psf has negative values"),
    ("psf", lambda v: np.where(np.arange(len(v))[:, None, None, None] == 2, np.nan, v),
     "psf is NaN or infinite everywhere at psf_energy_true 2"),
    ("edisp", lambda v: v * np.nan, "edisp is NaN or infinite everywhere"),
    ("edisp", lambda v: v * 0, "edisp is zero everywhere"),
    ("edisp", lambda v: -v, "edisp has negative values"),
    ("exposure", lambda v: -v, "exposure is negative"),
    ("exposure", one(-1e13), "exposure is negative: 1 bins at 1 pixels, the first at energy_true 0, lat 6, lon 6"),
    ("exposure", one(np.inf), "exposure is NaN or infinite at pixels of the mask"),
    ("counts", one(np.nan), "counts is not finite inside the mask"),
    ("counts", one(-1), "counts is negative inside the mask"),
    ("background", one(np.nan), "background is not finite inside the mask"),
    ("background", lambda v: -v, "background is negative inside the mask"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "change", "words"), REFUSED)
def test_values_that_cannot_be_used_are_refused_in_files_and_at_write(
    key, change, words, sound, tmp_path
):
    """Also where only one of two datasets is wrong; the store is not made, or stays as it was."""
    bad = spoilt(sound, key, change)
    pair = gm.Datasets([sound.copy("good"), bad])
    with pytest.raises(InputError, match=r"dataset 'run-0'") as caught:
        pair.write(tmp_path / "s.zarr")
    assert words in str(caught.value)
    assert not (tmp_path / "s.zarr").exists() or not len(gm.Datasets.read(tmp_path / "s.zarr"))
    path = gm.export_datasets(pair, tmp_path / "files")
    with pytest.raises(InputError, match=r"run-0\.fits: dataset 'run-0'") as caught:
        gm.import_datasets(path, tmp_path / "t.zarr")
    assert words in str(caught.value)
    assert not (tmp_path / "t.zarr").exists()


@pytest.mark.parametrize(
    ("key", "unit", "words"),
    [
        ("exposure", "", "exposure has no unit, expected a unit like 'cm2 s'"),
        ("exposure", "m2", "exposure is in 'm2', expected a unit like 'cm2 s'"),
        ("exposure", "TeV", "exposure is in 'TeV'"),
        ("psf", "", "psf has no unit, expected a unit like 'sr-1'"),
        ("psf", "cm2 s", "psf is in 'cm2 s'"),
        ("edisp", "TeV-1", "edisp is in 'TeV-1', expected none"),
        ("counts", "s-1", "counts is in 's-1'"),
        ("background", "s-1", "background is in 's-1'"),
    ],
)
def test_units_of_another_dimension_are_refused(key, unit, words, sound, tmp_path):
    cube = sound.cube.load().copy()
    cube[key] = cube[key].copy()
    cube[key].attrs["unit"] = unit
    with pytest.raises(InputError) as caught:
        gm.Datasets([type(sound)(cube)]).write(tmp_path / "s.zarr")
    assert f"dataset 'run-0': {words}" in str(caught.value)


def test_exposure_without_bunit_in_a_file(run, tmp_path):
    """As files from elsewhere have it: refused at import, not in the fit."""
    path = tmp_path / "run-0.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        run.write(path)
    with fits.open(path, mode="update") as hdus:
        del hdus["EXPOSURE"].header["BUNIT"]
    (tmp_path / "d.yaml").write_text(
        "datasets:\n- {name: a, type: MapDataset, filename: run-0.fits}\n"
    )
    with pytest.raises(InputError, match=r"run-0\.fits: dataset 'a': exposure has no unit"):
        gm.import_datasets(tmp_path / "d.yaml", tmp_path / "s.zarr")


def test_an_axis_of_another_unit_is_refused(sound, tmp_path):
    cube = sound.cube.load().copy()
    cube["energy_true"] = cube["energy_true"].copy()
    cube["energy_true"].attrs["unit"] = "s"
    with pytest.raises(InputError, match=r"axis energy_true is in 's', expected a unit like 'TeV'"):
        gm.Datasets([type(sound)(cube)]).write(tmp_path / "s.zarr")


@pytest.mark.parametrize(("key", "factor"), [("psf", 5.0), ("edisp", 5.0), ("psf", 0.2)])
def test_kernels_that_do_not_sum_to_one_are_told(key, factor, sound, tmp_path, caplog):
    """In the import, in a stack, and in the result of a fit, from a store as from memory."""
    bad = spoilt(sound, key, lambda v: v * factor)
    path = gm.export_datasets(gm.Datasets([sound.copy("good"), bad]), tmp_path / "files")
    with caplog.at_level(logging.WARNING):
        store = gm.import_datasets(path, tmp_path / "s.zarr")
    words = f"{key} of run-0 sums to {factor:.3g}, expected 1"
    assert [record.message for record in caplog.records if "sums" in record.message] == [words]
    datasets = gm.Datasets.from_store(store)
    assert [d.kernel_sums.get(key) for d in datasets] == [None, pytest.approx(factor, rel=2e-3)]
    own = models(datasets.names)
    assert words in gm.Fit(datasets).optimize(own).message
    assert key in datasets.stack_reduce("sum").kernel_sums


def test_kernels_cut_by_the_end_of_their_axis_are_no_news(sound, caplog):
    """The energy dispersion of the lowest and highest energies lies partly outside the axis."""
    assert sound.cube["edisp"].sum("energy").min() < 0.6
    assert sound.kernel_sums == {}


def test_real_data_are_taken_without_a_word(shared, caplog):
    for folder in ("crab", "fermi_crab", "hawc", "pks2155"):
        datasets = gm.Datasets.read(shared / "data" / folder / "datasets.yaml")
        assert not any(dataset.kernel_sums for dataset in datasets)


def test_counts_of_zero_are_fine(sound, tmp_path):
    empty = spoilt(sound, "counts", lambda v: v * 0)
    store = gm.Datasets([empty]).write(tmp_path / "s.zarr")
    assert store.rows[0].counts == 0


def test_arrays_with_weights_are_refused():
    energy = np.array([1.0, 10.0]) * u.TeV
    with pytest.raises(InputError, match=r"dataset 'a': 'mask_safe' has values other than 0 and 1"):
        gm.MapDataset.from_arrays(
            "a",
            wcs={"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -0.1, "CDELT2": 0.1},
            energy=energy,
            energy_true=energy,
            counts=np.zeros((1, 2, 2)),
            exposure=np.ones((1, 2, 2)),
            mask_safe=np.full((1, 2, 2), 0.5),
        )


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\nb", "a\x1b[2J", "a\u202eb", "a\u2028b", "\x07"]
)
def test_names_that_cannot_be_printed_are_refused(name, sound, tmp_path):
    with pytest.raises(InputError, match="printable characters in one line"):
        type(sound)(sound.cube.assign_attrs(name=name))
    if name:  # one that is empty stands for the name it has
        with pytest.raises(InputError, match="printable characters in one line"):
            sound.copy(name)


def test_real_writes_do_not_touch_the_store_before_they_are_checked(sound, tmp_path):
    store = gm.Datasets([sound]).write(tmp_path / "s.zarr")
    bad = spoilt(sound, "psf", lambda v: v * np.nan).copy("bad")
    with pytest.raises(InputError, match="'bad'"):
        gm.Datasets([bad]).write(tmp_path / "s.zarr", append=True)
    assert [row.name for row in gm.Store.open(store.url).rows] == ["run-0"]


@pytest.mark.parametrize("name", ["Крабовидная туманность", "α Cen é", "蟹状星雲", "x" * 300])
def test_names_of_any_script_go_everywhere(name, sound, tmp_path):
    """Store, files, Gammapy's list of them, its objects, models and their YAML."""
    from gammapy.datasets import Datasets

    own = gm.Datasets([sound.copy(name), sound.copy(name + "é")])
    store = own.write(tmp_path / "s.zarr")
    assert gm.Datasets.from_store(store).names == own.names
    path = gm.export_datasets(gm.Datasets.from_store(store), tmp_path / "files")
    assert all(file.name.isascii() for file in path.parent.iterdir())
    assert gm.Datasets.read(path).names == own.names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        theirs = Datasets.read(path)
    assert theirs.names == own.names
    assert gm.from_gammapy(theirs).names == own.names
    assert gm.to_gammapy(own[0]).name == name
    fitted = models(own.names)
    fitted.write(tmp_path / "models.yaml")
    own.set_models(gm.Models.read(tmp_path / "models.yaml"))
    assert own[1].models[f"{name}é-bkg"].dataset_name == name + "é"


def test_names_of_files_are_free():
    """Whatever datasets are called, also like a file that another one got."""
    names = file_names(["a-2", "a", "A", "é", "ü", ".", "..", "a/b", "a_b"])
    assert names[:2] == ["a-2", "a"]
    assert len({name.lower() for name in names}) == len(names)
    assert not any(name.startswith(".") or "/" in name for name in names)


def test_variables_and_home_in_paths(sound, tmp_path, monkeypatch):
    """In arguments as in the lists of files that they name."""
    monkeypatch.setenv("GMDASK_TEST_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    gm.Datasets([sound]).write("$GMDASK_TEST_DATA/s.zarr")
    assert gm.Datasets.read("~/s.zarr").names == ["run-0"]
    gm.export_datasets([sound], "${GMDASK_TEST_DATA}/files")
    listed = tmp_path / "list.yaml"
    listed.write_text(
        "datasets:\n- {name: a, type: MapDataset, filename: $GMDASK_TEST_DATA/files/run-0.fits}\n"
        "- {name: b, type: MapDataset, filename: ~/files/run-0.fits}\n"
    )
    assert gm.Datasets.read("~/list.yaml").names == ["a", "b"]
    assert gm.MapDataset.read("~/files/run-0.fits").name == "run-0"
    assert gm.import_datasets("$GMDASK_TEST_DATA/list.yaml", "~/t.zarr").url == str(
        tmp_path / "t.zarr"
    )
    models([]).write("~/models.yaml")
    assert gm.Models.read("$GMDASK_TEST_DATA/models.yaml").names == ["source"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "files", "list.yaml", "models.yaml", "s.zarr", "t.zarr",
    ]  # fmt: skip


WCS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -0.1, "CDELT2": 0.1, "CRPIX1": 1.5, "CRPIX2": 1.5,
    "CRVAL1": 0.0, "CRVAL2": 0.0,
}  # fmt: skip


def from_arrays(**changes):
    energy = np.array([1.0, 10.0]) * u.TeV
    arrays = {"counts": np.zeros((1, 2, 2)), "exposure": np.ones((1, 2, 2))}
    return gm.MapDataset.from_arrays(
        "a", **{"wcs": WCS, "energy": energy, "energy_true": energy, **arrays, **changes}
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wcs": {}}, "WCS keywords CTYPE1, CTYPE2, CRVAL1, CRVAL2 are missing"),
        ({"wcs": {**WCS, "CTYPE1": "bananas"}}, "WCS keywords are not valid"),
        ({"wcs": {**WCS, "CDELT1": 0.0}}, "WCS keywords are not valid"),
        ({"wcs": {**WCS, "CRVAL1": np.nan}}, "WCS keywords are not valid"),
        ({"wcs": {**WCS, "CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}}, "do not define celestial axes"),
        ({"counts": np.full((1, 2, 2), "a")}, "counts has values of type <U1"),
        ({"counts": np.zeros((1, 2, 2), complex)}, "counts has values of type complex128"),
        ({"counts": np.full((1, 2, 2), None)}, "counts has values of type object"),
        ({"counts": None}, "'counts' is missing"),
        ({"counts": np.zeros((1, 2, 2)) * u.s}, "'counts' is in s, expected no unit"),
        ({"exposure": np.ones((1, 2, 2)) * u.m**2}, "'exposure' is in m2, expected cm2 s"),
        ({"exposure_unit": "bananas"}, "exposure: 'bananas' is not a unit"),
        ({"energy": np.array([1.0, np.inf]) * u.TeV}, "axis energy has nodes"),
        ({"energy_true": np.array([-1.0, 1.0]) * u.TeV}, "axis energy_true has nodes"),
        ({"psf": 3}, "'psf' is a int, expected a ResponseMap"),
    ],
)
def test_arrays_that_are_none_of_a_dataset_are_refused(changes, words):
    with pytest.raises(InputError) as caught:
        from_arrays(**changes)
    assert str(caught.value).startswith("dataset 'a'")
    assert words in str(caught.value)


def test_arrays_may_be_lists_and_quantities():
    dataset = from_arrays(counts=[[[0, 1], [2, 3]]], exposure=np.ones((1, 2, 2)) * u.Unit("m2 s"))
    assert dataset.counts.values.tolist() == [[[0, 1], [2, 3]]]
    assert dataset.exposure.values.tolist() == [[[1e4, 1e4], [1e4, 1e4]]]


def gti(cube):
    cube["gti_start"] = ("gti", np.array([0.0, np.nan]))
    cube["gti_stop"] = ("gti", np.array([10.0, 20.0]))


def gti_backwards(cube):
    cube["gti_start"], cube["gti_stop"] = ("gti", np.array([10.0])), ("gti", np.array([0.0]))


def gti_scale(cube):
    cube["gti_start"], cube["gti_stop"] = ("gti", np.array([0.0])), ("gti", np.array([9.0]))
    cube.attrs["gti"] = {"mjdrefi": 51910, "mjdreff": 0.0, "timesys": "bananas"}


def livetime(cube):
    cube["exposure"].attrs["meta"] = {"livetime": "long"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (gti, "good time intervals must be finite"),
        (gti_backwards, "good time intervals must be finite, and end after they begin"),
        (gti_scale, "the reference time of the good time intervals is invalid"),
        (livetime, "the livetime of exposure is 'long', expected a time"),
    ],
)
def test_times_that_are_none_are_refused(spoil, words, sound, tmp_path):
    cube = sound.cube.load().copy(deep=True)
    cube.attrs["gti"] = {"mjdrefi": 51910, "mjdreff": 0.0, "timesys": "tt"}
    spoil(cube)
    with pytest.raises(InputError, match=rf"dataset 'run-0': {words}"):
        gm.Datasets([type(sound)(cube)]).write(tmp_path / "s.zarr")


def test_weights_of_responses_in_another_unit_cannot_be_stacked(sound):
    other = sound.copy("b")
    cube = other.cube.copy()
    cube["psf_exposure"] = cube["psf_exposure"].assign_attrs(unit="TeV")
    with pytest.raises(InputError, match=r"psf_exposure is in 'TeV', expected a unit like"):
        gm.Datasets([sound, type(sound)(cube)]).stack_reduce("sum")
