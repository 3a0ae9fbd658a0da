"""Selection of observations, and the locations of their files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import Angle, SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from gmdask.errors import InputError, InputNotFoundError
from gmdask.inputs import read_bytes
from gmdask.inputs.optional import gammapy_module
from gmdask.quiet import no_warnings
from gmdask.reduction.config import ReductionConfig

__all__ = ["HDU_COLUMNS", "ObservationFiles", "select_observations", "time_intervals"]

HDU_COLUMNS = ("HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME")
RESPONSES = {
    "EFF_AREA": "aeff", "EDISP": "edisp", "RPSF": "psf", "PSF": "psf", "BKG": "bkg", "RAD_MAX": "rad_max"
}  # fmt: skip
INDICES = ("hdu-index.fits.gz", "obs-index.fits.gz")


@dataclass(frozen=True)
class ObservationFiles:
    """An observation before any of its files is opened.

    Attributes
    ----------
    obs_id : int
    folder : str
        Folder that file names are relative to.
    hdus : tuple of tuple of str
        Rows of the index: type, class, folder, file and name of each HDU.
    """

    obs_id: int
    folder: str
    hdus: tuple[tuple[str, ...], ...]

    @property
    def files(self) -> list[Path]:
        """Its files, without repetitions."""
        return [Path(self.folder, *names) for names in dict.fromkeys(row[2:4] for row in self.hdus)]


def select_observations(config: ReductionConfig) -> list[ObservationFiles]:
    """Select the observations of a configuration.

    Parameters
    ----------
    config : `ReductionConfig`

    Returns
    -------
    observations : list of `ObservationFiles`
        In the order of the list of identifiers, or of the index.

    Raises
    ------
    InputError
        If an index or the file of identifiers cannot be read, an identifier is unknown, or no
        observation fulfils all conditions.
    """
    given = config.observations
    store = _data_store(given)
    table, hdus = store.obs_table, store.hdu_table
    where = given.get("datastore") or f"{len(given['files'])} files"
    known = _unique(hdus["OBS_ID"])
    chosen = _listed(given, known, where)
    if table is None:
        needs = [key for key in ("obs_cone", "obs_time", "target", "quality") if key in given]
        if needs:
            msg = f"{where}: there is no {INDICES[1]}, which {', '.join(needs)} needs"
            raise InputError(msg)
    else:
        rows = {int(obs_id): row for row, obs_id in enumerate(table["OBS_ID"])}
        fine = _fulfils(table, given, where)
        if any(key in given for key in ("obs_cone", "obs_time", "target", "quality")):
            chosen = [one for one in chosen if one in rows and fine[rows[one]]]
    if not chosen:
        msg = f"{config.file}: no observation of the {len(known)} of {where} fulfils the conditions of 'observations'"
        raise InputError(msg)
    folder = str(hdus.meta.get("BASE_DIR", ""))
    lines = _rows(hdus)
    if "files" in given:
        lines = {one: _with_own_responses(lines[one]) for one in chosen}
    return [ObservationFiles(one, folder, tuple(lines[one])) for one in chosen]


def _data_store(given: dict[str, Any]) -> Any:
    theirs = gammapy_module("data", "reduce")
    if "datastore" in given:
        folder = Path(given["datastore"])
        if not (folder / INDICES[0]).is_file():
            msg = f"{folder / INDICES[0]} does not exist, expected the index of a datastore"
            raise InputNotFoundError(msg)
        try:
            with no_warnings():
                return theirs.DataStore.from_dir(folder)
        except Exception as error:
            msg = f"{folder}: its index cannot be read ({error})"
            raise InputError(msg) from error
    files: list[str] = []
    for pattern in given["files"]:
        found = sorted(glob(pattern, recursive=True))  # noqa: PTH207  (absolute patterns)
        if not found:
            msg = f"{pattern} does not exist, expected a file of events"
            raise InputNotFoundError(msg)
        files += found
    try:
        with no_warnings():
            return theirs.DataStore.from_events_files(files)
    except Exception as error:
        msg = f"{', '.join(files[:3])}: the headers of events cannot be read ({error})"
        raise InputError(msg) from error


def _unique(column: Iterable[Any]) -> list[int]:
    return list(dict.fromkeys(int(value) for value in column))


def _listed(given: dict[str, Any], known: Sequence[int], where: str) -> list[int]:
    """Return the identifiers that are listed; all if there is no list."""
    wanted = list(given.get("obs_ids", []))
    if "obs_file" in given:
        path = given["obs_file"]
        try:
            text = read_bytes(path, "file of identifiers").decode().replace(",", " ").split()
            wanted += [int(word) for word in text]
        except ValueError as error:
            msg = f"{path}: expected integers ({error})"
            raise InputError(msg) from error
    missing = [one for one in wanted if one not in set(known)]
    if missing:
        msg = f"{where}: there is no observation {', '.join(map(str, missing[:5]))} ({len(missing)} in all)"
        raise InputError(msg)
    return _unique(wanted) if wanted else list(known)


def _fulfils(table: Table, given: dict[str, Any], where: str) -> NDArray[np.bool_]:
    """Return which rows of the index fulfil the conditions."""
    fine: NDArray[np.bool_] = np.ones(len(table), dtype=bool)
    try:
        if "obs_cone" in given:
            cone = given["obs_cone"]
            center = SkyCoord(cone["lon"], cone["lat"], frame=cone.get("frame", "icrs"))
            pointings = SkyCoord(table["RA_PNT"], table["DEC_PNT"], unit="deg").transform_to(center)
            fine &= np.asarray(center.separation(pointings) < _angle(cone))
        if "target" in given:
            fine &= np.array([str(name).strip() == given["target"] for name in table["OBJECT"]])
        if "quality" in given:
            fine &= np.asarray(table["QUALITY"]) <= given["quality"]
        if "obs_time" in given:
            start, stop = table.time_start, table.time_stop
            within = [(start < end) & (stop > begin) for begin, end in time_intervals(given)]
            fine &= np.any(within, axis=0)
    except KeyError as error:
        msg = f"{where}: column {error} of {INDICES[1]} is missing"
        raise InputError(msg) from error
    except ValueError as error:
        msg = f"observations: {error}"
        raise InputError(msg) from error
    return fine


def _angle(cone: dict[str, Any]) -> Any:
    if "radius" not in cone:
        msg = "observations obs_cone radius is missing"
        raise InputError(msg)
    return Angle(cone["radius"])


def time_intervals(given: dict[str, Any]) -> list[Any]:
    """Return the time intervals to which observations are cut.

    Parameters
    ----------
    given : dict
        The section "observations".

    Returns
    -------
    intervals : list of `~astropy.time.Time` of shape (2,)
    """
    if "obs_time" not in given:
        return []
    ends = [given["obs_time"][key] for key in ("start", "stop")]
    starts, stops = ([one] if isinstance(one, str) else one for one in ends)
    if len(starts) != len(stops):
        msg = f"observations obs_time: {len(starts)} starts and {len(stops)} stops"
        raise InputError(msg)
    return [Time([start, stop]) for start, stop in zip(starts, stops, strict=True)]


def _rows(table: Table) -> dict[int, list[tuple[str, ...]]]:
    columns = [[str(value).strip() for value in table[key]] for key in HDU_COLUMNS]
    found: dict[int, list[tuple[str, ...]]] = {}
    for obs_id, row in zip(table["OBS_ID"], zip(*columns, strict=True), strict=True):
        found.setdefault(int(obs_id), []).append(row)
    return found


def _with_own_responses(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Replace responses of a CALDB by those in the event file, if it has any."""
    own = [row for row in rows if row[0] in ("events", "gti")]
    _, _, folder, file, _ = own[0]
    with no_warnings(), fits.open(Path(folder, file)) as hdus:
        headers = [hdu.header for hdu in hdus if hdu.header.get("HDUCLAS1") == "RESPONSE"]
    for header in headers:
        kind = RESPONSES.get(str(header.get("HDUCLAS2")))
        if kind is not None:
            name = str(header.get("HDUCLAS4", "")).lower()
            own.append((kind, name, folder, file, str(header.get("EXTNAME", ""))))
    return own if headers else rows
