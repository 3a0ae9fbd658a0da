"""What is simulated: pixels, energies, response and observations, from a YAML file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.units import Quantity
from numpy.typing import NDArray

from gmdask.datasets.iact import IactResponse
from gmdask.errors import InputError, InputNotFoundError
from gmdask.geometry import WcsGrid
from gmdask.models import BackgroundIRFModel, Models
from gmdask.models.schema import schema_problems

__all__ = ["Observed", "SkyPixels", "Survey", "read_survey"]

Array = NDArray[np.float64]

MAX_ZENITH = 75.0  # deg
GAP = 120.0  # s between two observations


@dataclass(frozen=True)
class SkyPixels:
    """A pixel grid of the whole sky, from which the maps of a survey are cut out.

    Attributes
    ----------
    frame : {"galactic", "icrs"}
    projection : {"CAR", "TAN"}
    center : tuple of float
        Reference position (lon, lat) in deg, the centre of a pixel.
    pixel : float
        Size of a pixel in deg.
    """

    frame: str
    projection: str
    center: tuple[float, float]
    pixel: float

    def cutout(self, lon: float, lat: float, npix: int) -> WcsGrid:
        """Pixels around a position; the headers of all cutouts differ in CRPIX only.

        Parameters
        ----------
        lon, lat : float
            Position in deg.
        npix : int
            Pixels per side.
        """
        at = self._first.to_pixel(lon, lat)
        x0, y0 = (int(np.ceil(float(v) - npix / 2)) for v in at)  # Gammapy's rule of cutouts
        return WcsGrid(self._header(1 - x0, 1 - y0), (npix, npix))

    @cached_property
    def _first(self) -> WcsGrid:
        """The pixel of the reference position."""
        return WcsGrid(self._header(1, 1), (1, 1))

    def _header(self, x: int, y: int) -> dict[str, Any]:
        lon, lat = ("GLON", "GLAT") if self.frame == "galactic" else ("RA", "DEC")
        cards = {
            "CTYPE1": f"{lon:-<5}{self.projection}", "CTYPE2": f"{lat:-<5}{self.projection}",
            "CRPIX1": float(x), "CRPIX2": float(y), "CRVAL1": self.center[0], "CRVAL2": self.center[1],
            "CDELT1": -self.pixel, "CDELT2": self.pixel, "CUNIT1": "deg", "CUNIT2": "deg",
        }  # fmt: skip
        return cards if self.frame == "galactic" else {**cards, "RADESYS": "ICRS"}


@dataclass(frozen=True)
class Observed:
    """One observation of a survey.

    Attributes
    ----------
    number : int
        From 0; with the seed of the survey it fixes all that is drawn.
    name : str
        Name of the dataset.
    lon, lat : float
        Pointing in deg, in the frame of the survey.
    start, livetime : float
        In s; start since that of the survey.
    zenith : float
        In deg.
    norm, tilt : float
        True parameters of the background.
    """

    number: int
    name: str
    lon: float
    lat: float
    start: float
    livetime: float
    zenith: float
    norm: float = 1.0
    tilt: float = 0.0


@dataclass(frozen=True)
class Survey:
    """What is simulated.

    Attributes
    ----------
    seed : int
        Of all that is drawn.
    pixels : SkyPixels
        Of the whole survey.
    npix : int
        Pixels per side of a dataset.
    energy, energy_true : array
        Edges of the bins in TeV.
    observations : tuple of Observed
    models : Models
        The true sky.
    response : IactResponse
    irf_pixel : float
        Size of a pixel of the maps of PSF and energy dispersion in deg.
    """

    seed: int
    pixels: SkyPixels
    npix: int
    energy: Array
    energy_true: Array
    observations: tuple[Observed, ...]
    models: Models = field(default_factory=Models)
    response: IactResponse = field(default_factory=IactResponse)
    irf_pixel: float = 0.3

    def random(self, number: int, stream: int) -> np.random.Generator:
        """Random numbers of one dataset (stream 0: its observation, 1: its counts)."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number, stream)))


# --- from YAML --------------------------------------------------------------------------


def read_survey(path: str | Path) -> Survey:
    """Read the configuration of a survey.

    Parameters
    ----------
    path : str or path
        YAML, as ``data_schemas/simulation.json`` says; the file of models it names is relative
        to it.

    Returns
    -------
    survey : `Survey`

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    InputError
        Naming file, key and what is expected.
    ModelError
        If the models are not valid.
    """
    path = Path(path)
    data = _read_yaml(path)
    if problems := schema_problems(data, "simulation.json"):
        msg = f"{path}: {'; '.join(problems)}"
        raise InputError(msg)
    try:
        return _survey(data, path)
    except _AtKeyError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from error


class _AtKeyError(InputError):
    """A value is not what is expected; the message begins with its key."""


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        msg = f"configuration {path} does not exist"
        raise InputNotFoundError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{path}: not YAML: {error}"
        raise InputError(msg) from error


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
        key: _positive(value, units[key], f"irfs {key}") if key in units else value
        for key, value in irfs.items()
    }
    rate = _positive(data["background"]["rate"], "s-1 TeV-1 sr-1", "background rate")
    survey = Survey(
        data["seed"], pixels, geometry["npix"], _edges(data["energy"], "energy"),
        _edges(data["energy_true"], "energy_true"), (), Models.read(path.parent / data["models"]),
        IactResponse(**scales, background=rate), irf_pixel,
    )  # fmt: skip
    observations = tuple(_observations(survey, data))
    _check_names(survey.models, {observed.name for observed in observations})
    return replace(survey, observations=observations)


def _check_names(models: Models, names: Collection[str]) -> None:
    for model in models:
        if isinstance(model, BackgroundIRFModel):
            msg = f"models: {model.name!r} is a background, expected sources: a background is drawn for each dataset"
            raise _AtKeyError(msg)
        for name in model.datasets_names or ():
            if name not in names:
                msg = f"models: {model.name!r} names dataset {name!r}, expected one of the {len(names)} observations"
                raise _AtKeyError(msg)


def _observations(survey: Survey, data: Mapping[str, Any]) -> Iterator[Observed]:
    places = list(_places(data["pointings"]))
    dither = 0.0
    if "grid" in data["pointings"]:
        text = data["pointings"]["grid"].get("dither", "0 deg")
        dither = _not_negative(text, "deg", "pointings grid dither")
    digits, start = max(4, len(str(len(places)))), 0.0
    spread = data["background"]
    for number, (where, place) in enumerate(places):
        random = survey.random(number, 0)
        radius, angle = dither * np.sqrt(random.random()), 2 * np.pi * random.random()
        lat = float(place["lat"] + radius * np.sin(angle))
        if abs(lat) >= 90:
            raise _AtKeyError(f"{where} lat: {lat:g} deg, expected less than 90 deg from the equator")
        lon = float((place["lon"] + radius * np.cos(angle) / np.cos(np.radians(lat))) % 360)
        own = {key: (f"{where} {key}", place[key]) if key in place else (key, data[key]) for key in ("livetime", "zenith")}
        livetime = _drawn(own["livetime"][1], "s", own["livetime"][0], random.random())
        zenith = _drawn(own["zenith"][1], "deg", own["zenith"][0], random.random())
        if livetime <= 0:
            raise _AtKeyError(f"{own['livetime'][0]}: {livetime:g} s, expected a positive time")
        if not 0 <= zenith <= MAX_ZENITH:
            raise _AtKeyError(f"{own['zenith'][0]}: {zenith:g} deg, expected 0 to {MAX_ZENITH:g} deg")
        norm = float(np.exp(spread.get("norm_spread", 0.0) * random.standard_normal()))
        tilt = float(spread.get("tilt_spread", 0.0) * random.standard_normal())
        yield Observed(number, f"obs-{number + 1:0{digits}d}", lon, lat, start, livetime, zenith, norm, tilt)
        start += livetime + GAP


def _places(pointings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and content of each pointing, with lon and lat in deg."""
    if "list" in pointings:
        for i, place in enumerate(pointings["list"]):
            where = f"pointings list {i}"
            at = {key: _value(place[key], "deg", f"{where} {key}") for key in ("lon", "lat")}
            yield where, {**place, **at}
        return
    grid = pointings["grid"]
    lon, lat = (
        np.linspace(*(_value(steps[end], "deg", f"pointings grid {key} {end}") for end in ("start", "stop")), steps["n"])
        for key, steps in (("lon", grid["lon"]), ("lat", grid["lat"]))
    )
    for x in lon:
        for y in lat:
            for _ in range(grid.get("repeat", 1)):
                yield "pointings grid", {"lon": float(x), "lat": float(y)}


def _edges(axis: Mapping[str, Any], key: str) -> Array:
    low, high = (_positive(axis[end], "TeV", f"{key} {end}") for end in ("min", "max"))
    if low >= high:
        raise _AtKeyError(f"{key} max: {axis['max']!r}, expected more than min ({axis['min']!r})")
    space = np.geomspace if axis.get("log", True) else np.linspace
    return np.asarray(space(low, high, axis["bins"] + 1))


def _drawn(given: str | Mapping[str, str], unit: str, key: str, share: float) -> float:
    """Return a value, or one from a range."""
    if isinstance(given, str):
        return _value(given, unit, key)
    low, high = (_value(given[end], unit, f"{key} {end}") for end in ("min", "max"))
    if low > high:
        raise _AtKeyError(f"{key} max: {given['max']!r}, expected at least min ({given['min']!r})")
    return low + share * (high - low)


def _value(text: str, unit: str, key: str) -> float:
    try:
        value = float(Quantity(text).to_value(unit))
    except (TypeError, ValueError) as error:  # of units too
        raise _AtKeyError(f"{key}: {text!r}, expected a number in a unit such as {unit!r}") from error
    if not np.isfinite(value):
        raise _AtKeyError(f"{key}: {text!r}, expected a finite number")
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
