"""The configuration of a simulated survey: a YAML file, which is checked and completed by random numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.units import Quantity
from numpy.typing import NDArray

from gmdask.datasets.simulation.iact import MIGRA, RAD, IactResponse
from gmdask.datasets.simulation.survey import Observed, SkyPixels, Survey
from gmdask.errors import InputError
from gmdask.inputs import load_yaml, read_bytes
from gmdask.models import BackgroundIRFModel, Models, ResponseModifier
from gmdask.models.io.serialization import locating
from gmdask.paths import expanded
from gmdask.schemas import schema_problems

__all__ = ["read_survey"]

Array = NDArray[np.float64]

MAX_ZENITH, POLE = 75.0, 85.0  # deg
GAP = 120.0  # s between two observations
MAX_OBSERVATIONS = 100_000
MAX_BINS = 1 << 26  # largest number of bins of all maps of a dataset


def read_survey(path: str | Path) -> Survey:
    """Read the configuration of a survey.

    Parameters
    ----------
    path : str or path
        YAML in the format of ``data_schemas/1.0/simulation.json``; the models file is relative
        to it.

    Returns
    -------
    survey : `Survey`

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    InputError
        If the configuration is invalid; the message names file, key and expectation.
    ModelError
        If the models are invalid.
    """
    path = expanded(path)
    data = load_yaml(read_bytes(path, "configuration"), str(path))
    if problems := schema_problems(data, "simulation.json"):
        msg = f"{path}: {'; '.join(problems)}"
        raise InputError(msg)
    try:
        return _survey(data, path)
    except _AtKeyError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from error


class _AtKeyError(InputError):
    """An invalid value; the message begins with its key."""


def _survey(data: Mapping[str, Any], path: Path) -> Survey:
    geometry, irfs = data["geometry"], dict(data.get("irfs", {}))
    pixel = _positive(geometry["pixel"], "deg", "geometry pixel")
    center = geometry["center"]
    pixels = SkyPixels(
        geometry["frame"], geometry["projection"],
        (_value(center["lon"], "deg", "geometry center lon"), _latitude(center["lat"], "geometry center lat")),
        pixel,
    )  # fmt: skip
    irf_pixel = _positive(irfs.pop("pixel", "0.3 deg"), "deg", "irfs pixel")
    units = {"area": "m2", "threshold": "TeV", "psf": "deg", "max_offset": "deg"}
    scales = {
        key: _positive(value, units[key], f"irfs {key}")
        if key in units
        else _finite(value, f"irfs {key}")
        for key, value in irfs.items()
    }
    _check_bins(data, pixel / irf_pixel)
    rate = _positive(data["background"]["rate"], "s-1 TeV-1 sr-1", "background rate")
    with locating(f"{path}: models"):
        models = Models.read(path.parent / data["models"])
    survey = Survey(
        int(data["seed"]), pixels, int(geometry["npix"]), _edges(data["energy"], "energy"),
        _edges(data["energy_true"], "energy_true"), (), models,
        IactResponse(**scales, background=rate), irf_pixel,
    )  # fmt: skip
    observations = tuple(_observations(survey, data))
    _check_names(survey.models, {observed.name for observed in observations})
    return replace(survey, observations=observations)


def _check_bins(data: Mapping[str, Any], pixel_ratio: float) -> None:
    """Raise an error for datasets that are too large, before anything is computed."""
    npix = int(data["geometry"]["npix"])
    bins, true = (int(data[key]["bins"]) for key in ("energy", "energy_true"))
    irf_pixels = (npix * pixel_ratio + 2) ** 2
    total = npix**2 * (bins + true) + irf_pixels * true * (len(RAD) + len(MIGRA))
    if not total <= MAX_BINS:
        raise _AtKeyError(
            f"geometry npix: maps of {total:.3g} bins with {bins} and {true} energies, "
            f"expected at most {MAX_BINS:.3g} in a dataset"
        )


def _check_names(models: Models, names: Collection[str]) -> None:
    for model in models:
        if isinstance(model, BackgroundIRFModel):
            msg = f"models: {model.name!r} is a background, expected sources: backgrounds are drawn for each dataset"
            raise _AtKeyError(msg)
        if isinstance(model, ResponseModifier):
            msg = f"models: {model.name!r} modifies the response, expected sources"
            raise _AtKeyError(msg)
        for name in model.datasets_names or ():
            if name not in names:
                msg = f"models: {model.name!r} names dataset {name!r}, expected one of the {len(names)} observations"
                raise _AtKeyError(msg)


class _Place(NamedTuple):
    """A pointing before random numbers are drawn: keys and values as in the file."""

    where: str
    lon: float
    lat: float
    livetime: tuple[str, Any]
    zenith: tuple[str, Any]


def _places(data: Mapping[str, Any]) -> Iterator[_Place]:
    pointings = data["pointings"]
    for_all = {key: (key, data[key]) for key in ("livetime", "zenith")}
    if "list" in pointings:
        for i, place in enumerate(pointings["list"]):
            where = f"pointings list {i}"
            lon, lat = (_value(place[key], "deg", f"{where} {key}") for key in ("lon", "lat"))
            own = {key: (f"{where} {key}", place[key]) for key in for_all if key in place}
            yield _Place(where, lon, lat, **{**for_all, **own})
        return
    grid = pointings["grid"]
    repeat = int(grid.get("repeat", 1))
    number = int(grid["lon"]["n"]) * int(grid["lat"]["n"]) * repeat
    if number > MAX_OBSERVATIONS:
        raise _AtKeyError(
            f"pointings grid: {number:.6g} observations, expected at most {MAX_OBSERVATIONS}"
        )
    lons, lats = (_steps(grid[key], f"pointings grid {key}") for key in ("lon", "lat"))
    for lon, lat in product(lons.tolist(), lats.tolist()):
        for _ in range(repeat):
            yield _Place("pointings grid", lon, lat, **for_all)


def _observations(survey: Survey, data: Mapping[str, Any]) -> Iterator[Observed]:
    places, start = list(_places(data)), 0.0
    digits = max(4, len(str(len(places))))
    text = data["pointings"].get("grid", {}).get("dither", "0 deg")
    dither = _not_negative(text, "deg", "pointings grid dither")
    norm_spread, tilt_spread = (
        _finite(data["background"].get(key, 0.0), f"background {key}")
        for key in ("norm_spread", "tilt_spread")
    )
    for number, place in enumerate(places):
        random = survey.random(number, 0)  # the order of the draws is part of the recipe
        lon, lat = _dithered(place, dither, random)
        livetime = _drawn(place.livetime, "s", random)
        zenith = _drawn(place.zenith, "deg", random)
        if livetime <= 0:
            raise _AtKeyError(f"{place.livetime[0]}: {livetime:g} s, expected a positive time")
        if not 0 <= zenith <= MAX_ZENITH:
            raise _AtKeyError(
                f"{place.zenith[0]}: {zenith:g} deg, expected 0 to {MAX_ZENITH:g} deg"
            )
        norm, tilt = np.exp(norm_spread * random.normal()), tilt_spread * random.normal()
        name = f"obs-{number + 1:0{digits}d}"
        yield Observed(number, name, lon, lat, start, livetime, zenith, float(norm), float(tilt))
        start += livetime + GAP


def _dithered(place: _Place, dither: float, random: np.random.Generator) -> tuple[float, float]:
    """Return a position in deg, uniformly distributed in a circle."""
    radius, angle = dither * np.sqrt(random.random()), 2 * np.pi * random.random()
    lat = place.lat + radius * np.sin(angle)
    if abs(lat) >= POLE:
        raise _AtKeyError(f"{place.where} lat: {lat:g} deg, expected within {POLE:g} deg")
    lon = place.lon + radius * np.cos(angle) / np.cos(np.radians(lat))
    return float(lon % 360), float(lat)


def _steps(steps: Mapping[str, Any], key: str) -> Array:
    start, stop = (_value(steps[end], "deg", f"{key} {end}") for end in ("start", "stop"))
    return np.linspace(start, stop, int(steps["n"]))


def _edges(axis: Mapping[str, Any], key: str) -> Array:
    low, high = (_positive(axis[end], "TeV", f"{key} {end}") for end in ("min", "max"))
    if low >= high:
        raise _AtKeyError(f"{key} max: {axis['max']!r}, expected more than min ({axis['min']!r})")
    space = np.geomspace if axis.get("log", True) else np.linspace
    return np.asarray(space(low, high, int(axis["bins"]) + 1))


def _drawn(given: tuple[str, Any], unit: str, random: np.random.Generator) -> float:
    """Return a value, or draw one from a range."""
    (key, value), share = given, random.random()
    if isinstance(value, str):
        return _value(value, unit, key)
    low, high = (_value(value[end], unit, f"{key} {end}") for end in ("min", "max"))
    if low > high:
        raise _AtKeyError(f"{key} max: {value['max']!r}, expected at least min ({value['min']!r})")
    return low + share * (high - low)


def _value(text: str, unit: str, key: str) -> float:
    try:
        value = float(Quantity(text).to_value(unit))
    except (TypeError, ValueError) as error:  # including unit errors
        raise _AtKeyError(
            f"{key}: {text!r}, expected a number in a unit such as {unit!r}"
        ) from error
    return _finite(value, key)


def _finite(value: float, key: str) -> float:
    if not np.isfinite(value):
        raise _AtKeyError(f"{key}: {value}, expected a finite number")
    return value


def _positive(text: str, unit: str, key: str) -> float:
    if (value := _value(text, unit, key)) <= 0:
        raise _AtKeyError(f"{key}: {text!r}, expected more than 0")
    return value


def _not_negative(text: str, unit: str, key: str) -> float:
    if (value := _value(text, unit, key)) < 0:
        raise _AtKeyError(f"{key}: {text!r}, expected at least 0")
    return value


def _latitude(text: str, key: str) -> float:
    if abs(value := _value(text, "deg", key)) > 90:
        raise _AtKeyError(f"{key}: {text!r}, expected -90 to 90 deg")
    return value
