"""One observation as a map or as the spectrum of a region: a lazy cube, and copies of its models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord

from gmdask.datasets.creation import (
    BINSZ_IRF,
    ResponseMap,
    array_cube,
    axis_from,
    default_rad,
    empty_cube,
    empty_responses,
    energy_axes,
    irf_cards,
    pixel_cards,
)
from gmdask.datasets.derived_cube import AlteredCube
from gmdask.datasets.figures import (
    peek,
    plot_counts,
    plot_excess,
    plot_fit,
    plot_masks,
    plot_residuals,
    plot_residuals_spatial,
    plot_residuals_spectral,
    smooth,
)
from gmdask.datasets.io.xarray_backend import as_cube, as_xarray
from gmdask.datasets.kinds import KINDS
from gmdask.datasets.operations.models import background_of, stacked_models
from gmdask.datasets.operations.sky_transforms import (
    cutout,
    downsample,
    pad,
    to_region_map_dataset,
    to_spectrum_dataset,
)
from gmdask.datasets.operations.stack import stack
from gmdask.datasets.operations.transforms import (
    resample_energy_axis,
    slice_by_energy,
    slice_by_idx,
    to_image,
    to_masked,
)
from gmdask.datasets.prediction import Predictions
from gmdask.datasets.summary import html_table
from gmdask.errors import InputError, check_kind
from gmdask.store.cube_source import StoredCube
from gmdask.store.formats.validity import KERNEL_SUMS, warn_of_sums

__all__ = ["MapDataset"]


class MapDataset(Predictions):
    """Counts, exposure, background, masks and IRFs of one observation on the sky, with models.

    Nothing is read or computed before it is needed. The dataset has its own copies of the
    models; none of its methods changes the global `Models`.

    Parameters
    ----------
    cube : `xarray.Dataset`
        The observation as stored: ``counts(energy, lat, lon)``, ``exposure(energy_true, lat,
        lon)``, and optionally ``background``, ``mask_safe``, ``mask_fit``, ``psf``, ``edisp``.
    stored : `StoredCube` or `AlteredCube`, optional
        Location of the same cube for workers, or how they compute it; None if the dataset
        exists in this process only.
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed; see `response`.

    Raises
    ------
    InputError
        If counts or exposure are missing.
    """

    is_map: ClassVar[bool] = True

    @classmethod
    def create(
        cls,
        name: str,
        position: SkyCoord,
        width: Any,
        binsz: Any,
        energy: Any,
        energy_true: Any = None,
        *,
        proj: str = "CAR",
        rad: Any = None,
        migra: Any = None,
        binsz_irf: float = BINSZ_IRF,
        reco_psf: bool = False,
        response: str | None = None,
    ) -> Self:
        """Create an empty dataset for stacking: zeros, with no bin in the safe mask.

        Parameters
        ----------
        name : str
            Name of the dataset.
        position : `~astropy.coordinates.SkyCoord`
            Centre; its frame ("icrs" or "galactic") is that of the maps.
        width : Quantity, float or pair of these
            Size in longitude and latitude; numbers are in deg.
        binsz : Quantity or float
            Pixel size; a number is in deg.
        energy, energy_true : `Axis` or Quantity
            Axes, or bin edges in logarithmic scale; by default the true energies are the
            reconstructed ones.
        proj : str
            Code of the projection.
        rad : `Axis` or Quantity, optional
            Offset axis of the PSF, by default that of Gammapy.
        migra : `Axis` or Quantity, optional
            Migration axis; without it the energy dispersion consists of kernels.
        binsz_irf : float
            Pixel size of the responses in deg.
        reco_psf : bool
            Whether the PSF is given in reconstructed energy.
        response : {"exact", "gammapy"}, optional
            How predicted counts are computed; see `MapDataset.response`.

        Raises
        ------
        InputError
            If an axis is invalid.
        """
        where = f"dataset {name!r}"
        axes = energy_axes(energy, energy_true, where)
        sides = np.broadcast_to(u.Quantity(width, "deg").value, 2)
        frame = "galactic" if position.frame.name == "galactic" else "icrs"
        size = float(sides[0]), float(sides[1])
        cards, shape = pixel_cards(
            position, size, float(u.Quantity(binsz, "deg").value), proj, frame
        )
        offsets = default_rad() if rad is None else axis_from("rad", rad, where, "lin")
        migration = None if migra is None else axis_from("migra", migra, where, "lin")
        pixels = irf_cards(cards, shape, binsz_irf)
        responses = empty_responses(*pixels, axes, offsets, migration, reco_psf=reco_psf)
        return cls(empty_cube(name, cards, shape, axes, responses), response=response)

    @classmethod
    def from_arrays(
        cls,
        name: str,
        *,
        wcs: Mapping[str, Any],
        energy: Any,
        energy_true: Any,
        counts: Any,
        exposure: Any,
        exposure_unit: str = "cm2 s",
        background: Any = None,
        mask_safe: Any = None,
        mask_fit: Any = None,
        weights: Any = None,
        psf: ResponseMap | None = None,
        edisp: ResponseMap | None = None,
        response: str | None = None,
    ) -> Self:
        """Create a dataset from arrays, which are not copied.

        Parameters
        ----------
        name : str
            Name of the dataset.
        wcs : mapping
            FITS WCS cards of the pixels.
        energy, energy_true : `Axis` or Quantity
            Axes, or bin edges in logarithmic scale.
        counts, background, mask_safe, mask_fit : array of shape (energy, lat, lon)
            NumPy or Dask arrays.
        weights : array of shape (energy, lat, lon), optional
            Weights of the bins in the statistic, which then is ``cash_weighted``.
        exposure : array of shape (energy_true, lat, lon)
            Exposure in `exposure_unit`.
        exposure_unit : str
            VOUnit.
        psf, edisp : `ResponseMap`, optional
            Responses.
        response : {"exact", "gammapy"}, optional
            How predicted counts are computed; see `MapDataset.response`.

        Raises
        ------
        InputError
            If shapes do not match, or values in the mask are invalid.
        """
        arrays = {
            "counts": counts, "background": background, "mask_safe": mask_safe,
            "mask_fit": mask_fit, "weights": weights, "exposure": exposure,
        }  # fmt: skip
        axes = energy_axes(energy, energy_true, f"dataset {name!r}")
        responses = {"psf": psf, "edisp": edisp}
        cube = array_cube(name, wcs, axes, arrays, exposure_unit, responses)
        return cls(cube, response=response)

    def to_xarray(self) -> xr.Dataset:
        """Return the arrays as an `xarray.Dataset` of Dask arrays, none of which is read.

        The coordinates ``lat``, ``lon`` and ``sky`` define where the pixels lie, through all operations;
        the accessor ``.gmdask`` returns the WCS, and selects by energy and position.
        """
        return as_xarray(self._cube)

    @classmethod
    def from_xarray(cls, data: xr.Dataset) -> Self:
        """Create a dataset from the result of `to_xarray`, after any operations on it.

        Parameters
        ----------
        data : `xarray.Dataset`

        Raises
        ------
        InputError
            If counts or exposure are missing, the pixels are not evenly spaced, or an attribute contradicts
            the coordinates.
        """
        return cls(as_cube(data))

    # --- derived datasets ----------------------------------------------------------------

    slice_by_idx = slice_by_idx
    slice_by_energy = slice_by_energy
    resample_energy_axis = resample_energy_axis
    to_image = to_image
    cutout = cutout
    pad = pad
    downsample = downsample
    to_masked = to_masked
    to_region_map_dataset = to_region_map_dataset
    to_spectrum_dataset = to_spectrum_dataset

    def stack(self, other: MapDataset) -> Self:
        """Add another dataset to this one, in place, as Gammapy does.

        Counts and background of the other are added in its safe mask, exposure where any energy
        is safe; PSF and energy dispersion are averaged with the exposure as weight, masks and
        good time intervals are combined. The models of the other are added to those of this
        one; the two background models become one, which predicts the sum of both backgrounds.

        Parameters
        ----------
        other : dataset
            A dataset on the same pixels, or on a part of them; it is not changed.

        Returns
        -------
        dataset
            This dataset.

        Raises
        ------
        InputError
            If axes or pixels differ, or an IRF has no exposure as weight.
        """
        check_kind(other, MapDataset, "a dataset to stack")
        options = {"models": (background_of(self._models), background_of(other.own_models))}
        cube = stack(self.lazy_cube, other.lazy_cube, **options)
        models = stacked_models(self._models, other.models_for(self._name), other.cube)
        sources = (self._stored, other.stored)
        self._cube = cube.assign_attrs(name=self._name)
        self._stored = None
        if sources[0] is not None and sources[1] is not None:
            self._stored = AlteredCube(stack, (sources[0], sources[1]), options)
        self.take_models(models)
        return self

    # --- display -----------------------------------------------------------------------

    smooth = smooth
    peek = peek
    plot_counts = plot_counts
    plot_excess = plot_excess
    plot_masks = plot_masks
    plot_fit = plot_fit
    plot_residuals = plot_residuals
    plot_residuals_spatial = plot_residuals_spatial
    plot_residuals_spectral = plot_residuals_spectral

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

    # --- files -------------------------------------------------------------------------

    @classmethod
    def read(
        cls, filename: str | Path, name: str | None = None, *, response: str | None = None
    ) -> MapDataset:
        """Read a FITS file of Gammapy's `MapDataset` or `SpectrumDataset` into memory.

        Parameters
        ----------
        filename : str or path
            ".fits" or ".fits.gz".
        name : str, optional
            Name of the dataset; by default that in the file, or else the file name.
        response : {"exact", "gammapy"}, optional
            How predicted counts are computed; see `MapDataset.response`.

        Returns
        -------
        `MapDataset` or `SpectrumDataset`

        Raises
        ------
        InputNotFoundError
            If the file does not exist.
        InputError
            If it contains something else, or not a spectrum if it is read as one.
        """
        cube = cls.read_cube(filename, name)
        warn_of_sums({cube.attrs["name"]: cube.attrs.get(KERNEL_SUMS, {})})
        kind = KINDS[cube.attrs["kind"]]
        if not issubclass(kind, cls):  # of what a file of maps can hold
            msg = f"{filename}: contains a {kind.__name__}, expected a {cls.__name__}"
            raise InputError(msg)
        return kind(cube, response=response)


KINDS["MapDataset"] = MapDataset
