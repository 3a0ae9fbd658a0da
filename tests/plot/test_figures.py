"""Figures: what is drawn, on which axes, and that nothing is left open."""

from __future__ import annotations

import sys

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.testing import assert_allclose

import gmdask as gm
from gmdask import plot
from gmdask.errors import InputError
from gmdask.estimators.flux_data import reference_fluxes
from gmdask.plot.style import new_figure

mpl.use("agg")

MAPS = [
    plot.plot_counts_map, plot.plot_model_map, plot.plot_residuals_map, plot.plot_significance_map,
]  # fmt: skip
SPECTRA = [
    plot.plot_counts_spectrum, plot.plot_residuals_spectrum, plot.plot_residuals_histogram,
]  # fmt: skip
IRFS = [
    plot.plot_exposure, plot.plot_psf_containment, plot.plot_energy_dispersion,
]  # fmt: skip


def source() -> gm.SkyModel:
    return gm.SkyModel(
        gm.PowerLawSpectralModel(index=2.3, amplitude="4e-12 cm-2 s-1 TeV-1"),
        gm.PointSpatialModel(lon_0="83.63 deg", lat_0="22.01 deg"),
        name="crab",
    )


@pytest.fixture
def with_models(datasets):
    datasets.set_models(gm.Models([source()]))
    return datasets


@pytest.fixture
def axes():
    """Axes of a figure that pyplot does not know; nothing is open afterwards."""
    yield new_figure().add_subplot()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def rendered(axes) -> None:
    axes.figure.canvas.draw()  # warnings are errors


@pytest.mark.parametrize("draw", MAPS)
def test_maps_have_celestial_axes_and_a_colour_bar(draw, with_models, axes) -> None:
    got = draw(with_models[0], axes)
    assert hasattr(got, "wcs")  # plain axes are replaced in place
    assert got.figure is not None
    assert len(got.figure.axes) == 2
    bar = got.figure.axes[1]
    assert bar.get_ylabel()
    assert "[deg]" in got.get_xlabel()
    assert "[deg]" in got.get_ylabel()
    rendered(got)


def test_maps_hold_what_is_summed(with_models, axes) -> None:
    sums = plot.sum_up(with_models)
    masks = [np.ones(d.counts.shape) if d.mask is None else d.mask.values for d in with_models]
    expected = sum((d.counts.values * m).sum() for d, m in zip(with_models, masks, strict=True))
    predicted = sum((d.npred().values * m).sum() for d, m in zip(with_models, masks, strict=True))
    image = plot.plot_counts_map(sums, axes).images[0].get_array()
    assert_allclose(np.asarray(image).sum(), expected, rtol=1e-12)
    assert_allclose(sums.npred.sum(), predicted, rtol=1e-12)
    assert_allclose(sums.spectrum_counts.sum(), expected, rtol=1e-12)
    assert_allclose(sums.spectrum_npred.sum(), predicted, rtol=1e-12)


def test_nothing_to_draw() -> None:
    with pytest.raises(InputError, match="no datasets"):
        plot.sum_up(gm.Datasets())


@pytest.mark.parametrize("draw", SPECTRA)
def test_spectra_draw_on_the_axes_given(draw, with_models, axes) -> None:
    assert draw(with_models[0], axes) is axes
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    rendered(axes)


@pytest.mark.parametrize("draw", IRFS)
def test_responses(draw, with_models, axes) -> None:
    assert draw(with_models[0], axes) is axes
    assert "[" in axes.get_xlabel()
    assert "[" in axes.get_ylabel()
    rendered(axes)


def test_exposure_outside(with_models, axes) -> None:
    with pytest.raises(InputError, match="outside its maps"):
        plot.plot_exposure(with_models[0], axes, SkyCoord(10, -60, unit="deg"))


def test_effective_area_is_exposure_per_livetime(with_models, axes) -> None:
    with pytest.raises(InputError, match="livetime is not known"):
        plot.plot_effective_area(with_models[0], axes)
    cube = with_models[0].open()
    cube["exposure"].attrs["meta"] = {"livetime": "100 s"}
    plot.plot_exposure(with_models[0], axes)
    plot.plot_effective_area(gm.MapDataset(cube), axes)
    exposure, area = (line.get_ydata() for line in axes.lines)
    assert_allclose(area, exposure / 100 / 1e4, rtol=1e-12)  # cm2 s to m2


def test_psf_containment_is_gammapys(survey, with_models, axes) -> None:
    from gammapy.datasets import Datasets

    theirs = Datasets.read(survey, checksum=False)[0]
    plot.plot_psf_containment(with_models[0], axes, fractions=[0.68])
    energy, radius = axes.lines[0].get_data()
    expected = theirs.psf.containment_radius(
        0.68, energy * u.TeV, theirs.geoms["geom"].center_skydir
    )
    assert_allclose(radius, expected.to_value("deg"), rtol=1e-6)


def test_without_axes_a_figure_of_pyplot_is_made(with_models) -> None:
    import matplotlib.pyplot as plt

    ax = plot.plot_counts_spectrum(with_models[0])
    assert plt.gcf() is ax.figure
    assert len(ax.figure.axes) == 2  # with residuals
    plt.close(ax.figure)


def test_butterfly_is_propagated(axes) -> None:
    models = gm.Models([source()])
    spectral = models["crab"].spectral_model
    k = models.parameters.index(spectral.amplitude)
    matrix = np.zeros((len(models.parameters),) * 2)
    matrix[k, k] = (0.1 * spectral.amplitude.value) ** 2
    models.covariance = matrix
    plot.plot_sed(models, "crab", [1, 10] * u.TeV, axes)
    energy, value = axes.lines[0].get_data()
    expected = (spectral(energy * u.TeV) * (energy * u.TeV) ** 2).to_value("erg cm-2 s-1")
    assert_allclose(value, expected, rtol=1e-12)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert_allclose(band.max() / expected.max(), 1.1, rtol=1e-6)
    rendered(axes)


def table(rows: int, **more: object) -> Table:
    one = np.ones(rows)
    energy = np.geomspace(1, 8, rows)
    unit = u.Unit("TeV cm-2 s-1")
    return Table({
        "e_ref": energy * u.TeV, "e_min": energy / 1.2 * u.TeV, "e_max": energy * 1.2 * u.TeV,
        "e2dnde": 2e-12 * one * unit, "e2dnde_err": 2e-13 * one * unit, "e2dnde_ul": 5e-12 * one * unit,
        "is_ul": np.arange(rows) == rows - 1, **more,
    })  # fmt: skip


def test_flux_points_and_limits(axes) -> None:
    assert plot.plot_flux_points(table(4), axes) is axes
    value = axes.containers[0].lines[0].get_ydata()
    factor = u.TeV.to("erg")
    assert_allclose(value, [2e-12 * factor] * 3 + [np.nan])
    limit = axes.containers[1].lines[1]  # caps and arrows
    assert limit
    rendered(axes)


def test_flux_points_of_another_type(axes) -> None:
    with pytest.raises(InputError, match="no column 'dnde'"):
        plot.plot_flux_points(table(4), axes, sed_type="dnde")
    with pytest.raises(InputError, match="expected one of dnde, e2dnde"):
        plot.plot_flux_points(table(4), axes, sed_type="norm")


def test_light_curve(axes) -> None:
    start = 54000.0 + np.arange(3)
    curve = table(3, time_min=start * u.d, time_max=(start + 0.5) * u.d)
    plot.plot_light_curve(curve, axes, sed_type="e2dnde")
    assert_allclose(axes.containers[0].lines[0].get_xdata(), start + 0.25)
    assert "MJD" in axes.get_xlabel()
    rendered(axes)


def test_correlation(axes) -> None:
    models = gm.Models([source()])
    a = models.parameters.index(models["crab"].spectral_model.index)
    b = models.parameters.index(models["crab"].spectral_model.amplitude)
    matrix = np.zeros((len(models.parameters),) * 2)
    matrix[a, a], matrix[b, b], matrix[a, b] = 0.01, 4e-26, 1e-14
    matrix[b, a] = matrix[a, b]
    models.covariance = matrix
    plot.plot_correlation(models.covariance, axes)
    assert_allclose(np.asarray(axes.images[0].get_array()), [[1, 0.5], [0.5, 1]])
    rendered(axes)


def test_correlation_of_nothing(axes) -> None:
    rendered(plot.plot_correlation(gm.Models([source()]).covariance, axes))


def test_profile_surface_and_contour(axes) -> None:
    x, y = np.linspace(2, 3, 7), np.linspace(1, 2, 5)
    profile = {"crab.spectral.index_scan": x, "stat_scan": 50 + (x - 2.5) ** 2 * 40}
    plot.plot_profile(profile, axes)
    assert_allclose(axes.lines[0].get_ydata().min(), 0)
    stat = 50 + (x[:, None] - 2.5) ** 2 * 40 + (y - 1.5) ** 2 * 40
    surface = {"index_scan": x, "norm_scan": y, "stat_scan": stat}
    other = new_figure().add_subplot()
    plot.plot_surface(surface, other, units=("", "TeV"))
    assert other.get_ylabel() == "norm [TeV]"
    phi = np.linspace(0, 6, 20)
    contour = {"index": np.cos(phi), "norm": np.sin(phi), "success": True}
    plot.plot_contour(contour, other, label="1 σ", best=(0, 0))
    rendered(axes)
    rendered(other)
    with pytest.raises(InputError, match="stat_scan"):
        plot.plot_profile({"index": x}, axes)
    with pytest.raises(InputError, match="two parameters"):
        plot.plot_contour(profile | {"more": 1, "again": 2}, axes)


def test_whole_figure(with_models) -> None:
    figure = plot.plot_residuals(with_models)
    assert len(figure.axes) == 9
    figure.canvas.draw()


def estimated(spectral) -> gm.FluxPoints:
    data = {
        "norm": 1.1 * np.ones(3), "norm_err": 0.1 * np.ones(3), "norm_ul": 1.5 * np.ones(3),
        "sqrt_ts": np.array([9.0, 5.0, 1.0]),
    }  # fmt: skip
    edges = np.array([1.0, 2.0, 4.0, 8.0])
    found = reference_fluxes(spectral, edges[:-1], edges[1:])
    found |= {key: xr.Variable(("energy",), value) for key, value in data.items()}
    return gm.FluxPoints(xr.Dataset(found), spectral)


def test_flux_points_take_the_options_of_matplotlib(axes) -> None:
    points = estimated(source().spectral_model)
    assert points.plot(axes, color="tab:red", marker="s", label="Crab") is axes
    line = axes.containers[0].lines[0]
    assert (line.get_color(), line.get_marker()) == ("tab:red", "s")
    assert axes.containers[1].lines[1][0].get_color() == "tab:red"  # limits
    assert axes.get_legend_handles_labels()[1] == ["Crab"]
    points.plot(axes, sed_type="dnde", energy_power=2, c="k")
    both = [
        axes.containers[k].lines[0].get_ydata() * f for k, f in ((0, 1.0), (2, u.TeV.to("erg")))
    ]
    assert_allclose(both[0][:2], both[1][:2], rtol=1e-12)
    assert axes.get_ylabel() == "E^2 × dN/dE [TeV s-1 cm-2]"
    rendered(axes)


def test_sed_of_one_source_and_its_points(axes) -> None:
    model = source()
    points = estimated(model.spectral_model)
    plot.plot_sed(model, points, ax=axes)
    energy = axes.lines[0].get_xdata()
    assert_allclose(energy[[0, -1]], [1, 8])  # not beyond the points
    assert axes.containers
    assert axes.get_title() == "crab"
    with pytest.raises(InputError, match=r"expected the name of one: crab"):
        plot.plot_sed(gm.Models([model]), "vela", ax=axes)
    with pytest.raises(InputError, match=r"PowerLawSpectralModel, expected Models"):
        plot.plot_sed(model.spectral_model, points, ax=axes)


@pytest.mark.parametrize("bounds", [[8, 1] * u.TeV, [0, 1] * u.TeV, [1, 2] * u.deg, "much", None])
def test_energies_that_are_none(bounds, axes) -> None:
    with pytest.raises(InputError, match="energy_bounds is"):
        plot.plot_spectral_model(source().spectral_model, bounds, axes)


def test_the_end_of_a_cutoff_does_not_press_the_rest_flat(axes) -> None:
    model = gm.models.ExpCutoffPowerLawSpectralModel(lambda_="1 TeV-1")
    plot.plot_spectral_model(model, [0.1, 100] * u.TeV, axes)
    low, high = axes.get_ylim()
    assert low > 1e-8 * high
    rendered(axes)
