"""A fit gives the same bits whichever kernels, and threads, the libraries of linear algebra work with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import sys
sys.path[:0] = sys.argv[2:]
from tests.fit.problems import bits
from tests.datasets.synthetic import models
import gmdask as gm
for response, extended in (("exact", True), ("gammapy", False)):
    datasets = gm.Datasets.read(sys.argv[1])
    own = models(datasets.names, extended=extended)
    result = gm.Fit(datasets, response=response).run(own)
    for name, value in bits(result, own).items():
        print(response, name, value.hex())
"""


@pytest.mark.slow
def test_same_bits(survey):
    root = str(Path(__file__).parents[2])
    other = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(survey), root],
            env={**other, **kind}, text=True, stdout=subprocess.PIPE,
        )
        for kind in (
            {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
            {"OPENBLAS_CORETYPE": "Nehalem"},
        )
    ]  # fmt: skip
    found = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert found[0].count("\n") == 10
    assert found[1] == found[0]
