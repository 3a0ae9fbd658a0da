"""The commands ``gmdask flux-points`` and ``gmdask light-curve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gmdask.cli.store_commands import cluster_options, connected
from gmdask.errors import InputError

__all__ = ["flux_points", "light_curve"]

OPTIONAL = ("errn-errp", "ul", "scan")
KINDS = ("likelihood", "dnde", "e2dnde", "flux", "eflux")


def _options(command: Any) -> Any:
    """Options and arguments of both commands."""
    for option in (
        cluster_options,
        click.option("--overwrite", is_flag=True, help="Replace files that are there."),
        click.option("--sed-type", type=click.Choice(KINDS), help="Which flux is written."),
        click.option("--reoptimize", is_flag=True, help="Fit the other models along, in each bin."),
        click.option(
            "--select", "selection", multiple=True, type=click.Choice([*OPTIONAL, "all"]),
            default=("errn-errp", "ul"), show_default=True, help="What is estimated, too; may be repeated.",
        ),
        click.option(
            "-o", "--output", required=True, metavar="FILE",
            help=".fits or .ecsv; of several sources a folder, with a file each.",
        ),
        click.option(
            "--energy-edges", required=True, metavar="EDGES", help="Such as '0.5 1 3 10 TeV'."
        ),
        click.option(
            "--source", "sources", required=True, multiple=True, metavar="NAME", help="Which; may be repeated."
        ),
        click.argument("models"),
        click.argument("store"),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("flux-points")
@_options
def flux_points(sources: tuple[str, ...], **asked: Any) -> None:
    """Estimate flux points of sources of MODELS (Gammapy's YAML) in the datasets of a STORE."""
    from gmdask.estimators import FluxPointsEstimator

    _run(FluxPointsEstimator, sources, asked, asked["sed_type"] or "likelihood")


@click.command("light-curve")
@_options
@click.option(
    "--interval",
    "intervals",
    multiple=True,
    nargs=2,
    metavar="BEGIN END",
    help="Times (UTC) of one point; may be repeated. By default there is one per observation.",
)
def light_curve(
    sources: tuple[str, ...], intervals: tuple[tuple[str, str], ...], **asked: Any
) -> None:
    """Estimate light curves of sources of MODELS (Gammapy's YAML) in the datasets of a STORE."""
    from gmdask.estimators import LightCurveEstimator

    kind = asked["sed_type"] or "flux"
    _run(LightCurveEstimator, sources, asked, kind, time_intervals=list(intervals) or None)


def _run(
    estimator: Any, sources: tuple[str, ...], asked: dict[str, Any], sed_type: str, **more: Any
) -> None:
    from gmdask.datasets import Datasets
    from gmdask.models import Models

    paths = _paths(asked["output"], sources, overwrite=asked["overwrite"])
    edges = _edges(asked["energy_edges"])
    datasets, models = Datasets.read(asked["store"]), Models.read(asked["models"])
    estimation = estimator(
        list(sources), edges, selection_optional=asked["selection"], reoptimize=asked["reoptimize"], **more
    )  # fmt: skip
    with connected(asked["cluster"], asked["workers"], asked["memory_limit"]) as client:
        found = estimation.run(datasets, models, client)
    for name, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        found[name].write(path, sed_type, overwrite=asked["overwrite"])
        _echo(name, found[name])
        click.echo(f"written to {path}")


def _paths(output: str, sources: tuple[str, ...], *, overwrite: bool) -> dict[str, Path]:
    """File of each source."""
    given = Path(output)
    if len(sources) == 1 and given.suffix:
        paths = {sources[0]: given}
    elif given.suffix:
        msg = f"{given}: of several sources the output is a folder"
        raise InputError(msg)
    else:
        paths = {name: given / f"{name}.fits" for name in sources}
    for path in paths.values():
        if path.exists() and not overwrite:
            msg = f"{path}: there is a file of this name already (--overwrite replaces it)"
            raise InputError(msg)
    if not given.absolute().parent.is_dir():
        msg = f"{given}: its parent is not a folder"
        raise InputError(msg)
    return paths


def _edges(text: str) -> Any:
    """Energies of a text such as "0.5 1 3 TeV"."""
    from astropy import units as u

    *numbers, unit = text.replace(",", " ").split() or [""]
    try:
        return u.Quantity([float(number) for number in numbers], unit)
    except (TypeError, ValueError) as error:
        msg = f"--energy-edges is {text!r}, expected numbers and a unit, such as '0.5 1 3 10 TeV'"
        raise InputError(msg) from error


def _echo(name: str, found: Any) -> None:
    """Table of the norms of a source."""
    import numpy as np

    data = found.data
    click.echo(f"\n{name}\n{'':26}{'energy [TeV]':>17}{'norm':>11}{'error':>11}{'√ts':>8}")
    for at in np.ndindex(data["norm"].shape):
        when = found.time_min[at[0]].iso if "time_min" in data.coords else ""
        low, high = (float(data[key].values[at[-1]]) for key in ("e_min", "e_max"))
        norm, error, root = (float(data[key].values[at]) for key in ("norm", "norm_err", "sqrt_ts"))
        click.echo(f"{when:26}{low:8.3g} {high:8.3g}{norm:11.4g}{error:11.3g}{root:8.2f}")
