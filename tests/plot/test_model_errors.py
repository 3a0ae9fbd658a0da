"""Errors of spatial models, models that depend on energy, phase curves, residuals by energy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import gammapy.modeling.models as theirs
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose
from regions import CircleSkyRegion, PixCoord

import gmdask as gm
from gmdask.errors import InputError
from gmdask.geometry import WcsGrid
from gmdask.plot.style import new_figure, sky_axes

pytestmark = pytest.mark.gammapy_response

mpl.use("agg")

EAST = 0.03  # deg, standard deviation


@pytest.fixture(autouse=True)
def _no_current_figure() -> Iterator[None]:
    """Gammapy draws on the current axes of pyplot, which may be those of another test."""
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture
def axes() -> Any:
    return new_figure().add_subplot()


def gaussian(correlation: float, north: float = 0.02) -> gm.GaussianSpatialModel:
    model = gm.GaussianSpatialModel(
        lon_0="83 deg", lat_0="60 deg", sigma="0.2 deg", e=0.6, phi="30 deg"
    )
    lon = EAST / np.cos(np.deg2rad(60.0))
    matrix = np.zeros((5, 5))
    matrix[0, 0], matrix[1, 1], matrix[2, 2] = lon**2, north**2, 0.05**2
    matrix[0, 1] = matrix[1, 0] = correlation * lon * north
    model.covariance = matrix
    return model


def grid_at(model: Any) -> WcsGrid:
    at = model.position
    header = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "CRPIX1": 50.5,
        "CRPIX2": 50.5, "CRVAL1": at.ra.deg, "CRVAL2": at.dec.deg, "CDELT1": -0.005, "CDELT2": 0.005,
    }  # fmt: skip
    return WcsGrid(header, (100, 100))


@pytest.mark.parametrize("correlation", [0.9, -0.7, 0.0])
def test_the_error_of_a_position_holds_95_percent(correlation: float) -> None:
    model = gaussian(correlation)
    cov = model.covariance.matrix_of([model.lon_0, model.lat_0])
    lon, lat = np.random.default_rng(1).multivariate_normal([83, 60], cov, 40000).T
    wcs = grid_at(model).wcs
    inside = model.position_error.to_pixel(wcs).contains(PixCoord(*wcs.all_world2pix(lon, lat, 0)))
    assert_allclose(inside.mean(), 0.95, atol=4 * np.sqrt(0.95 * 0.05 / 40000) + 5e-4)


@pytest.mark.parametrize(("correlation", "north"), [(0.0, 0.02), (0.0, 0.05), (0.8, 0.02)])
def test_the_axes_of_the_error_are_gammapys(correlation: float, north: float) -> None:
    model = gaussian(correlation, north)
    found, expected = model.position_error, gm.to_gammapy(model).position_error
    assert_allclose(found.width.to_value("deg"), expected.width.to_value("deg"), rtol=1e-9)
    assert_allclose(found.height.to_value("deg"), expected.height.to_value("deg"), rtol=1e-9)
    # theirs takes an angle from the east for one from the west
    turned = found.angle.to_value("deg") + expected.angle.to_value("deg")
    assert_allclose((turned + 1) % 180, 1, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["GaussianSpatialModel", "DiskSpatialModel", "GeneralizedGaussianSpatialModel"]
)
def test_the_error_of_an_extension_is_gammapys(name: str) -> None:
    model = getattr(gm.models, name)(lon_0="1 deg", lat_0="2 deg", e=0.6, phi="30 deg")
    size = model.parameter("sigma" if name.startswith("Gaussian") else "r_0")
    size.value, size.error = 0.3, 0.05
    found, expected = model.extension_error(1.5), gm.to_gammapy(model)._to_region_error(1.5)
    for key in ("inner_width", "outer_width", "inner_height", "outer_height", "angle"):
        ours, gammapys = (u.Quantity(getattr(r, key)).to_value("deg") for r in (found, expected))
        assert_allclose(ours, gammapys, rtol=1e-9, err_msg=key)
    for error in (0.0, 0.4):  # none, and one that leaves no inside
        size.error = error
        assert model.extension_error() is None


def test_errors_are_drawn_where_they_are_known(axes: Any) -> None:
    model = gaussian(0.5)
    ax = model.plot_error(axes, which="all", kwargs_extension={"alpha": 0.4})
    ellipse, ring = ax.patches
    pixel = np.sqrt(np.abs(np.linalg.det(ax.wcs.pixel_scale_matrix)))
    assert_allclose(ellipse.height * pixel, model.position_error.height.to_value("deg"), rtol=1e-3)
    assert ring.get_alpha() == 0.4
    ax.figure.canvas.draw()
    drawn = sky_axes(new_figure().add_subplot(), grid_at(model).wcs)
    assert model.plot_error(drawn, which=["extension"]) is drawn
    assert len(drawn.patches) == 1
    assert not drawn.collections
    point = gm.PointSpatialModel(lon_0="83 deg", lat_0="60 deg")
    assert len(point.plot_error(drawn, which="all").patches) == 1  # nothing is known of it
    assert len(drawn.collections) == 1
    assert_allclose(drawn.collections[0].get_offsets()[0], [49.5, 49.5], atol=1e-6)


def test_errors_that_cannot_be_drawn(axes: Any) -> None:
    with pytest.raises(InputError, match="which is 'size', expected one of position, extension"):
        gaussian(0).plot_error(axes, which="size")
    with pytest.raises(InputError, match="ConstantSpatialModel has no position"):
        gm.models.ConstantSpatialModel().plot_error(axes)
    assert gm.models.ConstantSpatialModel().position_error is None


def test_maps_of_a_template_at_its_energies() -> None:
    from gammapy.maps import Map, MapAxis

    axis = MapAxis.from_energy_edges([1, 3, 10] * u.TeV, name="energy_true")
    sky_map = Map.create(
        skydir=(10, 5), width=(3, 2), binsz=0.1, axes=[axis], unit="cm-2 s-1 TeV-1 sr-1"
    )
    sky_map.data += np.random.default_rng(2).uniform(1, 2, sky_map.data.shape)
    model = gm.from_gammapy(theirs.TemplateSpatialModel(sky_map, normalize=False))
    figure = model.plot_grid(ncols=2)
    images = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert_allclose(images, sky_map.data, rtol=1e-6)
    titles = [ax.get_title() for ax in figure.axes if ax.images]
    assert titles == [f"{energy:.3g}" for energy in axis.center]
    figure.canvas.draw()
    with pytest.raises(InputError, match=r"does not depend on energy: use plot\(\)"):
        gaussian(0).plot_grid()


@pytest.mark.parametrize("normalize", [True, False])
def test_a_phasogram_is_gammapys(axes: Any, normalize: bool) -> None:
    phase = np.linspace(0.02, 0.98, 25)
    norm = 1.5 + np.sin(7 * phase)
    model = gm.models.TemplatePhaseCurveTemporalModel(phase, norm, normalize=normalize, phi_ref=0.3)
    model.plot_phasogram(axes, n_points=37, color="k")
    x, y = axes.lines[0].get_data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ax = gm.to_gammapy(model).plot_phasogram(n_points=37)
    expected = ax.lines[0].get_data()
    assert_allclose(x, expected[0], rtol=1e-9)
    assert_allclose(y, expected[1], rtol=1e-9)
    assert axes.lines[0].get_color() == "k"
    with pytest.raises(InputError, match="n_points is 0"):
        model.plot_phasogram(axes, n_points=0)
    with pytest.raises(InputError, match=r"plot\(time_range\) draws it against time"):
        gm.plot.plot_phasogram(gm.models.ConstantTemporalModel(), axes)


@pytest.fixture(scope="module")
def pair(survey: Any) -> Any:
    """A dataset of ours and the same of Gammapy's, with a model."""
    from gammapy.datasets import Datasets

    shape = gm.PointSpatialModel(lon_0="83.63 deg", lat_0="22.01 deg")
    source = gm.SkyModel(
        gm.PowerLawSpectralModel(amplitude="4e-12 cm-2 s-1 TeV-1"), shape, name="a"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = Datasets.read(survey, checksum=False)
        own = gm.from_gammapy(Datasets([datasets[0]]))[0]
        datasets[0].models = gm.to_gammapy(gm.Models([source]))
    own.set_models([source])
    return own, datasets[0]


REGION = CircleSkyRegion(SkyCoord(83.63, 22.01, unit="deg"), 0.4 * u.deg)


@pytest.mark.parametrize("method", ["diff", "diff/sqrt(model)"])
@pytest.mark.parametrize(
    ("kind", "region"), [("map", None), ("map", REGION), ("spectrum", None), ("on-off", None)]
)
def test_residuals_by_energy_are_gammapys(
    pair: Any, axes: Any, method: str, kind: str, region: Any
) -> None:
    own, other = pair
    if kind != "map":
        own, other = spectra(own, other, kind)
    own.plot_residuals_spectral(axes, method=method, region=region, color="k", marker="s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = other.plot_residuals_spectral(method=method, region=region)
    found, expected = (bars_of(ax) for ax in (axes, mine))
    for ours, gammapys in zip(found, expected, strict=True):
        assert_allclose(ours, gammapys, rtol=2e-5, atol=1e-6 * np.nanmax(np.abs(gammapys)))
    assert axes.containers[0].lines[0].get_color() == "k"
    axes.figure.canvas.draw()


def spectra(own: Any, other: Any, kind: str) -> tuple[Any, Any]:
    """Spectra of a region of both, with the same source."""
    from gammapy.datasets import Datasets, SpectrumDatasetOnOff

    sources = own.models
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spectrum = other.to_spectrum_dataset(REGION)
        if kind == "on-off":
            spectrum = SpectrumDatasetOnOff.from_spectrum_dataset(
                dataset=spectrum, acceptance=1, acceptance_off=4, name="onoff",
                counts_off=spectrum.background * 4.5,
            )  # fmt: skip
        mine = gm.from_gammapy(Datasets([spectrum]))[0]
        spectrum.models = gm.to_gammapy(gm.Models(list(sources)))
    mine.set_models(list(sources))
    return mine, spectrum


def bars_of(ax: Any) -> tuple[Any, Any]:
    """Values and the ends of the errors in both directions."""
    container = ax.containers[0]
    ends = [segment for bars in container.lines[2] for segment in bars.get_segments()]
    return container.lines[0].get_ydata(), np.array(ends)


def test_residuals_by_energy_that_cannot_be_drawn(pair: Any, axes: Any) -> None:
    with pytest.raises(InputError, match="residuals of method 'ratio'"):
        pair[0].plot_residuals_spectral(axes, method="ratio")
    far = CircleSkyRegion(SkyCoord(10, 10, unit="deg"), 0.4 * u.deg)
    with pytest.raises(InputError, match="contains no pixel of dataset"):
        pair[0].plot_residuals_spectral(axes, region=far)


def test_options_of_masks_and_colour_bar(pair: Any, axes: Any) -> None:
    own, _ = pair
    made = own.copy(mask_fit=np.ones(own.counts.shape, bool))
    made.set_models(list(own.models))
    made.plot_residuals_spectral(axes, kwargs_fit={"color": "r", "label": "chosen"})
    assert "chosen" in axes.get_legend_handles_labels()[1]
    ax = own.plot_residuals_spatial(new_figure().add_subplot(), add_cbar=False, cmap="coolwarm")
    assert len(ax.figure.axes) == 1
