"""The commands ``gmdask ts-map`` and ``gmdask excess-map``."""

from __future__ import annotations

from typing import Any

import click

from gmdask.cli.choosing import chosen_datasets, datasets_and_models, response_option, where_option
from gmdask.cli.flux_commands import energies_of
from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import cluster_options, connected
from gmdask.cli.terminal import echo
from gmdask.errors import InputError
from gmdask.paths import expanded

__all__ = ["excess_map", "ts_map"]

KINDS = ("likelihood", "dnde", "e2dnde", "flux", "eflux")


def map_options(command: Any) -> Any:
    """Options and arguments of both commands."""
    for option in (
        cluster_options,
        where_option,
        response_option,
        click.option("--overwrite", is_flag=True, help="Replace existing files."),
        click.option("--sed-type", type=click.Choice(KINDS), default="likelihood", help="Flux quantity to write."),
        click.option(
            "--energy-edges", metavar="EDGES",
            help="Edges of the energy bins, such as '0.5 1 3 10 TeV'. [default: one bin]",
        ),
        click.option("--models", metavar="FILE", help="Known sources and backgrounds (Gammapy's YAML)."),
        click.option("--plot", metavar="FILE", help="Also draw the significance to a file, such as map.png."),
        click.option(
            "-o", "--output", required=True, type=click.Path(), metavar="FILE", help="File .fits or .fits.gz."
        ),
        click.argument("store", type=click.Path()),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("excess-map")
@map_options
@click.option(
    "--radius",
    type=float,
    default=0.1,
    show_default=True,
    metavar="DEG",
    help="Correlation radius.",
)
@click.option(
    "--select", "selection", multiple=True, type=click.Choice(["errn-errp", "ul", "sensitivity", "all"]),
    help="Optional quantities to estimate; may be repeated.",
)  # fmt: skip
def excess_map(**asked: Any) -> None:
    """Make a map of excess, significance (Li & Ma) and flux within a radius, for the sum of the datasets of a STORE."""
    from gmdask.estimators import ExcessMapEstimator

    estimator = ExcessMapEstimator(
        f"{asked['radius']} deg",
        None if asked["energy_edges"] is None else energies_of(asked["energy_edges"]),
        selection_optional=asked["selection"] or None, response=asked["response"],
    )  # fmt: skip
    _run(estimator, asked)


@click.command("ts-map")
@map_options
@click.option(
    "--binsz", type=float, metavar="DEG", help="Size of the pixels. [default: as in the datasets]"
)
@click.option("--width", nargs=2, type=float, metavar="LON LAT", help="Size of the map in deg.")
@click.option(
    "--center", nargs=3, metavar="LON LAT FRAME",
    help="Centre of the map in deg, in the frame icrs or galactic. [default: a map of all datasets]",
)  # fmt: skip
@click.option(
    "--no-sum", is_flag=True, help="Use the energies of the counts within each energy bin, too."
)
@click.option(
    "--select", "selection", multiple=True, type=click.Choice(["errn-errp", "ul", "all"]),
    help="Optional quantities to estimate; may be repeated.",
)  # fmt: skip
@click.option(
    "--kernel-width",
    type=float,
    metavar="DEG",
    help="Width of the square of counts around each position.",
)
@click.option(
    "--kernel-model",
    metavar="FILE",
    help="Trial source (Gammapy's YAML). [default: a point source of index 2]",
)
def ts_map(**asked: Any) -> None:
    """Make a map of test statistic and flux of a trial source, jointly over the datasets of a STORE."""
    from gmdask.estimators import TSMapEstimator

    estimator = TSMapEstimator(
        _trial(asked["kernel_model"]),
        None if asked["kernel_width"] is None else f"{asked['kernel_width']} deg",
        None if asked["energy_edges"] is None else energies_of(asked["energy_edges"]),
        **_geometry(asked), selection_optional=asked["selection"] or None,
        sum_over_energy_groups=not asked["no_sum"], response=asked["response"],
    )  # fmt: skip
    _run(estimator, asked)


def _trial(path: str | None) -> Any:
    """Return the trial source of a file."""
    from gmdask.models import Models

    if path is None:
        return None
    models = Models.read(path)
    if len(models) != 1:
        msg = f"{path}: has {len(models)} models, expected the trial source alone"
        raise InputError(msg)
    return models[0]


def _geometry(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the options of an estimator for the pixels of a map."""
    from astropy.coordinates import SkyCoord

    if not asked["center"]:
        return {"width": asked["width"] or None, "binsz": asked["binsz"]}
    *degrees, frame = asked["center"]
    try:
        lon, lat = (float(value) for value in degrees)
        position = SkyCoord(lon, lat, unit="deg", frame=frame)
    except ValueError as error:
        msg = f"--center is {' '.join(asked['center'])!r}, expected such as '83.63 22.01 icrs'"
        raise InputError(msg) from error
    return {"position": position, "width": asked["width"] or None, "binsz": asked["binsz"]}


def _run(estimator: Any, asked: dict[str, Any]) -> None:
    """Make, write and describe maps."""
    import numpy as np

    from gmdask.estimators.flux_maps import check_map_ending

    path = check_map_ending(expanded(asked["output"]))
    if path.exists() and not asked["overwrite"]:
        msg = f"{path}: already exists (--overwrite replaces it)"
        raise InputError(msg)
    if asked["models"] is None:
        datasets, models = chosen_datasets(asked["store"], asked["where"]), None
    else:
        datasets, models = datasets_and_models(asked["store"], asked["models"], asked["where"])
    progress = Progress()
    with connected(asked["cluster"], asked["workers"], asked["memory_limit"]) as client:
        maps = estimator.run(datasets, models, client, on_event=progress)
    progress.close()
    maps.write(path, asked["sed_type"], overwrite=asked["overwrite"])
    edges, significance = maps.energy_edges.value, maps.data["sqrt_ts"].values
    for k, image in enumerate(significance):
        if not np.isfinite(image).any():
            echo(f"{edges[k]:.3g} to {edges[k + 1]:.3g} TeV: no position with predicted counts")
            continue
        row, column = np.unravel_index(int(np.nanargmax(image)), image.shape)
        lon, lat = (float(v) for v in maps.grid.to_sky(float(column), float(row)))
        echo(
            f"{edges[k]:.3g} to {edges[k + 1]:.3g} TeV: highest √TS {image[row, column]:.2f} at {lon:.3f}, "
            f"{lat:.3f} deg ({maps.grid.frame}), flux {maps.quantity('flux')[k, row, column]:.3g}"
        )
    echo(f"written to {path}")
    if asked["plot"] is not None:
        from gmdask.plot.style import new_figure

        figure = new_figure((6.4 * len(significance), 4.8))
        for k in range(len(significance)):
            maps.plot(energy=k, ax=figure.add_subplot(1, len(significance), k + 1))
        figure.savefig(expanded(asked["plot"]))
        echo(f"drawn to {asked['plot']}")
