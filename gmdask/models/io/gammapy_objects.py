"""Conversion between models and maps of Gammapy and gmdask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gmdask.errors import InputError, ModelError, described
from gmdask.models.background import BackgroundIRFModel
from gmdask.models.base import ModelBase
from gmdask.models.component import Component
from gmdask.models.io.region_map import map_from_gammapy
from gmdask.models.io.serialization import locating, model_from_dict
from gmdask.models.model_list import ModelSequence
from gmdask.models.models import Models
from gmdask.models.parameter import Parameter
from gmdask.models.quantities import quantity_to_dict
from gmdask.models.registry import get_class
from gmdask.models.response_modifier import ResponseModifier
from gmdask.models.sky import SkyModel
from gmdask.models.spectral.power_law import PowerLawSpectralModel, SpectralModel
from gmdask.models.temporal.base import TemporalModel
from gmdask.quiet import no_warnings

__all__ = ["merged", "models_from_gammapy", "models_to_gammapy"]

_KINDS = ("spectral", "spatial", "temporal")
_INTERPOLATION = {"method": "linear", "fill_value": 0, "values_scale": "log"}


# --- from Gammapy -------------------------------------------------------------------------


def models_from_gammapy(data: Any) -> Any:
    """Convert Gammapy's models, a single model, or a map.

    A template is read from its file, if there is one; otherwise its map is used.

    Parameters
    ----------
    data : Models, DatasetModels, a component, or a spectral, spatial or temporal model
        They are not changed, except for the labels of their links. A map on WCS pixels becomes a
        `SkyMap`, and one of a region a `RegionMap`.

    Returns
    -------
    Models, Component, ModelBase, SkyMap or RegionMap
        None for any other object.

    Raises
    ------
    ModelError
        If gmdask has no such model, or the model uses another interpolation.
    """
    theirs = import_module("gammapy.modeling.models")
    if isinstance(data, theirs.DatasetModels):
        return _models(data)
    if isinstance(data, theirs.SkyModel | theirs.FoVBackgroundModel | theirs.TemplateNPredModel):
        component = _component(data, {})
        _take_covariance(component, data)
        return component
    for kind in _KINDS:
        if isinstance(data, getattr(theirs, f"{kind.title()}Model")):
            model = model_from_dict(kind, _plain(kind, data), {})
            _take_covariance(model, data)
            return model
    if isinstance(data, import_module("gammapy.maps").Map):
        return map_from_gammapy(data)
    return None


def _models(data: Any) -> Models:
    data.update_link_label()
    links: dict[str, Parameter] = {}
    models = Models([_component(component, links) for component in data])
    matrix, at = data.covariance.data, [data.parameters.index(par) for par in data.parameters]
    if np.any(matrix[~np.eye(len(matrix), dtype=bool)]):
        first = {id(par): k for k, (_, par) in reversed(list(enumerate(models.named_parameters())))}
        rows = [at[first[id(par)]] for par in models.parameters]
        models.covariance = matrix[np.ix_(rows, rows)]
    return models


def _component(component: Any, links: dict[str, Parameter]) -> Component:
    data = component.to_dict(full_output=True)
    data.setdefault("name", component.name)
    for kind in _KINDS:
        model = getattr(component, f"{kind}_model", None)
        if model is not None:
            with locating(component.name):
                data[kind] = _plain(kind, model)
    if hasattr(component, "map"):
        data["map"] = map_from_gammapy(component.map)
    with locating(component.name):
        made: Component = get_class("component", data["type"]).from_dict(data, links)
    return made


def _take_covariance(made: Component | ModelBase, data: Any) -> None:
    matrix = data.covariance.data
    if len(matrix) == len(made.parameters) and np.any(matrix[~np.eye(len(matrix), dtype=bool)]):
        made.covariance = matrix


def _plain(kind: str, model: Any) -> dict[str, Any]:
    """Return plain data of one model, with the content of its file."""
    if type(model).__name__ == "NaimaSpectralModel":
        msg = "a naima model cannot be converted: create gmdask's NaimaSpectralModel from the radiative model"
        raise ModelError(msg)
    data: dict[str, Any] = {"type": type(model).__name__}
    if hasattr(model, "tag"):  # Gammapy cannot write some models
        data = model.to_dict(full_output=True)[kind]
    for name in ("model1", "model2", "model"):
        inner = getattr(model, name, None)
        if inner is not None:
            data[name] = _plain(kind, inner)
    if "model1" not in data:  # a compound model has its parameters in its parts
        data["parameters"] = model.parameters.to_dict()
    _check_interpolation(model)
    filename = getattr(model, "filename", None)
    is_file = filename is not None and Path(os.path.expandvars(filename)).is_file()
    return data if is_file else {**data, **_content(model)}


def _content(model: Any) -> dict[str, Any]:
    """Return the content of a model that is not in a file, by the keys of plain data."""
    name = type(model).__name__
    if name == "LightCurveTemplateTemporalModel":
        region_map: Any = map_from_gammapy(model.map)
        reference = model.reference_time
        scale = str(reference.scale).upper()
        region_map.header.update(
            MJDREFI=int(reference.mjd), MJDREFF=reference.mjd % 1, TIMESYS=scale
        )
        return {"map": region_map, "filename": None}
    if name == "TemplatePhaseCurveTemporalModel":
        table = model.table
        curve = {key: np.asarray(table[key.upper()], dtype=float) for key in ("phase", "norm")}
        return {"map": curve, "filename": None}
    if name == "EBLAbsorptionNormSpectralModel":
        keys = (("energy", "energy"), ("param", "param"), ("values", "data"))
        arrays = {key: quantity_to_dict(getattr(model, theirs) * 1) for key, theirs in keys}
        return {**arrays, "filename": None}
    if not hasattr(model, "map"):
        return {}
    # a map that was to be normalized has become a density
    density = {"normalize": False} if name == "TemplateSpatialModel" else {}
    return {"map": map_from_gammapy(model.map), "filename": None, **density}


def _check_interpolation(model: Any) -> None:
    """Reject a template whose interpolation differs from gmdask's."""
    given = getattr(model, "_interp_kwargs", None) or {}
    known = dict(_INTERPOLATION)
    if isinstance(model, import_module("gammapy.modeling.models").SpectralModel):
        known = {"values_scale": "log"}
    for key, value in given.items():
        if known.get(key, value) != value or key not in known:
            msg = f"interp_kwargs has {key}={value!r}, expected {known}"
            raise ModelError(msg)


# --- to Gammapy ---------------------------------------------------------------------------


def models_to_gammapy(data: ModelSequence | Component | ModelBase) -> Any:
    """Convert models, one component, or one model to Gammapy's objects, with maps in memory.

    Parameters
    ----------
    data : Models, DatasetModels, Component or ModelBase
        They are not changed.

    Returns
    -------
    Gammapy's ``gammapy.modeling.models.Models``, component or model.

    Raises
    ------
    InputError
        If Gammapy has no such model.
    """
    if isinstance(data, ResponseModifier):
        msg = f"{data.name!r}: Gammapy has no {type(data).__name__}"
        raise InputError(msg)
    if isinstance(data, Component):
        return models_to_gammapy(Models([data]))[0]
    if isinstance(data, ModelBase):
        made = getattr(models_to_gammapy(Models([_wrapped(data)]))[0], f"{data.kind}_model")
        if data.has_covariance and len(made.parameters) == len(data.parameters):
            made.covariance = data.covariance.data  # not all components pass it on
        return made
    for component in data:
        if isinstance(component, ResponseModifier):
            models_to_gammapy(component)
    theirs = import_module("gammapy.modeling.models")
    models = Models(data.copy())
    models.covariance = None
    with TemporaryDirectory() as folder, no_warnings():
        names = [_stored_in(Path(folder), k, holder) for k, holder in enumerate(_holders(models))]
        path = Path(folder) / "models.yaml"
        models.write(path)
        try:
            found = theirs.Models.read(path)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"Gammapy cannot make these models: {error.args[0] if error.args else error}"
            raise InputError(msg) from error
        for name, holder in zip(names, _holders(found), strict=True):
            holder.filename = name
    for (_, par), other in zip(models.named_parameters(), found.parameters, strict=True):
        # Gammapy's table readers drop it
        other.quantity, other.error = par.quantity, par.error
        other.frozen, other.min, other.max = par.frozen, par.min, par.max
    if data.has_covariance:
        at = [models.parameters.index(par) for _, par in models.named_parameters()]
        found.covariance = data.covariance.data[np.ix_(at, at)]
    return found


def merged(method: str, models: Models, geom: Any, *more: Any) -> Any:
    """What a method of Gammapy's models makes of the sky models among ours, as an object of ours.

    Raises
    ------
    InputError
        If the geometry is none of Gammapy's with true energies, or Gammapy cannot use it.
    """
    axes = getattr(geom, "axes", None)
    if axes is None or getattr(axes, "names", None) != ["energy_true"]:
        msg = f"expected a WcsGeom of Gammapy's with an axis 'energy_true', got {described(geom)}"
        raise InputError(msg)
    given = models_to_gammapy(models.select(tag="sky-model"))
    try:
        return models_from_gammapy(getattr(given, method)(geom, *more))
    except (AttributeError, TypeError, ValueError) as error:
        msg = f"Gammapy cannot merge these models: {error}"
        raise InputError(msg) from error


def _wrapped(model: ModelBase) -> Component:
    """Wrap a model in a component."""
    if isinstance(model, SpectralModel):
        if model.is_norm:
            return BackgroundIRFModel(model, "a")
        irfs = {"exposure": False} if model.is_counts else None
        return SkyModel(model, apply_irf=irfs)
    spectrum = PowerLawSpectralModel()
    if isinstance(model, TemporalModel):
        return SkyModel(spectrum, temporal_model=model)
    if model.kind == "spatial":
        return BackgroundIRFModel(spatial_model=model, dataset_name="a")  # type: ignore[arg-type]
    msg = f"{described(model)} is not a spectral, spatial or temporal model"
    raise InputError(msg)


def _holders(models: Any) -> Iterator[Any]:
    """Yield everything that may be read from a file, in the same order for gmdask and Gammapy."""
    for component in models:
        parts = [getattr(component, f"{kind}_model", None) for kind in _KINDS]
        while parts:
            part = parts.pop(0)
            parts[:0] = [
                inner
                for key in ("model1", "model2", "model")
                for inner in [getattr(part, key, None)]
                if inner
            ]
            if hasattr(part, "filename"):
                yield part
        if hasattr(component, "filename"):
            yield component


def _stored_in(folder: Path, k: int, holder: Any) -> str | None:
    """Write a map or table that has no file yet, and return the file name that it had before."""
    name: str | None = holder.filename
    if name is not None and Path(os.path.expandvars(name)).exists():
        return name
    path = folder / f"{k}.fits"
    if hasattr(holder, "write_map"):
        holder.write_map(path)
    elif hasattr(holder, "write"):
        holder.write(path)
    return name
