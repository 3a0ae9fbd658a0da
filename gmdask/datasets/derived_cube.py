"""A cube derived from others by an operation: described as plain data, and computed where it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import dask
import dask.array
import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from gmdask.store.cube_source import CubeSource
from gmdask.store.lazy_variable import lazy_variable

__all__ = ["AlteredCube", "computed", "in_dask", "in_process", "lazy", "opened"]


@dataclass(frozen=True)
class AlteredCube:
    """Description of how a cube is derived: plain data that a worker can evaluate.

    Attributes
    ----------
    operation : callable
        Function of a gmdask module, from cubes and options to a cube.
    sources : tuple
        Locations of the original cubes.
    options : mapping
        Plain data.
    """

    operation: Callable[..., xr.Dataset]
    sources: tuple[CubeSource, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> None:
        """URL of a store: None, since no store contains the cube."""

    @property
    def block(self) -> None:
        """Block of a store: None, since no store contains the cube."""

    def identity(self) -> list[Any]:
        """Return plain data that identify the content of the cube: a digest of its description."""
        made = (self.operation.__module__, self.operation.__qualname__, dict(self.options))
        sources = [source.identity() for source in self.sources]
        return [tokenize(made, sources, ensure_deterministic=True)]

    def follow(self) -> xr.Dataset:
        """Derive the cube, lazily."""
        cubes = [s.follow() if isinstance(s, AlteredCube) else s.open() for s in self.sources]
        return self.operation(*map(lazy, cubes), **self.options)

    def open(self) -> xr.Dataset:
        """Derive the cube, with its arrays computed in this process."""
        return computed(self.follow())


def lazy(cube: xr.Dataset) -> xr.Dataset:
    """Return a cube whose arrays, except tables and axes, are Dask arrays; none is read.

    Parameters
    ----------
    cube : `xarray.Dataset`
        Lazy or in memory.
    """
    arrays = {
        str(key): in_dask(array.variable, str(key))
        for key, array in cube.data_vars.items()
        if array.ndim > 1
    }
    return cube.assign(arrays)


def in_dask(variable: xr.Variable, name: str) -> xr.Variable:
    """Return an array as a Dask array, without reading or hashing it.

    Parameters
    ----------
    variable : `xarray.Variable`
    name : str
        Part of the names of its tasks.
    """
    if variable.chunks is not None:
        return variable
    return variable.chunk("auto", name=f"{name}-{uuid4().hex}")


def computed(cube: xr.Dataset) -> xr.Dataset:
    """Return a cube whose Dask arrays are computed together, in the calling thread.

    Parameters
    ----------
    cube : `xarray.Dataset`
        Other arrays are left as they are.
    """
    arrays = {str(key): array.data for key, array in cube.variables.items() if array.chunks}
    if not arrays:
        return cube
    (values,) = dask.compute(arrays, scheduler="synchronous")
    found = {key: cube.variables[key].copy(data=value) for key, value in values.items()}
    return cube.assign(found)


def opened(source: CubeSource | xr.Dataset, name: str) -> xr.Dataset:
    """Return a cube in the memory of this process.

    Parameters
    ----------
    source : `CubeSource` or `xarray.Dataset`
        Location of the cube, or the cube.
    name : str
        Name of the dataset, which may differ from that of the cube.
    """
    cube = source if isinstance(source, xr.Dataset) else source.open()
    return computed(cube).load().assign_attrs(name=name)


def in_process(variable: xr.Variable) -> xr.Variable:
    """Return an array that is computed in this process when it is indexed, whatever clients exist.

    Parameters
    ----------
    variable : `xarray.Variable`
        Other arrays are left as they are.
    """
    if variable.chunks is None:
        return variable
    data = variable.data

    def read(index: tuple[Any, ...]) -> NDArray[Any]:
        part = data
        for axis in reversed(range(data.ndim)):
            part = part[(slice(None),) * axis + (index[axis],)]
        return np.asarray(part.compute(scheduler="synchronous"))

    dims = tuple(map(str, variable.dims))
    return lazy_variable(dims, read, variable.shape, variable.dtype, dict(variable.attrs))
