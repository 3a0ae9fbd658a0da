"""Commands for stores: import, info, verify."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from gmdask.cli.progress import Progress
from gmdask.cli.terminal import echo, echo_json, printable
from gmdask.events import counted

if TYPE_CHECKING:  # imported late, for a quick start of commands that do not need them
    from gmdask.store import Row, Store

__all__ = [
    "check_cluster",
    "cluster_options",
    "connected",
    "echo_rows",
    "import_command",
    "info",
    "json_option",
    "row_document",
    "verify",
]

DAMAGED = 1
SHOWN = 20

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def cluster_options(command: Any) -> Any:
    """Add the options that choose where to compute."""
    for option in (
        click.option("--memory-limit", metavar="SIZE", help="Memory per local worker, such as 2GB."),
        click.option("--workers", type=click.IntRange(min=1), help="Number of local workers (default: one per core)."),
        click.option(
            "--cluster", default="none", show_default=True, metavar="WHERE",
            help="none: this process; local: workers on this machine; slurm: workers as SLURM jobs; "
            "a scheduler's address or scheduler file; or a settings file (.yaml).",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def check_cluster(cluster: str, workers: int | None, memory_limit: str | None) -> None:
    """Reject options for local workers without a local cluster."""
    if cluster != "local" and (workers is not None or memory_limit is not None):
        need = "need" if cluster == "none" else "are for"
        msg = f"--workers and --memory-limit {need} --cluster local"
        raise click.UsageError(msg)


def connected(
    cluster: str, workers: int | None, memory_limit: str | None
) -> AbstractContextManager[Any]:
    """Client of the requested cluster, or None."""
    check_cluster(cluster, workers, memory_limit)
    if cluster == "none":
        return nullcontext(None)
    from gmdask.cluster import connect

    client: AbstractContextManager[Any] = connect(
        cluster, workers=workers, memory_limit=memory_limit
    )
    return client


@click.command("import")
@click.argument("datasets", type=click.Path())
@click.argument("store", type=click.Path())
@click.option("--overwrite", is_flag=True, help="Replace the datasets of an existing store.")
@click.option("--append", is_flag=True, help="Add to an existing store.")
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
    """Import DATASETS (Gammapy's datasets.yaml, or a FITS file of OGIP spectra) into a STORE."""
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
    echo(f"{made.url}: {counted(len(made.rows), 'dataset')}")


@click.command()
@click.argument("store", type=click.Path())
@json_option
def info(store: str, as_json: bool) -> None:
    """Show the content of a STORE."""
    from gmdask.store import Store

    opened = Store.open(store)
    rows = opened.rows
    blocks = len({row.block for row in rows})
    if as_json:
        _echo_document(opened, blocks)
        return
    held = f"{counted(len(rows), 'dataset')} in {counted(blocks, 'block')}"
    echo(f"{opened.url}: {held}, commit {opened.version}")
    echo(f"digest {opened.digest}")
    echo_rows(rows[:SHOWN])
    if len(rows) > SHOWN:
        echo(f"... and {len(rows) - SHOWN} more")
    if rows:
        _show_arrays(opened)


def _echo_document(opened: Store, blocks: int) -> None:
    arrays = opened.open_row(opened.rows[0]).data_vars if opened.rows else {}
    echo_json({
        "store": opened.url, "datasets": len(opened.rows), "blocks": blocks, "commit": opened.version,
        "digest": opened.digest, "rows": [row_document(row) for row in opened.rows],
        "arrays": {
            str(key): {
                "dtype": str(array.dtype), "shape": {str(dim): n for dim, n in array.sizes.items()},
                "unit": array.attrs.get("unit", ""),
            }
            for key, array in arrays.items()
        },
    })  # fmt: skip


def row_document(row: Row) -> dict[str, Any]:
    """Return a row of a store as plain data: lon and lat in deg, livetime in s."""
    where = row.pointing
    return {
        "name": row.name, "kind": row.kind, "block": row.block, "lon": where.lon, "lat": where.lat,
        "frame": where.frame, "livetime": row.livetime, "counts": row.counts,
    }  # fmt: skip


def echo_rows(rows: Sequence[Any]) -> None:
    """Print rows of a store as a table."""
    names = [printable(row.name) for row in rows]
    width = max([len(name) for name in names] + [7])
    kinds = max([len(row.kind) for row in rows] + [15])
    echo(
        f"{'dataset':<{width}}  {'kind':<{kinds}} {'lon':>9} {'lat':>9} {'frame':<9} {'livetime s':>10} {'counts':>10}"
    )
    for name, row in zip(names, rows, strict=True):
        lon, lat = (_number(value, ".4f") for value in (row.pointing.lon, row.pointing.lat))
        echo(
            f"{name:<{width}}  {row.kind:<{kinds}} {lon:>9} {lat:>9} {row.pointing.frame:<9} "
            f"{_number(row.livetime, '.1f'):>10} {_number(row.counts, '.0f'):>10}"
        )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _show_arrays(opened: Any) -> None:
    cube = opened.open_row(opened.rows[0])
    echo(f"arrays of {opened.rows[0].name!r}:")
    for key, array in cube.data_vars.items():
        unit = array.attrs.get("unit", "")
        shape = " × ".join(f"{dim} {n}" for dim, n in zip(array.dims, array.shape, strict=True))
        echo(f"  {key:<15} {array.dtype!s:<8} {shape}{'  [' + unit + ']' if unit else ''}")


@click.command()
@click.argument("store", type=click.Path())
@click.pass_context
def verify(context: click.Context, store: str) -> None:
    """Compare every byte of a STORE with its checksums."""
    from gmdask.store import verify_store

    problems = verify_store(store)
    for problem in problems:
        echo(f"{problem}", err=True)
    if problems:
        echo(f"gmdask: error: {store}: {counted(len(problems), 'problem')}", err=True)
        context.exit(DAMAGED)
    echo(f"{store}: all files are intact")
