"""The result of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from gmdask.attributes import Hinting
from gmdask.events import counted
from gmdask.models import Covariance, Parameters
from gmdask.models.units import unit_text
from gmdask.optimize.status import Status

__all__ = ["FitResult", "shown"]

NAMES_SHOWN = 5
SHOWN = 40  # number of free parameters in a printed result


@dataclass(frozen=True)
class FitResult(Hinting):
    """Result of a fit.

    Attributes
    ----------
    status : `Status`
        How the fit ended.
    concerned : tuple of str
        Names of the parameters that caused this status: those at limits, degenerate, or not
        constrained by the data.
    message : str
        Description in words, including further remarks.
    success : bool
        Whether it converged, within the limits.
    total_stat : float
        Statistic of all datasets, priors included, at the values reported.
    stat : dict
        The same per dataset, without priors.
    parameters : `Parameters`
        Copies of all parameters with values and errors.
    passes : int
        Evaluations over all data up to convergence, each with an updated response.
    passes_errors : int
        Evaluations over all data after convergence, for errors and confirmation.
    edm : float
        Expected distance to the minimum, in the statistic.
    covariance : `Covariance` or None
        Covariance of all parameters, in blocks if there are more than 1000.
    degeneracies : list of dict
        Directions along which the statistic does not change: the weight of each parameter, the largest being 1,
        in units of the error that it has with all others fixed. Computed together with errors.
    upper_limits : dict
        By name: upper limits on the sizes of sources that are compatible with 0, where the profile of the
        statistic has risen by 4. Computed together with errors.
    n_unreached : int
        Number of bins with counts that no component predicts; each count adds 115.13.
    wall_s, cpu_s : float
        Time spent; processor time includes the workers.
    backend : {"newton", "minuit"}
        Minimiser.
    response : {"exact", "gammapy", "mixed"}
        How predicted counts were computed; see `Datasets.response`.
    gridded : tuple of str
        Names of the models that were nevertheless rendered on the pixel grid as by Gammapy in some dataset, where
        the exact response does not apply; empty if that is what was asked for.
    """

    status: Status
    concerned: tuple[str, ...]
    message: str
    total_stat: float
    stat: dict[str, float]
    parameters: Parameters
    passes: int
    passes_errors: int
    edm: float
    covariance: Covariance | None
    degeneracies: list[dict[str, float]]
    upper_limits: dict[str, float]
    n_unreached: int
    wall_s: float
    cpu_s: float
    backend: str
    response: str
    gridded: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        """Whether it converged, within the limits."""
        return self.status.success

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in ``result.json``."""
        rows = zip(self.parameters.names, self.parameters, self._errors(), strict=True)
        return {
            "success": self.success,
            "status": self.status.value,
            "concerned": list(self.concerned),
            "message": self.message,
            "total_stat": self.total_stat,
            "stat": dict(self.stat),
            "parameters": [
                {
                    "name": name,
                    "value": p.value,
                    "error": error,
                    "unit": str(p.unit),
                    "frozen": p.frozen,
                }
                for name, p, error in rows
            ],
            "degeneracies": [dict(direction) for direction in self.degeneracies],
            "upper_limits": dict(self.upper_limits),
            "passes": self.passes,
            "passes_errors": self.passes_errors,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "response": self.response,
            "gridded": list(self.gridded),
        }

    def __str__(self) -> str:
        return shown({**self.to_dict(), "edm": self.edm})

    def __repr__(self) -> str:
        free = sum(not parameter.frozen for parameter in self.parameters)
        return (
            f"<FitResult: success {self.success}, statistic {self.total_stat:.4f} of "
            f"{counted(len(self.stat), 'dataset')}, {counted(free, 'free parameter')}: {self.message}>"
        )

    def _errors(self) -> list[float]:
        """Errors determined by this fit, 0 if not determined."""
        known = self.covariance is not None
        return [p.error if known else 0.0 for p in self.parameters]

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{escape(name)}</td><td>{p.value:.6g}</td><td>{f'{error:.2g}' if error else ''}</td>"
            f"<td>{escape(unit_text(p.unit))}</td></tr>"
            for name, p, error in list(
                zip(self.parameters.names, self.parameters, self._errors(), strict=True)
            )[:100]
            if not p.frozen
        )
        return (
            f"<b>FitResult</b>: {escape(self.message)}<br>total stat {self.total_stat:.4f}, "
            f"{self.passes} passes (+ {self.passes_errors}), {self.wall_s:.2f} s"
            f"<table><tr><th>parameter</th><th>value</th><th>error</th><th>unit</th></tr>{cells}</table>"
        )


def _response(result: dict[str, Any]) -> str:
    """Describe the response, and name the sources to which it does not apply."""
    names = result.get("gridded", [])
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    shown_names = ", ".join(names[:NAMES_SHOWN]) + more
    return f"{result['response']}" + (f"; on the pixel grid: {shown_names}" if names else "")


def shown(result: dict[str, Any]) -> str:
    """Format a result from its plain data.

    Parameters
    ----------
    result : dict
        As returned by `FitResult.to_dict`, with "edm".
    """
    head = (
        f"FitResult\n  status         {result['status']}\n  message        {result['message']}\n"
        f"  total stat     {result['total_stat']:.4f}\n  response       {_response(result)}\n"
        f"  passes         {result['passes']} (+ {result['passes_errors']} for errors)\n"
        f"  edm            {result['edm']:.1e}\n"
        f"  wall, cpu      {result['wall_s']:.2f} s, {result['cpu_s']:.2f} s\n"
    )
    free = [row for row in result["parameters"] if not row["frozen"]]
    some = free[:SHOWN]
    width = max((len(row["name"]) for row in some), default=0)
    rows = []
    for row in some:
        error = f"± {row['error']:.2e}" if row["error"] else ""
        text = f"  {row['name']:<{width}}  {row['value']: .6e} {error:10}  {unit_text(row['unit'])}"
        rows.append(text.rstrip())
    if len(free) > len(some):
        rows.append(f"  ... and {len(free) - len(some)} more free parameters")
    return head + "\n" + "\n".join(rows)
