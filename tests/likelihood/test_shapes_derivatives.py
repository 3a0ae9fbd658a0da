"""Gradient and Hessians with the further shapes, templates, norms and temporal models.

At a fixed anchor and in units of the errors, as in `test_derivatives`.
"""

from typing import Any

import naima.models as naima
import numpy as np
import pytest
from astropy import units as u

from gmdask.errors import ModelError
from gmdask.geometry import Axis
from gmdask.models import (
    BackgroundIRFModel,
    ConstantSpatialModel,
    DatasetModels,
    DiskSpatialModel,
    GaussianTemporalModel,
    GeneralizedGaussianSpatialModel,
    LightCurveTemplateTemporalModel,
    NaimaSpectralModel,
    PiecewiseNormSpatialModel,
    PowerLawNormSpectralModel,
    Shell2SpatialModel,
    ShellSpatialModel,
    SkyModel,
    SpatialModel,
    TemplateNDSpatialModel,
    TemplateNPredModel,
    TemplateSpatialModel,
)
from gmdask.models.io.sky_map import SkyMap
from tests.likelihood import cubes
from tests.likelihood.gammapy_response import CompiledDataset
from tests.likelihood.sources import background, derivative, free_of, gauss, point, power_law

STEP, TIGHT = 0.01, 1e-6
POSITION: dict[str, Any] = {"lon_0": 83.57, "lat_0": 21.93}


def smooth_map(axes=(), unit="sr-1"):
    """Map that is log-linear, so that the interpolation has no kinks."""
    header = cubes.cards("icrs", (40, 44), (0.05, 0.05))
    y, x = np.indices((40, 44))
    data = np.exp(-0.03 * (x - 21) + 0.02 * (y - 19))
    for k, axis in enumerate(axes):  # every axis in front of the ones before
        n = np.arange(axis.nbin).reshape(-1, *(1,) * data.ndim)
        data = data * np.exp(n * (0.1 + 0.1 * k + 0.003 * x - 0.004 * k * y))
    return SkyMap(data, header, axes, unit)


HEAT = Axis("kt", np.array([1.0, 2, 4, 9]), "log", "edges", "keV")
ENERGY = Axis("energy_true", np.array([0.5, 3.0, 20.0, 60.0]), "log", "edges", "TeV")


class Bump(SpatialModel):
    """A user's shape: no gradient, no radius."""

    defaults = (*DiskSpatialModel.defaults[:2], GeneralizedGaussianSpatialModel.defaults[2])

    def evaluate(self, grid, *values):
        lon_0, lat_0, r_0 = values
        r2 = ((grid.lon - lon_0) * grid.cos_lat) ** 2 + (grid.lat - lat_0) ** 2
        return 3e3 * r_0**2 / (r2 + r_0**2)


def sky(shape, amplitude="3e-11 cm-2 s-1 TeV-1", **keywords):
    return SkyModel(power_law(amplitude), shape, name="source", **keywords)


def free_shape(shape):
    for name, par in shape.named_parameters():
        par.frozen = name == "edge_width"
    return shape


def temporal():
    model = GaussianTemporalModel(t_ref="58849.03 d", sigma="0.05 d")
    model.t_ref.frozen = model.sigma.frozen = False
    return model


def template_npred(cube):
    data = cube["background"].values * (1 + np.arange(5)[:, None, None] / 5)
    axis = Axis("energy", cube["energy_edges"].values, "log", "edges", "TeV")
    return TemplateNPredModel(SkyMap(data, cube.attrs["wcs"], [axis]), name="more")


def corners(norms):
    lon, lat = 83.63 + np.array([-2, 2, 2, -2, 0.1]), 22.0 + np.array([-2, -2, 2, 2, 0.3])
    return PiecewiseNormSpatialModel(lon * u.deg, lat * u.deg, norms)


def energies_nd():
    shape = TemplateNDSpatialModel(smooth_map([ENERGY, HEAT]))
    shape.kt.value = 2.6  # not a node
    return shape


def norm_of_background(shape, free_norm=True):
    own = background(1.1, 0.07)
    own.spectral_model.norm.frozen = not free_norm
    return BackgroundIRFModel(own.spectral_model, "cube", spatial_model=shape)


CASES = {
    "generalized": lambda _: [
        sky(free_shape(GeneralizedGaussianSpatialModel(r_0=0.15, eta=0.25, e=0.5, **POSITION)))
    ],
    "disk": lambda _: [
        sky(free_shape(DiskSpatialModel(r_0=0.2, e=0.5, phi=20, edge_width=0.6, **POSITION)))
    ],
    "constant": lambda _: [sky(free_shape(ConstantSpatialModel(value=3)), "3e-9 cm-2 s-1 TeV-1")],
    "template": lambda _: [sky(free_shape(TemplateSpatialModel(smooth_map())))],
    "template of energies": lambda _: [
        sky(free_shape(TemplateSpatialModel(smooth_map([ENERGY]))))
    ],
    "template N-D": lambda _: [
        sky(free_shape(TemplateNDSpatialModel(smooth_map([HEAT]))), "3e-8 cm-2 s-1 TeV-1")
    ],
    "template N-D of energies": lambda _: [sky(energies_nd(), "3e-8 cm-2 s-1 TeV-1")],
    "of a user": lambda _: [sky(free_shape(Bump(r_0=0.2, **POSITION)), "1e-11 cm-2 s-1 TeV-1")],
    "no shape": lambda _: [SkyModel(power_law("1e-13 cm-2 s-1 TeV-1"), name="flat")],
    "no exposure": lambda _: [
        gauss(spectral=power_law("3e2 cm-2 s-1 TeV-1"), apply_irf={"exposure": False}),
        point(spectral=power_law("3e2 cm-2 s-1 TeV-1"), apply_irf={"exposure": False}),
    ],
    "temporal": lambda _: [gauss(temporal_model=temporal())],
    "template npred": lambda cube: [point(), template_npred(cube)],
    "spatial norm": lambda _: [point(), norm_of_background(corners([1, 2, 0.5, 1, 1.4]), False)],
    "curved spatial norm": lambda _: [
        point(),
        norm_of_background(
            free_shape(GeneralizedGaussianSpatialModel(r_0=1.5, eta=0.25, e=0.3, **POSITION)),
            False,
        ),
    ],
}  # fmt: skip


def set_up(case, psf, bins="occupied"):
    cube = cubes.make_cube(psf=psf)
    cube = cube.assign(gti_start=("gti", [0.0, 4000.0]), gti_stop=("gti", [3000.0, 9000.0]))
    cube.attrs["gti"] = {"mjdrefi": 58849, "mjdreff": 0.0, "timesys": "tt"}
    models = CASES[case](cube)
    if not any(isinstance(model, BackgroundIRFModel) for model in models):
        models.append(background())
    models = DatasetModels(models)
    compiled = CompiledDataset(cube, models, bins=bins)
    return compiled, models.parameters.value, np.flatnonzero(free_of(models))


@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("case", CASES)
def test_gradient_and_hessians(case, psf):
    compiled, anchor, columns = set_up(case, psf)
    rng = np.random.default_rng(5)
    first = compiled.evaluate(anchor, order=1)
    sigma = np.sqrt(2 / np.diag(first.gauss_newton))
    sigma = np.minimum(sigma, 0.05 * np.clip(np.abs(anchor[columns]), 1e-3, 0.5))
    values = anchor.copy()
    values[columns] += 0.3 * sigma * rng.uniform(-1, 1, len(columns))
    evaluation = compiled.evaluate(values, anchor, order=2)
    unit = np.outer(sigma, sigma)
    steps = STEP * sigma
    slope = derivative(lambda x: compiled.evaluate(x, anchor).stat, values, columns, steps)
    np.testing.assert_allclose(evaluation.gradient * sigma, slope * sigma, rtol=TIGHT, atol=TIGHT)

    def gradient(x):
        return compiled.evaluate(x, anchor, order=1).gradient

    curve = derivative(gradient, values, columns, steps)
    np.testing.assert_allclose(evaluation.observed * unit, curve * unit, rtol=0, atol=TIGHT)
    jacobian = derivative(lambda x: compiled.npred(x, anchor), values, columns, steps).T
    weight = 2 * compiled.statistic.data[0] / compiled.npred(values, anchor) ** 2
    own = jacobian.T @ (weight[:, None] * jacobian)
    np.testing.assert_allclose(evaluation.gauss_newton * unit, own * unit, rtol=0, atol=TIGHT)


@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("shape", [ShellSpatialModel, Shell2SpatialModel])
def test_shells(shape, psf):
    """The sum over sub-pixels has kinks where rims cross them: a step that crosses none."""
    size = (
        {"radius": 0.21, "width": 0.15} if shape is ShellSpatialModel else {"r_0": 0.36, "eta": 0.4}
    )
    models = DatasetModels([sky(shape(**POSITION, **size)), background()])
    compiled = CompiledDataset(cubes.make_cube(psf=psf), models)
    values, columns = models.parameters.value, np.flatnonzero(free_of(models))
    evaluation = compiled.evaluate(values, order=1)
    sigma = np.sqrt(2 / np.diag(evaluation.gauss_newton))
    steps = 1e-4 * sigma
    slope = derivative(lambda v: compiled.evaluate(v, values).stat, values, columns, steps)
    np.testing.assert_allclose(evaluation.gradient * sigma, slope * sigma, rtol=TIGHT, atol=TIGHT)
    jacobian = derivative(lambda v: compiled.npred(v, values), values, columns, steps).T
    weight = 2 * compiled.statistic.data[0] / compiled.npred(values) ** 2
    own, unit = jacobian.T @ (weight[:, None] * jacobian), np.outer(sigma, sigma)
    np.testing.assert_allclose(evaluation.gauss_newton * unit, own * unit, rtol=0, atol=TIGHT)


@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("case", CASES)
def test_occupied_and_masked_bins_agree(case, psf):
    (sparse, values, _), (dense, _, _) = set_up(case, psf), set_up(case, psf, "masked")
    one, two = sparse.evaluate(values, order=2), dense.evaluate(values, order=2)
    sigma = np.sqrt(2 / np.maximum(np.diag(one.gauss_newton), 1e-30))
    sigma = np.minimum(sigma, 1e3 * np.abs(values[sparse.free]) + 1)
    assert one.stat == pytest.approx(two.stat, rel=1e-12)
    np.testing.assert_allclose(one.gradient * sigma, two.gradient * sigma, rtol=1e-9, atol=1e-7)
    unit = np.outer(sigma, sigma)
    np.testing.assert_allclose(one.observed * unit, two.observed * unit, rtol=1e-8, atol=1e-7)


@pytest.mark.parametrize("psf", ["true", "reco"])
def test_frozen_shapes_agree_with_free_ones(psf):
    for case in ("generalized", "template of energies", "template N-D of energies"):
        compiled, values, columns = set_up(case, psf)
        cube = compiled._cube
        models = DatasetModels(CASES[case](cube))
        models["source"].freeze("spatial")
        frozen = CompiledDataset(cube, DatasetModels([*models, background()]))
        kept = np.isin(columns, np.flatnonzero(frozen.free))
        one, two = compiled.evaluate(values, order=1), frozen.evaluate(values, order=1)
        assert two.stat == pytest.approx(one.stat, rel=1e-13)
        np.testing.assert_allclose(two.gradient, one.gradient[kept], rtol=1e-8)


def test_negative_counts_are_evaluated_densely():
    """A negative constant, a template below zero, a norm below zero: clipped as in Gammapy."""
    cube = cubes.make_cube()
    negative = sky(ConstantSpatialModel(value=-1), "3e-8 cm-2 s-1 TeV-1")
    template = template_npred(cube)
    template.map.data[:, 5:9, 5:9] *= -1
    shape = corners([1, 2, -0.9, -2, 1.4])
    for models in (
        [negative, background()],
        [template, background()],
        [point(), norm_of_background(shape)],
    ):
        models = DatasetModels(models)
        values = models.parameters.value
        sparse = CompiledDataset(cube, models).evaluate(values, order=0)
        dense = CompiledDataset(cube, models, bins="masked").evaluate(values, order=0)
        assert sparse.stat == pytest.approx(dense.stat, rel=1e-13)


def test_local_parameters_of_a_spatial_norm():
    """The inner minimum over norms on the sky: no gradient left along them."""
    cube = cubes.make_cube()
    models = DatasetModels([point(), norm_of_background(corners([1, 1.2, 0.8, 1, 1.1]), False)])
    local = np.array(["norm_" in name for name in models.parameters.names])
    compiled = CompiledDataset(cube, models, local=local)
    evaluation = compiled.evaluate(models.parameters.value, order=1)
    again = compiled.evaluate(evaluation.values, order=0)
    assert again.stat < compiled.evaluate(models.parameters.value, order=0).stat
    own = local[compiled.free]
    sigma = np.sqrt(2 / np.diag(evaluation.gauss_newton))
    assert np.abs(evaluation.gradient * sigma)[own].max() < 1e-4


@pytest.mark.slow
def test_particles_of_naima():
    """Differences of its spectrum in the likelihood, and the same after the way to a worker."""
    electrons = naima.ExponentialCutoffPowerLaw(2e33 / u.eV, 10 * u.TeV, 2.8, 20 * u.TeV)
    spectrum = NaimaSpectralModel(naima.InverseCompton(electrons, nEed=20))
    spectrum.e_0.frozen = spectrum.beta.frozen = True
    cube = cubes.make_cube()
    models = DatasetModels([point(spectral=spectrum), background()])
    values, columns = models.parameters.value, np.flatnonzero(free_of(models))
    compiled = CompiledDataset(cube, models)
    evaluation = compiled.evaluate(values, order=2)
    sent = CompiledDataset(cube, DatasetModels.from_dict(models.to_dict()))
    assert sent.evaluate(values, order=0).stat == pytest.approx(evaluation.stat, rel=1e-12)
    sigma = np.sqrt(2 / np.diag(evaluation.gauss_newton))
    sigma = np.minimum(sigma, 0.02 * np.abs(values[columns]))
    steps = 0.05 * sigma
    slope = derivative(lambda x: compiled.evaluate(x, values).stat, values, columns, steps)
    np.testing.assert_allclose(evaluation.gradient * sigma, slope * sigma, rtol=TIGHT, atol=TIGHT)

    def gradient(x):
        return compiled.evaluate(x, values, order=1).gradient

    curve, unit = derivative(gradient, values, columns, steps), np.outer(sigma, sigma)
    np.testing.assert_allclose(evaluation.observed * unit, curve * unit, rtol=0, atol=TIGHT)


def test_a_light_curve_of_energies_is_refused():
    """It has no mean over time that the spectrum could be multiplied by; Gammapy has none either."""
    curve = LightCurveTemplateTemporalModel(
        [0, 1] * u.d, [[1, 2], [2, 3.0]], energy=[1, 10] * u.TeV
    )
    models = DatasetModels([point(temporal_model=curve)])
    with pytest.raises(
        ModelError, match=r"model 'point': LightCurve\w+ depends on energy, so that"
    ):
        CompiledDataset(cubes.make_cube(), models).evaluate(models.parameters.value)


def test_norm_of_a_power_law_only():
    spectral = PowerLawNormSpectralModel(norm=1.2)
    model = BackgroundIRFModel(spectral, "cube")
    cube = cubes.make_cube()
    flat = BackgroundIRFModel(
        PowerLawNormSpectralModel(norm=1.2), "cube", spatial_model=corners([1] * 5)
    )
    stats = [
        CompiledDataset(cube, DatasetModels([m])).evaluate(DatasetModels([m]).parameters.value).stat
        for m in (model, flat)
    ]
    assert stats[0] == pytest.approx(stats[1], rel=1e-12)
