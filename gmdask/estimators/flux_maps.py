"""Maps of fluxes, as norms of a reference spectrum at every position, and their files."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.io import fits

from gmdask.attributes import KnownAttributes
from gmdask.drawing import draw
from gmdask.errors import InputError, check_kind
from gmdask.estimators.flux_data import SED_UNITS, reference_fluxes, reference_of
from gmdask.estimators.flux_points import FluxPoints
from gmdask.geometry import Axis, WcsGrid, rotate
from gmdask.geometry.fits_header import bands_table
from gmdask.inputs import open_fits
from gmdask.models import Models, PowerLawSpectralModel, SkyModel
from gmdask.models.io.gammapy_yaml import render_yaml, write_files
from gmdask.paths import expanded
from gmdask.store.formats.fits_map import SkyMap, read_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FluxMaps", "map_coords"]

DIMS = ("energy", "lat", "lon")
ENDINGS = (".fits", ".fits.gz")
NORMS = ("norm", "norm_err", "norm_errn", "norm_errp", "norm_ul", "norm_sensitivity")
WHOLE = ("success", "is_ul")


def map_coords(grid: WcsGrid) -> dict[str, xr.Variable]:
    """Return the coordinates that define the positions of the pixels of a grid, as in datasets.

    Parameters
    ----------
    grid : `WcsGrid`
    """
    rows, columns = (np.arange(float(n)) for n in grid.shape)
    return {
        "lat": xr.Variable(("lat",), rows),
        "lon": xr.Variable(("lon",), columns),
        "sky": xr.Variable((), 0, dict(grid.header)),
    }


class FluxMaps(KnownAttributes):
    """Norms of a reference spectrum at every position, with all estimated quantities.

    Parameters
    ----------
    data : `xarray.Dataset`
        ``norm`` and the other estimated quantities with the dimensions ``energy``, ``lat`` and ``lon``, under Gammapy's
        names; ``e_ref``, ``e_min``, ``e_max``, ``ref_dnde``, ``ref_flux``, ``ref_eflux`` along ``energy``; and the
        coordinates of `map_coords`. Units are attributes; NaN where nothing is known.
    reference_model : `SkyModel`
        The model that the norms refer to.

    Attributes
    ----------
    data : `xarray.Dataset`
    reference_model : `SkyModel`
    """

    def __init__(self, data: xr.Dataset, reference_model: SkyModel) -> None:
        check_kind(data, xr.Dataset, "an xarray.Dataset of flux maps (read takes them from a file)")
        missing = {"norm", "e_ref", "ref_dnde", "sky"} - set(map(str, data.variables))
        if missing:
            msg = f"flux maps without {', '.join(sorted(missing))}"
            raise InputError(msg)
        self.data, self.reference_model = data, reference_model

    @property
    def grid(self) -> WcsGrid:
        """Pixels of the maps."""
        return WcsGrid(self.data["sky"].attrs, self.data["norm"].shape[-2:])

    @property
    def energy_edges(self) -> u.Quantity:
        """Edges (energy + 1,) of the energy bins, in TeV."""
        return u.Quantity([*self.data["e_min"].values, self.data["e_max"].values[-1]], "TeV")

    def quantity(self, name: str) -> u.Quantity:
        """Return a map (energy, lat, lon) with its unit.

        Parameters
        ----------
        name : str
            Name of an array of ``data``; or "dnde", "e2dnde", "flux" or "eflux", alone or with "_err", "_errn",
            "_errp", "_ul" or "_sensitivity".

        Raises
        ------
        InputError
            If the quantity was not estimated.
        """
        if name in self.data.variables:
            array = self.data[name]
            return u.Quantity(array.values, array.attrs.get("units", ""))
        kind, _, part = name.partition("_")
        own = f"norm_{part}" if part else "norm"
        if kind not in SED_UNITS or own not in self.data:
            msg = (
                f"{name!r} was not estimated: there are {', '.join(map(str, self.data.data_vars))}"
            )
            raise InputError(msg)
        reference = reference_of(self.data.variables, kind)[:, None, None]
        return (self.data[own].values * reference).to(SED_UNITS[kind])

    def get_flux_points(self, lon: u.Quantity, lat: u.Quantity, frame: str = "icrs") -> FluxPoints:
        """Return the flux points of the pixel at a position.

        Parameters
        ----------
        lon, lat : Quantity
        frame : {"icrs", "galactic"}

        Raises
        ------
        InputError
            If the position is outside the map.
        """
        grid = self.grid
        x, y = (float(u.Quantity(angle).to_value("deg")) for angle in (lon, lat))
        at = [float(p) for p in grid.to_pixel(*rotate(x, y, frame, grid.frame))][::-1]
        if not all(-0.5 <= p < n - 0.5 for p, n in zip(at, grid.shape, strict=True)):
            msg = f"({lon}, {lat}) in {frame} is outside the map"
            raise InputError(msg)
        here = self.data.isel(lat=round(at[0]), lon=round(at[1])).drop_vars(["lat", "lon", "sky"])
        return FluxPoints(here, self.reference_model.spectral_model)

    # --- files -------------------------------------------------------------------------

    def write(
        self, path: str | Path, sed_type: str = "likelihood", overwrite: bool = False
    ) -> None:
        """Write FITS maps (".fits" or ".fits.gz") that Gammapy's ``FluxMaps.read`` reads, and the model beside them.

        Parameters
        ----------
        path : str or path
            The model is written to the same name with "_model.yaml" added, as in Gammapy.
        sed_type : {"likelihood", "dnde", "e2dnde", "flux", "eflux"}
            Flux quantity of the maps.
        overwrite : bool
            Whether to replace existing files.

        Raises
        ------
        InputError
            If the path has another ending, or the SED type is unknown.
        StoreExistsError
            If one of the files exists.
        """
        path = check_map_ending(expanded(path))
        if sed_type != "likelihood" and sed_type not in SED_UNITS:
            msg = f"sed_type is {sed_type!r}, expected one of likelihood, {', '.join(SED_UNITS)}"
            raise InputError(msg)
        model = path.with_name(f"{path.name}_model.yaml")
        primary = fits.PrimaryHDU()
        primary.header["SED_TYPE"] = sed_type
        if str(model).isascii():  # FITS allows nothing else
            primary.header["MODEL"] = str(model)
        for key in ("response", "n_sigma", "n_sigma_ul"):
            if key in self.data.attrs:
                primary.header[key.upper()[:8]] = self.data.attrs[key]
        hdus, axis = [primary], Axis("energy", self.energy_edges.value, unit="TeV")
        for key in map(str, self.data.data_vars):
            if self.data[key].dims == DIMS:
                name = (
                    key.replace("norm", sed_type)
                    if key in NORMS and sed_type != "likelihood"
                    else key
                )
                hdus += self._hdus(name, axis)
        buffer = io.BytesIO()
        fits.HDUList(hdus).writeto(buffer)
        content = buffer.getvalue()
        zipped = path.name.lower().endswith(".gz")
        own = Models([self.reference_model.copy(self.reference_model.name)])
        write_files({
            path: gzip.compress(content, mtime=0) if zipped else content, model: render_yaml(own.to_dict())
        }, overwrite)  # fmt: skip

    def _hdus(self, name: str, axis: Axis) -> list[Any]:
        values = self.quantity(name)
        whole = name in WHOLE
        hdu = fits.ImageHDU(
            values.value.astype(np.int64 if whole else np.float64), name=name.upper()
        )
        hdu.header.update(self.grid.header)
        hdu.header["BUNIT"] = values.unit.to_string("fits")
        hdu.header["BANDSHDU"] = f"{name.upper()}_BANDS"
        return [hdu, bands_table([axis], f"{name.upper()}_BANDS")]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read maps written by `write` or by Gammapy.

        Parameters
        ----------
        path : str or path
            The reference model is the one named in the file, beside the file if it has been moved; without one, a power
            law of index 2.

        Raises
        ------
        InputNotFoundError
            If the file does not exist.
        InputError
            If it has no flux maps.
        """
        path = expanded(path)
        found: dict[str, SkyMap] = {}
        with open_fits(path) as hdus:
            header = dict(hdus[0].header)
            for hdu in hdus[1:]:
                if isinstance(hdu, fits.ImageHDU) and (one := read_map(hdus, hdu.name, str(path))):
                    found[hdu.name.lower()] = one
        kind = str(header.get("SED_TYPE", "likelihood"))
        main = "norm" if kind == "likelihood" else kind
        if main not in found or (kind != "likelihood" and kind not in SED_UNITS):
            msg = f"{path}: is not a file of flux maps: HDUs {', '.join(found) or 'none'}"
            raise InputError(msg)
        model = _model_of(header, path)
        axis = found[main].axes[0]
        edges = axis.edges * u.Unit(axis.unit).to("TeV")
        arrays: dict[str, Any] = reference_fluxes(model.spectral_model, edges[:-1], edges[1:])
        scale = 1.0 if kind == "likelihood" else reference_of(arrays, kind)[:, None, None]
        for key, one in found.items():
            if one.data.shape != found[main].data.shape:
                continue  # such as scans, which have an axis of their own
            if key == main or key.removeprefix(f"{main}_") != key:
                norm = u.Quantity(u.Quantity(one.data, one.unit) / scale).to_value("")
                arrays[key.replace(main, "norm", 1)] = xr.Variable(DIMS, norm, {"units": ""})
            else:
                values = one.data.astype(bool) if key in WHOLE else one.data
                arrays[key] = xr.Variable(DIMS, values, {} if key in WHOLE else {"units": one.unit})
        grid = WcsGrid(found[main].wcs, found[main].data.shape[-2:])
        coords = {"energy": arrays["e_ref"].copy(), **map_coords(grid)}
        attrs = {
            k: header[k.upper()[:8]]
            for k in ("response", "n_sigma", "n_sigma_ul")
            if k.upper()[:8] in header
        }
        return cls(xr.Dataset(arrays, coords, attrs), model)

    # --- figures -----------------------------------------------------------------------

    def plot(
        self, name: str = "sqrt_ts", energy: int = 0, ax: Axes | None = None, **kwargs: Any
    ) -> Axes:
        """Draw a map of one energy bin; see `gmdask.plot.plot_flux_map`.

        Parameters
        ----------
        name : str
            See `quantity`.
        energy : int
            Number of the energy bin.
        ax : `matplotlib.axes.Axes`, optional
        **kwargs
            Passed to `gmdask.plot.plot_map`.
        """
        axes: Axes = draw("plot_flux_map", self, name, energy, ax, **kwargs)
        return axes

    def __repr__(self) -> str:
        edges, (rows, columns) = self.energy_edges, self.data["norm"].shape[-2:]
        return (
            f"<{type(self).__name__}: {self.data.sizes['energy']} energy, {rows} × {columns} pixels, "
            f"{edges[0].value:.4g} to {edges[-1].value:.4g} TeV>"
        )

    def _repr_html_(self) -> str:
        return str(self.data._repr_html_())


def check_map_ending(path: Path) -> Path:
    """Return the path of a file of maps.

    Raises
    ------
    InputError
        If it has none of the `ENDINGS`.
    """
    if not path.name.lower().endswith(ENDINGS):
        msg = f"{path}: expected the ending {' or '.join(ENDINGS)} for a file of maps"
        raise InputError(msg)
    return path


def _model_of(header: dict[str, Any], path: Path) -> SkyModel:
    """Return the reference model of a file of maps."""
    given = str(header.get("MODEL", ""))
    for place in (
        Path(given),
        path.with_name(Path(given).name),
        path.with_name(f"{path.name}_model.yaml"),
    ):
        if place.is_file():
            model = Models.read(place)[0]
            if isinstance(model, SkyModel):
                return model
    return SkyModel(PowerLawSpectralModel(), name="reference")
