"""One minimisation from its start to its end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gmdask.optimize.problem import Minimum, P, Problem, State
from gmdask.optimize.status import Status, Tolerances
from gmdask.optimize.trust_region import TOLERANCES, TrustRegion

__all__ = ["minimise"]

Array = NDArray[np.float64]
Evaluate = Callable[[P | None, Array, int], P]
OnPass = Callable[[P, float, bool], None]
OnAccept = Callable[[State[P]], None]


def minimise(
    evaluate: Evaluate[P],
    start: Array | State[P],
    problem: Problem,
    *,
    tolerances: Tolerances = TOLERANCES,
    more: Callable[[], bool] | None = None,
    on_pass: OnPass[P] | None = None,
    on_accept: OnAccept[P] | None = None,
) -> Minimum[P]:
    """Minimise with a function that evaluates points one by one.

    Parameters
    ----------
    evaluate : callable
        Takes the best evaluation (None at first), the parameters, and the order of derivatives;
        returns an evaluation with gradient and Gauss-Newton Hessian, and for order 2 the observed one.
    start : array of shape (S,), or `State`
        Start values, or the state of an earlier minimisation to continue.
    problem : `Problem`
    tolerances : `Tolerances`
    more : callable, optional
        Whether another evaluation may be made.
    on_pass : callable, optional
        Receives every evaluation, its expected distance to the minimum (NaN if it was not accepted), and
        whether it was accepted.
    on_accept : callable, optional
        Receives the state after every accepted point.
    """

    def report(point: P, *, accepted: bool) -> None:
        if on_pass is not None:
            on_pass(point, search.edm if accepted else float("nan"), accepted)
        if accepted and on_accept is not None:
            on_accept(search.state)

    if isinstance(start, State):
        search = TrustRegion(problem, start, tolerances)
    else:
        first = evaluate(None, np.clip(start, problem.lower, problem.upper), 1)
        search = TrustRegion(problem, first, tolerances)
        report(first, accepted=True)
    while (proposal := search.propose()) is not None:
        if more is not None and not more():
            search.status = Status.MAX_PASSES
            break
        trial = evaluate(search.point, *proposal)
        report(trial, accepted=search.take(trial))
    assert search.status is not None
    return Minimum(search.point, search.edm, search.status, search.concerned)
