"""One observation, on the sky or in a region of it: a lazy cube, and copies of its models."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import xarray as xr

from gmdask.datasets.alteration import Alterations
from gmdask.datasets.prediction import Predictions
from gmdask.datasets.summary import html_table
from gmdask.errors import InputError
from gmdask.geometry.regions import Region
from gmdask.likelihood.group import CubeSource, StoredCube

__all__ = ["KINDS", "MapDataset", "SpectrumDataset"]


class MapDataset(Alterations, Predictions):
    """Counts, exposure, background, masks and IRFs of one observation on the sky, with models.

    Nothing is read or computed before it is used. The dataset holds its own copies of the
    models; nothing it does changes the global `Models`.

    Parameters
    ----------
    cube : `xarray.Dataset`
        The observation as stored: ``counts(energy, lat, lon)``, ``exposure(energy_true, lat,
        lon)``, and where there are any ``background``, ``mask_safe``, ``mask_fit``, ``psf``, ``edisp``.
    stored : `StoredCube` or `AlteredCube`, optional
        Where workers find the same cube, or what they make it from; without it the dataset
        lives in this process.

    Raises
    ------
    InputError
        If counts or exposure are missing.
    """

    def to_spectrum_dataset(
        self, on_region: Any, containment_correction: bool = False, name: str | None = None
    ) -> SpectrumDataset:
        """Spectrum of a region, with a background that is fixed.

        Counts and background, as its model predicts it, are summed within the safe mask, exposure
        is averaged, and the energy dispersion is that at the centre. The models are left behind.

        Parameters
        ----------
        on_region : SkyRegion, SkyCoord, list of SkyRegion, str or path
            See `gmdask.geometry.regions.read_region`.
        containment_correction : bool
            Whether the exposure is that of a point source at the centre of a circle, of which the PSF
            leaves a part outside.
        name : str, optional
            Name of the new dataset, by default that of this one.

        Raises
        ------
        InputError
            If the region is not wholly inside the map, a mask is not the same all over it, or a
            correction is asked for without a circle or a PSF in true energy.
        """
        region = self._region(on_region)
        if containment_correction:
            if region.radius is None:
                msg = f"{self._where}: containment is known for circles only, not for {region}"
                raise InputError(msg)
            psf = self.psf
            if psf is None or psf.dims[0] != "psf_energy_true":
                msg = (
                    f"{self._where}: there is no PSF in true energy to correct the containment with"
                )
                raise InputError(msg)
        options = {"kind": "SpectrumDataset", "contained": containment_correction}
        return self._in_region(SpectrumDataset, region, options, name)

    # --- looks -------------------------------------------------------------------------

    @cached_property
    def _shape_text(self) -> str:
        energy, lat, lon = self.counts.shape
        return f"{energy} energies × {lat} × {lon} pixels, {self.exposure.shape[0]} true energies"

    @property
    def _kept(self) -> str:
        if isinstance(self._stored, StoredCube):
            return f"kept in {self._stored.url}"
        return "kept in memory" if self._stored is None else "made when it is used"

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
        """Bytes of the block of a stored dataset, shared evenly by its datasets."""
        if not isinstance(self._stored, StoredCube):
            return None
        return self._stored.nbytes_stored()


class SpectrumDataset(MapDataset):
    """Counts, exposure, background, masks and energy dispersion of a region of the sky, with models.

    All arrays have one pixel, which stands for the region. Without a PSF the shape of a source
    is not looked at: what it emits is taken to be in the region.

    Parameters
    ----------
    cube : `xarray.Dataset`
        As of a `MapDataset`, with ``attrs["region"]``.
    stored : `StoredCube` or `AlteredCube`, optional
        See `MapDataset`.

    Raises
    ------
    InputError
        If arrays are missing, or the region.
    """

    def __init__(self, cube: xr.Dataset, stored: CubeSource | None = None) -> None:
        super().__init__(cube, stored)
        if "region" not in cube.attrs:
            msg = f"dataset {self._name!r}: attribute 'region' is missing"
            raise InputError(msg)

    @property
    def region(self) -> Region | None:
        """The region, None if it is not known."""
        plain = self._cube.attrs["region"]
        return Region.from_dict(plain) if plain else None


KINDS: dict[str, type[MapDataset]] = {"MapDataset": MapDataset, "SpectrumDataset": SpectrumDataset}
