"""Gradient and Hessians against differences, at a fixed anchor.

Everything is compared in units of the errors: g σ and H σ σ, with σ from the Hessian, so that
one tolerance holds for amplitudes of 1e-11 and positions of 80 deg alike.
"""

import numpy as np
import pytest

from gmdask.geometry import WcsGrid
from gmdask.models import BackgroundIRFModel, DatasetModels, PowerLawNormSpectralModel
from tests.likelihood import cubes
from tests.likelihood.gammapy_response import CompiledDataset
from tests.likelihood.sources import (
    background,
    derivative,
    free_of,
    gauss,
    locals_of,
    log_parabola,
    point,
    power_law,
)

STEP = 0.01  # of an error: differences of fourth order are then good to 1e-8
TIGHT = 1e-6


def linked_pair():
    """Two sources that share index and latitude."""
    one, two = point(name="one"), gauss(name="two")
    two.spectral_model.index = one.spectral_model.index
    two.spatial_model.lat_0 = one.spatial_model.lat_0
    return [one, two, background()]


def other_units():
    one = point("1.46028 rad", "1324.9 arcmin", power_law("3e-10 m-2 s-1 GeV-1"), name="one")
    two = gauss(
        sigma="400 arcsec", e=0.6, phi="0.7 rad", spectral=log_parabola("3e-7 m-2 s-1 TeV-1")
    )
    return [one, two, background()]


CASES = {
    "point": lambda: [point(), background()],
    "point, log parabola, galactic": lambda: [
        point(184.572, -5.772, log_parabola(), frame="galactic"),
        background(),
    ],
    "round": lambda: [gauss(), background()],
    "elongated": lambda: [gauss(e=0.7, phi=40.0), background()],
    "elongated, galactic": lambda: [
        gauss(184.5, -5.85, e=0.6, phi=-20.0, spectral=log_parabola(), frame="galactic"),
        background(),
    ],
    "linked": linked_pair,
    "other units": other_units,
}


def set_up(models, psf="true", bins="occupied", **keywords):
    models = DatasetModels(models)
    compiled = CompiledDataset(cubes.make_cube(psf=psf, **keywords), models, bins=bins)
    return compiled, models.parameters.value, np.flatnonzero(free_of(models))


@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("case", CASES)
def test_gradient_and_hessians(case, psf):
    compiled, anchor, columns = set_up(CASES[case](), psf)
    rng = np.random.default_rng(5)
    first = compiled.evaluate(anchor, order=1)
    sigma = np.sqrt(2 / np.diag(first.gauss_newton))
    values = anchor.copy()
    values[columns] += 0.3 * sigma * rng.uniform(-1, 1, len(columns))  # away from the anchor
    evaluation = compiled.evaluate(values, anchor, order=2)
    unit = np.outer(sigma, sigma)

    def stat(x):
        return compiled.evaluate(x, anchor).stat

    def gradient(x):
        return compiled.evaluate(x, anchor, order=1).gradient

    def npred(x):
        return compiled.npred(x, anchor)

    steps = STEP * sigma
    slope = derivative(stat, values, columns, steps)
    np.testing.assert_allclose(evaluation.gradient * sigma, slope * sigma, rtol=TIGHT, atol=TIGHT)
    curve = derivative(gradient, values, columns, steps)
    np.testing.assert_allclose(evaluation.observed * unit, curve * unit, rtol=0, atol=TIGHT)
    jacobian = derivative(npred, values, columns, steps).T
    weight = 2 * compiled.statistic.data[0] / npred(values) ** 2
    own = jacobian.T @ (weight[:, None] * jacobian)
    np.testing.assert_allclose(evaluation.gauss_newton * unit, own * unit, rtol=0, atol=TIGHT)
    once = compiled.evaluate(values, anchor, order=1)
    assert np.array_equal(once.gradient, evaluation.gradient)
    assert np.array_equal(once.gauss_newton, evaluation.gauss_newton)
    np.testing.assert_allclose(evaluation.observed * unit, evaluation.observed.T * unit, atol=1e-12)


@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("case", CASES)
def test_occupied_and_masked_bins_agree(case, psf):
    (sparse, values, _), (dense, _, _) = (
        set_up(CASES[case](), psf),
        set_up(CASES[case](), psf, "masked"),
    )
    one, two = sparse.evaluate(values, order=2), dense.evaluate(values, order=2)
    sigma = np.sqrt(2 / np.diag(one.gauss_newton))
    unit = np.outer(sigma, sigma)
    assert one.stat == pytest.approx(two.stat, rel=1e-13)
    np.testing.assert_allclose(one.gradient * sigma, two.gradient * sigma, rtol=0, atol=1e-9)
    np.testing.assert_allclose(one.gauss_newton * unit, two.gauss_newton * unit, rtol=0, atol=1e-10)
    np.testing.assert_allclose(one.observed * unit, two.observed * unit, rtol=0, atol=1e-9)


@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("case", CASES)
def test_frozen_and_moving_shapes_agree(case, psf):
    """Frozen parameters change neither the value nor the derivatives by the others."""
    moving, values, columns = set_up(CASES[case](), psf)
    models = DatasetModels(CASES[case]())
    for model in models:
        if not isinstance(model, BackgroundIRFModel):
            model.freeze("spatial")
    frozen = CompiledDataset(cubes.make_cube(psf=psf), models)
    kept = np.isin(columns, np.flatnonzero(free_of(models)))
    one, two = moving.evaluate(values, order=2), frozen.evaluate(values, order=2)
    assert two.stat == pytest.approx(one.stat, rel=1e-13)
    sigma = np.sqrt(2 / np.diag(two.gauss_newton))
    np.testing.assert_allclose(two.gradient * sigma, one.gradient[kept] * sigma, rtol=0, atol=1e-9)
    for name in ("gauss_newton", "observed"):
        a, b = getattr(one, name)[np.ix_(kept, kept)], getattr(two, name)
        np.testing.assert_allclose(
            b * np.outer(sigma, sigma), a * np.outer(sigma, sigma), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("psf", ["true", "reco"])
def test_one_coordinate_frozen(psf, which):
    models = DatasetModels([point(), background()])
    names = ("lon_0", "lat_0")
    models["point"].spatial_model.parameter(names[which]).frozen = True
    compiled = CompiledDataset(cubes.make_cube(psf=psf), models)
    full, values, columns = set_up([point(), background()], psf)
    keep = np.isin(columns, np.flatnonzero(free_of(models)))
    assert keep.sum() == len(columns) - 1
    one, two = full.evaluate(values, order=2), compiled.evaluate(values, order=2)
    np.testing.assert_allclose(two.gradient, one.gradient[keep], rtol=1e-12)
    scale = np.sqrt(np.diag(one.gauss_newton)[keep])
    difference = two.observed - one.observed[np.ix_(keep, keep)]
    assert np.abs(difference / np.outer(scale, scale)).max() < 1e-12


@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_point_is_continuous_across_pixels(psf, axis):
    """At a pixel centre the four pixels change; value continuous, slope from each side right."""
    cube = cubes.make_cube(psf=psf)
    grid = WcsGrid(cube.attrs["wcs"], cube["counts"].shape[-2:])
    x, y = (18.0, 15.4) if axis == "x" else (18.4, 15.0)
    lon, lat = (float(v) for v in grid.to_sky(x, y))
    models = DatasetModels([point(lon, lat), background()])
    compiled, at = CompiledDataset(cube, models), models.parameters.value
    k = models.parameters.names.index(
        "point.spatial.lon_0" if axis == "x" else "point.spatial.lat_0"
    )

    def stat(step, order=0):
        values = at.copy()
        values[k] += step
        return compiled.evaluate(values, at, order=order)

    assert stat(1e-9).stat == pytest.approx(stat(-1e-9).stat, abs=1e-5)
    column = np.flatnonzero(compiled.free).tolist().index(k)
    for side in (1, -1):
        h = side * 3e-7
        slope = (stat(3 * h).stat - stat(h).stat) / (2 * h)
        assert stat(2 * h, order=1).gradient[column] == pytest.approx(slope, rel=1e-6)
    jump = stat(1e-6, order=1).gradient[column] - stat(-1e-6, order=1).gradient[column]
    assert abs(jump) > 1e-4 * abs(slope)


def test_a_log_parabola_of_no_curvature_is_a_power_law():
    """Exact node rule of power laws: both forms of one spectrum agree."""
    cube = cubes.make_cube()
    curved = log_parabola()
    curved.alpha.value, curved.beta.value = 2.3, 0.0
    stats = []
    for spectral in (curved, power_law()):
        models = DatasetModels([point(spectral=spectral), background()])
        stats.append(CompiledDataset(cube, models).evaluate(models.parameters.value).stat)
    assert stats[0] == pytest.approx(stats[1], rel=1e-13)


def test_units_only_rescale():
    cube = cubes.make_cube()
    results = []
    for amplitude, lon, lat, factors in (
        ("3e-11 cm-2 s-1 TeV-1", "83.668 deg", "22.084 deg", (1.0, 1.0, 1.0)),
        ("3e-10 m-2 s-1 GeV-1", f"{np.radians(83.668)} rad", f"{22.084 * 60} arcmin",
         (0.1, np.degrees(1), 1 / 60)),
    ):  # fmt: skip
        models = DatasetModels([point(lon, lat, power_law(amplitude)), background()])
        names = ("point.spectral.amplitude", "point.spatial.lon_0", "point.spatial.lat_0")
        evaluation = CompiledDataset(cube, models).evaluate(models.parameters.value, order=2)
        free = np.array(models.parameters.names)[free_of(models)]
        scale = np.ones(len(free))
        for name, factor in zip(names, factors, strict=True):
            scale[free == name] = factor
        results.append(
            (
                evaluation.stat,
                evaluation.gradient / scale,
                evaluation.observed / np.outer(scale, scale),
            )
        )
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-8)


def test_a_frozen_background_and_none():
    compiled, values, _ = set_up([point()])
    evaluation = compiled.evaluate(values, order=2)
    assert evaluation.gradient.shape == (4,)
    fixed = BackgroundIRFModel(PowerLawNormSpectralModel(), dataset_name="cube")
    fixed.freeze()
    other, more, _ = set_up([point(), fixed])
    assert other.evaluate(more).stat == pytest.approx(evaluation.stat, rel=1e-14)
    assert not locals_of(DatasetModels([point()])).any()
