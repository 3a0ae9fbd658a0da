"""What all datasets are, whatever their kind: lazy arrays, and copies of the models that touch them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import xarray as xr

from gmdask.attributes import KnownAttributes
from gmdask.cluster.settings import setting
from gmdask.datasets.derived_cube import AlteredCube, computed, in_process, lazy
from gmdask.datasets.io.fits_files import write_dataset
from gmdask.datasets.kind import Kind
from gmdask.datasets.model_sync import Sent
from gmdask.datasets.operations.masks import packed_mask, with_mask_fit
from gmdask.datasets.operations.models import renamed_models
from gmdask.errors import InputError, ModelError, check_kind
from gmdask.likelihood.kind import DatasetLikelihood
from gmdask.likelihood.responses import RESPONSES
from gmdask.likelihood.statistics import statistic_type
from gmdask.models import BackgroundIRFModel, DatasetModels, Models, Parameter, Parameters
from gmdask.store.cube_source import CubeSource
from gmdask.store.formats.validity import KERNEL_SUMS, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from gmdask.models import Component

__all__ = ["Dataset", "Unopened", "chosen_response"]

MODELS_OTHERWISE = {
    "models": "set_models(models) gives the datasets copies of the models",
    "background_model": "add a BackgroundIRFModel to the models, and give them by set_models(models)",
}


def chosen_response(response: object = None) -> str:
    """Return a response by its name, by default that of the setting ``gmdask.response``.

    Raises
    ------
    InputError
        If there is no response of this name.
    """
    where = "response" if response is not None else "setting gmdask.response"
    found = setting("response") if response is None else response
    if not isinstance(found, str) or found not in RESPONSES:
        msg = f"{where} is {found!r}, expected one of {', '.join(map(repr, RESPONSES))}"
        raise InputError(msg)
    return str(found)


class Unopened(NamedTuple):
    """A cube that is opened on first use: how to open it, and what is known before.

    Attributes
    ----------
    name : str
        Name of the dataset.
    open : callable
        Returns the cube.
    arrays : callable
        Returns the names of its arrays.
    attribute : callable
        Returns an attribute by its name, None if it does not exist.
    """

    name: str
    open: Callable[[], xr.Dataset]
    arrays: Callable[[], Collection[str]]
    attribute: Callable[[str], Any]


class Dataset(KnownAttributes, Kind):
    """Data of some kind, with models.

    Nothing is read or computed before it is needed. The dataset has its own copies of the
    models; none of its methods changes the global `Models`.

    A kind of dataset is a subclass; see `Kind` for what it has to have.

    Parameters
    ----------
    cube : `xarray.Dataset` or `Unopened`
        The arrays as stored, with axes and units, and in ``attrs`` what is the dataset's own.
    stored : `StoredCube` or `AlteredCube`, optional
        Location of the same cube for workers, or how they compute it; None if the dataset
        exists in this process only.
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed; see `response`.

    Attributes
    ----------
    sent : `Sent`
        Which broadcast of a collection its models are from.

    Raises
    ------
    InputError
        If arrays are missing.
    """

    set_otherwise = MODELS_OTHERWISE | {
        "mask_fit": "copy(mask_fit=mask) gives a dataset with another mask",
    }

    def __init__(
        self,
        cube: xr.Dataset | Unopened,
        stored: CubeSource | None = None,
        *,
        response: str | None = None,
    ) -> None:
        self._response = None if response is None else chosen_response(response)
        self._held = cube
        check_kind(
            cube, (xr.Dataset, Unopened), "an xarray.Dataset (read and create make datasets)"
        )
        named = cube.attrs.get("name", "") if isinstance(cube, xr.Dataset) else cube.name
        self._stored, self._name = stored, str(named)
        if isinstance(cube, xr.Dataset):
            check_name(self._name, "dataset")
            self._check(cube)
        self._models = DatasetModels()
        self._compiled: tuple[str, DatasetLikelihood] | None = None
        self.sent = Sent()

    def _check(self, cube: xr.Dataset) -> None:
        """Refuse a cube without the arrays that its statistic is made of."""
        for key in statistic_type(cube.attrs).reads:
            if key not in cube:
                msg = f"dataset {self._name!r}: {key!r} is missing"
                raise InputError(msg)

    def _has(self, key: str) -> bool:
        """Whether there is an array of this name; nothing is opened."""
        if isinstance(self._held, Unopened):
            return key in self._held.arrays()
        return key in self._cube

    @property
    def kernel_sums(self) -> dict[str, float]:
        """Sums of the kernels of "psf" and "edisp" that are not 1; nothing is opened."""
        if isinstance(self._held, Unopened):
            found = self._held.attribute(KERNEL_SUMS)
        else:
            found = self._cube.attrs.get(KERNEL_SUMS)
        return dict(found or {})

    @property
    def _cube(self) -> xr.Dataset:
        if isinstance(self._held, Unopened):
            opened = self._held.open()
            self._check(opened)
            self._held = opened
        return self._held

    @_cube.setter
    def _cube(self, cube: xr.Dataset) -> None:
        self._held = cube

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self._name

    @property
    def cube(self) -> xr.Dataset:
        """All arrays of the dataset, lazy, with axes and units.

        Arrays of a dataset in memory do not leave this process, whatever clients exist.
        """
        if self._stored is not None:
            return self._cube
        arrays = {str(k): in_process(v.variable) for k, v in self._cube.data_vars.items()}
        return self._cube.assign(arrays)

    @property
    def lazy_cube(self) -> xr.Dataset:
        """The arrays as Dask arrays; none is read, and operations on them are not computed."""
        return lazy(self._cube)

    def open(self) -> xr.Dataset:
        """Return the cube, with derived arrays computed, for use in this process."""
        return computed(self._cube)

    @property
    def stored(self) -> CubeSource | None:
        """Location of the cube, or how it is derived; None for a dataset in memory."""
        return self._stored

    @property
    def source(self) -> CubeSource | xr.Dataset:
        """Return what a worker needs to open the cube: its location, or the cube in memory."""
        return self._cube if self._stored is None else self._stored

    @property
    def data_names(self) -> tuple[str, ...]:
        """Arrays of the cube that its statistic is made of; the first has the shape of the bins."""
        return statistic_type(self._cube.attrs).reads

    def _array(self, key: str) -> xr.DataArray | None:
        return self.cube.get(key)

    @property
    def mask_safe(self) -> xr.DataArray | None:
        """Bins that can be trusted, lazy."""
        return self._array("mask_safe")

    @property
    def mask_fit(self) -> xr.DataArray | None:
        """Bins chosen for the fit, lazy."""
        return self._array("mask_fit")

    @property
    def stat_type(self) -> str:
        """Name of the statistic, "cash", "cash_weighted" or "wstat", as determined by the data."""
        return statistic_type(self._cube.attrs).name

    @property
    def response(self) -> str:
        """How predicted counts are computed, by default the setting ``gmdask.response``.

        "exact": a source is convolved with the PSF at its position, and then integrated over pixels.
        "gammapy": Gammapy's numbers, in which a source is evaluated on pixels before it is convolved.
        """
        return chosen_response(self._response)

    def set_response(self, response: str) -> None:
        """Choose how predicted counts are computed.

        Parameters
        ----------
        response : {"exact", "gammapy"}
        """
        self._response, self._compiled = chosen_response(response), None

    # --- models ------------------------------------------------------------------------

    @property
    def models(self) -> DatasetModels:
        """A copy of the models of this dataset."""
        return self._models.copy()

    def set_models(self, models: Models | Iterable[Component] | None) -> None:
        """Set the models of the dataset, which are copies of those that apply to it.

        Parameters
        ----------
        models : `Models` or iterable of components, or None
            The global models; None removes all models.

        Raises
        ------
        ModelError
            If a model cannot be applied to this dataset.
        """
        models = models if isinstance(models, Models) else Models(models or [])
        models.check()
        own = models.for_dataset(self._name)
        self.check_models(own)
        self.take_models(own)

    def take_models(self, models: DatasetModels) -> None:
        """Hold models as they are, without copies and checks.

        Parameters
        ----------
        models : `DatasetModels`
            That nothing else holds.
        """
        self._models, self._compiled = models, None
        self.sent = Sent()

    def check_models(self, models: DatasetModels) -> None:
        """Raise an error if a model cannot be used on the dataset.

        Parameters
        ----------
        models : `DatasetModels`

        Raises
        ------
        ModelError
        """
        for model in models:
            if isinstance(model, BackgroundIRFModel) and not self._has("background"):
                msg = f"model {model.name!r}: dataset {self._name!r} has no background"
                raise ModelError(msg)

    def set_models_parameters(self, parameters: Parameters) -> None:
        """Take over parameter values from the global models.

        Parameters
        ----------
        parameters : `Parameters`
            Parameters of the global models, matched by full name.
        """
        self._models.set_parameters(parameters)
        self.sent = self.sent._replace(values=None)

    @property
    def own_models(self) -> DatasetModels:
        """The models that it holds, not a copy: for the code of gmdask."""
        return self._models

    @property
    def own_response(self) -> str | None:
        """The chosen `response`, None where it is left to the setting."""
        return self._response

    @property
    def models_named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return full names and parameters of the models; shared ones are repeated."""
        return self._models.named_parameters()

    def copy(self, name: str | None = None, *, mask_fit: Any = None) -> Self:
        """Copy the dataset; arrays are shared, models are copied.

        Parameters
        ----------
        name : str, optional
            Name of the copy, by default that of this dataset; the ``datasets_names`` of its models
            follow.
        mask_fit : boolean array, `xarray.DataArray` or a map of Gammapy, optional
            Bins that are fitted from now on, in place of those of the mask there is: of shape
            (energy, lat, lon), or (lat, lon), or of a spectrum or flux points (energy,).

        Raises
        ------
        InputError
            If the mask is not boolean, or has another shape.
        """
        cube, stored = self._cube, self._stored
        if mask_fit is not None:
            bins = cube[self.data_names[0]]
            packed = packed_mask(mask_fit, bins, f"dataset {self._name!r}")
            cube = with_mask_fit(cube, packed)
            if stored is not None:
                stored = AlteredCube(with_mask_fit, (stored,), {"packed": packed})
        named = cube.assign_attrs(name=name or self._name)
        new = type(self)(named, stored, response=self._response)
        new.take_models(self.models_for(new.name))
        return new

    def write(self, filename: str | Path, overwrite: bool = False) -> None:
        """Write the dataset, without its models, as a FITS file that Gammapy reads.

        Parameters
        ----------
        filename : str or path
            ".fits" or ".fits.gz".
        overwrite : bool
            Whether to replace an existing file.

        Raises
        ------
        InputError
            If the path has another ending.
        StoreExistsError
            If the file exists and may not be overwritten.
        StoreError
            If the file cannot be written.
        """
        write_dataset(self, filename, overwrite)

    def compute(self) -> Self:
        """Return the same dataset with its arrays in memory, for repeated use."""
        new = type(self)(computed(lazy(self._cube)), self._stored, response=self._response)
        new.take_models(self.models_for(self._name))
        return new

    def models_for(self, name: str) -> DatasetModels:
        """Return copies of the models, adapted to a new name of the dataset.

        Parameters
        ----------
        name : str
        """
        return renamed_models(self._models, self._name, name)

    # --- numbers -----------------------------------------------------------------------

    def _compile(self) -> DatasetLikelihood:
        response = self.response
        if self._compiled is None or self._compiled[0] != response:
            made = self.compile(self.open(), self._models, response=response)
            self._compiled = response, made
        return self._compiled[1]

    def stat_sum(self) -> float:
        """Return the statistic ``-2 log L`` over the mask, at the current parameters."""
        self._models.check_values()
        return self._compile().evaluate(self._models.parameters.value).stat
