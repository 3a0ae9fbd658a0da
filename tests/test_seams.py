"""A kind of dataset, a statistic and a response are told apart in their own folders only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gmdask
from gmdask.datasets.kinds import KINDS
from gmdask.likelihood.responses import RESPONSES
from gmdask.likelihood.statistics import STATISTICS

ROOT = Path(gmdask.__file__).parent
CLASSES = {*KINDS, "CubeDataset"}
NAMES = {*KINDS, *STATISTICS, *RESPONSES}
OWN = {
    "datasets": CLASSES,
    "likelihood/statistics": set(STATISTICS),
    "likelihood/responses": set(RESPONSES),
    "store/formats": set(STATISTICS),  # Gammapy's rules on the columns of its files
    "errors.py": {"gammapy"},  # the package
}


def told_apart(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines in which a class or a name of one of these is asked for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "isinstance",
            "issubclass",
        ):
            for name in ast.walk(node.args[1]):
                if getattr(name, "id", "") in CLASSES:
                    yield node.lineno, str(getattr(name, "id", ""))
        if isinstance(node, ast.Compare):
            for text in ast.walk(node):
                if isinstance(text, ast.Constant) and text.value in NAMES:
                    yield node.lineno, str(text.value)


def test_by_their_own_folders_only():
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        where = path.relative_to(ROOT)
        allowed: set[str] = set().union(
            *(names for folder, names in OWN.items() if where.is_relative_to(folder))
        )
        tree = ast.parse(path.read_text())
        found += [f"{where}:{k} {name}" for k, name in told_apart(tree) if name not in allowed]
    assert not found


@pytest.mark.parametrize(
    "line", ["isinstance(x, (str, MapDataset))", "x.kind == 'MapDataset'", "s in ('cash', 'wstat')"]
)
def test_a_line_that_does_is_found(line):
    assert list(told_apart(ast.parse(line)))
