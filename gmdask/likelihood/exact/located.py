"""A sky model at a position, with the pixels around it and the response there."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.exact.exposure import Exposure, exposure_of, padded
from gmdask.likelihood.exact.irfs import Jet
from gmdask.likelihood.exact.operator import ByShape, ExactOperator
from gmdask.likelihood.exact.patch import (
    Field,
    Patch,
    field_of,
    make_patch,
    nearest,
    source_axes,
    window_around,
)
from gmdask.likelihood.exact.radial import DEG
from gmdask.likelihood.exact.reco import SumOperator
from gmdask.likelihood.exact.transforms import size_names
from gmdask.likelihood.observation import Keep, Observation
from gmdask.models import SpatialModel

__all__ = ["LocatedSource", "Places"]

Array = NDArray[np.float64]
Places = NDArray[np.intp] | slice

MARGIN = 0.1  # margin around a moving source that is read as well, relative to its extent
MARGIN_PIXELS = 3


class _Circle(NamedTuple):
    """A circle around a position, in deg, and the radius of a smaller one that touches the grid."""

    position: tuple[float, float]
    radius: float
    touching: float


UNKNOWN = _Circle((0.0, 0.0), math.nan, math.nan)


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
        self._around = self._nearest = (
            UNKNOWN  # the patch contains the first, and no pixel is in the second
        )
        self._far = _Circle((0.0, 0.0), -math.inf, 0.0)  # contains no pixel of the grid
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
        """Pixels that contain the convolved source; None if it does not reach any that is not masked."""
        grid, frame = self._observation.grid, self._spatial.frame
        position, reach = self._spatial.position_at(values), self._reach(values)
        far, around = self._far, self._around
        if reach < far.radius - _apart(position, far.position):
            return None
        apart = _apart(position, around.position)
        if self._patch is None or not around.touching + apart < reach < around.radius - apart:
            gap = self._field.gap(position, frame)
            if gap > reach:
                self._far = _Circle(position, gap, 0.0)
                return None
            needed = window_around(grid, position, frame, reach)
            if needed is None:
                return None
            if self._patch is None or not self._patch.window.contains(needed):
                self._read(position, reach, needed)
        patch = self._patch
        return patch if patch is not None and self._reaches(patch, position, reach) else None

    def _reaches(self, patch: Patch, position: tuple[float, float], reach: float) -> bool:
        """Whether any pixel that is not masked is within reach."""
        apart, reach = _apart(position, self._nearest.position), reach + patch.diagonal / DEG
        # what is known of another position may not tell
        if not abs(self._nearest.radius - reach) > apart:
            toward = source_axes(position, self._spatial.frame, self._observation.grid)[2]
            near = nearest(patch, toward)
            self._nearest = _Circle(position, near, 0.0)
        return self._nearest.radius < reach

    def _read(self, position: tuple[float, float], reach: float, needed: Window) -> None:
        """Read the pixels around a position, with a margin for a moving source."""
        grid, frame, window, least = self._observation.grid, self._spatial.frame, needed, reach
        if self._free:
            reach += MARGIN * reach + MARGIN_PIXELS * grid.max_pixel_scale
            window = window_around(grid, position, frame, reach) or needed
        keep = self._keep if self._free else np.asarray
        exposure = self._exposure if self._exposed else None
        self._patch, self._places = make_patch(
            self._observation, self._bins, window, keep, exposure
        )
        least = 0.98 * (2 * least - reach)  # as far inside as the margin is outside
        touches = least > 0 and window_around(grid, position, frame, least) is not None
        self._around = _Circle(position, reach, least if touches else math.inf)
        self._nearest = UNKNOWN
        if self._after:
            self._stored = keep(np.array(self._observation.read(window)[0]))

    def _by_shape(self, jet: Jet, free: int) -> ByShape:
        """Convert derivatives by longitude and latitude to derivatives by the first spatial parameters."""
        first: list[Array | None] = [None] * free
        second = {}
        places = [(s, int(self._moves[s, 1])) for s in range(free) if self._moves[s].any()]
        for s, i in places if jet.first else []:
            first[s] = jet.first[i]
            for u, j in places if jet.second else []:
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
