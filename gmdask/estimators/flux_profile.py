"""Fluxes of regions along a line or around a centre, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.table import Table

from gmdask.drawing import draw
from gmdask.errors import InputError
from gmdask.estimators.flux_data import FluxData, from_columns
from gmdask.estimators.flux_files import meta_of, read_table, sed_type_of, write_table
from gmdask.models import SpectralModel
from gmdask.paths import expanded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FluxProfile"]

EDGES = ("x_min", "x_max", "x_ref")


class FluxProfile(FluxData):
    """Fluxes of regions.

    ``data`` has the dimensions ``projected_distance`` and ``energy``; ``x_ref`` is the distance from the first region
    in deg, ``x_min`` and ``x_max`` are halfway to the next regions.
    """

    def to_table(self, sed_type: str = "likelihood") -> Table:
        """Return a table with one row per region, as Gammapy writes it.

        Parameters
        ----------
        sed_type : {"likelihood", "dnde", "e2dnde", "flux", "eflux"}
            Flux quantity.

        Raises
        ------
        InputError
            If the SED type is unknown.
        """
        table = self.table(sed_type)
        columns = [u.Quantity(self.data[key].values, "deg") for key in EDGES]
        table.add_columns(columns, indexes=[0, 0, 0], names=list(EDGES))
        return table

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
        """Read a table, written by `write` or by Gammapy.

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
            If it is not a profile.
        """
        table = read_table(expanded(path))
        kind = sed_type_of(table, sed_type, path)
        missing = set(EDGES) - set(table.colnames)
        if missing:
            msg = f"{path}: is not a profile: {', '.join(sorted(missing))} is missing"
            raise InputError(msg)
        columns: dict[str, Any] = {
            name: table[name] if table[name].ndim > 1 else table[name][:, None]
            for name in table.colnames
        }
        found, model = from_columns(
            columns, kind, ("projected_distance", "energy"), reference_model
        )
        for key in EDGES:
            values = u.Quantity(table[key]).to_value("deg")
            found[key] = xr.Variable(("projected_distance",), np.asarray(values), {"units": "deg"})
        return cls(xr.Dataset(found, attrs=meta_of(table)), model)

    def plot(self, ax: Axes | None = None, sed_type: str = "flux", **kwargs: Any) -> Axes:
        """Plot the fluxes against the distance.

        Parameters
        ----------
        ax : `matplotlib.axes.Axes`, optional
        sed_type : {"flux", "eflux", "dnde", "e2dnde"}
        **kwargs
            Options of matplotlib's ``errorbar``, such as color.
        """
        axes: Axes = draw("plot_flux_profile", self, ax, sed_type, **kwargs)
        return axes
