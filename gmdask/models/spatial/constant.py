"""Spatial models that are the same everywhere."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spatial.base import SkyGrid, SpatialModel

__all__ = ["ConstantFluxSpatialModel", "ConstantSpatialModel"]

Array = NDArray[np.float64]


class _Everywhere(SpatialModel):
    """A model without a position, whose frame is irrelevant."""

    def extra_to_dict(self) -> dict[str, Any]:
        """Return nothing, since there is no frame to write."""
        return {}

    def to_region(self, size_factor: float = 1.0) -> Any:  # noqa: ARG002
        """Return a rectangle that covers the whole sky."""
        from gmdask.models.spatial.outlines import rectangle

        return rectangle(self.frame, (0, 0), (360, 180))


@register
class ConstantSpatialModel(_Everywhere):
    """A constant density.

    Parameters
    ----------
    value : Quantity
        Density.
    """

    tag = ("ConstantSpatialModel", "const")
    defaults = (ParameterDefault("value", 1.0, "sr-1", frozen=True),)
    value: Parameter

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:
        """Density in sr-1."""
        return np.full(grid.shape, values[0])

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:
        """Density and its derivative [1, ...]."""
        return self.evaluate(grid, *values), np.ones((1, *grid.shape))


@register
class ConstantFluxSpatialModel(_Everywhere):
    """The same flux in every pixel: the integral over each pixel is 1, whatever its size."""

    tag = ("ConstantFluxSpatialModel", "const-flux")
    per_pixel: ClassVar[bool] = True

    def evaluate(self, grid: SkyGrid, *values: float) -> Array:  # noqa: ARG002
        """Return one per pixel."""
        return np.ones(grid.shape)

    def gradient(self, grid: SkyGrid, *values: float) -> tuple[Array, Array]:  # noqa: ARG002
        """Return one per pixel, and no derivatives."""
        return np.ones(grid.shape), np.zeros((0, *grid.shape))
