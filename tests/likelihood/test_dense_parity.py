"""Compiled likelihoods against the dense reference, for every kind of response."""

import numpy as np
import pytest

from gmdask.models import DatasetModels
from tests.likelihood import cubes, dense
from tests.likelihood.gammapy_response import CompiledDataset
from tests.likelihood.sources import background, gauss, log_parabola, point, power_law

GRIDS = {
    "icrs": {"frame": "icrs", "irf_frame": "galactic"},
    "galactic": {"frame": "galactic", "irf_frame": "icrs", "projection": "TAN"},
    "oblong": {"frame": "icrs", "irf_frame": "icrs", "scale": (0.05, 0.04), "projection": "TAN"},
}
ELONGATED = {"lon": 184.5, "lat": -5.85, "sigma": 0.13, "e": 0.75, "phi": 35.0, "frame": "galactic"}


def check(cube, models):
    models = DatasetModels(models)
    values = models.parameters.value
    expected = dense.npred(cube, models, clip=False)
    npred = CompiledDataset(cube, models, bins="all").npred(values).reshape(expected.shape)
    np.testing.assert_allclose(npred, expected, rtol=0, atol=1e-10 * expected.max())
    stat = dense.cash(np.clip(expected, 0, None), cube["counts"].values, dense.mask_of(cube))
    for bins in ("occupied", "masked"):
        evaluation = CompiledDataset(cube, models, bins=bins).evaluate(values)
        assert evaluation.stat == pytest.approx(stat, rel=1e-9)
    return npred


@pytest.mark.parametrize("edisp", ["migra", "kernel", None])
@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("grid", GRIDS)
def test_point_and_elongated_gaussian(grid, psf, edisp):
    cube = cubes.make_cube(psf=psf, edisp=edisp, **GRIDS[grid])
    sources = [point(spectral=log_parabola()), gauss(**ELONGATED)]
    npred = check(cube, [*sources, background()])
    assert npred.max() > 2 * cube["background"].values.max()


@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("sigma", [0.004, 0.02, 0.05, 0.3])
def test_round_gaussian_at_every_oversampling(sigma, psf):
    """Oversampled by 38, 8 and 3, and (0.3 deg) not at all; the last wider than the map."""
    check(cubes.make_cube(psf=psf), [gauss(sigma=sigma), background()])


@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("shape", [point, gauss])
def test_at_the_border_of_the_map(shape, psf):
    """Cutouts and kernels are trimmed, and flux outside the map is lost."""
    cube = cubes.make_cube(psf=psf, masks=False)
    npred = check(cube, [shape(lon=84.49, lat=22.70), background()])
    assert npred[0, -1, 0] > 1.5 * cube["background"].values[0, -1, 0]


@pytest.mark.parametrize("psf", ["true", "reco"])
@pytest.mark.parametrize("edisp", [True, False])
@pytest.mark.parametrize("with_psf", [True, False])
def test_irfs_that_do_not_apply(psf, edisp, with_psf):
    irfs = {"psf": with_psf, "edisp": edisp}
    models = [point(apply_irf=irfs), gauss(apply_irf=irfs), background()]
    check(cubes.make_cube(psf=psf), models)


def test_a_kernel_larger_than_the_map():
    check(cubes.make_cube(width=0.2, masks=False), [point(), gauss()])


@pytest.mark.parametrize("psf", ["true", "reco"])
def test_a_psf_with_one_pixel_or_one_energy(psf):
    cube = cubes.make_cube(psf=psf, irf_frame="icrs")
    header = cubes.cards("icrs", (1, 1), (3.0, 3.0))
    single = cube.isel(psf_lat=slice(3, 4), psf_lon=slice(3, 4)).assign_attrs(psf_wcs=header)
    check(single, [point(), gauss(), background()])


def test_exposure_with_holes_and_irfs_with_gaps():
    """What is not finite counts as nothing; zero exposure inside the mask is fine."""
    cube = cubes.make_cube(edisp="kernel")
    cube["exposure"][:, 10:14, 16:20] = 0.0
    cube["exposure"][3, 15, 15] = np.nan
    cube["psf"][:, :, :, 5:] = 0.0
    cube["psf"][:, :, :2] = np.nan
    cube["edisp"][:, :, :, 3:] = 0.0
    check(cube, [point(), gauss(), background()])


def test_spectra_at_index_one_and_far_from_it():
    cube = cubes.make_cube()
    for index in (1.0, 1.0 + 1e-7, -0.5, 5.0):
        check(cube, [point(spectral=power_law(index=index)), background()])


def test_no_background_and_no_masks():
    cube = cubes.make_cube(background=False, masks=False)
    check(cube, [point(), gauss(sigma=0.4)])


def test_an_energy_axis_in_another_unit_gives_the_same_counts():
    """The rule of the nodes depends on the unit of the file, and only by rounding."""
    cube = cubes.make_cube()
    models = DatasetModels([point(spectral=log_parabola()), background()])
    other = cube.copy()
    for key in ("energy", "energy_edges"):
        attrs = {**cube[key].attrs, "unit": "MeV"}
        other = other.assign_coords(
            {key: cube[key].copy(data=cube[key].values * 1e6).assign_attrs(attrs)}
        )
    value = CompiledDataset(cube, models).evaluate(models.parameters.value).stat
    changed = CompiledDataset(other, models).evaluate(models.parameters.value).stat
    assert changed == pytest.approx(value, rel=1e-13)
