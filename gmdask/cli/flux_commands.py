"""The commands ``gmdask flux-points`` and ``gmdask light-curve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gmdask.cli.choosing import datasets_and_models, response_option, where_option
from gmdask.cli.fit_command import NOT_CONVERGED
from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import cluster_options, connected
from gmdask.cli.terminal import echo
from gmdask.errors import InputError
from gmdask.paths import expanded

__all__ = ["energies_of", "flux_points", "light_curve"]

OPTIONAL = ("errn-errp", "ul", "scan")
KINDS = ("likelihood", "dnde", "e2dnde", "flux", "eflux")


def _options(command: Any) -> Any:
    """Options and arguments of both commands."""
    for option in (
        cluster_options,
        where_option,
        response_option,
        click.option("--overwrite", is_flag=True, help="Replace existing files."),
        click.option("--sed-type", type=click.Choice(KINDS), help="Flux quantity to write."),
        click.option("--reoptimize", is_flag=True, help="Also refit the other models in each bin."),
        click.option(
            "--select", "selection", multiple=True, type=click.Choice([*OPTIONAL, "all"]),
            default=("errn-errp", "ul"), show_default=True, help="Optional quantities to estimate; may be repeated.",
        ),
        click.option(
            "-o", "--output", required=True, type=click.Path(), metavar="FILE",
            help="File .fits, .fits.gz or .ecsv; for several sources a folder, with one file each.",
        ),
        click.option(
            "--energy-edges", required=True, metavar="EDGES", help="Edges of the energy bins, such as '0.5 1 3 10 TeV'."
        ),
        click.option(
            "--source", "sources", required=True, multiple=True, metavar="NAME", help="Source name; may be repeated."
        ),
        click.argument("models", type=click.Path()),
        click.argument("store", type=click.Path()),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("flux-points")
@_options
def flux_points(sources: tuple[str, ...], **asked: Any) -> None:
    """Estimate flux points of sources of MODELS (Gammapy's YAML) in the datasets of a STORE."""
    from gmdask.estimators import FluxPointsEstimator

    _run(FluxPointsEstimator, sources, asked, "likelihood", "dnde")


@click.command("light-curve")
@_options
@click.option(
    "--interval",
    "intervals",
    multiple=True,
    nargs=2,
    metavar="BEGIN END",
    help="Time interval (UTC) of one point; may be repeated. By default there is one point per observation.",
)
def light_curve(
    sources: tuple[str, ...], intervals: tuple[tuple[str, str], ...], **asked: Any
) -> None:
    """Estimate light curves of sources of MODELS (Gammapy's YAML) in the datasets of a STORE."""
    from gmdask.estimators import LightCurveEstimator

    times = list(intervals) or None
    _run(LightCurveEstimator, sources, asked, "flux", "flux", time_intervals=times)


def _run(
    estimator: Any, sources: tuple[str, ...], asked: dict[str, Any], written: str, shown: str, **more: Any
) -> None:  # fmt: skip
    """Estimate, write and print fluxes, by default in the given SED types."""
    sed_type = asked["sed_type"] or written
    shown = shown if sed_type == "likelihood" else sed_type
    paths = _paths(asked["output"], sources, overwrite=asked["overwrite"])
    edges = energies_of(asked["energy_edges"])
    datasets, models = datasets_and_models(asked["store"], asked["models"], asked["where"])
    estimation = estimator(
        list(sources), edges, selection_optional=asked["selection"], reoptimize=asked["reoptimize"],
        response=asked["response"], **more
    )  # fmt: skip
    progress = Progress()
    with connected(asked["cluster"], asked["workers"], asked["memory_limit"]) as client:
        found = estimation.run(datasets, models, client, on_event=progress)
    progress.close()
    for name, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        found[name].write(path, sed_type, overwrite=asked["overwrite"])
        _echo(name, found[name], shown)
        echo(f"written to {path}")
    _tell_rounded(edges, next(iter(found.values())))
    unknown = [name for name in paths if not found[name].data["success"].any()]
    if unknown:
        echo(f"gmdask: the data constrain no flux of {', '.join(unknown)}", err=True)
        click.get_current_context().exit(NOT_CONVERGED)


def _paths(output: str, sources: tuple[str, ...], *, overwrite: bool) -> dict[str, Path]:
    """Return the output file of each source."""
    from gmdask.datasets.io.fits_files import file_names
    from gmdask.estimators.flux_files import check_ending

    given = expanded(output)
    if len(sources) == 1 and given.suffix:
        paths = {sources[0]: given}
    elif given.suffix:
        msg = f"{given}: for several sources the output must be a folder"
        raise InputError(msg)
    else:
        files = file_names(sources)
        paths = {name: given / f"{file}.fits" for name, file in zip(sources, files, strict=True)}
    for path in paths.values():
        check_ending(path)
        if path.exists() and not overwrite:
            msg = f"{path}: already exists (--overwrite replaces it)"
            raise InputError(msg)
    if not given.absolute().parent.is_dir():
        msg = f"{given}: its parent is not a folder"
        raise InputError(msg)
    return paths


def energies_of(text: str) -> Any:
    """Parse energies from a text such as "0.5 1 3 TeV".

    Raises
    ------
    InputError
        If they are not numbers and a unit.
    """
    from astropy import units as u

    *numbers, unit = text.replace(",", " ").split() or [""]
    try:
        return u.Quantity([float(number) for number in numbers], unit).to("TeV")
    except (TypeError, ValueError, u.UnitsError) as error:
        msg = f"--energy-edges is {text!r}, expected numbers and a unit, such as '0.5 1 3 10 TeV'"
        raise InputError(msg) from error


def _tell_rounded(edges: Any, found: Any) -> None:
    """Say which energy edges were used, where they are not those that were asked for."""
    used = [*found.data["e_min"].values, found.data["e_max"].values[-1]]
    asked = edges.to_value("TeV")
    if any(abs(one - other) > 1e-3 * other for one, other in zip(used, asked, strict=True)):
        shown = " ".join(f"{edge:.4g}" for edge in used)
        echo(f"gmdask: energy edges are rounded to those of the datasets: {shown} TeV", err=True)


def _echo(name: str, found: Any, sed_type: str) -> None:
    """Print a table of the norms and fluxes of a source."""
    import numpy as np

    from gmdask.datasets.operations.gti import utc_text
    from gmdask.estimators.flux_data import SED_UNITS

    data = found.data
    norms = {"norm": "norm", "error": "norm_err", "√ts": "sqrt_ts"}
    fluxes = {sed_type: sed_type, "error": f"{sed_type}_err"}
    if "norm_ul" in data:
        fluxes["limit"] = f"{sed_type}_ul"
    values = [found.quantity(key).value for key in (*norms.values(), *fluxes.values())]
    heads = "".join(f"{head:>11}" for head in (*norms, *fluxes))
    timed = "time_min" in data.coords or "time_min" in data
    gap = len("2000-01-01 00:00:00.000000 UTC") if timed else 0
    echo(f"\n{name} ({sed_type} in {SED_UNITS[sed_type]})")
    echo(f"{'':{gap}}{'energy [TeV]':>17}{heads}")
    for at in np.ndindex(data["norm"].shape):
        when = utc_text(found.time_min[at[0]]) if timed else ""
        low, high = (float(data[key].values[at[-1]]) for key in ("e_min", "e_max"))
        numbers = "".join(f"{float(value[at]):11.3g}" for value in values)
        echo(f"{when:{gap}}{low:8.3g} {high:8.3g}{numbers}")
