"""Spatial models, and the positions at which they are evaluated.

The array functions take positions in deg in the frame of the model and scalar parameters in
the model's internal units (deg), and return densities in sr-1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from gmdask.drawing import draw
from gmdask.errors import InputError, ModelError
from gmdask.models.base import ModelBase
from gmdask.models.checks import check_array, check_parameters
from gmdask.models.derivatives import (
    estimated_scales,
    first_derivatives,
    natural_scales,
    second_derivatives,
)
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.quantities import numbers_in
from gmdask.models.registry import register
from gmdask.models.units import parse_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PointSpatialModel", "SkyGrid", "SpatialModel"]

Array = NDArray[np.float64]

LON = ParameterDefault("lon_0", 0.0, "deg", places=True)
LAT = ParameterDefault(
    "lat_0", 0.0, "deg", min=-90.0, max=90.0, least=-90.0, most=90.0, places=True
)
ECCENTRICITY = ParameterDefault(
    "e", 0.0, min=0.0, max=1.0, frozen=True, least=0.0, most=1.0, even=True
)
ANGLE = ParameterDefault("phi", 0.0, "deg", min=-180.0, max=180.0, frozen=True, period=360.0)


class SkyGrid:
    """Positions on the sky, with quantities that are reused in repeated evaluations.

    Parameters
    ----------
    lon, lat : array
        Longitude and latitude in deg, of the same shape, in the frame of the models.
    energy : array, optional
        Energies [T] in TeV, for energy-dependent models, which return [T, ...].

    Attributes
    ----------
    lon, lat : ndarray
        As given.
    cos_lat : ndarray
        Cosine of the latitude.
    energy : ndarray or None
        As given.
    kept : dict
        Quantities that models keep for the next evaluation at these positions.
    """

    def __init__(self, lon: ArrayLike, lat: ArrayLike, energy: ArrayLike | None = None) -> None:
        self.lon: Array = np.array(lon, dtype=float)
        self.lat: Array = np.array(lat, dtype=float)
        if self.lon.shape != self.lat.shape:
            msg = f"lon {self.lon.shape} and lat {self.lat.shape} differ in shape"
            raise InputError(msg)
        self.energy: Array | None = None if energy is None else np.array(energy, dtype=float)
        self.kept: dict[Any, Any] = {}
        # the sine of 90 - |lat| is exact near the poles, where the cosine of radians is not
        self.cos_lat: Array = np.sin(np.deg2rad(90.0 - np.abs(self.lat)))

    def __repr__(self) -> str:
        energies = "" if self.energy is None else f", {len(self.energy)} energies"
        return f"<SkyGrid: positions of shape {self.shape}{energies}>"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the positions."""
        return self.lon.shape


class SpatialModel(ModelBase):
    """Base class of spatial models; a new one needs `evaluate`, and is faster with `gradient`.

    Parameters
    ----------
    frame : {"icrs", "galactic"}
        Frame of the position.
    **parameters
        Parameters; see the base class.
    """

    kind = "spatial"
    frames: ClassVar[tuple[str, ...]] = ("icrs", "galactic")
    per_pixel: ClassVar[bool] = False  # whether values are integrals over pixels, not densities

    def __init__(self, *, frame: str = "icrs", **parameters: Any) -> None:
        if frame not in self.frames:
            msg = f"frame: {frame!r}, expected one of {self.frames}"
            raise ModelError(msg)
        self.frame = frame
        super().__init__(**parameters)

    # --- arrays -------------------------------------------------------------------

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:
        """Density in sr-1, of the shape of the grid."""
        raise NotImplementedError

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:
        """Density [...] in sr-1 and its derivatives [P, ...] with respect to the parameters.

        The default are fourth-order differences of `evaluate`, within the limits of the class.
        """
        at, s = np.array(values, dtype=float), self.evaluate(grid, *values)
        low = np.array([default.min for default in self.defaults], dtype=float)
        high = np.array([default.max for default in self.defaults], dtype=float)

        def function(v: Array) -> Array:
            return self.evaluate(grid, *v.tolist())

        scales = estimated_scales(function, at, s, np.ones(len(at)))
        return s, first_derivatives(function, at, scales, low, high)

    def step_scales(self, values: Array) -> Array:
        """Return the change [P] of each parameter over which the density changes by about its own size.

        By default it is estimated from the densities.
        """
        return np.maximum(np.abs(values), 1e-2)

    def hessian(self, grid: SkyGrid, *values: float) -> Array:
        """Second derivatives [P, P, ...] of the density by the parameters.

        By default from differences of the gradient, accurate to about 1e-8 of the largest element if that is
        analytic.
        """
        at = np.array(values, dtype=float)
        if type(self).step_scales is SpatialModel.step_scales:
            scales = natural_scales(*self.gradient(grid, *values), at)
        else:
            scales = self.step_scales(at)
        return second_derivatives(lambda v: self.gradient(grid, *v.tolist())[1], at, scales)

    def evaluation_radius(self, values: Array) -> float | None:  # noqa: ARG002
        """Radius in deg beyond which the model is not evaluated, None for no limit."""
        return None

    def center(self, values: Array) -> tuple[float, float] | None:
        """Centre (lon, lat) in deg in the frame of the model, None for a model without one."""
        names = self.parameter_names
        if "lon_0" not in names or "lat_0" not in names:
            return None
        return float(values[names.index("lon_0")]), float(values[names.index("lat_0")])

    def position_at(self, values: Array) -> tuple[float, float]:
        """Centre (lon, lat) in deg of a model that has one, see `center`.

        Raises
        ------
        ModelError
            If it has none.
        """
        center = self.center(values)
        if center is None:
            msg = f"{type(self).__name__} has no centre, expected a shape with a position"
            raise ModelError(msg)
        return center

    @property
    def is_energy_dependent(self) -> bool:
        """Whether the density depends on the true energy."""
        return False

    @property
    def density_unit(self) -> str:
        """Unit of the densities: "sr-1", "" for a norm, or that of a spectrum per sr."""
        return "sr-1"

    @property
    def norm_factor(self) -> float:
        """Factor that converts a density to the dimensionless norm of a background."""
        return 1.0

    def evaluation_bin_size_min(self, values: Array) -> float | None:  # noqa: ARG002
        """Largest pixel size in deg for the evaluation, None for no limit."""
        return None

    def check(self, grid: SkyGrid | None = None) -> None:
        """Evaluate the model once, to detect an invalid class before it is used.

        Parameters
        ----------
        grid : SkyGrid, optional
            Positions, by default a few within 0.1 deg of the centre.

        Raises
        ------
        ModelError
            If there are no parameters, or the result is not a finite plain array of the shape of the grid
            (with the energies in front); the message names the class.
        """
        check_parameters(self)
        values = self.internal_values
        lon, lat = self.center(values) or (0.0, 0.0)
        if grid is None:
            energy = [1.0, 2.0] if self.is_energy_dependent else None
            steps = np.linspace(-0.1, 0.1, 6).reshape(2, 3)
            grid = SkyGrid(lon + steps, np.clip(lat + steps, -90, 90), energy)
        shape = grid.shape if grid.energy is None else (len(grid.energy), *grid.shape)
        unit = parse_unit(self.density_unit)
        check_array(self, "evaluate", self.evaluate(grid, *values.tolist()), shape, unit)
        slopes = self.gradient(grid, *values.tolist())[1]
        check_array(self, "gradient", slopes, (len(values), *shape), unit)

    # --- quantities -----------------------------------------------------------------

    def __call__(
        self, lon: u.Quantity, lat: u.Quantity, energy: u.Quantity | None = None
    ) -> u.Quantity:
        """Evaluate the density at positions in the frame of the model (and energies, if it depends on them).

        With energies [T] the result is [T, ...]; with a single one it is [...].
        """
        at_lon, at_lat = np.broadcast_arrays(
            numbers_in(lon, "deg", "lon"), numbers_in(lat, "deg", "lat")
        )
        if not self.is_energy_dependent:
            values = self.evaluate(SkyGrid(at_lon, at_lat), *self.internal_values.tolist())
            return u.Quantity(values, self.density_unit)
        if energy is None:
            msg = f"{type(self).__name__} depends on energy, which is missing"
            raise InputError(msg)
        at = numbers_in(energy, "TeV", "energy")
        grid = SkyGrid(at_lon, at_lat, np.atleast_1d(at))
        values = self.evaluate(grid, *self.internal_values.tolist())
        return u.Quantity(values if np.ndim(at) else values[0], self.density_unit)

    @property
    def position(self) -> Any:
        """Centre as a `~astropy.coordinates.SkyCoord`, None for a model without one."""
        if "lon_0" not in self.parameter_names:
            return None
        from astropy.coordinates import SkyCoord

        lon, lat = self.parameter("lon_0"), self.parameter("lat_0")
        return SkyCoord(lon.quantity, lat.quantity, frame=self.frame)

    @position.setter
    def position(self, position: Any) -> None:
        if "lon_0" not in self.parameter_names:
            msg = f"{type(self).__name__} has no position"
            raise ModelError(msg)
        sky = position.transform_to(self.frame).spherical
        self.parameter("lon_0").quantity, self.parameter("lat_0").quantity = sky.lon, sky.lat

    @classmethod
    def from_position(cls, position: Any, **arguments: Any) -> Self:
        """Create a model at a position, in the frame of the position.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord`
            Centre.
        **arguments
            Arguments of the class.
        """
        sky = position.spherical
        return cls(lon_0=sky.lon, lat_0=sky.lat, frame=position.frame.name, **arguments)

    def to_region(self, size_factor: float = 1.0) -> Any:
        """Return the outline as a `~regions.SkyRegion`, None for a model without one.

        Parameters
        ----------
        size_factor : float
            Factor on the size of the model; for a Gaussian, the number of standard deviations.
        """
        del size_factor
        return None

    @property
    def position_error(self) -> Any:
        """Ellipse that contains the position with 95 % probability, as a `~regions.EllipseSkyRegion`.

        None for a model without a position, or if a coordinate has no error. Gammapy's ellipse
        is mirrored if the errors of the two coordinates are correlated.
        """
        if "lon_0" not in self.parameter_names:
            return None
        from gmdask.models.spatial.outlines import position_error

        return position_error(self)

    def extension_error(self, size_factor: float = 1.0) -> Any:
        """Return the region in which the outline lies within its error, None if the error is not known.

        Parameters
        ----------
        size_factor : float
            See `to_region`.
        """
        del size_factor
        return None

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw a map of the model; see `gmdask.plot.plot_spatial_model`.

        Parameters
        ----------
        ax : `matplotlib.axes.Axes`, optional
        **kwargs
            width, energy, and options of matplotlib's ``imshow``.
        """
        axes: Axes = draw("plot_spatial_model", self, ax, **kwargs)
        return axes

    def plot_grid(self, **kwargs: Any) -> Figure:
        """Draw a map of the model at each energy; see `gmdask.plot.plot_spatial_grid`."""
        figure: Figure = draw("plot_spatial_grid", self, **kwargs)
        return figure

    def plot_error(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the errors of position and extension; see `gmdask.plot.plot_spatial_error`."""
        axes: Axes = draw("plot_spatial_error", self, ax, **kwargs)
        return axes

    def plot_position_error(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the position with its error; see `gmdask.plot.plot_position_error`."""
        axes: Axes = draw("plot_position_error", self, ax, **kwargs)
        return axes

    # --- plain data -------------------------------------------------------------------

    def extra_to_dict(self) -> dict[str, Any]:
        """Return the frame."""
        return {"frame": self.frame}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read the frame."""
        rest = {key: value for key, value in data.items() if key != "frame"}
        arguments = super().extra_from_dict(rest)
        return {"frame": data.get("frame", "icrs"), **arguments}


@register
class PointSpatialModel(SpatialModel):
    """A point source; on a pixel grid it is distributed over the four pixels around it."""

    tag = ("PointSpatialModel", "point")
    defaults = (LON, LAT)
    lon_0: Parameter
    lat_0: Parameter

    def evaluation_radius(self, values: Array) -> float:  # noqa: ARG002
        """Zero."""
        return 0.0

    def evaluation_bin_size_min(self, values: Array) -> float:  # noqa: ARG002
        """Zero."""
        return 0.0

    def to_region(self, size_factor: float = 1.0) -> Any:  # noqa: ARG002
        """Return the point."""
        from gmdask.models.spatial.outlines import point

        return point(self)
