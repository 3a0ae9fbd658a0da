"""Norms over the phase of a rotation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import ModelError
from gmdask.models.columns import read_columns
from gmdask.models.parameter import Parameter, ParameterDefault
from gmdask.models.registry import register
from gmdask.models.temporal_base import TemporalModel

__all__ = ["TemplatePhaseCurveTemporalModel"]

Array = NDArray[np.float64]

_DAY = 86400.0


@register
class TemplatePhaseCurveTemporalModel(TemporalModel):
    """A curve over the phase of a rotation, linear between the points of a table.

    The phase is phi_ref + x (f0 + x / 2 (f1 + x / 3 f2)) with x = t - t_ref in s. Integrals
    follow the changing frequency f: mean · length + [P / f] with P the periodic part of the
    integral over the phase, exact without f1 and f2 and to f1 / f0³ (in s) with them. Second
    derivatives are differences.

    Parameters
    ----------
    phase, norm : array [K]
        Points of the curve, phases from 0 to 1.
    filename : str, optional
        File it comes from, which is what is written to YAML.
    normalize : bool
        Whether the curve is divided by its mean.
    **arguments
        ``scale`` and parameters by name.
    """

    tag = ("TemplatePhaseCurveTemporalModel", "template-phase")
    defaults = (
        ParameterDefault("t_ref", 48442.5, "d", frozen=True),
        ParameterDefault("phi_ref", 0.0, frozen=True),
        ParameterDefault("f0", 29.946923, "s-1", frozen=True),
        ParameterDefault("f1", 0.0, "s-2", frozen=True),
        ParameterDefault("f2", 0.0, "s-3", frozen=True),
    )
    t_ref: Parameter
    phi_ref: Parameter
    f0: Parameter
    f1: Parameter
    f2: Parameter

    def __init__(
        self,
        phase: ArrayLike,
        norm: ArrayLike,
        filename: str | None = None,
        normalize: bool = True,
        **arguments: Any,
    ) -> None:
        self.phase, self.norm = np.array(phase, dtype=float), np.array(norm, dtype=float)
        self.filename = None if filename is None else str(filename)
        given: Any = normalize
        if not isinstance(given, bool):
            message = f"normalize is {given!r}, expected true or false"
            raise ModelError(message)
        self.normalize = normalize
        x, y = self.phase, self.norm
        if x.shape != y.shape or x.ndim != 1 or len(x) < 2 or not (np.diff(x) > 0).all():
            message = "phase curve: expected norms at two or more phases in order"
            raise ModelError(message)
        if x[0] < 0 or x[-1] > 1:
            message = f"phase curve: phases from {x[0]} to {x[-1]}, expected 0 to 1"
            raise ModelError(message)
        # the outer segments go on to 0 and 1
        slope = np.diff(y) / np.diff(x)
        ends = y[0] - slope[0] * x[0], y[-1] + slope[-1] * (1 - x[-1])
        grid = np.concatenate([[0.0], x[(x > 0) & (x < 1)], [1.0]])
        curve = np.concatenate([ends[:1], y[(x > 0) & (x < 1)], ends[1:]])
        mean = float(np.sum(0.5 * np.diff(grid) * (curve[1:] + curve[:-1])))
        if normalize and not mean > 0:
            message = f"phase curve: its mean is {mean}, it cannot be normalized"
            raise ModelError(message)
        self._x, self._y = grid, curve / mean if normalize else curve
        self._mean = 1.0 if normalize else mean
        steps = np.diff(grid)
        self._sum = np.concatenate([[0.0], np.cumsum(0.5 * steps * (self._y[1:] + self._y[:-1]))])
        self._slopes = np.diff(self._y) / steps
        # ∫ ∫ g over the phase, to make the periodic part one of mean zero
        parts = steps * (self._sum[:-1] + steps * (self._y[:-1] / 2 + steps * self._slopes / 6))
        self._shift = float(np.sum(parts)) - 0.5 * self._mean
        super().__init__(**arguments)

    # --- arrays -----------------------------------------------------------------------

    @staticmethod
    def _phase(x: Array, values: tuple[float, ...]) -> tuple[Array, Array, Array]:
        """Phase, frequency and its slope at times x (s) from t_ref."""
        _, phi_ref, f0, f1, f2 = values
        phase = phi_ref + x * (f0 + x / 2 * (f1 + x / 3 * f2))
        return phase, f0 + x * (f1 + x / 2 * f2), f1 + x * f2

    def _curve(self, phase: Array) -> tuple[Array, Array]:
        """Norm, and the periodic part P of its integral (mean zero), at phases."""
        part = phase - np.floor(phase)
        k = np.clip(np.searchsorted(self._x, part, "right") - 1, 0, len(self._slopes) - 1)
        step = part - self._x[k]
        norm = self._y[k] + self._slopes[k] * step
        total = self._sum[k] + step * (self._y[k] + 0.5 * self._slopes[k] * step)
        return norm, total - self._mean * part - self._shift

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        return self._curve(self._phase((time - values[0]) * _DAY, values)[0])[0]

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        ends = []
        for time in (start, stop):
            phase, frequency, _ = self._phase((time - values[0]) * _DAY, values)
            ends.append(self._curve(phase)[1] / frequency)
        return np.asarray(self._mean * (stop - start) + (ends[1] - ends[0]) / _DAY)

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and its derivatives [5, N]."""
        f = self.bins(start, stop, *values)
        df = np.zeros((5, len(start)))
        for sign, time in ((-1.0, start), (1.0, stop)):
            x = (time - values[0]) * _DAY
            phase, frequency, slope = self._phase(x, values)
            norm, periodic = self._curve(phase)
            df[0] -= sign * norm
            shapes = (np.ones_like(x), x, x**2 / 2, x**3 / 6)
            rates = (np.zeros_like(x), np.ones_like(x), x, x**2 / 2)
            for k, (shape, rate) in enumerate(zip(shapes, rates, strict=True)):
                change = rate / frequency - shape * slope / frequency**2
                term = (norm - self._mean) * shape - periodic * change
                df[k + 1] += sign * term / (frequency * _DAY)
        return f, df

    # --- files ------------------------------------------------------------------------

    @classmethod
    def read(
        cls, filename: str | Path, normalize: bool = True, **arguments: Any
    ) -> TemplatePhaseCurveTemporalModel:
        """Read a table with columns PHASE and NORM.

        Raises
        ------
        InputNotFoundError
            If there is no file.
        ModelError
            If it is not such a table.
        """
        return cls(**_read_phases(str(filename)), normalize=normalize, **arguments)

    def write(self, filename: str | Path | None = None, overwrite: bool = False) -> None:
        """Write the table, to the file that YAML names from then on."""
        from astropy.table import Table

        self.filename = self.filename if filename is None else str(filename)
        if self.filename is None:
            message = "the phase curve has no file name: give one to write()"
            raise ModelError(message)
        Table({"PHASE": self.phase, "NORM": self.norm}).write(self.filename, overwrite=overwrite)

    def extra_to_dict(self) -> dict[str, Any]:
        """Return scale, file, and whether it is normalized."""
        if self.filename is None:
            message = "a phase curve is written as the name of its file: call write(filename) first"
            raise ModelError(message)
        extra = {"filename": self.filename, "normalize": self.normalize}
        return {**super().extra_to_dict(), **extra}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read the file."""
        keys = ("filename", "normalize")
        arguments = super().extra_from_dict({k: v for k, v in data.items() if k not in keys})
        if not isinstance(data.get("filename"), str):
            message = f"filename is {data.get('filename')!r}, expected the name of a file"
            raise ModelError(message)
        normalize = data.get("normalize", True)
        return {**arguments, **_read_phases(data["filename"]), "normalize": normalize}


def _read_phases(filename: str) -> dict[str, Any]:
    _, (phase, norm) = read_columns(filename, ("PHASE", "NORM"))
    return {
        "phase": np.asarray(phase, dtype=float),
        "norm": np.asarray(norm, dtype=float),
        "filename": filename,
    }
