"""How far a parameter may move in one step, for the quadratic model of the statistic to mean anything."""

from __future__ import annotations

import numpy as np
from astropy.units import Unit
from numpy.typing import NDArray

from gmdask.models import Models

__all__ = ["Reach", "reach_of"]

Array = NDArray[np.float64]

POSITION, ANGLE, SIZE = 0.2, 45.0, 0.02  # deg
SHARE_OF_SIZE = 0.5
INDEX, SHARE_OF_NUMBER = 1.0, 0.3


class Reach:
    """Largest changes of parameters in one step.

    A source that is moved by much more than its width, or the width of the PSF, is another
    source: what derivatives at one place say of the other means nothing, and where a source is
    faint a free step would be that long.

    Parameters
    ----------
    absolute : array of shape (S,)
        In the units of the parameters; infinite where there is no such limit.
    share : array of shape (S,)
        Of the present value; what is larger of the two counts.
    firm : boolean array of shape (S,)
        Parameters for which it stays, even while steps as long as that are good.
    """

    def __init__(self, absolute: Array, share: Array, firm: NDArray[np.bool_]) -> None:
        self._absolute, self._share, self.firm = absolute, share, firm

    @property
    def sizes(self) -> NDArray[np.bool_]:
        """Parameters (S,) that are sizes of sources."""
        return self.firm & (self._share > 0)

    def __call__(self, x: Array) -> Array:
        """Largest changes (S,) at some values."""
        return np.maximum(self._absolute, self._share * np.abs(x))


def reach_of(models: Models, chosen: NDArray[np.intp]) -> Reach:
    """Reach of some parameters of models.

    Positions go 0.2 deg, sizes half of what they are, other angles an eighth of a round. What has no
    unit and is not an amplitude, such as an index, goes 1, or a third of what it is, and farther once
    such steps are good: it may be a number on any scale.

    Parameters
    ----------
    models : `Models`
    chosen : array
        Positions among their parameters.
    """
    parameters = models.parameters
    absolute, share = np.full(len(parameters), np.inf), np.zeros(len(parameters))
    firm = np.zeros(len(parameters), dtype=bool)
    for component in models:
        for model in component.models.values():
            turning = {id(parameter) for parameter, _ in model.periods}
            for name, parameter in model.named_parameters():
                index = parameters.index(parameter)
                if parameter.unit.is_equivalent("deg") and parameter.unit != "":
                    degree, firm[index] = Unit("deg").to(parameter.unit), True
                    if name in ("lon_0", "lat_0"):
                        absolute[index] = POSITION * degree
                    elif id(parameter) in turning:
                        absolute[index] = ANGLE * degree
                    else:
                        absolute[index], share[index] = SIZE * degree, SHARE_OF_SIZE
                elif parameter.unit == "" and parameter.interp != "log":
                    absolute[index], share[index] = INDEX, SHARE_OF_NUMBER
    return Reach(absolute[chosen], share[chosen], firm[chosen])
