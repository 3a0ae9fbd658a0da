"""Time intervals and time scales."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import InputError, ModelError

__all__ = ["TimeIntervals", "check_scale", "tt_offset"]

Array = NDArray[np.float64]

SCALES = ("utc", "tt", "tai", "tdb", "tcb", "tcg", "ut1")


def check_scale(scale: object) -> str:
    """Return a time scale if it is valid.

    Raises
    ------
    ModelError
        If it is not.
    """
    if not isinstance(scale, str) or scale not in SCALES:
        msg = f"scale: {scale!r}, expected one of {', '.join(SCALES)}"
        raise ModelError(msg)
    return scale


def tt_offset(mjd: float, scale: str) -> float:
    """Return the number of days to add to an MJD in a scale to convert it to TT."""
    if check_scale(scale) == "tt":
        return 0.0
    # the difference to UTC is constant within a day
    return _tt_offset(float(np.floor(mjd)) if scale == "utc" else float(mjd), scale)


@lru_cache(maxsize=4096)
def _tt_offset(mjd: float, scale: str) -> float:
    from astropy.time import Time

    time = Time(mjd, format="mjd", scale=scale)
    tt = time.tt
    return float((tt.jd1 - time.jd1) + (tt.jd2 - time.jd2))


class TimeIntervals:
    """Good time intervals of a dataset.

    Times are stored in days of TT from a nearby integer day, so that no precision is lost.

    Parameters
    ----------
    start, stop : `~astropy.time.Time` or array [N]
        Start and stop; numbers are MJD.
    scale : str
        Scale of numbers, by default TT.

    Attributes
    ----------
    reference : float
        MJD (TT) from which times are counted.
    start, stop : ndarray [N]
        Start and stop in days from the reference.
    ontime : float
        Sum of the interval lengths in days.

    Raises
    ------
    InputError
        If there is no interval, or an interval does not end after it starts.
    """

    def __init__(self, start: Any, stop: Any, scale: str = "tt") -> None:
        first, second = _tt_parts(start, scale), _tt_parts(stop, scale)
        reference = float(first[0].flat[0]) if first[0].size else 0.0
        self._build(
            reference, (first[0] - reference) + first[1], (second[0] - reference) + second[1]
        )

    @classmethod
    def from_seconds(
        cls, start: ArrayLike, stop: ArrayLike, reference: tuple[float, float], scale: str = "tt"
    ) -> Self:
        """Return intervals from seconds since a reference time, as in FITS files.

        Parameters
        ----------
        start, stop : array [N]
            Start and stop in s.
        reference : tuple of float
            MJDREFI and MJDREFF.
        scale : str
            TIMESYS; as the seconds are of a uniform scale, this is the scale of the reference.
        """
        new = object.__new__(cls)
        whole, part = reference
        part += tt_offset(whole + part, check_scale(scale.lower()))
        days = [np.array(t, dtype=float) / 86400 + part for t in (start, stop)]
        # an integer day near the first interval
        shift = float(np.floor(days[0].flat[0])) if days[0].size else 0.0
        days = [np.array(t, dtype=float) / 86400 + (part - shift) for t in (start, stop)]
        new._build(whole + shift, *days)
        return new

    def _build(self, reference: float, start: Array, stop: Array) -> None:
        if start.shape != stop.shape or start.ndim != 1 or not start.size:
            msg = f"start of shape {start.shape} and stop of {stop.shape}, expected two lists"
            raise InputError(msg)
        if not (np.isfinite(start).all() and np.isfinite(stop).all() and (stop > start).all()):
            msg = "time intervals must be finite, and must end after they start"
            raise InputError(msg)
        self.reference, self.start, self.stop = reference, start, stop
        self.ontime = float(np.sum(stop - start))

    def __repr__(self) -> str:
        return f"<TimeIntervals: {len(self.start)} intervals, {self.ontime:g} days in all>"

    def __len__(self) -> int:
        return len(self.start)


def _tt_parts(time: Any, scale: str) -> tuple[Array, Array]:
    """Return the integer and fractional days of MJD in TT."""
    if hasattr(time, "tt"):
        tt = time.tt
        whole = np.atleast_1d(np.asarray(tt.jd1, dtype=float)) - 2400000.0
        part = np.atleast_1d(np.asarray(tt.jd2, dtype=float)) - 0.5
        return whole, part
    numbers = np.atleast_1d(np.array(time, dtype=float))
    whole = np.floor(numbers)
    offsets = [tt_offset(mjd, check_scale(scale)) for mjd in numbers.tolist()]
    return whole, (numbers - whole) + np.array(offsets)
