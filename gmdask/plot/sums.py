"""Counts and model summed over datasets, for figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from gmdask.datasets import Dataset, MapDataset, counted
from gmdask.errors import InputError, check_kind
from gmdask.geometry import WcsGrid, enclosing_grid, rotate
from gmdask.store.axes import cube_axis

__all__ = ["MAX_DATASETS", "SMOOTH", "Sums", "datasets_of", "significance", "sum_up"]

Array = NDArray[np.float64]

MAX_DATASETS = 24
MAX_PIXELS = 4000  # largest number of pixels per side
SMOOTH = 3  # pixels


class Sums(NamedTuple):
    """Counts and model summed over datasets: images on one grid, and spectra.

    Attributes
    ----------
    grid : `WcsGrid`
        Pixels of the images.
    counts, npred : array of shape (lat, lon)
        Summed over energy, within the masks.
    mask : boolean array of shape (lat, lon)
        Pixels inside the mask of any dataset at any energy.
    energy : array of shape (energy + 1,)
        Edges of the energies, in `unit`.
    unit : str
    spectrum_counts, spectrum_npred : array of shape (energy,)
        Summed over pixels, within the masks.
    names : tuple of str
        Datasets that were summed.
    n_all : int
        Number of all datasets.
    n_spectra : int
        Number of datasets with the energies of the first, which are in the spectra.
    """

    grid: WcsGrid
    counts: Array
    npred: Array
    mask: NDArray[np.bool_]
    energy: Array
    unit: str
    spectrum_counts: Array
    spectrum_npred: Array
    names: tuple[str, ...]
    n_all: int
    n_spectra: int

    @property
    def title(self) -> str:
        """Description of the datasets, for a title."""
        if self.n_all == 1:
            return self.names[0]
        n = len(self.names)
        return f"{n} datasets" if n == self.n_all else f"{n} of {self.n_all} datasets"


def sum_up(datasets: Dataset | Iterable[Dataset]) -> Sums:
    """Sum counts and model over datasets that have counts, the first 24 at most, within their masks.

    The content of a pixel is added to the pixel of a common grid that contains its centre.

    Parameters
    ----------
    datasets : `MapDataset` or `Datasets`
        Datasets with models.

    Raises
    ------
    InputError
        If there are no datasets.
    """
    everything = counted(datasets_of(datasets))
    if not everything:
        msg = "there are no datasets of counts to draw"
        raise InputError(msg)
    chosen = everything[:MAX_DATASETS]
    grids = [WcsGrid(d.cube.attrs["wcs"], d.counts.shape[-2:]) for d in chosen]
    common = enclosing_grid(grids, MAX_PIXELS)
    energy = cube_axis(chosen[0].cube, "energy").edges
    images, spectra, n_spectra = np.zeros((3, *common.shape)), np.zeros((2, len(energy) - 1)), 0
    for dataset in chosen:
        mask = _mask(dataset)
        counts = np.asarray(dataset.counts.values, dtype=float)
        cubes = np.stack([counts * mask, dataset.npred().values * mask, mask])
        grid = WcsGrid(dataset.cube.attrs["wcs"], dataset.counts.shape[-2:])
        x, y = common.to_pixel(*rotate(*grid.pixel_centers, grid.frame, common.frame))
        column, row = np.rint(x).astype(int), np.rint(y).astype(int)
        inside = (row >= 0) & (row < common.shape[0]) & (column >= 0) & (column < common.shape[1])
        for image, cube in zip(images, cubes.sum(axis=1), strict=True):
            np.add.at(image, (row[inside], column[inside]), cube[inside])
        if np.array_equal(cube_axis(dataset.cube, "energy").edges, energy):
            spectra += cubes[:2].sum(axis=(2, 3))
            n_spectra += 1
    return Sums(
        common, images[0], images[1], images[2] > 0, energy, str(chosen[0].cube["energy"].attrs["unit"]),
        spectra[0], spectra[1], tuple(d.name for d in chosen), len(everything), n_spectra,
    )  # fmt: skip


def datasets_of(given: Dataset | Iterable[Dataset]) -> list[Dataset]:
    """List of one dataset or several.

    Raises
    ------
    InputError
        If something else is given.
    """
    several: Any = (
        [given] if isinstance(given, str | Dataset) or not isinstance(given, Iterable) else given
    )
    found = list(several)
    for dataset in found:
        check_kind(dataset, Dataset, "a dataset, or several, to draw")
    return found


def significance(sums: Sums) -> Array:
    """Return residuals in standard deviations, in squares of 3 × 3 pixels; NaN without predicted counts.

    Parameters
    ----------
    sums : `Sums`

    Returns
    -------
    significance : array of shape (lat, lon)
        ``(counts - model) / sqrt(model)``.
    """
    side = min(SMOOTH, *sums.counts.shape)
    n, mu = (uniform_filter(a, side, mode="constant") * side**2 for a in (sums.counts, sums.npred))
    enough = (mu > 1e-3) & sums.mask
    return np.where(enough, (n - mu) / np.sqrt(np.where(enough, mu, 1.0)), np.nan)


def _mask(dataset: MapDataset) -> Array:
    mask = dataset.mask
    return np.ones(dataset.counts.shape) if mask is None else np.asarray(mask.values, dtype=float)
