"""Inputs of every kind, spoilt in many ways, for the command line.

A `Case` is a command and the files that are spoilt for it. What a command may do with it: end with
exit code 0, 1, 2 or 3 within 10 s and 1 GB, tell an error in one line that names the thing, and
touch nothing but its output.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import io
import math
import os
import resource
import shutil
import signal
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

from gmdask.cli.main import main

SECONDS, PATIENCE, GIGABYTE = 10, 6, 1 << 30
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 7, 10**30, -(10**400), 1e308, -1e-308, 5e-324, 0.5, math.nan,
    math.inf, -math.inf, "", " ", "x", "nan", "1e999", "deg", "TeV", "10 deg", "1e999 TeV", "-5 TeV",
    "1 kg", "cm-2 s-1 TeV-1", "1/0", "../../up", "/dev/zero", ".", "\x1b[2J", "a\nb", "ü☃", "a" * 3000,
    [], {}, [[]], [None], {"name": None}, [0.0] * 5, {"data": [1, 2], "unit": "TeV"}, "*", "obs-0001",
]  # fmt: skip
CARDS = [
    "-32", "0", "1", "99999999999", "1E999", "NaN", "T", "F", "'x'", "''", "", "'unclosed", "1.5",
    "'GLON-TAN'", "'{\"a\": NaN}'", "'m'", "(1, 2)", "\x7f",
]  # fmt: skip


@dataclass
class Case:
    """A command, the files that are spoilt for it, and the words one of which an error names."""

    arguments: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("new",)


# --- how it is spoilt ------------------------------------------------------------------------


def _paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in items:
        yield from _paths(value, (*path, key))


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


@st.composite
def spoilt(draw: Any, data: Any, *, json_only: bool = False) -> Any:
    """Plain data with one to three changes."""
    data = copy.deepcopy(data)
    values = VALUES if json_only else [*VALUES, datetime.date(2001, 1, 1)]
    for _ in range(draw(st.integers(1, 3))):
        paths = list(_paths(data))
        path = draw(st.sampled_from(paths))
        change = draw(
            st.sampled_from(["value", "value", "value", "delete", "other", "more", "number"])
        )
        value = copy.deepcopy(draw(st.sampled_from(values)))
        if change == "other":
            value = copy.deepcopy(_at(data, draw(st.sampled_from(paths))))
        if not path:
            data = value if change == "value" and draw(st.booleans()) else data
            continue
        parent, key = _at(data, path[:-1]), path[-1]
        if change == "delete":
            del parent[key]
        elif change == "more":
            if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[key]))
            else:
                parent["more"] = value
        elif change == "number":
            parent[key] = draw(st.one_of(st.floats(), st.integers()))
        else:
            parent[key] = value
    return data


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """Bytes with a few changes, or cut."""
    spoilt_bytes = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        piece = draw(
            st.sampled_from([b"\0", b"\xff", b"-", b"{", b"[", b": ", b"\n", b"9" * 9, b"'"])
        )
        spoilt_bytes[at : at + draw(st.sampled_from([0, 1, len(piece)]))] = piece
    if draw(st.integers(0, 9)) == 0:
        del spoilt_bytes[draw(st.integers(0, len(spoilt_bytes))) :]
    return bytes(spoilt_bytes)


@st.composite
def yaml_of(draw: Any, data: Any) -> bytes:
    """YAML of plain data that are spoilt, or spoilt as text."""
    if draw(st.integers(0, 4)) == 0:
        return draw(damaged(yaml.safe_dump(data).encode()))
    try:
        return yaml.safe_dump(draw(spoilt(data))).encode()
    except (ValueError, yaml.YAMLError):  # of numbers with too many digits
        return b"a: " + b"9" * 5000


@st.composite
def json_of(draw: Any, data: Any, seal: Callable[[Any], bytes]) -> bytes:
    """JSON of plain data that are spoilt, or spoilt as text."""
    if draw(st.integers(0, 4)) == 0:
        return draw(damaged(seal(data)))
    return seal(draw(spoilt(data, json_only=True)))


@st.composite
def fits_of(draw: Any, content: bytes) -> bytes:
    """FITS file with changes of cards or of data."""
    made = bytearray(content)
    cards = [at for at in range(0, len(content), 80) if content[at + 8 : at + 10] == b"= "]
    blocks = len(content) // 2880
    for _ in range(draw(st.integers(1, 3))):
        change = draw(st.sampled_from(["value", "value", "value", "blank", "copy", "data", "byte"]))
        at = draw(st.sampled_from(cards))
        if change == "value":
            text = draw(st.one_of(st.sampled_from(CARDS), st.integers(-100, 100).map(str)))
            made[at + 10 : at + 80] = f"{text:>20}".encode()[:70].ljust(70)
        elif change == "blank":
            made[at : at + 80] = b" " * 80
        elif change == "copy":
            other = draw(st.sampled_from(cards))
            made[at : at + 80] = content[other : other + 80]
        else:
            at = 2880 * draw(st.integers(0, blocks - 1)) + 8 * draw(st.integers(0, 359))
            number = draw(st.sampled_from([math.nan, math.inf, -1.0, 1e300, 0.0]))
            piece = np.array(number, ">f8").tobytes() if change == "data" else b"\xff"
            made[at : at + len(piece)] = piece
    if draw(st.integers(0, 9)) == 0:
        del made[draw(st.integers(0, len(made))) :]
    return bytes(made)


# --- running ---------------------------------------------------------------------------------


class HangError(BaseException):
    """A command that does not end."""


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str
    trace: str = ""


def _hang(*_: object) -> None:
    raise HangError


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Bound the time, and the memory beyond what is in use, of what runs in here."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, _hang)
    resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTE, before[1]))
    signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of this process: others run beside it
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)  # of waiting
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def run(*arguments: str, seconds: float = SECONDS) -> Done:
    """Run a command in this process and folder."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["gmdask", *arguments]
    code, trace = -1, ""
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            with bounded(seconds):
                main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        except BaseException:  # noqa: BLE001  (a hang is one)
            trace = traceback.format_exc()
        finally:
            sys.argv = before
    return Done(code, out.getvalue(), err.getvalue(), trace)


def _state(folder: Path, outputs: Path, names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Size and time of every file but outputs."""
    found = {}
    for path in folder.rglob("*"):
        inside = path.relative_to(outputs).parts if path.is_relative_to(outputs) else ()
        if not path.is_dir() and not (inside and inside[0] in names):
            status = path.lstat()
            found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


def problem(case: Case, inputs: Path, folder: Path) -> str:
    """What a command does with a case that it may not do; empty if there is nothing.

    Parameters
    ----------
    case : Case
    inputs : Path
        Folder of the sound inputs, which is copied.
    folder : Path
        Where to work; what is in it goes.
    """
    work = folder / "outer" / "work"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(inputs, work)
    for name, content in case.files.items():
        (work / name).write_bytes(content)
    before = _state(folder, work, case.outputs)
    with contextlib.chdir(work):
        done = run(*case.arguments)
    after = _state(folder, work, case.outputs)
    if done.trace:
        return done.trace
    if after != before:
        return f"touched: {sorted(set(before.items()) ^ set(after.items()))}"
    if done.code not in (0, 1, 2, 3):
        return f"exit code {done.code}"
    lines = [line for line in done.err.splitlines() if line.startswith("gmdask: error: ")]
    if done.code == 1:
        last = done.err.rstrip("\n").splitlines()[-1:]
        if len(lines) != 1 or last != lines:
            return f"not one line: {done.err[-1000:]}"
        if not any(name in lines[0] for name in case.names):
            return f"names nothing: {lines[0]}"
        if len(lines[0]) > 2000 or any(
            unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in lines[0]
        ):
            return f"line that is not to be read: {lines[0][:3000]!r}"
    if "Traceback" in done.err:
        return done.err
    return ""
