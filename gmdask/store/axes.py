"""Axes as coordinates of a cube: bin centres with their scale and unit, and the edges."""

from __future__ import annotations

import numpy as np
import xarray as xr
from astropy.units import Unit

from gmdask.geometry import Axis

__all__ = ["axis_coords", "cube_axis", "same_axis"]

AXIS_RTOL = 1e-6


def axis_coords(dim: str, axis: Axis) -> dict[str, xr.Variable]:
    """Return the coordinates of a dimension.

    Parameters
    ----------
    dim : str
        Name of the dimension, which may differ from that of the axis.
    axis : Axis
        The axis, with its unit.

    Returns
    -------
    dict
        `dim`, the centres, and ``<dim>_edges`` if the axis has edges.
    """
    attrs = {"unit": axis.unit, "interp": axis.interp, "node_type": axis.node_type}
    coords = {dim: xr.Variable((dim,), axis.center, attrs)}
    if axis.node_type == "edges":
        coords[f"{dim}_edges"] = xr.Variable((f"{dim}_edge",), axis.nodes, {"unit": axis.unit})
    return coords


def cube_axis(cube: xr.Dataset | xr.DataArray, dim: str, unit: str | None = None) -> Axis:
    """Return the axis of a dimension of a cube.

    Parameters
    ----------
    cube : xarray.Dataset or xarray.DataArray
    dim : str
        The dimension; the axis is named after it.
    unit : str, optional
        Unit of its nodes; by default that of the cube.
    """
    coord = cube.coords[dim]
    own = str(coord.attrs.get("unit", ""))
    node_type = str(coord.attrs.get("node_type", "edges"))
    nodes = np.asarray(
        (cube.coords[f"{dim}_edges"] if node_type == "edges" else coord).values, float
    )
    if unit is not None:
        nodes = nodes * Unit(own).to(unit)
    return Axis(dim, nodes, str(coord.attrs["interp"]), node_type, own if unit is None else unit)


def same_axis(one: Axis, other: Axis) -> bool:
    """Whether two axes have the same bins, whatever their units and names."""
    if one.nbin != other.nbin or one.node_type != other.node_type:
        return False
    unit, other_unit = Unit(one.unit), Unit(other.unit)
    if not unit.is_equivalent(other_unit):
        return False
    nodes = other.nodes * other_unit.to(unit)
    return bool(np.allclose(one.nodes, nodes, rtol=AXIS_RTOL, atol=0))
