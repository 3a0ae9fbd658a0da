"""Shells: the projection of a hollow sphere of constant emissivity.

With outer radius R and inner radius ρ, the density at a distance r is
N (sqrt(R² - r²) - sqrt(ρ² - r²)), N = 3 / (2π (R³ - ρ³)); a square root is zero where r exceeds its
radius.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spatial.base import LAT, LON, SkyGrid, SpatialModel
from gmdask.models.spatial.offsets import DEG, Offsets

__all__ = ["Shell2SpatialModel", "ShellSpatialModel"]

Array = NDArray[np.float64]


def _root(radius: float, r: Array) -> Array:
    return np.sqrt(np.maximum((radius - r) * (radius + r), 0.0))


def _projected(r: Array, outer: float, inner: float, width: float) -> tuple[Array, Array, Array]:
    """Return the square roots for both radii, and their difference without cancellation."""
    far, near = _root(outer, r), _root(inner, r)
    both = np.where(near > 0, far + near, 1.0)
    return far, near, np.where(near > 0, width * (outer + inner) / both, far)


def _shell(
    grid: SkyGrid, lon_0: float, lat_0: float, outer: float, inner: float, width: float
) -> tuple[Array, Array]:
    """Density, and derivatives [4, ...] with respect to lon_0, lat_0, outer and inner radius, per radian.

    Terms that are infinite at the rims are set to zero there.
    """
    offsets = Offsets.of(grid, lon_0, lat_0)
    sin_r = offsets.sin_distance
    r = np.arctan2(sin_r, 1 - offsets.v)
    far, near, chord = _projected(r, outer, inner, width)
    cubes = width * (outer * outer + outer * inner + inner * inner)
    norm = 3 / (2 * math.pi * cubes)
    by_far, by_near = (np.divide(1.0, x, out=np.zeros_like(x), where=x > 0) for x in (far, near))
    by_r = np.where(near > 0, r * chord * by_far * by_near, -r * by_far) * norm
    scale = np.divide(by_r, sin_r, out=np.zeros_like(r), where=sin_r > 0)
    ds = np.empty((4, *r.shape))
    ds[0] = -scale * offsets.cos_lat_0 * offsets.east
    ds[1] = -scale * offsets.north
    ds[2] = norm * (outer * by_far - 3 * outer**2 / cubes * chord)
    ds[3] = norm * (-inner * by_near + 3 * inner**2 / cubes * chord)
    return norm * chord, ds


class _Shell(SpatialModel):
    """Common base of both parametrisations."""

    lon_0: Parameter
    lat_0: Parameter

    def _radii(self, values: tuple[float, ...]) -> tuple[float, float, float]:
        """Return the outer and inner radius, and their difference, in deg."""
        raise NotImplementedError

    def _chain(self, values: tuple[float, ...], by_outer: Array, by_inner: Array) -> list[Array]:
        """Return derivatives with respect to the two parameters of the size from those by the radii in deg."""
        raise NotImplementedError

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:
        """Density in sr-1."""
        outer, inner, width = (x * DEG for x in self._radii(values))
        offsets = Offsets.of(grid, values[0], values[1])
        r = np.arctan2(offsets.sin_distance, 1 - offsets.v)
        chord = _projected(r, outer, inner, width)[2]
        cubes = width * (outer * outer + outer * inner + inner * inner)
        return np.asarray(3 / (2 * math.pi * cubes) * chord)

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:
        """Density and its derivatives [4, ...], analytic away from the rims."""
        outer, inner, width = (x * DEG for x in self._radii(values))
        s, ds = _shell(grid, values[0], values[1], outer, inner, width)
        ds *= DEG
        return s, np.stack([ds[0], ds[1], *self._chain(values, ds[2], ds[3])])

    def step_scales(self, values: Array) -> Array:
        """Return a fraction of the width, since a shell is not smooth at its rims."""
        _, _, width = self._radii(tuple(values.tolist()))
        cos_lat = max(math.cos(values[1] * DEG), 1e-3)
        scale = 1e-2 * max(abs(width), 1e-6)
        return np.array([scale / cos_lat, scale, scale, scale])


@register
class ShellSpatialModel(_Shell):
    """A shell given by its inner radius and its width.

    Parameters
    ----------
    lon_0, lat_0 : Quantity
        Centre.
    radius : Quantity
        Inner radius.
    width : Quantity
        Difference of outer and inner radius.
    frame : {"icrs", "galactic"}
        Frame of the centre.

    Notes
    -----
    The gradient is analytic away from the rims, where it is infinite; second derivatives are
    finite differences of it.
    """

    tag = ("ShellSpatialModel", "shell")
    defaults = (
        LON,
        LAT,
        ParameterDefault("radius", 1.0, "deg", least=0.0),
        ParameterDefault("width", 0.2, "deg", least=0.0),
    )
    radius: Parameter
    width: Parameter

    def to_region(self, size_factor: float = 1.0) -> Any:
        """Return the outline of the shell, an annulus."""
        from gmdask.models.spatial.outlines import annulus

        inner = size_factor * self.radius.quantity
        return annulus(self, inner, inner + size_factor * self.width.quantity)

    def _radii(self, values: tuple[float, ...]) -> tuple[float, float, float]:
        return values[2] + values[3], values[2], values[3]

    def _chain(
        self,
        values: tuple[float, ...],  # noqa: ARG002
        by_outer: Array,
        by_inner: Array,
    ) -> list[Array]:
        return [by_outer + by_inner, by_outer]

    def evaluation_radius(self, values: Array) -> float:
        """Outer radius, in deg."""
        return float(values[2] + values[3])

    def evaluation_bin_size_min(self, values: Array) -> float:
        """Width, in deg."""
        return float(values[3])


@register
class Shell2SpatialModel(_Shell):
    """A shell given by its outer radius and its relative width.

    Parameters
    ----------
    lon_0, lat_0 : Quantity
        Centre.
    r_0 : Quantity
        Outer radius.
    eta : float
        Width relative to the outer radius.
    frame : {"icrs", "galactic"}
        Frame of the centre.

    Notes
    -----
    The gradient is analytic away from the rims, where it is infinite; second derivatives are
    finite differences of it.
    """

    tag = ("Shell2SpatialModel", "shell2")
    defaults = (
        LON,
        LAT,
        ParameterDefault("r_0", 1.0, "deg", least=0.0, even=True),
        ParameterDefault("eta", 0.2, min=0.02, max=1.0, least=0.0, most=1.0),
    )
    r_0: Parameter
    eta: Parameter

    def to_region(self, size_factor: float = 1.0) -> Any:
        """Return the outline of the shell, an annulus."""
        from gmdask.models.spatial.outlines import annulus

        outer = size_factor * self.r_0.quantity
        return annulus(self, (1 - self.eta.value) * outer, outer)

    @property
    def r_in(self) -> float:
        """Inner radius in deg."""
        return self._radii(tuple(self.internal_values.tolist()))[1]

    def _radii(self, values: tuple[float, ...]) -> tuple[float, float, float]:
        return values[2], (1 - values[3]) * values[2], values[3] * values[2]

    def _chain(self, values: tuple[float, ...], by_outer: Array, by_inner: Array) -> list[Array]:
        return [by_outer + (1 - values[3]) * by_inner, -values[2] * by_inner]

    def step_scales(self, values: Array) -> Array:
        """Return a fraction of the width, since a shell is not smooth at its rims."""
        scales = super().step_scales(values)
        scales[3] = 1e-2 * abs(values[3])
        return scales

    def evaluation_radius(self, values: Array) -> float:
        """Outer radius, in deg."""
        return float(values[2])

    def evaluation_bin_size_min(self, values: Array) -> float:
        """Width, in deg."""
        return float(values[3] * values[2])
