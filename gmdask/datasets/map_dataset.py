"""One observation: a lazy cube, and copies of the models that touch it."""

from __future__ import annotations

from functools import cached_property
from html import escape

from gmdask.datasets.alteration import Alterations
from gmdask.datasets.prediction import Predictions
from gmdask.likelihood.group import StoredCube

__all__ = ["MapDataset"]


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
        return f"<MapDataset {self._name!r}: {self._shape_text}, {len(self._models)} models>"

    def __str__(self) -> str:
        arrays = ", ".join(str(key) for key in self._cube.data_vars)
        models = ", ".join(self._models.names) or "none"
        return (
            f"MapDataset {self._name!r}\n  axes    {self._shape_text}\n  arrays  {arrays}\n"
            f"  {self._kept}\n  models  {models}"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
