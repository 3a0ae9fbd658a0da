"""A sky model at a position, with the pixels around it and the response there."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.exact.exposure import Exposure, exposure_of, padded
from gmdask.likelihood.exact.irfs import Jet
from gmdask.likelihood.exact.operator import ByShape, ExactOperator
from gmdask.likelihood.exact.patch import Field, Patch, field_of, make_patch, window_around
from gmdask.likelihood.exact.reco import SumOperator
from gmdask.likelihood.exact.transforms import size_names
from gmdask.likelihood.observation import Keep, Observation
from gmdask.models import SpatialModel

__all__ = ["LocatedSource", "Places"]

Array = NDArray[np.float64]
Places = NDArray[np.intp] | slice

MARGIN = 0.1  # margin around a moving source that is read as well, relative to its extent
MARGIN_PIXELS = 3


class LocatedSource(ABC):
    """Response to one sky model in the bins of one dataset.

    The operator is a pure function of the spatial parameters; what was last computed or read
    is kept.

    Parameters
    ----------
    observation : `Observation`
    bins : `Bins`
    spatial : `SpatialModel`
    apply_irf : dict
    free : list of int
        Free parameters of the spatial model.
    keep : callable
        Takes an array that is kept permanently, and returns it from where it is kept.
    """

    def __init__(
        self, observation: Observation, bins: Bins, spatial: SpatialModel,
        apply_irf: dict[str, bool], free: list[int], keep: Keep,
    ) -> None:  # fmt: skip
        self._observation, self._bins, self._spatial = observation, bins, spatial
        self._apply, self._free, self._keep = apply_irf, free, keep
        self._field = _field_of(observation)
        names, self._sizes = spatial.parameter_names, size_names(spatial)
        self._moves = np.array([[names[k] == "lon_0", names[k] == "lat_0"] for k in free], float)
        self._patch: Patch | None = None
        self._places: Places = slice(None)
        self._around = ((0.0, 0.0), 0.0)  # circle that the patch contains, in deg
        self._stored: NDArray[Any] = np.zeros((0, 0, 0))  # exposure of the patch
        # with a PSF in reconstructed energy, the exposure is applied before it
        self._after = apply_irf["psf"] and observation.psf_energy == "energy"
        self._exposed = apply_irf["exposure"] and not self._after
        self._exposure, unit = Exposure.none(observation.energy_true.nbin), 1.0
        if self._exposed:
            self._exposure, unit = exposure_of(observation), observation.exposure_unit
        shares = self._exposure.shares * unit
        if self._after:
            shares = np.ones((1, observation.energy.nbin))
        self._shares = np.ascontiguousarray(padded(shares.T).T)

    @abstractmethod
    def operator(
        self, values: Array, *, derivatives: bool
    ) -> tuple[ExactOperator | SumOperator | None, Places]:
        """Return the operator, and the indices of its bins in the list.

        Parameters
        ----------
        values : array
            Parameters of the spatial model, in its internal units.
        derivatives : bool
            Whether derivatives with respect to the free shape parameters are needed.
        """

    @abstractmethod
    def compile(self, values: Array) -> None:
        """Read what is needed at some parameter values, with a margin for a moving source."""

    @abstractmethod
    def _reach(self, values: Array) -> float:
        """Angle in deg beyond which the source vanishes."""

    @property
    def nbytes(self) -> int:
        """Bytes of the kept pixels."""
        return 0 if self._patch is None else self._patch.nbytes

    def forget(self) -> None:
        """Release the pixels."""
        self._patch = None

    def _patch_at(self, values: Array) -> Patch | None:
        """Pixels that contain the convolved source; None if it is outside."""
        grid, frame = self._observation.grid, self._spatial.frame
        position, reach = self._spatial.position_at(values), self._reach(values)
        if self._field.is_beyond(position, frame, reach):
            return None
        held = self._patch is not None and self._field.holds(position, frame)
        if held and reach + _apart(position, self._around[0]) < self._around[1]:
            return self._patch
        needed = window_around(grid, position, frame, reach)
        if needed is None:
            return None
        if self._patch is None or not self._patch.window.contains(needed):
            self._read(position, reach, needed)
        return self._patch

    def _read(self, position: tuple[float, float], reach: float, needed: Window) -> None:
        """Read the pixels around a position, with a margin for a moving source."""
        grid, frame, window = self._observation.grid, self._spatial.frame, needed
        if self._free:
            reach += MARGIN * reach + MARGIN_PIXELS * grid.max_pixel_scale
            window = window_around(grid, position, frame, reach) or needed
        keep = self._keep if self._free else np.asarray
        exposure = self._exposure if self._exposed else None
        self._patch, self._places = make_patch(
            self._observation, self._bins, window, keep, exposure
        )
        self._around = position, reach
        if self._after:
            self._stored = keep(np.array(self._observation.read(window)[0]))

    def _by_shape(self, jet: Jet, free: int) -> ByShape:
        """Convert derivatives by longitude and latitude to derivatives by the first spatial parameters."""
        first: list[Array | None] = [None] * free
        second = {}
        places = [(s, int(self._moves[s, 1])) for s in range(free) if self._moves[s].any()]
        for s, i in places if jet.first else []:
            first[s] = jet.first[i]
            for u, j in places:
                if u <= s:
                    second[s, u] = jet.second[i][j]
        return ByShape(jet.value, first, second)


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Separation in deg of positions in deg, rounded up slightly."""
    lat = max(abs(a[1]), abs(b[1])) - abs(a[1] - b[1])
    return math.hypot((a[0] - b[0]) * math.cos(math.radians(lat)), a[1] - b[1]) + 1e-9


def _field_of(observation: Observation) -> Field:
    """Return the circles around the pixels of an observation, computed once."""
    kept: Field | None = observation.made.get("field")
    if kept is None:
        kept = observation.made["field"] = field_of(observation.grid)
    return kept
