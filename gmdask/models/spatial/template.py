"""Spatial models and norms given by maps, interpolated linearly in the logarithm of the values.

They are zero outside the map and where the map is negative.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from astropy.units import Unit
from numpy.typing import NDArray

from gmdask.errors import ModelError, described
from gmdask.models.io.region_map import map_from_gammapy
from gmdask.models.io.sky_map import SkyMap, read_sky_map
from gmdask.models.io.template_files import write_map
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spatial.base import LAT, LON, SkyGrid, SpatialModel
from gmdask.models.spatial.log_map import LogMap
from gmdask.models.units import unit_factor

if TYPE_CHECKING:
    from gmdask.geometry import Axis

__all__ = ["TemplateNDSpatialModel", "TemplateSpatialModel"]

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

SPECTRAL = "cm-2 s-1 TeV-1 sr-1"


def _looked_at(sky_map: SkyMap) -> None:
    """Warn about suspicious values."""
    data = sky_map.data
    if (data < 0).any():
        log.warning("Map has negative values. Check and fix this!")
    if not np.isfinite(data).all():
        log.warning("Map has NaN values. Check and fix this!")
    if not np.any(data.reshape(-1, *data.shape[-2:]).any(axis=(1, 2))):
        log.warning("Map values are all zeros. Check and fix this!")
    elif not data.reshape(-1, *data.shape[-2:]).any(axis=(1, 2)).all():
        log.warning("Map values are all zeros in at least one energy bin. Check and fix this!")


class _OnMap(SpatialModel):
    """Common base of models with a map: the map, its file, and its unit."""

    frames: ClassVar[tuple[str, ...]] = ("icrs", "galactic", "fk5")

    def _take(
        self, source: SkyMap, sky_map: SkyMap, filename: str | Path | None, read: bool
    ) -> None:
        """Store the map as given, the map to evaluate, and the file."""
        self._source, self._map = source, sky_map
        self.filename: str | None = None if filename is None else str(filename)
        self._is_read = read
        names = sky_map.axis_names
        if "energy" in names:
            msg = f"{type(self).__name__}: its map has the axis 'energy', expected 'energy_true'"
            raise ModelError(msg)
        unit = Unit(sky_map.unit)
        if unit.is_equivalent("sr-1"):
            self._unit = "sr-1"
        elif unit.is_equivalent(SPECTRAL):
            self._unit = SPECTRAL
        elif unit.is_equivalent(""):
            self._unit = ""
        else:
            msg = f"{type(self).__name__}: map in {unit}, expected sr-1 or {SPECTRAL}"
            raise ModelError(msg)
        self._factor = unit_factor(unit, Unit(self._unit))
        self._log_map = LogMap.of(sky_map)

    @classmethod
    def read(cls, filename: str | Path, **arguments: Any) -> Self:
        """Create a model from a FITS file.

        Parameters
        ----------
        filename : str or Path
            File.
        **arguments
            Arguments of the class.
        """
        return cls(filename=filename, **arguments)

    @property
    def map(self) -> SkyMap:
        """The map that is evaluated."""
        return self._map

    def to_region(self, size_factor: float = 1.0) -> Any:  # noqa: ARG002
        """Return the outline of the map, a rectangle."""
        from gmdask.models.spatial.outlines import rectangle

        return rectangle(self._map.frame, self._map.center, self._map.width)

    @property
    def is_energy_dependent(self) -> bool:
        """Whether the map has an axis of true energy."""
        return "energy_true" in self._map.axis_names

    @property
    def density_unit(self) -> str:
        """Unit of the densities."""
        return self._unit

    @property
    def norm_factor(self) -> float:
        """Factor that converts a density to a number in the unit of the map."""
        return 1 / self._factor

    def _energy_pix(self, grid: SkyGrid) -> Array | None:
        """Return the pixel coordinates of the energies, if the map has an energy axis."""
        if not self.is_energy_dependent:
            return None
        if grid.energy is None:
            msg = f"{type(self).__name__} depends on energy, which the positions do not have"
            raise ModelError(msg)
        axis = self._map.axes[self._map.axis_names.index("energy_true")]
        return axis.to_pix(grid.energy / unit_factor(Unit(axis.unit or "TeV"), Unit("TeV")))

    def write_map(self, path: str | Path | None = None, overwrite: bool = False) -> None:
        """Write the map, unless its file exists already; see `template_files.write_map`."""
        write_map(self, self._source, path, overwrite, is_read=self._is_read)

    def extra_to_dict(self) -> dict[str, Any]:
        """Return frame, file and unit, and the map itself if it was not read from a file."""
        data: dict[str, Any] = {**super().extra_to_dict(), "filename": self.filename}
        data["unit"] = str(self._map.unit)
        if not self._is_read:
            data["map"] = self._source
        return data


@register
class TemplateSpatialModel(_OnMap):
    """A map of the sky, optionally with an axis "energy_true".

    Parameters
    ----------
    map : SkyMap, optional
        Map; by default it is read from the file.
    normalize : bool
        Whether to normalise the map (each energy separately) to an integral of one.
    filename : str or Path, optional
        FITS file of the map.
    lon_0, lat_0 : Quantity
        Centre, by default that of the map. If it differs, positions are shifted in
        longitude and latitude.
    frame : str, optional
        Must be that of the map.

    Notes
    -----
    The gradient is that of the interpolation, exact between pixels; second derivatives are
    finite differences of it.
    """

    tag = ("TemplateSpatialModel", "template")
    defaults = (
        ParameterDefault("lon_0", LON.value, "deg", frozen=True, places=True),
        ParameterDefault("lat_0", LAT.value, "deg", min=-90.0, max=90.0, frozen=True, places=True),
    )
    lon_0: Parameter
    lat_0: Parameter

    def __init__(
        self,
        map: SkyMap | None = None,  # noqa: A002
        *,
        normalize: bool = True,
        filename: str | Path | None = None,
        frame: str | None = None,  # noqa: ARG002  (written by others; the map has one)
        **parameters: Any,
    ) -> None:
        sky_map = _given_or_read(type(self), map, filename)
        _looked_at(sky_map)
        self.normalize = bool(normalize)
        self._take(sky_map, _density_of(sky_map, self.normalize), filename, map is None)
        for name, value in zip(("lon_0", "lat_0"), sky_map.center, strict=True):
            if parameters.get(name) is None:
                parameters[name] = value
        super().__init__(frame=self._map.frame, **parameters)
        if set(self._map.axis_names) - {"energy_true"}:
            msg = f"{type(self).__name__}: its map has the axes {self._map.axis_names}, expected energy_true"
            raise ModelError(msg)

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read file and normalisation."""
        arguments = _file_arguments(cls, data)
        return {**arguments, "normalize": data.get("normalize", True)}

    def extra_to_dict(self) -> dict[str, Any]:
        """Return frame, file, unit, and whether the map is normalised."""
        return {**super().extra_to_dict(), "normalize": self.normalize}

    def _shifted(self, grid: SkyGrid, values: tuple[float, ...]) -> tuple[Array, Array]:
        lon, lat = self._map.center
        return grid.lon - (values[0] - lon), grid.lat - (values[1] - lat)

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:
        """Density [...] (with an energy axis [T, ...]) for lon_0, lat_0 (deg)."""
        fixed = {"energy_true": self._energy_pix(grid)} if self.is_energy_dependent else {}
        return self._factor * self._log_map.at(*self._shifted(grid, values), fixed).value()

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:
        """Density and its derivatives [2, ...] with respect to the position."""
        fixed = {"energy_true": self._energy_pix(grid)} if self.is_energy_dependent else {}
        s, by_sky = self._log_map.at(*self._shifted(grid, values), fixed).gradient()
        return self._factor * s, -self._factor * by_sky

    def step_scales(self, values: Array) -> Array:  # noqa: ARG002
        """Return a tenth of a pixel, since the slope changes from pixel to pixel."""
        return np.full(2, 0.1 * min(self._map.grid.pixel_scales))

    def evaluation_radius(self, values: Array) -> float:  # noqa: ARG002
        """Half the width of the map, in deg."""
        return max(self._map.width) / 2


@register
class TemplateNDSpatialModel(_OnMap):
    """A map with further axes, each of which becomes a parameter.

    Parameters
    ----------
    map : SkyMap, optional
        Map; by default it is read from the file. An axis "energy_true" is not a parameter.
    filename : str or Path, optional
        FITS file of the map.
    frame : str, optional
        Must be that of the map.
    **parameters
        Values along the axes, by default in the middle of their ranges.

    Notes
    -----
    Gammapy takes positions as ICRS whatever the frame of the map. The gradient is that of
    the interpolation, exact between nodes.
    """

    tag = ("TemplateNDSpatialModel", "templateND")
    without_parameters: ClassVar[bool] = True

    def __init__(
        self,
        map: SkyMap | None = None,  # noqa: A002
        *,
        filename: str | Path | None = None,
        frame: str | None = None,  # noqa: ARG002  (written by others; the map has one)
        **parameters: Any,
    ) -> None:
        sky_map = _given_or_read(type(self), map, filename)
        _looked_at(sky_map)
        self._take(sky_map, _with_unit(sky_map), filename, map is None)
        self._set_defaults(self.defaults_for({"map": sky_map}))
        super().__init__(frame=sky_map.frame, **parameters)

    @classmethod
    def defaults_for(cls, arguments: Mapping[str, Any]) -> tuple[ParameterDefault, ...]:
        """Return one parameter for each axis other than the energy."""
        if arguments.get("map") is None and arguments.get("filename") is None:
            return ()
        sky_map = _given_or_read(cls, arguments.get("map"), arguments.get("filename"))
        return tuple(_axis_default(axis) for axis in sky_map.axes if axis.name != "energy_true")

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read the file."""
        return _file_arguments(cls, data)

    def _fixed(self, grid: SkyGrid, values: tuple[float, ...]) -> dict[str, Any]:
        """Return the pixel coordinate along each axis; for axes of parameters a single number."""
        axes = {axis.name: axis for axis in self._map.axes}
        named = zip(self.parameter_names, values, strict=True)
        fixed: dict[str, Any] = {name: float(axes[name].to_pix(np.array(v))) for name, v in named}
        if self.is_energy_dependent:
            fixed["energy_true"] = self._energy_pix(grid)
        return fixed

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:
        """Density [...] (with an energy axis [T, ...])."""
        image = self._log_map.at(grid.lon, grid.lat, self._fixed(grid, values))
        return self._factor * image.value()

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:
        """Density and its derivatives with respect to the parameters."""
        image = self._log_map.at(grid.lon, grid.lat, self._fixed(grid, values))
        rows = []
        for name, value in zip(self.parameter_names, values, strict=True):
            axis = self._map.axes[self._map.axis_names.index(name)]
            h = 1e-6 * float(np.diff(axis.center).min()) if axis.nbin > 1 else 1.0
            low, high = axis.to_pix(np.array([value - h, value + h]))
            rows.append(self._factor * image.by_axis(name) * (high - low) / (2 * h))
        s = self._factor * image.value()
        return s, np.stack(rows) if rows else np.zeros((0, *s.shape))

    def step_scales(self, values: Array) -> Array:  # noqa: ARG002
        """Return a tenth of the distance between nodes."""
        axes = {axis.name: axis for axis in self._map.axes}
        steps = [np.diff(axes[name].center) for name in self.parameter_names]
        return np.array([0.1 * float(step.min()) if len(step) else 1.0 for step in steps])


# --- arguments ------------------------------------------------------------------------------


def _given_or_read(cls: type, sky_map: Any, filename: str | Path | None) -> SkyMap:
    if sky_map is None and filename is not None:
        return read_sky_map(filename)
    if hasattr(sky_map, "to_hdulist"):  # a Gammapy map
        sky_map = map_from_gammapy(sky_map)
    if not isinstance(sky_map, SkyMap):
        msg = f"{cls.__name__}: map is {described(sky_map)}, expected a SkyMap or a filename"
        raise ModelError(msg)
    return sky_map


def _file_arguments(cls: type, data: dict[str, Any]) -> dict[str, Any]:
    known = ("frame", "filename", "unit", "normalize", "map")
    for key in data:
        if key not in known:
            msg = f"{key}: unknown key of {cls.__name__}"
            raise ModelError(msg)
    if data.get("filename") is None and data.get("map") is None:
        msg = f"{cls.__name__}: key 'filename' is missing"
        raise ModelError(msg)
    return {"filename": data.get("filename"), "map": data.get("map")}


def _axis_default(axis: Axis) -> ParameterDefault:
    low, high = float(axis.nodes[0]), float(axis.nodes[-1])
    return ParameterDefault(axis.name, (low + high) / 2, axis.unit, low, high, interp=axis.interp)


def _with_unit(sky_map: SkyMap) -> SkyMap:
    """Return the map, with the unit sr-1 if it has none."""
    if not Unit(sky_map.unit).is_equivalent(""):
        return sky_map
    return SkyMap(sky_map.data, sky_map.grid.header, sky_map.axes, "sr-1")


def _density_of(sky_map: SkyMap, normalize: bool) -> SkyMap:
    """Return the map as a density, computed once for all models with this map."""
    key = ("density", normalize)
    if key not in sky_map.kept:
        density = _as_density(sky_map, normalize)
        if density is sky_map:
            return sky_map
        sky_map.kept[key] = density
    return sky_map.kept[key]  # type: ignore[no-any-return]


def _as_density(sky_map: SkyMap, normalize: bool) -> SkyMap:
    """Return the map as a density, if requested with each plane normalised to an integral of one."""
    if not normalize:
        if Unit(sky_map.unit).is_equivalent(""):
            log.warning("Missing spatial template unit, assuming sr^-1")
        return _with_unit(sky_map)
    data = sky_map.data.astype(np.float64)
    total = data.sum(axis=(-2, -1), keepdims=True)
    density = np.divide(data, total, out=np.zeros_like(data), where=total != 0)
    density /= sky_map.grid.solid_angle
    return SkyMap(density, sky_map.grid.header, sky_map.axes, "sr-1")
