"""What is told of a minimum in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gmdask.fit.degeneracy import described
from gmdask.fit.minuit import Verdict
from gmdask.fit.objective import Objective, Pass
from gmdask.fit.problem import End, Minimum
from gmdask.fit.uncertainty import Uncertainty
from gmdask.likelihood.steps import newton_step

__all__ = ["notes_of"]

NAMES_SHOWN = 5
DIRECTIONS_SHOWN = 3


def notes_of(
    objective: Objective,
    minimum: Minimum[Pass],
    names: Sequence[str],
    verdict: Verdict | None,
    found: Uncertainty | None,
    flat: list[dict[str, float]],
) -> list[str]:
    """What a user is told of a minimum, besides why the minimisation ended.

    Parameters
    ----------
    objective : `Objective`
    minimum : `Minimum`
    names : sequence of str
        Of all parameters.
    verdict : `Verdict` or None
        Of MIGRAD, where it was asked.
    found : `Uncertainty` or None
        Where errors were computed.
    flat : list of dict
        See `degeneracies`.
    """
    point = minimum.point
    notes = [
        f"degenerate, and not in the errors: {described(direction)}, in units of what each has as error "
        "with the others fixed"
        for direction in flat[:DIRECTIONS_SHOWN]
    ]
    if minimum.end is End.STALLED:
        model = names[_most_promising(objective, point)].split(".")[0]
        notes.append(f"the data may not bound the parameters of {model}")
    if len(flat) > DIRECTIONS_SHOWN:
        notes.append(f"{len(flat) - DIRECTIONS_SHOWN} more degenerate directions")
    if found is not None and found.stand_in.any():
        where, whose = ", as where parameters are degenerate", "errors"
        if not found.stand_in.all():
            rough = {names[int(i)].split(".")[0]: None for i in objective.shared[found.stand_in]}
            where, whose = f" along the parameters of {', '.join(rough)}", "their errors"
        notes.append(
            f"the observed Hessian is not positive definite{where}: {whose} from the Gauss-Newton one"
        )
    if found is not None and len(found.undetermined):
        without = [names[int(i)] for i in found.undetermined]
        more = f" and {len(without) - NAMES_SHOWN} more" if len(without) > NAMES_SHOWN else ""
        notes.append(
            f"no error for {', '.join(without[:NAMES_SHOWN])}{more} (at a limit, or nothing depends on it)"
        )
    if verdict is not None and not verdict.valid:
        notes.append(f"MIGRAD does not confirm the minimum (edm {verdict.edm:.1e})")
    unreached = int(point.floors.sum())
    if unreached:
        notes.append(f"{unreached} bins with counts that no component reaches")
    return notes


def _most_promising(objective: Objective, point: Pass) -> int:
    """Position of the parameter from whose step the statistic is expected to fall most."""
    assert point.gradient is not None
    assert point.hessian is not None
    step = newton_step(point.shared, point.gradient, point.hessian, 0.0, *objective.limits())
    return int(objective.shared[np.argmax(-point.gradient * step)])
