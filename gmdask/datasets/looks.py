"""Display of a dataset: as text, as HTML, and in figures."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import xarray as xr

from gmdask.datasets.operations.smoothing import smoothed
from gmdask.datasets.prediction import Predictions
from gmdask.datasets.summary import html_table
from gmdask.drawing import draw
from gmdask.geometry import WcsGrid
from gmdask.store.cube_source import StoredCube

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Looks"]


class Looks(Predictions):
    """Text, HTML and figures of a dataset."""

    @cached_property
    def _shape_text(self) -> str:
        energy, lat, lon = self.counts.shape
        return f"{energy} energies × {lat} × {lon} pixels, {self.exposure.shape[0]} true energies"

    @property
    def _kept(self) -> str:
        if isinstance(self._stored, StoredCube):
            return f"kept in {self._stored.url}"
        return "kept in memory" if self._stored is None else "computed when it is used"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}: {self._shape_text}, {len(self._models)} models>"

    def __str__(self) -> str:
        arrays = ", ".join(str(key) for key in self._cube.data_vars)
        models = ", ".join(self._models.names) or "none"
        return (
            f"{type(self).__name__} {self._name!r}\n  axes    {self._shape_text}\n  arrays  {arrays}\n"
            f"  {self._kept}\n  models  {models}"
        )

    def _repr_html_(self) -> str:
        models = ", ".join(self._models.names) or "none"
        disk = self._bytes_on_disk
        lines = [("kept", self._kept), ("models", models)]
        if disk is not None:
            lines.insert(1, ("on disk", f"{disk / 1e6:.3g} MB"))
        return html_table(f"{type(self).__name__} {self._name!r}", self._cube, lines)

    @property
    def _bytes_on_disk(self) -> float | None:
        """Bytes on disk of a stored dataset: those of its block, shared evenly by its datasets."""
        if not isinstance(self._stored, StoredCube):
            return None
        return self._stored.nbytes_stored()

    # --- figures -----------------------------------------------------------------------

    def smooth(self, width: Any, kernel: str = "gauss") -> xr.DataArray:
        """Smooth the counts of each energy over the pixels, as Gammapy's ``Map.smooth`` does.

        Parameters
        ----------
        width : Quantity, str or float
            Standard deviation of the Gaussian, radius of the disk, or side length of the box; a number is in
            pixels.
        kernel : {"gauss", "disk", "box"}

        Returns
        -------
        counts : `xarray.DataArray` of shape (energy, lat, lon)

        Raises
        ------
        InputError
            If width or kernel are invalid.
        """
        rows, columns = self.counts.shape[-2:]
        grid = WcsGrid(self._cube.attrs["wcs"], (rows, columns))
        values = smoothed(self.counts.values, grid, width, kernel)
        return self._labelled("counts", xr.Variable(self.counts.dims, values))

    def peek(self, figsize: tuple[float, float] | None = None) -> Figure:
        """Draw an overview of the dataset; see `gmdask.plot.peek`.

        Parameters
        ----------
        figsize : tuple of float, optional
            Width and height in inches.
        """
        figure: Figure = draw("peek", self, figsize)
        return figure

    def plot_counts(self, ax: Axes | None = None) -> Axes:
        """Draw the counts; see `gmdask.plot.plot_counts`."""
        axes: Axes = draw("plot_counts", self, ax)
        return axes

    def plot_excess(self, ax: Axes | None = None) -> Axes:
        """Draw counts above the background against energy; see `gmdask.plot.plot_excess`."""
        axes: Axes = draw("plot_excess", self, ax)
        return axes

    def plot_masks(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the masks; see `gmdask.plot.plot_masks`."""
        axes: Axes = draw("plot_masks", self, ax, **kwargs)
        return axes

    def plot_fit(self, ax_spectrum: Axes | None = None, ax_residuals: Axes | None = None) -> Axes:
        """Draw counts and model against energy, with residuals; see `gmdask.plot.plot_counts_spectrum`."""
        axes: Axes = draw("plot_counts_spectrum", self, ax_spectrum, ax_residuals)
        return axes

    def plot_residuals(self) -> Figure:
        """Draw counts, model and residuals in one figure; see `gmdask.plot.plot_residuals`."""
        figure: Figure = draw("plot_residuals", self)
        return figure

    def plot_residuals_spatial(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw a map of the residuals; see `gmdask.plot.plot_residuals_spatial`.

        Parameters
        ----------
        ax : `matplotlib.axes.Axes`, optional
        **kwargs
            method, smooth_kernel, smooth_radius, add_cbar, and options of matplotlib's ``imshow``.
        """
        axes: Axes = draw("plot_residuals_spatial", self, ax, **kwargs)
        return axes

    def plot_residuals_spectral(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the residuals against energy; see `gmdask.plot.plot_residuals_spectral`.

        Parameters
        ----------
        ax : `matplotlib.axes.Axes`, optional
        **kwargs
            method, region, kwargs_fit, kwargs_safe, and options of matplotlib's ``errorbar``.
        """
        axes: Axes = draw("plot_residuals_spectral", self, ax, **kwargs)
        return axes
