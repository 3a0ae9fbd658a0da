"""Good time intervals of a file."""

from __future__ import annotations

import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.units import Unit

__all__ = ["add_times"]

REFERENCE = ("MJDREFI", "MJDREFF", "TIMESYS")


def add_times(cube: xr.Dataset, hdus: fits.HDUList) -> None:
    """Add good time intervals to a cube, if the file has them with their reference time.

    Parameters
    ----------
    cube : xarray.Dataset
    hdus : astropy.io.fits.HDUList
        The open file.
    """
    if "GTI" not in hdus or any(key not in hdus["GTI"].header for key in REFERENCE):
        return
    hdu = hdus["GTI"]
    if hdu.data is not None and {"START", "STOP"} <= set(hdu.columns.names):
        for column in ("START", "STOP"):
            values = np.asarray(hdu.data[column], dtype=np.float64)
            values = values * Unit(hdu.columns[column].unit or "s").to("s")
            cube[f"gti_{column.lower()}"] = xr.Variable(("gti",), values, {"unit": "s"})
        cube.attrs["gti"] = {key.lower(): hdu.header[key] for key in REFERENCE}
