"""The commands that display a fit: report and dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gmdask.cli.terminal import echo

if TYPE_CHECKING:  # imported late, for a quick start of the other commands
    from gmdask.dashboard import Dashboard

__all__ = ["dashboard", "report"]


@click.command()
@click.argument("out", type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="HTML file to write (default: report.html in OUT).",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def report(out: str, output: str | None, overwrite: bool) -> None:
    """Write a report of the fit in the folder OUT, as one self-contained HTML file."""
    from gmdask.plot.report import write_report

    echo(f"written to {write_report(out, output, overwrite=overwrite)}")


@click.command()
@click.argument("out_or_address", type=click.Path(), metavar="OUT|ADDRESS")
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port to listen on (default: a free one).",
)
@click.option("--open", "open_", is_flag=True, help="Open it in a browser.")
def dashboard(out_or_address: str, address: str, port: int, open_: bool) -> None:
    """Show a fit in the browser, during the fit and afterwards.

    OUT is the output folder of a fit; ADDRESS is that of a scheduler (tls://host:port, or
    tcp://127.0.0.1:port on this machine), or a scheduler file (.json). Ctrl-C ends the view and does
    not affect the fit. Anyone who has the complete URL, with its token, can see the view; beyond this
    machine (--address) it is not encrypted.
    """
    from gmdask.dashboard import ClusterFeed, Dashboard, FolderFeed

    if "://" in out_or_address or out_or_address.endswith(".json"):
        from gmdask.cluster import connect

        with connect(out_or_address) as client:
            _show(Dashboard(ClusterFeed(client), address=address, port=port), open_=open_)
    else:
        _show(Dashboard(FolderFeed(out_or_address), address=address, port=port), open_=open_)


def _show(view: Dashboard, *, open_: bool) -> None:
    echo(f"live view at {view.url} (Ctrl-C to stop)")
    if open_:
        click.launch(view.url)
    try:
        view.wait()
    except KeyboardInterrupt:
        echo()
    finally:
        view.stop()
