"""Where likelihoods go wrong: nothing there, nothing predicted, negative, outside."""

import numpy as np
import pytest

from gmdask.models import BackgroundIRFModel, DatasetModels, PowerLawNormSpectralModel
from tests.likelihood import cubes, dense
from tests.likelihood.gammapy_response import CompiledDataset
from tests.likelihood.sources import background, derivative, free_of, gauss, point, power_law

FLOOR = -2 * np.log(1e-25)  # 115.129 per count
PSFS = ["true", "reco", None]
SHAPES = {"point": point, "gauss": gauss}


def evaluate(cube, models, bins="occupied", order=0):
    models = DatasetModels(models)
    return CompiledDataset(cube, models, bins=bins).evaluate(models.parameters.value, order=order)


def check_stat(cube, models, rel=1e-9):
    """Every order, in both kinds of bins, against the dense reference."""
    expected = dense.stat(cube, DatasetModels(models))
    for bins in ("occupied", "masked"):
        for order in (0, 1, 2):
            evaluation = evaluate(cube, models, bins, order)
            assert evaluation.stat == pytest.approx(expected, rel=rel, abs=1e-9)
    return evaluation


# --- datasets --------------------------------------------------------------------------


def unreached(cube, model):
    """Bins of the mask without counts; what transforms leave there, of either sign, being below zero."""
    models = DatasetModels([model])
    ours = CompiledDataset(cube, models, bins="all").npred(models.parameters.value)
    nothing = (dense.npred(cube, models) == 0) & (ours.reshape(cube["counts"].shape) <= 0)
    return dense.mask_of(cube) & nothing


@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("shape", SHAPES)
def test_counts_where_nothing_reaches(shape, psf):
    cube = cubes.make_cube(psf=psf, background=False, edisp="kernel")
    cube["counts"].values[:] = 0
    model = SHAPES[shape](spectral=power_law("1e-11 cm-2 s-1 TeV-1"))
    before, beyond = evaluate(cube, [model], "masked", order=2), unreached(cube, model)
    if not beyond.any():
        cube["exposure"][:, 5:7, 5:7] = 0.0
        before, beyond = evaluate(cube, [model], "masked", order=2), unreached(cube, model)
    places = np.argwhere(beyond)[:2]
    for k, place in enumerate(places):
        cube["counts"].values[tuple(place)] = 2.0 + k
    for bins in ("occupied", "masked"):
        evaluation = evaluate(cube, [model], bins, order=2)
        assert evaluation.n_floor == 2
        assert evaluation.stat - before.stat == pytest.approx(5 * FLOOR, rel=1e-12)
        np.testing.assert_allclose(evaluation.gradient, before.gradient, rtol=1e-10)


@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "position",
    [
        (84.63, 22.01),
        (84.75, 22.01),
        (83.63, 22.87),
        (83.63, 21.0),
        (85.5, 22.0),
        (263.6, -22.0),
        (83.6, 89.0),
    ],
)
def test_sources_beyond_the_field(shape, position, psf):
    """From just outside the map, where PSF and extension may reach in, to the antipode."""
    cube = cubes.make_cube(psf=psf)
    check_stat(cube, [SHAPES[shape](*position), background()])


@pytest.mark.parametrize("projection", ["TAN", "CAR"])
@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("edisp", ["kernel", "migra", None])
def test_a_source_behind_the_plane_of_projection(psf, edisp, projection):
    """A tangential projection has no pixel for the other half of the sky, IRF maps included."""
    cube = cubes.make_cube(psf=psf, edisp=edisp, projection=projection)
    for key, shape, scale in (("psf_wcs", (7, 8), 0.3), ("edisp_wcs", (8, 9), 0.25)):
        if key in cube.attrs:
            cube.attrs[key] = cubes.cards("icrs", shape, (scale, scale), projection)
    alone = evaluate(cube, [background()]).stat
    for order in (0, 1, 2):
        evaluation = evaluate(cube, [point(263.63, -22.01), background()], order=order)
        assert evaluation.stat == pytest.approx(alone, rel=1e-14)


@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_source_that_leaves_comes_back(shape, psf):
    cube = cubes.make_cube(psf=psf)
    models = DatasetModels([SHAPES[shape](), background()])
    compiled, here = CompiledDataset(cube, models), models.parameters.value
    away = here.copy()
    away[models.parameters.names.index(f"{shape}.spatial.lon_0")] += 3.0
    at_home = compiled.evaluate(here, order=1)
    gone = compiled.evaluate(away, order=2)
    assert gone.stat == pytest.approx(evaluate(cube, [background()]).stat, rel=1e-14)
    n_source = len(models[shape].parameters.free)
    assert not gone.gradient[:n_source].any()
    assert not gone.observed[:n_source].any()
    back = compiled.evaluate(here, order=1)
    assert back.stat == at_home.stat
    assert np.array_equal(back.gradient, at_home.gradient)


@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("amplitude", [-1e-13, -3e-11])
def test_negative_amplitudes(shape, psf, amplitude):
    """The total is clipped at zero: exact only where every bin of the mask is looked at."""
    cube = cubes.make_cube(psf=psf)
    spectral = power_law(f"{amplitude} cm-2 s-1 TeV-1")
    other = gauss(83.7, 22.0, name="other", spectral=power_law("1e-12 cm-2 s-1 TeV-1"))
    models = [SHAPES[shape](spectral=spectral), other, background()]
    evaluation = check_stat(cube, models)
    clipped = dense.npred(cube, DatasetModels(models), clip=False)[dense.mask_of(cube)] <= 0
    assert clipped.any() == (amplitude == -3e-11)
    assert np.isfinite(evaluation.observed).all()


@pytest.mark.parametrize("norm", [-0.2, -2.0])
def test_a_negative_norm(norm):
    cube = cubes.make_cube()
    evaluation = check_stat(cube, [gauss(), background(norm=norm)])
    assert evaluation.n_floor > 0


def test_a_negative_background_template():
    """Subtracted backgrounds have negative bins; the total of them is clipped as well."""
    cube = cubes.make_cube()
    cube["background"].values[1:3, 10:20, 10:14] *= -1.0
    cube["counts"].values[1, 10:20, 10:14] = 0
    check_stat(cube, [point(), background()])


def test_gradient_where_the_total_is_clipped():
    """A bin below zero has a constant statistic: it must not pull."""
    cube = cubes.make_cube()
    models = DatasetModels([point(spectral=power_law("-3e-11 cm-2 s-1 TeV-1")), background()])
    compiled, values = CompiledDataset(cube, models), models.parameters.value
    evaluation = compiled.evaluate(values, order=1)
    columns = np.flatnonzero(free_of(models))
    sigma = np.sqrt(2 / np.maximum(np.diag(evaluation.gauss_newton), 1e-300))
    slope = derivative(lambda x: compiled.evaluate(x, values).stat, values, columns, 1e-3 * sigma)
    # the statistic is 1e5, and a step 1e-3 of an error: rounding alone gives 1e-7
    np.testing.assert_allclose(evaluation.gradient * sigma, slope * sigma, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_background", [True, False])
def test_all_masked(shape, psf, with_background):
    cube = cubes.make_cube(psf=psf, background=with_background)
    cube["mask_fit"].values[:] = False
    models = [SHAPES[shape](), *([background()] if with_background else [])]
    for order in (0, 1, 2):
        evaluation = evaluate(cube, models, order=order)
        assert evaluation.stat == 0.0
    assert not evaluation.gradient.any()
    assert not evaluation.observed.any()


@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_counts_at_all(shape, psf):
    cube = cubes.make_cube(psf=psf)
    cube["counts"].values[:] = 0
    evaluation = check_stat(cube, [SHAPES[shape](), background()])
    assert not evaluation.gauss_newton.any()


@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("shape", SHAPES)
def test_counts_only_far_from_the_source(shape, psf):
    """No bin with counts within reach, as in many short runs."""
    cube = cubes.make_cube(psf=psf, masks=False)
    counts = np.zeros_like(cube["counts"].values)
    counts[:, :3, :3] = 1.0
    cube["counts"].values[:] = counts
    check_stat(cube, [SHAPES[shape](83.1, 22.5), background()])


@pytest.mark.parametrize("psf", PSFS)
def test_asimov_data(psf):
    """Counts that are the prediction: no gradient at the truth, and Hessians agree."""
    cube, models = cubes.make_cube(psf=psf), DatasetModels([point(), gauss(), background()])
    cube["counts"].values[:] = dense.npred(cube, models)
    evaluation = check_stat(cube, list(models))
    unit = np.sqrt(np.outer(*[np.diag(evaluation.gauss_newton)] * 2))
    assert (np.abs(evaluation.gradient) / np.sqrt(np.diag(evaluation.gauss_newton))).max() < 1e-9
    assert (np.abs(evaluation.observed - evaluation.gauss_newton) / unit).max() < 1e-9


def test_no_models_and_only_a_background():
    cube = cubes.make_cube()
    check_stat(cube, [])
    check_stat(cube, [BackgroundIRFModel(PowerLawNormSpectralModel(), dataset_name="cube")])
    bare = cubes.make_cube(background=False)
    evaluation = check_stat(bare, [])
    assert evaluation.n_floor == np.count_nonzero(dense.mask_of(bare) & (bare["counts"].values > 0))


@pytest.mark.parametrize("psf", PSFS)
def test_zero_exposure_inside_the_mask(psf):
    cube = cubes.make_cube(psf=psf)
    cube["exposure"].values[:, 12:18, 14:20] = 0.0
    check_stat(cube, [point(), gauss(), background()])
    cube["exposure"].values[:] = 0.0
    evaluation = check_stat(cube, [point(), gauss(), background()])
    assert not evaluation.gradient[:4].any()


@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("shape", SHAPES)
def test_amplitude_zero(shape, psf):
    models = [SHAPES[shape](spectral=power_law("0 cm-2 s-1 TeV-1")), background()]
    evaluation = check_stat(cubes.make_cube(psf=psf), models)
    assert np.isfinite(evaluation.gradient).all()
    assert evaluation.gradient[1] != 0
