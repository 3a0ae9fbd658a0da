"""Gammapy's region maps (one spectrum per point of a parameter space), from FITS files."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.atomic_files import replacing
from gmdask.errors import ModelError
from gmdask.geometry import Axis
from gmdask.inputs import open_fits
from gmdask.models.io.sky_map import SkyMap

__all__ = ["RegionMap", "map_from_gammapy"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RegionMap:
    """Values on axes, without spatial extent.

    Attributes
    ----------
    axes : tuple of Axis
        Axes, slowest axis first.
    values : ndarray
        Values, of the shape of the axes.
    unit : str
        Unit of the values.
    header : dict
        Header of the axes table, with the reference time if there is one.
    """

    axes: tuple[Axis, ...]
    values: Array
    unit: str
    header: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> RegionMap:
        """Read a file that was written by Gammapy's ``RegionNDMap.write`` or by `write`.

        Raises
        ------
        InputNotFoundError
            If the file does not exist.
        ModelError
            If it is not such a file.
        """
        with open_fits(path, "template", ModelError) as hdus:
            return cls.from_hdus(hdus, str(path))

    @classmethod
    def from_hdus(cls, hdus: Any, where: str) -> RegionMap:
        """Return the map in a list of HDUs; ``where`` is used in messages.

        Raises
        ------
        ModelError
            If there is no axes table.
        """
        names = [hdu.name for hdu in hdus if f"{hdu.name}_BANDS" in hdus]
        if not names:
            msg = f"{where}: not a region map, it has no axes table"
            raise ModelError(msg)
        return cls._from_tables(hdus[names[0]], hdus[f"{names[0]}_BANDS"])

    @property
    def digest(self) -> str:
        """Digest of the values, unit, axes and header."""
        axes = [(a.name, a.nodes.tolist(), a.interp, a.node_type, a.unit) for a in self.axes]
        text = repr((sorted(map(repr, self.header.items())), axes, self.unit, self.values.shape))
        return sha256(text.encode() + self.values.tobytes()).hexdigest()

    @classmethod
    def _from_tables(cls, table: Any, bands: Any) -> RegionMap:
        from gmdask.geometry.fits_header import read_bands

        axes = read_bands(bands, "table of its axes")
        shape = [len(axis) for axis in reversed(axes)]
        values = np.asarray(table.data["DATA"]).astype(table.data["DATA"].dtype.newbyteorder("="))
        unit = str(table.columns["DATA"].unit or "")
        return cls(axes, values.reshape(shape).T, unit, dict(bands.header))

    def write(self, path: str | Path, overwrite: bool = False) -> None:
        """Write a file that Gammapy reads.

        Parameters
        ----------
        path : str or Path
            File.
        overwrite : bool
            Whether to replace an existing file.
        """
        from astropy.io import fits

        from gmdask.geometry.fits_header import bands_table

        shape = [len(axis) for axis in self.axes]
        bands = bands_table(self.axes, "SKYMAP_BANDS")
        rows = self.values.T.reshape(shape[-1], -1) if shape else self.values.reshape(1, 1)
        first = f"({','.join(map(str, (1, 1, *shape[:-1])))})"
        code = "E" if self.values.dtype == np.float32 else "D"
        data = fits.Column("DATA", f"{rows.shape[1]}{code}", self.unit, dim=first, array=rows)
        channel = fits.Column("CHANNEL", "I", array=np.arange(len(rows)))
        table = fits.BinTableHDU.from_columns([channel, data], name="SKYMAP")
        for key in bands.header:
            if key.startswith(("AXCOLS", "INTERP")):
                table.header[key] = bands.header[key]
        for key in ("MJDREFI", "MJDREFF", "TIMESYS", "TIMEUNIT"):
            if key in self.header:
                bands.header[key] = self.header[key]
        with replacing(path, overwrite=overwrite) as temporary:
            fits.HDUList([fits.PrimaryHDU(), table, bands]).writeto(temporary)


def map_from_gammapy(data: Any) -> SkyMap | RegionMap:
    """Convert a Gammapy map, by way of its FITS form in memory.

    Parameters
    ----------
    data : ``gammapy.maps.Map``
        On WCS pixels, or of a region.

    Raises
    ------
    ModelError
        If it has HEALPix pixels.
    """
    if data.geom.is_hpx:
        msg = "the map has HEALPix pixels, which are not supported: expected a WCS map"
        raise ModelError(msg)
    cls = RegionMap if data.geom.is_region else SkyMap
    return cls.from_hdus(data.to_hdulist(), "Gammapy map")
