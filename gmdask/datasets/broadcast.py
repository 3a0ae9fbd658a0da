"""What was last sent to the datasets, and what of it has changed since."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from gmdask.models import Component, Models

__all__ = ["Broadcast"]

Token = tuple[Hashable, ...]


class Broadcast:
    """The structure and the values of global models when they were last sent.

    Structure is all but parameter values: which components there are and what they apply to, which
    parameter objects they hold (so that a new link shows), which are frozen, and limits.

    Parameters
    ----------
    models : `Models`
        Kept, so that identities stay valid.
    """

    def __init__(self, models: Models) -> None:
        self._kept = list(models)
        self._tokens = {component.name: _token(component) for component in models}
        self._names = models.names
        self._identity = {name: id(p) for name, p in models.named_parameters()}
        self.values: NDArray[np.float64] = models.parameters.value

    def identity(self, name: str) -> Hashable:
        """What tells a parameter from others, by any of its full names."""
        return self._identity.get(name, name)

    def same_values(self, models: Models) -> bool:
        """Whether no value changed; the structure must be the same."""
        return bool(np.array_equal(self.values, models.parameters.value))

    def changed(self, models: Models) -> set[str] | None:
        """Names of components that came, went or changed; None if only their order did.

        An empty set stands for the same structure.
        """
        tokens = {component.name: _token(component) for component in models}
        names = set(self._tokens) | set(tokens)
        different = {name for name in names if self._tokens.get(name) != tokens.get(name)}
        return None if not different and models.names != self._names else different

    def datasets_of(self, names: set[str], models: Models) -> set[str] | None:
        """Datasets that some components touch, now or when last sent; None for all of them."""
        touched: set[str] = set()
        for component in (*self._kept, *models):
            if component.name in names:
                if component.datasets_names is None:
                    return None
                touched.update(component.datasets_names)
        return touched


def _token(component: Component) -> Token:
    parameters = tuple(
        (name, id(p), p.frozen, _limit(p.min), _limit(p.max), id(p.prior))
        for name, p in component.named_parameters()
    )
    models = tuple((kind, id(model)) for kind, model in component.models.items())
    irfs = tuple(sorted(getattr(component, "apply_irf", {}).items()))
    applies = None if component.datasets_names is None else tuple(component.datasets_names)
    return (type(component).__name__, applies, irfs, models, parameters)


def _limit(value: float) -> float | None:
    """A limit that equals itself."""
    return None if math.isnan(value) else value
