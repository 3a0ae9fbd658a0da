"""The interface of a response: how the counts of one sky model in one dataset are predicted."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Window
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.operators import Operator
from gmdask.models import SpatialModel

__all__ = ["Kept", "Part", "Places", "Response", "Shape", "whole_image"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Places = Index | slice
Part = tuple[Window, Array]


class Shape(NamedTuple):
    """The spatial part of a sky model in a dataset, from which a response is created.

    Attributes
    ----------
    observation : `Observation`
    bins : `Bins`
        Bins in which counts are needed.
    spatial : `SpatialModel`
    apply_irf : dict
        Whether to apply "exposure", "psf" and "edisp".
    free : list of int
        Free parameters of the spatial model, S in total.
    name : str
        Name of the sky model.
    keep : callable
        Takes an array that is kept permanently, and returns it from where it is kept.
    """

    observation: Observation
    bins: Bins
    spatial: SpatialModel
    apply_irf: dict[str, bool]
    free: list[int]
    name: str
    keep: Keep = np.asarray


class Response(Protocol):
    """Counts of one sky model in the bins of one dataset, linear in its spectrum.

    The operator is a pure function of the spatial parameters and of the *anchor*, the parameters
    at which parts of a response may be computed that are not updated at each position. The last results are kept.
    """

    @property
    def nbytes(self) -> int:
        """Bytes held."""

    @property
    def forgettable(self) -> int:
        """Bytes that `forget` releases."""

    @property
    def gridded(self) -> bool:
        """Whether the source is rendered on the pixel grid before the PSF is applied."""

    def compile(self, values: Array) -> None:
        """Read what is needed at some parameter values; for a frozen shape, keep only the operator.

        Parameters
        ----------
        values : array
            Parameters of the spatial model, in its internal units.
        """

    def operator(
        self, values: Array, anchor: Array, *, derivatives: bool
    ) -> tuple[Operator | None, Places]:
        """Return the operator, and the indices of its bins in the list.

        Parameters
        ----------
        values, anchor : array
            Parameters of the spatial model, in its internal units.
        derivatives : bool
            Whether derivatives with respect to the free spatial parameters are needed.

        Returns
        -------
        operator : `Operator` or None
            None if the model does not reach the mask.
        index : array, or a slice of all
            Indices of the operator's bins.
        """

    def image(self, values: Array, spectrum: Array) -> Part | None:
        """Return the counts in all bins, if the list contains all bins.

        Parameters
        ----------
        values : array
            Parameters of the spatial model, in its internal units.
        spectrum : array of shape (T,)
            Integral of the spectrum per bin of true energy.

        Returns
        -------
        part : tuple or None
            Window, and counts (energy, lat, lon) in it; None if the model does not reach the mask.
        """

    def forget(self) -> None:
        """Release what the next evaluation can compute again, for a shape that moves."""


class Kept(NamedTuple):
    """An operator, and the arguments for which it was created.

    Attributes
    ----------
    values : bytes
        Values of the parameters.
    derivatives : bool
        Whether it has derivatives.
    operator : `Operator` or None
    places : array, or a slice of all
    """

    values: bytes
    derivatives: bool
    operator: Operator | None
    places: Places

    def serves(self, values: Array, *, derivatives: bool) -> bool:
        """Whether it can be used for a request."""
        return self.values == values.tobytes() and (self.derivatives or not derivatives)

    @property
    def nbytes(self) -> int:
        """Bytes of the operator."""
        return 0 if self.operator is None else self.operator.nbytes


def whole_image(
    observation: Observation, operator: Operator | None, places: Places, spectrum: Array
) -> Part | None:
    """Return the counts of an operator over all bins, as `Response.image`."""
    if operator is None:
        return None
    rows, columns = observation.grid.shape
    counts = np.zeros((observation.energy.nbin, rows, columns))
    counts.reshape(-1)[places] = operator.forward(spectrum)[0]
    return Window(0, rows, 0, columns), counts
