"""Simulated observations as event lists with responses: a folder in the formats for gamma-ray astronomy (GADF)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.time import Time
from distributed import Client
from numpy.typing import NDArray

from gmdask.atomic_files import is_temporary, replacing
from gmdask.cluster import check_client, run_tasks
from gmdask.datasets.simulation.event_sampling import detected_photons
from gmdask.datasets.simulation.iact import RAD, background_shape
from gmdask.datasets.simulation.irf_tables import GADF, TELESCOPE, irf_tables, table_hdu
from gmdask.datasets.simulation.observation import REFERENCE, good_times
from gmdask.datasets.simulation.sky_sampling import Field, Tabulated, around
from gmdask.datasets.simulation.survey import Observed, Survey
from gmdask.datasets.simulation.survey_file import read_survey
from gmdask.datasets.simulation.survey_simulation import true_models, truth_path
from gmdask.errors import ModelError, StoreExistsError
from gmdask.events import DatasetsProgress, Listener
from gmdask.geometry import rotate
from gmdask.models import Models, SkyModel
from gmdask.paths import expanded

__all__ = ["simulate_event_lists"]

Array = NDArray[np.float64]

NODES = 2000  # of a tabulated density
HDUS = {
    "EVENTS": "events",
    "GTI": "gti",
    "AEFF": "aeff_2d",
    "EDISP": "edisp_2d",
    "PSF": "psf_table",
    "BKG": "bkg_2d",
}
SITE = {"GEOLON": 16.5002222, "GEOLAT": -23.2717778, "ALTITUDE": 1835.0}  # that of H.E.S.S.
CLOCK = {
    "MJDREFI": REFERENCE["mjdrefi"], "MJDREFF": REFERENCE["mjdreff"], "TIMEUNIT": "s", "TIMESYS": "TT",
    "TIMEREF": "LOCAL",
}  # fmt: skip


def simulate_event_lists(
    config: str | Path | Survey,
    folder: str | Path,
    client: Client | None = None,
    *,
    on_event: Listener | None = None,
) -> Path:
    """Simulate the observations of a survey as event lists with their responses (GADF DL3).

    Energies, directions and times of all events are continuous. The photons of the sources are those of
    ``simulate(config, store, events=True)``. The background is drawn from its rate as a function of energy and
    offset, with the true norm and tilt of each observation, and the response contains it without these.

    Parameters
    ----------
    config : str or path, or `Survey`
        Configuration; see `read_survey`.
    folder : str or path
        Folder to create, which Gammapy's ``DataStore.from_dir`` reads: ``obs-index.fits.gz``,
        ``hdu-index.fits.gz``, and a file per observation in ``data``. Observations are counted from 1. The true
        models are written to ``<folder>-truth.yaml`` beside it, with a background per observation whose name
        is that of the simulation ("obs-0001").
    client : `distributed.Client`, optional
        Cluster to simulate on, one observation per task; by default this process.
    on_event : callable, optional
        Receives a `DatasetsProgress` as observations are written.

    Returns
    -------
    folder : path

    Raises
    ------
    InputError
        If the configuration or its models are invalid, or the predicted counts cannot be drawn.
    ModelError
        If events cannot be drawn from a model.
    StoreExistsError
        If the folder contains anything but what an interrupted run left, or the file of the true models exists.

    Notes
    -----
    A run that was killed leaves a folder without index, and can be repeated.
    """
    check_client(client)
    survey = config if isinstance(config, Survey) else read_survey(config)
    folder, truth = Path(os.path.abspath(expanded(folder))), truth_path(folder)  # noqa: PTH100
    _check_free(folder, truth)
    _check_models(survey.models)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    bare, models = replace(survey, observations=(), models=Models()), survey.models.to_dict()
    write = partial(_write_observation, survey=bare, models=models, folder=folder)
    rows: dict[int, dict[str, Any]] = {}
    for number, row in run_tasks(write, survey.observations, client):
        rows[number] = row
        if on_event is not None:
            on_event(DatasetsProgress("simulate", len(rows), len(survey.observations)))
    true_models(survey).write(truth)
    _write_indices(folder, [rows[number] for number in sorted(rows)])
    return folder


def _check_free(folder: Path, truth: Path) -> None:
    """Raise an error if something would be overwritten."""
    if truth.exists():
        msg = f"{truth} already exists"
        raise StoreExistsError(msg)
    if os.path.lexists(folder) and not folder.is_dir():
        msg = f"{folder} already exists and is no folder"
        raise StoreExistsError(msg)
    for path in folder.rglob("*"):
        left = path.parent.name == "data" and (
            re.fullmatch(r"obs-\d+\.fits", path.name) or is_temporary(path.name)
        )
        if not left and path != folder / "data":
            msg = f"{folder} already contains {path.relative_to(folder)}; choose another folder"
            raise StoreExistsError(msg)


def _check_models(models: Models) -> None:
    for model in models:
        if not isinstance(model, SkyModel):
            kind = type(model).__name__
            msg = f"model {model.name!r}: {kind} predicts counts in bins, from which no events can be drawn"
            raise ModelError(msg)


# --- one observation ----------------------------------------------------------------------


class _Events(NamedTuple):
    """Events: ICRS positions in deg, energies in TeV, times in s since the reference."""

    lon: Array
    lat: Array
    energy: Array
    time: Array


def _write_observation(
    observed: Observed, survey: Survey, models: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Write the file of an observation, and return its row of the index."""
    survey = replace(survey, models=Models.from_dict(models))
    events = _events(survey, observed)
    ra, dec = (
        float(v) for v in rotate(*_at(observed.lon, observed.lat), survey.pixels.frame, "icrs")
    )
    row = {
        "OBS_ID": observed.number + 1, "OBJECT": observed.name, "RA_PNT": ra, "DEC_PNT": dec,
        "ZEN_PNT": observed.zenith, "ALT_PNT": 90 - observed.zenith, "AZ_PNT": 0.0,
        "TSTART": observed.start, "TSTOP": observed.start + observed.livetime,
        "ONTIME": observed.livetime, "LIVETIME": observed.livetime, "DEADC": 1.0,
        **_dates(observed), "EVENT_COUNT": len(events.time), "QUALITY": 0,
    }  # fmt: skip
    cards = {
        key: value for key, value in row.items() if key not in ("EVENT_COUNT", "QUALITY", "ZEN_PNT")
    }
    energy = float(survey.energy_true[0]), float(survey.energy_true[-1])
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            _event_table(events, cards),
            _time_table(observed),
            *irf_tables(
                survey.response, energy, _radius(survey, observed) + RAD[-1], observed.zenith
            ),
        ]
    )
    with replacing(_path(folder, observed.number + 1)) as path:
        hdus.writeto(path)
    return row


def _path(folder: Path, obs_id: int) -> Path:
    return folder / "data" / f"obs-{obs_id:06d}.fits"


def _at(lon: float, lat: float) -> tuple[Array, Array]:
    return np.asarray(lon, dtype=float), np.asarray(lat, dtype=float)


def _radius(survey: Survey, observed: Observed) -> float:
    """Largest offset of events in deg."""
    grid = survey.pixels.cutout(observed.lon, observed.lat, survey.npix)
    return Field(grid, observed.lon, observed.lat, 0.0).reach


def _events(survey: Survey, observed: Observed) -> _Events:
    """Draw all events of an observation, in order of time."""
    cube = good_times(observed)
    random = survey.random(observed.number, 2)  # the photons of the same survey in bins
    rest = survey.random(observed.number, 3)
    parts = [_background(survey, observed, rest)]
    for model in survey.models.for_dataset(observed.name):
        assert isinstance(model, SkyModel)
        for photons in detected_photons(survey, observed, model, cube, random):
            place = rotate(photons.lon, photons.lat, survey.pixels.frame, "icrs")
            times = _times(observed, model, len(photons.energy), rest)
            parts += [_Events(*place, photons.energy, times)]
    events = _Events(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    order = np.argsort(events.time, kind="stable")
    return _Events(*(values[order] for values in events))


def _times(observed: Observed, model: SkyModel, n: int, random: np.random.Generator) -> Array:
    """Draw arrival times from the temporal model of a source."""
    if model.temporal_model is None:
        return observed.start + observed.livetime * random.random(n)
    seconds = np.linspace(observed.start, observed.start + observed.livetime, NODES)
    norm = np.asarray(model.temporal_model(_time(seconds)).value)
    return Tabulated(seconds, norm).draw(n, random)


def _background(survey: Survey, observed: Observed, random: np.random.Generator) -> _Events:
    response, zenith = survey.response, observed.zenith
    energy = np.geomspace(survey.energy_true[0], survey.energy_true[-1], NODES)
    density = energy * response.background_spectrum(energy, zenith)
    spectrum = Tabulated(np.log(energy), observed.norm * density * energy**-observed.tilt)
    offset = np.linspace(0, _radius(survey, observed), NODES)
    ring = 2 * np.pi * np.sin(np.radians(offset)) * np.radians(1)
    offsets = Tabulated(offset, background_shape(offset) * ring)
    n = random.poisson(spectrum.total * offsets.total * observed.livetime)
    lon, lat = around(
        np.full(n, observed.lon),
        np.full(n, observed.lat),
        np.radians(offsets.draw(n, random)),
        2 * np.pi * random.random(n),
    )
    energies = np.exp(spectrum.draw(n, random))
    times = observed.start + observed.livetime * random.random(n)
    return _Events(*rotate(lon, lat, survey.pixels.frame, "icrs"), energies, times)


# --- tables -------------------------------------------------------------------------------


def _time(seconds: Array | float) -> Time:
    return Time(float(REFERENCE["mjdrefi"]), np.asarray(seconds) / 86400, format="mjd", scale="tt")


def _dates(observed: Observed) -> dict[str, str]:
    ends = (observed.start, observed.start + observed.livetime)
    (day, hour), (last, end) = (_time(second).utc.isot.split("T") for second in ends)
    return {"DATE-OBS": day, "TIME-OBS": hour, "DATE-END": last, "TIME-END": end}


def _event_table(events: _Events, cards: Mapping[str, Any]) -> fits.BinTableHDU:
    columns = [
        ("EVENT_ID", "", np.arange(1, len(events.time) + 1, dtype=np.int64)),
        ("TIME", "s", events.time),
        ("RA", "deg", events.lon),
        ("DEC", "deg", events.lat),
        ("ENERGY", "TeV", events.energy),
    ]
    kind = {"HDUCLAS1": "EVENTS", "RADECSYS": "ICRS", "EQUINOX": 2000.0, "OBS_MODE": "POINTING"}
    return table_hdu("EVENTS", columns, GADF | kind | TELESCOPE | CLOCK | SITE | dict(cards))


def _time_table(observed: Observed) -> fits.BinTableHDU:
    start = np.array([observed.start])
    columns = [("START", "s", start), ("STOP", "s", start + observed.livetime)]
    return table_hdu("GTI", columns, GADF | {"HDUCLAS1": "GTI"} | CLOCK)


def _write_indices(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the lists of HDUs and of observations; the latter ends the simulation."""
    units = {"RA_PNT": "deg", "DEC_PNT": "deg", "ZEN_PNT": "deg", "ALT_PNT": "deg", "AZ_PNT": "deg"}
    units |= {"TSTART": "s", "TSTOP": "s", "ONTIME": "s", "LIVETIME": "s"}
    ids = [row["OBS_ID"] for row in rows for _ in HDUS]
    files = [_path(folder, obs_id).name for obs_id in ids]
    hdus: list[tuple[str, str, NDArray[Any]]] = [("OBS_ID", "", np.array(ids))]
    texts = {
        "HDU_TYPE": [form.split("_")[0] for form in HDUS.values()] * len(rows),
        "HDU_CLASS": list(HDUS.values()) * len(rows), "FILE_DIR": ["data"] * len(ids),
        "FILE_NAME": files, "HDU_NAME": list(HDUS) * len(rows),
    }  # fmt: skip
    hdus += [(key, "", np.array(values)) for key, values in texts.items()]
    observations = [
        (key, units.get(key, ""), np.array([row[key] for row in rows])) for key in rows[0]
    ]
    for name, kind, columns in (("hdu", "HDU", hdus), ("obs", "OBS", observations)):
        cards = (
            GADF | {"HDUCLAS1": "INDEX", "HDUCLAS2": kind} | (CLOCK | SITE if kind == "OBS" else {})
        )
        table = table_hdu(f"{kind}_INDEX", columns, cards)
        with replacing(folder / f"{name}-index.fits.gz") as path:
            fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
