"""One observation as a map or as the spectrum of a region: a lazy cube, and copies of its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord

from gmdask.datasets.base import Dataset
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
from gmdask.datasets.io.xarray_backend import as_cube, as_xarray
from gmdask.datasets.kinds import KINDS
from gmdask.datasets.looks import Looks
from gmdask.datasets.operations.models import frozen_background
from gmdask.datasets.operations.transforms import Alterations
from gmdask.errors import InputError
from gmdask.store.formats.validity import KERNEL_SUMS, warn_of_sums

if TYPE_CHECKING:
    from gmdask.datasets.spectrum_dataset import SpectrumDataset

__all__ = ["MapDataset", "counted", "with_counts"]


class MapDataset(Alterations, Looks):
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

    def to_spectrum_dataset(
        self, on_region: Any, containment_correction: bool = False, name: str | None = None
    ) -> SpectrumDataset:
        """Return the spectrum of a region, with a fixed background.

        Counts, and background as predicted by its model, are summed within the safe mask, exposure
        is averaged, and the energy dispersion is that at the centre. The models are not kept; the
        background gets a model of its own, ``models["<name>-bkg"]``, which is frozen.

        Parameters
        ----------
        on_region : SkyRegion, SkyCoord, list of SkyRegion, str or path
            See `gmdask.geometry.regions.read_region`.
        containment_correction : bool
            Whether the exposure is corrected for the part of the PSF outside of a circle, for a point
            source at its centre.
        name : str, optional
            Name of the new dataset; by default that of this one.

        Raises
        ------
        InputError
            If the region is not completely inside the map, a mask varies within it, or a
            correction is requested without a circle or a PSF in true energy.
        """
        region = self._region(on_region)
        if containment_correction:
            if region.radius is None:
                msg = f"{self._where}: containment is known for circles only, not for {region}"
                raise InputError(msg)
            psf = self.psf
            if psf is None or psf.dims[0] != "psf_energy_true":
                msg = (
                    f"{self._where}: there is no PSF in true energy for the containment correction"
                )
                raise InputError(msg)
        from gmdask.datasets.spectrum_dataset import SpectrumDataset  # which is one of these

        options = {
            "kind": SpectrumDataset.__name__, "psf": False, "contained": containment_correction,
        }  # fmt: skip
        spectrum = self._in_region(SpectrumDataset, region, options, name)
        if self._has("background"):
            spectrum.take_models(frozen_background(spectrum.name))
        return spectrum

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


def counted(datasets: Iterable[Dataset]) -> list[MapDataset]:
    """Those of some datasets that are of counts.

    Parameters
    ----------
    datasets : iterable of `Dataset`
    """
    return [dataset for dataset in datasets if isinstance(dataset, MapDataset)]


def with_counts(datasets: Iterable[Dataset], what: str) -> list[MapDataset]:
    """Datasets, if all are of counts.

    Parameters
    ----------
    datasets : iterable of `Dataset`
    what : str
        What needs counts.

    Raises
    ------
    InputError
        Naming one that is not.
    """
    found = []
    for dataset in datasets:
        if not isinstance(dataset, MapDataset):
            kind = type(dataset).__name__
            msg = (
                f"dataset {dataset.name!r} is a {kind}, expected counts: {what} needs them; "
                f"leave it out, as by datasets[names], or on the command line by --where 'kind != {kind}'"
            )
            raise InputError(msg)
        found.append(dataset)
    return found


KINDS["MapDataset"] = MapDataset
