"""Altered datasets: described lazily, made on workers, stored, refused when they cannot be."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

import gmdask as gm
from gmdask.datasets.derived_cube import AlteredCube
from gmdask.errors import InputError, UnknownNameError
from gmdask.store.block import Block
from tests.datasets.synthetic import CENTER, models, with_models
from tests.datasets.test_algebra_models import AT, CIRCLE, METHODS

BIG = {"counts", "background", "exposure", "psf", "psf_exposure", "edisp", "edisp_exposure"}
LAZY = [name for name in METHODS if name != "info_dict"]


@pytest.fixture
def reads(monkeypatch) -> Iterator[list[str]]:
    """Names of the arrays that are read from blocks."""
    found: list[str] = []
    read = Block._read_row

    def spy(self, key, row, index):
        found.append(key)
        return read(self, key, row, index)

    monkeypatch.setattr(Block, "_read_row", spy)
    with dask.config.set(
        scheduler="synchronous"
    ):  # here, even if a cluster of another test is there
        yield found


@pytest.mark.parametrize("method", LAZY)
def test_nothing_is_read_before_it_is_used(reads, datasets, method):
    """But for masks, which say whether a region may be, or whether there is any livetime."""
    with_models(datasets)
    new = METHODS[method](datasets[0], datasets[0].copy("again"))
    assert not BIG & set(reads)
    if isinstance(new, gm.MapDataset):
        str(new), new._repr_html_()
        assert not BIG & set(reads)
        float(new.counts.sum())
        assert BIG & set(reads)


def chain(dataset):
    """Several operations upon each other."""
    return (
        dataset.to_masked()
        .stack(dataset.copy("o"))
        .cutout(AT, 1.6)
        .downsample(2)
        .slice_by_energy("1 TeV")
    )


@pytest.mark.parametrize("method", [*(m for m in METHODS if m not in ("stack", "copy")), "chain"])
def test_lazy_equals_eager(datasets, method):
    """What a worker makes of the description is what is seen here, and what arrays in memory give."""
    with_models(datasets)
    operation = chain if method == "chain" else lambda d: METHODS[method](d, None)
    new = operation(datasets[0])
    if not isinstance(new, gm.MapDataset):
        return
    assert isinstance(new.stored, AlteredCube)
    made = new.stored.open()
    eager = gm.MapDataset(datasets[0].cube.load())
    eager.set_models(datasets[0].models)
    eager = operation(eager)
    assert eager.stored is None
    for key in new.cube.data_vars:
        np.testing.assert_array_equal(new.cube[key], made[key], err_msg=str(key))
        np.testing.assert_array_equal(new.cube[key], eager.cube[key], err_msg=str(key))
    assert new.stat_sum() == eager.stat_sum()


@pytest.mark.slow
def test_fit_on_workers(datasets, two_workers):
    """Workers follow the descriptions: the same bits as in this process."""
    runs = [
        chain(datasets[0]),
        datasets[1].to_image(),
        datasets[2].to_spectrum_dataset(far_circle(2)),
    ]
    altered, stats = gm.Datasets(runs), []
    for client in (None, two_workers):
        own = models(altered.names[:2])
        altered.set_models(own)
        stats.append(gm.Fit(altered, client=client).run(own).total_stat)
    assert stats[0] == stats[1]


def far_circle(number: int):
    from regions import CircleSkyRegion

    return CircleSkyRegion(SkyCoord(CENTER[0] + 0.1 * number, CENTER[1], unit="deg"), 0.4 * u.deg)


def test_lazy_predictions_on_workers(datasets, two_workers):
    with_models(datasets)
    image = datasets[0].to_image()
    here = image.npred().compute(scheduler="synchronous")
    np.testing.assert_array_equal(two_workers.compute(image.npred().data).result(), here)


def test_memory_stays_in_this_process(survey, datasets, two_workers):
    """Also where a client is there to compute: a store in memory cannot be sent."""
    run = gm.Datasets.read(survey)[0]
    for one in (run, datasets[0]):
        one.set_models(models([one.name]))
    new, expected = (chain(one) for one in (run, datasets[0]))
    assert new.stored is None
    for key in ("counts", "background", "mask_safe", "psf"):
        np.testing.assert_array_equal(new.cube[key], expected.cube[key].compute(scheduler="sync"))
    for found, wanted in (
        (new.residuals(), expected.residuals()), (new.excess, expected.excess),
        (new.npred_background(), expected.npred_background()), (new.stat_array(), expected.stat_array()),
    ):  # fmt: skip
        np.testing.assert_array_equal(found, wanted.compute(scheduler="sync"))
    assert str(new.info_dict()) == str(expected.info_dict())
    assert (
        new.to_spectrum_dataset(CIRCLE).stat_sum()
        == expected.to_spectrum_dataset(CIRCLE).stat_sum()
    )


@pytest.mark.parametrize(
    "method", ["to_masked", "to_image", "cutout", "pad", "downsample", "to_spectrum_dataset"]
)
def test_altered_datasets_are_stored(datasets, tmp_path, method):
    with_models(datasets)
    new = METHODS[method](datasets[0], None)
    store = gm.Store.create(tmp_path / "altered.zarr")
    store.commit([store.write_block([new.stored.open().assign_attrs(name=new.name)], "a" * 16)])
    again = gm.Datasets.read(tmp_path / "altered.zarr")[0]
    assert type(again) is type(new)
    assert again.name == new.name
    again.set_models(new.models)
    assert again.stat_sum() == new.stat_sum()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.slice_by_energy("30 TeV", "50 TeV"), "no energy bin between"),
        (lambda d: d.slice_by_energy("3 m"), "is not an energy"),
        (lambda d: d.slice_by_idx({"time": slice(0, 1)}), "no axis 'time'"),
        (lambda d: d.slice_by_idx({"energy": 1}), "expected a slice"),
        (lambda d: d.slice_by_idx({"energy": slice(0, 4, 2)}), "consecutive bins"),
        (lambda d: d.slice_by_idx({"energy": slice(3, 3)}), "consecutive bins"),
        (lambda d: d.resample_energy_axis([30, 40] * u.TeV), "no bins between"),
        (lambda d: d.downsample(5), "cannot be divided by 5"),
        (lambda d: d.downsample(2, "rad"), "axis_name is 'rad'"),
        (lambda d: d.downsample(3, "energy"), "cannot be divided by 3"),
        (lambda d: d.pad(-1), "expected one or two numbers of pixels"),
        (lambda d: d.cutout((83.6, 22.0), 1.0), "expected a single SkyCoord"),
        (lambda d: d.cutout(SkyCoord(180, -20, unit="deg"), 1.0), "outside its maps"),
        (lambda d: d.residuals("ratio"), "expected one of diff"),
        (lambda d: d.stack(d.slice_by_energy("1.4 TeV")), "axes 'energy' differ"),
        (lambda d: d.stack(d.downsample(2)), "pixels are neither the same"),
        (lambda d: d.stack(d.to_spectrum_dataset(CIRCLE)), "one is a map"),
        (lambda d: d.to_spectrum_dataset(CIRCLE).pad(1), "needs a map"),
    ],
)  # fmt: skip
def test_what_cannot_be(datasets, call, message):
    dataset = datasets[0]
    with pytest.raises(InputError, match=message):
        call(dataset)
    assert dataset.counts.shape == (4, 24, 24)


def test_unknown_source(datasets):
    with_models(datasets)
    with pytest.raises(UnknownNameError, match="no source 'crab' among: source"):
        datasets[0].npred_signal("crab")
