"""Intervals, profiles and contours around a minimum: methods of `Fit` that change neither models nor datasets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.datasets import check_global
from gmdask.errors import FitError, InputError, check_kind, described
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass
from gmdask.fit.minimisation import Minimisation
from gmdask.fit.profile_likelihood import cross, hold
from gmdask.fit.start import check_start
from gmdask.models import Models, Parameter
from gmdask.optimize.status import Status

if TYPE_CHECKING:
    from gmdask.fit.fit import Fit

__all__ = ["confidence", "minimum_of", "stat_contour", "stat_profile", "stat_surface"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

N_SIGMA = 2.0  # half width of a scan by default
N_VALUES = 11


def confidence(
    fit: Fit, models: Models, parameter: str | Parameter, sigma: float = 1, reoptimize: bool = True
) -> dict[str, Any]:
    """Compute asymmetric errors of a parameter, where the profile of the statistic has risen by sigma².

    Parameters
    ----------
    models : `Models`
        The global models; the minimum next to their values is used.
    parameter : str or `Parameter`
        Free parameter, or its name.
    sigma : float
        Number of standard deviations.
    reoptimize : bool
        Whether all other parameters are minimised (MINOS), or fixed.

    Returns
    -------
    result : dict
        "errp", "errn" (in the unit of the parameter; NaN beyond a limit), "success",
        "message", "nfev" and "stat_null", as in Gammapy.
    """
    check_kind(sigma, Real, "a number of standard deviations")
    if not sigma > 0:
        msg = f"sigma is {sigma}, expected a positive number"
        raise InputError(msg)
    with _around(fit, models, [parameter]) as (objective, held):
        best = minimum_of(objective, fit.max_passes)
        found = cross(
            objective,
            best,
            held,
            np.array([[1.0], [-1.0]]),
            np.full(2, float(sigma) ** 2),
            reoptimize=reoptimize,
        )
        nfev = objective.passes
    success = bool(np.isfinite(found.distance).all() and not found.lower)
    message = "Confidence terminated successfully."
    if found.lower:
        message = "there is a lower minimum than the one next to the values of the models"
    elif not success:
        message = "a limit of the parameter, or a flat likelihood, is met before the interval ends"
    up, down = found.distance.tolist()
    return {
        "errp": up, "errn": down, "success": success, "message": message, "nfev": nfev,
        "stat_null": best.stat,
    }  # fmt: skip


def stat_profile(
    fit: Fit,
    models: Models,
    parameter: str | Parameter,
    values: ArrayLike | None = None,
    reoptimize: bool = False,
) -> dict[str, Any]:
    """Evaluate the statistic at some values of a parameter.

    Parameters
    ----------
    models : `Models`
    parameter : str or `Parameter`
    values : array of shape (K,), optional
        In the unit of the parameter; by default 11 within two errors.
    reoptimize : bool
        Whether all other parameters are minimised, or fixed.

    Returns
    -------
    result : dict
        "<name>_scan" and "stat_scan" of shape (K,).
    """
    scan = _scan(models, parameter, values)
    stats = _stats(fit, models, [parameter], scan[:, None], reoptimize=reoptimize)
    return {f"{_name(models, parameter)}_scan": scan, "stat_scan": stats}


def stat_surface(
    fit: Fit,
    models: Models,
    x: str | Parameter,
    y: str | Parameter,
    x_values: ArrayLike | None = None,
    y_values: ArrayLike | None = None,
    reoptimize: bool = False,
) -> dict[str, Any]:
    """Evaluate the statistic on a grid of values of two parameters.

    Parameters
    ----------
    models : `Models`
    x, y : str or `Parameter`
    x_values, y_values : array of shape (K,), (L,), optional
        See `stat_profile`.
    reoptimize : bool
        Whether all other parameters are minimised, or fixed.

    Returns
    -------
    result : dict
        "<name>_scan" of both, and "stat_scan" of shape (K, L).
    """
    xs, ys = _scan(models, x, x_values), _scan(models, y, y_values)
    grid = np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)
    stats = _stats(fit, models, [x, y], grid, reoptimize=reoptimize)
    return {
        f"{_name(models, x)}_scan": xs,
        f"{_name(models, y)}_scan": ys,
        "stat_scan": stats.reshape(len(xs), len(ys)),
    }


def stat_contour(
    fit: Fit,
    models: Models,
    x: str | Parameter,
    y: str | Parameter,
    numpoints: int = 10,
    sigma: float = 1,
) -> dict[str, Any]:
    """Find points around the minimum at which the profile in two parameters has risen by sigma².

    Parameters
    ----------
    models : `Models`
        The global models; the minimum next to their values is used.
    x, y : str or `Parameter`
        Free parameters.
    numpoints : int
        Number of points.
    sigma : float
        Number of standard deviations, as in Gammapy: the rise is sigma² whatever the number of
        parameters.

    Returns
    -------
    result : dict
        Values of both by their names, of shape (numpoints,), NaN beyond a limit; and "success".
    """
    check_kind(sigma, Real, "a number of standard deviations")
    check_kind(numpoints, int, "a number of points")
    if numpoints < 3 or not sigma > 0:
        msg = f"numpoints is {numpoints} and sigma {sigma}, expected at least 3, and a positive number"
        raise InputError(msg)
    with _around(fit, models, [x, y]) as (objective, held):
        best = minimum_of(objective, fit.max_passes)
        curvature = np.diag(best.hessian)[held]
        if not (curvature > 0).all():
            nothing = np.full(numpoints, np.nan)
            return {_name(models, x): nothing, _name(models, y): nothing, "success": False}
        width = np.sqrt(2 / curvature)
        turn = 2 * math.pi * np.arange(numpoints) / numpoints
        directions = np.stack([np.cos(turn), np.sin(turn)], axis=1) * width
        found = cross(objective, best, held, directions, np.full(numpoints, float(sigma) ** 2))
    places = best.shared[held] + found.distance[:, None] * directions
    success = bool(np.isfinite(found.distance).all() and not found.lower)
    return {
        _name(models, x): places[:, 0], _name(models, y): places[:, 1], "success": success,
    }  # fmt: skip


def _stats(
    fit: Fit,
    models: Models,
    parameters: Sequence[str | Parameter],
    values: Array,
    *,
    reoptimize: bool,
) -> Array:
    """Return the statistic (point,) at values (point, F) of some parameters."""
    with _around(fit, models, parameters) as (objective, held):
        starts = []
        for own in values:
            start = objective.parameters.start.copy()
            start[objective.parameters.shared[held]] = own
            starts.append(start)
        points = hold(objective, starts, held, reoptimize=reoptimize)
    return np.array([point.stat for point in points])


@contextmanager
def _around(
    fit: Fit, models: Models, parameters: Sequence[str | Parameter]
) -> Iterator[tuple[Objective, Index]]:
    """Yield the likelihood with some parameters among the shared ones, and their positions there."""
    check_start(fit.datasets, models)
    index = [models.parameters.index(_free(models, p)) for p in parameters]
    if len(set(index)) < len(index):
        msg = "the two parameters are the same"
        raise InputError(msg)
    fit.datasets.follow(models)
    objective = Objective(fit.datasets, models, fit.client, shared=index)
    try:
        yield objective, np.searchsorted(objective.parameters.shared, index)
    finally:
        objective.close()


def minimum_of(objective: Objective, max_passes: int = 100) -> Pass:
    """Find the minimum next to the values of the models.

    Raises
    ------
    FitError
        If it is not found.
    """
    work = Minimisation(
        objective, "newton", max_passes=max_passes, seconds=math.inf, on_pass=_nothing, on_accept=_nothing
    )  # fmt: skip
    found = work.run()
    if found.status is Status.MAX_PASSES:
        msg = f"no minimum was found within {max_passes} passes, from which to measure the rise of the statistic"
        raise FitError(msg)
    return found.point


def _nothing(_: object) -> None:
    """Tell nobody."""


def _free(models: Models, parameter: str | Parameter) -> Parameter:
    check_global(models)
    check_kind(parameter, str | Parameter, "a parameter, or its name")
    found: Parameter = models.parameters[parameter] if isinstance(parameter, str) else parameter
    if found.frozen:
        msg = f"parameter {found.name!r} is frozen, expected a free one"
        raise InputError(msg)
    return found


def _name(models: Models, parameter: str | Parameter) -> str:
    found = _free(models, parameter)
    name: str = models.parameters.names[models.parameters.index(found)]
    return name


def _scan(models: Models, parameter: str | Parameter, values: ArrayLike | None) -> Array:
    found = _free(models, parameter)
    if values is None:
        if not found.error > 0:
            msg = f"parameter {found.name!r} has no error from which to choose values: give values"
            raise InputError(msg)
        values = found.value + found.error * np.linspace(-N_SIGMA, N_SIGMA, N_VALUES)
    try:
        scan = np.array(values, dtype=float)
    except (TypeError, ValueError) as error:
        msg = f"values of {found.name!r}: expected numbers along one axis, got {described(values)}"
        raise InputError(msg) from error
    if scan.ndim != 1 or not np.isfinite(scan).all():
        msg = f"values of {found.name!r} have shape {scan.shape}, expected finite numbers along one axis"
        raise InputError(msg)
    return scan
