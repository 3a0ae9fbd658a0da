"""A norm interpolated between nodes on the sky (cubic, Clough-Tocher); the node norms are parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spatial.base import SkyGrid, SpatialModel

__all__ = ["PiecewiseNormSpatialModel"]

Array = NDArray[np.float64]

_TOLERANCE, _ITERATIONS = 1e-13, 10000  # for the slopes at the nodes


def _wrapped(lon: Array, at: float) -> Array:
    """Wrap longitudes to the range from `at` - 360 to `at`, in deg, without loss of precision."""
    return np.asarray(lon - 360.0 * (np.floor((lon - at) / 360.0) + 1))


@register
class PiecewiseNormSpatialModel(SpatialModel):
    """A norm given at nodes on the sky, and interpolated with continuous slopes.

    Parameters
    ----------
    lon, lat : Quantity
        Nodes (four or more, not collinear), in the frame of the model.
    norms : sequence of float, optional
        Norms at the nodes, by default one: the parameters norm_0, norm_1, ...
    interp : {"lin", "log"}
        Whether to interpolate the norms or their logarithms.
    frame : {"icrs", "galactic"}
        Frame of the nodes.
    **parameters
        Norms by name.

    Notes
    -----
    Outside the convex hull of the nodes the norm is NaN. The interpolation is linear in the norms (or
    their logarithms), so that its gradient is exact. The slopes at the nodes are iterated to
    1e-13; Gammapy stops at 1e-6.
    """

    tag = ("PiecewiseNormSpatialModel", "piecewise-norm")
    without_parameters: ClassVar[bool] = True

    def __init__(
        self,
        lon: Any,
        lat: Any,
        norms: Sequence[Any] | None = None,
        *,
        interp: str = "lin",
        frame: str = "icrs",
        **parameters: Any,
    ) -> None:
        self._lon, self._lat = (np.ravel(u.Quantity(x).to_value("deg")) for x in (lon, lat))
        if self._lon.shape != self._lat.shape or len(self._lon) < 4:
            msg = f"nodes: {len(self._lon)} lon, {len(self._lat)} lat, expected 4 or more pairs"
            raise ModelError(msg)
        if interp not in ("lin", "log"):
            msg = f"interp: {interp!r}, expected 'lin' or 'log'"
            raise ModelError(msg)
        self.interp = interp
        self._set_defaults(self.defaults_for({"lon": self._lon}))
        if norms is not None:
            if len(norms) != len(self._lon):
                msg = f"norms: {len(norms)} for {len(self._lon)} nodes"
                raise ModelError(msg)
            parameters |= dict(zip(self.parameter_names, norms, strict=True))
        lon_0 = _wrapped(self._lon, 0.0)
        self._wrap = float(lon_0.max() - lon_0.min()) / 2
        super().__init__(frame=frame, **parameters)
        self._interpolator: Any = None

    @classmethod
    def defaults_for(cls, arguments: Mapping[str, Any]) -> tuple[ParameterDefault, ...]:
        """One norm for each node."""
        nodes = np.ravel(arguments.get("lon", ()))
        return tuple(ParameterDefault(f"norm_{k}", 1.0) for k in range(len(nodes)))

    @property
    def nodes(self) -> tuple[Array, Array]:
        """Positions (lon, lat) of the nodes in deg."""
        return self._lon, self._lat

    @property
    def density_unit(self) -> str:
        """Empty, since norms have no unit."""
        return ""

    def _basis(self, grid: SkyGrid) -> Array:
        """Return the weight [K, ...] of each node, which is cached with the grid."""
        key = (type(self).__name__, self._lon.tobytes(), self._lat.tobytes())
        if key not in grid.kept:
            if self._interpolator is None:
                from scipy.interpolate import CloughTocher2DInterpolator

                nodes = np.stack([_wrapped(self._lon, self._wrap), self._lat], axis=1)
                self._interpolator = CloughTocher2DInterpolator(
                    nodes, np.eye(len(nodes)), tol=_TOLERANCE, maxiter=_ITERATIONS
                )
            shares = self._interpolator(_wrapped(grid.lon, self._wrap), grid.lat)
            grid.kept[key] = np.ascontiguousarray(np.moveaxis(shares, -1, 0))
        return np.asarray(grid.kept[key])

    def _scaled(self, values: tuple[float, ...]) -> Array:
        norms = np.array(values)
        if self.interp == "lin":
            return norms
        return np.asarray(np.log(np.clip(norms, np.finfo(float).tiny, None)))

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:
        """Norm [...], NaN outside the hull of the nodes."""
        inner: Array = np.einsum("i,i...->...", self._scaled(values), self._basis(grid))
        return np.asarray(np.exp(inner)) if self.interp == "log" else inner

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:
        """Norm and its derivatives [K, ...] with respect to the norms of the nodes."""
        basis, s = self._basis(grid), self.evaluate(grid, *values)
        if self.interp == "lin":
            return s, basis
        norms = np.array(values).reshape(-1, *(1,) * s.ndim)
        slopes = basis * s / np.where(norms > 0, norms, 1.0)
        return s, np.asarray(np.where(norms > 0, slopes, 0.0))

    def extra_to_dict(self) -> dict[str, Any]:
        """Return frame and nodes."""
        nodes = {
            key: {"data": values.tolist(), "unit": "deg"}
            for key, values in (("lon", self._lon), ("lat", self._lat))
        }
        interp = {} if self.interp == "lin" else {"interp": self.interp}
        return {**super().extra_to_dict(), **nodes, **interp}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read frame and nodes."""
        arguments: dict[str, Any] = {}
        for key in ("lon", "lat"):
            node = data.get(key)
            if not isinstance(node, dict) or not isinstance(node.get("data"), list):
                msg = f"{key}: {node!r}, expected data and unit of the nodes"
                raise ModelError(msg)
            arguments[key] = u.Quantity(node["data"], node.get("unit", "deg"))
        rest = {key: value for key, value in data.items() if key not in ("lon", "lat", "interp")}
        return {"interp": data.get("interp", "lin"), **super().extra_from_dict(rest), **arguments}
