"""Models and parameters as plain data, in the form of Gammapy's YAML."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from astropy import units as u

from gmdask.errors import InputError, ModelError
from gmdask.models.base import ModelBase
from gmdask.models.io.links import same_value
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.priors import Prior
from gmdask.models.registry import class_path, get_class, type_name
from gmdask.models.units import parse_unit, unit_factor

__all__ = [
    "check_keys",
    "dataset_names_from",
    "locating",
    "model_from_dict",
    "model_to_dict",
    "parameter_from_dict",
    "parameter_to_dict",
    "prior_from_dict",
    "refuse_key",
]

log = logging.getLogger(__name__)

_HINTS = ("interp", "scale_method", "scale_transform")
_PRIOR_KEYS = (
    "name", "value", "unit", "error", "min", "max", "scale_method", "scale_transform",
)  # fmt: skip
_KEYS = (
    "name", "value", "unit", "error", "min", "max", "frozen", *_HINTS, "link", "is_norm", "prior",
)  # fmt: skip


@contextmanager
def locating(where: str) -> Iterator[None]:
    """Add to the message of an input error where it occurred."""
    try:
        yield
    except InputError as error:
        message = f"{where}: {error}"
        raise type(error)(message) from error


# --- checks ---------------------------------------------------------------------------


def check_mapping(data: object, what: str) -> dict[str, Any]:
    """Return data if they are a mapping.

    Raises
    ------
    ModelError
        If they are not.
    """
    if not isinstance(data, dict):
        msg = f"{what} is {data!r}, expected a mapping"
        raise ModelError(msg)
    return data


def check_keys(data: dict[str, Any], known: Sequence[str], required: Sequence[str] = ()) -> None:
    """Reject unknown and missing keys.

    Raises
    ------
    ModelError
        If there are any.
    """
    for key in data:
        if key not in known:
            msg = f"unknown key {key!r}, expected {', '.join(known)}"
            raise ModelError(msg)
    for key in required:
        if data.get(key) is None:
            msg = f"key {key!r} is missing"
            raise ModelError(msg)


def refuse_key(data: dict[str, Any], key: str, reason: str) -> None:
    """Reject a key that is known but not supported.

    Raises
    ------
    ModelError
        If the key is present.
    """
    if data.get(key) is not None:
        msg = f"{key}: {reason}"
        raise ModelError(msg)


def dataset_names_from(data: dict[str, Any]) -> list[str] | None:
    """Return names of datasets: None, or a list made from one name or several.

    Raises
    ------
    ModelError
        If the data are invalid.
    """
    names = data.get("datasets_names")
    if names is None or isinstance(names, str):
        return None if names is None else [names]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        msg = f"datasets_names is {names!r}, expected a list of names"
        raise ModelError(msg)
    return names


# --- parameters -----------------------------------------------------------------------


def _unit_string(unit: u.UnitBase) -> str:
    try:
        return str(unit.to_string("fits"))
    except (ValueError, u.UnitsError):  # not every unit has a FITS string
        return str(unit.to_string())


def parameter_to_dict(
    name: str, par: Parameter, default: ParameterDefault, full_output: bool, link: str | None
) -> dict[str, Any]:
    """Return plain data of a parameter.

    Parameters
    ----------
    name : str
        Name in its class.
    par : Parameter
        Parameter.
    default : ParameterDefault
        Default of its class.
    full_output : bool
        Whether values that equal the default are also written.
    link : str, optional
        Label of a shared parameter.
    """
    data: dict[str, Any] = {"name": name, "value": par.value, "unit": _unit_string(par.unit)}
    # Gammapy reads a limit that is left out in the unit of the value
    is_usual = default.factor_from(par) == 1
    low, high = (v if is_usual or math.isnan(v) else None for v in (default.min, default.max))
    rest = {
        "error": (par.error, 0.0),
        "min": (par.min, low),
        "max": (par.max, high),
        "frozen": (par.frozen, default.frozen),
        "interp": (par.interp, default.interp),
        "scale_method": (par.scale_method, "scale10"),
        "scale_transform": (par.scale_transform, "lin"),
    }
    if not full_output and default.unit == "" and data["unit"] == "":
        del data["unit"]
    for key, (value, usual) in rest.items():
        if full_output or not same_value(value, usual):
            data[key] = value
    if link is not None:
        data["link"] = link
    if par.prior is not None:
        data["prior"] = par.prior.to_dict()
    return data


def parameter_from_dict(data: dict[str, Any], default: ParameterDefault) -> Parameter:
    """Return a parameter from plain data; missing keys are filled from the default of the class.

    Raises
    ------
    ModelError
        If a key or a value is invalid.
    """
    check_keys(data, _KEYS, required=("name", "value"))
    for key in ("unit", "link"):
        if not isinstance(data.get(key, ""), str):
            msg = f"{key} is {data[key]!r}, expected a string"
            raise ModelError(msg)
    parameter = Parameter(
        default.name,
        data["value"],
        unit=data.get("unit", default.unit),
        error=data.get("error", 0.0),
        min=data.get("min"),
        max=data.get("max"),
        frozen=data.get("frozen", default.frozen),
        interp=data.get("interp", default.interp),
        scale_method=data.get("scale_method", "scale10"),
        scale_transform=data.get("scale_transform", "lin"),
    )
    factor = default.factor_from(parameter)
    for key in ("min", "max"):
        if key not in data:  # where Gammapy takes the number of the class in whatever unit
            setattr(parameter, key, getattr(default, key) / factor)
    if data.get("prior") is not None:
        with locating("prior"):
            parameter.prior = prior_from_dict(data["prior"], parameter)
    return parameter


def prior_from_dict(data: object, parameter: Parameter) -> Prior:
    """Return a prior from plain data; numbers with a unit are converted to that of the parameter.

    Raises
    ------
    ModelError
        If a key or a value is invalid.
    """
    data = check_mapping(data, "prior")
    cls = get_class("prior", data.get("type"), data.get("class"))
    check_keys(data, ("type", "class", "parameters", "weight"))
    numbers: dict[str, Any] = {"weight": data.get("weight", 1.0)}
    listed = data.get("parameters") or []
    known = cls().names
    for item in listed if isinstance(listed, list) else [listed]:
        entry = check_mapping(item, "number")
        check_keys(entry, _PRIOR_KEYS, required=("name", "value"))
        name, unit = entry["name"], entry.get("unit", "")
        if name not in known:
            msg = f"unknown number {name!r}, expected {', '.join(known)}"
            raise ModelError(msg)
        factor = 1.0
        if unit and name not in cls.without_unit:
            factor = unit_factor(parse_unit(unit), parameter.unit)
        value = entry["value"]
        numbers[name] = value * factor if isinstance(value, (int, float)) else value
    return cls(**numbers)  # type: ignore[no-any-return]


# --- models -----------------------------------------------------------------------------


def model_to_dict(
    model: ModelBase, full_output: bool = True, links: dict[int, str] | None = None
) -> dict[str, Any]:
    """Return plain data of a spectral or spatial model.

    Parameters
    ----------
    model : ModelBase
        Model.
    full_output : bool
        Whether values that equal the default are also written.
    links : dict, optional
        Label of each shared parameter, by the id of the parameter.
    """
    links = {} if links is None else links
    data: dict[str, Any] = {"type": type_name(type(model))}
    path = class_path(type(model))
    if path is not None:
        data["class"] = path
    data.update(model.extra_to_dict())
    if model.writes_parameters:
        data["parameters"] = [
            parameter_to_dict(name, par, default, full_output, links.get(id(par)))
            for default, (name, par) in zip(model.defaults, model.named_parameters(), strict=True)
        ]
    for name in model.nested:
        data[name] = model_to_dict(getattr(model, name), full_output, links)
    return data


def model_from_dict(kind: str, data: object, links: dict[str, Parameter]) -> Any:
    """Return a spectral or spatial model from plain data.

    Parameters
    ----------
    kind : str
        "spectral" or "spatial".
    data : dict
        As returned by `model_to_dict`.
    links : dict
        Shared parameters by their labels; new ones are added to it.

    Raises
    ------
    ModelError
        If the data are invalid.
    """
    with locating(kind):
        data = check_mapping(data, kind)
        cls = get_class(kind, data.get("type"), data.get("class"))
        listed = data.get("parameters") or []
        if not isinstance(listed, list):
            msg = f"parameters is {listed!r}, expected a list"
            raise ModelError(msg)
        inner = {}
        for key in cls.nested:
            with locating(key):
                inner[key] = model_from_dict(kind, data.get(key), links)
        known = ("type", "class", "parameters", *cls.nested)
        arguments = cls.extra_from_dict({k: v for k, v in data.items() if k not in known})
        defaults = cls.defaults_for({**arguments, **inner})
        parameters = _parameters_from_list(listed, defaults, links)
        for name in [default.name for default in defaults if default.name not in parameters]:
            log.warning("%s.%s is not in the file: the default is used", cls.__name__, name)
        return cls(**parameters, **arguments, **inner)


def _parameters_from_list(
    listed: list[Any], defaults: Sequence[ParameterDefault], links: dict[str, Parameter]
) -> dict[str, Parameter]:
    by_name = {default.name: default for default in defaults}
    parameters: dict[str, Parameter] = {}
    for k, item in enumerate(listed):
        entry = check_mapping(item, f"parameter number {k}")
        name = entry.get("name")
        if not isinstance(name, str) or name not in by_name:
            msg = f"unknown parameter {name!r}, expected {', '.join(by_name) or 'none'}"
            raise ModelError(msg)
        if name in parameters:
            msg = f"parameter {name!r} is repeated"
            raise ModelError(msg)
        try:
            par = parameter_from_dict(entry, by_name[name])
        except ModelError as error:
            text = str(error)
            msg = text if text.startswith(f"{name}: ") else f"{name}: {text}"
            raise ModelError(msg) from error
        label = entry.get("link")
        parameters[name] = par if label is None else links.setdefault(label, par)
    return parameters
