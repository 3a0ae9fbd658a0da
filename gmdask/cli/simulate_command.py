"""The command ``gmdask simulate``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from gmdask.cli.choosing import response_option
from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import check_cluster, cluster_options, connected
from gmdask.cli.terminal import echo
from gmdask.events import counted

if TYPE_CHECKING:  # imported late, for a quick start of the other commands
    from gmdask.datasets.simulation.survey import Survey

__all__ = ["simulate"]

GB = 1e9


@click.command()
@click.argument("config", type=click.Path())
@click.argument("store", type=click.Path())
@click.option(
    "--events",
    is_flag=True,
    help="Draw photons one by one, with continuous energies and directions, and bin them into counts.",
)
@click.option(
    "--dl3",
    is_flag=True,
    help="Write event lists with their responses (GADF DL3) into a folder STORE, for `gmdask reduce` and Gammapy.",
)
@click.option("--dry-run", is_flag=True, help="Estimate size and time, and write nothing.")
@response_option
@cluster_options
def simulate(
    config: str, store: str, events: bool, dl3: bool, dry_run: bool, response: str | None, cluster: str,
    workers: int | None, memory_limit: str | None,
) -> None:  # fmt: skip
    """Simulate the survey of a CONFIG (YAML) into a STORE.

    CONFIG specifies the models of the true sky, pixels, energies, pointings, livetimes, zenith
    angles and the background; its format is data_schemas/1.0/simulation.json. All random numbers
    depend on its seed alone. The true models, with the background of every dataset, are written to
    <STORE stem>-truth.yaml beside the STORE. Run the command again after an interruption: finished
    blocks are kept. With --dl3, events are written instead of binned datasets.
    """
    check_cluster(cluster, workers, memory_limit)
    if events and response is not None:
        msg = "--events and --response exclude each other"
        raise click.UsageError(msg)
    if dl3 and (dry_run or response is not None):
        msg = "--dl3 excludes --dry-run and --response"
        raise click.UsageError(msg)
    if dl3:
        _write_event_lists(config, store, cluster, workers, memory_limit)
        return
    from gmdask.datasets import simulate as run
    from gmdask.datasets.simulation.survey_file import read_survey
    from gmdask.datasets.simulation.survey_simulation import truth_path

    survey = read_survey(config)
    if response is not None:
        survey = replace(survey, sources=response)
    if dry_run:
        n = workers or os.cpu_count() or 1
        echo(_summary(survey, store, events, n if cluster == "local" else 1))
        return

    progress = Progress()
    with connected(cluster, workers, memory_limit) as client:
        made = run(survey, store, client, events=events, on_event=progress)
    progress.close()
    counts = sum(row.counts or 0.0 for row in made.rows)
    echo(f"{made.url}: {counted(len(made.rows), 'dataset')}, {counts:.0f} counts")
    echo(f"true models: {truth_path(made.url)}")


def _write_event_lists(
    config: str, folder: str, cluster: str, workers: int | None, memory_limit: str | None
) -> None:
    from gmdask.datasets import simulate_event_lists
    from gmdask.datasets.simulation.survey_simulation import truth_path

    progress = Progress()
    with connected(cluster, workers, memory_limit) as client:
        made = simulate_event_lists(config, folder, client, on_event=progress)
    progress.close()
    n = len(list((made / "data").glob("*.fits")))
    echo(f"{made}: {counted(n, 'observation')} (event lists and responses)")
    echo(f"true models: {truth_path(made)}")


def _summary(survey: Survey, store: str, events: bool, workers: int) -> str:
    from gmdask.datasets.simulation.survey_simulation import plan_simulation, truth_path

    plan = plan_simulation(survey, events=events)
    minutes = plan.seconds / 60
    return (
        f"{store} would hold {counted(plan.datasets, 'dataset')} in {counted(plan.blocks, 'block')}:\n"
        f"  uncompressed {plan.nbytes / GB:9.3f} GB\n"
        f"  on disk      {plan.stored / GB:9.3f} GB (estimated)\n"
        f"  time         {minutes:9.1f} min on one processor, {minutes / workers:.1f} min on {workers} (estimated)\n"
        f"true models would go to {truth_path(store)}; nothing was written"
    )
