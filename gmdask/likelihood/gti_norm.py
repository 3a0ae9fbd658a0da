"""The temporal factor of a spectrum in a dataset: the mean of a temporal model over its GTIs."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.models import SkyModel
from gmdask.models.temporal.base import TemporalModel
from gmdask.models.temporal.time_intervals import TimeIntervals

__all__ = ["GtiNorm", "temporal_norm"]

Array = NDArray[np.float64]


class GtiNorm:
    """Mean of a temporal model over the good time intervals of a dataset.

    Parameters
    ----------
    model : `TemporalModel`
    intervals : `TimeIntervals`
    """

    def __init__(self, model: TemporalModel, intervals: TimeIntervals) -> None:
        self.model, self._intervals = model, intervals
        self._kept: tuple[bytes, float, Array] | None = None

    def gradient(self, values: Array) -> tuple[float, Array]:
        """Return the mean and its derivatives (Q,) at parameter values; cached for the last values."""
        key = values.tobytes()
        if self._kept is None or self._kept[0] != key:
            self._kept = key, *self.model.integral_norm_gradient(self._intervals, values)
        return self._kept[1], self._kept[2]

    def hessian(self, values: Array) -> Array:
        """Second derivatives (Q, Q)."""
        return self.model.integral_norm_hessian(self._intervals, values)


def temporal_norm(model: SkyModel, cube: xr.Dataset) -> GtiNorm | None:
    """Return the factor of a source's temporal model in a dataset, None for a source without one.

    Parameters
    ----------
    model : `SkyModel`
    cube : `xarray.Dataset`
        A dataset with ``gti_start`` and ``gti_stop`` (s since the reference in ``attrs["gti"]``).

    Raises
    ------
    ModelError
        If the dataset has no good time intervals, or the temporal model depends on energy.
    """
    temporal = model.temporal_model
    if temporal is None:
        return None
    where = f"model {model.name!r}: {type(temporal).__name__}"
    if temporal.is_energy_dependent:
        msg = (
            f"{where} depends on energy, so that it has no mean over the good time intervals "
            "(Gammapy cannot fit it either): omit temporal_model, or use one that depends on time alone"
        )
        raise ModelError(msg)
    gti = cube.attrs.get("gti")
    if gti is None or "gti_start" not in cube or not cube["gti_start"].size:
        msg = f"{where}: dataset {cube.attrs.get('name')!r} has no good time intervals"
        raise ModelError(msg)
    start, stop = cube["gti_start"].values, cube["gti_stop"].values
    reference = float(gti["mjdrefi"]), float(gti["mjdreff"])
    intervals = TimeIntervals.from_seconds(start, stop, reference, str(gti["timesys"]).lower())
    return GtiNorm(temporal, intervals)
