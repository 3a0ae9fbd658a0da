"""The command ``gmdask``: entry point, errors and exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from threading import Timer, main_thread
from typing import TYPE_CHECKING, Any

import click

from gmdask import __version__
from gmdask.cli.batch_commands import batch, status
from gmdask.cli.collection_commands import append, compact, cutout, export, ls, stack
from gmdask.cli.coverage_command import coverage
from gmdask.cli.demo import demo
from gmdask.cli.fit_command import fit
from gmdask.cli.flux_commands import flux_points, light_curve
from gmdask.cli.map_commands import excess_map, ts_map
from gmdask.cli.profile_commands import profile, sensitivity
from gmdask.cli.reduce_command import reduce_command
from gmdask.cli.sample_command import sample
from gmdask.cli.simulate_command import simulate
from gmdask.cli.store_commands import import_command, info, verify
from gmdask.cli.terminal import echo, one_line, patient, volume_options
from gmdask.cli.version_command import versions
from gmdask.cli.view_commands import dashboard, report
from gmdask.errors import GmdaskError

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["cli", "main", "program"]

BAD_INPUT, INTERRUPTED = 1, 130
GRACE = 10.0  # s in which threads may end after an interruption
AGAIN = 0.1  # s after which an interruption that was dropped is repeated
COMPLETION = """\b
For completion with the tab key, add this line to the configuration file of your shell:
  ~/.bashrc                                eval "$(_GMDASK_COMPLETE=bash_source gmdask)"
  ~/.zshrc                                 eval "$(_GMDASK_COMPLETE=zsh_source gmdask)"
  ~/.config/fish/completions/gmdask.fish   _GMDASK_COMPLETE=fish_source gmdask | source
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=COMPLETION)
@click.version_option(__version__, prog_name="gmdask")
def cli() -> None:
    """Fit one global sky model to many gamma-ray datasets.

    Exit codes: 0 success; 1 bad input; 2 wrong usage; 3 the fit did not converge or was stopped, or no
    flux could be determined; 130 interrupted before there was any result.
    """


for _command in (
    demo, simulate, reduce_command, import_command, append, compact, info, ls, verify, stack, cutout, export, fit,
    batch, status, versions,
    report, dashboard,
    flux_points, light_curve, ts_map, excess_map, profile, sensitivity, sample, coverage,
):  # fmt: skip
    cli.add_command(volume_options(_command))
volume_options(cli)


def main() -> None:
    """Run the command line; a user's mistake is reported in one line on stderr."""
    sys.stdout, sys.stderr = patient(sys.stdout), patient(sys.stderr)
    try:
        code = cli.main(prog_name="gmdask", standalone_mode=False)
    except click.ClickException as error:
        usage = (
            error.ctx.get_usage() + "\n"
            if isinstance(error, click.UsageError) and error.ctx
            else ""
        )
        echo(f"{usage}gmdask: error: {one_line(error.format_message())}", err=True)
        sys.exit(error.exit_code)
    except (GmdaskError, OSError) as error:
        echo(f"gmdask: error: {one_line(error)}", err=True)
        sys.exit(BAD_INPUT)
    except (KeyboardInterrupt, click.Abort):
        echo("gmdask: interrupted", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def program() -> None:
    """Run `main` as a process of its own, which an interruption ends whatever its threads wait for."""
    sys.unraisablehook = _interrupt_again
    try:
        main()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _after(GRACE, os._exit, INTERRUPTED)
        raise


def _interrupt_again(lost: UnraisableHookArgs) -> None:
    """Repeat an interruption that came in a callback, where Python drops exceptions."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        _after(AGAIN, signal.pthread_kill, main_thread().ident, signal.SIGINT)
    else:
        sys.__unraisablehook__(lost)


def _after(seconds: float, function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function later, in a thread that keeps no process alive."""
    timer = Timer(seconds, function, arguments)
    timer.daemon = True
    timer.start()
