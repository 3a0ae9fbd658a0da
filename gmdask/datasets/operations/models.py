"""Models of derived datasets: changes of the dataset's own copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from numpy.typing import NDArray

from gmdask.datasets.operations.arrays import values_now
from gmdask.datasets.operations.irf import grid_of
from gmdask.geometry import Axis, downsampled_cards, pixel_offset
from gmdask.models import (
    BackgroundIRFModel,
    Component,
    DatasetModels,
    ResponseModifier,
    SkyMap,
    TemplateNPredModel,
)

__all__ = [
    "background_of",
    "coarser_models",
    "frozen_background",
    "renamed_models",
    "resampled_models",
    "sliced_models",
    "stacked_models",
]

Array = NDArray[np.float64]


def background_of(models: DatasetModels) -> dict[str, Any] | None:
    """Return plain data of the background model among some models."""
    for model in models:
        if isinstance(model, BackgroundIRFModel):
            return model.to_dict()
    return None


def frozen_background(name: str) -> DatasetModels:
    """Return an unchanged background model of a dataset, with all parameters frozen."""
    model = BackgroundIRFModel(dataset_name=name)
    for parameter in model.parameters:
        parameter.frozen = True
    return DatasetModels([model])


def stacked_models(own: DatasetModels, its: DatasetModels, cube: xr.Dataset) -> DatasetModels:
    """Return the models of a stack: those of both, each name once, with one background model.

    Response modifiers are those of the first dataset, as its exposure is that of the stack.

    Parameters
    ----------
    own, its : `DatasetModels`
        Models of the dataset and of the one that is added to it, with the name of the first dataset.
    cube : `xarray.Dataset`
        The second; only bins of its templates inside its safe mask count.
    """
    has_background = any(isinstance(model, BackgroundIRFModel) for model in own)
    models: dict[str, Component] = {model.name: model for model in own.copy()}
    for model in its:
        if isinstance(model, BackgroundIRFModel):
            if not has_background:
                models[model.name] = model
            continue
        if isinstance(model, ResponseModifier):  # the exposure of the sum is that of the first
            continue
        if isinstance(model, TemplateNPredModel):
            model = _masked_template(model, cube)
            twin = models.get(model.name)
            if isinstance(twin, TemplateNPredModel):
                model = _with_map(twin, _sum_of_maps(twin.map, model.map))
            models[model.name] = model
        else:
            models.setdefault(model.name, model)
    return DatasetModels(models.values())


def sliced_models(models: DatasetModels, bins: tuple[int, int]) -> DatasetModels:
    """Return the models for some energy bins, with templates cut."""

    def cut(template: TemplateNPredModel) -> SkyMap:
        sky_map = template.map
        axis = _axis_of(sky_map, sky_map.axes[0].edges[bins[0] : bins[1] + 1])
        return _map_like(sky_map, sky_map.data[bins[0] : bins[1]], axis)

    return _with_maps(models, cut)


def resampled_models(models: DatasetModels, bins: Sequence[int]) -> DatasetModels:
    """Return the models for sums over energy, with templates summed such that they predict the sum."""

    def group(template: TemplateNPredModel) -> SkyMap:
        sky_map = template.map
        axis = _axis_of(sky_map, sky_map.axes[0].edges[list(bins)])
        before, after = _norm(template, sky_map.axes[0]), _norm(template, axis)
        parts = [
            np.tensordot(_ratio(before[a:b], after[k]), sky_map.data[a:b], axes=1)
            for k, (a, b) in enumerate(pairwise(bins))
        ]
        return _map_like(sky_map, np.stack(parts), axis)

    return _with_maps(models, group)


def coarser_models(models: DatasetModels, factor: int) -> DatasetModels:
    """Return the models on coarser pixels, with templates of matching shape summed."""

    def sum_pixels(template: TemplateNPredModel) -> SkyMap:
        sky_map = template.map
        n_e, n_y, n_x = sky_map.data.shape
        data = sky_map.data.reshape(n_e, n_y // factor, factor, n_x // factor, factor)
        cards = downsampled_cards(sky_map.grid.header, factor)
        return SkyMap(data.sum(axis=(2, 4)), cards, sky_map.axes, sky_map.unit)

    return _with_maps(models, sum_pixels)


def _with_maps(
    models: DatasetModels, change: Callable[[TemplateNPredModel], SkyMap]
) -> DatasetModels:
    return DatasetModels(
        _with_map(model, change(model)) if isinstance(model, TemplateNPredModel) else model
        for model in models
    )


def _with_map(model: TemplateNPredModel, sky_map: SkyMap) -> TemplateNPredModel:
    """Return the same model (with the same parameters) with another map, which has no file."""
    return TemplateNPredModel(
        sky_map,
        model.spectral_model,
        model.name,
        datasets_names=model.datasets_names,
        spatial_model=model.spatial_model,
    )


def _axis_of(sky_map: SkyMap, edges: Array) -> Axis:
    old = sky_map.axes[0]
    return Axis(old.name, edges, old.interp, "edges", old.unit)


def _map_like(sky_map: SkyMap, data: Array, axis: Axis) -> SkyMap:
    return SkyMap(data, sky_map.grid.header, (axis,), sky_map.unit)


def _norm(model: TemplateNPredModel, axis: Axis) -> Array:
    energy = u.Quantity(axis.center, axis.unit or "TeV")
    return np.asarray(model.spectral_model(energy).to_value(""), dtype=float)


def _ratio(before: Array, after: float) -> Array:
    return before / after if after > 0 else np.ones_like(before)


def _masked_template(model: TemplateNPredModel, cube: xr.Dataset) -> TemplateNPredModel:
    """Return a template without the bins outside the safe mask of a cube."""
    if "mask_safe" not in cube:
        return model
    sky_map, mask = model.map, values_now(cube["mask_safe"])
    offset = pixel_offset(grid_of(cube), sky_map.grid, sky_map.frame)
    if offset is None:  # an error is raised when it is compiled
        return model
    n_e, n_y, n_x = sky_map.data.shape
    y, x = np.arange(n_y) + offset[0], np.arange(n_x) + offset[1]
    rows, columns = (y >= 0) & (y < mask.shape[1]), (x >= 0) & (x < mask.shape[2])
    inside = np.zeros((n_e, n_y, n_x), dtype=bool)
    at = np.ix_(np.arange(n_e), rows.nonzero()[0], columns.nonzero()[0])
    inside[at] = mask[np.ix_(np.arange(n_e), y[rows], x[columns])]
    return _with_map(model, _map_like(sky_map, sky_map.data * inside, sky_map.axes[0]))


def _sum_of_maps(one: SkyMap, other: SkyMap) -> SkyMap:
    return SkyMap(one.data + other.data, one.grid.header, one.axes, one.unit)


def renamed_models(models: DatasetModels, old: str, new: str) -> DatasetModels:
    """Return copies of the models of a dataset, adapted to a new name of it.

    Parameters
    ----------
    models : `DatasetModels`
    old, new : str
        Names of the dataset.
    """
    memo: dict[int, Any] = {}
    copies: list[Component] = []
    for component in models:
        if isinstance(component, BackgroundIRFModel):
            copies.append(component.copy(memo=memo, dataset_name=new))
            continue
        copied = component.copy(memo=memo)
        if copied.datasets_names is not None:
            copied.datasets_names = [new if n == old else n for n in copied.datasets_names]
        copies.append(copied)
    return DatasetModels(copies)
