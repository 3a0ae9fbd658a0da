"""Pulls, coverage, test statistics and goodness of fit, from simulations of a fit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xarray as xr
from astropy.table import Table
from numpy.typing import NDArray
from scipy import stats

from gmdask.atomic_files import write_atomically
from gmdask.attributes import KnownAttributes
from gmdask.drawing import draw
from gmdask.errors import InputError, check_kind
from gmdask.events import counted
from gmdask.inputs import load_json, read_bytes
from gmdask.paths import expanded
from gmdask.schemas import schema_problems

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Coverage"]

Array = NDArray[np.float64]

SCHEMA = "gmdask coverage 1.0"
WITHIN = {"68": 0.6827, "95": 0.9545}  # nominal coverage of 1 and 2 sigma
LIMIT = 0.95  # confidence of the one-sided limits


class Coverage(KnownAttributes):
    """Fits of simulations of one set of models.

    Parameters
    ----------
    data : `xarray.Dataset`
        Along ``simulation``: ``value`` and ``error`` per free ``parameter`` (coordinates: full name, unit), ``root``
        per ``profiled`` parameter, ``ts`` per ``source``, ``stat`` (at the minimum), ``success`` and ``status``;
        besides, ``truth`` per parameter, and ``observed_stat``, the statistic of the data.

    Attributes
    ----------
    data : `xarray.Dataset`
    """

    def __init__(self, data: xr.Dataset) -> None:
        check_kind(data, xr.Dataset, "an xarray.Dataset (Coverage.read takes a path)")
        missing = {"value", "error", "truth", "root", "ts", "stat", "success"} - set(data.data_vars)
        if missing:
            msg = f"coverage without {', '.join(sorted(map(str, missing)))}"
            raise InputError(msg)
        self.data = data

    @property
    def pulls(self) -> xr.DataArray:
        """Distance to the truth in errors, along ``simulation`` and ``parameter``; NaN without success or error."""
        data = self.data
        error = data["error"].where((data["error"] > 0) & data["success"])
        return (data["value"] - data["truth"]) / error

    def summary(self) -> Table:
        """One row per free parameter.

        Columns: "name", "n" (simulations with an error), "pull_mean" and "pull_width" (root mean square) with "_err",
        "within_68" and "within_95": shares of simulations whose errors (one and two of them) include the truth. For
        profiled parameters also "interval_68", "interval_95": shares whose likelihood intervals (rise of the
        statistic by 1 and 4) include it, and "limit_95": share whose one-sided upper limits of 95 % (rise by 2.71)
        lie above it; NaN for others.
        """
        rows = []
        profiled = list(self.data["profiled"].values)
        for name in self.data["parameter"].values:
            pulls = self.pulls.sel(parameter=name).values
            pulls = pulls[np.isfinite(pulls)]
            n = len(pulls)
            width = math.sqrt(float(np.mean(pulls**2))) if n else math.nan
            row: dict[str, Any] = {
                "name": str(name),
                "n": n,
                "pull_mean": float(pulls.mean()) if n else math.nan,
                "pull_mean_err": width / math.sqrt(n) if n else math.nan,
                "pull_width": width,
                "pull_width_err": width / math.sqrt(2 * n) if n else math.nan,
                "within_68": _share(np.abs(pulls) <= 1),
                "within_95": _share(np.abs(pulls) <= 2),
            }
            known = name in profiled
            roots = self.data["root"].sel(profiled=name).values if known else np.zeros(0)
            roots = roots[np.isfinite(roots)]
            row |= {
                "interval_68": _share(np.abs(roots) <= 1),
                "interval_95": _share(np.abs(roots) <= 2),
                "limit_95": _share(roots >= -stats.norm.isf(1 - LIMIT)),
            }
            rows.append(row)
        return Table(rows)

    def goodness_of_fit(self) -> float:
        """Share of the simulations whose statistic at the minimum is at least that of the data: a p-value."""
        found = self.data["stat"].values
        found = found[np.isfinite(found)]
        worse = np.count_nonzero(found >= float(self.data["observed_stat"]))
        return float((worse + 1) / (len(found) + 1))

    def null_p_value(self, source: str) -> float:
        """Compare the TS of a source that is not there with half a χ² of one degree of freedom, as a p-value.

        Half of the values are expected at zero and the others follow χ², as where an amplitude may not be negative
        and its position and spectrum are fixed (Chernoff 1954). The number of those above zero and their distribution
        (Kolmogorov and Smirnov) are tested; twice the smaller p-value is returned.

        Parameters
        ----------
        source : str
            A source whose true amplitude is zero.

        Raises
        ------
        InputError
            If the TS of this source was not computed.
        """
        if source not in self.data["source"].values:
            known = ", ".join(map(str, self.data["source"].values)) or "none"
            msg = f"the TS of {source!r} was not computed; known: {known}"
            raise InputError(msg)
        ts = self.data["ts"].sel(source=source).values
        ts = np.maximum(ts[np.isfinite(ts)], 0.0)
        above = ts[ts > 1e-6]
        zero = stats.binomtest(len(above), len(ts), 0.5).pvalue
        shape = stats.kstest(above, stats.chi2(1).cdf).pvalue if len(above) else 1.0
        return float(min(1.0, 2 * min(zero, shape)))

    @property
    def n_success(self) -> int:
        """Number of simulations whose fit was a success."""
        return int(self.data["success"].sum())

    def __str__(self) -> str:
        n, table = self.data.sizes["simulation"], self.summary()
        width = max(len(name) for name in table["name"])
        share = (
            f"the statistic is as high as that of the data in {100 * self.goodness_of_fit():.1f} %"
        )
        text = [
            f"{counted(n, 'simulation')}, {self.n_success} fits a success; {share}",
            "",
            f"{'':{width}}{'pull':>16}{'width':>16}{'in 1σ':>8}{'in 2σ':>8}{'ΔS<1':>8}{'ΔS<4':>8}{'UL 95%':>8}",
        ]
        for row in table:
            shares = "".join(
                f"{100 * float(row[key]):8.1f}" if math.isfinite(row[key]) else f"{'':8}"
                for key in ("within_68", "within_95", "interval_68", "interval_95", "limit_95")
            )
            pull = f"{row['pull_mean']:7.3f} ± {row['pull_mean_err']:5.3f}"
            spread = f"{row['pull_width']:7.3f} ± {row['pull_width_err']:5.3f}"
            text.append(f"{row['name']:{width}}{pull:>16}{spread:>16}{shares}".rstrip())
        for name in self.data["source"].values:
            ts = self.data["ts"].sel(source=name).values
            low, middle, high = np.nanquantile(ts, [0.16, 0.5, 0.84])
            text.append(f"TS of {name}: median {middle:.2f}, {low:.2f} to {high:.2f} in 68 %")
        return "\n".join(text)

    def __repr__(self) -> str:
        sizes = self.data.sizes
        number = counted(sizes["simulation"], "simulation")
        return f"<Coverage of {counted(sizes['parameter'], 'parameter')} in {number}>"

    def plot(self) -> Figure:
        """Draw pulls, test statistics and the goodness of fit; see `gmdask.plot.plot_coverage`."""
        figure: Figure = draw("plot_coverage", self)
        return figure

    def write(self, path: str | Path, overwrite: bool = False) -> None:
        """Write a JSON file (schema: data_schemas/1.0/coverage.json).

        Parameters
        ----------
        path : str or path
        overwrite : bool
            Whether to replace an existing file.

        Raises
        ------
        StoreExistsError
            If the file exists and may not be overwritten.
        """
        content = {"schema": SCHEMA, **_plain(self.data.to_dict())}
        text = json.dumps(content, allow_nan=False, indent=1) + "\n"
        write_atomically(expanded(path), text.encode(), overwrite=overwrite)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file that `write` wrote.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        InputError
            If it is something else.
        """
        where = str(expanded(path))
        found = load_json(read_bytes(where, "coverage"), where)
        if problems := schema_problems(found, "coverage.json"):
            msg = f"{where}: is not the coverage of a fit: {'; '.join(problems)}"
            raise InputError(msg)
        found.pop("schema")
        try:
            data = xr.Dataset.from_dict(found)
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{where}: is not the coverage of a fit: {error}"
            raise InputError(msg) from error
        for key in ("value", "error", "root", "ts", "stat"):
            data[key] = data[key].astype(float)
        return cls(data)


def _share(inside: NDArray[np.bool_]) -> float:
    return float(inside.mean()) if len(inside) else math.nan


def _plain(data: Any) -> Any:
    """Return data for JSON, with None for numbers that are not finite."""
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
