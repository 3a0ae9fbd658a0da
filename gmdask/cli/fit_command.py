"""The command ``gmdask fit``."""

from __future__ import annotations

import click

from gmdask.cli.output import OutputFolder
from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import cluster_options, connected

__all__ = ["fit"]

NOT_CONVERGED = 3


@click.command()
@click.argument("store")
@click.argument("models")
@click.option(
    "-o", "--output", default="out", show_default=True, metavar="FOLDER", help="Where to write."
)
@click.option("--overwrite", is_flag=True, help="Replace the output folder if it exists.")
@click.option(
    "--backend", type=click.Choice(["newton", "minuit"]), default="newton", show_default=True
)
@click.option("--max-passes", type=click.IntRange(min=1), default=100, show_default=True)
@cluster_options
@click.pass_context
def fit(
    context: click.Context, store: str, models: str, output: str, overwrite: bool, backend: str, max_passes: int,
    cluster: str, workers: int | None, memory_limit: str | None,
) -> None:  # fmt: skip
    """Fit MODELS (Gammapy's YAML) to the datasets of a STORE.

    Writes models.yaml with its covariance, result.json and residuals.png.
    """
    folder = OutputFolder(output, overwrite=overwrite)
    from gmdask.datasets import Datasets
    from gmdask.fit import Fit
    from gmdask.models import Models
    from gmdask.store import Store

    opened = Store.open(store)
    datasets = Datasets.from_store(opened)
    global_models = Models.read(models)
    datasets.set_models(global_models)
    progress = Progress()
    with connected(cluster, workers, memory_limit) as client:
        result = Fit(
            datasets, client, backend=backend, max_passes=max_passes, on_event=progress
        ).run(global_models)
    progress.close()
    folder.write(result, global_models, datasets, opened)
    click.echo(str(result))
    click.echo(f"\nwritten to {folder.path}")
    if not result.success:
        click.echo(f"gmdask: the fit did not converge: {result.message}", err=True)
        context.exit(NOT_CONVERGED)
