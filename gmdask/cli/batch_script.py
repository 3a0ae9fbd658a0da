"""The script of a batch job that runs a fit."""

from __future__ import annotations

import os
import shlex
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmdask.errors import InputError

__all__ = ["Job"]

SCRIPT = """#!/usr/bin/env bash
# Fits {models}
# to {store}
# into {output}
# with {jobs} job(s) of workers, which this one starts. Before its walltime ends, the job stops the
# fit, queues itself again and later resumes the fit. Submit it with: sbatch {script}
{directives}
set -u
cd {folder}
{settings}

output={output}
stopped= signalled= fit=
stop() {{
    stopped=yes
    if [ -n "$fit" ] && [ -z "$signalled" ]; then
        signalled=yes
        kill -TERM "$fit"
    fi
}}
again() {{ # unless it was stopped repeatedly before its first point
    [ -e "$output/checkpoint.json" ] || [ "${{SLURM_RESTART_COUNT:-0}}" -lt 3 ]
}}
trap stop USR1

printf '{{"job": "%s"}}\\n' "$SLURM_JOB_ID" > "$output/job.json"
if [ -e "$output/checkpoint.json" ]; then
    set -- --resume "$output"
else
    set -- {store} {models} --output "$output"{options}
fi
{python} -m gmdask fit "$@" --cluster slurm &
fit=$!
[ -z "$stopped" ] || stop
wait "$fit"
code=$?
if [ -n "$stopped" ]; then # the signal ended the wait, not the fit
    wait "$fit"
    code=$?
    case $code in 3|130|143) again && scontrol requeue "$SLURM_JOB_ID" && sleep 60 ;; esac
fi
exit "$code"
"""


@dataclass(frozen=True)
class Job:
    """A fit as a SLURM job.

    Attributes
    ----------
    store, models : str
        Inputs, as absolute paths.
    output : `~pathlib.Path`
        Output folder of the fit, as an absolute path.
    options : tuple of str
        Further options for gmdask fit.
    slurm : mapping
        The settings ``gmdask.slurm``.
    """

    store: str
    models: str
    output: Path
    options: tuple[str, ...]
    slurm: Mapping[str, Any]

    def script(self) -> str:
        """Text of the script.

        Raises
        ------
        InputError
            If a path or a setting contains a line break or another control character.
        """
        self._check()
        return SCRIPT.format(
            **{
                name: shlex.quote(str(getattr(self, name)))
                for name in ("store", "models", "output")
            },
            script=shlex.quote(str(self.output / "job.sh")),
            jobs=self.slurm["jobs"],
            folder=shlex.quote(str(Path.cwd())),
            python=shlex.quote(sys.executable),
            options="".join(f" {shlex.quote(option)}" for option in self.options),
            directives="\n".join(f"#SBATCH {line}" for line in self._directives()),
            settings="\n".join(self._settings()),
        )

    def _check(self) -> None:
        """Reject text that would become a line of its own, and so a command, and a walltime that is none."""
        from gmdask.cluster.settings import check_walltime

        check_walltime(self.slurm["walltime"])
        words = {
            "store": self.store, "models": self.models, "output": self.output, "folder": Path.cwd(),
            "python": sys.executable, "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "options": " ".join(self.options), "directives": "".join(self.slurm["directives"]),
        }  # fmt: skip
        settings = set(self.slurm) - {"directives", "prologue"}
        for what, word in {**words, **{key: self.slurm[key] for key in settings}}.items():
            if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in str(word)):
                msg = f"{what} {str(word)!r}: control characters are not allowed in a batch script"
                raise InputError(msg)

    def _directives(self) -> list[str]:
        slurm = self.slurm
        chosen = {"partition": slurm["queue"], "account": slurm["account"]}
        return [
            "--job-name=gmdask",
            f"--output={shlex.quote(str(self.output / 'logs'))}/fit-%j.log",
            "--open-mode=append",
            "--ntasks=1",
            "--cpus-per-task=1",
            f"--mem={_megabytes(slurm['driver-memory'])}M",
            f"--time={slurm['walltime']}",
            *(f"--{key}={value}" for key, value in chosen.items() if value is not None),
            f"--signal=B:USR1@{slurm['before-end']}",
            "--requeue",
            *slurm["directives"],
        ]

    def _settings(self) -> list[str]:
        """Environment variables of the fit and its workers."""
        variables = {
            f"DASK_GMDASK__SLURM__{key.upper()}": self.slurm[key]
            for key in ("jobs", "cores", "memory", "walltime", "queue", "account", "interface")
            if self.slurm[key] is not None
        }
        variables["DASK_GMDASK__SLURM__FOLDER"] = self.output / "logs"
        if "PYTHONPATH" in os.environ:
            variables["PYTHONPATH"] = os.environ["PYTHONPATH"]
        exports = [f"export {key}={shlex.quote(str(value))}" for key, value in variables.items()]
        return [*self.slurm["prologue"], *exports]


def _megabytes(size: str | int) -> int:
    from gmdask.cluster.settings import size_of

    return -(-size_of(size, "driver-memory") // 2**20)
