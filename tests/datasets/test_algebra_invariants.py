"""Random small datasets through random sequences of methods: what must stay, stays."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import gmdask as gm
from gmdask.datasets.creation import ResponseMap
from gmdask.datasets.derived_cube import AlteredCube, computed
from gmdask.datasets.operations.irf import irf_mask
from gmdask.geometry import Axis

AT = SkyCoord(40.0, 20.0, unit="deg")
SIZE, PIXEL = 12, 0.1
ENERGY, TRUE = np.geomspace(1, 16, 5), np.geomspace(0.5, 32, 4)


def cards(n: int, pixel: float) -> dict:
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": (n + 1) / 2, "CRPIX2": (n + 1) / 2,
        "CRVAL1": 40.0, "CRVAL2": 20.0, "CDELT1": -pixel, "CDELT2": pixel, "CUNIT1": "deg",
        "CUNIT2": "deg", "RADESYS": "ICRS",
    }  # fmt: skip


def make(seed: int, name: str = "d") -> gm.MapDataset:
    """A dataset of random numbers, with kernels and a PSF of three by three pixels."""
    rng = np.random.default_rng(seed)
    energy, true = (Axis(k, e, unit="TeV") for k, e in (("energy", ENERGY), ("energy_true", TRUE)))
    rad = Axis("rad", np.linspace(0, 0.5, 6), "lin", unit="deg")
    maps, irf = (4, SIZE, SIZE), (3, 3)
    psf = ResponseMap(
        rng.uniform(0.1, 1, (3, 5, *irf)), (true, rad), cards(3, 0.5), "deg-2",
        rng.uniform(1, 5, (3, *irf)) * 1e10,
    )  # fmt: skip
    edisp = ResponseMap(
        rng.uniform(0, 0.3, (3, 4, *irf)), (true, energy), cards(3, 0.5), "",
        rng.uniform(1, 5, (3, *irf)) * 1e10,
    )  # fmt: skip
    masks = [rng.uniform(size=maps) < p for p in (0.8, 0.9)]
    dataset = gm.MapDataset.from_arrays(
        name, wcs=cards(SIZE, PIXEL), energy=energy, energy_true=true,
        counts=rng.poisson(2.0, maps).astype(np.float32), background=rng.uniform(0, 3, maps),
        exposure=rng.uniform(0, 5, (3, SIZE, SIZE)) * 1e10, mask_safe=masks[0], mask_fit=masks[1],
        psf=psf, edisp=edisp,
    )  # fmt: skip
    norm = gm.PowerLawNormSpectralModel(norm=rng.uniform(0.5, 2), tilt=rng.uniform(-0.5, 0.5))
    dataset.set_models([gm.BackgroundIRFModel(norm, dataset_name=name)])
    return dataset


def masked_sum(dataset: gm.MapDataset, values) -> float:
    return float(np.where(dataset.mask_safe, values, 0.0).sum())


KEEPS = {  # sums within the safe mask
    "image": lambda d: d.to_image(),
    "energies": lambda d: d.downsample(2, "energy") if d.counts.shape[0] % 2 == 0 else d,
    "coarser": lambda d: d.downsample(2) if not any(n % 2 for n in d.counts.shape[1:]) else d,
    "pad": lambda d: d.pad((1, 2)),
    "masked": lambda d: d.to_masked(),
    "copy": lambda d: d.copy("e"),
}
CUTS = {
    "cutout": lambda d: d.cutout(AT, (0.7, 0.9) * u.deg),
    "slice": lambda d: d.slice_by_energy(energy_max=8 * u.TeV),
}
LIMITED = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEW = settings(LIMITED, max_examples=6)  # a stack builds a large graph

keeping = st.lists(st.sampled_from(sorted(KEEPS)), max_size=4)
any_steps = st.lists(st.sampled_from(sorted(KEEPS | CUTS)), max_size=4)
seeds = st.integers(0, 1000)


def through(dataset: gm.MapDataset, steps: list[str]) -> gm.MapDataset:
    for step in steps:
        dataset = (KEEPS | CUTS)[step](dataset)
    return dataset.compute()


@given(seeds, keeping)
@LIMITED
def test_counts_and_background_are_conserved(seed, steps):
    """Inside the safe mask, where all of what is there is summed."""
    dataset = make(seed)
    new = through(dataset, steps)
    assert masked_sum(new, new.counts) == masked_sum(dataset, dataset.counts)
    expected = masked_sum(dataset, dataset.npred_background())
    assert masked_sum(new, new.npred_background()) == pytest.approx(expected, rel=1e-12)


@given(seeds, any_steps)
@LIMITED
def test_nothing_is_won(seed, steps):
    """Cuts leave no more counts than there were, and masks with no more in them."""
    dataset = make(seed)
    new = through(dataset, steps)
    assert masked_sum(new, new.counts) <= masked_sum(dataset, dataset.counts)
    assert int(new.mask_safe.sum()) <= int(dataset.mask_safe.sum())
    assert float(new.exposure.max()) <= float(dataset.exposure.max()) * (1 + 1e-12)
    assert float(new.exposure.min()) >= 0


@given(seeds, any_steps)
@LIMITED
def test_lazy_equals_eager(seed, steps):
    dataset = make(seed)
    new = dataset
    for step in steps:
        new = (KEEPS | CUTS)[step](new)
    eager = dataset.compute()
    for step in steps:
        eager = gm.MapDataset(computed((KEEPS | CUTS)[step](eager).cube).load()).copy(eager.name)
        eager.set_models(dataset.models)
    for key in new.cube.data_vars:
        if key != "background":  # of which the model follows a new name only where it is kept
            np.testing.assert_array_equal(new.cube[key], eager.cube[key], err_msg=str(key))
    assert new.cube.attrs["wcs"] == eager.cube.attrs["wcs"]


@given(seeds, seeds, any_steps)
@example(0, 118, [])
@FEW
def test_sums_and_means_of_a_stack(one, two, steps):
    """Counts add up, masks are joined, means lie between what they are of."""
    first, second = (through(make(seed, name), steps) for seed, name in ((one, "a"), (two, "b")))
    counts = masked_sum(first, first.counts) + masked_sum(second, second.counts)
    background = sum(masked_sum(d, d.npred_background()) for d in (first, second))
    stack = first.to_masked().stack(second).compute()
    assert float(stack.counts.sum()) == counts
    assert float(stack.npred_background().sum()) == pytest.approx(background, rel=1e-12)
    np.testing.assert_array_equal(stack.mask_safe, first.mask_safe.values | second.mask_safe.values)
    own = first.to_masked().compute().cube
    for key in ("psf", "edisp"):
        safe = irf_mask(
            second.cube, key
        )  # where not, the second's exposure comes without its response
        parts = own[key].values, (second.cube[key].variable * safe).transpose(*own[key].dims).values
        weight = stack.cube[f"{key}_exposure"].values[:, None] > 0
        low, high = np.minimum(*parts) * (1 - 1e-12), np.maximum(*parts) * (1 + 1e-12)
        mean = stack.cube[key].values
        assert ((low <= mean) & (mean <= high) | ~weight).all()


@given(seeds, seeds)
@FEW
def test_order_of_a_stack_does_not_matter(one, two):
    first, second = make(one, "a"), make(two, "b")
    ab = first.to_masked().stack(second).compute()
    ba = second.to_masked().stack(first).compute()
    for key in (
        "counts",
        "exposure",
        "mask_safe",
        "psf",
        "edisp",
        "psf_exposure",
        "edisp_exposure",
    ):
        np.testing.assert_allclose(ab.cube[key], ba.cube[key], rtol=1e-12, err_msg=key)
    np.testing.assert_allclose(ab.npred_background(), ba.npred_background(), rtol=1e-12)


def test_a_description_is_plain_data(datasets):
    """It survives a trip to another process."""
    import pickle

    image = datasets[0].to_masked().to_image()
    again = pickle.loads(pickle.dumps(image.stored))
    assert isinstance(again, AlteredCube)
    np.testing.assert_array_equal(again.open()["counts"], image.counts)
