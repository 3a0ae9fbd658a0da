"""Commands that derive stores from stores (append, compact, stack, cutout), ls and export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gmdask.cli.choosing import chosen_datasets, where_option
from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import (
    cluster_options,
    connected,
    echo_rows,
    json_option,
    row_document,
)
from gmdask.cli.terminal import echo, echo_json
from gmdask.errors import InputError
from gmdask.events import counted
from gmdask.paths import expanded

if TYPE_CHECKING:  # imported late, for a quick start of commands that do not need them
    from gmdask.store import Store

DAY = 86400.0  # s

__all__ = ["append", "compact", "cutout", "export", "ls", "stack"]

overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace the datasets of an existing store."
)


@click.command()
@click.argument("store", type=click.Path())
@click.argument("sources", type=click.Path(), nargs=-1, required=True)
@cluster_options
def append(store: str, sources: tuple[str, ...], **where_to: Any) -> None:
    """Add the datasets of SOURCES (stores, Gammapy's datasets.yaml, OGIP spectra) to a STORE."""
    from gmdask.datasets import Datasets, import_datasets
    from gmdask.datasets.io.fits_files import FITS, YAML
    from gmdask.store import Store

    progress = Progress()
    with connected(**where_to) as client:
        for source in sources:
            if source.lower().endswith((*YAML, *FITS)):
                import_datasets(source, store, client, append=True, on_event=progress)
            else:
                Datasets.read(source).write(store, client, append=True, on_event=progress)
    progress.close()
    _echo_contents(Store.open(store))


@click.command()
@click.argument("store", type=click.Path())
@click.option(
    "--remove-old", is_flag=True,
    help="Then remove blocks that are no longer in use, and files that killed writers left more than "
    "a day ago; nobody may be reading the store.",
)  # fmt: skip
@cluster_options
def compact(store: str, remove_old: bool, **where_to: Any) -> None:
    """Merge the small blocks of a STORE, as left by many appends."""
    from gmdask.datasets import compact as run

    progress = Progress()
    with connected(**where_to) as client:
        made = run(store, client, on_event=progress)
    progress.close()
    if remove_old:
        made.gc(older_than_s=0, unfinished_older_than_s=DAY)
    _echo_contents(made)


@click.command()
@click.argument("store", type=click.Path())
@where_option
@json_option
def ls(store: str, where: tuple[str, ...], as_json: bool) -> None:
    """List the datasets of a STORE."""
    from gmdask.store import Store, chosen_rows

    rows = Store.open(store).rows
    found = [row for row, chosen in zip(rows, chosen_rows(rows, where), strict=True) if chosen]
    if as_json:
        echo_json([row_document(row) for row in found])
    else:
        echo_rows(found)


@click.command()
@click.argument("store", type=click.Path())
@click.argument("out", type=click.Path())
@where_option
@click.option("--name", help="Name of the stacked dataset (default: that of OUT).")
@overwrite_option
@cluster_options
def stack(
    store: str, out: str, where: tuple[str, ...], name: str | None, overwrite: bool, **where_to: Any
) -> None:  # fmt: skip
    """Stack the datasets of a STORE onto the pixel grid of the first one, into the store OUT."""
    from gmdask.datasets import Datasets
    from gmdask.datasets.io.importing import refuse_existing

    chosen, progress = chosen_datasets(store, where), Progress()
    _refuse_input(store, out)
    refuse_existing(out, overwrite=overwrite)
    with connected(**where_to) as client:
        found = chosen.stack_reduce(name or expanded(out).stem, client, on_event=progress)
    made = Datasets([found]).write(out, overwrite=overwrite)
    progress.close()
    _echo_contents(made)


@click.command()
@click.argument("store", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--lon", type=float, required=True, help="Longitude of the centre in deg.")
@click.option(
    "--lat", type=click.FloatRange(-90, 90), required=True, help="Latitude of the centre in deg."
)
@click.option("--frame", type=click.Choice(["icrs", "galactic"]), default="icrs", show_default=True)
@click.option("--width", type=click.FloatRange(min=0, min_open=True), required=True, help="Width in deg.")  # fmt: skip
@where_option
@overwrite_option
@cluster_options
def cutout(
    store: str, out: str, lon: float, lat: float, frame: str, width: float, where: tuple[str, ...],
    overwrite: bool, **where_to: Any,
) -> None:  # fmt: skip
    """Cut out a square of the sky from the datasets of a STORE, into the store OUT."""
    from astropy.coordinates import SkyCoord

    progress = Progress()
    _refuse_input(store, out)
    parts = chosen_datasets(store, where).cutout(SkyCoord(lon, lat, unit="deg", frame=frame), width)
    with connected(**where_to) as client:
        made = parts.write(out, client, overwrite=overwrite, on_event=progress)
    progress.close()
    _echo_contents(made)


@click.command()
@click.argument("store", type=click.Path())
@click.argument("folder", type=click.Path())
@where_option
@cluster_options
def export(store: str, folder: str, where: tuple[str, ...], **where_to: Any) -> None:
    """Export the datasets of a STORE to a new FOLDER, as Gammapy's FITS files and datasets.yaml."""
    from gmdask.datasets import export_datasets

    progress = Progress()
    with connected(**where_to) as client:
        made = export_datasets(chosen_datasets(store, where), folder, client, on_event=progress)
    progress.close()
    echo(f"{made}")


def _refuse_input(store: str, out: str) -> None:
    """Refuse to overwrite the input store."""
    if expanded(out).exists() and expanded(out).samefile(expanded(store)):
        msg = f"{out}: is the input and would be replaced by the output; choose another place"
        raise InputError(msg)


def _echo_contents(store: Store | Path) -> None:
    if isinstance(store, Path):
        click.echo(f"{store}")
        return
    blocks = len({row.block for row in store.rows})
    echo(f"{store.url}: {counted(len(store.rows), 'dataset')} in {counted(blocks, 'block')}")
