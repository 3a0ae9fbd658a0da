"""Energy dispersion at a position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Axis, WcsGrid, nearest_pixel
from gmdask.irf.position import filled_nodes, nearest_valid_pixel
from gmdask.irf.tiles import TiledMap

__all__ = ["EDispMap", "overlap_matrix"]

Array = NDArray[np.float64]

THRESHOLD = 1e-8
N_CELLS = 16  # sets of pixels between which a source lies whose matrices are kept


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
        None where the map holds kernels.

    Notes
    -----
    The nearest pixel is taken, without interpolation, as in Gammapy 2.1; for
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
        """Pixel (row, column) that serves a position in deg in the frame of the map."""
        if self._migra is None:
            x, y = nearest_valid_pixel(self._values, self.grid, lon, lat)
        else:
            x, y = (float(v) for v in self.grid.to_pixel(lon, lat))
        return nearest_pixel(y, self.grid.shape[0]), nearest_pixel(x, self.grid.shape[1])

    def matrix(self, row: int, column: int) -> Array:
        """Probabilities (energy_true, energy) of a pixel."""
        return self._matrix(self._values.window(row, row + 1, column, column + 1)[..., 0, 0])

    def nodes(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
        """Probabilities (energy_true, energy, row, column) of some pixels; see `filled_nodes`."""
        if self._migra is None:
            return filled_nodes(self._values, self.grid, rows, columns)
        key = tuple(rows.tolist()), tuple(columns.tolist())
        if key not in self._matrices:  # sources look at the same few again and again
            if len(self._matrices) >= N_CELLS:
                self._matrices.clear()
            values = filled_nodes(self._values, self.grid, rows, columns)
            flat = values.reshape(*values.shape[:-2], -1)
            found = np.stack([self._matrix(flat[..., k]) for k in range(flat.shape[-1])], axis=-1)
            self._matrices[key] = found.reshape(*found.shape[:-1], len(rows), len(columns))
        return self._matrices[key]

    def _matrix(self, values: Array) -> Array:
        """Probabilities (energy_true, energy) from the values of a pixel."""
        if self._migra is None:
            return values
        total = np.cumsum(values * np.diff(self._migra.edges), axis=1)
        total = np.concatenate([np.zeros((len(total), 1)), total], axis=1)
        at = self._energy / self._energy_true[:, None]
        cumulative = np.stack(
            [np.interp(x, self._migra.edges, y) for x, y in zip(at, total, strict=True)]
        )
        matrix = np.clip(np.diff(cumulative, axis=1), 0.0, None)
        matrix[matrix < THRESHOLD] = 0.0
        return matrix


def overlap_matrix(energy_true: Array, energy: Array) -> Array:
    """Energy dispersion of a perfect instrument.

    Parameters
    ----------
    energy_true, energy : array
        Edges of the true (n + 1) and reconstructed (m + 1) energy bins, in one unit.

    Returns
    -------
    matrix : array of shape (n, m)
        The share of each true bin that lies within each reconstructed bin,
        in linear energy (Gammapy's ``get_overlap_fraction``).
    """
    low, high = energy_true[:-1, None], energy_true[1:, None]
    overlap = np.minimum(energy[1:], high) - np.maximum(energy[:-1], low)
    result: Array = np.clip(overlap, 0.0, None) / (high - low)
    return result
