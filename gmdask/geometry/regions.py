"""Regions on the sky: circles, ellipses, annuli, rectangles, polygons, points, and unions of these.

Shapes are those of the package `regions`, which also reads and writes DS9 region strings. Whether a point
is inside is decided in the plane of a projection, as in Gammapy's ``RegionGeom``.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import regions as shapes
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs.utils import proj_plane_pixel_area
from numpy.typing import NDArray
from scipy.optimize import minimize

from gmdask.errors import InputError
from gmdask.geometry.aligned import downsampled_cards, shifted_cards
from gmdask.geometry.frames import rotate, separation
from gmdask.geometry.wcs import WcsGrid
from gmdask.inputs import read_bytes
from gmdask.quiet import caught_warnings

__all__ = ["OVERSAMPLING", "Region", "read_region"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

OVERSAMPLING = 10  # sub-pixels per side of pixels at the border of a region
BINSZ = 0.1  # deg; pixel size of a region's plane if there is no map
DIGITS = 13
MAX_BYTES = 1 << 24  # largest size of a region file


def read_region(region: Any) -> list[Any]:
    """Return the shapes of a region.

    Parameters
    ----------
    region : SkyRegion, SkyCoord, list of SkyRegion, str or path
        A shape of the package `regions`, which may be a union; a position; several shapes, of
        which the union is taken; a DS9 region string, or a DS9 file (".reg").

    Returns
    -------
    list of SkyRegion
        The shapes, none of them compound.

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    InputError
        If it is not a region on the sky, or is a compound other than a union.
    """
    if isinstance(region, Path) or (isinstance(region, str) and region.endswith(".reg")):
        content = read_bytes(region, "file of regions", limit=MAX_BYTES)
        try:
            region = content.decode()
        except UnicodeDecodeError as error:
            msg = f"{region}: not a region in DS9 format: {error}"
            raise InputError(msg) from error
    if isinstance(region, str):
        region = _read_text(region)
    if isinstance(region, shapes.Regions):
        region = region.regions
    if isinstance(region, SkyCoord):
        region = shapes.PointSkyRegion(region)
    found = _parts(region)
    if not found:
        msg = "a region has no shape"
        raise InputError(msg)
    return found


def _read_text(text: str) -> list[Any]:
    """Return the shapes of a DS9 region string; what the parser would skip with a warning is an error."""
    try:
        with caught_warnings(AstropyUserWarning) as caught:
            found = list(shapes.Regions.parse(text, format="ds9"))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        msg = f"{text!r} is not a region in DS9 format ({error})"
        raise InputError(msg) from error
    if caught or not found:
        reason = caught[0].message if caught else "it contains no shape"
        msg = f"{text!r} is not a region in DS9 format: {reason}"
        raise InputError(msg)
    return found


def _parts(region: Any) -> list[Any]:
    if isinstance(region, shapes.CompoundSkyRegion):
        if region.operator is not operator.or_:
            msg = f"a region is compound by {region.operator.__name__!r}, expected only unions"
            raise InputError(msg)
        return [*_parts(region.region1), *_parts(region.region2)]
    if isinstance(region, shapes.SkyRegion):
        return [region]
    if isinstance(region, Iterable) and not isinstance(region, str):
        return [part for one in region for part in _parts(one)]
    msg = f"{region!r} is not a region on the sky"
    raise InputError(msg)


class Region:
    """A region in the plane of a projection.

    Parameters
    ----------
    region
        See `read_region`.
    cards : mapping, optional
        WCS cards of the projection; by default a tangential projection at its centre with
        pixels of 0.1 deg.

    Attributes
    ----------
    shapes : list of SkyRegion
    """

    def __init__(self, region: Any, cards: Mapping[str, Any] | None = None) -> None:
        self.shapes = read_region(region)
        frame = (
            self.shapes[0].vertices.frame if self._is_polygon(0) else self.shapes[0].center.frame
        )
        self.frame = "galactic" if frame.name == "galactic" else "icrs"
        self.cards = dict(cards) if cards is not None else self._tangential()
        self._grid = WcsGrid(self.cards, (1, 1))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return a region from plain data."""
        return cls(list(_parsed(data["ds9"])), data["wcs"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the DS9 region string, and the cards."""
        text = shapes.Regions(self.shapes).serialize(format="ds9", precision=DIGITS)
        return {"ds9": text, "wcs": self.cards}

    def _is_polygon(self, index: int) -> bool:
        return isinstance(self.shapes[index], shapes.PolygonSkyRegion)

    def _tangential(self) -> dict[str, Any]:
        """Return the cards of a plane that is tangential to the sky at the centre of the region.

        As in Gammapy, the centre is that of the smallest grid of pixels that contains the region.
        """
        lon, lat = rotate(*self.center, "icrs", self.frame)
        first, second = ("GLON", "GLAT") if self.frame == "galactic" else ("RA--", "DEC-")
        cards = {
            "CTYPE1": f"{first}-TAN", "CTYPE2": f"{second}-TAN", "CRPIX1": 0.5, "CRPIX2": 0.5,
            "CRVAL1": float(lon), "CRVAL2": float(lat), "CDELT1": -BINSZ, "CDELT2": BINSZ,
            "CUNIT1": "deg", "CUNIT2": "deg",
        }  # fmt: skip
        if self.frame == "icrs":
            cards["RADESYS"] = "ICRS"
        y0, y1, x0, x1 = _box([shape.to_pixel(WcsGrid(cards, (1, 1)).wcs) for shape in self.shapes])
        return {**cards, "CRPIX1": (x1 - x0 + 1) / 2, "CRPIX2": (y1 - y0 + 1) / 2}

    # --- positions ---------------------------------------------------------------------

    @cached_property
    def is_point(self) -> bool:
        """Whether all shapes are points."""
        return all(isinstance(shape, shapes.PointSkyRegion) for shape in self.shapes)

    def contains(self, position: SkyCoord) -> bool:
        """Whether a position lies in one of the shapes, in the plane of the projection."""
        return any(bool(shape.contains(position, self._grid.wcs)) for shape in self.shapes)

    @cached_property
    def radius(self) -> float | None:
        """Radius in deg if the region is a circle, otherwise None."""
        one = self.shapes[0]
        if len(self.shapes) > 1 or not isinstance(one, shapes.CircleSkyRegion):
            return None
        return float(one.radius.to_value("deg"))

    @property
    def required_radius(self) -> float:
        """Radius in deg of a circle.

        Raises
        ------
        InputError
            If it is anything else.
        """
        if self.radius is None:
            msg = f"{self} is not a circle"
            raise InputError(msg)
        return self.radius

    @cached_property
    def center(self) -> tuple[float, float]:
        """Centre (longitude, latitude) in ICRS, in deg.

        For a union, the position with the smallest sum of distances to the centres of its parts;
        for a polygon the centroid.
        """
        centers = np.array([_center(shape) for shape in self.shapes])
        if len(centers) == 1:
            return float(centers[0, 0]), float(centers[0, 1])
        lon, lat = centers.T
        lon = (lon + 180) % 360 - 180 if np.ptp(lon) > 180 else lon
        result = minimize(
            lambda x: separation(lon, lat, x[0], x[1]).sum(),
            [lon.mean(), lat.mean()],
            bounds=None
            if np.ptp(lon) == np.ptp(lat) == 0
            else [(v.min(), v.max()) for v in (lon, lat)],
            method="L-BFGS-B",
        )
        return float(result.x[0]) % 360, float(result.x[1])

    @cached_property
    def _pixel_shapes(self) -> list[Any]:
        return [shape.to_pixel(self._grid.wcs) for shape in self.shapes]

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Rows ``y0:y1`` and columns ``x0:x1`` of the plane that contain the region."""
        return _box(self._pixel_shapes)

    def grid(self, width: float = 0.0) -> WcsGrid:
        """Return the pixels of the plane around the middle of the box.

        Parameters
        ----------
        width : float
            Width in deg; the grid is at least as large as the box.
        """
        y0, y1, x0, x1 = self.box
        at = (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2
        sizes = []
        for n, scale in zip((y1 - y0, x1 - x0), self._grid.pixel_scales[::-1], strict=True):
            sizes.append(round(max(n, width / scale, 1.0)))
        y, x = (int(np.ceil(c - n / 2)) for c, n in zip(at, sizes, strict=True))
        return WcsGrid(shifted_cards(self.cards, y, x), (sizes[0], sizes[1]))

    def pixel(self) -> dict[str, Any]:
        """Return the WCS cards of one pixel about as large as the region, at its centre."""
        y0, y1, x0, x1 = self.box
        lon, lat = rotate(*self.center, "icrs", self._grid.frame)
        scales = self._grid.pixel_scales
        galactic = self._grid.frame == "galactic"
        names = ("GLON-TAN", "GLAT-TAN") if galactic else ("RA---TAN", "DEC--TAN")
        cards = {
            "CTYPE1": names[0], "CTYPE2": names[1], "CRPIX1": 1.0, "CRPIX2": 1.0,
            "CRVAL1": float(lon), "CRVAL2": float(lat), "CDELT1": -scales[0] * (x1 - x0),
            "CDELT2": scales[1] * (y1 - y0), "CUNIT1": "deg", "CUNIT2": "deg",
        }  # fmt: skip
        return cards if galactic else {**cards, "RADESYS": "ICRS"}

    # --- pixels ------------------------------------------------------------------------

    def mask(self, grid: WcsGrid) -> Mask:
        """Pixels of a grid whose centres are inside; for points, the pixels that share a source there.

        Parameters
        ----------
        grid : WcsGrid
        """
        y, x = np.indices(grid.shape, dtype=float)
        inside = np.zeros(grid.shape, dtype=bool)
        for shape in self.shapes:
            pixel = shape.to_pixel(grid.wcs)
            if isinstance(shape, shapes.PointSkyRegion):
                inside |= (np.abs(x - pixel.center.x) < 1) & (np.abs(y - pixel.center.y) < 1)
            else:
                inside |= pixel.contains(shapes.PixCoord(x, y))
        return inside

    def weights(self, grid: WcsGrid) -> Array:
        """Fraction of each pixel of a grid that is inside, from sub-pixels.

        Parameters
        ----------
        grid : WcsGrid
        """
        n = OVERSAMPLING
        cards = downsampled_cards(grid.header, 1 / n)
        fine = self.mask(WcsGrid(cards, (grid.shape[0] * n, grid.shape[1] * n)))
        result: Array = fine.reshape(grid.shape[0], n, grid.shape[1], n).mean(axis=(1, 3))
        return result

    @cached_property
    def solid_angle(self) -> float:
        """Solid angle in sr; for a union, that of the pixels inside, ten per pixel of the plane."""
        area = float(proj_plane_pixel_area(self._grid.wcs)) * np.radians(1.0) ** 2
        if len(self.shapes) == 1:
            return float(self._pixel_shapes[0].area * area)
        return float(self.weights(self.grid()).sum() * area)

    def __repr__(self) -> str:
        kinds = " | ".join(type(shape).__name__.removesuffix("SkyRegion") for shape in self.shapes)
        return f"<Region {kinds} at {self.center[0]:.4f}, {self.center[1]:.4f} deg>"


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[Any, ...]:
    """Return the shapes of a DS9 region string; spectra of one source all have the same."""
    return tuple(shapes.Regions.parse(text, format="ds9"))


def _box(pixel_shapes: list[Any]) -> tuple[int, int, int, int]:
    """Return the rows and columns that contain some shapes, at least one each."""
    boxes = [shape.bounding_box for shape in pixel_shapes]
    y0, x0 = min(b.iymin for b in boxes), min(b.ixmin for b in boxes)
    y1, x1 = max(b.iymax for b in boxes), max(b.ixmax for b in boxes)
    return y0, max(y1, y0 + 1), x0, max(x1, x0 + 1)


def _center(shape: Any) -> tuple[float, float]:
    """Return the centre of a shape in ICRS, in deg; for a polygon the centroid in the plane of its coordinates."""
    if not isinstance(shape, shapes.PolygonSkyRegion):
        icrs = shape.center.icrs
        return float(icrs.ra.deg), float(icrs.dec.deg)
    vertices = shape.vertices.icrs
    lon, lat = np.asarray(vertices.ra.deg), np.asarray(vertices.dec.deg)
    lon = (lon + 180) % 360 - 180 if np.ptp(lon) > 180 else lon
    after_lon, after_lat = np.roll(lon, -1), np.roll(lat, -1)
    cross = lon * after_lat - after_lon * lat
    x = ((lon + after_lon) * cross).sum() / (3 * cross.sum())
    y = ((lat + after_lat) * cross).sum() / (3 * cross.sum())
    return float(x) % 360, float(y)
