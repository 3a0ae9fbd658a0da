"""The command ``gmdask reduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import check_cluster, cluster_options, connected
from gmdask.cli.terminal import echo, one_line
from gmdask.errors import InputError
from gmdask.events import counted
from gmdask.paths import expanded

if TYPE_CHECKING:  # imported late, for a quick start of the other commands
    from gmdask.models import Models
    from gmdask.reduction import Reduction

__all__ = ["reduce_command"]

FAILED = 1


@click.command("reduce")
@click.argument("config", type=click.Path())
@click.argument("store", type=click.Path())
@click.option(
    "--models", type=click.Path(),
    help="Models file to which the background models are added (default: <STORE stem>-models.yaml beside the STORE).",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 1 if an observation cannot be reduced.")
@cluster_options
@click.pass_context
def reduce_command(
    context: click.Context, /, config: str, store: str, models: str | None, strict: bool, **where_to: Any
) -> None:  # fmt: skip
    """Reduce the observations of a CONFIG (YAML) from event lists to datasets in a STORE, with Gammapy's makers.

    CONFIG specifies the observations, pixels, energies, masks and the background, with the keys of Gammapy's
    AnalysisConfig; its format is data_schemas/1.0/reduction.json. Observations that cannot be reduced are
    listed with the reason, and do not stop the others. Run the command again after an interruption, after
    repairing files, or with more observations: finished observations are not reduced again.
    """
    check_cluster(**where_to)
    from gmdask.models import Models
    from gmdask.reduction import read_config, reduce, select_observations
    from gmdask.store import Store

    made_from = read_config(config)
    path = _models_path(store) if models is None else expanded(models)
    joined = Models.read(path) if path.exists() else Models()
    observations = select_observations(made_from)
    progress = Progress()
    with connected(**where_to) as client:
        done = reduce(observations, made_from, store, client, on_event=progress)
    progress.close()
    for failure in done.failures:
        echo(f"observation {failure.obs_id}: {one_line(failure.reason)}", err=True)
    if not Store.open(store).rows:
        msg = f"{store}: none of {counted(len(observations), 'observation')} could be reduced"
        raise InputError(msg)
    _write_models(done, joined, path)
    echo(
        f"{done.store.url}: {counted(len(done.store.rows), 'dataset')}; "
        f"{counted(len(observations), 'observation')}: {len(done.reduced)} reduced, "
        f"{len(done.unchanged)} unchanged, {len(done.failures)} failed"
    )
    echo(f"background models: {path}")
    if strict and done.failures:
        context.exit(FAILED)


def _models_path(store: str) -> Path:
    path = expanded(store)
    return path.with_name(f"{path.stem}-models.yaml")


def _write_models(done: Reduction, models: Models, path: Path) -> None:
    """Add the background models to those of the file; existing models are not changed."""
    there, found = models.background_models, done.models
    added = [
        found[name] for dataset, name in found.background_models.items() if dataset not in there
    ]
    models.extend(added)
    if added or not path.exists():
        models.write(path, overwrite=True)
