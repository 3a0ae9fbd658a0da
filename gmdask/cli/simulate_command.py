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

if TYPE_CHECKING:  # the other commands start without it
    from gmdask.datasets.simulation.survey import Survey

__all__ = ["simulate"]

GB = 1e9


@click.command()
@click.argument("config", type=click.Path())
@click.argument("store", type=click.Path())
@click.option(
    "--events",
    is_flag=True,
    help="Draw photons one by one, with continuous energies and directions, then count them.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would take, and write nothing.")
@response_option
@cluster_options
def simulate(
    config: str, store: str, events: bool, dry_run: bool, response: str | None, cluster: str,
    workers: int | None, memory_limit: str | None,
) -> None:  # fmt: skip
    """Simulate the survey of a CONFIG (YAML) into a STORE.

    CONFIG names the models of the true sky, pixels, energies, pointings, livetimes, zenith
    angles and the background; data_schemas/1.0/simulation.json says how. Everything drawn depends on
    its seed alone. Beside the STORE goes <STORE stem>-truth.yaml: the true models, with the
    background of every dataset. Run it again after an interruption: finished blocks are kept.
    """
    check_cluster(cluster, workers, memory_limit)
    if events and response is not None:
        msg = "--events and --response are both given, expected one of them"
        raise click.UsageError(msg)
    from gmdask.datasets import simulate as run
    from gmdask.datasets.simulation.survey_file import read_survey
    from gmdask.datasets.simulation.survey_simulation import truth_path

    survey = read_survey(config)
    if response is not None:
        survey = replace(survey, sources=response)
    if dry_run:
        n = workers or os.cpu_count() or 1
        echo(_told(survey, store, events, n if cluster == "local" else 1))
        return

    progress = Progress()
    with connected(cluster, workers, memory_limit) as client:
        made = run(survey, store, client, events=events, on_event=progress)
    progress.close()
    counts = sum(row.counts for row in made.rows)
    echo(f"{made.url}: {counted(len(made.rows), 'dataset')}, {counts:.0f} counts")
    echo(f"true models: {truth_path(made.url)}")


def _told(survey: Survey, store: str, events: bool, workers: int) -> str:
    from gmdask.datasets.simulation.survey_simulation import plan_simulation, truth_path

    plan = plan_simulation(survey, events=events)
    minutes = plan.seconds / 60
    return (
        f"{store} would hold {counted(plan.datasets, 'dataset')} in {counted(plan.blocks, 'block')}:\n"
        f"  uncompressed {plan.nbytes / GB:9.3f} GB\n"
        f"  on disk      {plan.stored / GB:9.3f} GB (estimated)\n"
        f"  time         {minutes:9.1f} min of one processor, {minutes / workers:.1f} min on {workers} (estimated)\n"
        f"true models would go to {truth_path(store)}; nothing was written"
    )
