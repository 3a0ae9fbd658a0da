"""Draws from a posterior, with their convergence and summary."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xarray as xr
from astropy.table import Table
from numpy.typing import NDArray

from gmdask.atomic_files import temporary_beside
from gmdask.attributes import KnownAttributes
from gmdask.drawing import draw
from gmdask.errors import InputError, InputNotFoundError, StoreExistsError, check_kind
from gmdask.events import counted
from gmdask.models.units import unit_text
from gmdask.paths import expanded
from gmdask.sampling.diagnostics import ess_bulk, ess_tail, r_hat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Posterior"]

Array = NDArray[np.float64]

KIND = "gmdask posterior 1.0"
GROUPS = ("posterior", "sample_stats")
LARGEST_R_HAT = 1.01
LEAST_ESS = 100.0  # per chain
QUANTILES = {"median": 0.5, "q16": 0.15865525393145707, "q84": 0.8413447460685429}


class Posterior(KnownAttributes):
    """Draws from the posterior of the parameters of a fit.

    Parameters
    ----------
    posterior : `xarray.Dataset`
        One variable per parameter, by its full name, along ``chain`` and ``draw``; units are attributes.
    sample_stats : `xarray.Dataset`
        Along the same: ``lp`` (log density), ``acceptance_rate``, ``diverging``, ``n_steps`` (evaluations).

    Notes
    -----
    These are the groups of ArviZ's layout, and of the file: ``arviz.from_zarr`` and
    ``xarray.open_datatree`` read what `write` wrote.
    """

    def __init__(self, posterior: xr.Dataset, sample_stats: xr.Dataset) -> None:
        for data in (posterior, sample_stats):
            check_kind(data, xr.Dataset, "an xarray.Dataset (Posterior.read takes a path)")
        if not {"chain", "draw"} <= set(posterior.dims) or posterior.sizes["draw"] < 4:
            msg = f"draws have the dimensions {dict(posterior.sizes)}, expected chain, and draw of at least 4"
            raise InputError(msg)
        self.posterior, self.sample_stats = posterior, sample_stats

    @property
    def names(self) -> list[str]:
        """Full names of the parameters."""
        return [str(name) for name in self.posterior.data_vars]

    def values(self, names: Sequence[str] | None = None) -> Array:
        """Draws of some parameters, by default all, with chains one after the other.

        Parameters
        ----------
        names : sequence of str, optional

        Returns
        -------
        values : array of shape (chain * draw, parameter)

        Raises
        ------
        InputError
            If a parameter was not sampled.
        """
        chosen = self.names if names is None else list(names)
        for name in chosen:
            if name not in self.posterior.data_vars:
                msg = f"parameter {name!r} was not sampled: there are {', '.join(self.names)}"
                raise InputError(msg)
        return np.stack([self.posterior[name].values.ravel() for name in chosen], axis=1)

    def summary(self) -> Table:
        """One row per parameter: mean, standard deviation, quantiles, R-hat and effective sample sizes.

        The columns are "name", "unit", "mean", "sd", "median", "q16" and "q84" (between which are 68.3 % of the
        draws), in the unit of the row, "ess_bulk", "ess_tail" and "r_hat" (rank-normalised, of split chains; Vehtari et
        al. 2021).
        """
        rows = []
        for name in self.names:
            draws = self.posterior[name].values
            rows.append({
                "name": name,
                "unit": self.posterior[name].attrs.get("units", ""),
                "mean": float(draws.mean()),
                "sd": float(draws.std(ddof=1)),
                **{key: float(np.quantile(draws, q)) for key, q in QUANTILES.items()},
                "ess_bulk": ess_bulk(draws),
                "ess_tail": ess_tail(draws),
                "r_hat": r_hat(draws),
            })  # fmt: skip
        return Table(rows)

    @property
    def success(self) -> bool:
        """Whether no `problems` were found."""
        return not self.problems()

    def problems(self) -> list[str]:
        """Describe what speaks against convergence: R-hat of 1.01 or more, few effective samples, divergent steps."""
        table, found = self.summary(), []
        least = LEAST_ESS * self.posterior.sizes["chain"]
        for bad, what in (
            (~(table["r_hat"] < LARGEST_R_HAT), f"R-hat is {LARGEST_R_HAT} or more"),
            (table["ess_bulk"] < least, f"less than {least:.0f} effective samples"),
            (table["ess_tail"] < least, f"less than {least:.0f} effective samples in the tails"),
        ):
            if (names := [str(name) for name in table["name"][bad]]) != []:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                found.append(f"{what}: {', '.join(names[:3])}{more}")
        diverging = int(self.sample_stats["diverging"].sum())
        if diverging:
            found.append(counted(diverging, "divergent step"))
        return found

    @property
    def message(self) -> str:
        """What the draws are, and whether they converged, in words."""
        sizes, attrs = self.posterior.sizes, self.posterior.attrs
        table = self.summary()
        ends = "; ".join(self.problems()) or "converged"
        return (
            f"{counted(sizes['chain'], 'chain')} of {counted(sizes['draw'], 'draw')}, nuisances "
            f"{attrs.get('nuisances', 'unknown')}; at least {min(table['ess_bulk']):.0f} effective samples, "
            f"R-hat at most {max(table['r_hat']):.4f}: {ends}"
        )

    def __str__(self) -> str:
        table = self.summary()
        width = max(len(name) for name in table["name"])
        heads = ("mean", "sd", "q16", "q84")
        lines = [
            self.message,
            "",
            f"{'':{width}}" + "".join(f"{h:>13}" for h in heads) + f"{'ess':>8}{'R-hat':>8}",
        ]
        for row in table:
            numbers = "".join(f"{float(row[head]):13.5g}" for head in heads)
            ends = (
                f"{float(row['ess_bulk']):8.0f}{float(row['r_hat']):8.3f}  {unit_text(row['unit'])}"
            )
            lines.append(f"{row['name']:{width}}{numbers}{ends}".rstrip())
        return "\n".join(lines)

    def __repr__(self) -> str:
        sizes = self.posterior.sizes
        return (
            f"<Posterior of {counted(len(self.names), 'parameter')}: {counted(sizes['chain'], 'chain')} "
            f"of {counted(sizes['draw'], 'draw')}>"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self.message}</p>{self.summary()._repr_html_()}"

    def to_datatree(self) -> xr.DataTree:
        """Return both groups as a `xarray.DataTree`, which ArviZ reads."""
        return xr.DataTree.from_dict(
            dict(zip(GROUPS, (self.posterior, self.sample_stats), strict=True))
        )

    def plot_corner(self, names: Sequence[str] | None = None, **options: Any) -> Figure:
        """Draw the distributions of parameters and pairs of them; see `gmdask.plot.plot_corner`.

        Parameters
        ----------
        names : sequence of str, optional
            Full names of parameters.
        **options
            Passed on.
        """
        figure: Figure = draw("plot_corner", self, names, **options)
        return figure

    def write(self, path: str | Path, overwrite: bool = False) -> None:
        """Write a Zarr folder, completely or not at all.

        Parameters
        ----------
        path : str or path
        overwrite : bool
            Whether to replace an earlier posterior.

        Raises
        ------
        StoreExistsError
            If the path exists, and is no posterior or may not be overwritten.
        """
        place = expanded(path)
        if place.exists() and not (overwrite and _kind_of(place) == KIND):
            msg = f"{place}: already exists" + (" and is no posterior" if overwrite else "")
            raise StoreExistsError(msg)
        tree = self.to_datatree()
        tree.attrs |= {"schema": KIND, "parameters": self.names}  # Zarr does not keep the order
        temporary = temporary_beside(place)
        try:
            tree.to_zarr(temporary, zarr_format=3, consolidated=False)
            if place.exists():
                shutil.rmtree(place)
            temporary.rename(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a posterior that `write` wrote.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        InputError
            If it is something else.
        """
        place = expanded(path)
        if not place.exists():
            msg = f"{place}: does not exist"
            raise InputNotFoundError(msg)
        if _kind_of(place) != KIND:
            msg = f"{place}: is no posterior written by gmdask"
            raise InputError(msg)
        try:
            with xr.open_datatree(place, engine="zarr", consolidated=False) as tree:
                posterior, stats = (tree[group].to_dataset().load() for group in GROUPS)
                posterior = posterior[list(tree.attrs["parameters"])]
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = f"{place}: cannot be read as a posterior: {error}"
            raise InputError(msg) from error
        return cls(posterior, stats)


def _kind_of(place: Path) -> object:
    """Return what a Zarr folder says that it is, None if nothing."""
    from gmdask.inputs import load_json, read_bytes

    metadata = place / "zarr.json"
    if not metadata.is_file():
        return None
    found = load_json(read_bytes(metadata, "metadata of a posterior"), str(metadata))
    attributes = found.get("attributes") if isinstance(found, dict) else None
    return attributes.get("schema") if isinstance(attributes, dict) else None
