"""One observation: a lazy cube, and copies of the models that touch it."""

from __future__ import annotations

from functools import cache, cached_property, partial
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.datasets.broadcast import Broadcast
from gmdask.errors import InputError, ModelError
from gmdask.likelihood.compiled import CompiledDataset
from gmdask.likelihood.group import StoredCube, npred_cube
from gmdask.models import BackgroundIRFModel, DatasetModels, Models, Parameter, Parameters
from gmdask.store.lazy import lazy_variable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gmdask.models import Component

__all__ = ["MapDataset"]

Array = NDArray[np.float64]


class MapDataset:
    """Counts, exposure, background, masks and IRFs of one observation, with models.

    Nothing is read from the store before it is used. The dataset holds its own copies of the
    models; nothing it does changes the global `Models`.

    Parameters
    ----------
    cube : `xarray.Dataset`
        The observation as stored: ``counts(energy, lat, lon)``, ``exposure(energy_true, lat,
        lon)``, and where there are any ``background``, ``mask_safe``, ``mask_fit``, ``psf``, ``edisp``.
    stored : `StoredCube`, optional
        Where workers find the same cube; without it the dataset lives in this process.

    Raises
    ------
    InputError
        If counts or exposure are missing.
    """

    def __init__(self, cube: xr.Dataset, stored: StoredCube | None = None) -> None:
        name = str(cube.attrs.get("name", ""))
        for key in ("counts", "exposure"):
            if key not in cube:
                msg = f"dataset {name!r}: {key!r} is missing"
                raise InputError(msg)
        self._cube, self._stored, self._name = cube, stored, name
        self._models = DatasetModels()
        self._compiled: CompiledDataset | None = None
        # which broadcast of a collection these models and values are, if they are of any
        self._structure: Broadcast | None = None
        self._values: Array | None = None

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self._name

    @property
    def cube(self) -> xr.Dataset:
        """All arrays of the dataset, lazy, with axes and units."""
        return self._cube

    @property
    def stored(self) -> StoredCube | None:
        """Where the cube is kept, None for a dataset in memory."""
        return self._stored

    def _array(self, key: str) -> xr.DataArray | None:
        return self._cube.get(key)

    @property
    def counts(self) -> xr.DataArray:
        """Counts (energy, lat, lon), lazy."""
        return self._cube["counts"]

    @property
    def exposure(self) -> xr.DataArray:
        """Exposure (energy_true, lat, lon), lazy; its unit is an attribute."""
        return self._cube["exposure"]

    @property
    def background(self) -> xr.DataArray | None:
        """Background (energy, lat, lon) as it was made, lazy."""
        return self._array("background")

    @property
    def psf(self) -> xr.DataArray | None:
        """PSF (energy, rad, lat, lon), lazy."""
        return self._array("psf")

    @property
    def edisp(self) -> xr.DataArray | None:
        """Energy dispersion (energy_true, energy or migra, lat, lon), lazy."""
        return self._array("edisp")

    @property
    def mask_safe(self) -> xr.DataArray | None:
        """Bins that can be trusted (energy, lat, lon), lazy."""
        return self._array("mask_safe")

    @property
    def mask_fit(self) -> xr.DataArray | None:
        """Bins chosen for the fit (energy, lat, lon), lazy."""
        return self._array("mask_fit")

    # --- models ------------------------------------------------------------------------

    @property
    def models(self) -> DatasetModels:
        """A copy of the models of this dataset, to look at."""
        return self._models.copy()

    def set_models(self, models: Models | Iterable[Component] | None) -> None:
        """Give the dataset copies of the models that touch it.

        Parameters
        ----------
        models : `Models` or iterable of components, or None
            The global models; None takes all away.

        Raises
        ------
        ModelError
            If a model cannot be used on this dataset, or the class of a user returns what it
            must not.
        """
        models = models if isinstance(models, Models) else Models(models or [])
        models.check()
        own = models.for_dataset(self._name)
        self._check_models(own)
        self._take_models(own)

    def _take_models(self, models: DatasetModels) -> None:
        self._models, self._compiled = models, None
        self._structure = self._values = None

    def _check_models(self, models: DatasetModels) -> None:
        for model in models:
            if isinstance(model, BackgroundIRFModel) and "background" not in self._cube:
                msg = f"model {model.name!r}: dataset {self._name!r} has no background"
                raise ModelError(msg)

    def set_models_parameters(self, parameters: Parameters) -> None:
        """Take parameter values from the global models.

        Parameters
        ----------
        parameters : `Parameters`
            Of the global models, found by full name.
        """
        self._models.set_parameters(parameters)
        self._values = None

    @property
    def models_named_parameters(self) -> list[tuple[str, Parameter]]:
        """Full names and parameters of the models, shared ones repeated."""
        return self._models.named_parameters()

    def copy(self, name: str | None = None) -> MapDataset:
        """Copy the dataset; its arrays stay where they are, its models are copied.

        Parameters
        ----------
        name : str, optional
            Name of the copy; the ``datasets_names`` of its models follow.
        """
        new = MapDataset(self._cube, self._stored)
        if name is not None and name != self._name:
            new._name, new._cube = name, self._cube.assign_attrs(name=name)
        memo: dict[int, Any] = {}
        new._models = DatasetModels([self._copied(c, new.name, memo) for c in self._models])
        return new

    def _copied(self, component: Component, name: str, memo: dict[int, Any]) -> Component:
        """Copy of a component that follows the dataset to a new name."""
        if isinstance(component, BackgroundIRFModel):
            return component.copy(memo=memo, dataset_name=name)
        copied = component.copy(memo=memo)
        if copied.datasets_names is not None:
            copied.datasets_names = [name if n == self._name else n for n in copied.datasets_names]
        return copied

    # --- numbers -----------------------------------------------------------------------

    def _compile(self) -> CompiledDataset:
        if self._compiled is None:
            self._compiled = CompiledDataset(self._cube, self._models)
        return self._compiled

    def stat_sum(self) -> float:
        """Cash statistic ``-2 log L`` over the mask, at the present parameters."""
        return self._compile().evaluate(self._models.parameters.value).stat

    def npred(self) -> xr.DataArray:
        """Predicted counts (energy, lat, lon) of all models and the background, lazy.

        Backed by Dask for a dataset of a store on disk; one in memory is computed in this process.
        Negative sums are clipped at zero, as in Gammapy.
        """
        import dask
        import dask.array

        dims, shape = tuple(map(str, self.counts.dims)), self.counts.shape
        models = self._models.to_dict()
        if self._stored is None:  # its arrays do not leave this process
            compute = cache(partial(npred_cube, self._name, self._cube, models))
            lazy = lazy_variable(dims, lambda index: compute()[index], shape, np.dtype(np.float64))
        else:
            task = dask.delayed(npred_cube, pure=False)(self._name, self._stored, models)
            lazy = xr.Variable(dims, dask.array.from_delayed(task, shape, dtype=np.float64))
        coords = {"energy": self._cube["energy"]}
        return xr.DataArray(lazy, coords, name="npred", attrs={"unit": ""})

    # --- looks -------------------------------------------------------------------------

    @cached_property
    def _shape_text(self) -> str:
        energy, lat, lon = self.counts.shape
        return f"{energy} energies × {lat} × {lon} pixels, {self.exposure.shape[0]} true energies"

    def __repr__(self) -> str:
        return f"<MapDataset {self._name!r}: {self._shape_text}, {len(self._models)} models>"

    def __str__(self) -> str:
        arrays = ", ".join(str(key) for key in self._cube.data_vars)
        where = "memory" if self._stored is None else self._stored.url
        models = ", ".join(self._models.names) or "none"
        return (
            f"MapDataset {self._name!r}\n  axes    {self._shape_text}\n  arrays  {arrays}\n"
            f"  kept in {where}\n  models  {models}"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
