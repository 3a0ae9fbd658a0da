"""The command ``gmdask versions``."""

from __future__ import annotations

import click

from gmdask.cli.store_commands import json_option
from gmdask.cli.terminal import echo_json

__all__ = ["versions"]


@click.command()
@json_option
def versions(as_json: bool) -> None:
    """Print what a bug report needs: versions, processor, BLAS and settings."""
    from gmdask.versions import describe_installation, show_versions

    if as_json:
        echo_json(describe_installation())
    else:
        show_versions()
