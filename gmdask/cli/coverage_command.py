"""The command ``gmdask coverage``."""

from __future__ import annotations

import click

from gmdask.cli.choosing import datasets_and_models, response_option, where_option
from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import cluster_options, connected
from gmdask.cli.terminal import echo
from gmdask.errors import InputError
from gmdask.paths import expanded

__all__ = ["coverage"]


@click.command()
@click.argument("store", type=click.Path())
@click.argument("models", type=click.Path())
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="JSON file to write; a figure is written beside it (.png).",
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option("--simulations", type=click.IntRange(min=2), default=200, show_default=True)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the counts."
)
@click.option(
    "--profile",
    "profiled",
    multiple=True,
    metavar="PARAMETER",
    help="Test likelihood intervals and limits of this parameter, by its full name; may be repeated.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME",
    help="Compute the TS of this source; may be repeated.",
)
@where_option
@response_option
@cluster_options
def coverage(
    store: str, models: str, output: str, overwrite: bool, simulations: int, seed: int, profiled: tuple[str, ...],
    sources: tuple[str, ...], where: tuple[str, ...], response: str | None, cluster: str, workers: int | None,
    memory_limit: str | None,
) -> None:  # fmt: skip
    """Repeat the fit of MODELS (models.yaml of gmdask fit) over simulations of the datasets of a STORE.

    Prints the pulls of all parameters, how often their errors and limits include the simulated values, and how the
    statistic of the data compares with the simulated ones.
    """
    from gmdask.atomic_files import replacing
    from gmdask.calibration import coverage as fit_simulations
    from gmdask.fit import Fit

    path = expanded(output)
    figure = path.with_suffix(".png")
    if path.suffix != ".json":
        msg = f"{path}: expected the ending .json"
        raise InputError(msg)
    for file in (path, figure):
        if file.exists() and not overwrite:
            msg = f"{file}: already exists (--overwrite replaces it)"
            raise InputError(msg)
    if not path.absolute().parent.is_dir():
        msg = f"{path}: its parent is not a folder"
        raise InputError(msg)
    datasets, best = datasets_and_models(store, models, where, response)
    progress = Progress()
    with connected(cluster, workers, memory_limit) as client:
        fit = Fit(datasets, client, on_event=progress)
        found = fit_simulations(
            fit, best, simulations=simulations, seed=seed, profiled=profiled, sources=sources
        )
    progress.close()
    found.write(path, overwrite)
    with replacing(figure, overwrite=overwrite) as temporary:
        found.plot().savefig(temporary, dpi=100)
    echo(str(found))
    echo(f"\nwritten to {path} and {figure}")
