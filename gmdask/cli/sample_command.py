"""The command ``gmdask sample``."""

from __future__ import annotations

import click

from gmdask.cli.choosing import datasets_and_models, response_option, where_option
from gmdask.cli.fit_command import NOT_CONVERGED
from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import cluster_options, connected
from gmdask.cli.terminal import echo
from gmdask.errors import InputError
from gmdask.paths import expanded

__all__ = ["sample"]


@click.command()
@click.argument("store", type=click.Path())
@click.argument("models", type=click.Path())
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    metavar="FOLDER",
    help="Zarr folder to write, in ArviZ's layout.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier posterior.")
@click.option(
    "--draws",
    type=click.IntRange(min=4),
    default=1000,
    show_default=True,
    help="Draws per chain that are kept.",
)
@click.option("--chains", type=click.IntRange(min=1), default=4, show_default=True)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The same seed gives the same draws.",
)
@click.option(
    "--nuisances",
    type=click.Choice(["sampled", "marginalised"]),
    default="sampled",
    show_default=True,
    help="Sample the background parameters of single datasets, or integrate over them by Laplace's method.",
)
@where_option
@response_option
@cluster_options
@click.pass_context
def sample(
    context: click.Context, store: str, models: str, output: str, overwrite: bool, draws: int, chains: int,
    seed: int, nuisances: str, where: tuple[str, ...], response: str | None, cluster: str, workers: int | None,
    memory_limit: str | None,
) -> None:  # fmt: skip
    """Sample the posterior of fitted MODELS (models.yaml of gmdask fit) in the datasets of a STORE.

    Prints mean, standard deviation, 68 % range, effective sample size and R-hat of every parameter. The exit code is
    3 if the chains did not converge; they are written as well.
    """
    from gmdask.fit import Fit
    from gmdask.sampling import sample as sample_posterior

    place = expanded(output)
    if place.exists() and not overwrite:
        msg = f"{place}: already exists (--overwrite replaces an earlier posterior)"
        raise InputError(msg)
    if not place.absolute().parent.is_dir():
        msg = f"{place}: its parent is not a folder"
        raise InputError(msg)
    datasets, fitted = datasets_and_models(store, models, where, response)
    progress = Progress()
    with connected(cluster, workers, memory_limit) as client:
        fit = Fit(datasets, client, on_event=progress)
        found = sample_posterior(
            fit,
            fitted,
            draws=draws,
            chains=chains,
            seed=seed,
            nuisances="marginalised" if nuisances == "marginalised" else "sampled",
        )
    progress.close()
    found.write(place, overwrite)
    echo(str(found))
    echo(f"\nwritten to {place}")
    if not found.success:
        echo(f"gmdask: the chains did not converge: {'; '.join(found.problems())}", err=True)
        context.exit(NOT_CONVERGED)
