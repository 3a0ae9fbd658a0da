"""Non-spatial axes of a cube or a table: energy, offset from the source, migration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import InputError

__all__ = ["INTERPOLATIONS", "Axis"]

Array = NDArray[np.float64]

INTERPOLATIONS = ("log", "lin", "sqrt")
_TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True, eq=False)
class Axis:
    """One non-spatial axis.

    Parameters
    ----------
    name : str
        Name such as "energy", "energy_true", "rad" or "migra".
    nodes : array
        The n + 1 edges of the bins, or the n centres if `node_type` is "center".
    interp : {"log", "lin", "sqrt"}
        Scale in which the axis is linear in pixels.
    node_type : {"edges", "center"}
        Whether the nodes are bin edges or centres.
    unit : str
        Unit of the nodes.

    Raises
    ------
    InputError
        If the nodes do not increase, or the scale is unknown.

    Notes
    -----
    Centres and pixel coordinates follow the rule of Gammapy's ``MapAxis``:
    linear in `interp` scale between nodes, extrapolated beyond the ends.
    """

    name: str
    nodes: Array
    interp: str = "log"
    node_type: str = "edges"
    unit: str = ""

    def __post_init__(self) -> None:
        nodes = np.asarray(self.nodes, dtype=float)
        object.__setattr__(self, "nodes", nodes)
        if self.interp not in INTERPOLATIONS:
            msg = (
                f"axis {self.name}: interpolation {self.interp!r}, expected one of {INTERPOLATIONS}"
            )
            raise InputError(msg)
        if nodes.ndim != 1 or not (np.diff(nodes) > 0).all():
            msg = f"axis {self.name}: its coordinates do not increase"
            raise InputError(msg)

    def __len__(self) -> int:
        return self.nbin

    @property
    def nbin(self) -> int:
        """Number of bins."""
        return len(self.nodes) - (self.node_type == "edges")

    @property
    def edges(self) -> Array:
        """Edges of the bins (n + 1); halfway between the nodes for "center"."""
        if self.node_type == "edges":
            return self.nodes
        return self.from_pix(np.arange(self.nbin + 1.0) - 0.5)

    @property
    def center(self) -> Array:
        """Centres of the bins (n), in the scale of `interp`."""
        return (
            self.nodes if self.node_type == "center" else self.from_pix(np.arange(float(self.nbin)))
        )

    def _scale(self, values: ArrayLike) -> Array:
        values = np.asarray(values, dtype=float)
        if self.interp == "log":
            return np.asarray(np.log(np.maximum(values, _TINY)))
        return (
            np.asarray(np.sign(values) * np.sqrt(np.abs(values)))
            if self.interp == "sqrt"
            else values
        )

    @cached_property
    def _scaled(self) -> Array:
        return self._scale(self.nodes)

    @cached_property
    def _node_pix(self) -> Array:
        first = -0.5 if self.node_type == "edges" else 0.0
        return np.arange(len(self.nodes), dtype=np.float64) + first

    def to_pix(self, values: ArrayLike) -> Array:
        """Pixel coordinate of `values`: 0 at the first centre, linear in `interp` scale."""
        if len(self.nodes) == 1:
            return np.zeros_like(np.asarray(values, dtype=float))
        return _interpolate(self._scale(values), self._scaled, self._node_pix)

    def from_pix(self, pix: ArrayLike) -> Array:
        """Value at pixel coordinate `pix`."""
        if len(self.nodes) == 1:
            return np.full_like(np.asarray(pix, dtype=float), self.nodes[0])
        scaled = _interpolate(np.asarray(pix, dtype=float), self._node_pix, self._scaled)
        if self.interp == "log":
            return np.asarray(np.exp(scaled))
        return np.asarray(np.sign(scaled) * scaled**2) if self.interp == "sqrt" else scaled

    def cell(self, values: ArrayLike) -> tuple[NDArray[np.intp], Array, Array]:
        """Locate coordinates between pixels.

        Parameters
        ----------
        values : array
            Coordinates, in the unit of the axis.

        Returns
        -------
        low, share, slope : array
            Lower pixel, weight of the upper one, and its derivative with respect to the coordinate.
        """
        x = np.asarray(values, dtype=float)
        k = np.clip(
            np.searchsorted(self._scaled, self._scale(x), "right") - 1, 0, len(self.nodes) - 2
        )
        slope = 1 / (self._scaled[k + 1] - self._scaled[k])
        pixel = self.to_pix(x)
        low = np.clip(np.floor(pixel).astype(np.intp), 0, self.nbin - 2)
        if self.interp == "log":
            slope = slope / np.maximum(x, _TINY)
        elif self.interp == "sqrt":
            slope = slope * 0.5 / np.maximum(np.sqrt(np.abs(x)), _TINY)
        return low, np.asarray(pixel - low), np.asarray(slope)


def _interpolate(x: Array, xp: Array, fp: Array) -> Array:
    """Piecewise linear interpolation, extrapolated by the end segments."""
    index = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, len(xp) - 2)
    slope = (fp[index + 1] - fp[index]) / (xp[index + 1] - xp[index])
    result: Array = fp[index] + slope * (x - xp[index])
    return result
