"""Reduction of one observation to its datasets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import xarray as xr
from astropy.table import Table

from gmdask.datasets import from_gammapy
from gmdask.errors import InputError
from gmdask.inputs import read_bytes, unpack
from gmdask.inputs.optional import gammapy_module
from gmdask.quiet import no_warnings
from gmdask.reduction.backgrounds import logged
from gmdask.reduction.config import ReductionConfig
from gmdask.reduction.observations import HDU_COLUMNS, ObservationFiles, time_intervals
from gmdask.reduction.provenance import PROVENANCE
from gmdask.reduction.recipe import Recipe, recipe_of
from gmdask.store.formats.gadf import open_fits

__all__ = ["Inputs", "reduce_observation", "sum_inputs"]

PACKAGES = ("gmdask", "gammapy", "numpy", "scipy", "astropy", "regions")


@dataclass(frozen=True)
class Inputs:
    """The input of an observation.

    Attributes
    ----------
    files : dict of str to str
        SHA-256 of each file, by its name in the index.
    digest : str
        SHA-256 of the files, the rows of the index and the configuration.
    """

    files: dict[str, str]
    digest: str


def sum_inputs(observation: ObservationFiles, config: ReductionConfig) -> Inputs:
    """Read the files of an observation, and check that they are complete.

    Parameters
    ----------
    observation : `ObservationFiles`
    config : `ReductionConfig`

    Raises
    ------
    InputNotFoundError
        If the index names a file that does not exist.
    InputError
        If a file is damaged.
    """
    files = {}
    for path in observation.files:
        content = read_bytes(path)
        files[path.name] = hashlib.sha256(content).hexdigest()
        with open_fits(unpack(content, str(path)), str(path)):
            pass
    rows = [(kind, name, file, hdu) for kind, name, _, file, hdu in observation.hdus]
    parts = json.dumps([config.digest, observation.obs_id, rows, files])
    return Inputs(files, hashlib.sha256(parts.encode()).hexdigest())


def reduce_observation(
    observation: ObservationFiles, config: ReductionConfig, inputs: Inputs
) -> list[xr.Dataset]:
    """Reduce an observation.

    Parameters
    ----------
    observation : `ObservationFiles`
    config : `ReductionConfig`
    inputs : `Inputs`
        Stored in the datasets, together with the configuration and the background model.

    Returns
    -------
    cubes : list of `xarray.Dataset`
        One, or one for each time bin.

    Raises
    ------
    InputError
        If it cannot be reduced; the message states the reason.
    """
    recipe = recipe_of(config)
    try:
        with no_warnings(), logged():
            return list(_cubes(observation, config, recipe, inputs))
    except InputError:
        raise
    except Exception as error:
        # any exception that Gammapy raises on intact files with invalid content
        kind = type(error).__name__
        files = ", ".join(path.name for path in observation.files)
        msg = f"{files}: {error} ({kind})" if str(error) else f"{files}: {kind}"
        raise InputError(msg) from error


def _cubes(
    observation: ObservationFiles, config: ReductionConfig, recipe: Recipe, inputs: Inputs
) -> Iterator[xr.Dataset]:
    name = re.sub(
        r"\{obs_id(?::0([1-9])d)?\}",
        lambda found: f"{observation.obs_id:0{found[1] or 1}d}",
        config.datasets.get("name", "obs-{obs_id}"),
    )
    whole = _opened(observation, config, recipe)
    if not len(whole.events.table):
        msg = "there are no events"
        raise InputError(msg)
    parts = _parts(whole, config, recipe)
    for number, part in enumerate(parts):
        own = name if recipe.time_bin is None else f"{name}-{number:03d}"
        yield _cube(part, own, config, recipe, inputs, observation.obs_id)


def _opened(observation: ObservationFiles, config: ReductionConfig, recipe: Recipe) -> Any:
    """Return Gammapy's observation in memory, so that its responses are read once."""
    theirs = gammapy_module("data", "reduce")
    rows = [[observation.obs_id, *row] for row in observation.hdus]
    index = theirs.HDUIndexTable(Table(rows=rows, names=["OBS_ID", *HDU_COLUMNS]))
    index.meta["BASE_DIR"] = observation.folder
    required = set(config.observations.get("required_irf", recipe.required)) - {"events", "gti"}
    try:
        found = theirs.DataStore(hdu_table=index).obs(observation.obs_id, required_irf=required)
    except theirs.data_store.MissingRequiredHDU as error:
        raise InputError(str(error)) from error
    read = found.copy(in_memory=True)
    missing = sorted(required - set(read.available_irfs))
    if missing:
        names = [row[-1] for row in observation.hdus if row[0] in missing]
        files = ", ".join(path.name for path in observation.files)
        msg = f"{files}: no {', '.join(names)} (responses: {', '.join(missing)})"
        raise InputError(msg)
    return read


def _parts(observation: Any, config: ReductionConfig, recipe: Recipe) -> Iterator[Any]:
    """Yield the observation within the requested time intervals, divided into its time bins."""
    intervals = time_intervals(config.observations)
    if intervals:
        theirs = gammapy_module("data", "reduce")
        found = list(theirs.Observations([observation]).select_time(intervals))
        if not found:
            msg = "no good time is left within obs_time"
            raise InputError(msg)
    else:
        found = [observation]
    for part in found:
        if recipe.time_bin is None:
            yield part
            continue
        for start in range(
            int(-(-(part.tstop - part.tstart).to_value("s") // recipe.time_bin.value))
        ):
            begin = part.tstart + start * recipe.time_bin
            piece = part.select_time([begin, begin + recipe.time_bin])
            if piece.gti.time_sum.value > 0:
                yield piece


def _cube(
    observation: Any, name: str, config: ReductionConfig, recipe: Recipe, inputs: Inputs, obs_id: int
) -> xr.Dataset:  # fmt: skip
    pointing = observation.get_pointing_icrs(observation.tmid)
    empty = recipe.reference_at(pointing, name)
    made = recipe.maker.run(empty, observation)
    if not recipe.is_spectrum:
        made = recipe.safe_mask_maker.run(made, observation)
    if not made.mask_safe.data.any():
        msg = "no bin is in the safe mask: it is outside of the geometry, or of the safe energies"
        raise InputError(msg)
    made, model = recipe.background_maker(made).make(made, observation)
    if recipe.is_spectrum:
        made = recipe.safe_mask_maker.run(made, observation)
    cube: xr.Dataset = from_gammapy(made).source
    provenance = {
        "obs_id": obs_id,
        "inputs": inputs.files,
        "digest": inputs.digest,
        "configuration": {"digest": config.digest, "datasets": _portable(config)},
        "versions": {package: version(package) for package in PACKAGES},
        "background_model": None if model is None else model.to_dict(),
    }
    attrs = {
        key: value for key, value in cube.attrs.items() if key != "primary"
    }  # contains the date
    cube.attrs = {**attrs, PROVENANCE: provenance}
    return cube


def _portable(config: ReductionConfig) -> dict[str, Any]:
    """Return the description of the datasets, without the folders of this machine."""
    given = dict(config.datasets)
    background = given.get("background", {})
    if isinstance(background.get("exclusion"), str):
        name = background["exclusion"].rsplit("/", 1)[-1]
        given["background"] = {**background, "exclusion": name}
    return given
