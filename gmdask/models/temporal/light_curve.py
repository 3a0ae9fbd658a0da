"""Light curves from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from gmdask.atomic_files import replacing
from gmdask.errors import ModelError
from gmdask.geometry import Axis
from gmdask.models.columns import read_columns
from gmdask.models.interpolation import LogTable
from gmdask.models.io.region_map import RegionMap
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.temporal.base import TemporalModel
from gmdask.models.temporal.time_intervals import tt_offset
from gmdask.models.units import parse_unit, unit_factor

__all__ = ["LightCurveTemplateTemporalModel"]

Array = NDArray[np.float64]


class _Polygon:
    """A piecewise linear function, clipped at zero, with its exact integral.

    Parameters
    ----------
    x, y : array [K]
        Points; the outer segments are extrapolated.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike) -> None:
        x, y = np.array(x, dtype=float), np.array(y, dtype=float)
        if len(x) == 1:
            x, y = np.array([x[0], x[0] + 1.0]), np.array([y[0], y[0]])
        slope = np.diff(y) / np.diff(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            zero = x[:-1] - y[:-1] / slope
        last = len(slope) - 1
        low = np.where(np.arange(len(slope)) == 0, -np.inf, x[:-1])
        high = np.where(np.arange(len(slope)) == last, np.inf, x[1:])
        inside = np.isfinite(zero) & (zero > low) & (zero < high)
        self._x = np.unique(np.concatenate([x, zero[inside]]))
        k = np.clip(np.searchsorted(x, self._x, "right") - 1, 0, last)
        self._y = np.maximum(y[k] + slope[k] * (self._x - x[k]), 0.0)
        self._y[np.isin(self._x, zero[inside])] = 0.0
        steps = np.diff(self._x)
        self._slope = np.diff(self._y) / steps
        before = slope[0] if self._y[0] > 0 or slope[0] < 0 else 0.0
        after = slope[-1] if self._y[-1] > 0 or slope[-1] > 0 else 0.0
        self._ends = (before, after)
        self._sum = np.concatenate([[0.0], np.cumsum(0.5 * steps * (self._y[1:] + self._y[:-1]))])

    def _segment(self, t: Array) -> tuple[NDArray[np.intp], Array, Array]:
        """Return the reference point of each time, the distance to it, and the slope."""
        k = np.searchsorted(self._x, t, "right") - 1
        last = len(self._x) - 1
        slope = self._slope[np.clip(k, 0, last - 1)]
        slope = np.where(k < 0, self._ends[0], np.where(k >= last, self._ends[1], slope))
        point = np.clip(k, 0, last).astype(np.intp)
        return point, np.asarray(t - self._x[point]), np.asarray(slope)

    def __call__(self, t: Array) -> Array:
        """Value."""
        k, x, slope = self._segment(np.asarray(t))
        return np.asarray(np.maximum(self._y[k] + slope * x, 0.0))

    def primitive(self, t: Array) -> Array:
        """Integral from the first point."""
        k, x, slope = self._segment(np.asarray(t))
        return np.asarray(self._sum[k] + x * (self._y[k] + 0.5 * slope * x))


@register
class LightCurveTemplateTemporalModel(TemporalModel):
    """A light curve from a file, linear between its times, extrapolated beyond them, and never negative.

    Integrals of the piecewise linear function are exact. An energy-dependent light curve can be
    evaluated, but not integrated.

    Parameters
    ----------
    time : Quantity [K]
        Times from t_ref, in increasing order.
    norm : array [K] or [E, K]
        Norms; if they depend on energy, one row per energy.
    energy : Quantity [E], optional
        Energies of energy-dependent norms.
    filename : str, optional
        File of the light curve, to which the YAML refers.
    unit : str
        Unit of the norm.
    reference : float
        Default of t_ref, MJD in its scale.
    **arguments
        ``t_ref`` and its ``scale``.
    """

    tag = ("LightCurveTemplateTemporalModel", "template")
    defaults = (ParameterDefault("t_ref", 51544.0, "d", frozen=True),)
    t_ref: Parameter

    def __init__(
        self,
        time: Any,
        norm: ArrayLike,
        energy: Any = None,
        filename: str | None = None,
        unit: str = "",
        reference: float = 51544.0,
        **arguments: Any,
    ) -> None:
        self._set_defaults(self.defaults_for({"reference": reference}))
        self.time, self.norm = u.Quantity(time), np.array(norm, dtype=float)
        self.filename = None if filename is None else str(filename)
        self.unit = unit
        self.energy = None if energy is None else u.Quantity(energy)
        self.is_energy_dependent = energy is not None
        days = np.asarray(self.time.to_value("d"), dtype=float)
        shape = (len(days),) if self.energy is None else (len(self.energy), len(days))
        if self.norm.shape != shape or not (np.diff(days) > 0).all():
            msg = f"light curve of shape {self.norm.shape} at times of shape {shape}, expected increasing times"
            raise ModelError(msg)
        factor = unit_factor(parse_unit(unit), u.dimensionless_unscaled) if energy is None else 1.0
        self._line = _Polygon(days, factor * self.norm) if self.energy is None else None
        super().__init__(**arguments)

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        return self._polygon()(time - values[0])

    def evaluate_energy(self, time: Array, energy: Array, *values: float) -> Array:
        """Norm [E, ...] at times (days) and energies (TeV), linear in the logarithm of the energy."""
        if self.energy is None:
            return np.broadcast_to(self.evaluate(time, *values), (len(energy), *np.shape(time)))
        axes = [
            Axis("energy", self.energy.to_value("TeV"), "log", "center"),
            Axis("time", self.time.to_value("d"), "lin", "center"),
        ]
        table = LogTable(axes, self.norm)
        return np.stack([table(time - values[0], float(e)) for e in energy])

    def _polygon(self) -> _Polygon:
        if self._line is None:
            msg = "an energy-dependent light curve cannot be integrated over time alone"
            raise ModelError(msg)
        return self._line

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        line = self._polygon()
        return line.primitive(stop - values[0]) - line.primitive(start - values[0])

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and its derivative [1, N]."""
        first, last = self.evaluate(start, *values), self.evaluate(stop, *values)
        return self.bins(start, stop, *values), (first - last)[None]

    def check(self, time: Array | None = None) -> None:
        """Evaluate the model once, if it does not depend on energy."""
        if self._line is not None:
            super().check(time)

    # --- files ------------------------------------------------------------------------

    @classmethod
    def read(
        cls,
        filename: str | Path,
        format: str = "table",  # noqa: A002
        **arguments: Any,
    ) -> LightCurveTemplateTemporalModel:
        """Read a table with columns TIME and NORM, or a Gammapy map.

        Parameters
        ----------
        filename : str or Path
            File.
        format : {"table", "map"}
            Format of the file.
        **arguments
            ``scale``, ``t_ref``; by default the reference time is that of the file.

        Raises
        ------
        InputNotFoundError
            If the file does not exist.
        ModelError
            If it is not a light curve.
        """
        found = _read_curve(str(filename), format, arguments.get("scale", "utc"))
        return cls(**found, **arguments)

    @classmethod
    def defaults_for(cls, arguments: Mapping[str, Any]) -> tuple[ParameterDefault, ...]:
        """Return t_ref, by default that of the file."""
        value = arguments.get("reference", cls.defaults[0].value)
        return (ParameterDefault("t_ref", value, "d", frozen=True),)

    def write(self, filename: str | Path | None = None, overwrite: bool = False) -> None:
        """Write a table (a map if it depends on energy) to a file, to which the YAML will refer."""
        self.filename = self.filename if filename is None else str(filename)
        if self.filename is None:
            msg = "the light curve has no file name: give one to write()"
            raise ModelError(msg)
        if self.energy is None:
            from astropy.table import Table

            table = Table({"TIME": self.time, "NORM": u.Quantity(self.norm, self.unit)})
            table.meta.update(self._header(), TIMEUNIT=self.time.unit.to_string("fits"))
            with replacing(self.filename, overwrite=overwrite) as temporary:
                table.write(temporary)
            return
        self._to_map().write(self.filename, overwrite)

    def _header(self) -> dict[str, Any]:
        """Return the reference time as in file headers."""
        t_ref = float(self.t_ref.quantity.to_value("d"))
        whole = float(np.floor(t_ref))
        return {"MJDREFI": whole, "MJDREFF": t_ref - whole, "TIMESYS": self.scale}

    def _to_map(self) -> RegionMap:
        axes = [Axis("time", self.time.value, "lin", "center", self.time.unit.to_string("fits"))]
        if self.energy is not None:
            unit = str(self.energy.unit)
            axes.insert(0, Axis("energy", self.energy.value, "log", "center", unit))
        return RegionMap(tuple(axes), self.norm, self.unit, self._header())

    def extra_to_dict(self) -> dict[str, Any]:
        """Return scale, file, its format and the unit of the norm, and the map if it has no file."""
        kind = "map" if self.is_energy_dependent else "table"
        extra: dict[str, Any] = {"filename": self.filename, "format": kind, "unit": self.unit}
        if self.filename is None:
            extra["map"] = self._to_map()
        return {**super().extra_to_dict(), **extra}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read the file."""
        keys = ("filename", "format", "unit", "map")
        arguments = super().extra_from_dict({k: v for k, v in data.items() if k not in keys})
        if isinstance(data.get("map"), RegionMap):
            return {**_curve_of(data["map"], None, arguments["scale"]), **arguments}
        if not isinstance(data.get("filename"), str):
            msg = f"filename is {data.get('filename')!r}, expected the name of a file"
            raise ModelError(msg)
        kind = data.get("format", "table")
        return {**_read_curve(data["filename"], kind, arguments["scale"]), **arguments}


def _convert(mjd: tuple[float, float], scale: str, target: str) -> float:
    """Convert the reference time of a file to MJD in the time scale of a model."""
    value = mjd[0] + mjd[1]
    if scale == target:
        return value
    tt = value + tt_offset(value, scale)
    return tt - tt_offset(tt, target) if target != "tt" else tt


def _reference(header: Mapping[str, Any], filename: str) -> tuple[float, float]:
    """Return the reference time of a file as whole days and the fraction of a day."""
    try:
        parts = float(header["MJDREFI"]), float(header["MJDREFF"])
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{filename}: the reference time MJDREFI, MJDREFF is missing, or not a number"
        raise ModelError(msg) from error
    if not np.isfinite(parts).all():
        msg = f"{filename}: the reference time MJDREFI, MJDREFF is {parts}"
        raise ModelError(msg)
    return parts


def _read_curve(filename: str, kind: str, scale: str) -> dict[str, Any]:
    """Return the arguments of a light curve, and the reference time of the file."""
    if kind == "table":
        return _read_table(filename, scale)
    if kind != "map":
        msg = f"format: {kind!r}, expected 'table' or 'map'"
        raise ModelError(msg)
    return _curve_of(RegionMap.read(filename), filename, scale)


def _curve_of(table: RegionMap, filename: str | None, scale: str) -> dict[str, Any]:
    """Return the arguments of a light curve from a map, and its reference time."""
    axes = {axis.name: axis for axis in table.axes}
    if "time" not in axes or not set(axes) <= {"time", "energy", "energy_true"}:
        msg = f"{filename or 'map'}: not a light curve, its axes are {', '.join(axes)}"
        raise ModelError(msg)
    order = [k for name, k in zip(axes, range(len(axes)), strict=True) if name != "time"]
    order.append(list(axes).index("time"))
    energy = [axis for name, axis in axes.items() if name != "time"]
    header = table.header
    system = str(header.get("TIMESYS", "tt")).lower()
    reference = _convert(_reference(header, filename or "map"), system, scale)
    return {
        "time": u.Quantity(axes["time"].center, parse_unit(axes["time"].unit)),
        "norm": table.values.transpose(order),
        "energy": u.Quantity(energy[0].center, parse_unit(energy[0].unit)) if energy else None,
        "filename": filename,
        "unit": table.unit,
        "reference": reference,
    }


def _read_table(filename: str, scale: str) -> dict[str, Any]:
    table, (time, norm) = read_columns(filename, ("TIME", "NORM"))
    unit = time.unit
    if unit is None or not unit.is_equivalent("d"):
        if "TIMEUNIT" not in table.meta:
            msg = f"{filename}: the unit of TIME is missing"
            raise ModelError(msg)
        unit = str(table.meta["TIMEUNIT"])  # a list, if the keyword is repeated
    parts = _reference(table.meta, filename)
    try:
        times, norms = np.asarray(time, dtype=float), np.asarray(norm, dtype=float)
    except (TypeError, ValueError) as error:
        msg = f"{filename}: TIME and NORM are not numbers ({error})"
        raise ModelError(msg) from error
    system = str(table.meta.get("TIMESYS", "utc")).lower()
    return {
        "time": u.Quantity(times, parse_unit(unit)),
        "norm": norms,
        "filename": filename,
        "unit": str(norm.unit or ""),
        "reference": _convert(parts, system, scale),
    }
