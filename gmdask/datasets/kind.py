"""What fits, stores and lists of datasets ask of a kind of dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import xarray as xr

from gmdask.likelihood.kind import Compile
from gmdask.paths import expanded

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.io.fits import HDUList
    from matplotlib.axes import Axes


__all__ = ["Kind"]


class Kind(ABC):
    """A kind of dataset, which is entered in `gmdask.datasets.kinds.KINDS`.

    Attributes
    ----------
    compile : callable
        Makes the likelihood of a cube and models, where the cube is.
    is_map : bool
        Whether its figures are maps of the sky.
    """

    compile: ClassVar[Compile]
    is_map: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def read_cube(path: str | Path, name: str | None = None) -> xr.Dataset:
        """Cube of a file in Gammapy's format, in memory and checked.

        Parameters
        ----------
        path : str or path
        name : str, optional
            Name of the dataset, by default that in the file, or that of the file.
        """

    @staticmethod
    def input_files(path: str | Path) -> list[Path]:
        """The file of a dataset and those that it names.

        Parameters
        ----------
        path : str or path
        """
        return [expanded(path)]

    @staticmethod
    @abstractmethod
    def check_cube(cube: xr.Dataset, where: str) -> xr.Dataset:
        """Refuse a cube in memory that no likelihood could be made of, and return it.

        Parameters
        ----------
        cube : `xarray.Dataset`
        where : str
            Text with which messages begin.

        Raises
        ------
        InputError
            Saying what is wrong.
        """

    @staticmethod
    @abstractmethod
    def to_hdus(cube: xr.Dataset) -> HDUList:
        """HDUs of a file as `read_cube` and Gammapy read it.

        Parameters
        ----------
        cube : `xarray.Dataset`
            In memory.
        """

    @staticmethod
    @abstractmethod
    def cube_to_gammapy(cube: xr.Dataset) -> Any:
        """Gammapy's object of the same kind.

        Parameters
        ----------
        cube : `xarray.Dataset`
            In memory.
        """

    @staticmethod
    @abstractmethod
    def cube_from_gammapy(data: Any, where: str) -> xr.Dataset:
        """Cube of Gammapy's object of the same kind, which does not change.

        Parameters
        ----------
        data : Dataset of Gammapy
        where : str
            Text with which messages begin.

        Raises
        ------
        InputError
            If it cannot be used.
        """

    @abstractmethod
    def peak_bytes(self, n_cubes: int = 0) -> int:
        """Bytes that compiling or evaluating it takes at its peak; nothing is read.

        Parameters
        ----------
        n_cubes : int
            Predicted cubes that are held besides.
        """

    @property
    @abstractmethod
    def energy_range(self) -> tuple[float, float]:
        """Lowest and highest energy in TeV."""

    @abstractmethod
    def plot_fit(self, ax_spectrum: Axes | None = None, ax_residuals: Axes | None = None) -> Axes:
        """Draw data and model by energy with the residuals.

        Parameters
        ----------
        ax_spectrum, ax_residuals : `matplotlib.axes.Axes`, optional
            By default those of a new figure.
        """

    @abstractmethod
    def info_dict(self) -> dict[str, Any]:
        """Numbers that describe it, with the keys of Gammapy's ``info_dict`` where it has them."""

    @abstractmethod
    def __repr__(self) -> str: ...
