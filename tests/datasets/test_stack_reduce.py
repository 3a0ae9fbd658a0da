"""Many datasets as one: as stacks one after the other, and the same bits everywhere."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.data import GTI

import gmdask as gm
from gmdask.datasets.derived_cube import computed
from gmdask.datasets.operations.stack import emptied
from gmdask.errors import InputError
from tests.datasets.synthetic import CENTER, make_run, models
from tests.store.store_cubes import make_cube

pytestmark = pytest.mark.gammapy_response


def cubes(n: int) -> gm.Datasets:
    """Small datasets on the same pixels, with masks, tables and good time intervals."""
    found = []
    for seed in range(n):
        cube = make_cube(f"obs-{seed}", seed, n_gti=seed % 3 + 1)
        cube.attrs["wcs"] = make_cube("x", 0).attrs["wcs"]
        weight = np.abs(np.random.default_rng(seed).normal(size=cube["edisp_exposure"].shape))
        cube["edisp_exposure"] = (cube["edisp_exposure"].dims, weight, {"unit": "m2 s"})
        found.append(gm.MapDataset(cube))
    return gm.Datasets(found)


def one_after_the_other(datasets, name):
    total = datasets[0].to_masked(name)
    for dataset in datasets[1:]:
        total.stack(dataset)
    return total


def assert_close(one: gm.MapDataset, other: gm.MapDataset) -> None:
    a, b = computed(one.cube), computed(other.cube)
    assert set(a.variables) == set(b.variables)
    for key in a.data_vars:
        np.testing.assert_allclose(a[key], b[key], rtol=1e-12, atol=1e-12 * float(np.abs(b[key]).max()))  # fmt: skip
    tables = {k: a.attrs.get(k) for k in a.attrs}, {k: b.attrs.get(k) for k in b.attrs}
    assert tables[0] == tables[1]


def bits(cube: xr.Dataset) -> dict[str, bytes]:
    return {str(key): np.asarray(array).tobytes() for key, array in cube.variables.items()}


def test_is_a_sum():
    """The tree adds up what one after the other does: below, at and beyond one and two full nodes of eight."""
    datasets = cubes(17)
    total = datasets[0].to_masked("sum")
    for n, dataset in enumerate(datasets, start=1):
        if n > 1:
            total.stack(dataset)
        if n in (1, 2, 8, 9, 17):
            assert_close(datasets[:n].stack_reduce("sum"), total)


def test_counts_are_conserved():
    datasets = cubes(19)
    found = datasets.stack_reduce()
    assert found.name == "obs-0"
    inside = sum(float(d.counts.where(d.mask_safe, 0).sum()) for d in datasets)
    assert float(found.counts.sum()) == inside
    assert not (found.counts.where(~found.mask_safe, 0) != 0).any()
    livetime = sum(1000.5 + seed for seed in range(19))
    assert found.exposure.attrs["meta"]["livetime"] == f"{livetime} s"
    assert found.cube.attrs["meta_table"]["columns"]["OBS_ID"]["values"] == [23523]


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> gm.Datasets:
    """The same in a store."""
    url = tmp_path_factory.mktemp("stored") / "many.zarr"
    return gm.Datasets.from_store(cubes(19).write(url))


def test_same_bits_everywhere(stored, one_worker, two_workers):
    events: list[tuple[str, int, int]] = []
    here = stored.stack_reduce(on_event=lambda e: events.append((e.work, e.done, e.total)))
    assert events == [("stack", 8, 19), ("stack", 16, 19), ("stack", 19, 19)]
    assert bits(cubes(19).stack_reduce().cube) == bits(here.cube)
    for client in (one_worker, two_workers):
        assert bits(stored.stack_reduce(client=client).cube) == bits(here.cube)


def test_models_that_are_left(stored):
    chosen = stored[:10]
    norms = [gm.BackgroundIRFModel(dataset_name=name) for name in chosen.names[1:]]
    source = gm.SkyModel(
        gm.PowerLawSpectralModel(), gm.PointSpatialModel(lon_0=83.6, lat_0=22.0), name="source"
    )
    own = gm.Models([source, *norms])
    own["obs-3-bkg"].spectral_model.norm.value = 1.5
    own["obs-1-bkg"].spectral_model.norm.value = 0.7
    chosen.set_models(own)
    before = own.to_dict()
    found, expected = chosen.stack_reduce("sum"), one_after_the_other(chosen, "sum")
    assert own.to_dict() == before
    assert found.models.names == expected.models.names
    assert found.models.names[0] == "source"
    assert found.models.to_dict() == expected.models.to_dict()
    np.testing.assert_allclose(found.npred_background(), expected.npred_background(), rtol=1e-12)
    total = sum(d.npred_background().where(d.mask_safe, 0).values for d in chosen)
    np.testing.assert_allclose(found.npred_background(), total, rtol=1e-12)
    chosen.set_models(None)


def test_onto_other_pixels(stored):
    """An empty dataset in front says where to."""
    wide = stored[0].pad(6, "all")
    empty = gm.MapDataset(emptied(wide.cube))
    parts = [stored[k] for k in range(3)]
    found = gm.Datasets([empty, *parts]).stack_reduce()
    assert found.name == "all"
    inside = sum(float(d.counts.where(d.mask_safe, 0).sum()) for d in parts)
    assert float(found.counts.sum()) == inside > 0
    assert not found.counts[:, :6].any()


def test_refused(datasets, one_worker):
    with pytest.raises(InputError, match="no datasets to stack"):
        gm.Datasets().stack_reduce()
    from regions import CircleSkyRegion

    center = SkyCoord(*CENTER, unit="deg")
    spectrum = datasets[1].to_spectrum_dataset(CircleSkyRegion(center, 0.3 * u.deg))
    with pytest.raises(InputError, match=r"'run-1' is a SpectrumDataset, expected a MapDataset"):
        gm.Datasets([datasets[0], spectrum]).stack_reduce()
    other = datasets[1].slice_by_energy(1 * u.TeV)
    for client in (None, one_worker):
        with pytest.raises(InputError, match=r"'run-1' stacked onto 'run-0': the axes 'energy'"):
            gm.Datasets([datasets[0], other]).stack_reduce(client=client)


@pytest.fixture(scope="module")
def wide():
    """Runs of Gammapy whose PSF map covers the whole sky in two pixels, as Fermi-LAT's do, with exposure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gammapy's own
        made = [make_run(f"run-{k}", 0, 16) for k in range(2)]
    for k, run in enumerate(made):
        run.psf.exposure_map.quantity = np.full(run.psf.exposure_map.data.shape, k + 1.0) * u.Unit(
            "m2 s"
        )
        run.gti = GTI.create(3600 * k * u.s, (3600 * k + 1800) * u.s, "2020-01-01")
        run.mask_safe.data[:] = True
    return made


def source_counts(dataset):
    dataset.set_models(models([]))
    return float(dataset.npred_signal().sum())


@pytest.mark.parametrize("with_weights", [True, False])
def test_responses_larger_than_the_field_are_kept(with_weights, wide):
    """The centres of their pixels lie outside of all masks; what they are used for does not."""
    first = wide[0].copy(name="a")
    if not with_weights:
        first.psf.exposure_map.data[:] = 0
    one = gm.from_gammapy(first)
    whole = source_counts(one)
    assert whole > 10
    assert source_counts(one.to_masked()) == pytest.approx(whole, rel=1e-9)
    two = gm.Datasets([one, one.copy("b")]).stack_reduce("sum")
    assert source_counts(two) == pytest.approx(2 * whole, rel=1e-9)


def test_real_responses_larger_than_the_field(shared):
    """Fermi-LAT's PSF covers the sky in two pixels; exposure outside the safe mask is lost, 0.03 %."""
    (crab,) = gm.Datasets.read(shared / "data/fermi_crab/datasets.yaml")
    source = [
        m
        for m in gm.Models.read(shared / "data/fermi_crab/models_start.yaml")
        if isinstance(m, gm.SkyModel)
    ]
    crab.set_models(source)
    whole = float(crab.npred_signal().sum())
    assert whole == pytest.approx(1935.647, rel=1e-5)
    assert float(crab.to_masked().npred_signal().sum()) == pytest.approx(whole, rel=5e-4)


def test_small_masks_between_the_pixels_of_a_response(wide):
    """A response of a few pixels counts where the safe bins are, although no centre of it is safe."""
    run = wide[0].copy(name="a")
    run.mask_safe.data[:] = False
    run.mask_safe.data[:, 9:12, 9:12] = True
    one = gm.from_gammapy(run)
    masked = one.to_masked()
    for dataset in (one, masked):
        dataset.set_models(models([]))
    inside = [float(d.npred_signal()[:, 10, 10].sum()) for d in (one, masked)]
    assert masked.psf.sum() > 0
    assert inside[1] > 0.1 * inside[0] > 0


def test_good_time_of_a_run_without_safe_bins_does_not_count(wide):
    good, bad = (run.copy(name=name) for run, name in zip(wide, "ab", strict=True))
    bad.mask_safe.data[:] = False
    bad.exposure.meta["livetime"] = good.exposure.meta["livetime"] = 1700 * u.s
    own = gm.Datasets([gm.from_gammapy(good), gm.from_gammapy(bad)])
    found = own.stack_reduce("sum")
    assert found.cube["gti_start"].values.tolist() == own[0].cube["gti_start"].values.tolist()
    assert found.info_dict()["ontime"].to_value("s") == pytest.approx(1800)
    assert found.info_dict()["livetime"].to_value("s") == pytest.approx(1700)
    assert own[0].copy("c").stack(own[1]).info_dict()["ontime"].to_value("s") == pytest.approx(1800)
