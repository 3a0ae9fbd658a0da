"""Grids of pixels on the sky, described by the WCS cards of a FITS header."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import InputError

if TYPE_CHECKING:  # astropy's WCS takes long to import, and models that use axes do not need it
    from astropy.wcs import WCS

__all__ = ["CommonGrid", "WcsGrid", "common_grid"]

Array = NDArray[np.float64]
CommonGrid = tuple[tuple[str, Any], ...]


class WcsGrid:
    """A rectangular grid of pixels on the sky.

    Parameters
    ----------
    header : mapping
        FITS WCS cards of the two celestial axes.
    shape : tuple of int
        Number of pixels (lat, lon).
    """

    def __init__(self, header: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        self.header = dict(header)
        self.shape = (int(shape[0]), int(shape[1]))
        self.wcs: WCS = _wcs(tuple(self.header.items()))

    def __repr__(self) -> str:
        rows, columns = self.shape
        lon, lat = self.pixel_scales
        return f"<WcsGrid {rows} × {columns} pixels of {lon:.4g} × {lat:.4g} deg, {self.frame}>"

    @cached_property
    def frame(self) -> str:
        """Celestial frame: "icrs" or "galactic"."""
        ctype = str(self.header["CTYPE1"])
        if ctype.startswith("GLON"):
            return "galactic"
        if ctype.startswith("RA"):
            return "icrs"
        msg = f"WCS axis {ctype!r} is not supported; expected RA or GLON first"
        raise InputError(msg)

    @cached_property
    def pixel_scales(self) -> tuple[float, float]:
        """Pixel size (lon, lat) at the reference pixel, in deg."""
        from astropy.wcs.utils import proj_plane_pixel_scales

        lon, lat = proj_plane_pixel_scales(self.wcs)
        return float(lon), float(lat)

    @cached_property
    def max_pixel_scale(self) -> float:
        """The larger pixel size, in deg."""
        return max(self.pixel_scales)

    @property
    def projection(self) -> str:
        """Three-letter code of the projection."""
        return str(self.header["CTYPE1"])[-3:]

    @cached_property
    def common(self) -> tuple[CommonGrid, int, int]:
        """The unbounded grid that contains this one, and the pixel (y, x) at which this one starts.

        Grids that differ by whole pixels have the same one.
        """
        cards = dict(self.header)
        starts = []
        for card in ("CRPIX1", "CRPIX2"):
            start = math.floor(float(cards[card]))
            cards[card] = float(cards[card]) - start
            starts.append(-start)
        return tuple(sorted(cards.items())), starts[1], starts[0]

    def to_pixel(self, lon: Array | float, lat: Array | float) -> tuple[Array, Array]:
        """Return the pixel coordinates (x, y), from 0, of positions in deg in the frame of the grid."""
        return _through(lon, lat, lambda sky: self.wcs.wcs.s2p(sky, 0)["pixcrd"])

    def to_sky(self, x: Array | float, y: Array | float) -> tuple[Array, Array]:
        """Return the positions (lon, lat) in deg of pixel coordinates from 0."""
        return _through(x, y, lambda pixels: self.wcs.wcs.p2s(pixels, 0)["world"])

    @cached_property
    def center(self) -> tuple[float, float]:
        """Position (lon, lat) of the centre of the grid, in deg."""
        lon, lat = self.to_sky((self.shape[1] - 1) / 2.0, (self.shape[0] - 1) / 2.0)
        return float(lon), float(lat)

    @cached_property
    def pixel_centers(self) -> tuple[Array, Array]:
        """Positions (lon, lat) of all pixel centres, each of shape (lat, lon), in deg."""
        y, x = np.indices(self.shape, dtype=float)
        return self.to_sky(x, y)

    @cached_property
    def solid_angle(self) -> Array:
        """Solid angle of each pixel in sr, shape (lat, lon); see `solid_angles`."""
        return self.solid_angles(slice(0, self.shape[0]), slice(0, self.shape[1]))

    def solid_angles(self, y: slice, x: slice) -> Array:
        """Solid angles of a rectangle of pixels in sr.

        Each pixel is two planar triangles between its corners, as in Gammapy's
        ``WcsGeom.solid_angle``.

        Parameters
        ----------
        y, x : slice
            Rectangle of pixels.
        """
        rows, columns = np.meshgrid(
            np.arange(y.start, y.stop + 1) - 0.5,
            np.arange(x.start, x.stop + 1) - 0.5,
            indexing="ij",
        )
        lon, lat = (np.radians(values) for values in self.to_sky(columns, rows))
        nodes = np.stack([lon, np.sin(lat), np.cos(lat)])
        below, above, left, right = nodes[:, :-1], nodes[:, 1:], nodes[..., :-1], nodes[..., 1:]
        # sides, and angles along x, are shared by two pixels and computed once
        along_y, along_x = _separation(below, above), _separation(left, right)
        angle_x = _angle(left, right)
        down, up = _angle(above[..., :-1], below[..., :-1]), _angle(below[..., 1:], above[..., 1:])
        first = along_y[:, :-1] * along_x[1:] * np.sin(angle_x[1:] - down)
        second = along_y[:, 1:] * along_x[:-1] * np.sin(up - angle_x[:-1])
        result: Array = np.abs(0.5 * (first + second))
        return result

    def upsampled_centers(self, y: slice, x: slice, factor: int) -> tuple[Array, Array]:
        """Positions of sub-pixel centres of a rectangle of pixels.

        Parameters
        ----------
        y, x : slice
            Rectangle of pixels.
        factor : int
            Number of sub-pixels per side.

        Returns
        -------
        lon, lat : array of shape (n_y * factor, n_x * factor)
            Positions in deg.
        """
        offset = (np.arange(factor) + 0.5) / factor - 0.5
        rows = (np.arange(y.start, y.stop)[:, None] + offset).ravel()
        columns = (np.arange(x.start, x.stop)[:, None] + offset).ravel()
        grid_y, grid_x = np.meshgrid(rows, columns, indexing="ij")
        return self.to_sky(grid_x, grid_y)


@lru_cache(maxsize=128)
def _wcs(cards: CommonGrid) -> WCS:
    """Return the projection of some cards; it takes milliseconds to create, and many grids share it."""
    from astropy.io import fits
    from astropy.wcs import WCS

    wcs = WCS(fits.Header(list(cards)), naxis=2)
    wcs.wcs.set()
    return wcs


@lru_cache(maxsize=128)
def common_grid(cards: CommonGrid) -> WcsGrid:
    """Return the grid of `WcsGrid.common`, which any pixels can be requested of."""
    return WcsGrid(dict(cards), (1, 1))


def _through(
    a: Array | float, b: Array | float, transform: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """Apply a transform of rows to two coordinates; for one position astropy's own way takes ten times as long."""
    pair = np.broadcast_arrays(np.asarray(a, dtype=float), np.asarray(b, dtype=float))
    rows = np.stack([values.ravel() for values in pair], axis=1)
    found = transform(rows) if len(rows) else rows
    return found[:, 0].reshape(pair[0].shape), found[:, 1].reshape(pair[0].shape)


def _separation(a: Array, b: Array) -> Array:
    """Angular separation in rad (Vincenty) of positions (longitude in rad, sin and cos of latitude)."""
    dlon = b[0] - a[0]
    cos_dlon = np.cos(dlon)
    x = a[2] * b[1] - a[1] * b[2] * cos_dlon
    y = b[2] * np.sin(dlon)
    z = a[1] * b[1] + a[2] * b[2] * cos_dlon
    result: Array = np.arctan2(np.hypot(x, y), z)
    return result


def _angle(a: Array, b: Array) -> Array:
    """Position angle of `b` seen from `a`, in rad, East of North."""
    dlon = b[0] - a[0]
    x = b[1] * a[2] - b[2] * a[1] * np.cos(dlon)
    result: Array = np.arctan2(np.sin(dlon) * b[2], x)
    return result
