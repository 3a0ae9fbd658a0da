"""Norms as a function of the rotational phase."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.atomic_files import replacing
from gmdask.drawing import draw
from gmdask.errors import ModelError
from gmdask.models.columns import read_columns
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.temporal.base import TemporalModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TemplatePhaseCurveTemporalModel"]

Array = NDArray[np.float64]

_DAY = 86400.0
_ORDER = 4  # number of integrations by parts of a constant; a power of time needs as many more


@register
class TemplatePhaseCurveTemporalModel(TemporalModel):
    """A function of the rotational phase, linear between the points of a table.

    The phase is φ = phi_ref + x (f0 + x / 2 (f1 + x / 3 f2)) with x = t - t_ref in s. Let P0 be the
    curve minus its mean, P1 its periodic integral over the phase, P2 that of P1, and so on. Then an
    integral over time is mean · length plus, by parts,

        ∫ P0(φ) h dx = [P1 h0 - P2 h1 + P3 h2 - ...],   h0 = h / f,   h(k+1) = h(k)' / f

    with h = 1 and the varying frequency f = φ'. Derivatives with respect to a parameter are the same series
    starting at P0, with h = ∂φ. Both are exact without f1 and f2; with them the relative error is of
    the order of (f' / f²)⁴, where a pulsar has f' / f² of about 1e-12. Second derivatives are
    finite differences.

    Parameters
    ----------
    phase, norm : array [K]
        Points of the curve, with phases from 0 to 1.
    filename : str, optional
        File of the curve, to which the YAML refers.
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
            msg = f"normalize is {given!r}, expected true or false"
            raise ModelError(msg)
        self.normalize = normalize
        x, y = self.phase, self.norm
        if x.shape != y.shape or x.ndim != 1 or len(x) < 2 or not (np.diff(x) > 0).all():
            msg = "phase curve: expected norms at two or more phases in order"
            raise ModelError(msg)
        if x[0] < 0 or x[-1] > 1:
            msg = f"phase curve: phases from {x[0]} to {x[-1]}, expected 0 to 1"
            raise ModelError(msg)
        # the outer segments are extended to 0 and 1
        slope = np.diff(y) / np.diff(x)
        ends = y[0] - slope[0] * x[0], y[-1] + slope[-1] * (1 - x[-1])
        grid = np.concatenate([[0.0], x[(x > 0) & (x < 1)], [1.0]])
        curve = np.concatenate([ends[:1], y[(x > 0) & (x < 1)], ends[1:]])
        mean = float(np.sum(0.5 * np.diff(grid) * (curve[1:] + curve[:-1])))
        if normalize and not mean > 0:
            msg = f"phase curve: its mean is {mean}, it cannot be normalized"
            raise ModelError(msg)
        self._x, self._y = grid, curve / mean if normalize else curve
        self._mean = 1.0 if normalize else mean
        self._parts = _periodic(self._x, self._y, self._mean)
        super().__init__(**arguments)

    # --- arrays -----------------------------------------------------------------------

    def _periodic(self, phase: Array, order: int) -> Array:
        """Return P of an order at phases."""
        part = phase - np.floor(phase)
        k = np.clip(np.searchsorted(self._x, part, "right") - 1, 0, len(self._x) - 2)
        return np.asarray(np.polynomial.polynomial.polyval(
            part - self._x[k], self._parts[order][:, k], tensor=False
        ))  # fmt: skip

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        phase = _phase((time - values[0]) * _DAY, values)[0]
        return self.at_phase(phase)

    def at_phase(self, phase: Array) -> Array:
        """Norm at phases, whose integer part is ignored."""
        return self._mean + self._periodic(phase, 0)

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] over intervals (days)."""
        parts = np.zeros(len(start))
        for sign, time in ((-1.0, start), (1.0, stop)):
            phase = _phase((time - values[0]) * _DAY, values)
            one = np.zeros((_ORDER, len(time)))
            one[0] = 1.0
            for k, factor in enumerate(_by_parts(one, phase)):
                parts += sign * (-1) ** k * factor * self._periodic(phase[0], k + 1)
        return np.asarray(self._mean * (stop - start) + parts / _DAY)

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] over intervals (days) and its derivatives [5, N]."""
        df = np.zeros((5, len(start)))
        for sign, time in ((-1.0, start), (1.0, stop)):
            x = (time - values[0]) * _DAY
            phase = _phase(x, values)
            periodic = [self._periodic(phase[0], k) for k in range(_ORDER + 3)]
            df[0] -= sign * periodic[0]  # changing t_ref moves both ends
            for n in range(4):  # ∂φ is x**n / n!, and so are its derivatives
                change = np.zeros((_ORDER + n, len(x)))
                for m in range(n + 1):
                    change[m] = x ** (n - m) / math.factorial(n - m)
                for k, factor in enumerate(_by_parts(change, phase)):
                    df[n + 1] += sign * (-1) ** k * factor * periodic[k] / _DAY
        return self.bins(start, stop, *values), df

    def plot_phasogram(self, ax: Axes | None = None, n_points: int = 100, **kwargs: Any) -> Axes:
        """Draw the norm over one rotation; see `gmdask.plot.plot_phasogram`."""
        axes: Axes = draw("plot_phasogram", self, ax, n_points, **kwargs)
        return axes

    # --- files ------------------------------------------------------------------------

    @classmethod
    def read(
        cls, filename: str | Path, normalize: bool = True, **arguments: Any
    ) -> TemplatePhaseCurveTemporalModel:
        """Read a table with columns PHASE and NORM.

        Raises
        ------
        InputNotFoundError
            If the file does not exist.
        ModelError
            If it is not such a table.
        """
        return cls(**_read_phases(str(filename)), normalize=normalize, **arguments)

    def write(self, filename: str | Path | None = None, overwrite: bool = False) -> None:
        """Write the table to a file, to which the YAML will refer."""
        from astropy.table import Table

        self.filename = self.filename if filename is None else str(filename)
        if self.filename is None:
            msg = "the phase curve has no file name: give one to write()"
            raise ModelError(msg)
        with replacing(self.filename, overwrite=overwrite) as temporary:
            Table({"PHASE": self.phase, "NORM": self.norm}).write(temporary)

    def extra_to_dict(self) -> dict[str, Any]:
        """Return scale, file, and whether the curve is normalized; the curve itself if it has no file."""
        extra: dict[str, Any] = {"filename": self.filename, "normalize": self.normalize}
        if self.filename is None:
            extra["map"] = {"phase": self.phase.tolist(), "norm": self.norm.tolist()}
        return {**super().extra_to_dict(), **extra}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read the file."""
        keys = ("filename", "normalize", "map")
        arguments = super().extra_from_dict({k: v for k, v in data.items() if k not in keys})
        arguments["normalize"] = data.get("normalize", True)
        if isinstance(data.get("map"), dict):
            return {**arguments, **data["map"]}
        if not isinstance(data.get("filename"), str):
            msg = f"filename is {data.get('filename')!r}, expected the name of a file"
            raise ModelError(msg)
        return {**arguments, **_read_phases(data["filename"])}


def _phase(x: Array, values: tuple[float, ...]) -> Array:
    """Return the phase and its three derivatives [4, N] at times x (s) from t_ref."""
    _, phi_ref, f0, f1, f2 = values
    phase = phi_ref + x * (f0 + x / 2 * (f1 + x / 3 * f2))
    return np.array([phase, f0 + x * (f1 + x / 2 * f2), f1 + x * f2, np.full_like(x, f2)])


def _periodic(x: Array, y: Array, mean: float) -> list[Array]:
    """Coefficients [n, K - 1] of P0, P1, ... between the K points: integrals with zero mean."""
    steps = np.diff(x)
    parts = [np.array([y[:-1] - mean, np.diff(y) / steps])]
    for _ in range(_ORDER + 2):
        powers = np.arange(1, len(parts[-1]) + 1)[:, None]
        rise = parts[-1] / powers
        ends = np.cumsum((rise * steps**powers).sum(axis=0))
        inner = np.concatenate([np.concatenate([[0.0], ends[:-1]])[None], rise])
        powers = np.arange(1, len(inner) + 1)[:, None]
        inner[0] -= (inner / powers * steps**powers).sum()  # phases range from 0 to 1
        parts.append(inner)
    return parts


def _by_parts(h: Array, phase: Array) -> list[Array]:
    """Factors h / f, (h / f)' / f, ... [N] from the derivatives [4, N] of h and the phase."""
    f = phase[1:]
    factors = []
    while len(h):
        quotient = np.empty_like(h)  # the derivatives of q = h / f, from those of q f
        for n in range(len(h)):
            inner = sum(math.comb(n, m) * quotient[m] * f[n - m] for m in range(max(n - 2, 0), n))
            quotient[n] = (h[n] - inner) / f[0]
        factors.append(quotient[0])
        h = quotient[1:]
    return factors


def _read_phases(filename: str) -> dict[str, Any]:
    _, (phase, norm) = read_columns(filename, ("PHASE", "NORM"))
    return {
        "phase": np.asarray(phase, dtype=float),
        "norm": np.asarray(norm, dtype=float),
        "filename": filename,
    }
