"""What is installed: a package that is not in the list is missing where gmdask is not run from its clone."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_folder_of_the_source_is_installed():
    with (ROOT / "pyproject.toml").open("rb") as file:
        installed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "gmdask").rglob("__init__.py")
    }
    assert installed - {"gmdask.data_schemas"} == folders
