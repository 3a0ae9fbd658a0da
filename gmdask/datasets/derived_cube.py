"""A cube made from others by an operation: described, and computed where it is needed."""

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
    """A cube as what it is made from and how: plain data, that a worker can follow.

    Attributes
    ----------
    operation : callable
        Function of a module of gmdask, from cubes and options to a cube.
    sources : tuple
        Where the cubes it begins with are found.
    options : mapping
        Plain data.
    """

    operation: Callable[..., xr.Dataset]
    sources: tuple[CubeSource, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> None:
        """Place of a store: there is none that holds the cube."""

    @property
    def block(self) -> None:
        """Block of a store: there is none that holds the cube."""

    def identity(self) -> list[Any]:
        """Plain data that stand for the content of the cube: a digest of what it is made from."""
        made = (self.operation.__module__, self.operation.__qualname__, dict(self.options))
        sources = [source.identity() for source in self.sources]
        return [tokenize(made, sources, ensure_deterministic=True)]

    def follow(self) -> xr.Dataset:
        """Make the cube, lazily."""
        cubes = [s.follow() if isinstance(s, AlteredCube) else s.open() for s in self.sources]
        return self.operation(*map(lazy, cubes), **self.options)

    def open(self) -> xr.Dataset:
        """Make the cube, with its arrays computed in this process."""
        return computed(self.follow())


def lazy(cube: xr.Dataset) -> xr.Dataset:
    """Cube whose arrays, but for tables and axes, are Dask's; none is read.

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
    """Array as a Dask array, which is not read; what it is made of is not hashed either.

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
    """Cube whose Dask arrays are computed, together, in the calling thread.

    Parameters
    ----------
    cube : `xarray.Dataset`
        What is not Dask's stays as lazy as it is.
    """
    arrays = {str(key): array.data for key, array in cube.variables.items() if array.chunks}
    if not arrays:
        return cube
    (values,) = dask.compute(arrays, scheduler="synchronous")
    found = {key: cube.variables[key].copy(data=value) for key, value in values.items()}
    return cube.assign(found)


def opened(source: CubeSource | xr.Dataset, name: str) -> xr.Dataset:
    """Cube in the memory of this process.

    Parameters
    ----------
    source : `CubeSource` or `xarray.Dataset`
        Where it is found, or the cube.
    name : str
        Name of the dataset, which may differ from that of the cube.
    """
    cube = source if isinstance(source, xr.Dataset) else source.open()
    return computed(cube).load().assign_attrs(name=name)


def in_process(variable: xr.Variable) -> xr.Variable:
    """Array that is computed in this process where it is indexed, whatever clients there are.

    Parameters
    ----------
    variable : `xarray.Variable`
        What is not Dask's stays as it is.
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
