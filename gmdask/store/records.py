"""The rows of a store, and the record of a finished block, as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy.io.fits import Header
from astropy.units import Quantity
from astropy.wcs import WCS

__all__ = ["BlockRecord", "Pointing", "Row", "rows_from_columns", "rows_to_columns", "summarise"]


# types and smallest allowed values of the columns of rows
_PERHAPS = (int, float, type(None))
_COLUMNS: dict[str, tuple[type | tuple[type, ...], int | None]] = {
    "name": (str, None), "kind": (str, None), "block": (int, 0), "row": (int, 0),
    "lon": (_PERHAPS, None), "lat": (_PERHAPS, None), "frame": (str, None),
    "livetime": (_PERHAPS, None), "counts": (_PERHAPS, None),
}  # fmt: skip


@dataclass(frozen=True)
class Pointing:
    """Centre of the counts map; empty for a dataset without a map.

    Attributes
    ----------
    lon, lat : float or None
        In deg; None if the centre of the projection is not on the sky.
    frame : str
        ``icrs``, ``fk5``, ``galactic``, ...
    """

    lon: float | None
    lat: float | None
    frame: str


@dataclass(frozen=True)
class Row:
    """One dataset of a store.

    Attributes
    ----------
    name : str
        Unique in the store.
    kind : str
        Of dataset, such as ``MapDataset``.
    block : str
        Its block.
    row : int
        Its row in the block.
    pointing : Pointing
        Centre of its map.
    livetime : float or None
        In s, None if the file does not give it.
    counts : float or None
        Total over the map, regardless of masks; None for a dataset without counts.
    """

    name: str
    kind: str
    block: str
    row: int
    pointing: Pointing
    livetime: float | None
    counts: float | None


@dataclass(frozen=True)
class BlockRecord:
    """A finished block, ready to be committed.

    Attributes
    ----------
    block : str
        Its name.
    manifest : str
        SHA-256 of its manifest.
    source_digest : str
        Digest of the input from which it was made.
    rows : tuple of Row
        Its datasets.
    """

    block: str
    manifest: str
    source_digest: str
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a dictionary that JSON can represent."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> BlockRecord:
        """Undo `to_dict`."""
        rows = (Row(**{**row, "pointing": Pointing(**row["pointing"])}) for row in content["rows"])
        return cls(**{**content, "rows": tuple(rows)})


def summarise(cube: xr.Dataset, block: str, row: int) -> Row:
    """Return the row of a cube.

    Parameters
    ----------
    cube : xarray.Dataset
        One dataset.
    block : str
        Name of its block.
    row : int
        Its row in the block.

    Returns
    -------
    Row
        With the centre, livetime and counts of the cube, as far as it has them.
    """
    return Row(
        name=cube.attrs["name"],
        kind=cube.attrs["kind"],
        block=block,
        row=row,
        pointing=_pointing(cube),
        livetime=_livetime(cube),
        counts=_total(cube),
    )


def _total(cube: xr.Dataset) -> float | None:
    if "counts" not in cube:
        return None
    counts = cube["counts"].values
    return float(np.sum(counts, where=np.isfinite(counts), dtype=np.float64))


def _pointing(cube: xr.Dataset) -> Pointing:
    if "wcs" not in cube.attrs:
        return Pointing(None, None, "")
    cards = cube.attrs["wcs"]
    wcs = WCS(Header(list(cards.items())), naxis=2, fix=False)
    center = [(cube.sizes["lon"] - 1) / 2, (cube.sizes["lat"] - 1) / 2]
    lon, lat = (float(value) for value in wcs.wcs_pix2world(*center, 0))
    ctype = str(cards["CTYPE1"])
    if ctype.startswith("GLON"):
        frame = "galactic"
    elif ctype.startswith("RA"):
        frame = str(cards.get("RADESYS", "ICRS")).strip().lower()
    else:
        frame = ctype.split("-")[0].lower()
    on_sky = math.isfinite(lon) and math.isfinite(lat)
    return Pointing(lon if on_sky else None, lat if on_sky else None, frame)


def _livetime(cube: xr.Dataset) -> float | None:
    exposure = cube.get("exposure")
    text = None if exposure is None else exposure.attrs.get("meta", {}).get("livetime")
    if text is None:
        return None
    try:
        livetime = float(Quantity(text).to_value("s"))
    except (TypeError, ValueError):
        return None
    return livetime if math.isfinite(livetime) else None


def rows_to_columns(rows: Sequence[Row], blocks: Sequence[str]) -> dict[str, list[Any]]:
    """Return rows as columns, with blocks as indices into `blocks`."""
    number = {block: index for index, block in enumerate(blocks)}
    return {
        "name": [row.name for row in rows],
        "kind": [row.kind for row in rows],
        "block": [number[row.block] for row in rows],
        "row": [row.row for row in rows],
        "lon": [row.pointing.lon for row in rows],
        "lat": [row.pointing.lat for row in rows],
        "frame": [row.pointing.frame for row in rows],
        "livetime": [row.livetime for row in rows],
        "counts": [row.counts for row in rows],
    }


def rows_from_columns(columns: dict[str, list[Any]], blocks: Sequence[str]) -> tuple[Row, ...]:
    """Invert `rows_to_columns`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a column is missing, or contains an invalid value.
    """
    for key, (kinds, least) in _COLUMNS.items():
        for value in columns[key]:
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise ValueError(f"{key} {value!r} has another type than expected")
            if isinstance(value, int) and least is not None and value < least:
                raise ValueError(f"{key} {value!r} is below {least}")
    if any(block >= len(blocks) for block in columns["block"]):
        raise ValueError(f"block {max(columns['block'])} does not exist, there are {len(blocks)}")
    return tuple(
        Row(name, kind, blocks[block], row, Pointing(lon, lat, frame), livetime, counts)
        for name, kind, block, row, lon, lat, frame, livetime, counts in zip(
            *(columns[key] for key in _COLUMNS), strict=True
        )
    )
