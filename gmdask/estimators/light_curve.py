"""Light curve of a source, and its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

from gmdask.drawing import draw
from gmdask.errors import InputError
from gmdask.estimators.flux_data import FluxData, from_columns
from gmdask.estimators.flux_files import meta_of, read_table, sed_type_of, write_table
from gmdask.models import SpectralModel
from gmdask.paths import expanded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LightCurve"]

TIMES = ("time_min", "time_max")
MJD_2000 = 51544


class LightCurve(FluxData):
    """Fluxes of one source over time.

    ``data`` has the dimensions ``time`` and ``energy``. The time intervals are ``time_min`` and
    ``time_max`` along ``time``: MJD in the scale of ``data.attrs["time_scale"]``.
    """

    @property
    def time_min(self) -> Time:
        """Start of each time interval."""
        return self._times("time_min")

    @property
    def time_max(self) -> Time:
        """End of each time interval."""
        return self._times("time_max")

    def _times(self, key: str) -> Time:
        scale = str(self.data.attrs.get("time_scale", "tt"))
        return Time(self.data[key].values, format="mjd", scale=scale)

    def to_table(self, sed_type: str = "flux") -> Table:
        """Return a table with one row per time, as Gammapy writes it.

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
        table.add_columns(
            [self.data[key].values for key in TIMES], indexes=[0, 0], names=list(TIMES)
        )
        scale = str(self.data.attrs.get("time_scale", "tt"))
        table.meta |= {"MJDREFI": 0, "MJDREFF": 0.0, "TIMESYS": scale, "TIMEUNIT": "d"}
        return table

    def write(self, path: str | Path, sed_type: str = "flux", overwrite: bool = False) -> None:
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
        write_table(self.to_table(sed_type), expanded(path), overwrite, [self._gti()])

    def _gti(self) -> fits.BinTableHDU:
        reference = Time(MJD_2000, format="mjd", scale=self.time_min.scale)
        columns = [
            fits.Column(name, "D", "s", array=(times - reference).to_value("s"))
            for name, times in (("START", self.time_min), ("STOP", self.time_max))
        ]
        hdu = fits.BinTableHDU.from_columns(columns, name="GTI")
        hdu.header.update({"MJDREFI": MJD_2000, "MJDREFF": 0.0, "TIMESYS": reference.scale})
        return hdu

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
            If it is not a light curve.
        """
        table = read_table(expanded(path))
        kind = sed_type_of(table, sed_type, path)
        missing = set(TIMES) - set(table.colnames)
        if missing:
            msg = f"{path}: is not a light curve: {', '.join(sorted(missing))} is missing"
            raise InputError(msg)
        columns: dict[str, Any] = {
            name: column if column.ndim > 1 else column[:, None]
            for name, column in ((name, table[name]) for name in table.colnames)
        }
        found, model = from_columns(columns, kind, ("time", "energy"), reference_model)
        start = float(table.meta.get("MJDREFI", 0)) + float(table.meta.get("MJDREFF", 0.0))
        for key in TIMES:
            found[key] = xr.Variable(("time",), start + np.asarray(table[key]), {"units": "d"})
        attrs = meta_of(table) | {"time_scale": str(table.meta.get("TIMESYS", "tt")).lower()}
        return cls(xr.Dataset(found, attrs=attrs), model)

    def plot(self, ax: Axes | None = None, sed_type: str = "flux", **kwargs: Any) -> Axes:
        """Plot the fluxes over time.

        Parameters
        ----------
        ax : `matplotlib.axes.Axes`, optional
        sed_type : {"flux", "eflux", "dnde", "e2dnde"}
        **kwargs
            Options of matplotlib's ``errorbar``, such as color.
        """
        axes: Axes = draw("plot_light_curve", self, ax, sed_type, **kwargs)
        return axes
