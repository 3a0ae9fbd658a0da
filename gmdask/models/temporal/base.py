"""The base class of temporal models.

The array functions take times in days and scalar parameters in the model's internal units
(days, rad per day). Times and the parameter ``t_ref`` are counted from a common origin, in a
uniform scale (TT), so that only their difference matters; a model without ``t_ref`` gets
MJD in TT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.drawing import draw
from gmdask.models.base import ModelBase
from gmdask.models.checks import check_array, check_parameters
from gmdask.models.derivatives import (
    estimated_scales,
    first_derivatives,
    natural_scales,
    second_derivatives,
)
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.temporal.time_intervals import TimeIntervals, check_scale, tt_offset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TemporalModel", "reference_time"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PANELS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TOLERANCE = 1e-12


def reference_time(frozen: bool) -> ParameterDefault:
    """Return the parameter t_ref of Gammapy's classes, 2000-01-01."""
    return ParameterDefault("t_ref", 51544.0, "d", frozen=frozen)


class TemporalModel(ModelBase):
    """Base class of temporal models; a new one needs only `evaluate`.

    Without `bins`, integrals are Gauss-Legendre sums, whose intervals are halved until 1e-12 is reached;
    without `bins_gradient`, derivatives are fourth-order differences of the integrals.

    Parameters
    ----------
    scale : str
        Time scale of the parameter t_ref, by default UTC.
    **parameters
        Parameters; see the base class.
    """

    kind = "temporal"
    is_energy_dependent: bool = False
    _sensitive: ClassVar[frozenset[str]] = frozenset({"t_ref"})

    def __init__(self, *, scale: str = "utc", **parameters: Any) -> None:
        self.scale = check_scale(scale)
        super().__init__(**parameters)

    # --- arrays -----------------------------------------------------------------------

    def evaluate(self, time: Array, *values: float) -> Array:
        """Norm at times (days)."""
        raise NotImplementedError

    def breaks(self, *values: float) -> list[float]:
        """Return the times (days) at which the norm is not smooth, for numerical integration."""
        del values
        return []

    def bins(self, start: Array, stop: Array, *values: float) -> Array:
        """Integral [N] in days over each of N intervals (days)."""
        total = np.zeros(len(start))
        ends = np.sort(np.array([-np.inf, *self.breaks(*values), np.inf]))
        for low, high in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            a, b = np.clip(start, low, high), np.clip(stop, low, high)
            some = b > a
            if some.any():
                total[some] += self._sums(a[some], b[some], values)
        return total

    def _sums(self, start: Array, stop: Array, values: tuple[float, ...]) -> Array:
        found = np.zeros(len(start))
        for panels in _PANELS:
            edges = np.linspace(0.0, 1.0, panels + 1)
            share = (edges[:-1, None] + (0.5 + 0.5 * _NODES) / panels).ravel()
            weights = np.tile(_WEIGHTS, panels) / (2 * panels)
            length = stop - start
            y = np.asarray(self.evaluate(start[:, None] + share * length[:, None], *values))
            before, found = found, length * (y * weights).sum(axis=-1)
            size = np.maximum(np.abs(found), length * (np.abs(y) * weights).sum(axis=-1))
            if panels > 1 and (np.abs(found - before) <= _TOLERANCE * size + 1e-300).all():
                break
        return found

    def bins_gradient(self, start: Array, stop: Array, *values: float) -> tuple[Array, Array]:
        """Integral [N] in days over each interval, and its derivatives [P, N]."""
        at = np.array(values, dtype=float)
        f = self.bins(start, stop, *values)
        usual = np.array([abs(default.value) for default in self.defaults], dtype=float)
        usual[[default.name in self._sensitive for default in self.defaults]] = 1.0

        def function(v: Array) -> Array:
            return self.bins(start, stop, *v.tolist())

        no_limit = np.full(len(at), np.nan)
        scales = 0.1 * estimated_scales(
            function, at, f, usual
        )  # small, as a curve may change quickly
        return f, first_derivatives(function, at, scales, no_limit, no_limit)

    def _relative(self, intervals: TimeIntervals, values: Array) -> tuple[Array, Array, Array]:
        """Return start, stop and values with a common origin."""
        at = np.array(values, dtype=float)
        if "t_ref" not in self.parameter_names:
            return intervals.start + intervals.reference, intervals.stop + intervals.reference, at
        k = self.parameter_names.index("t_ref")
        at[k] = (at[k] - intervals.reference) + tt_offset(float(at[k]), self.scale)
        # counted from t_ref, so that differences are taken between small numbers
        shift, at[k] = at[k], 0.0
        return intervals.start - shift, intervals.stop - shift, at

    def integral_norm(self, intervals: TimeIntervals, values: Array) -> float:
        """Mean norm over all intervals, by which the fluxes of a dataset are multiplied.

        Parameters
        ----------
        intervals : TimeIntervals
            Good time intervals.
        values : ndarray [P]
            Parameters in internal units.
        """
        start, stop, at = self._relative(intervals, values)
        return float(np.sum(self.bins(start, stop, *at.tolist()))) / intervals.ontime

    def integral_norm_gradient(
        self, intervals: TimeIntervals, values: Array
    ) -> tuple[float, Array]:
        """Mean norm over all intervals and its derivatives [P].

        Parameters
        ----------
        intervals : TimeIntervals
            Good time intervals.
        values : ndarray [P]
            Parameters in internal units.
        """
        start, stop, at = self._relative(intervals, values)
        f, df = self.bins_gradient(start, stop, *at.tolist())
        return float(np.sum(f)) / intervals.ontime, df.sum(axis=1) / intervals.ontime

    def integral_norm_hessian(self, intervals: TimeIntervals, values: Array) -> Array:
        """Second derivatives [P, P] of the mean norm, by finite differences of the gradient."""
        start, stop, at = self._relative(intervals, values)
        f, df = self.bins_gradient(start, stop, *at.tolist())

        def gradient(v: Array) -> Array:
            return np.asarray(self.bins_gradient(start, stop, *v.tolist())[1].sum(axis=1))

        scales = natural_scales(f, df, at)
        return second_derivatives(gradient, at, scales) / intervals.ontime

    def check(self, time: Array | None = None) -> None:
        """Evaluate the model once, to detect an invalid class before it is used.

        Parameters
        ----------
        time : ndarray, optional
            Times in days from t_ref (without t_ref: MJD); by default a few times on the first day.

        Raises
        ------
        ModelError
            If the class is invalid, as for spectral models; the message names the class.
        """
        check_parameters(self)
        values = self.internal_values
        if "t_ref" in self.parameter_names:
            values[self.parameter_names.index("t_ref")] = 0.0
        time = np.linspace(0.1, 1.0, 6).reshape(2, 3) if time is None else time
        y: object = self.evaluate(time, *values.tolist())
        check_array(self, "evaluate", y, time.shape, u.dimensionless_unscaled)

    # --- quantities -------------------------------------------------------------------

    @property
    def reference_time(self) -> Any:
        """The parameter t_ref as a `~astropy.time.Time`."""
        from astropy.time import Time

        return Time(self.parameter("t_ref").quantity.to_value("d"), format="mjd", scale=self.scale)

    def _days(self, time: Any) -> tuple[Array, list[float]]:
        """Return days from t_ref (without t_ref: MJD), and values with t_ref counted likewise."""
        values = self.internal_values
        tt = time.tt
        if "t_ref" not in self.parameter_names:
            return np.asarray(tt.mjd, dtype=float), values.tolist()
        k = self.parameter_names.index("t_ref")
        reference = float(values[k])
        offset = tt_offset(reference, self.scale)
        values[k] = 0.0
        days = ((tt.jd1 - 2400000.5) - reference) + (tt.jd2 - offset)
        return np.asarray(days, dtype=float), values.tolist()

    def __call__(self, time: Any) -> u.Quantity:
        """Evaluate the norm at times.

        Parameters
        ----------
        time : `~astropy.time.Time`
            Times in any scale.
        """
        days, values = self._days(time)
        return u.Quantity(self.evaluate(days, *values))

    def integral(self, t_min: Any, t_max: Any) -> u.Quantity:
        """Return the contribution of each interval to the mean norm; a fit uses their sum.

        Parameters
        ----------
        t_min, t_max : `~astropy.time.Time`
            Limits of one or more intervals.
        """
        intervals = TimeIntervals(t_min, t_max)
        start, stop, at = self._relative(intervals, self.internal_values)
        parts = self.bins(start, stop, *at.tolist()) / intervals.ontime
        return u.Quantity(parts.reshape(np.shape(t_min.mjd)))

    def plot(self, time_range: Any, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the norm against time; see `gmdask.plot.plot_temporal_model`.

        Parameters
        ----------
        time_range : `~astropy.time.Time` of shape (2,), or pair of these
            First and last time.
        ax : `matplotlib.axes.Axes`, optional
        **kwargs
            n_points, and options of matplotlib's ``plot``.
        """
        axes: Axes = draw("plot_temporal_model", self, time_range, ax, **kwargs)
        return axes

    # --- plain data -------------------------------------------------------------------

    def extra_to_dict(self) -> dict[str, Any]:
        """Return the scale."""
        return {"scale": self.scale}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read the scale."""
        rest = {key: value for key, value in data.items() if key != "scale"}
        return {"scale": data.get("scale", "utc"), **super().extra_from_dict(rest)}
