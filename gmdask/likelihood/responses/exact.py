"""The exact response: a source is convolved at its position, and then integrated over the pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.likelihood.exact.direct import direct_source
from gmdask.likelihood.exact.located import LocatedSource
from gmdask.likelihood.exact.operator import ExactOperator
from gmdask.likelihood.exact.reco import SumOperator
from gmdask.likelihood.exact.region import ExactRegion, exact_region
from gmdask.likelihood.exact.source import exact_source
from gmdask.likelihood.operators import MatrixOperator, Operator
from gmdask.likelihood.responses.base import Kept, Part, Places, Shape, whole_image

__all__ = ["ExactResponse", "exact_response"]

Array = NDArray[np.float64]


def exact_response(shape: Shape) -> ExactResponse | None:
    """Exact response of a map or a region, None if it does not apply."""
    observation, bins, spatial, apply_irf, free, _, keep = shape
    own = observation, bins, spatial, apply_irf, free
    seen = exact_source(*own, keep) or direct_source(*own, keep) or exact_region(*own)
    return None if seen is None else ExactResponse(shape, seen)


class ExactResponse:
    """See `Response`; the anchor has no effect.

    Parameters
    ----------
    shape : `Shape`
    seen : `LocatedSource` or `ExactRegion`
    """

    gridded = False

    def __init__(self, shape: Shape, seen: LocatedSource | ExactRegion) -> None:
        self._shape, self._seen = shape, seen
        self._kept: Kept | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._seen.nbytes + (0 if self._kept is None else self._kept.nbytes)

    @property
    def forgettable(self) -> int:
        """Bytes of the operator."""
        return self._kept.nbytes if self._kept is not None and self._shape.free else 0

    def compile(self, values: Array) -> None:
        """See `Response`."""
        if self._shape.free:
            self._seen.compile(values)
            return
        operator: Operator | None
        operator, places = self._seen.operator(values, derivatives=False)
        if isinstance(operator, ExactOperator | SumOperator):  # converted to a matrix once
            whole = operator.forward(np.eye(self._shape.observation.energy_true.nbin))
            operator = MatrixOperator(*whole)
        if operator is not None:
            operator.keep(self._shape.keep)
        self._kept = Kept(values.tobytes(), False, operator, places)
        self._seen.forget()

    def operator(
        self, values: Array, anchor: Array, *, derivatives: bool
    ) -> tuple[Operator | None, Places]:
        """See `Response`."""
        del anchor
        derivatives = derivatives and bool(self._shape.free)
        kept = self._kept
        if kept is None or not kept.serves(values, derivatives=derivatives):
            found = self._seen.operator(values, derivatives=derivatives)
            kept = self._kept = Kept(values.tobytes(), derivatives, *found)
        return kept.operator, kept.places

    def image(self, values: Array, spectrum: Array) -> Part | None:
        """See `Response`."""
        operator, places = self._seen.operator(values, derivatives=False)
        if not isinstance(operator, ExactOperator | SumOperator):
            return whole_image(self._shape.observation, operator, places, spectrum)
        window, counts = operator.window, operator.forward(spectrum)[0]
        return window, counts.reshape(self._shape.observation.energy.nbin, *window.shape)

    def forget(self) -> None:
        """See `Response`."""
        if self._shape.free:
            self._kept = None
