"""Assessment of a minimum: its status, the parameters concerned, and a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gmdask.evaluation.joint_likelihood import Objective
from gmdask.evaluation.passes import Pass
from gmdask.fit.degeneracy import described
from gmdask.fit.uncertainty import Uncertainty
from gmdask.optimize.problem import Minimum
from gmdask.optimize.status import Status
from gmdask.optimize.trust_region import TOLERANCES

__all__ = ["Ending", "ending_of"]

NAMES_SHOWN = 5
DIRECTIONS_SHOWN = 3

WORDS = {
    Status.CONVERGED: "converged",
    Status.AT_LIMITS: "converged, with parameters at their limits: {names}",
    Status.DEGENERATE: "no unique minimum, as some parameters are degenerate",
    Status.UNRESOLVED: "converged, but sizes of sources are compatible with 0: {names}",
    Status.STALLED: "stopped: the data may not constrain {names}, which keep their values",
    Status.UNCONSTRAINED: "the data do not depend on {names}, which keep their values",
    Status.MAX_PASSES: "stopped at the largest number of passes",
    Status.TIME_LIMIT: "stopped at the time limit: best point kept",
    Status.INTERRUPTED: "interrupted: best point kept",
}
NOTHING = "the data constrain nothing, and no free parameter has an error: {names}"
ROUGH = "to within the small steps of the statistic with sources rendered on pixels"


@dataclass(frozen=True)
class Ending:
    """How a fit ended.

    Attributes
    ----------
    status : `Status`
    concerned : tuple of str
        Names of the parameters that caused this status.
    message : str
        Description in words, including further remarks.
    """

    status: Status
    concerned: tuple[str, ...]
    message: str


def ending_of(
    objective: Objective,
    minimum: Minimum[Pass],
    names: Sequence[str],
    found: Uncertainty | None,
    flat: list[dict[str, float]],
    more: Sequence[str] = (),
) -> Ending:
    """Assess a minimum.

    Parameters
    ----------
    objective : `Objective`
    minimum : `Minimum`
    names : sequence of str
        Names of all parameters.
    found : `Uncertainty` or None
        Uncertainties, if they were computed.
    flat : list of dict
        See `degeneracies`.
    more : sequence of str
        Further remarks.
    """
    status, concerned = _status(objective, minimum, names, found, flat)
    nothing = status is Status.UNCONSTRAINED and _constrains_nothing(
        minimum.point, objective, found
    )
    notes = [(WORDS[status] if not nothing else NOTHING).format(names=_some(concerned))]
    if minimum.status is Status.STALLED and status is Status.UNCONSTRAINED and not nothing:
        held = objective.parameters.shared[minimum.concerned]
        more_names = [names[int(i)] for i in held if names[int(i)] not in concerned]
        notes.append(WORDS[Status.STALLED].format(names=_some(more_names)))
        concerned = [*concerned, *more_names]
    if status.success and minimum.edm > TOLERANCES.edm and objective.problem().rough:
        notes.append(ROUGH)
    notes += [
        f"degenerate, and not in the errors: {described(direction)}, in units of the error of each "
        "with the others fixed"
        for direction in flat[:DIRECTIONS_SHOWN]
    ]
    if len(flat) > DIRECTIONS_SHOWN:
        notes.append(f"{len(flat) - DIRECTIONS_SHOWN} more degenerate directions")
    if not nothing:
        notes += _on_errors(objective, names, found)
    unreached = int(minimum.point.floors.sum())
    if unreached:
        notes.append(f"{unreached} bins with counts that no component predicts")
    return Ending(status, tuple(concerned), "; ".join([*notes, *more]))


def _status(
    objective: Objective,
    minimum: Minimum[Pass],
    names: Sequence[str],
    found: Uncertainty | None,
    flat: list[dict[str, float]],
) -> tuple[Status, list[str]]:
    if minimum.status.cut_short:
        return minimum.status, []
    inside = objective.parameters.free & ~objective.parameters.at_limits(minimum.point.values)
    if inside.any() and _constrains_nothing(minimum.point, objective, found):
        return Status.UNCONSTRAINED, [names[int(i)] for i in np.flatnonzero(inside)]
    unfelt = objective.parameters.unfelt(minimum.point) & inside[objective.parameters.shared]
    if unfelt.any():
        return Status.UNCONSTRAINED, [names[int(i)] for i in objective.parameters.shared[unfelt]]
    if minimum.status is Status.STALLED:
        return Status.STALLED, [
            names[int(i)] for i in objective.parameters.shared[minimum.concerned]
        ]
    linear = _linear(objective, minimum.point) & inside[objective.parameters.shared]
    if linear.any():
        return Status.STALLED, [names[int(i)] for i in objective.parameters.shared[linear]]
    unresolved = [] if found is None else [names[i] for i in found.upper_limits]
    if any(not {*way} & {*unresolved} for way in flat):
        return Status.DEGENERATE, list(dict.fromkeys(name for way in flat for name in way))
    if unresolved:
        return Status.UNRESOLVED, unresolved
    at = np.flatnonzero(
        objective.parameters.free & objective.parameters.at_limits(minimum.point.values)
    )
    if len(at):
        return Status.AT_LIMITS, [names[int(i)] for i in at]
    return Status.CONVERGED, []


def _linear(objective: Objective, point: Pass) -> NDArray[np.bool_]:
    """Shared parameters (S,) along which the statistic keeps falling, without any curvature."""
    diagonals = [np.diag(h) for h in (point.hessian, point.observed) if h is not None]
    around = objective.parameters.flat_angles(point)
    return np.asarray((point.gradient != 0) & ~np.any(diagonals, axis=0) & ~around)


def _constrains_nothing(point: Pass, objective: Objective, found: Uncertainty | None) -> bool:
    """Whether no free parameter has an error; before errors are computed, whether no bin is used."""
    if found is None:
        return not point.stats.any()
    return not (found.matrix.diagonal()[objective.parameters.free] > 0).any()


def _on_errors(objective: Objective, names: Sequence[str], found: Uncertainty | None) -> list[str]:
    """Return remarks on the errors."""
    notes: list[str] = []
    if found is None:
        return notes
    if found.upper_limits:
        limits = [f"{names[i]} < {limit:.3g}" for i, limit in found.upper_limits.items()]
        notes.append(f"upper limits (2 sigma): {_some(limits)}")
    if found.stand_in.any():
        where, whose = ", as where parameters are degenerate", "errors"
        if not found.stand_in.all():
            rough = {
                names[int(i)].split(".")[0]: None
                for i in objective.parameters.shared[found.stand_in]
            }
            where, whose = f" along the parameters of {', '.join(rough)}", "their errors"
        notes.append(
            f"the observed Hessian is not positive definite{where}: {whose} from the Gauss-Newton one"
        )
    if len(found.undetermined):
        without = _some([names[int(i)] for i in found.undetermined])
        notes.append(f"no error for {without} (at a limit, or nothing depends on it)")
    return notes


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
