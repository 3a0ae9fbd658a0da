"""Read a block: each of its datasets as a lazy `xarray.Dataset`."""

from __future__ import annotations

import json
from functools import cached_property, partial
from typing import Any, NoReturn

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gmdask.errors import CorruptStoreError
from gmdask.store.backends import Files
from gmdask.store.layout import GTI_DIM, check_array
from gmdask.store.lazy_variable import lazy_variable
from gmdask.store.manifest import read_manifest
from gmdask.store.shard_reader import ShardedArray
from gmdask.store.verified_reads import CheckedFiles, CheckedStore
from gmdask.store.writer import DATASET_DIM, META, RESERVED

__all__ = ["Block"]


class Block:
    """An open sealed block; it is pickled as its location.

    Parameters
    ----------
    files : Files
        The store.
    name : str
        Name of the block.
    digest : str
        SHA-256 of the manifest.

    Raises
    ------
    CorruptStoreError
        If its manifest or metadata are missing or damaged.
    """

    def __init__(self, files: Files, name: str, digest: str) -> None:
        self.files, self.name, self.digest = files, name, digest
        self.manifest, _ = read_manifest(files, name, digest)
        try:
            self._open()
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            self._fail(f"its metadata are invalid ({error!r})", error)

    def _open(self) -> None:
        files, name = self.files, self.name
        folder = files.zarr_store(f"blocks/{name}", read_only=True)
        checked = CheckedFiles(files, self.manifest)
        store = CheckedStore(folder, checked)
        self.group = zarr.open_group(store, mode="r", zarr_format=3)
        self._arrays = dict(self.group.arrays())
        self._sharded = {
            key: ShardedArray(checked, array)
            for key, array in self._arrays.items()
            if DATASET_DIM in _dims(array)
        }
        self._attributes: dict[str, Any] = dict(self.group.attrs)
        arrays = dict(self._arrays)
        if GTI_DIM in self.group:
            gti: Any = self.group[GTI_DIM]
            arrays |= {f"{GTI_DIM}/{key}": array for key, array in gti.arrays()}
        for key, array in arrays.items():
            check_array(key, array, self.manifest, is_sharded=key in self._sharded)
        sizes = [size for key in self._sharded for size in self._sizes(key)]
        sizes += [
            size for key in self._arrays if key not in self._sharded for size in self._sizes(key)
        ]
        if len(set(sizes)) != len(dict(sizes)):
            raise ValueError("arrays differ in size along one dimension")
        n_rows = len(self.manifest.rows)
        for key in self._attributes.keys() - (RESERVED - {META}):
            if len(self._attributes[key]) != n_rows:
                raise ValueError(f"attribute {key!r} does not have {n_rows} entries")

    def _sizes(self, key: str) -> list[tuple[str, int]]:
        return list(zip(_dims(self._arrays[key]), self._arrays[key].shape, strict=True))

    def _fail(self, message: str, error: Exception | None = None) -> NoReturn:
        msg = f"{self.files.url}: block {self.name}: {message}"
        raise CorruptStoreError(msg) from error

    def __repr__(self) -> str:
        return f"<Block {self.name} of {self.files.url}>"

    def __reduce__(self) -> tuple[type[Block], tuple[Files, str, str]]:
        return Block, (self.files, self.name, self.digest)

    @cached_property
    def coords(self) -> xr.Coordinates:
        """The axes, in memory; all datasets share them."""
        coords = {
            key: xr.Variable(_dims(array), array[...], dict(array.attrs))
            for key, array in self._arrays.items()
            if key not in self._sharded
        }
        return xr.Dataset(coords=coords).coords

    @cached_property
    def gti(self) -> dict[str, Any] | None:
        """The good time intervals: two arrays, and the range that belongs to each dataset."""
        if GTI_DIM not in self.group:
            return None
        group: Any = self.group[GTI_DIM]
        parts: dict[str, Any] = {key: group[key] for key in ("start", "stop")}
        parts |= {key: group[key][...] for key in ("length", "offset")}
        return parts

    def open_row(self, row: int) -> xr.Dataset:
        """Return one dataset; only the axes are read.

        Parameters
        ----------
        row : int
            Its row in the block.

        Returns
        -------
        xarray.Dataset
            Lazy: an array is read when it is used.
        """
        if not 0 <= row < len(self.manifest.rows):
            self._fail(f"there is no row {row} among its {len(self.manifest.rows)} datasets")
        variables: dict[str, xr.Variable] = {}
        meta = json.loads(self._attributes[META][row])
        for key in self._sharded:
            array = self._arrays[key]
            attrs = {**array.attrs, **meta.get(key, {})}
            sharded, read = self.array(key), partial(self._read_row, key, row)
            dims = _dims(array)[1:]
            variables[key] = lazy_variable(dims, read, sharded.shape, sharded.dtype, attrs)
        if self.gti is not None:
            shape = (int(self.gti["length"][row]),)
            for key in ("start", "stop"):
                attrs = {**self.gti[key].attrs, **meta.get(f"gti_{key}", {})}
                variables[f"gti_{key}"] = lazy_variable(
                    (GTI_DIM,), partial(self._read_gti, key, row), shape, self.gti[key].dtype, attrs
                )
        return xr.Dataset(variables, coords=self.coords, attrs=self._row_attributes(row))

    def _row_attributes(self, row: int) -> dict[str, Any]:
        attrs: dict[str, Any] = {"name": self._attributes["name"][row]}
        for key, column in self._attributes.items():
            if key not in RESERVED and key != "name" and column[row] is not None:
                attrs[key] = json.loads(column[row])
        return attrs

    def attribute(self, row: int, key: str) -> Any:
        """Return an attribute of a dataset, None if it has no attribute of this name; no array is opened.

        Parameters
        ----------
        row : int
            Its row in the block.
        key : str
            Name of the attribute.
        """
        text = self._attributes.get(key, {row: None})[row]
        return text if text is None else json.loads(text)

    @property
    def keys(self) -> set[str]:
        """Names of the arrays that each dataset has."""
        return set(self._sharded)

    def array(self, key: str) -> ShardedArray:
        """Return an array of the block, which can be read dataset by dataset."""
        return self._sharded[key]

    def _read_row(self, key: str, row: int, index: tuple[Any, ...]) -> NDArray[Any]:
        """Read one dataset's part of an array."""
        return self.array(key).read(row, index)

    def _read_gti(self, key: str, row: int, index: tuple[Any, ...]) -> NDArray[Any]:
        """Read one dataset's good time intervals."""
        parts = self.gti or {}
        start = int(parts["offset"][row])
        return np.asarray(parts[key][start : start + int(parts["length"][row])][index])


def _dims(array: Any) -> tuple[str, ...]:
    names = array.metadata.dimension_names or ()
    if len(names) != array.ndim:
        raise CorruptStoreError(f"array {array.path}: its dimensions have no names")
    return tuple(str(name) for name in names)
