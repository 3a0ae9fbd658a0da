"""Compiled code is kept for the next process, wherever and by however many processes it is compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
from gmdask.compiling import compiled

FACTOR = 3.0

@compiled
def helper(x):
    return FACTOR * x

@compiled
def summed(a):
    total = 0.0
    for x in a:
        total += helper(x)
    return total
"""
RUN = """
import logging, os, sys
if "HOME" not in os.environ:
    os.path.expanduser = lambda path: path  # as for a user without an entry
import numpy as np
logging.basicConfig(format="%(message)s", level="INFO")
from gmdask_kept import kernels
for kind in sys.argv[1:]:
    assert kernels.summed(np.arange(4, dtype=kind)) == 18 / 3 * kernels.FACTOR, kind
print(sum(kernels.summed.stats.cache_misses.values()))
"""


@pytest.fixture
def kept(tmp_path):
    """A package below a folder of its own, and what runs it in a process: errors and output."""
    package = tmp_path / "site" / "gmdask_kept"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "kernels.py").write_text(MODULE)

    def start(*kinds: str, home: str | None = str(tmp_path)) -> subprocess.Popen[str]:
        other = {
            k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_", "HOME"))
        }
        at_home = {} if home is None else {"HOME": home}
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-B", "-c", RUN, *(kinds or ("f8",))],
            env={**other, **at_home, "PYTHONPATH": str(package.parent)},
            cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return package, start


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Number of functions compiled, and what was logged."""
    out, log = process.communicate(timeout=120)
    assert process.returncode == 0, log
    return int(out), log


@pytest.mark.slow
def test_compiled_once_and_told(kept):
    _, start = kept
    compiled, log = finished(start())
    assert compiled == 1
    assert log.count("\n") == 1
    assert "Compiling numerical code" in log
    assert finished(start()) == (0, "")


@pytest.mark.slow
def test_compiled_anew_when_what_it_calls_has_changed(kept):
    package, start = kept
    path = package / "helpers.py"
    body, rest = MODULE.split("@compiled\ndef summed")
    path.write_text(body)
    kernels = (
        "from gmdask.compiling import compiled\nfrom gmdask_kept.helpers import FACTOR, helper\n"
    )
    (package / "kernels.py").write_text(f"{kernels}\n@compiled\ndef summed{rest}")
    assert finished(start())[0] == 1
    path.write_text(body.replace("3.0", "5.0"))
    assert finished(start())[0] == 1  # and the sum is right


@pytest.mark.slow
def test_several_processes_at_once(kept):
    """Entries of one function, added at once, are all kept, each with its own code."""
    _, start = kept
    kinds = ("f8", "f4", "i4", "i8")
    for process in [start(kind) for kind in kinds]:
        finished(process)
    assert finished(start(*kinds))[0] == 0


@pytest.mark.slow
def test_package_that_cannot_be_written(kept, tmp_path):
    package, start = kept
    (package / "__pycache__").touch()  # a file, which not even root can put anything into
    assert finished(start())[0] == 1
    assert finished(start())[0] == 0
    assert list((tmp_path / ".cache").rglob("*.nbc"))


@pytest.mark.slow
@pytest.mark.parametrize("home", [True, False])
def test_nothing_that_can_be_written(kept, tmp_path, home):
    package, start = kept
    (package / "__pycache__").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    assert finished(start(home=str(tmp_path / "file") if home else None))[0] == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_gmdask_does_not_import_numba():
    code = "import gmdask, gmdask.cli, sys; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def test_memory_of_the_compiler_is_planned_where_nothing_is_compiled_yet(tmp_path):
    asked = (
        "from gmdask.compiling import COMPILER, bytes_to_compile\n"
        "from gmdask.likelihood.exact.arithmetic import even_bessel\n"
        "import numpy as np\n"
        "before = bytes_to_compile('gmdask.likelihood')\n"
        "even_bessel(np.ones(2), 3)\n"
        "print(before == COMPILER, bytes_to_compile('gmdask.likelihood'))\n"
    )
    environ = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for expected in ("True 0", "False 0"):
        done = subprocess.run(
            [sys.executable, "-c", asked], env=environ, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected
