"""The posterior density of the parameters: the full likelihood times the priors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import FitError, InputError
from gmdask.evaluation.fit_parameters import local_parameters
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass, SecondOrderPass
from gmdask.fit.start import check_start
from gmdask.models import Models, ResponseModifier

if TYPE_CHECKING:
    from gmdask.fit.fit import Fit

__all__ = ["LogDensity", "Nuisances", "log_density"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Nuisances = Literal["sampled", "marginalised"]

NUISANCES = ("sampled", "marginalised")


class LogDensity:
    """Logarithm of the likelihood times the priors, ``-½ stat``, with its gradient.

    Parameters
    ----------
    objective : `Objective`
        All parameters of the density are shared ones of it.
    models : `Models`
        The global models.
    positive : boolean array of shape (N,)
        Parameters with a limit at zero in addition to their own.
    nuisances : {"sampled", "marginalised"}
        See `Fit.log_density`.

    Attributes
    ----------
    names, units : tuple of str
        Full names and units of the n parameters of the density.
    start : array of shape (n,)
        Their values in the models.
    lower, upper : array of shape (n,)
        Their limits, infinite for none; the density is zero beyond.
    periods : array of shape (n,)
        Periods of angles that may take all values; infinite for other parameters.
    nuisances : str
    """

    def __init__(
        self, objective: Objective, models: Models, positive: Mask, nuisances: Nuisances
    ) -> None:
        self._objective, self.nuisances = objective, nuisances
        fitted = objective.parameters
        self._values, index = fitted.start, fitted.shared
        parameters = models.parameters
        self._names = parameters.names
        self.names = tuple(self._names[int(k)] for k in index)
        self.units = tuple(str(parameters[int(k)].unit) for k in index)
        self.start: Array = self._values[index]
        lower, self.upper = fitted.limits()
        self.lower: Array = np.where(positive[index], np.maximum(lower, 0.0), lower)
        around = fitted.periods
        self.periods = np.array([around.get(int(k), (0.0, math.inf))[1] for k in index])

    def __repr__(self) -> str:
        where = f"{self._objective.n_datasets} datasets"
        return (
            f"<LogDensity of {len(self.names)} parameters, {where}, nuisances {self.nuisances!r}>"
        )

    def __len__(self) -> int:
        return len(self.names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, values: ArrayLike) -> tuple[float, Array]:
        """Evaluate.

        Parameters
        ----------
        values : array of shape (n,)
            In the units of the parameters.

        Returns
        -------
        value : float
            Minus infinity beyond a limit.
        gradient : array of shape (n,)
            Zero where the value is not finite.

        Raises
        ------
        InputError
            If there is another number of values.
        """
        return self.several([np.asarray(values, dtype=float)])[0]

    def several(self, points: Sequence[Array]) -> list[tuple[float, Array]]:
        """Evaluate at several points in one pass over the data, on a cluster concurrently; see `__call__`."""
        for point in points:
            if np.shape(point) != self.start.shape:
                msg = f"values have shape {np.shape(point)}, expected {self.start.shape}"
                raise InputError(msg)
        inside = [bool(((p >= self.lower) & (p <= self.upper)).all()) for p in points]
        asked = [
            self._objective.parameters.with_shared(self._values, point)
            for point, is_inside in zip(points, inside, strict=True)
            if is_inside
        ]
        marginal = self.nuisances == "marginalised"
        found = iter(self._objective.several(asked, marginal=marginal) if asked else [])
        return [
            _density(next(found)) if is_inside else (-math.inf, np.zeros(len(self)))
            for is_inside in inside
        ]

    def curvature(self) -> SecondOrderPass:
        """Evaluate at the start with second derivatives, of the profile if nuisances are marginalised.

        Raises
        ------
        FitError
            If a parameter is at a limit that is to be marginalised.
        """
        point = self._objective(self._values, order=2)
        for part in point.local:
            held = part.index[np.diag(part.block.inverse) == 0]
            if len(held):
                name = self._names[int(held[0])]
                msg = f"{name} is at a limit, where its integral is not Laplace's: choose nuisances 'sampled'"
                raise FitError(msg)
        return point

    def close(self) -> None:
        """Release the compiled datasets."""
        self._objective.close()


def _density(point: Pass) -> tuple[float, Array]:
    value = -0.5 * point.stat
    if not math.isfinite(value) or not np.isfinite(point.gradient).all():
        return -math.inf, np.zeros_like(point.gradient)
    return value, -0.5 * point.gradient


def log_density(fit: Fit, models: Models, nuisances: Nuisances = "sampled") -> LogDensity:
    """Prepare the posterior density of the free parameters: the full likelihood times the priors.

    Parameters
    ----------
    models : `Models`
        The global models; the density refers to their current free parameters, links and limits, and later
        changes of the models do not affect it.
    nuisances : {"sampled", "marginalised"}
        What happens to the free parameters of background models that belong to one dataset alone.
        "sampled": they are parameters of the density like all others. "marginalised": they are not; the likelihood is
        integrated over them, dataset by dataset, by Laplace's method around their optimum, which is accurate
        where a dataset has many background counts. (The fit takes their optimum itself; that profile is no density.)
        Parameters of response modifiers are sampled.

    Returns
    -------
    density : `LogDensity`
        A function of the values of these parameters, in their units, that returns the logarithm of the
        density and its gradient. Use it in a ``with`` statement, or `LogDensity.close` it.

    Raises
    ------
    InputError
        If the models cannot be fitted, or `nuisances` is something else.
    FitError
        If the statistic or its derivatives are not finite at the start.

    Notes
    -----
    Limits of parameters, and of priors, are those of a flat density. In data of on and off counts (W statistic) the
    expected off counts of each bin are at their optimum by definition of the statistic, and are no parameters.
    """
    if nuisances not in NUISANCES:
        msg = f"nuisances is {nuisances!r}, expected one of {', '.join(NUISANCES)}"
        raise InputError(msg)
    check_start(fit.datasets, models)
    fit.datasets.follow(models)
    free = [k for k, parameter in enumerate(models.parameters) if not parameter.frozen]
    modifiers = {
        id(parameter)
        for model in models
        if isinstance(model, ResponseModifier)
        for parameter in model.parameters
    }
    sampled = nuisances == "sampled"
    shared = [k for k in free if sampled or id(models.parameters[k]) in modifiers]
    norms = np.array([parameter.name == "norm" for parameter in models.parameters])
    positive = norms & local_parameters(models, fit.datasets)  # as where the fit minimises them
    objective = Objective(fit.datasets, models, fit.client, fit.bus, shared=shared)
    return LogDensity(objective, models, positive, nuisances)
