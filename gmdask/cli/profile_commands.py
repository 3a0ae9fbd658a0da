"""The commands ``gmdask profile`` and ``gmdask sensitivity``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gmdask.cli.choosing import chosen_datasets, datasets_and_models, response_option, where_option
from gmdask.cli.flux_commands import energies_of
from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import cluster_options, connected
from gmdask.cli.terminal import echo
from gmdask.errors import InputError
from gmdask.paths import expanded

__all__ = ["profile", "sensitivity"]


@click.command("profile")
@click.argument("store", type=click.Path())
@click.argument("regions", type=click.Path())
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="File .fits, .fits.gz or .ecsv.",
)
@click.option("--models", metavar="FILE", help="Known sources and backgrounds (Gammapy's YAML).")
@click.option(
    "--energy-edges", metavar="EDGES", help="Edges of the energy bins, such as '0.5 1 3 10 TeV'."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@response_option
@where_option
@cluster_options
def profile(store: str, regions: str, **asked: Any) -> None:
    """Estimate the fluxes of REGIONS (a DS9 file, one region each) in the datasets of a STORE."""
    from gmdask.estimators import FluxProfileEstimator
    from gmdask.estimators.flux_files import check_ending
    from gmdask.geometry.regions import read_region

    path = _free(asked["output"], overwrite=asked["overwrite"])
    check_ending(path)
    if asked["models"] is None:
        datasets, models = chosen_datasets(store, asked["where"]), None
    else:
        datasets, models = datasets_and_models(store, asked["models"], asked["where"])
    edges = None if asked["energy_edges"] is None else energies_of(asked["energy_edges"])
    estimator = FluxProfileEstimator(
        read_region(regions), edges, selection_optional="ul", response=asked["response"]
    )
    progress = Progress()
    with connected(asked["cluster"], asked["workers"], asked["memory_limit"]) as client:
        found = estimator.run(datasets, models, client, on_event=progress)
    progress.close()
    found.write(path, overwrite=asked["overwrite"])
    echo(str(found))
    echo(f"written to {path}")


@click.command("sensitivity")
@click.argument("store", type=click.Path())
@click.option(
    "-o", "--output", required=True, type=click.Path(), metavar="FILE", help="File .ecsv."
)
@click.option("--dataset", metavar="NAME", help="On/off spectrum to use. [default: the only one]")
@click.option(
    "--n-sigma", type=float, default=5.0, show_default=True, help="Significance of a detection."
)
@click.option(
    "--gamma-min",
    type=float,
    default=10.0,
    show_default=True,
    help="Smallest number of excess counts.",
)
@click.option(
    "--bkg-syst-fraction",
    type=float,
    default=0.05,
    show_default=True,
    help="Smallest ratio of excess and background.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@response_option
@where_option
def sensitivity(store: str, **asked: Any) -> None:
    """Estimate the sensitivity of an on/off spectrum of a STORE to a source with a power law of index 2."""
    from gmdask.estimators import SensitivityEstimator

    path = _free(asked["output"], overwrite=asked["overwrite"])
    if path.suffix.lower() != ".ecsv":
        msg = f"{path}: expected the ending .ecsv for a table"
        raise InputError(msg)
    datasets = chosen_datasets(store, asked["where"])
    if asked["dataset"] is None and len(datasets) != 1:
        msg = f"{store}: has {len(datasets)} datasets, choose one with --dataset"
        raise InputError(msg)
    dataset = datasets[0 if asked["dataset"] is None else asked["dataset"]]
    estimator = SensitivityEstimator(
        None,
        asked["n_sigma"],
        asked["gamma_min"],
        asked["bkg_syst_fraction"],
        response=asked["response"],
    )
    table = estimator.run(dataset)
    table.write(path, format="ascii.ecsv", overwrite=asked["overwrite"])
    echo("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    echo(f"written to {path}")


def _free(output: str, *, overwrite: bool) -> Path:
    """Return the output file, which may not exist."""
    path = expanded(output)
    if path.exists() and not overwrite:
        msg = f"{path}: already exists (--overwrite replaces it)"
        raise InputError(msg)
    return path
