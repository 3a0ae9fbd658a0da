"""Flux points of a source, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import xarray as xr
from astropy.table import Table

from gmdask.drawing import draw
from gmdask.estimators.flux_data import FluxData, from_columns
from gmdask.estimators.flux_files import meta_of, read_table, sed_type_of, write_table
from gmdask.models import SpectralModel
from gmdask.paths import expanded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FluxPoints"]


class FluxPoints(FluxData):
    """Flux points of one source.

    ``data`` has the dimension ``energy``, and for quantities per dataset also ``dataset``. In
    `per_dataset`, if it was requested, all quantities have the dimensions ``dataset`` and ``energy``.

    Attributes
    ----------
    per_dataset : `FluxPoints` or None
        The flux points of each dataset alone.
    """

    def __init__(
        self,
        data: xr.Dataset,
        reference_model: SpectralModel | None = None,
        per_dataset: FluxPoints | None = None,
    ) -> None:
        super().__init__(data, reference_model)
        self.per_dataset = per_dataset

    def to_table(self, sed_type: str = "likelihood") -> Table:
        """Return a table in the GADF format of flux points, as Gammapy writes it.

        Parameters
        ----------
        sed_type : {"likelihood", "dnde", "e2dnde", "flux", "eflux"}
            Flux quantity.

        Raises
        ------
        InputError
            If the SED type is unknown.
        """
        return self.table(sed_type)

    def write(
        self, path: str | Path, sed_type: str = "likelihood", overwrite: bool = False
    ) -> None:
        """Write a table that Gammapy reads: FITS (".fits", ".fits.gz") or ECSV (".ecsv").

        Parameters
        ----------
        path : str or path
        sed_type : str
            See `to_table`.
        overwrite : bool
            Whether to replace an existing file.

        Raises
        ------
        InputError
            If the path has another ending.
        StoreExistsError
            If the file exists.
        """
        write_table(self.to_table(sed_type), expanded(path), overwrite)

    @classmethod
    def read(
        cls,
        path: str | Path,
        sed_type: str | None = None,
        reference_model: SpectralModel | None = None,
    ) -> Self:
        """Read a table in the GADF format, written by `write` or by Gammapy.

        Parameters
        ----------
        path : str or path
        sed_type : str, optional
            SED type of the table, if the file does not contain it.
        reference_model : `SpectralModel`, optional
            By default that of the file, or else a power law of index 2.

        Raises
        ------
        InputNotFoundError
            If the file does not exist.
        InputError
            If it is not a table of fluxes.
        """
        table = read_table(expanded(path))
        kind = sed_type_of(table, sed_type, path)
        columns: dict[str, Any] = {name: table[name] for name in table.colnames}
        found, model = from_columns(columns, kind, ("energy",), reference_model)
        return cls(xr.Dataset(found, attrs=meta_of(table)), model)

    def plot_ts_profiles(
        self, ax: Axes | None = None, sed_type: str = "dnde", **kwargs: Any
    ) -> Axes:
        """Draw the statistic against energy and flux; see `gmdask.plot.plot_ts_profiles`.

        Parameters
        ----------
        ax : `matplotlib.axes.Axes`, optional
        sed_type : {"dnde", "e2dnde", "flux", "eflux"}
        **kwargs
            ``add_cbar``, and options of matplotlib's ``pcolormesh``.
        """
        axes: Axes = draw("plot_ts_profiles", self, ax, sed_type, **kwargs)
        return axes

    def plot(self, ax: Axes | None = None, sed_type: str = "e2dnde", **kwargs: Any) -> Axes:
        """Plot the points with their errors and upper limits.

        Parameters
        ----------
        ax : `matplotlib.axes.Axes`, optional
        sed_type : {"e2dnde", "dnde", "flux", "eflux"}
        **kwargs
            Options of `gmdask.plot.plot_flux_points` (energy_power, label) and of matplotlib's
            ``errorbar``, such as color.
        """
        axes: Axes = draw("plot_flux_points", self, ax, sed_type, **kwargs)
        return axes
