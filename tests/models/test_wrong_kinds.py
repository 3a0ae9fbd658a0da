"""What is of another kind than expected is told by the name of the argument, or by what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from astropy import units as u

import gmdask as gm
from gmdask import plot
from gmdask.errors import InputError

mpl.use("agg")

SPECTRUM = gm.PowerLawSpectralModel()
SHAPE = gm.GaussianSpatialModel()
WRONG: list[Any] = [None, 3, "foo", {}, [1.0, "a"], object(), 3 * u.m, u.Quantity(np.ones(2), "s")]


def models() -> gm.Models:
    return gm.Models([gm.SkyModel(gm.PowerLawSpectralModel(), gm.PointSpatialModel(), name="a")])


ENERGIES: list[Callable[[Any], Any]] = [
    SPECTRUM,
    lambda e: SPECTRUM.integral(e, 10 * u.TeV),
    lambda e: SPECTRUM.energy_flux(1 * u.TeV, e),
    SPECTRUM.spectral_index,
    SPECTRUM.evaluate_error,
]


@pytest.mark.parametrize("call", ENERGIES)
@pytest.mark.parametrize("wrong", WRONG)
def test_energies(call: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(InputError, match=r"energy is .*, expected a quantity such as '1 TeV'"):
        call(wrong)
    call(2 * u.TeV)
    call("2e9 keV")


@pytest.mark.parametrize("wrong", WRONG)
def test_positions(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"lon is .*, expected a quantity such as '1 deg'"):
        SHAPE(wrong, 1 * u.deg)
    with pytest.raises(InputError, match=r"lat is .*, expected a quantity such as '1 deg'"):
        SHAPE(1 * u.deg, wrong)


@pytest.mark.parametrize("wrong", [None, 3, [], {}, 1 * u.m])
def test_paths(wrong: Any) -> None:
    for call in (gm.Models.read, models().write, gm.FluxPoints.read, gm.MapDataset.read):
        with pytest.raises(InputError, match=r"expected (a|the) path"):
            call(wrong)


@pytest.mark.parametrize("wrong", [3, [3], object(), [None]])
def test_names(wrong: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: models().select(tag=wrong),
        lambda: models().select(dataset=wrong),
        lambda: models().reassign(wrong, "b"),
        lambda: models().reassign("a", wrong),
        lambda: models().select(wrong),
        lambda: models().select(name_substring=wrong),
        lambda: models().select(type=wrong),
    ]
    for call in calls:
        with pytest.raises(InputError, match="expected a name"):
            call()
    with pytest.raises(InputError, match="there are 2 old names, and 1 new ones"):
        models().reassign(["a", "b"], "c")


@pytest.mark.parametrize("wrong", [3, "foo", {}, models()])
def test_figures(wrong: Any) -> None:
    draw: Any
    datasets = (
        plot.peek, plot.plot_counts, plot.plot_excess, plot.plot_masks, plot.plot_residuals_spatial,
        plot.plot_residuals_spectral, plot.plot_exposure, plot.plot_effective_area,
        plot.plot_psf_containment, plot.plot_energy_dispersion,
    )  # fmt: skip
    for draw in datasets:
        with pytest.raises(InputError, match="expected a dataset of counts to draw"):
            draw(wrong)
    for draw in (plot.plot_counts_map, plot.plot_counts_spectrum, plot.plot_residuals):
        with pytest.raises(
            InputError, match=r"expected a dataset, or several|no datasets of counts"
        ):
            draw([wrong])
    shapes: Any = (plot.plot_spatial_model, plot.plot_spatial_grid, plot.plot_position_error)
    for draw in shapes:
        with pytest.raises(InputError, match="expected a spatial model to draw"):
            draw(wrong)
    if not isinstance(wrong, gm.Models):
        for draw in (plot.plot_positions, plot.plot_regions):
            with pytest.raises(InputError, match="expected models to draw"):
                draw(wrong)
    for draw in (SHAPE.plot, models().plot_positions):
        with pytest.raises(InputError, match="expected axes of matplotlib to draw on"):
            draw(wrong)
    with pytest.raises(InputError, match="width is"):
        SHAPE.plot(width="1 TeV")


FEW, PAIR = gm.Datasets(), ("a.spectral.index", "a.spectral.amplitude")
WRONG_ARGUMENTS: list[tuple[Callable[[], Any], str]] = [
    (lambda: gm.FluxPointsEstimator(n_sigma=None), "expected a number of standard deviations"),  # type: ignore[arg-type]
    (lambda: gm.FluxPointsEstimator(n_sigma_ul="2"), "expected a number of standard deviations"),  # type: ignore[arg-type]
    (lambda: gm.FluxPointsEstimator(selection_optional=3), "expected selection_optional"),  # type: ignore[arg-type]
    (lambda: gm.FluxPointsEstimator(norm_scan="foo"), "norm_scan is 'foo', expected numbers"),
    (lambda: gm.FluxPointsEstimator(response=[]), r"response is \[\], expected one of"),  # type: ignore[arg-type]
    (lambda: gm.LightCurveEstimator(atol=3 * u.m), "atol is .*, expected a time"),
    (lambda: gm.LightCurveEstimator(atol=None), "atol is None, expected a time"),
    (lambda: gm.Fit(FEW).confidence(models(), "a.spectral.index", None), "expected a number of"),  # type: ignore[arg-type]
    (lambda: gm.Fit(FEW).stat_profile(models(), models()), "expected a parameter, or its name"),  # type: ignore[arg-type]
    (lambda: gm.Fit(FEW).stat_contour(models(), *PAIR, None), "expected a number of points"),  # type: ignore[arg-type]
    (lambda: gm.MapDataset(None), "expected an xarray.Dataset"),  # type: ignore[arg-type]
    (lambda: gm.SpectrumDataset("a.fits"), "expected an xarray.Dataset"),  # type: ignore[arg-type]
    (lambda: gm.FluxPoints("a.fits"), "expected an xarray.Dataset of fluxes"),  # type: ignore[arg-type]
    (lambda: gm.SkyModel(SPECTRUM, datasets_names=3), "expected datasets_names of"),  # type: ignore[arg-type]
    (lambda: gm.SkyModel(SPECTRUM, apply_irf="no"), "expected apply_irf with true or false"),  # type: ignore[arg-type]
    (lambda: gm.from_gammapy("foo"), "'foo' is a str, expected one of"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "text"), WRONG_ARGUMENTS)
def test_arguments(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        call()
