"""PSF kernels at a position, from a map of radial profiles."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gmdask.errors import InputError
from gmdask.geometry import Axis, WcsGrid, round_up_to_odd, separation
from gmdask.irf.position import filled_nodes, nearest_valid_pixel
from gmdask.irf.tiles import TiledMap

__all__ = ["CONTAINMENT", "PSFKernel", "PSFMap"]

Array = NDArray[np.float64]
Pixels = tuple[float, float]

CONTAINMENT = 0.999
PRECISION_FACTOR = 12
MAX_OVERSAMPLING = 4
RAD_UPSAMPLING = 20
SQUARE = 1e-5  # relative difference of sides up to which Gammapy takes pixels as square, and below which it fails


class PSFKernel(NamedTuple):
    """Kernels at one position.

    Attributes
    ----------
    values : array of shape (energy, n, n)
        Normalised to 1 per energy; n is odd.
    width : float
        Size of the kernel in deg.
    """

    values: Array
    width: float


class PSFMap:
    """Radial profiles of the point spread function over the field of view.

    Parameters
    ----------
    profiles : `TiledMap`
        Values with axes (energy, rad, lat, lon).
    to_inverse_square_deg : float
        Factor that converts the values to deg-2.
    energy, rad : `Axis`
        Axes of the map: rad in deg, energy in the unit of the requested energies.
    grid : `WcsGrid`
        Pixels of the map.

    Notes
    -----
    Kernels follow Gammapy 2.1's ``PSFMap.get_psf_kernel`` (irf/psf/map.py): the size is from
    the 99.9 % containment radii, the oversampling from the 68 % ones, and the values from linear
    interpolation in pixel space of energy, offset and position. Plane t of a kernel is
    cut at the containment radius of *node* t of the map, even if the two energy axes
    differ. The interpolation in offset is a fixed sparse matrix per pixel size, so that a
    kernel is one product of this matrix with the profiles.
    """

    def __init__(
        self,
        profiles: TiledMap,
        to_inverse_square_deg: float,
        energy: Axis,
        rad: Axis,
        grid: WcsGrid,
    ) -> None:
        self._profiles = profiles
        self.energy, self.rad, self.grid = energy, rad, grid
        self._ring = to_inverse_square_deg * 2 * np.pi * rad.center * np.diff(rad.edges)
        self._fine_rad, self._to_fine = _fine_axis(rad.nodes.tobytes(), rad.interp, rad.node_type)

    @property
    def nbytes(self) -> int:
        """Bytes of the tiles kept in memory."""
        return self._profiles.nbytes

    def max_width(self, target: WcsGrid) -> float:
        """Return a width in deg that no kernel for images of a grid exceeds."""
        pixel = min(_kernel_pixels(target))
        return round_up_to_odd(2 * float(self._fine_rad.max()) / pixel) * pixel

    def kernel(self, lon: float, lat: float, energies: Array, target: WcsGrid) -> PSFKernel:
        """Return the kernels at a position.

        Parameters
        ----------
        lon, lat : float
            Position in the frame of the PSF map's own grid, in deg.
        energies : array
            Energies of the planes, in the unit of the map's energy axis.
        target : `WcsGrid`
            Grid of the image to convolve.

        Returns
        -------
        kernel : `PSFKernel`
        """
        if len(energies) > self.energy.nbin:
            msg = f"PSF map has {self.energy.nbin} energies, fewer than the {len(energies)} of the kernel"
            raise InputError(msg)
        x, y = nearest_valid_pixel(self._profiles, self.grid, lon, lat)
        nodes = self._at_position(x, y)
        inside = -0.5 <= x <= self.grid.shape[1] - 0.5 and -0.5 <= y <= self.grid.shape[0] - 0.5
        cumulative = self._cumulative(nodes) * inside
        planes = _interpolate_rows(nodes, self.energy.to_pix(energies))
        pixels = _kernel_pixels(target)
        pixel = min(pixels)
        radius = self._radius(cumulative, CONTAINMENT)
        radius_68 = self._radius(self._cumulative_at(cumulative, energies), 0.68)
        size = round_up_to_odd(2 * radius.max() / pixel)
        values = np.zeros((len(energies), size, size))
        wanted = np.ceil(PRECISION_FACTOR / (2 * radius_68 / max(pixels)))
        factors = np.minimum(wanted, MAX_OVERSAMPLING).astype(int)
        for factor in sorted(set(factors.tolist())):
            members = np.flatnonzero(factors == factor)
            halves = [round_up_to_odd(2 * r / pixel) // 2 for r in radius[members]]
            images = self._images(
                planes[members], target.projection, pixels, size, max(halves), factor
            )
            for plane, half, image in zip(members, halves, images, strict=True):
                cut = slice(size // 2 - half, size // 2 + half + 1)
                values[plane, cut, cut] = image[cut, cut]
        total = values.sum(axis=(1, 2), keepdims=True)
        np.divide(values, total, out=values, where=total > 0)
        return PSFKernel(values, size * pixel)

    def containment(self, lon: float, lat: float, energies: Array, radius: float) -> Array:
        """Return the fraction of a point source's flux within a circle around it.

        As Gammapy's ``PSFMap.containment``: the cumulative sum over offset, linear between the edges of
        its bins, in energy and in position.

        Parameters
        ----------
        lon, lat : float
            Position in the frame of the map's grid, in deg.
        energies : array
            Energies in the unit of the map's energy axis.
        radius : float
            Radius of the circle, in deg.

        Returns
        -------
        share : array of shape (energy,)
        """
        x, y = (float(v) for v in self.grid.to_pixel(lon, lat))
        nodes = self._at_position(x, y)
        cumulative = np.zeros((self.rad.nbin + 1, len(nodes)))
        np.cumsum((self._ring * nodes).T, axis=0, out=cumulative[1:])
        pix = Axis("rad", self.rad.edges, self.rad.interp, "center").to_pix([radius])
        within = _interpolate_rows(cumulative, np.clip(pix, 0.0, self.rad.nbin))[0]
        return _interpolate_rows(within[:, None], self.energy.to_pix(energies))[:, 0]

    def containment_radius(self, lon: float, lat: float, energies: Array, fraction: float) -> Array:
        """Return the radius of the circle around a point source that contains a fraction of its flux.

        Parameters
        ----------
        lon, lat : float
            Position in the frame of the map's grid, in deg; where the PSF is not known, it is taken
            from the nearest pixel where it is.
        energies : array
            Energies in the unit of the map's energy axis.
        fraction : float
            Fraction between 0 and 1.

        Returns
        -------
        radius : array of shape (energy,)
            In deg, on the axis of offsets upsampled by 20, as in Gammapy's kernels; 0 where
            nothing is contained.
        """
        nodes = self.profiles(lon, lat)
        cumulative = self._cumulative_at(self._cumulative(nodes), energies)
        return np.where(cumulative.max(axis=1) >= fraction, self._radius(cumulative, fraction), 0.0)

    def profiles(self, lon: float, lat: float) -> Array:
        """Return the radial profiles (energy, rad) at a position in deg, or at the nearest valid pixel."""
        return self._at_position(*nearest_valid_pixel(self._profiles, self.grid, lon, lat))

    def nodes(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
        """Radial profiles (energy, rad, row, column) of some pixels; see `filled_nodes`."""
        return filled_nodes(self._profiles, self.grid, rows, columns)

    def _at_position(self, x: float, y: float) -> Array:
        """Profiles (energy, rad) at pixel coordinate (x, y), bilinear, extrapolating."""
        n_y, n_x = self.grid.shape
        x0, y0 = (min(max(math.floor(v), 0), max(n - 2, 0)) for v, n in ((x, n_x), (y, n_y)))
        u, v = (x - x0 if n_x > 1 else 0.0), (y - y0 if n_y > 1 else 0.0)
        corners = self._profiles.window(y0, min(y0 + 2, n_y), x0, min(x0 + 2, n_x))
        along_y = corners[..., 0, :] * (1 - v) + corners[..., -1, :] * v
        result: Array = along_y[..., 0] * (1 - u) + along_y[..., -1] * u
        return result

    def _cumulative(self, nodes: Array) -> Array:
        """Return the containment (energy, fine rad) of profiles, on the rad axis upsampled by 20."""
        return np.ascontiguousarray((self._to_fine @ np.cumsum(self._ring * nodes, axis=1).T).T)

    def _cumulative_at(self, cumulative: Array, energies: Array) -> Array:
        """Return the containment at other energies; 0 outside the energy axis."""
        pix = self.energy.to_pix(energies)
        values = _interpolate_rows(cumulative, pix)
        values[(pix < -0.5) | (pix > self.energy.nbin - 0.5)] = 0.0
        return values

    def _radius(self, cumulative: Array, fraction: float) -> Array:
        index = np.argmin(np.abs(cumulative - fraction), axis=1)
        return np.asarray(self._fine_rad[index])

    def _images(
        self, planes: Array, projection: str, pixels: Pixels, size: int, half: int, factor: int
    ) -> Array:
        """Return images (plane, size, size): sums over factor² sub-pixels, clipped at 0; valid up to `half`."""
        table = _radial_table(
            projection,
            pixels,
            size,
            factor,
            self.rad.nodes.tobytes(),
            self.rad.interp,
            self.rad.node_type,
        )
        centre = _interpolate_rows(planes.T, np.minimum(table.pix.min(), 0.0)[None])
        if planes.min() < 0 or centre.min() < 0:
            fine = np.clip(_interpolate_rows(planes.T, table.pix.ravel()), 0.0, None)
            fine = fine.reshape(size, factor, size, factor, -1).sum(axis=(1, 3))
            return np.moveaxis(fine, -1, 0)
        images = (table.inner @ planes.T).T
        n_outer = int(np.searchsorted(table.outer_half, half, "right"))
        if n_outer and (planes[:, -1] > 0).any():
            pix, row = table.pix.ravel()[table.outer[:n_outer]], table.outer_row[:n_outer]
            beyond = np.clip(_interpolate_rows(planes.T, pix), 0.0, None)
            images = images + np.stack([np.bincount(row, b, size * size) for b in beyond.T])
        return np.asarray(images.reshape(-1, size, size))


def _interpolate_rows(values: Array, pix: Array) -> Array:
    """Interpolate along the first axis at pixel coordinates, linear, extrapolating."""
    n = len(values)
    if n == 1:
        return np.repeat(values, len(pix), axis=0)
    index = np.clip(np.floor(pix).astype(int), 0, n - 2)
    weight = (pix - index)[:, None]
    result: Array = values[index] * (1 - weight) + values[index + 1] * weight
    return result


def _upsampled_center(axis: Axis, factor: int) -> Array:
    """Return the centres of the axis with `factor` times more nodes, as Gammapy's ``MapAxis.upsample``."""
    if axis.node_type == "edges":
        pix = np.linspace(-0.5, axis.nbin - 0.5, axis.nbin * factor + 1)
        return Axis(axis.name, axis.from_pix(pix), axis.interp, "edges").center
    pix = np.linspace(0.0, axis.nbin - 1.0, (axis.nbin - 1) * factor + 1)
    return axis.from_pix(pix)


@lru_cache(maxsize=16)
def _fine_axis(nodes: bytes, interp: str, node_type: str) -> tuple[Array, sparse.csr_array]:
    """Nodes of the upsampled axis, and the matrix (fine, rad) that interpolates to them from the upper edges."""
    rad = Axis("rad", np.frombuffer(nodes), interp, node_type)
    fine = _upsampled_center(rad, RAD_UPSAMPLING)
    upper = Axis("rad", rad.edges[1:], rad.interp, "center")
    pix = upper.to_pix(fine)
    inside = np.flatnonzero((pix >= -0.5) & (pix <= upper.nbin - 0.5))
    return fine, _linear(pix[inside], inside, (len(fine), rad.nbin))


def _linear(pix: Array, row: NDArray[np.intp], shape: tuple[int, int]) -> sparse.csr_array:
    """Matrix that sums linear interpolations at pixel coordinates, with extrapolation, into some rows."""
    index = np.clip(np.floor(pix).astype(int), 0, max(shape[1] - 2, 0))
    weight = pix - index if shape[1] > 1 else np.zeros(len(pix))
    upper = np.minimum(index + 1, shape[1] - 1)
    values, columns = np.concatenate([1 - weight, weight]), np.concatenate([index, upper])
    return sparse.coo_array((values, (np.concatenate([row, row]), columns)), shape=shape).tocsr()


def _kernel_pixels(target: WcsGrid) -> Pixels:
    """Pixel size (lon, lat) of a kernel in deg; square if Gammapy takes the pixels as square."""
    largest = target.max_pixel_scale
    square = np.allclose(target.pixel_scales, largest, rtol=SQUARE)
    return (largest, largest) if square else target.pixel_scales


def _separations(projection: str, pixels: Pixels, size: int, factor: int) -> Array:
    """Offsets from the centre, in deg, of the sub-pixels of a kernel image.

    The image is centred on the reference point of its projection, where its
    geometry does not depend on the position in the sky.
    """
    header = {
        "CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}", "CRPIX1": 1.0, "CRPIX2": 1.0,
        "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -pixels[0], "CDELT2": pixels[1], "CUNIT1": "deg", "CUNIT2": "deg",
    }  # fmt: skip
    grid = WcsGrid(header, (1, 1))
    side = slice(-(size // 2), size // 2 + 1)
    return separation(*grid.upsampled_centers(side, side, factor), 0.0, 0.0)


class _RadialTable(NamedTuple):
    """Radial interpolation for an image of size² pixels.

    `pix` is the pixel coordinate on the rad axis of every sub-pixel; `inner` is the sparse
    matrix (size², rad) of the interpolation for those up to the last node, `outer` the flat
    indices of those beyond it, sorted by the distance `outer_half` from the middle, in rows or
    columns, of the pixels `outer_row` that contain them.
    """

    pix: Array
    inner: sparse.csr_array
    outer: NDArray[np.intp]
    outer_row: NDArray[np.intp]
    outer_half: NDArray[np.intp]


@lru_cache(maxsize=32)
def _radial_table(
    projection: str,
    pixels: Pixels,
    size: int,
    factor: int,
    nodes: bytes,
    interp: str,
    node_type: str,
) -> _RadialTable:
    rad = Axis("rad", np.frombuffer(nodes), interp, node_type)
    pix = rad.to_pix(_separations(projection, pixels, size, factor))
    flat = pix.ravel()
    rows = np.arange(size * size).reshape(size, 1, size, 1)
    row = np.broadcast_to(rows, (size, factor, size, factor)).ravel()
    inside = flat <= rad.nbin - 1
    matrix = _linear(flat[inside], row[inside], (size * size, rad.nbin))
    outer = np.flatnonzero(~inside)
    half = np.abs(np.stack(np.divmod(row[outer], size)) - size // 2).max(axis=0)
    order = np.argsort(half, kind="stable")
    outer = outer[order]
    return _RadialTable(pix, matrix, outer, row[outer], half[order])
