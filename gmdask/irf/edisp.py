"""Energy dispersion at a position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled
from gmdask.geometry import Axis, WcsGrid, nearest_pixel
from gmdask.irf.position import filled_nodes, nearest_valid_pixel
from gmdask.irf.tiles import TiledMap

__all__ = ["EDispMap", "overlap_matrix"]

Array = NDArray[np.float64]

THRESHOLD = 1e-8
N_CELLS = 16  # number of pixel sets around source positions whose matrices are kept


class EDispMap:
    """Energy dispersion over the field of view.

    Parameters
    ----------
    values : `TiledMap`
        With axes (energy_true, migra, lat, lon), a probability density in
        migration, or (energy_true, energy, lat, lon), probabilities.
    grid : `WcsGrid`
        Pixels of the map.
    energy_true, energy : array
        Centres of the true and edges of the reconstructed energy bins, in one unit.
    migra : `Axis` or None
        None if the map contains kernels.

    Notes
    -----
    The nearest pixel is used, without interpolation, as in Gammapy 2.1; for
    kernels the nearest valid one.
    """

    def __init__(
        self, values: TiledMap, grid: WcsGrid, energy_true: Array, energy: Array, migra: Axis | None
    ) -> None:
        self._values, self.grid = values, grid
        self._energy_true, self._energy, self._migra = energy_true, energy, migra
        self._matrices: dict[tuple[tuple[int, ...], ...], Array] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the tiles kept in memory."""
        return self._values.nbytes + sum(matrix.nbytes for matrix in self._matrices.values())

    def pixel(self, lon: float, lat: float) -> tuple[int, int]:
        """Return the pixel (row, column) that is used for a position in deg in the frame of the map."""
        if self._migra is None:
            x, y = nearest_valid_pixel(self._values, self.grid, lon, lat)
        else:
            x, y = (float(v) for v in self.grid.to_pixel(lon, lat))
        return nearest_pixel(y, self.grid.shape[0]), nearest_pixel(x, self.grid.shape[1])

    def matrix(self, row: int, column: int) -> Array:
        """Probabilities (energy_true, energy) of a pixel."""
        values = self._values.window(row, row + 1, column, column + 1)
        return np.ascontiguousarray(self._of_pixels(values)[..., 0, 0])

    def nodes(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
        """Probabilities (energy_true, energy, row, column) of some pixels; see `filled_nodes`."""
        if self._migra is None:
            return filled_nodes(self._values, self.grid, rows, columns)
        key = tuple(rows.tolist()), tuple(columns.tolist())
        if key not in self._matrices:  # sources request the same few again and again
            if len(self._matrices) >= N_CELLS:
                self._matrices.clear()
            values = filled_nodes(self._values, self.grid, rows, columns)
            self._matrices[key] = self._of_pixels(values)
        return self._matrices[key]

    def _of_pixels(self, values: Array) -> Array:
        """Convert values of pixels to probabilities (energy_true, energy, row, column)."""
        if self._migra is None:
            return values
        flat = np.ascontiguousarray(values.reshape(*values.shape[:2], -1))
        at = self._energy / self._energy_true[:, None]
        found: Array = _probabilities(flat, self._migra.edges, at)
        return found.reshape(*found.shape[:2], *values.shape[2:])


@compiled
def _probabilities(values: Array, edges: Array, at: Array) -> Array:
    """Probabilities (T, R, pixel) between migrations `at` (T, R + 1), from densities (T, M, pixel) between edges.

    They are differences of the cumulative probability, interpolated linearly between the edges.
    """
    n_t, n_m, n = values.shape
    out, total = np.zeros((n_t, at.shape[1] - 1, n)), np.zeros((n_m + 1, n))
    below, here = np.zeros(n), np.zeros(n)
    for t in range(n_t):
        for m in range(n_m):
            width = edges[m + 1] - edges[m]
            for p in range(n):
                total[m + 1, p] = total[m, p] + values[t, m, p] * width
        cell = 0
        for r in range(at.shape[1]):
            x = at[t, r]
            while cell < n_m - 1 and x >= edges[cell + 1]:
                cell += 1
            x = min(max(x, edges[0]), edges[n_m])
            for p in range(n):
                slope = (total[cell + 1, p] - total[cell, p]) / (edges[cell + 1] - edges[cell])
                here[p] = slope * (x - edges[cell]) + total[cell, p]
                if x == edges[n_m]:
                    here[p] = total[n_m, p]
            for p in range(n):
                share = here[p] - below[p]
                if r > 0 and share >= THRESHOLD:
                    out[t, r - 1, p] = share
                below[p] = here[p]
    return out


def overlap_matrix(energy_true: Array, energy: Array) -> Array:
    """Energy dispersion of a perfect instrument.

    Parameters
    ----------
    energy_true, energy : array
        Edges of the true (n + 1) and reconstructed (m + 1) energy bins, in one unit.

    Returns
    -------
    matrix : array of shape (n, m)
        Fraction of each true bin that lies within each reconstructed bin,
        in linear energy (Gammapy's ``get_overlap_fraction``).
    """
    low, high = energy_true[:-1, None], energy_true[1:, None]
    overlap = np.minimum(energy[1:], high) - np.maximum(energy[:-1], low)
    result: Array = np.clip(overlap, 0.0, None) / (high - low)
    return result
