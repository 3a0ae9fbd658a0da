"""A plain, slow and dense likelihood of one cube, written from the recipe alone.

Nothing of the likelihood or the IRF code under test is used: positions come from
`~astropy.coordinates.SkyCoord`, interpolation and convolution from SciPy, and the formulas of
the models stand here once more. Everything is float64, over all bins, with no sparsity.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import NoOverlapError, overlap_slices
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy.interpolate import RegularGridInterpolator
from scipy.signal import convolve

from gmdask.models import BackgroundIRFModel, DatasetModels, SkyModel, TemplateNPredModel
from tests.likelihood.dense_shapes import DENSITIES, constant, extent, position_of, value

Array = np.ndarray
TRUNCATION = 1e-25


# --- grids and axes --------------------------------------------------------------------


class Grid:
    """A WCS grid: pixel coordinates of positions, and back."""

    def __init__(self, header: dict[str, Any], shape: tuple[int, ...]) -> None:
        self.shape, self.wcs = shape, WCS(fits.Header(list(header.items())))
        self.frame = "galactic" if header["CTYPE1"].startswith("GLON") else "icrs"
        self.projection = header["CTYPE1"][-3:]
        self.scales = proj_plane_pixel_scales(self.wcs)  # lon, lat

    def pix(self, position: SkyCoord) -> tuple[float, float]:
        at = position.transform_to(self.frame).data
        x, y = self.wcs.wcs_world2pix(at.lon.deg, at.lat.deg, 0)
        return float(x), float(y)

    def sky(self, x: Array | float, y: Array | float) -> SkyCoord:
        lon, lat = self.wcs.wcs_pix2world(x, y, 0)
        return SkyCoord(lon, lat, unit="deg", frame=self.frame)

    def cutout(self, position: SkyCoord, width: float, odd: bool) -> tuple[slice, slice] | None:
        """Slices of a cutout, trimmed; None without overlap."""
        npix = np.maximum(width / self.scales[::-1], 1)
        npix = np.ceil(npix) // 2 * 2 + 1 if odd else np.round(npix)
        try:
            return overlap_slices(self.shape, npix.astype(int), self.pix(position)[::-1], "trim")[0]
        except NoOverlapError:
            return None


def solid_angle(grid: Grid) -> Array:
    """Two planar triangles per pixel, cornered as in Gammapy's ``WcsGeom.solid_angle``."""
    y, x = np.indices((grid.shape[0] + 1, grid.shape[1] + 1)) - 0.5
    corner = grid.sky(x, y)
    ll, lr, ul, ur = corner[:-1, :-1], corner[1:, :-1], corner[:-1, 1:], corner[1:, 1:]
    angle_lr = lr.position_angle(ur) - lr.position_angle(ll)
    angle_ul = ul.position_angle(ur) - ll.position_angle(ul)
    first = 0.5 * ll.separation(lr).rad * lr.separation(ur).rad * np.sin(angle_lr.rad)
    second = 0.5 * ul.separation(ur).rad * ll.separation(ul).rad * np.sin(angle_ul.rad)
    return np.abs(first + second)


def edges(cube: xr.Dataset, dim: Hashable, unit: str) -> Array:
    """Edges of an axis, or its nodes if those are centres."""
    name = f"{dim}_edges" if f"{dim}_edges" in cube else dim
    return cube[name].values.astype(float) * u.Unit(cube[dim].attrs["unit"]).to(unit)


def geometric(values: Array) -> Array:
    return np.sqrt(values[:-1] * values[1:])


def linear(values: Array) -> Array:
    return 0.5 * (values[:-1] + values[1:])


def to_pix(values: Array, centres: Array) -> Array:
    """Pixel coordinate: piecewise linear between centres, extrapolated."""
    nodes = np.arange(len(centres), dtype=float)
    return RegularGridInterpolator((centres,), nodes, bounds_error=False, fill_value=None)(
        np.asarray(values)[..., None]
    )


# --- IRFs ------------------------------------------------------------------------------


def valid_pixel(values: Array, grid: Grid, position: SkyCoord) -> tuple[float, float]:
    """Pixel (x, y) of a position, or the centre of the nearest pixel with any value above 0."""
    valid = (np.nan_to_num(values) > 0).any(axis=(0, 1))
    x, y = grid.pix(position)
    column, row = round(x), round(y)
    inside = 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]
    if not valid.any() or (inside and valid[row, column]):
        return x, y
    rows, columns = np.nonzero(valid)
    k = np.argmin(grid.sky(columns, rows).separation(position).deg)
    return float(columns[k]), float(rows[k])


def psf_kernel(
    cube: xr.Dataset, target: Grid, position: SkyCoord, energies: Array
) -> tuple[Array, float]:
    """Kernels (energy, n, n) and their width in deg."""
    psf = cube["psf"]
    values = np.nan_to_num(psf.values.astype(float)) * u.Unit(psf.attrs["unit"]).to("deg-2")
    grid = Grid(cube.attrs["psf_wcs"], psf.shape[-2:])
    x, y = valid_pixel(values, grid, position)
    node = edges(cube, psf.dims[0], "TeV")
    node = np.log(geometric(node) if f"{psf.dims[0]}_edges" in cube else node)
    energy_pix = to_pix(np.log(energies), node)
    rad_edges = edges(cube, "rad", "deg")
    rad = linear(rad_edges)

    def interpolate(data: Array, energy: Array, rad_pix: Array) -> Array:
        """Four-dimensional, linear in pixels: (energy, rad) at the position."""
        used = [k for k in range(4) if data.shape[k] > 1]
        points = tuple(np.arange(data.shape[k]) for k in used)
        function = RegularGridInterpolator(
            points, data.squeeze(), bounds_error=False, fill_value=None
        )
        at = np.broadcast_arrays(energy[:, None], rad_pix.ravel(), y, x)
        return function(np.stack([at[k] for k in used], axis=-1)).reshape(
            len(energy), *rad_pix.shape
        )

    ring = 2 * np.pi * rad * np.diff(rad_edges)
    contained = np.cumsum(values * ring[:, None, None], axis=1)  # belongs to the upper edges
    fine = linear(np.linspace(rad_edges[0], rad_edges[-1], 20 * len(rad) + 1))
    fine_pix = to_pix(fine, rad_edges[1:])

    def radius(energy: Array, fraction: float) -> Array:
        containment = interpolate(contained, energy, fine_pix)
        containment[:, (fine_pix < -0.5) | (fine_pix > len(rad) - 0.5)] = 0
        containment[(energy < -0.5) | (energy > len(node) - 0.5)] = 0
        return fine[np.argmin(np.abs(containment - fraction), axis=1)]

    largest = target.scales.max()
    square = np.allclose(target.scales, largest, rtol=1e-5)
    lon, lat = (largest, largest) if square else target.scales
    pixel = min(lon, lat)
    cut = radius(np.arange(float(len(node))), 0.999)
    factors = np.minimum(np.ceil(12 / (2 * radius(energy_pix, 0.68) / largest)), 4).astype(int)

    def odd(value: float) -> int:
        return int(np.ceil(value) // 2 * 2 + 1)

    size = odd(2 * cut.max() / pixel)
    kernels = np.zeros((len(energies), size, size))
    for t, f in enumerate(factors):
        n = odd(2 * cut[t] / pixel)
        header = {
            "CTYPE1": f"RA---{target.projection}", "CTYPE2": f"DEC--{target.projection}",
            "CRPIX1": (n * f + 1) / 2, "CRPIX2": (n * f + 1) / 2, "CRVAL1": 40.0, "CRVAL2": 0.0,
            "CDELT1": -lon / f, "CDELT2": lat / f, "CUNIT1": "deg", "CUNIT2": "deg",
        }  # fmt: skip
        row, column = np.indices((n * f, n * f))
        away = (
            Grid(header, (n * f, n * f))
            .sky(column, row)
            .separation(SkyCoord(40, 0, unit="deg"))
            .deg
        )
        image = np.clip(interpolate(values, energy_pix[t : t + 1], to_pix(away, rad))[0], 0, None)
        image = image.reshape(n, f, n, f).sum(axis=(1, 3))
        paste = slice((size - n) // 2, (size + n) // 2)
        kernels[t, paste, paste] = image / image.sum()
    return kernels, size * pixel


def edisp_matrix(cube: xr.Dataset, position: SkyCoord, apply: bool) -> Array:
    """Energy dispersion (energy_true, energy)."""
    true, reco = edges(cube, "energy_true", "TeV"), edges(cube, "energy", "TeV")
    matrix = np.zeros((len(true) - 1, len(reco) - 1))
    if "edisp" not in cube or not apply:
        for (t, low, high), (r, a, b) in itertools.product(
            zip(itertools.count(), true[:-1], true[1:], strict=False),
            zip(itertools.count(), reco[:-1], reco[1:], strict=False),
        ):
            matrix[t, r] = max(min(high, b) - max(low, a), 0) / (high - low)
        return matrix
    edisp = cube["edisp"]
    grid = Grid(cube.attrs["edisp_wcs"], edisp.shape[-2:])
    kernels = "migra" not in edisp.dims
    x, y = valid_pixel(edisp.values, grid, position) if kernels else grid.pix(position)
    row = min(max(round(y), 0), grid.shape[0] - 1)
    column = min(max(round(x), 0), grid.shape[1] - 1)
    values = np.nan_to_num(edisp.values[:, :, row, column].astype(float))
    if kernels:
        return values
    migra = edges(cube, "migra", "")
    centre = geometric(edges(cube, "edisp_energy_true", "TeV"))
    for t in range(len(values)):
        cumulative = np.append(0, np.cumsum(values[t] * np.diff(migra)))
        matrix[t] = np.clip(np.diff(np.interp(reco / centre[t], migra, cumulative)), 0, None)
    matrix[matrix < 1e-8] = 0
    return matrix


# --- models ----------------------------------------------------------------------------


def spectrum(model: Any, low: Array, high: Array, unit: str) -> Array:
    """Integrals over energy bins, cm-2 s-1; `unit` is that of the axis in the file."""
    reference = value(model, "reference", "TeV")
    amplitude = value(model, "amplitude", "cm-2 s-1 TeV-1")
    if type(model).__name__ == "PowerLawSpectralModel":
        s = 1 - value(model, "index", "")
        width = np.log(high / low)
        power = width if s == 0 else np.expm1(s * width) / s  # no cancellation near index 1
        return amplitude * reference * (low / reference) ** s * power
    assert type(model).__name__ == "LogParabolaSpectralModel"
    alpha, beta = value(model, "alpha", ""), value(model, "beta", "")
    back = u.TeV.to(unit)
    num = int(max(np.max(100 * np.log10((high * back) / (low * back))), 2))
    total = np.zeros(len(low))
    for t, (a, b) in enumerate(zip(low, high, strict=True)):
        e = np.geomspace(a, b, num)
        f = (e / reference) ** (-alpha - beta * np.log(e / reference))
        slope = np.log(f[1:] / f[:-1]) / np.log(e[1:] / e[:-1]) + 1
        ratio = e[1:] / e[:-1]
        flat = np.abs(slope) < 1e-9
        power = np.where(flat, np.log(ratio), (ratio**slope - 1) / np.where(flat, 1, slope))
        total[t] = np.sum(f[:-1] * e[:-1] * power)
    return amplitude * total


def shape_image(model: Any, grid: Grid, window: tuple[slice, slice]) -> Array:
    """Integral of the shape over the pixels, zero outside the window."""
    image = np.zeros(grid.shape)
    inside = np.zeros(grid.shape, dtype=bool)
    inside[window] = True
    density_of = DENSITIES.get(type(model).__name__)
    if density_of is constant:
        rows, columns = np.indices(grid.shape)
        return density_of(model, grid.sky(columns, rows)) * solid_angle(grid)
    centre = position_of(model)
    x, y = grid.pix(centre)
    if type(model).__name__ == "PointSpatialModel":
        for row, column in itertools.product(
            (np.floor(y), np.floor(y) + 1), (np.floor(x), np.floor(x) + 1)
        ):
            if 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]:
                image[int(row), int(column)] = (1 - abs(row - y)) * (1 - abs(column - x))
        return image * inside
    assert density_of is not None
    pixel = grid.scales.max()
    radius, smallest = extent(model)
    assert radius is not None
    assert smallest is not None
    f = int(min(np.ceil(pixel / smallest), 200)) if smallest > 0 else 200
    rows, columns = np.arange(grid.shape[0])[window[0]], np.arange(grid.shape[1])[window[1]]
    npix = np.round(np.maximum(2 * max(radius, pixel) / grid.scales[::-1], 1)).astype(int)
    at = (y - window[0].start, x - window[1].start)
    try:  # inner cut, in the pixels of the window
        cut = overlap_slices((len(rows), len(columns)), npix, at, "trim")[0]
    except NoOverlapError:  # then pixel centres, as in Gammapy's `integrate_geom`
        cut, f = None, 1
    if f > 1:
        rows, columns = rows[cut[0]], columns[cut[1]]
    fine = (np.arange(f) + 0.5) / f - 0.5
    fine_x, fine_y = np.meshgrid((columns[:, None] + fine).ravel(), (rows[:, None] + fine).ravel())
    density = (
        density_of(model, grid.sky(fine_x, fine_y))
        .reshape(len(rows), f, len(columns), f)
        .mean(axis=(1, 3))
    )
    image[np.ix_(rows, columns)] = density * solid_angle(grid)[np.ix_(rows, columns)]
    return image


# --- the cube --------------------------------------------------------------------------


def mask_of(cube: xr.Dataset) -> Array:
    mask = np.ones(cube["counts"].shape, dtype=bool)
    for key in ("mask_safe", "mask_fit"):
        if key in cube:
            mask &= cube[key].values
    return mask


def convolved(planes: Array, kernels: Array | None, window: tuple[slice, slice]) -> Array:
    """Each plane with its kernel, within the window."""
    if kernels is None:
        return planes
    result = np.zeros_like(planes)
    for plane, kernel, out in zip(planes, kernels, result, strict=True):
        out[window] = convolve(plane[window], kernel, mode="same", method="fft")
    return result


def middle_of(cube: xr.Dataset, name: str) -> SkyCoord:
    """Centre of the map of an IRF, where a source without a position has it taken."""
    if name not in cube:
        return SkyCoord(0, 0, unit="deg")
    shape = cube[name].shape[-2:]
    grid = Grid(cube.attrs[f"{name}_wcs"], shape)
    return grid.sky((shape[1] - 1) / 2, (shape[0] - 1) / 2)


def template_npred(cube: xr.Dataset, model: TemplateNPredModel) -> Array:
    """Counts of a template, on the grid of the dataset itself."""
    factor = norm(model, geometric(edges(cube, "energy", "TeV")))
    return model.map.data * factor[:, None, None]


def source_npred(cube: xr.Dataset, model: SkyModel) -> Array:
    """Counts (energy, lat, lon) of one sky model."""
    counts, shape = cube["counts"], model.spatial_model
    grid = Grid(cube.attrs["wcs"], counts.shape[-2:])
    radius, _ = extent(shape)
    zero = np.zeros(counts.shape)
    true, reco = edges(cube, "energy_true", "TeV"), edges(cube, "energy", "TeV")
    kernels, width, after = None, 0.0, False
    if "psf" in cube:
        after = cube["psf"].dims[0] == "psf_energy"
        at = middle_of(cube, "psf") if radius is None else position_of(shape)
        kernels, width = psf_kernel(cube, grid, at, geometric(reco if after else true))
    window = (slice(0, grid.shape[0]), slice(0, grid.shape[1]))
    position = middle_of(cube, "edisp") if radius is None else position_of(shape)
    if radius is not None:
        near = grid.cutout(position, 2 * radius + 0.1 + width, odd=False)
        around = grid.cutout(position, width + 2 * (radius + 0.1), odd=True)
        if near is None or around is None or not np.asarray(mask_of(cube).any(axis=0))[near].any():
            return zero
        window = around
    kernels = kernels if model.apply_irf["psf"] else None
    matrix = edisp_matrix(cube, position, model.apply_irf["edisp"])
    flux = spectrum(model.spectral_model, true[:-1], true[1:], cube["energy_true"].attrs["unit"])
    exposure = cube["exposure"].values * u.Unit(cube["exposure"].attrs["unit"]).to("cm2 s")
    exposure = np.nan_to_num(exposure, posinf=0, neginf=0)
    image = shape_image(shape, grid, window)
    planes = np.broadcast_to(image, exposure.shape)
    keep = np.zeros(grid.shape)
    keep[window] = 1
    if after:
        folded = np.einsum("tyx,t,tr->ryx", planes * exposure, flux, matrix)
        return convolved(folded, kernels, window)
    smooth = convolved(planes, kernels, window) * keep
    return np.einsum("tyx,t,tr->ryx", smooth * exposure, flux, matrix)


def norm(model: BackgroundIRFModel | TemplateNPredModel | None, energy: Array) -> Array:
    if model is None:
        return np.ones(len(energy))
    spectral = model.spectral_model
    ratio = energy / value(spectral, "reference", "TeV")
    return value(spectral, "norm", "") * ratio ** -value(spectral, "tilt", "")


def norm_on_sky(cube: xr.Dataset, model: BackgroundIRFModel | None) -> Array:
    """Spatial norm (lat, lon) of the background at pixel centres."""
    grid = Grid(cube.attrs["wcs"], cube["counts"].shape[-2:])
    if model is None or model.spatial_model is None:
        return np.ones(grid.shape)
    rows, columns = np.indices(grid.shape)
    spatial = model.spatial_model
    return DENSITIES[type(spatial).__name__](spatial, grid.sky(columns, rows))


def npred(cube: xr.Dataset, models: DatasetModels, clip: bool = True) -> Array:
    """Predicted counts (energy, lat, lon) of all models and the background."""
    total = np.zeros(cube["counts"].shape)
    background: BackgroundIRFModel | None = None
    for model in models:
        if isinstance(model, SkyModel):
            total += source_npred(cube, model)
        elif isinstance(model, TemplateNPredModel):
            total += template_npred(cube, model)
        elif isinstance(model, BackgroundIRFModel):
            background = model
    if "background" in cube:
        factor = norm(background, geometric(edges(cube, "energy", "TeV")))
        total += cube["background"].values * factor[:, None, None] * norm_on_sky(cube, background)
    return np.clip(total, 0, None) if clip else total


def cash(predicted: Array, counts: Array, mask: Array) -> float:
    """``2 Σ_mask (npred - n ln npred)``, npred no less than 1e-25."""
    mu, n = np.maximum(predicted[mask], TRUNCATION), counts[mask].astype(float)
    return float(2 * np.sum(mu) - 2 * np.sum(n[n > 0] * np.log(mu[n > 0])))


def stat(cube: xr.Dataset, models: DatasetModels) -> float:
    return cash(npred(cube, models), cube["counts"].values, mask_of(cube))
