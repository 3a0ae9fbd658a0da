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
from astropy.time import Time
from numpy.testing import assert_allclose

import gmdask as gm
from gmdask import plot
from gmdask.errors import InputError
from gmdask.estimators.flux_data import reference_fluxes
from gmdask.plot.report import _energy_bounds
from gmdask.plot.style import new_figure

pytestmark = pytest.mark.gammapy_response

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
    """Axes of a figure that pyplot does not know; no more figures are open afterwards."""
    before = open_figures()
    yield new_figure().add_subplot()
    assert open_figures() <= before


def open_figures() -> set[int]:
    """Numbers of the figures that pyplot knows."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    return set() if pyplot is None else set(pyplot.get_fignums())


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


def test_spectra_are_drawn_as_spectra(with_models) -> None:
    spectra = gm.Datasets([spectrum_of(d).copy(name=f"s-{d.name}") for d in with_models])
    figure = plot.plot_residuals(spectra)
    n = len(spectra)
    assert len(figure.axes) == 2 * n  # no map of a pixel
    for upper, spectrum in zip(figure.axes[::2], spectra, strict=True):
        bars = upper.containers[0].lines[0].get_ydata()
        inside = spectrum.mask.values[:, 0, 0]
        assert_allclose(bars, spectrum.counts.values[:, 0, 0] * inside)
        assert_allclose(
            upper.patches[0].get_data().values, spectrum.npred().values[:, 0, 0] * inside
        )
    figure.canvas.draw()
    mixed = plot.plot_residuals([with_models[0], spectra[0]])
    mixed.canvas.draw()
    assert len(mixed.axes) == 9 + 2
    many = plot.plot_residuals([spectra[0].copy(name=f"n{k}") for k in range(26)])
    assert len(many.axes) == 48
    assert many.get_suptitle() == "24 of 26 spectra"


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
    assert axes.get_ylabel() == "E² dN/dE [TeV cm-2 s-1]"
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


# --- methods of what a user holds -----------------------------------------------------------


@pytest.fixture(scope="module")
def pair(survey):
    """A dataset with a mask of the fit and models, and Gammapy's."""
    import warnings

    from gammapy.datasets import Datasets
    from gammapy.maps import Map
    from gammapy.modeling.models import Models

    own = gm.Datasets.read(survey)[0]
    mask = np.ones(own.counts.shape, bool)
    mask[0], mask[:, :6] = False, False
    own = own.copy(mask_fit=mask)
    models = gm.Models([source(), gm.BackgroundIRFModel(dataset_name=own.name)])
    own.set_models(models)
    with warnings.catch_warnings(action="ignore"):
        theirs = Datasets.read(survey, checksum=False)[0]
        theirs.mask_fit = Map.from_geom(theirs.counts.geom, data=mask)
        theirs.models = Models.from_dict(models.to_dict())
    return own, theirs


@pytest.mark.parametrize(
    ("width", "kernel"),
    [("0.15 deg", "gauss"), (2.5, "gauss"), (3, "box"), (2, "disk"), (0.31 * u.deg, "disk")],
)
def test_smooth_is_gammapys(pair, width, kernel) -> None:
    own, theirs = pair
    found = own.smooth(width, kernel)
    assert found.dims == ("energy", "lat", "lon")
    expected = theirs.counts.smooth(width, kernel).data
    assert_allclose(found.values, expected, rtol=1e-6, atol=1e-6 * expected.max())


@pytest.mark.parametrize(
    ("width", "kernel", "words"),
    [("1 TeV", "gauss", "width is"), (0, "gauss", "width is"), ("much", "box", "width is"), (1, "ring", "kernel is")],
)  # fmt: skip
def test_smooth_of_something_else(pair, width, kernel, words) -> None:
    with pytest.raises(InputError, match=words):
        pair[0].smooth(width, kernel)


@pytest.mark.parametrize("method", ["diff", "diff/model", "diff/sqrt(model)"])
def test_map_of_residuals_is_gammapys(pair, axes, method) -> None:
    own, theirs = pair
    ax = own.plot_residuals_spatial(axes, method=method, smooth_radius="0.2 deg", vmin=-3, vmax=3)
    mine = theirs.plot_residuals_spatial(method=method, smooth_radius="0.2 deg")
    found, expected = (np.ma.filled(a.images[0].get_array(), np.nan) for a in (ax, mine))
    sys.modules["matplotlib.pyplot"].close("all")
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.nanmax(np.abs(expected)))
    assert ax.images[0].get_clim() == (-3, 3)
    rendered(ax)


def test_excess_and_counts_are_sums_within_the_mask(pair, axes) -> None:
    own, theirs = pair
    own.plot_excess(axes)
    excess = (theirs.excess * theirs.mask).data.sum(axis=(1, 2))
    found = axes.containers[0].lines[0].get_ydata()
    assert_allclose(found[1:], excess[1:], rtol=1e-5)
    assert np.isnan(found[0])  # outside the mask
    signal = (theirs.npred_signal() * theirs.mask).data.sum(axis=(1, 2))
    assert_allclose(axes.patches[0].get_data().values[1:], signal[1:], rtol=1e-4)
    rendered(axes)


def spectrum_of(dataset):
    from regions import CircleSkyRegion

    region = CircleSkyRegion(SkyCoord(83.63, 22.01, unit="deg"), 0.3 * u.deg)
    made = dataset.to_spectrum_dataset(region).copy(mask_fit=[False, True, True, False])
    made.set_models([source()])
    return made


@pytest.mark.parametrize("of", ["map", "spectrum"])
def test_methods_of_a_dataset(pair, of) -> None:
    before = open_figures()
    own = pair[0] if of == "map" else spectrum_of(pair[0])
    for name in ("plot_counts", "plot_excess", "plot_masks", "plot_residuals_spectral", "plot_fit"):
        ax = getattr(own, name)(new_figure().add_subplot())
        assert "[" in ax.get_xlabel(), name
        rendered(ax)
    for figure in (own.peek(), own.peek(figsize=(9, 5)), own.plot_residuals()):
        assert all(ax.get_xlabel() or ax.get_ylabel() for ax in figure.axes)
    figure.canvas.draw()
    assert open_figures() <= before
    if of == "spectrum":
        with pytest.raises(InputError, match="is a region"):
            own.plot_residuals_spatial()


def test_masks_of_a_spectrum(pair, axes) -> None:
    own = spectrum_of(pair[0])
    own.plot_masks(axes)
    edges = own.cube["energy_edges"].values
    band = axes.collections[1].get_paths()[0].vertices[:, 0]
    assert_allclose([band.min(), band.max()], edges[[1, 3]])
    assert axes.get_legend_handles_labels()[1] == ["mask safe", "mask fit"]


def test_methods_of_models(axes) -> None:
    spectral = source().spectral_model
    spectral.plot([1, 10] * u.TeV, axes, color="k", label="Crab")
    energy, value = axes.lines[0].get_data()
    assert_allclose(value, spectral(energy * u.TeV).to_value("cm-2 s-1 TeV-1"), rtol=1e-12)
    assert axes.lines[0].get_color() == "k"
    spectral.covariance = np.diag([0, (0.1 * spectral.amplitude.value) ** 2, 0])
    spectral.plot_error([1, 10] * u.TeV, axes, sed_type="dnde", color="k")
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert_allclose(band.max() / value.max(), 1.1, rtol=1e-6)
    rendered(axes)


def test_maps_of_models(axes) -> None:
    model = gm.GaussianSpatialModel(lon_0="10 deg", lat_0="80 deg", sigma="0.5 deg")
    ax = model.plot(axes, width="4 deg")
    values = ax.images[0].get_array()
    assert np.unravel_index(np.argmax(values), values.shape) == (50, 50)
    pixel = np.deg2rad(4 / 101) ** 2  # of the mean of a tangential plane
    assert_allclose(values.sum() * pixel, 1 - np.exp(-(2**2) / 2 / 0.5**2), rtol=0.003)
    rendered(ax)
    with pytest.raises(InputError, match="PointSpatialModel is a point"):
        gm.PointSpatialModel().plot(axes)
    with pytest.raises(InputError, match="width is"):
        model.plot(axes, width=-1)


def test_norm_of_a_temporal_model(axes) -> None:
    times = Time(["2020-01-01", "2020-01-11"], scale="tt")
    model = gm.models.GaussianTemporalModel(t_ref=times[0].mjd * u.d, sigma=2 * u.d, scale="tt")
    model.plot(times, axes, n_points=11)
    days, norm = axes.lines[0].get_data()
    assert_allclose(norm, np.exp(-((days - days[0]) ** 2) / 8), rtol=1e-9)
    assert axes.get_xlabel() == "Time [MJD, TT]"
    for wrong in (times[::-1], [1, 2], "now", None):
        with pytest.raises(InputError, match="time_range is"):
            model.plot(wrong, axes)
    rendered(axes)


def test_light_curve_in_a_colour(axes) -> None:
    start = 54000.0 + np.arange(3)
    curve = table(3, time_min=start * u.d, time_max=(start + 0.5) * u.d)
    plot.plot_light_curve(curve, axes, sed_type="e2dnde", color="k", marker="s", label="flare")
    assert axes.containers[0].lines[0].get_color() == "k"
    assert axes.get_legend_handles_labels()[1] == ["flare"]


@pytest.mark.slow
def test_a_dataset_without_anything_in_it() -> None:
    """All zero, no background, no responses: warnings are errors."""
    edges = [1, 2, 4] * u.TeV
    empty = gm.SpectrumDataset.from_arrays(
        "empty", region="icrs;circle(10,10,1)", energy=edges, energy_true=edges,
        counts=np.zeros(2), exposure=np.zeros(2),
    )  # fmt: skip
    for name in ("plot_counts", "plot_masks", "plot_residuals_spectral", "plot_fit"):
        rendered(getattr(empty, name)(new_figure().add_subplot()))
    for figure in (empty.peek(), empty.plot_residuals()):
        figure.canvas.draw()
    with pytest.raises(InputError, match="has no background"):
        empty.plot_excess()


def test_spectra_of_a_report_stay_where_the_data_are(datasets) -> None:
    assert_allclose(_energy_bounds(datasets).to_value("TeV"), [0.5, 20])
    assert_allclose(_energy_bounds("the store is gone").to_value("TeV"), [0.1, 100])


def sources() -> gm.Models:
    """A point, a Gaussian and a shell."""
    frame = {"frame": "galactic"}
    shapes = {
        "point": gm.PointSpatialModel(lon_0="1 deg", lat_0="0.5 deg", **frame),
        "gauss": gm.GaussianSpatialModel(lon_0="0 deg", lat_0="0 deg", sigma="0.2 deg", **frame),
        "shell": gm.models.ShellSpatialModel(
            lon_0="359 deg", lat_0="-0.4 deg", radius="0.3 deg", width="0.1 deg", **frame
        ),
    }
    return gm.Models(
        gm.SkyModel(gm.PowerLawSpectralModel(), shape, name=name) for name, shape in shapes.items()
    )


def test_positions_and_outlines_are_gammapys(axes) -> None:
    """On the same axes, in pixels."""
    models = sources()
    ax = models.plot_positions(axes, color="k")
    theirs = gm.to_gammapy(models)
    theirs.plot_positions(ax=ax)
    ours, other = (collection.get_offsets() for collection in ax.collections)
    assert len(ours) == 3
    assert_allclose(ours, other, atol=1e-6)
    low, high = ax.get_xlim()
    assert (low < ours[:, 0]).all()
    assert (ours[:, 0] < high).all()
    models.plot_regions(ax, edgecolor="k", kwargs_point={"marker": "o"})
    patches, lines = len(ax.patches), len(ax.lines)
    assert (patches, lines) == (2, 1)
    theirs.plot_regions(ax=ax, kwargs_point={"marker": "o"})
    for mine, those in zip(ax.patches[:2], ax.patches[2:], strict=True):
        assert_allclose(
            mine.get_window_extent().bounds, those.get_window_extent().bounds, rtol=1e-6
        )
    rendered(ax)
    with pytest.raises(InputError, match="no model has a position"):
        gm.Models().plot_positions(axes)


def test_profiles_of_flux_points(with_models, axes) -> None:
    """Where the statistic is higher by 1, the asymmetric errors end."""
    models = gm.Models([source()])
    scan = np.linspace(0.02, 3, 150)
    made = gm.FluxPointsEstimator(
        "crab", [0.5, 3, 20] * u.TeV, selection_optional=["errn-errp", "scan"], norm_scan=scan
    ).run(with_models, models)
    ax = made.plot_ts_profiles(axes, sed_type="e2dnde")
    drawn = ax.collections[0]
    edges = drawn.get_coordinates()[:, 0, 1]
    fluxes, rise = np.sqrt(edges[1:] * edges[:-1]), -np.ma.filled(drawn.get_array(), np.nan)
    table = made.to_table("e2dnde")
    for k in range(len(table)):
        inside = fluxes[rise[:, k] < 1]
        best = table["e2dnde"][k]
        assert_allclose(inside[-1], best + table["e2dnde_errp"][k], rtol=0.02)
        assert_allclose(inside[0], best - table["e2dnde_errn"][k], rtol=0.02)
    rendered(ax)
    points = gm.FluxPointsEstimator("crab", [0.5, 3, 20] * u.TeV).run(with_models, models)
    with pytest.raises(InputError, match="contain no scan"):
        points.plot_ts_profiles(axes)
