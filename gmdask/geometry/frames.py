"""Rotations between the celestial frames of maps and models."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import InputError

__all__ = ["FRAMES", "rotate", "rotation_matrix", "separation"]

Array = NDArray[np.float64]

FRAMES = ("icrs", "galactic", "fk5")


@cache
def rotation_matrix(source: str, target: str) -> Array:
    """Rotation matrix (3, 3) between two frames, taken from astropy."""
    from astropy.coordinates import SkyCoord

    axes = SkyCoord([0.0, 90.0, 0.0], [0.0, 0.0, 90.0], unit="deg", frame=source)
    matrix: Array = np.asarray(axes.transform_to(target).cartesian.xyz.value)
    return matrix


def rotate(lon: Array | float, lat: Array | float, source: str, target: str) -> tuple[Array, Array]:
    """Transform positions between frames.

    Parameters
    ----------
    lon, lat : array or float
        Position in `source`, in deg.
    source, target : {"icrs", "galactic"}
        Frames.

    Returns
    -------
    lon, lat : array
        Position in `target`, in deg; longitude from 0 to 360 deg.
    """
    for frame in (source, target):
        if frame not in FRAMES:
            msg = f"frame {frame!r} is not supported; expected one of {FRAMES}"
            raise InputError(msg)
    lon, lat = np.asarray(lon, dtype=float), np.asarray(lat, dtype=float)
    if source == target:
        return lon, lat
    lon_rad, lat_rad = np.radians(lon), np.radians(lat)
    vector = np.array(
        [np.cos(lat_rad) * np.cos(lon_rad), np.cos(lat_rad) * np.sin(lon_rad), np.sin(lat_rad)]
    )
    x, y, z = np.tensordot(rotation_matrix(source, target), vector, axes=1)
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def separation(lon: Array, lat: Array, lon_0: float, lat_0: float) -> Array:
    """Angular separation from a position, in deg; accurate for small angles.

    Parameters
    ----------
    lon, lat : array
        Positions in deg.
    lon_0, lat_0 : float
        Position in deg.
    """
    lon, lat, lon_0, lat_0 = np.radians(lon), np.radians(lat), np.radians(lon_0), np.radians(lat_0)
    across = np.cos(lat) * np.cos(lat_0) * np.sin((lon - lon_0) / 2) ** 2
    haversine = np.sin((lat - lat_0) / 2) ** 2 + across
    result: Array = np.degrees(2 * np.arcsin(np.sqrt(np.minimum(haversine, 1.0))))
    return result
