"""Predictions of the models of a dataset, and their comparison with its counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Self

import dask
import dask.array
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.datasets.cube_dataset import CubeDataset
from gmdask.datasets.derived_cube import AlteredCube, computed, in_dask, in_process, lazy
from gmdask.datasets.io.xarray_backend import sky_coords
from gmdask.datasets.operations.background import background_factors
from gmdask.datasets.operations.models import background_of
from gmdask.datasets.summary import counts_summary, exposure_summary, rates
from gmdask.errors import InputError, UnknownNameError
from gmdask.likelihood.statistics import statistic_type
from gmdask.likelihood.work_unit import npred_cube
from gmdask.models import BackgroundIRFModel, Component, ResponseModifier
from gmdask.store.lazy_variable import lazy_variable

__all__ = ["RESIDUALS", "Predictions", "by_bin", "with_asimov_counts", "with_fake_counts"]

Array = NDArray[np.float64]

RESIDUALS: dict[str, Callable[[Any, Any], Any]] = {
    "diff": lambda data, model: data - model,
    "diff/model": lambda data, model: (data - model) / model,
    "diff/sqrt(model)": lambda data, model: (data - model) / np.sqrt(model),
}


class Predictions(CubeDataset):
    """Predicted counts of a dataset, and quantities derived from them. All are lazy."""

    def labelled(self, name: str, data: xr.Variable) -> xr.DataArray:
        """Return an array (energy, lat, lon) with the energy axis and the positions of its pixels."""
        coords = {"energy": self._cube["energy"], **sky_coords(self._cube, [""])}
        if self._stored is None:
            data = in_process(data)
        return xr.DataArray(data, coords, name=name, attrs={"unit": ""})

    def _npred(self, name: str, models: dict[str, Any], *, background: bool = True) -> xr.DataArray:
        self._models.check_values()
        dims, shape = tuple(map(str, self.counts.dims)), self.counts.shape
        if self._stored is None:  # the arrays do not leave this process

            @cache
            def compute() -> Array:
                return npred_cube(
                    self._name, computed(self._cube), models,
                    background=background, response=self.response,
                )  # fmt: skip

            lazy_npred = lazy_variable(
                dims, lambda index: compute()[index], shape, np.dtype(np.float64)
            )
        else:
            task = dask.delayed(npred_cube, pure=False)
            delayed = task(
                self._name, self._stored, models, background=background, response=self.response
            )
            lazy_npred = xr.Variable(
                dims, dask.array.from_delayed(delayed, shape, dtype=np.float64)
            )
        return self.labelled(name, lazy_npred)

    def npred(self) -> xr.DataArray:
        """Predicted counts (energy, lat, lon) of all models and the background, lazy.

        A Dask array for a dataset of a store on disk; a dataset in memory is computed in this process.
        Negative sums are clipped at zero, as in Gammapy.
        """
        return self._npred("npred", self._models.to_dict())

    def npred_signal(
        self, model_names: str | Iterable[str] | None = None, stack: bool = True
    ) -> xr.DataArray:
        """Predicted counts of the sources, lazy; not clipped.

        Parameters
        ----------
        model_names : str or list of str, optional
            Names of the sources; by default all models but the background.
        stack : bool
            Whether to sum them.

        Returns
        -------
        npred : `xarray.DataArray` of shape (energy, lat, lon)
            Without `stack` (models, energy, lat, lon): one for each source, including those that do
            not reach the dataset.

        Raises
        ------
        UnknownNameError
            If there is no such source.
        """
        sources = {m.name: m for m in self._sources()}
        names = [model_names] if isinstance(model_names, str) else model_names
        chosen = list(dict.fromkeys(sources if names is None else names))
        for name in chosen:
            if name not in sources:
                msg = f"dataset {self._name!r}: no source {name!r} among: {', '.join(sources) or 'none'}"
                raise UnknownNameError(msg)
        if stack:
            modifiers = (m for m in self._models if isinstance(m, ResponseModifier))
            models = type(self._models)([*(sources[name] for name in chosen), *modifiers])
            return self._npred("npred_signal", models.to_dict(), background=False)
        parts = [in_dask(self.npred_signal(name).variable, name).data for name in chosen]
        none = np.zeros((0, *self.counts.shape))
        dims = ("models", *map(str, self.counts.dims))
        each = xr.Variable(dims, dask.array.stack(parts) if parts else none)
        return self.labelled("npred_signal", each).assign_coords(models=np.array(chosen, dtype=str))

    def _sources(self) -> list[Component]:
        """Return the models that predict counts, except the background."""
        others = BackgroundIRFModel, ResponseModifier
        return [model for model in self._models if not isinstance(model, others)]

    def npred_background(self) -> xr.DataArray | None:
        """Predicted counts (energy, lat, lon) of the background, lazy; None without one."""
        if "background" not in self._cube:
            return None
        template = lazy(self._cube)["background"].variable.astype(np.float64)
        factors = background_factors(self._cube, background_of(self._models))
        return self.labelled("npred_background", (template * factors).transpose(*template.dims))

    @property
    def excess(self) -> xr.DataArray | None:
        """Counts above the background without its model (energy, lat, lon), lazy."""
        if "background" not in self._cube:
            return None
        cube = lazy(self._cube)
        excess = cube["counts"].variable - cube["background"].variable.astype(np.float64)
        return self.labelled("excess", excess)

    @property
    def mask(self) -> xr.DataArray | None:
        """``mask_safe & mask_fit`` (energy, lat, lon), lazy; None if there is neither."""
        cube = lazy(self._cube)
        masks = [cube[key].variable for key in ("mask_safe", "mask_fit") if key in cube]
        if not masks:
            return None
        return self.labelled("mask", masks[0] & masks[-1])

    def residuals(self, method: str = "diff") -> xr.DataArray:
        """Counts above the predicted ones (energy, lat, lon), lazy; NaN outside the mask.

        Parameters
        ----------
        method : {"diff", "diff/model", "diff/sqrt(model)"}
            Normalisation of the residuals.

        Raises
        ------
        InputError
            If the method is unknown.
        """
        if method not in RESIDUALS:
            msg = f"residuals of method {method!r}, expected one of {', '.join(RESIDUALS)}"
            raise InputError(msg)
        mask = self.mask

        def compare(counts: Array, npred: Array, *masks: Array) -> Array:
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.asarray(RESIDUALS[method](counts.astype(np.float64), npred))
            return np.where(masks[0], values, np.nan) if masks else values

        masks = [] if mask is None else [mask]
        return self.labelled("residuals", by_bin(compare, self.counts, self.npred(), *masks))

    @property
    def excess_variance(self) -> xr.DataArray:
        """Variance of the counts above the background (energy, lat, lon), estimated from the counts, lazy."""
        return self.labelled("excess_variance", self.counts.variable.astype(np.float64))

    def stat_array(self) -> xr.DataArray:
        """Statistic of each bin (energy, lat, lon), inside and outside the mask, lazy."""
        cube, kind = lazy(self._cube), statistic_type(self._cube.attrs)

        def compare(npred: Array, *data: Array) -> Array:
            return kind(*data).per_bin(npred)

        data = [cube[name] for name in kind.reads]
        return self.labelled("stat", by_bin(compare, self._expected(), *data))

    def _expected(self) -> xr.DataArray:
        """Predicted counts (energy, lat, lon) that the statistic compares with the data, lazy."""
        return self.npred()

    def info_dict(self, in_safe_data_range: bool = True) -> dict[str, Any]:
        """Return sums over the dataset, exposure and rates, with the keys of Gammapy's ``info_dict``.

        Parameters
        ----------
        in_safe_data_range : bool
            Whether only bins in the safe mask count.
        """
        cube = computed(lazy(self._cube))
        safe = cube["mask_safe"].values if "mask_safe" in cube else None
        mask: Any = ... if safe is None or not in_safe_data_range else safe
        info: dict[str, Any] = {"name": self._name, **self.sums_in()(mask)}
        info |= exposure_summary(cube["exposure"], None if safe is None else safe.any(axis=0))
        info |= rates(info, cube)
        bins = self.mask
        info["n_bins"] = int(cube["counts"].size)
        info["n_fit_bins"] = 0 if bins is None else int(bins.values.sum())
        info["stat_type"] = statistic_type(cube.attrs).name
        info["stat_sum"] = self.stat_sum() if len(self._models) else math.nan
        return info

    def sums_in(self) -> Callable[[Any], dict[str, Any]]:
        """Return a function of a mask (energy, lat, lon) that sums counts and predictions within it.

        Data are read and predictions computed here. The function returns the keys of `info_dict`
        from "counts" to "npred_signal".
        """
        cube = computed(lazy(self._cube))
        background, estimated = self.npred_background(), self._estimated_background()
        sources = self._sources()
        some = len(self._models) > 0 or background is not None
        predicted = {
            "npred": self.npred() if some else None,
            "npred_background": background,
            "npred_signal": self.npred_signal() if sources else None,
        }
        arrays = {k: None if v is None else v.values for k, v in predicted.items()}
        estimated = None if estimated is None else estimated.compute(scheduler="synchronous")

        def sums(mask: Any) -> dict[str, Any]:
            return self._counts_summary(cube, estimated, mask) | {
                k: math.nan if v is None else float(v[mask].sum()) for k, v in arrays.items()
            }

        return sums

    def _estimated_background(self) -> xr.DataArray | None:
        """Background (energy, lat, lon) from which the counts in excess are counted, lazy."""
        return self.npred_background()

    def _counts_summary(
        self, cube: xr.Dataset, background: xr.DataArray | None, mask: Any
    ) -> dict[str, Any]:
        """Return the counts in a mask, and their significance."""
        return counts_summary(cube["counts"], background, cube.get("background"), mask)

    # --- simulated counts --------------------------------------------------------------

    def fake(self, seed: int) -> Self:
        """Replace the counts by random ones drawn from the predictions of the models, in place.

        Parameters
        ----------
        seed : int
            Seed of the generator; equal seeds give equal counts.

        Returns
        -------
        dataset
            This dataset.
        """
        return self.with_counts(with_fake_counts, {"seed": seed})

    def to_asimov(self, name: str | None = None) -> Self:
        """Return a dataset whose counts are those predicted by the models.

        Parameters
        ----------
        name : str, optional
            Name of the new dataset; by default that of this one.
        """
        return self.copy(name).with_counts(with_asimov_counts, {})

    def with_counts(self, operation: Callable[..., xr.Dataset], options: dict[str, Any]) -> Self:
        """Replace the counts, in place.

        Parameters
        ----------
        operation : callable
            Function of a module of gmdask, from a cube and options to a cube.
        options : dict
            Plain data; the models and the response are added to them.
        """
        self._models.check_values()
        options = {**options, "models": self._models.to_dict(), "response": self.response}
        cube = operation(self._cube, **options)
        if self._stored is not None:
            self._stored = AlteredCube(operation, (self._stored,), options)
        self._cube, self._compiled = cube, None
        return self


def with_fake_counts(
    cube: xr.Dataset, models: dict[str, Any], seed: int, response: str
) -> xr.Dataset:
    """Return a cube with counts drawn from the predictions of models.

    Parameters
    ----------
    cube : `xarray.Dataset`
    models : dict
        Plain data of its models.
    seed : int
        Seed of the generator.
    response : {"exact", "gammapy"}
        How predicted counts are computed.
    """

    def draw(npred: Array) -> Array:
        return np.random.default_rng(seed).poisson(npred).astype(np.float64)

    return _predicted_counts(cube, models, response, draw)


def with_asimov_counts(cube: xr.Dataset, models: dict[str, Any], response: str) -> xr.Dataset:
    """Return a cube whose counts are those predicted by models.

    Parameters
    ----------
    cube : `xarray.Dataset`
    models : dict
        Plain data of its models.
    response : {"exact", "gammapy"}
        How predicted counts are computed.
    """
    return _predicted_counts(cube, models, response, lambda npred: npred)


def _predicted_counts(
    cube: xr.Dataset, models: dict[str, Any], response: str, change: Callable[[Array], Array]
) -> xr.Dataset:
    counts = cube["counts"].variable

    @cache
    def compute() -> Array:
        name = str(cube.attrs["name"])
        return change(npred_cube(name, computed(cube), models, response=response))

    values = lazy_variable(
        tuple(map(str, counts.dims)), lambda index: compute()[index], counts.shape,
        np.dtype(np.float64), dict(counts.attrs),
    )  # fmt: skip
    return cube.assign(counts=values)


def by_bin(function: Callable[..., Array], *arrays: xr.DataArray) -> xr.Variable:
    """Apply a function to arrays bin by bin, lazily.

    Parameters
    ----------
    function : callable
        Maps arrays of one shape to an array of the same shape.
    *arrays : `xarray.DataArray`
    """
    parts = [in_dask(array.variable, str(array.name)) for array in arrays]
    result: xr.Variable = xr.apply_ufunc(
        function, *parts, dask="parallelized", output_dtypes=[np.float64]
    )
    return result
