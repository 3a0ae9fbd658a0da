"""The folder a fit is written to."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gmdask.errors import InputError

if TYPE_CHECKING:  # commands that need none of these start without them
    from gmdask.datasets import Datasets
    from gmdask.fit import FitResult
    from gmdask.models import Models
    from gmdask.store import Store

__all__ = ["OutputFolder", "result_document"]

SCHEMA = "gmdask result 1.0"
PACKAGES = (
    "gmdask",
    "numpy",
    "scipy",
    "astropy",
    "xarray",
    "zarr",
    "dask",
    "distributed",
    "iminuit",
)


def result_document(result: FitResult, store: Store) -> dict[str, Any]:
    """Content of ``result.json``; its schema is ``data_schemas/1.0/result.json``.

    Parameters
    ----------
    result : `FitResult`
    store : `Store`
    """
    versions = {"python": platform.python_version(), "processor": _processor()}
    versions |= {package: version(package) for package in PACKAGES}
    return {
        "schema": SCHEMA,
        **result.to_dict(),
        "backend": result.backend,
        "edm": result.edm,
        "versions": versions,
        "store": {"url": store.url, "digest": store.digest},
    }


def _processor() -> str:
    """Type of the processor, on which the last bits of results may depend."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class OutputFolder:
    """A folder that is there with all its files, or not at all.

    Parameters
    ----------
    path : str or path
    overwrite : bool
        Whether a folder that is there may be replaced.

    Raises
    ------
    InputError
        If it is there and may not be replaced, or its parent is not a folder.
    """

    def __init__(self, path: str | Path, *, overwrite: bool) -> None:
        self.path, self._overwrite = Path(path), overwrite
        if os.path.lexists(self.path):
            if not overwrite:
                msg = f"{self.path}: there is something of this name already (--overwrite replaces it)"
                raise InputError(msg)
            if not self.path.is_dir() or self.path.is_symlink():
                msg = f"{self.path}: is not a folder"
                raise InputError(msg)
            if any(self.path.iterdir()) and not (self.path / "result.json").is_file():
                msg = f"{self.path}: holds other things than a fit, and is not replaced"
                raise InputError(msg)
        if not self.path.absolute().parent.is_dir():
            msg = f"{self.path}: its parent is not a folder"
            raise InputError(msg)

    def write(self, result: FitResult, models: Models, datasets: Datasets, store: Store) -> None:
        """Write models, result and figure.

        Parameters
        ----------
        result : `FitResult`
        models : `Models`
        datasets : `Datasets`
        store : `Store`
        """
        from gmdask.plot import plot_residuals

        parent = self.path.absolute().parent
        with tempfile.TemporaryDirectory(prefix=f".{self.path.name}-", dir=parent) as scratch:
            made = Path(scratch) / "new"
            made.mkdir()
            models.write(made / "models.yaml")
            document = json.dumps(result_document(result, store), indent=1, allow_nan=False)
            (made / "result.json").write_text(document + "\n", encoding="utf-8")
            plot_residuals(datasets).savefig(made / "residuals.png", dpi=120)
            if os.path.lexists(self.path):
                self.path.rename(Path(scratch) / "old")
            made.rename(self.path)
            shutil.rmtree(Path(scratch) / "old", ignore_errors=True)
