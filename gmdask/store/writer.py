"""Write one block: a Zarr group that any Zarr reader can open."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import xarray as xr
import zarr
import zarr.abc.store
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from gmdask.errors import GmdaskError, InputError, StoreError
from gmdask.store.backends import Files
from gmdask.store.checksums import LAYOUT_VERSION
from gmdask.store.layout import FLAT_CHUNK, GTI_DIM, describe, flat_codecs, shard_grid, sharding
from gmdask.store.manifest import manifest_path, seal
from gmdask.store.records import BlockRecord, summarise

__all__ = ["DATASET_DIM", "META", "RESERVED", "write_cubes"]

DATASET_DIM = "dataset"
META = "meta"
RESERVED = {"schema_version", "coordinates", META}
GTI_CHUNK = 65536
_DIGEST = re.compile(r"[0-9A-Za-z]{16,}")


def write_cubes(files: Files, cubes: Sequence[xr.Dataset], source_digest: str) -> BlockRecord:
    """Write cubes of the same shape as a new block, and seal it.

    Parameters
    ----------
    files : Files
        The store.
    cubes : sequence of xarray.Dataset
        In memory, in the order of the block.
    source_digest : str
        Digest of the input, by which a later run finds the block; at least 16
        letters and digits.

    Returns
    -------
    BlockRecord
        Record for a commit. Before it is committed, the block is not part of the store.

    Raises
    ------
    InputError
        If the cubes cannot share a block.
    StoreError
        If the files cannot be written.
    """
    _check(cubes, source_digest)
    try:
        attributes = _attributes(cubes)
    except (TypeError, ValueError) as error:
        raise InputError(f"attributes of a dataset cannot be written as JSON: {error}") from error
    block = f"{source_digest[:16]}-{uuid.uuid4().hex}"
    store = files.zarr_store(f"blocks/{block}", read_only=False)
    try:
        group = zarr.create_group(store, zarr_format=3, attributes=attributes)
        first = cubes[0]
        for name in first.coords:
            _put_flat(group, str(name), first[name].variable)
        for name in first.data_vars:
            if first[name].dims != (GTI_DIM,):
                _put_sharded(group, str(name), [cube[name].variable for cube in cubes])
        if "gti_start" in first:
            _put_gti(group, cubes)
        _consolidate(store)
        rows = [summarise(cube, block, number) for number, cube in enumerate(cubes)]
        return seal(files, block, source_digest, rows)
    except GmdaskError:
        _give_up(files, block)
        raise
    except OSError as error:
        _give_up(files, block)
        raise StoreError(f"{files.url}: block {block} cannot be written ({error})") from error


def _give_up(files: Files, block: str) -> None:
    """Free the space of a block that could not be written and has no manifest."""
    with contextlib.suppress(StoreError):
        files.remove(manifest_path(block))
        files.remove(f"blocks/{block}")


def _check(cubes: Sequence[xr.Dataset], source_digest: str) -> None:
    if not cubes:
        raise InputError("a block needs at least one cube")
    if not _DIGEST.fullmatch(source_digest):
        raise InputError(f"{source_digest!r} is not a digest of at least 16 letters and digits")
    signature = describe(cubes[0]).signature
    for cube in cubes[1:]:
        if describe(cube).signature != signature:
            raise InputError(
                f"datasets {cubes[0].attrs['name']!r} and {cube.attrs['name']!r} cannot share a "
                "block: their axes, shapes, dtypes or units differ"
            )


def _attributes(cubes: Sequence[xr.Dataset]) -> dict[str, Any]:
    """Return one list per attribute, with one entry per dataset; all but names are JSON text."""
    keys = dict.fromkeys(str(key) for cube in cubes for key in cube.attrs)
    if taken := RESERVED & set(keys):
        raise InputError(f"a dataset cannot have attributes named {', '.join(sorted(taken))}")
    attributes: dict[str, Any] = {
        "schema_version": LAYOUT_VERSION,
        "coordinates": " ".join(str(name) for name in cubes[0].coords if name not in cubes[0].dims),
        "name": [cube.attrs["name"] for cube in cubes],
    }
    for key in keys:
        if key != "name":
            attributes[key] = [_text(cube.attrs, key) for cube in cubes]
    attributes[META] = [json.dumps(_variable_meta(cube)) for cube in cubes]
    return attributes


def _text(attrs: dict[Any, Any], key: str) -> str | None:
    return json.dumps(attrs[key]) if key in attrs else None


def _variable_meta(cube: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return the attributes of arrays that differ between datasets: all but the unit."""
    meta = {
        str(name): {key: value for key, value in variable.attrs.items() if key != "unit"}
        for name, variable in cube.data_vars.items()
    }
    return {name: attrs for name, attrs in meta.items() if attrs}


def _put_flat(group: zarr.Group, name: str, variable: xr.Variable) -> None:
    _create_flat(group, name, np.asarray(variable.values), variable.dims, dict(variable.attrs))


def _create_flat(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    dims: Sequence[Any],
    attributes: dict[str, Any],
) -> None:
    serializer, compressor, checksum = flat_codecs(values.dtype)
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=tuple(max(1, min(n, FLAT_CHUNK)) for n in values.shape),
        serializer=serializer,
        compressors=[compressor, checksum],
        filters=None,
        fill_value=values.dtype.type(0),
        dimension_names=[str(dim) for dim in dims],
        attributes=attributes,
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _put_sharded(group: zarr.Group, name: str, variables: Sequence[xr.Variable]) -> None:
    first = variables[0]
    dims = [str(dim) for dim in first.dims]
    grid = shard_grid(dims, first.shape, first.dtype, len(variables))
    array = group.create_array(
        name,
        shape=(len(variables), *first.shape),
        dtype=first.dtype,
        chunks=grid.shard,
        serializer=sharding(grid, first.dtype),
        compressors=None,
        filters=None,
        fill_value=first.dtype.type(0),
        dimension_names=[DATASET_DIM, *dims],
        attributes={"unit": first.attrs.get("unit", "")},
        config={"write_empty_chunks": True},
    )
    depth = grid.shard[0]
    for number in range(ceil(len(variables) / depth)):
        rows = slice(number * depth, min((number + 1) * depth, len(variables)))
        array[rows] = np.stack([variable.values for variable in variables[rows]])


def _put_gti(group: zarr.Group, cubes: Sequence[xr.Dataset]) -> None:
    """Write the good time intervals of all datasets one after another."""
    subgroup = group.create_group(GTI_DIM)
    lengths = np.array([cube.sizes[GTI_DIM] for cube in cubes], dtype=np.int64)
    for name in ("start", "stop"):
        variables = [cube[f"gti_{name}"].variable for cube in cubes]
        values = np.concatenate([variable.values for variable in variables])
        _create_flat(subgroup, name, values, [GTI_DIM], dict(variables[0].attrs))
    _create_flat(subgroup, "length", lengths, [DATASET_DIM], {})
    _create_flat(subgroup, "offset", np.cumsum(lengths) - lengths, [DATASET_DIM], {})


def _consolidate(store: zarr.abc.store.Store) -> None:
    """Copy the metadata of all members into those of the groups (zarr warns when it does so)."""
    prototype = default_buffer_prototype()

    async def gather() -> None:
        members: dict[str, Any] = {}
        async for key in store.list():
            if key.endswith("zarr.json"):
                buffer = await store.get(key, prototype)
                if buffer is not None:
                    members[key.rpartition("/")[0]] = json.loads(buffer.to_bytes())
        for path in [path for path, member in members.items() if member["node_type"] == "group"]:
            prefix = f"{path}/" if path else ""
            below = [key for key in sorted(members) if key.startswith(prefix) and key != path]
            metadata = {
                **members[path],
                "consolidated_metadata": {
                    "kind": "inline",
                    "must_understand": False,
                    "metadata": {key.removeprefix(prefix): members[key] for key in below},
                },
            }
            data = json.dumps(metadata).encode()
            await store.set(f"{prefix}zarr.json", prototype.buffer.from_bytes(data))

    sync(gather())
