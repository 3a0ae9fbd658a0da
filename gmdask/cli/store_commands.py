"""Commands about stores: import, info, verify."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import click

from gmdask.cli.progress import Progress

__all__ = [
    "check_cluster",
    "cluster_options",
    "connected",
    "echo_rows",
    "import_command",
    "info",
    "verify",
]

DAMAGED = 1
SHOWN = 20


def cluster_options(command: Any) -> Any:
    """Options that say where to compute."""
    for option in (
        click.option("--memory-limit", metavar="SIZE", help="Memory per local worker, such as 2GB."),
        click.option("--workers", type=click.IntRange(min=1), help="Number of local workers (default: one per core)."),
        click.option(
            "--cluster", default="none", show_default=True, metavar="WHERE",
            help="none: in this process; local: workers on this machine; slurm: workers as jobs; "
            "a scheduler's address or file; or a file of settings (.yaml).",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def check_cluster(cluster: str, workers: int | None, memory_limit: str | None) -> None:
    """Refuse options for local workers where there are none."""
    if cluster != "local" and (workers is not None or memory_limit is not None):
        need = "need" if cluster == "none" else "are for"
        msg = f"--workers and --memory-limit {need} --cluster local"
        raise click.UsageError(msg)


def connected(
    cluster: str, workers: int | None, memory_limit: str | None
) -> AbstractContextManager[Any]:
    """Client of the cluster that was asked for, or None."""
    check_cluster(cluster, workers, memory_limit)
    if cluster == "none":
        return nullcontext(None)
    from gmdask.cluster import connect

    client: AbstractContextManager[Any] = connect(
        cluster, workers=workers, memory_limit=memory_limit
    )
    return client


@click.command("import")
@click.argument("datasets")
@click.argument("store")
@click.option("--overwrite", is_flag=True, help="Replace the datasets of a store that is there.")
@click.option("--append", is_flag=True, help="Add to a store that is there.")
@cluster_options
def import_command(
    datasets: str,
    store: str,
    overwrite: bool,
    append: bool,
    cluster: str,
    workers: int | None,
    memory_limit: str | None,
) -> None:
    """Import Gammapy's DATASETS (a datasets.yaml) into a STORE."""
    if overwrite and append:
        msg = "--overwrite and --append exclude each other"
        raise click.UsageError(msg)
    from gmdask.datasets import import_datasets

    progress = Progress()
    with connected(cluster, workers, memory_limit) as client:
        made = import_datasets(
            datasets, store, client, overwrite=overwrite, append=append, on_event=progress
        )
    progress.close()
    click.echo(f"{made.url}: {len(made.rows)} datasets")


@click.command()
@click.argument("store")
def info(store: str) -> None:
    """Say what is in a STORE."""
    from gmdask.store import Store

    opened = Store.open(store)
    rows = opened.rows
    blocks = len({row.block for row in rows})
    click.echo(f"{opened.url}: {len(rows)} datasets in {blocks} blocks, commit {opened.version}")
    click.echo(f"digest {opened.digest}")
    echo_rows(rows[:SHOWN])
    if len(rows) > SHOWN:
        click.echo(f"... and {len(rows) - SHOWN} more")
    if rows:
        _show_arrays(opened)


def echo_rows(rows: Sequence[Any]) -> None:
    """Print rows of a store as a table."""
    width = max([len(row.name) for row in rows] + [7])
    click.echo(
        f"{'dataset':<{width}}  {'kind':<15} {'lon':>9} {'lat':>9} {'frame':<9} {'livetime s':>10} {'counts':>10}"
    )
    for row in rows:
        lon, lat = (_number(value, ".4f") for value in (row.pointing.lon, row.pointing.lat))
        click.echo(
            f"{row.name:<{width}}  {row.kind:<15} {lon:>9} {lat:>9} {row.pointing.frame:<9} "
            f"{_number(row.livetime, '.1f'):>10} {row.counts:10.0f}"
        )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _show_arrays(opened: Any) -> None:
    cube = opened.open_row(opened.rows[0])
    click.echo(f"arrays of {opened.rows[0].name!r}:")
    for key, array in cube.data_vars.items():
        unit = array.attrs.get("unit", "")
        shape = " × ".join(f"{dim} {n}" for dim, n in zip(array.dims, array.shape, strict=True))
        click.echo(f"  {key:<15} {array.dtype!s:<8} {shape}{'  [' + unit + ']' if unit else ''}")


@click.command()
@click.argument("store")
@click.pass_context
def verify(context: click.Context, store: str) -> None:
    """Compare every byte of a STORE with its checksums."""
    from gmdask.store import verify_store

    problems = verify_store(store)
    for problem in problems:
        click.echo(f"{problem}", err=True)
    if problems:
        click.echo(f"gmdask: error: {store}: {len(problems)} problems", err=True)
        context.exit(DAMAGED)
    click.echo(f"{store}: every file is as it was written")
