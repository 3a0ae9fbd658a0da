"""The command ``gmdask fit``."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gmdask.cli.choosing import datasets_and_models, response_option, where_option
from gmdask.cli.output import OutputFolder
from gmdask.cli.progress import Progress
from gmdask.cli.store_commands import cluster_options, connected
from gmdask.cli.terminal import echo
from gmdask.errors import FitInterrupted, GmdaskError, InputError
from gmdask.events import EventFile, FitFailed, RunStart
from gmdask.lock import Holder
from gmdask.paths import expanded

if TYPE_CHECKING:  # imported late, for a quick start of the other commands
    from gmdask.fit import Checkpoint

__all__ = ["fit"]

NOT_CONVERGED = 3
CLUSTER = ("cluster", "workers", "memory_limit")
KEPT = ("store", "store_digest", "models", "models_digest", "backend", "where", "response")


@click.command()
@click.argument("store", type=click.Path(), required=False)
@click.argument("models", type=click.Path(), required=False)
@click.option(
    "-o",
    "--output",
    default="out",
    show_default=True,
    type=click.Path(),
    metavar="FOLDER",
    help="Output folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace the output folder if it exists.")
@click.option(
    "--resume",
    type=click.Path(),
    metavar="FOLDER",
    help="Resume the fit of this output folder from its checkpoint; the result is the same to the last bit.",
)
@click.option(
    "--backend", type=click.Choice(["newton", "minuit"]), default="newton", show_default=True
)
@click.option("--max-passes", type=click.IntRange(min=1), default=100, show_default=True)
@click.option(
    "--time-limit", metavar="TIME", help="Stop at the best point after a time such as '30 min'."
)
@where_option
@response_option
@cluster_options
@click.pass_context
def fit(
    context: click.Context, store: str | None, models: str | None, output: str, overwrite: bool,
    resume: str | None, backend: str, max_passes: int, time_limit: str | None, where: tuple[str, ...],
    response: str | None, cluster: str, workers: int | None, memory_limit: str | None,
) -> None:  # fmt: skip
    """Fit MODELS (Gammapy's YAML) to the datasets of a STORE.

    Writes models.yaml (with its covariance), result.json, residuals.png and the log events.jsonl.
    Until the fit has finished, the output folder also holds a checkpoint, from which a stopped or
    killed fit is resumed with gmdask fit --resume FOLDER. Options for the cluster, passes and time
    limit that are given with --resume replace the saved ones; the response stays the one that the fit
    was started with. Ctrl-C stops at the best point so far. If the fit has already finished, --resume
    shows its result.
    """
    places = {"cluster": cluster, "workers": workers, "memory_limit": memory_limit}
    if resume is None:
        if store is None or models is None:
            msg = "STORE and MODELS are missing (or --resume FOLDER)"
            raise click.UsageError(msg)
        folder = OutputFolder(output, overwrite=overwrite)
        asked: dict[str, Any] = {
            "store": store, "models": str(expanded(models).absolute()), "backend": backend, "where": list(where),
            "response": response, **places,
        }  # fmt: skip
        folder.refuse_input(models)
        with _held(folder):
            _run(context, folder, asked, max_passes, time_limit, resume=False)
        return
    given = [key for key in ("output", "overwrite", "backend", "where") if _was_given(context, key)]
    if store is not None or given:
        msg = f"--resume continues the fit of {resume} unchanged: {'STORE' if store else given[0]} cannot be given"
        raise click.UsageError(msg)
    again: dict[str, Any] = places if any(_was_given(context, key) for key in CLUSTER) else {}
    if response is not None:
        again["response"] = response
    from gmdask.fit.result import shown

    folder = OutputFolder(resume, resume=True)
    if (ended := folder.ended()) is not None:
        echo(f"{shown(ended)}\n\nthe fit of {folder.path} had already finished")
        context.exit(0 if ended["success"] else NOT_CONVERGED)
    with _held(folder):
        _run(context, folder, again, max_passes, time_limit, resume=True)


def _was_given(context: click.Context, key: str) -> bool:
    return context.get_parameter_source(key) is click.core.ParameterSource.COMMANDLINE


def _run(
    context: click.Context, folder: OutputFolder, asked: dict[str, Any], max_passes: int,
    time_limit: str | None, *, resume: bool,
) -> None:  # fmt: skip
    """Start or resume a fit in a locked folder."""
    from gmdask.fit import Checkpoint, Fit
    from gmdask.fit.start import check_start
    from gmdask.models.io.serialization import locating
    from gmdask.store import Store

    kept_cluster = resume and "cluster" not in asked
    if resume:
        asked = _kept(Checkpoint(folder.checkpoint), asked.get("response")) | asked
    with _of_checkpoint(folder.checkpoint) if resume else nullcontext():
        opened = Store.open(asked["store"])
        asked["store"] = opened.url
        _same("store", asked, opened.digest)
        _same("models", asked, _sha256(asked["models"]))
        datasets, global_models = datasets_and_models(
            *(asked[key] for key in ("store", "models", "where", "response"))
        )
    with locating(asked["models"]):
        check_start(datasets, global_models)
    asked["response"] = datasets.response
    datasets.set_models(global_models)
    progress = Progress()
    checkpoint = Checkpoint(folder.checkpoint, asked, folder.lock)
    folder.prepare()
    named = folder.checkpoint if kept_cluster else None
    with _connected_with_events(asked, EventFile(folder.events), named) as client:
        fit = Fit(
            datasets, client, backend=asked["backend"], max_passes=max_passes,
            time_limit=time_limit, checkpoint=checkpoint, resume=resume, on_event=progress,
            events=folder.events,
        )  # fmt: skip
        try:
            result = fit.run(global_models)
        except FitInterrupted as interrupted:
            result = interrupted.result
    progress.close()
    echo(str(result))
    written = folder.write(result, global_models, datasets, opened)
    if written != folder.path or not folder.lock.in_place():
        echo(f"gmdask: {folder.path} was removed or changed while the fit ran", err=True)
    echo(f"\nwritten to {written}")
    if not result.success:
        more = f" (gmdask fit --resume {folder.path})" if folder.checkpoint.is_file() else ""
        echo(f"gmdask: the fit did not converge: {result.message}{more}", err=True)
        context.exit(NOT_CONVERGED)


@contextmanager
def _held(folder: OutputFolder) -> Iterator[None]:
    """Lock the output folder, and handle SIGTERM like Ctrl-C."""
    with _interrupted_by(signal.SIGTERM), folder.begun():
        if folder.lock.taken_over is not None:
            gone = folder.lock.taken_over
            echo(
                f"gmdask: {folder.path}: took over from a fit that no longer runs ({gone})",
                err=True,
            )
        yield


@contextmanager
def _connected_with_events(
    asked: dict[str, Any], send: EventFile, named: Path | None
) -> Iterator[Any]:
    """Client of the cluster; its start, or the error that prevented it, is recorded as an event.

    An error names the checkpoint, if that is where the cluster is from.
    """
    here = Holder.here()
    send(RunStart(here.host, here.pid))
    with ExitStack() as stack:
        try:
            with nullcontext() if named is None else _of_checkpoint(named):
                client = stack.enter_context(connected(*(asked[key] for key in CLUSTER)))
        except BaseException as error:
            send(FitFailed(str(error) or type(error).__name__))
            raise
        yield client


@contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """Handle a signal like Ctrl-C."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _kept(checkpoint: Checkpoint, response: str | None) -> dict[str, Any]:
    """Return the saved options of a fit that resumes, with the response that it was started with."""
    from gmdask.fit.checkpoint import unlike

    asked = checkpoint.asked
    if not {*KEPT, *CLUSTER} <= asked.keys():
        msg = f"{checkpoint.path}: is not the checkpoint of a fit started by gmdask fit"
        raise InputError(msg)
    if response not in (None, asked["response"]):
        raise InputError(f"{checkpoint.path}: {unlike('response', asked['response'], response)}")
    return asked


@contextmanager
def _of_checkpoint(path: Path) -> Iterator[None]:
    """Name the checkpoint in an error about the store, the models or the cluster that it refers to."""
    try:
        yield
    except GmdaskError as error:
        msg = f"{path}: the fit cannot be resumed: {error}"
        raise InputError(msg) from error


def _same(what: str, asked: dict[str, Any], digest: str) -> None:
    """Save the digest of an input, and reject an input that differs from the saved digest."""
    if asked.setdefault(f"{what}_digest", digest) != digest:
        msg = f"{asked[what]}: the {what} changed since the fit was started, or is not the one that it was started with"
        raise InputError(msg)


def _sha256(path: str) -> str:
    from gmdask.inputs import read_bytes

    return hashlib.sha256(read_bytes(path, "file of models")).hexdigest()
