"""Non-spatial axes of a cube: energy, offset from the source, migration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Axis:
    """One non-spatial axis.

    Parameters
    ----------
    name : str
        Such as "energy", "energy_true", "rad" or "migra".
    nodes : array
        The n + 1 edges of the bins, or the n centres if `node_type` is "center".
    interp : {"log", "lin"}
        In which scale the axis is linear in pixels.
    node_type : {"edges", "center"}
        What the nodes are.

    Notes
    -----
    Centres and pixel coordinates follow the rule of Gammapy's ``MapAxis``:
    linear in `interp` scale between nodes, extrapolated beyond the ends.
    """

    name: str
    nodes: Array
    interp: str = "log"
    node_type: str = "edges"

    @property
    def nbin(self) -> int:
        """Number of bins."""
        return len(self.nodes) - (self.node_type == "edges")

    @property
    def edges(self) -> Array:
        """Edges of the bins (n + 1); half-way between the nodes for "center"."""
        return (
            self.nodes
            if self.node_type == "edges"
            else self.from_pix(np.arange(self.nbin + 1.0) - 0.5)
        )

    @property
    def center(self) -> Array:
        """Centres of the bins (n), in the scale of `interp`."""
        return (
            self.nodes if self.node_type == "center" else self.from_pix(np.arange(float(self.nbin)))
        )

    def _scale(self, values: Array) -> Array:
        return np.log(values) if self.interp == "log" else values

    @property
    def _node_pix(self) -> Array:
        first = -0.5 if self.node_type == "edges" else 0.0
        return np.arange(len(self.nodes), dtype=np.float64) + first

    def to_pix(self, values: Array) -> Array:
        """Pixel coordinate of `values`: 0 at the first centre, linear in `interp` scale."""
        if len(self.nodes) == 1:
            return np.zeros_like(np.asarray(values, dtype=float))
        return _interpolate(
            self._scale(np.asarray(values, dtype=float)), self._scale(self.nodes), self._node_pix
        )

    def from_pix(self, pix: Array) -> Array:
        """Value at pixel coordinate `pix`."""
        if len(self.nodes) == 1:
            return np.full_like(np.asarray(pix, dtype=float), self.nodes[0])
        scaled = _interpolate(np.asarray(pix, dtype=float), self._node_pix, self._scale(self.nodes))
        return np.exp(scaled) if self.interp == "log" else scaled


def _interpolate(x: Array, xp: Array, fp: Array) -> Array:
    """Piecewise linear interpolation that continues the end segments."""
    index = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, len(xp) - 2)
    slope = (fp[index + 1] - fp[index]) / (xp[index + 1] - xp[index])
    result: Array = fp[index] + slope * (x - xp[index])
    return result
