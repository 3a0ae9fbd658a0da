"""Maps for models: values on sky pixels and further axes, and their FITS files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from astropy.units import Unit
from numpy.typing import NDArray

from gmdask.atomic_files import replacing
from gmdask.attributes import KnownAttributes
from gmdask.errors import InputError, InputNotFoundError, ModelError
from gmdask.geometry import Axis, WcsGrid
from gmdask.inputs import open_fits
from gmdask.paths import expanded

__all__ = ["SkyMap", "read_sky_map"]

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

FERMI = ("EBOUNDS", "ENERGIES")  # names of energy tables in files of the Fermi-LAT tools


class SkyMap(KnownAttributes):
    """Values on a sky grid, with any number of further axes.

    Parameters
    ----------
    data : array
        Values, in the order (axes reversed, lat, lon) of FITS images.
    wcs : mapping
        FITS WCS cards of the two celestial axes.
    axes : sequence of Axis
        Further axes, the fastest one first.
    unit : str
        Unit of the values.

    Raises
    ------
    ModelError
        If the shape does not match the axes.

    Attributes
    ----------
    kept : dict
        Quantities that models derive from the map, computed once for all models that share it.
    """

    def __init__(
        self,
        data: Any,
        wcs: Mapping[str, Any],
        axes: Sequence[Axis] = (),
        unit: str = "",
    ) -> None:
        self.kept: dict[Any, Any] = {}
        values = np.asarray(data)
        if values.dtype.kind != "f":
            values = values.astype(np.float64)
        self.data = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
        self.axes, self.unit = tuple(axes), str(unit)
        expected = tuple(axis.nbin for axis in reversed(self.axes))
        if self.data.ndim < 2 or self.data.shape[:-2] != expected:
            msg = f"map of shape {self.data.shape}, expected {expected} + (lat, lon) from its axes"
            raise ModelError(msg)
        self.grid = WcsGrid(wcs, (self.data.shape[-2], self.data.shape[-1]))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": {}}

    # --- axes ---------------------------------------------------------------------

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Names of the further axes."""
        return tuple(axis.name for axis in self.axes)

    @property
    def digest(self) -> str:
        """Digest of the values, unit, axes and pixels."""
        axes = [(a.name, a.nodes.tolist(), a.interp, a.node_type, a.unit) for a in self.axes]
        text = repr((self.grid.header, axes, self.unit, self.data.shape, str(self.data.dtype)))
        return sha256(text.encode() + self.data.tobytes()).hexdigest()

    def __repr__(self) -> str:
        sizes = " × ".join(map(str, self.data.shape))
        axes = f", axes {', '.join(self.axis_names)}" if self.axes else ""
        return (
            f"<SkyMap: {sizes} values{f' in {self.unit}' if self.unit else ''}{axes}, {self.frame}>"
        )

    # --- the sky --------------------------------------------------------------------

    @cached_property
    def frame(self) -> str:
        """Frame of the grid: "icrs", "galactic" or "fk5"."""
        from astropy.wcs.utils import wcs_to_celestial_frame

        return str(wcs_to_celestial_frame(self.grid.wcs).name)

    @property
    def center(self) -> tuple[float, float]:
        """Centre (lon, lat) of the map in deg, in its frame."""
        return self.grid.center

    @property
    def width(self) -> tuple[float, float]:
        """Width (lon, lat) of the map in deg, from the pixel size in its WCS cards."""
        steps = np.abs(self.grid.wcs.wcs.cdelt)
        return float(steps[0] * self.grid.shape[1]), float(steps[1] * self.grid.shape[0])

    # --- files ----------------------------------------------------------------------

    @classmethod
    def from_hdus(cls, hdus: Any, where: str) -> SkyMap:
        """Return the map of the first image among HDUs, with the axes of its table.

        Parameters
        ----------
        hdus : `~astropy.io.fits.HDUList`
            HDUs of Gammapy, or of a Fermi template.
        where : str
            Text with which messages begin.

        Raises
        ------
        ModelError
            If there is no image on a sky grid.
        """
        from astropy.io import fits

        from gmdask.geometry.fits_header import wcs_cards

        hdu = next((hdu for hdu in hdus if hdu.data is not None), None)
        if not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
            msg = f"{where}: its first data are not an image on a WCS grid"
            raise ModelError(msg)
        axes: tuple[Axis, ...] = ()
        bands = hdu.header.get("BANDSHDU")
        if bands is None and hdu.data.ndim > 2:
            bands = next((name for name in FERMI if name in hdus), None)
            if bands is None:
                msg = f"{where}: image with {hdu.data.ndim} axes, but no axes table"
                raise ModelError(msg)
        if bands in FERMI:  # recognised by the name of the table, as in Gammapy
            axes = (_fermi_axis(hdus[bands], where),)
        elif bands is not None:
            axes = _checked_axes(hdus[bands], where)
        unit = str(hdu.header.get("BUNIT", "")).strip()
        if bands == "ENERGIES" and Unit(unit).is_equivalent(""):
            unit = "cm-2 s-1 MeV-1 sr-1"  # a Fermi template does not contain its unit
        return cls(hdu.data, wcs_cards(hdu.header), axes, unit)

    def write(self, path: str | Path, overwrite: bool = False) -> None:
        """Write a FITS file in Gammapy's format; an existing file is kept unless `overwrite` is set.

        Parameters
        ----------
        path : str or Path
            File.
        overwrite : bool
            Whether to replace an existing file.
        """
        from astropy.io import fits

        from gmdask.geometry.fits_header import bands_table

        path = expanded(path)
        if path.exists() and not overwrite:
            return
        header = fits.Header([*self.grid.header.items()])
        header["BUNIT"], header["META"] = self.unit, "{}"
        sizes = (self.grid.shape[1], self.grid.shape[0], *(axis.nbin for axis in self.axes))
        header["WCSSHAPE"] = f"({','.join(map(str, sizes))})"
        hdus: list[Any] = [fits.PrimaryHDU(self.data)]
        if self.axes:
            bands = bands_table(self.axes, "PRIMARY_BANDS")
            header["BANDSHDU"] = bands.name
            for key in bands.header:
                if key.startswith(("AXCOLS", "INTERP")):
                    header[key] = bands.header[key]
            hdus.append(bands)
        hdus[0].header.update(header)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, overwrite=overwrite) as temporary:
            fits.HDUList(hdus).writeto(temporary)


def _checked_axes(hdu: Any, where: str) -> tuple[Axis, ...]:
    from gmdask.geometry.fits_header import read_bands

    try:
        return read_bands(hdu, where)
    except InputError as error:
        raise ModelError(str(error)) from error


def _fermi_axis(hdu: Any, where: str) -> Axis:
    """Return the energies of a Fermi template (HDU ENERGIES), or the edges of a counts cube (EBOUNDS)."""
    names = {name.upper(): name for name in hdu.columns.names}
    if "ENERGY" in names:
        column = hdu.columns[names["ENERGY"]]
        nodes = np.asarray(hdu.data[names["ENERGY"]], dtype=float)
        return Axis("energy_true", nodes, "log", "center", str(column.unit or "MeV"))
    if "E_MIN" in names and "E_MAX" in names:
        low, high = (np.asarray(hdu.data[names[key]], dtype=float) for key in ("E_MIN", "E_MAX"))
        unit = str(hdu.columns[names["E_MIN"]].unit or "keV")
        return Axis("energy", np.append(low, high[-1]), "log", "edges", unit)
    msg = f"{where}: no column with energies"
    raise ModelError(msg)


# --- reading --------------------------------------------------------------------------------


def read_sky_map(path: str | Path) -> SkyMap:
    """Read a map from a FITS file; it is cached as long as the file does not change.

    The first image of the file is read, with the axes of its table: Gammapy's, or that of a
    Fermi template.

    Parameters
    ----------
    path : str or Path
        File.

    Raises
    ------
    InputNotFoundError
        If it does not exist.
    ModelError
        If it contains no image on a sky grid.
    """
    path = expanded(path)
    try:
        state = path.stat()
    except OSError as error:
        msg = f"map {path} does not exist"
        raise InputNotFoundError(msg) from error
    return _read(str(path.resolve()), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _read(path: str, modified: int, size: int) -> SkyMap:  # noqa: ARG001  (make the file's state part of the key)
    with open_fits(path, "map", ModelError) as hdus:
        return SkyMap.from_hdus(hdus, path)
