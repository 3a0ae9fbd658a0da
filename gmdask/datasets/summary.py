"""Summary of a dataset, as in Gammapy's ``info_dict``, and as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u

from gmdask.datasets.operations.arrays import double
from gmdask.datasets.operations.gti import ontime

__all__ = ["counts_summary", "exposure_summary", "html_table", "rates"]

NAN = math.nan


def counts_summary(
    counts: xr.DataArray, background: xr.DataArray | None, template: xr.DataArray | None, mask: Any
) -> dict[str, Any]:
    """Return the counts in a mask, and their significance above a known background.

    Parameters
    ----------
    counts : `xarray.DataArray`
    background, template : `xarray.DataArray` or None
        As predicted by its model, and without it.
    mask : boolean array or ...
    """
    n = float(double(counts.variable).values[mask].sum())
    info: dict[str, Any] = {"counts": int(n), "excess": NAN, "sqrt_ts": NAN, "background": NAN}
    if background is None or template is None:
        return info
    mu = float(background.values[mask].sum())
    term = n * math.log(n / mu) if n > 0 and mu > 0 else 0.0
    ts = 2 * (mu - n + term) if mu > 0 or n == 0 else math.inf
    info["excess"] = n - mu
    info["sqrt_ts"] = math.copysign(math.sqrt(max(ts, 0.0)), n - mu)
    info["background"] = float(template.values[mask].sum(dtype=np.float64))
    return info


def exposure_summary(exposure: xr.DataArray, image: Any | None) -> dict[str, Any]:
    """Return the smallest and largest exposure that is not zero, and the livetime.

    Parameters
    ----------
    exposure : `xarray.DataArray`
    image : boolean array (lat, lon) or None
        Pixels that count.
    """
    values = exposure.values
    mask = values > 0
    if image is not None:
        mask &= image
    chosen = values[mask] if mask.any() else values.ravel()
    unit = u.Unit(exposure.attrs.get("unit", ""))
    livetime = exposure.attrs.get("meta", {}).get("livetime")
    return {
        "exposure_min": float(chosen.min()) * unit,
        "exposure_max": float(chosen.max()) * unit,
        "livetime": NAN * u.s if livetime is None else u.Quantity(livetime),
    }


def rates(info: dict[str, Any], cube: xr.Dataset) -> dict[str, Any]:
    """Return the time on source, and counts per livetime.

    Parameters
    ----------
    info : dict
        Has livetime, counts, background and excess.
    cube : `xarray.Dataset`
    """
    seconds = ontime(cube)
    per_time = {
        f"{key}_rate": info[key] / info["livetime"] for key in ("counts", "background", "excess")
    }
    return {"ontime": (NAN if seconds is None else seconds) * u.s, **per_time}


def html_table(title: str, cube: xr.Dataset, lines: Sequence[tuple[str, str]]) -> str:
    """Return a dataset as HTML: axes, arrays with sizes and chunks, and further lines.

    Parameters
    ----------
    title : str
    cube : `xarray.Dataset`
    lines : sequence of tuple of str
        Further headings and texts.
    """
    rows = [
        f"<tr><td>{escape(str(key))}</td><td>{escape(' × '.join(map(str, array.dims)))}</td>"
        f"<td>{escape(' × '.join(map(str, array.shape)))}</td><td>{array.dtype}</td>"
        f"<td>{escape(array.attrs.get('unit', '') or '-')}</td><td>{_bytes(array.nbytes)}</td>"
        f"<td>{escape(_chunks(array))}</td></tr>"
        for key, array in cube.data_vars.items()
    ]
    heads = ("array", "axes", "shape", "type", "unit", "in memory", "chunks")
    head = "".join(f"<th>{name}</th>" for name in heads)
    further = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in lines
    )
    axes = "".join(
        f"<tr><td>{escape(str(key))}</td><td>{escape(_axis_text(cube, str(key)))}</td></tr>"
        for key in cube.coords
        if key in cube.dims
    )
    return (
        f"<b>{escape(title)}</b><table>{axes}{further}</table>"
        f"<details><summary>{len(rows)} arrays, {_bytes(cube.nbytes)}</summary>"
        f"<table><tr>{head}</tr>{''.join(rows)}</table></details>"
    )


def _axis_text(cube: xr.Dataset, dim: str) -> str:
    edges = cube.get(f"{dim}_edges", cube[dim]).values
    unit, interp = cube[dim].attrs.get("unit", ""), cube[dim].attrs.get("interp", "")
    bounds = f"{edges[0]:.4g} to {edges[-1]:.4g} {unit}".strip()
    return f"{cube.sizes[dim]} bins, {bounds}, {interp}"


def _chunks(array: xr.DataArray) -> str:
    if array.chunks is None:
        return "-"
    return " × ".join(str(max(sizes)) for sizes in array.chunks)


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"
