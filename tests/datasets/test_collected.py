"""Many datasets at once: choices, tables, stores made of stores."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.datasets.derived_cube import computed
from gmdask.errors import (
    DuplicateNameError,
    InputError,
    StoreError,
    StoreExistsError,
    UnknownNameError,
)
from gmdask.store import Store, chosen_rows, describe
from tests.datasets.real_pairs import ours, quiet, theirs
from tests.datasets.synthetic import CENTER
from tests.store.store_cubes import assert_same, make_cube

pytestmark = pytest.mark.gammapy_response

HERE = SkyCoord(*CENTER, unit="deg")


def made(names: str, **sizes: int) -> gm.Datasets:
    return gm.Datasets(gm.MapDataset(make_cube(name, ord(name), **sizes)) for name in names)


def theirs_all(shared, name, n):
    from gammapy.datasets import Datasets

    return Datasets([theirs(shared, name, k) for k in range(n)])


# --- a list -------------------------------------------------------------------------------


def test_choices():
    datasets = made("abcd")
    assert datasets[["c", "a"]].names == ["c", "a"]
    assert datasets[[3, -4]].names == ["d", "a"]
    assert datasets[np.array([True, False, False, True])].names == ["a", "d"]
    assert datasets[1:3].names == ["b", "c"]
    assert datasets[np.int64(2)].name == "c"
    assert datasets[[]].names == []
    with pytest.raises(InputError, match="a mask of length 2 for 4 datasets"):
        datasets[[True, False]]
    with pytest.raises(UnknownNameError, match="no dataset named 'x' among: a, b, c, d"):
        datasets[["a", "x"]]
    with pytest.raises(InputError, match=r"expected a number, a name, a slice, a mask"):
        datasets[1.5]
    with pytest.raises(IndexError):
        datasets[[4]]


def test_append_extend_remove():
    datasets = made("ab")
    datasets.append(made("c")[0])
    with pytest.raises(DuplicateNameError, match="named 'a' already"):
        datasets.extend([*made("d"), *made("a")])
    assert datasets.names == ["a", "b", "c"]
    datasets.extend(made("de"))
    datasets.remove("b")
    datasets.remove(datasets["d"])
    assert datasets.names == ["a", "c", "e"]
    assert [datasets[name].name for name in datasets.names] == datasets.names
    with pytest.raises(UnknownNameError, match="is not the one of this name"):
        datasets.remove(made("c")[0])
    with pytest.raises(InputError, match="expected datasets, got 'f'"):
        datasets.append("f")


def test_who_is_added_follows(datasets):
    models = gm.Models([gm.BackgroundIRFModel(dataset_name=name) for name in datasets.names])
    some = datasets[:2]
    some.follow(gm.Models(models[:2]))
    some.append(datasets[2])
    some.follow(models)
    assert [d.models.names for d in some] == [[f"{name}-bkg"] for name in some.names]
    some.remove("run-1")
    some.follow(gm.Models([models[0], models[2]]))
    assert some.stat_sum() == pytest.approx(sum(d.stat_sum() for d in some))


# --- tables, as Gammapy has them ------------------------------------------------------------


@pytest.mark.parametrize("name", ["crab", "pks2155"])
def test_tables(shared, name):
    own, other = ours(shared, name)[:3], theirs_all(shared, name, 3)
    with quiet():
        expected = other.gti
        low, high = other.energy_ranges
        folder = shared / "data" / name
        full = type(other).read(folder / "datasets.yaml", lazy=False)
        meta = type(other)(full[:3]).meta_table
    for column, times in (("START", expected.time_start), ("STOP", expected.time_stop)):
        np.testing.assert_allclose(own.gti[column].tt.mjd, times.tt.mjd, rtol=0, atol=1e-10)
    np.testing.assert_allclose(own.energy_ranges[0].to_value("TeV"), low.to_value("TeV"), rtol=1e-6)
    np.testing.assert_allclose(own.energy_ranges[1].to_value("TeV"), high.to_value("TeV"), rtol=1e-6)  # fmt: skip
    found = own.meta_table
    assert found.colnames == meta.colnames
    for column in meta.colnames:
        assert list(found[column]) == list(meta[column])
        assert found[column].unit == meta[column].unit


@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("name", ["crab", "pks2155"])
def test_info_table(shared, name, cumulative):
    own, other = ours(shared, name)[:3], theirs_all(shared, name, 3)
    with quiet():
        expected = other.info_table(cumulative=cumulative)
    found = own.info_table(cumulative=cumulative)
    assert set(found.colnames) == set(expected.colnames)
    assert list(found["name"]) == list(expected["name"])
    for column in set(expected.colnames) - {"name", "stat_type", "stat_sum"}:
        one, two = (u.Quantity(table[column]) for table in (found, expected))
        np.testing.assert_allclose(one.to_value(two.unit), two.value, rtol=1e-5, err_msg=column)


def test_cumulative_backgrounds_are_those_of_the_models(datasets):
    same = gm.Datasets(datasets[0].copy(name) for name in "ab")
    models = [gm.BackgroundIRFModel(dataset_name=name) for name in "ab"]
    models[1].spectral_model.norm.value = 3
    same.set_models(models)
    found = same.info_table(cumulative=True)["npred_background"]
    assert found[1] == pytest.approx(4 * found[0], rel=1e-12)
    assert same[0].info_dict()["npred_background"] == pytest.approx(found[0])


def test_tables_of_nothing():
    assert gm.Datasets().gti is None
    assert len(gm.Datasets().meta_table) == 0
    assert len(gm.Datasets().energy_ranges[0]) == 0


def test_select_time(shared):
    own, other = ours(shared, "crab"), theirs_all(shared, "crab", 4)
    starts = own.gti["START"]
    for low, high in ((starts[1] - 1 * u.s, starts[3]), (starts[0], starts[3] + 1 * u.d)):
        with quiet():
            assert own.select_time(low, high).names == other.select_time(low, high).names
    assert own.select_time(starts[0] + 1 * u.min, Time("2020-01-01")).names == own.names[1:]
    assert own.select_time("2000-01-01", "2001-01-01").names == []
    with pytest.raises(InputError, match="not times"):
        own.select_time("yesterday", Time.now())
    bare = gm.Datasets([gm.MapDataset(make_cube("a")[["counts", "exposure"]])])
    with pytest.raises(InputError, match="'a' has no good time intervals"):
        bare.select_time("2000-01-01", "2001-01-01")


def test_slice_by_energy(shared):
    own, other = ours(shared, "hawc"), theirs_all(shared, "hawc", 5)
    low, high = 2 * u.TeV, 6 * u.TeV
    with quiet():
        expected = other.slice_by_energy(low, high)
    found = own.slice_by_energy(low, "6 TeV")
    assert found.names == expected.names
    for one, two in zip(found, expected, strict=True):
        assert float(one.counts.sum()) == two.counts.data.sum()
    datasets = made("ab")
    assert datasets.slice_by_energy(100 * u.TeV).names == []
    with pytest.raises(InputError, match="energy_min is '1 cm', expected an energy"):
        datasets.slice_by_energy("1 cm")
    with pytest.raises(InputError, match="expected more than energy_min"):
        datasets.slice_by_energy(2 * u.TeV, 1 * u.TeV)


# --- stores of stores -----------------------------------------------------------------------


def test_write_and_read(tmp_path, two_workers):
    datasets = gm.Datasets([*made("abc"), *made("d", energy=2), *made("e")])
    first = datasets.write(tmp_path / "one.zarr")
    assert [row.block for row in first.rows].count(first.rows[0].block) == 3
    stored = gm.Datasets.from_store(first)
    events: list[tuple[int, int]] = []
    renamed = gm.Datasets(d.copy(d.name * 2) for d in stored[::-1])
    second = renamed.write(
        tmp_path / "two.zarr", two_workers, on_event=lambda e: events.append((e.done, e.total))
    )
    assert events[-1] == (5, 5)
    assert second.verify() == []
    for one, name in zip(gm.Datasets.from_store(second), "edcba", strict=True):
        assert one.name == name * 2
        assert_same(one.cube.assign_attrs(name=name), datasets[name].cube)


def test_lazy_ones_are_computed_where_they_are_written(datasets, tmp_path, two_workers):
    cut = datasets.cutout(HERE, 1.2)
    spectrum = datasets[0].to_spectrum_dataset(
        f"icrs;circle({CENTER[0]},{CENTER[1]},0.3)", name="s"
    )
    own = gm.Datasets([*cut.slice_by_energy(1 * u.TeV), datasets[2].to_image(name="i"), spectrum])
    found = gm.Datasets.from_store(own.write(tmp_path / "cut.zarr", two_workers))
    assert [type(d).__name__ for d in found] == [type(d).__name__ for d in own]
    for one, other in zip(found, own, strict=True):
        expected = computed(other.cube).assign_attrs(kind=type(other).__name__)
        xr.testing.assert_identical(one.cube.load(), expected)
        assert describe(one.cube) == describe(other.cube)


def test_a_killed_run_is_taken_up(datasets, tmp_path):
    """Blocks have digests of what they are made from, the same in every process."""
    url = tmp_path / "s.zarr"
    own = gm.Datasets([datasets[0].downsample(2), datasets[1].downsample(3)])

    class KilledError(Exception):
        """Where a run ends."""

    told = []

    def kill(event):
        told.append(event.done)
        if told == [1, 1]:  # of a dataset that is made, then of a block that is written
            raise KilledError

    with pytest.raises(KilledError):
        own.write(url, on_event=kill)
    there = {path.name for path in (url / "blocks").iterdir()}
    events: list[int] = []
    again = gm.Datasets.read(datasets[0].stored.url)
    other = gm.Datasets([again[0].downsample(2), again[1].downsample(3)])
    store = other.write(url, on_event=lambda e: events.append(e.done))
    assert events == [2, 2]  # the first was there
    assert there < {row.block for row in store.rows} | {"zarr.json"}
    changed = gm.Datasets([again[0].downsample(2, name="x")]).write(tmp_path / "t.zarr")
    assert changed.rows[0].block[:16] not in {row.block[:16] for row in store.rows}


def test_append_and_overwrite(tmp_path):
    url = tmp_path / "s.zarr"
    made("ab").write(url)
    with pytest.raises(StoreExistsError, match="a store with 2 datasets"):
        made("c").write(url)
    with pytest.raises(DuplicateNameError, match="named 'b' already"):
        made("cb").write(url, append=True)
    with pytest.raises(InputError, match="exclude each other"):
        made("c").write(url, append=True, overwrite=True)
    assert made("c").write(url, append=True).version == 3
    stored = gm.Datasets.read(url)
    stored[["c", "a"]].write(url, overwrite=True)  # of itself
    assert gm.Datasets.read(url).names == ["c", "a"]
    assert_same(stored["b"].cube, made("b")[0].cube)  # a reader of the old state


def test_compact(tmp_path, one_worker):
    url = tmp_path / "s.zarr"
    for name in "abc":
        made(name).write(url, append=name != "a")
    made("d", energy=2).write(url, append=True)
    made("ef").write(url, append=True)
    made("g").write(url, append=True)
    before, store = Store.open(url), gm.compact(url, one_worker)
    assert [row.name for row in store.rows] == list("abcdefg")
    assert len({row.block for row in store.rows}) == 3
    assert store.rows[3].block == before.rows[3].block
    for name, dataset in zip("abcdefg", gm.Datasets.read(url), strict=True):
        sizes = {"energy": 2} if name == "d" else {}
        assert_same(dataset.cube, made(name, **sizes)[0].cube)
    assert_same(before.open_row(before.rows[0]), made("a")[0].cube)
    assert gm.compact(url).version == store.version  # nothing left to do
    store.gc(0)
    assert store.verify() == []


def test_compact_keeps_what_comes_meanwhile(tmp_path):
    url = tmp_path / "s.zarr"
    made("a").write(url)
    made("b").write(url, append=True)
    meanwhile = iter("c")

    def append(event):
        for name in meanwhile:  # at the first event only
            made(name).write(url, append=True)

    store = gm.compact(url, on_event=append)
    assert [row.name for row in store.rows] == list("abc")
    made("d").write(url, append=True)
    with pytest.raises(StoreError, match="was replaced by another process"):
        gm.compact(url, on_event=lambda event: made("z").write(url, overwrite=True))
    assert gm.Datasets.read(url).names == ["z"]


def test_conditions(tmp_path):
    rows = made("abc").write(tmp_path / "s.zarr").rows

    def chosen(*conditions):
        return "".join(r.name for r, ok in zip(rows, chosen_rows(rows, conditions), strict=True) if ok)  # fmt: skip

    assert chosen() == "abc"
    assert chosen("name != b") == "ac"
    assert chosen("name == 'b'") == chosen('name = "b"') == "b"
    assert chosen("name ~ '[ab]'") == "ab"
    assert chosen("name == 'b") == ""  # a quote alone is part of the name
    assert chosen("name ~ [ab]", f"livetime>{rows[0].livetime}") == "b"
    low = "abc"[: sum(row.pointing.lon <= 92.75 for row in rows)]
    assert chosen("lon <= 92.75", "counts >= 0", "kind==MapDataset", "frame = icrs") == low == "a"
    for wrong in (
        "",
        "x > 1",
        "livetime ~ 3",
        "name < b",
        "counts > many",
        "name",
        "__class__ = 1",
    ):
        with pytest.raises(InputError, match="condition"):
            chosen(wrong)


def test_spectra_of_all_datasets_are_gammapys(survey, datasets) -> None:
    from gammapy.datasets import Datasets as TheirDatasets

    region = CircleSkyRegion(SkyCoord(83.63, 22.01, unit="deg"), 0.3 * u.deg)
    ours = datasets.to_spectrum_datasets(region)
    theirs = TheirDatasets.read(survey, checksum=False).to_spectrum_datasets(region)
    assert len(ours) == len(theirs) == len(datasets)
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(own.counts.values, other.counts.data)
        np.testing.assert_allclose(own.exposure.values, other.exposure.data, rtol=1e-5)
