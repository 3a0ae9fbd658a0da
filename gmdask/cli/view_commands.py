"""The commands that show a fit: report, dashboard."""

from __future__ import annotations

import click

__all__ = ["report"]


@click.command()
@click.argument("out")
@click.option(
    "-o", "--output", metavar="FILE", help="HTML file to write (default: report.html in OUT)."
)
def report(out: str, output: str | None) -> None:
    """Write a report of the fit in the folder OUT: one HTML file that needs nothing else."""
    from gmdask.plot.report import write_report

    click.echo(f"written to {write_report(out, output)}")
