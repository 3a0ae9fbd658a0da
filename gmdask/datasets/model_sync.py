"""The state of the models that was last sent to the datasets, and what has changed since."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gmdask.models import Component, Models, Parameters

if TYPE_CHECKING:
    from gmdask.datasets.base import Dataset

__all__ = ["Broadcast", "Sent", "prior_stat", "send_values"]


class Broadcast:
    """The structure and the values of the global models when they were last sent.

    Structure is everything except parameter values: the components and the datasets they apply to, the
    parameter objects (so that a new link is noticed), frozen flags, limits and priors.

    Parameters
    ----------
    models : `Models`
        The global models.

    Attributes
    ----------
    models : `Models`
        The global models.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self._tokens = {component.name: _token(component) for component in models}
        self._names = models.names
        self._parameter = dict(models.named_parameters())
        self.values: NDArray[np.float64] = models.parameters.value

    def identity(self, name: str) -> Hashable:
        """Return what identifies a parameter, given any of its full names."""
        return self._parameter.get(name, name)

    def touched(self, models: Models) -> set[str] | None:
        """Return the datasets to which components apply that were added, removed or changed.

        None stands for all: if such a component applies to all datasets, or the order changed.
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


class Sent(NamedTuple):
    """Which broadcast the models of a dataset are from, if they are from any.

    Attributes
    ----------
    structure : `Broadcast` or None
        That of everything but the parameter values.
    values : array or None
        The values of that broadcast, the same object.
    """

    structure: Broadcast | None = None
    values: NDArray[np.float64] | None = None


class _Token(NamedTuple):
    """Everything of a component except values; objects are held, so that their ids are not reused."""

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
    """Return a limit as a value that equals itself."""
    return None if math.isnan(value) else value


def send_values(datasets: Sequence[Dataset], parameters: Parameters) -> None:
    """Set the parameter values of datasets, either of all of them or of none."""
    found = [pair for dataset in datasets for pair in dataset.own_models.values_from(parameters)]
    for parameter, value in found:
        parameter.value = value
    for dataset in datasets:
        dataset.sent = dataset.sent._replace(values=None)


def prior_stat(datasets: Sequence[Dataset], sent: Broadcast | None) -> float:
    """Sum of the priors at the datasets' values; one per parameter of the models that were sent."""
    found: dict[Hashable, float] = {}
    for dataset in datasets:
        for name, parameter in dataset.models_named_parameters:
            if parameter.prior is not None:
                key = name if sent is None else sent.identity(name)
                if key not in found:
                    found[key] = parameter.prior.derivatives(parameter.value)[0]
    return math.fsum(found.values())
