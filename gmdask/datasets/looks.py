"""How a dataset shows itself: as text, as HTML, and in figures."""

from __future__ import annotations

from functools import cached_property

from gmdask.datasets.base import CubeDataset
from gmdask.datasets.summary import html_table
from gmdask.likelihood.group import StoredCube

__all__ = ["Looks"]


class Looks(CubeDataset):
    """Text, HTML and figures of a dataset."""

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
