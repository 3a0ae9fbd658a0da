"""Checks of the start of a fit: datasets, free parameters, and allowed values."""

from __future__ import annotations

import math

from gmdask.datasets import Datasets, check_global
from gmdask.errors import InputError
from gmdask.evaluation.fit_parameters import periods_of
from gmdask.models import Models, Parameter

__all__ = ["check_allowed", "check_start"]

ROUNDING = 1e-9  # of a limit or an error, by which a value may exceed the limit


def check_start(datasets: Datasets, models: Models) -> None:
    """Raise an error without datasets or free parameters, or for start values that are not allowed.

    Parameters
    ----------
    datasets : `Datasets`
    models : `Models`
        The global models.

    Raises
    ------
    InputError
        If there is nothing to fit, or values are not allowed; the message names their parameters.
    """
    check_global(models)
    if not len(datasets):
        msg = "there are no datasets to fit"
        raise InputError(msg)
    if not len(models):
        msg = "there are no models to fit"
        raise InputError(msg)
    if all(parameter.frozen for parameter in models.parameters):
        msg = "the models have no free parameter (Datasets.stat_sum(models) gives their statistic)"
        raise InputError(msg)
    models.check_values()
    check_allowed(models)


def check_allowed(models: Models) -> None:
    """Raise an error for free parameters beyond their limits, and for values with zero prior probability.

    Angles that may take all values are periodic, and have no limits.

    Parameters
    ----------
    models : `Models`

    Raises
    ------
    InputError
        Names each such parameter, its value and its limits.
    """
    parameters, around = models.parameters, periods_of(models)
    bad = [
        f"{name} = {parameter.value:g}, {reason}"
        for k, (name, parameter) in enumerate(zip(parameters.names, parameters, strict=True))
        if (reason := _refused(parameter, limited=not parameter.frozen and k not in around))
    ]
    if bad:
        msg = f"the fit cannot start at {'; '.join(bad)}"
        raise InputError(msg)


def _refused(parameter: Parameter, *, limited: bool) -> str:
    """Return why a value is not allowed, empty if it is."""
    value, low, high, prior = parameter.value, parameter.min, parameter.max, parameter.prior
    if limited and low - value > ROUNDING * max(abs(low), abs(parameter.error)):
        return f"below its min ({low:g})"
    if limited and value - high > ROUNDING * max(abs(high), abs(parameter.error)):
        return f"above its max ({high:g})"
    if prior is not None and not all(map(math.isfinite, prior.derivatives(value))):
        return f"where its {type(prior).__name__} is not finite"
    return ""
