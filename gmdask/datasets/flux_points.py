"""Flux points as data: a measured spectrum as a dataset of a fit."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.table import Table

from gmdask.datasets.base import Dataset
from gmdask.datasets.derived_cube import AlteredCube, opened
from gmdask.datasets.kinds import KINDS
from gmdask.drawing import draw
from gmdask.errors import InputError, ModelError
from gmdask.likelihood.flux_points import CompiledFluxPoints, mask_of, predicted_flux
from gmdask.likelihood.kind import Compile
from gmdask.likelihood.statistics import statistic_type
from gmdask.likelihood.statistics.chi2 import Chi2
from gmdask.likelihood.statistics.distrib import Distrib
from gmdask.likelihood.statistics.profile import Profile
from gmdask.models import DatasetModels, SkyModel
from gmdask.models.io.gammapy_yaml import write_files
from gmdask.paths import expanded
from gmdask.store.formats.flux_table import (
    check_flux_cube,
    flux_cube,
    flux_hdus,
    flux_table,
    read_flux_cube,
)
from gmdask.store.formats.gadf_writer import gti_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FluxPointsDataset"]

STATISTICS = (Chi2.name, Distrib.name, Profile.name)
RESIDUALS = ("diff", "diff/model")
FLUXES = ("dnde", "dnde_err", "dnde_errn", "dnde_errp", "dnde_ul")


class FluxPointsDataset(Dataset):
    """Flux points of one spectrum, compared with the spectra of the models.

    Every model that applies to the dataset contributes its spectrum; spatial models are ignored, since flux
    points describe the whole source. If the points belong to one source among several, set
    ``datasets_names`` of the models accordingly.

    Parameters
    ----------
    cube : `xarray.Dataset`
        As created by `gmdask.store.formats.flux_table.flux_cube`.
    stored : `StoredCube` or `AlteredCube`, optional
        See `Dataset`.
    response : {"exact", "gammapy"}, optional
        Has no effect; it is accepted for collections of datasets of several kinds.

    Raises
    ------
    InputError
        If arrays that the statistic needs are missing.
    """

    compile: ClassVar[Compile] = CompiledFluxPoints
    read_cube = staticmethod(read_flux_cube)
    check_cube = staticmethod(check_flux_cube)
    to_hdus = staticmethod(flux_hdus)

    @classmethod
    def read(cls, filename: str | Path, name: str | None = None) -> Self:
        """Read the flux points of a file into memory.

        Parameters
        ----------
        filename : str or path
            ".fits", ".fits.gz" or ".ecsv", of type dnde, e2dnde, flux, eflux or likelihood.
        name : str, optional
            Name of the dataset; by default that in the file, or else the file name.

        Raises
        ------
        InputNotFoundError
            If the file does not exist.
        InputError
            If it contains something else, or the flux points have no valid likelihood.
        """
        return cls(read_flux_cube(filename, name))

    @classmethod
    def from_table(cls, table: Table, name: str) -> Self:
        """Create a dataset from a table of flux points, such as that of `FluxPoints.to_table`.

        Parameters
        ----------
        table : `~astropy.table.Table`
            In the GADF format, of any SED type.
        name : str
            Name of the dataset.

        Raises
        ------
        InputError
            If columns are missing, or the flux points have no valid likelihood.
        """
        where = f"dataset {name!r}"
        return cls(check_flux_cube(flux_cube(table, name, where), where))

    def _check(self, cube: xr.Dataset) -> None:
        stat_type = cube.attrs.get("stat_type")
        if stat_type not in STATISTICS:
            msg = f"dataset {self._name!r}: stat_type is {stat_type!r}, expected one of {', '.join(STATISTICS)}"
            raise InputError(msg)
        super()._check(cube)

    # --- data --------------------------------------------------------------------------

    @property
    def stat_type(self) -> str:
        """The statistic: "chi2", "distrib" or "profile"; see Gammapy's ``FluxPointsDataset``."""
        return statistic_type(self._cube.attrs).name

    @stat_type.setter
    def stat_type(self, name: str) -> None:
        cube = with_stat_type(self._cube, name)
        self._check(cube)
        if self._stored is not None:
            self._stored = AlteredCube(with_stat_type, (self._stored,), {"name": name})
        self._cube, self._compiled = cube, None

    @property
    def energy_ref(self) -> u.Quantity:
        """Energies of the points."""
        return u.Quantity(self._cube["energy"].values, "TeV")

    @property
    def energy_range(self) -> tuple[float, float]:
        """Lowest and highest energy in TeV."""
        ends = [
            self._cube.get(key, self._cube["energy"]).values for key in ("energy_min", "energy_max")
        ]
        return float(ends[0][0]), float(ends[1][-1])

    def quantity(self, name: str) -> u.Quantity:
        """Values (energy,) with their unit.

        Parameters
        ----------
        name : str
            Such as "dnde", "dnde_err" or "dnde_ul".
        """
        array = self._cube[name]
        return u.Quantity(array.values, array.attrs["unit"])

    @property
    def is_ul(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether each point is an upper limit (energy,)."""
        return np.asarray(self._cube["is_ul"].values, dtype=bool)

    @property
    def mask(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Points (energy,) inside the masks that contribute to the statistic of the dataset."""
        kind = statistic_type(self._cube.attrs)
        data = (np.asarray(self._cube[key].values, dtype=float) for key in kind.reads)
        return np.asarray(mask_of(self._cube) & kind(*data).is_known)

    def to_table(self) -> Table:
        """Return a table of the points in the GADF format, as Gammapy reads it."""
        return flux_table(opened(self.source, self._name))

    def peak_bytes(self, n_cubes: int = 0) -> int:
        """Estimate the peak memory of compiling or evaluating it; see `Dataset.peak_bytes`."""
        del n_cubes
        return 8 * int(self._cube.nbytes)

    # --- numbers -----------------------------------------------------------------------

    def check_models(self, models: DatasetModels) -> None:
        """See `Dataset.check_models`."""
        super().check_models(models)
        for model in models:
            if not isinstance(model, SkyModel):
                continue
            shape, where = model.spatial_model, f"model {model.name!r}: dataset {self._name!r}"
            if shape is not None and shape.is_energy_dependent:
                msg = f"{where} is of flux points, and its shape depends on energy"
                raise ModelError(msg)
            if shape is not None and not getattr(shape, "normalize", True):
                msg = f"{where} is of flux points, and its shape is not normalised"
                raise ModelError(msg)
            if model.spectral_model.is_counts:
                msg = f"{where} is of flux points, and its spectrum is not a flux"
                raise ModelError(msg)

    def flux_pred(self) -> u.Quantity:
        """Return the flux (energy,) predicted by the models at the energies of the points."""
        self._models.check_values()
        return u.Quantity(
            predicted_flux(self.open(), self._models), self._cube["dnde"].attrs["unit"]
        )

    def residuals(self, method: str = "diff") -> u.Quantity:
        """Return the flux above the predicted one (energy,); NaN for upper limits.

        Parameters
        ----------
        method : {"diff", "diff/model"}
            Whether to divide by the predicted flux.

        Raises
        ------
        InputError
            If the method is unknown.
        """
        if method not in RESIDUALS:
            msg = f"residuals of method {method!r}, expected one of {', '.join(RESIDUALS)}"
            raise InputError(msg)
        model = self.flux_pred()
        difference = self.quantity("dnde") - model
        with np.errstate(divide="ignore", invalid="ignore"):
            found = difference if method == "diff" else (difference / model).to("")
        found[self.is_ul] = np.nan
        return found

    def stat_array(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the statistic of each point (energy,), inside and outside the masks."""
        kind = statistic_type(self._cube.attrs)
        data = (np.asarray(self._cube[key].values, dtype=float) for key in kind.reads)
        return kind(*data).per_bin(self.flux_pred().value)

    def info_dict(self) -> dict[str, Any]:
        """Return name, numbers of all and of fitted points, type of the statistic and its value."""
        return {
            "name": self._name, "n_bins": int(self._cube.sizes["energy"]), "n_fit_bins": int(self.mask.sum()),
            "stat_type": self.stat_type, "stat_sum": self.stat_sum() if len(self._models) else np.nan,
        }  # fmt: skip

    def __repr__(self) -> str:
        low, high = self.energy_range
        points = (
            f"{self._cube.sizes['energy']} points, {low:.4g} to {high:.4g} TeV, {self.stat_type}"
        )
        return f"<{type(self).__name__} {self._name!r}: {points}, {len(self._models)} models>"

    # --- files and figures -------------------------------------------------------------

    def write(self, filename: str | Path, overwrite: bool = False) -> None:
        """Write the points, without models, as a file that Gammapy reads.

        Parameters
        ----------
        filename : str or path
            ".fits", ".fits.gz" or ".ecsv".
        overwrite : bool
            Whether to replace an existing file.

        Raises
        ------
        InputError
            If the path has another ending.
        StoreExistsError
            If the file exists and may not be overwritten.
        StoreError
            If the file cannot be written.
        """
        path = expanded(filename)
        if path.name.lower().endswith(".ecsv"):
            text = io.StringIO()
            self.to_table().write(text, format="ascii.ecsv")
            write_files({path: text.getvalue().encode()}, overwrite)
            return
        super().write(filename, overwrite)

    def plot_fit(self, ax_spectrum: Axes | None = None, ax_residuals: Axes | None = None) -> Axes:
        """Draw points and models against energy, with residuals; see `gmdask.plot.plot_flux_fit`."""
        axes: Axes = draw("plot_flux_fit", self, ax_spectrum, ax_residuals)
        return axes

    def plot_residuals(self) -> Figure:
        """Draw points, models and residuals in one figure; see `gmdask.plot.plot_residuals`."""
        figure: Figure = draw("plot_residuals", self)
        return figure

    # --- Gammapy's objects -------------------------------------------------------------

    @staticmethod
    def cube_to_gammapy(cube: xr.Dataset) -> Any:
        """Return Gammapy's ``FluxPointsDataset``; see `Dataset.cube_to_gammapy`."""
        datasets, estimators = (import_module(f"gammapy.{k}") for k in ("datasets", "estimators"))
        table = flux_table(cube)
        masks = {key: table[key].data.reshape(-1, 1, 1) for key in ("mask_safe", "mask_fit")}
        table.remove_columns(list(masks))
        gti = None
        if "gti_start" in cube:
            gti = import_module("gammapy.data").GTI.from_table_hdu(gti_table(cube))
        points = estimators.FluxPoints.from_table(table, gti=gti)
        if "mask_fit" not in cube:
            masks["mask_fit"] = None
        return datasets.FluxPointsDataset(
            data=points, name=cube.attrs["name"], stat_type=cube.attrs["stat_type"], **masks
        )

    @staticmethod
    def cube_from_gammapy(data: Any, where: str) -> xr.Dataset:
        """Return the cube of Gammapy's ``FluxPointsDataset``; see `Dataset.cube_from_gammapy`."""
        points = data.data
        if points.geom.axes.names != ["energy"]:
            msg = f"{where}: axes {points.geom.axes.names}, expected flux points along energy alone"
            raise InputError(msg)
        table = Table({"e_ref": points.energy_ref, "ref_dnde": points.dnde_ref[:, 0, 0]})
        if points.energy_axis.node_type == "edges":
            table["e_min"], table["e_max"] = points.energy_min, points.energy_max
        for key in (*FLUXES, "ts", "sqrt_ts", "stat", "stat_null"):
            found = getattr(points, key, None)
            if found is not None:
                table[key] = found.quantity[:, 0, 0]
        if points.has_stat_profiles:
            scan = points.stat_scan.data.reshape(len(table), -1)
            norms = points.stat_scan.geom.axes["norm"].center
            table["stat_scan"], table["norm_scan"] = scan, np.tile(norms, (len(table), 1))
        table["is_ul"] = points.is_ul.data[:, 0, 0]
        for key, mask in (("mask_safe", data._mask_safe), ("mask_fit", data.mask_fit)):
            if mask is not None:
                table[key] = np.asarray(getattr(mask, "data", mask)).reshape(-1)
        table.meta = {"SED_TYPE": "dnde", "STATTYPE": data.stat_type}
        cube = flux_cube(table, data.name, where)
        if points.gti is not None:
            _add_gti(cube, points.gti)
        return check_flux_cube(cube, where)


def with_stat_type(cube: xr.Dataset, name: str) -> xr.Dataset:
    """Return flux points with another statistic.

    Parameters
    ----------
    cube : `xarray.Dataset`
    name : str
    """
    return cube.assign_attrs(stat_type=name)


def _add_gti(cube: xr.Dataset, gti: Any) -> None:
    reference = gti.time_ref
    for key, times in (("gti_start", gti.time_start), ("gti_stop", gti.time_stop)):
        seconds = np.atleast_1d((times - reference).to_value("s"))
        cube[key] = xr.Variable(("gti",), seconds, {"unit": "s"})
    cube.attrs["gti"] = {
        "mjdrefi": int(np.floor(reference.mjd)), "mjdreff": float(reference.mjd % 1), "timesys": reference.scale,
    }  # fmt: skip


KINDS[FluxPointsDataset.__name__] = FluxPointsDataset
