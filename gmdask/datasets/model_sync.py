"""What was last sent to the datasets, and what of it has changed since."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.models import Component, Models

__all__ = ["Broadcast"]


class Broadcast:
    """The structure and the values of global models when they were last sent.

    Structure is all but parameter values: which components there are and what they apply to, which
    parameter objects they hold (so that a new link shows), which are frozen, limits and priors.

    Parameters
    ----------
    models : `Models`
        The global models.

    Attributes
    ----------
    models : `Models`
        The same.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self._tokens = {component.name: _token(component) for component in models}
        self._names = models.names
        self._parameter = dict(models.named_parameters())
        self.values: NDArray[np.float64] = models.parameters.value

    def identity(self, name: str) -> Hashable:
        """What tells a parameter from others, by any of its full names."""
        return self._parameter.get(name, name)

    def touched(self, models: Models) -> set[str] | None:
        """Datasets that a component touches, or touched, that came, went or changed.

        None stands for all of them: where such a component has no names, or the order changed.
        """
        tokens = {component.name: _token(component) for component in models}
        changed = {
            name for name in {*self._tokens, *tokens} if self._tokens.get(name) != tokens.get(name)
        }
        if not changed and models.names != self._names:
            return None
        found: set[str] = set()
        for token in (
            known[name] for known in (self._tokens, tokens) for name in changed & {*known}
        ):
            if token.applies is None:
                return None
            found.update(token.applies)
        return found


class _Token(NamedTuple):
    """All of a component but values; objects are held, so that identities stay theirs."""

    applies: tuple[str, ...] | None
    kind: type
    irfs: tuple[tuple[str, bool], ...]
    models: tuple[tuple[str, object], ...]
    parameters: tuple[tuple[Hashable, ...], ...]


def _token(component: Component) -> _Token:
    names = component.datasets_names
    return _Token(
        None if names is None else tuple(names),
        type(component),
        tuple(sorted(getattr(component, "apply_irf", {}).items())),
        tuple(component.models.items()),
        tuple(
            (name, p, p.frozen, _limit(p.min), _limit(p.max), p.prior)
            for name, p in component.named_parameters()
        ),
    )


def _limit(value: float) -> float | None:
    """A limit that equals itself."""
    return None if math.isnan(value) else value
