"""Out to Gammapy and back: nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion, EllipseSkyRegion

import gmdask as gm
from gmdask.errors import CorruptStoreError, InputError, StoreError
from gmdask.geometry.regions import Region
from gmdask.store import Store
from tests.datasets.real_pairs import compare_maps, ours, quiet, theirs
from tests.datasets.synthetic import CENTER

pytestmark = pytest.mark.gammapy_response

ANALYSES = ("crab", "pks2155", "hawc", "fermi_crab")


def assert_equal(one: xr.Dataset, other: xr.Dataset, region_rtol: float = 0) -> None:
    """Arrays, dtypes, axes, units, WCS and metadata."""
    assert set(one.variables) == set(other.variables)
    for key in one.variables:
        assert one[key].dtype == other[key].dtype, key
        assert one[key].dims == other[key].dims, key
        np.testing.assert_array_equal(one[key].values, other[key].values, err_msg=str(key))
        assert one[key].attrs == other[key].attrs, key
    assert set(one.attrs) == set(other.attrs)
    for key in set(one.attrs) - {"region", "wcs", "psf_wcs", "edisp_wcs"}:
        assert one.attrs[key] == other.attrs[key], key


@pytest.mark.parametrize("name", ANALYSES)
def test_import_after_export(shared, name, tmp_path):
    own = ours(shared, name)[:2]
    path = gm.export_datasets(own, tmp_path / "out")
    again = gm.Datasets.read(path)
    assert again.names == own.names
    for one, other in zip(again, own, strict=True):
        assert_equal(one.cube, other.cube)
        for key in ("wcs", "psf_wcs", "edisp_wcs"):
            assert one.cube.attrs.get(key) == other.cube.attrs.get(key)


@pytest.mark.parametrize("name", ANALYSES)
def test_gammapy_reads_what_is_exported(shared, name, tmp_path):
    from gammapy.datasets import Datasets

    own, other = ours(shared, name)[:1], theirs(shared, name)
    path = gm.export_datasets(own, tmp_path / "out")
    with quiet():
        (found,) = Datasets.read(path)
    assert type(found) is type(other)
    compare_maps(own[0], found)
    assert found.counts.geom == other.counts.geom
    assert found.exposure.geom == other.exposure.geom
    assert found.exposure.meta.get("livetime") == other.exposure.meta.get("livetime")


@pytest.mark.parametrize("name", ANALYSES)
def test_objects_and_back(shared, name):
    own = ours(shared, name)[0]
    made = gm.to_gammapy(own)
    other = theirs(shared, name)
    with quiet():
        assert made.counts.geom == other.counts.geom
        assert (made.gti is None) == (other.gti is None)
        if other.gti is not None and len(other.gti.table):
            np.testing.assert_allclose(made.gti.time_sum.to_value("s"), other.gti.time_sum.to_value("s"))  # fmt: skip
            assert abs(made.gti.time_start[0] - other.gti.time_start[0]) < 1e-6 * u.s
    again = gm.from_gammapy(made)
    assert_arrays(again, own)


def assert_arrays(one: gm.MapDataset, other: gm.MapDataset) -> None:
    assert type(one) is type(other)
    assert one.name == other.name
    for key in other.cube.variables:
        np.testing.assert_allclose(one.cube[key], other.cube[key], rtol=1e-12, err_msg=str(key))
    for key in ("meta_table", "gti"):
        assert one.cube.attrs.get(key) == other.cube.attrs.get(key)
    assert one.exposure.attrs.get("unit") == other.exposure.attrs.get("unit")


@pytest.mark.parametrize("kind", ["SpectrumDataset", "MapDataset"])
def test_regions(datasets, tmp_path, kind):
    center = SkyCoord(*CENTER, unit="deg")
    shapes = [
        CircleSkyRegion(center, 0.3 * u.deg),
        EllipseSkyRegion(center, 0.8 * u.deg, 0.4 * u.deg, 30 * u.deg),
    ]
    if kind == "SpectrumDataset":
        own = [d.to_spectrum_dataset(s) for d, s in zip(datasets, shapes, strict=False)]
    else:
        own = [d.to_region_map_dataset(s) for d, s in zip(datasets, shapes, strict=False)]
    again = gm.Datasets.read(gm.export_datasets(own, tmp_path / "out"))
    back = gm.from_gammapy(gm.to_gammapy(own))
    assert [type(d).__name__ for d in back] == [kind, kind]
    for found in (again, back):
        for one, other in zip(found, own, strict=True):
            assert_arrays(one, other)
            regions = [Region.from_dict(d.cube.attrs["region"]) for d in (one, other)]
            np.testing.assert_allclose(regions[0].center, regions[1].center, rtol=0, atol=1e-9)
            assert regions[0].solid_angle == pytest.approx(regions[1].solid_angle, rel=1e-9)
            assert repr(regions[0]) == repr(regions[1])


def test_stacks_and_lazy_ones(datasets, tmp_path, two_workers):
    """What is described is computed where its file is written; names become names of files."""
    own = gm.Datasets(
        [
            datasets[0].cutout(SkyCoord(*CENTER, unit="deg"), 1.0, name="a/b"),
            datasets[1].to_image(name="a_b"),
            datasets[2].copy("."),
        ]
    )
    events: list[int] = []
    folder = tmp_path / "out"
    folder.mkdir()
    path = gm.export_datasets(own, folder, two_workers, on_event=lambda e: events.append(e.done))
    assert events == [1, 2, 3]
    assert len(list(path.parent.iterdir())) == 4
    assert list(tmp_path.iterdir()) == [folder]
    again = gm.Datasets.read(path)
    assert again.names == own.names
    for one, other in zip(again, own, strict=True):
        assert_arrays(one, other)


def test_from_gammapy_to_a_store_and_a_fit(shared, tmp_path):
    made = gm.from_gammapy([theirs(shared, "crab", k) for k in range(2)])
    store = made.write(tmp_path / "s.zarr")
    for one, row in zip(made, store.rows, strict=True):
        assert_arrays(one, gm.Datasets.from_store(store)[row.name])
    models = gm.Models.read(shared / "data/crab/models_start.yaml")
    chosen = [m for m in models if m.datasets_names is None or set(m.datasets_names) <= set(made.names)]  # fmt: skip
    made.set_models(chosen)
    again = gm.Datasets.from_store(Store.open(store.url))
    again.set_models(chosen)
    assert made.stat_sum() == again.stat_sum()


def test_refused(datasets, tmp_path):
    from gammapy.datasets import MapDataset, MapDatasetOnOff
    from gammapy.maps import HpxGeom, HpxNDMap

    counts = HpxNDMap.__new__(HpxNDMap)  # making one in full takes a package that need not be there
    counts._geom = HpxGeom.__new__(HpxGeom)
    sky = MapDataset(name="all")
    sky.counts = counts
    with pytest.raises(InputError, match=r"'all' of Gammapy: counts has HEALPix pixels"):
        gm.from_gammapy(sky)
    with pytest.raises(
        InputError, match="is a MapDatasetOnOff, expected one of Gammapy's MapDataset"
    ):
        gm.from_gammapy(MapDatasetOnOff(name="on-off"))
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"contains thesis\.tex; choose a new or empty folder"):
        gm.export_datasets(datasets, tmp_path)
    with pytest.raises(
        InputError, match=r"thesis\.tex: already exists and is a file; choose a new"
    ):
        gm.export_datasets(datasets, tmp_path / "thesis.tex")
    with pytest.raises(StoreError, match="cannot be written"):
        gm.export_datasets(datasets, tmp_path / "no" / "folder")
    store = datasets.write(tmp_path / "s.zarr")
    (shard,) = (tmp_path / "s.zarr" / "blocks" / store.rows[2].block / "psf").rglob("0/0/0/0/0")
    shard.unlink()
    with pytest.raises(CorruptStoreError, match="array psf"):
        gm.export_datasets(gm.Datasets.from_store(store), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.zarr", "thesis.tex"]


def test_the_second_of_two_exports_at_once_is_told_what_is_there(datasets, tmp_path):
    folder = tmp_path / "out"

    def another(event):
        if event.done == 1 and not folder.exists():
            gm.export_datasets(datasets, folder)

    with pytest.raises(
        InputError,
        match=r"out: already exists and contains datasets\.yaml, .*, \.\.\.; choose a new",
    ):
        gm.export_datasets(datasets, folder, on_event=another)
    assert len(gm.Datasets.read(folder / "datasets.yaml")) == len(datasets)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
