"""The command ``gmdask``: entry point, errors and exit codes."""

from __future__ import annotations

import sys

import click

from gmdask import __version__
from gmdask.cli.batch_commands import batch, status
from gmdask.cli.collection_commands import append, compact, cutout, export, ls, stack
from gmdask.cli.demo import demo
from gmdask.cli.fit_command import fit
from gmdask.cli.flux_commands import flux_points, light_curve
from gmdask.cli.simulate_command import simulate
from gmdask.cli.store_commands import import_command, info, verify
from gmdask.cli.view_commands import dashboard, report
from gmdask.errors import GmdaskError

__all__ = ["cli", "main"]

BAD_INPUT, INTERRUPTED = 1, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gmdask")
def cli() -> None:
    """Fit one global sky model to many gamma-ray datasets.

    Exit codes: 0 done; 1 bad input; 2 wrong usage; 3 the fit did not converge, or was stopped;
    130 interrupted before there was anything.
    """


for command in (
    demo, simulate, import_command, append, compact, info, ls, verify, stack, cutout, export, fit,
    batch, status,
    report, dashboard,
    flux_points, light_curve,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Run the command line; a user's mistake is told in one line on stderr."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except GmdaskError as error:
        click.echo(f"gmdask: error: {error}", err=True)
        sys.exit(BAD_INPUT)
    except OSError as error:
        click.echo(f"gmdask: error: {error}", err=True)
        sys.exit(BAD_INPUT)
    except (KeyboardInterrupt, click.Abort):
        click.echo("gmdask: interrupted", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
