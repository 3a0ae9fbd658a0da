"""A source seen by a dataset of one region: the fraction of it inside the region, at each energy."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.geometry import Axis, WcsGrid, Window, cutout_window, rotate
from gmdask.geometry.regions import Region
from gmdask.irf import PSFKernel
from gmdask.likelihood.anchor import CUTOUT_MARGIN, Anchor
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.convolution import Convolution
from gmdask.likelihood.corners import point_corners
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.operators import MatrixOperator, Operator, mask_response
from gmdask.likelihood.pixel_integral import PixelIntegral
from gmdask.models import ConstantFluxSpatialModel, PointSpatialModel, SpatialModel
from gmdask.sums import times

__all__ = ["RegionResponse", "region_response"]

Array = NDArray[np.float64]


class _Field(NamedTuple):
    """Pixels and true energies over which a spatial model is integrated."""

    grid: WcsGrid
    energy_true: Axis


class _Share(Protocol):
    """Fraction (T,) of a source inside the region, as a function of its S free spatial parameters."""

    negative: bool

    def at(self, values: Array, *, derivatives: bool) -> tuple[Array, Array]:
        """Fraction (T,) and its derivatives (S, T)."""
        ...

    def second(self, values: Array, weight: Array) -> Array:
        """Second derivatives (S, S) of the sum weighted with (T,)."""
        ...


class _ConstantShare:
    """A fraction that does not depend on the spatial parameters."""

    negative = False

    def __init__(self, share: Array, n_free: int) -> None:
        self._share, self._n = share, n_free

    def at(self, values: Array, *, derivatives: bool) -> tuple[Array, Array]:
        del values
        return self._share, np.zeros((self._n if derivatives else 0, len(self._share)))

    def second(self, values: Array, weight: Array) -> Array:
        del values, weight
        return np.zeros((self._n, self._n))


class _ExtendedShare:
    """Integral of a model over pixels, weighted with the region convolved with the PSF."""

    negative = False

    def __init__(self, weights: Array, integral: PixelIntegral, free: list[int]) -> None:
        self._weights, self._integral, self._free = weights, integral, free

    def _sum(self, image: Array) -> Array:
        rule = "tyx,...tyx->...t" if self._integral.per_energy else "tyx,...yx->...t"
        return np.asarray(np.einsum(rule, self._weights, image))

    def at(self, values: Array, *, derivatives: bool) -> tuple[Array, Array]:
        images = self._integral.images(values, self._free if derivatives else []).values
        return self._sum(images[0]), self._sum(images[1:])

    def second(self, values: Array, weight: Array) -> Array:
        image = weight[:, None, None] * self._weights
        if not self._integral.per_energy:
            image = image.sum(axis=0)
        return self._integral.second(values, self._free, image)


class _PointShare:
    """Weights of the region convolved with the PSF, at the four pixels around a point source."""

    negative = False

    def __init__(
        self, weights: Array, grid: WcsGrid, spatial: SpatialModel, free: list[int]
    ) -> None:
        self._weights, self._grid, self._spatial, self._free = weights, grid, spatial, free

    def _corners(self, values: Array, *, derivatives: bool) -> Array:
        """Fraction (1 + S + S², T), with its derivatives."""
        pixels, shares = point_corners(
            self._grid, self._spatial.frame, values, self._free, derivatives=derivatives
        )
        at = np.zeros((len(pixels), len(self._weights)))
        for row, (y, x) in zip(at, pixels, strict=True):
            if 0 <= y < self._grid.shape[0] and 0 <= x < self._grid.shape[1]:
                row[:] = self._weights[:, y, x]
        return times(shares, at)

    def at(self, values: Array, *, derivatives: bool) -> tuple[Array, Array]:
        found = self._corners(values, derivatives=derivatives)
        return found[0], found[1 : 1 + len(self._free)]

    def second(self, values: Array, weight: Array) -> Array:
        n = len(self._free)
        found = self._corners(values, derivatives=True)[1 + n :]
        return times(found, weight).reshape(n, n)


class RegionResponse:
    """Response of a region to a source.

    Parameters
    ----------
    share : `_Share`
        Fraction of the source inside the region.
    anchor : `Anchor`
    bins : `Bins`
    """

    after_edisp = False

    def __init__(self, share: _Share, anchor: Anchor, bins: Bins) -> None:
        self._share = share
        self._bins = np.ascontiguousarray(anchor.edisp.T[bins.r] * anchor.exposure[:, 0, 0])
        self._sums = mask_response(anchor)[:, 0, 0]

    @property
    def nbytes(self) -> int:
        """Bytes of the kept arrays."""
        return self._bins.nbytes + self._sums.nbytes

    def operator(self, values: Array, *, derivatives: bool) -> Operator:
        """Return the operator at some values of the spatial parameters."""
        share, slopes = self._share.at(values, derivatives=derivatives)

        def second(f: Array, w: Array, w_sum: float) -> Array:
            return self._share.second(values, f * (times(w, self._bins) + w_sum * self._sums))

        return MatrixOperator(
            self._bins * share, self._sums * share, self._bins * slopes[:, None, :],
            self._sums * slopes, second, bool((share < 0).any()),
        )  # fmt: skip


def region_response(
    observation: Observation,
    spatial: SpatialModel,
    values: Array,
    apply_irf: dict[str, bool],
    bins: Bins,
    free: list[int],
) -> RegionResponse | None:
    """Response of a region to a model at some parameter values, None if it does not reach the region.

    Parameters
    ----------
    observation : `Observation`
        Observation of one region; if the region is not known, every source is inside.
    spatial : `SpatialModel`
    values : array
        Its parameters, in its internal units.
    apply_irf : dict
    bins : `Bins`
    free : list of int
        Free parameters.

    Raises
    ------
    ModelError
        If the PSF is given in reconstructed energy.

    Notes
    -----
    As Gammapy's ``MapEvaluator`` on a ``RegionGeom``. Without a PSF, a source is either completely inside the
    region or not at all. For a point source in a circle, the PSF's containment at the centre of its map is used.
    Other models are integrated over pixels, convolved, and weighted with the fraction of each pixel
    that is inside the region.
    """
    region = observation.region
    center, radius = spatial.center(values), spatial.evaluation_radius(values)
    n_true = observation.energy_true.nbin
    share: _Share = _ConstantShare(np.ones(n_true), len(free))
    kernel: PSFKernel | None = None
    pixel = Window(0, 1, 0, 1)
    exposure, mask = observation.exposure_and_mask(pixel, "region")
    if not apply_irf["exposure"]:
        exposure = np.ones((n_true, 1, 1))
    edisp = observation.edisp_at(center, spatial.frame, apply_irf["edisp"])
    anchor = Anchor(None, edisp, pixel, exposure, mask)
    if region is None:
        return RegionResponse(share, anchor, bins)
    psf = None if isinstance(spatial, ConstantFluxSpatialModel) else observation.psf
    if psf is not None and observation.psf_energy != "energy_true":
        msg = f"dataset {observation.name!r}: a PSF in reconstructed energy cannot be used on a region"
        raise ModelError(msg)
    contained = (
        isinstance(spatial, PointSpatialModel) and region.radius is not None and apply_irf["psf"]
    )
    if psf is not None and contained and region.radius is not None:
        energies = observation.energy_true.center
        held = psf.containment(*psf.grid.center, energies, region.radius)
        share = _ConstantShare(held, len(free))
    elif psf is not None and apply_irf["psf"]:
        kernel = observation.kernel_on(center, spatial.frame, region.grid())
    width = 0.0 if kernel is None else kernel.width
    if center is not None and radius is not None:
        reach = 2 * radius + CUTOUT_MARGIN + width
        if not _reaches(region, center, spatial.frame, reach):
            return None
    if psf is not None and not contained:
        grid = region.grid(width + 2 * ((radius or 0.0) + CUTOUT_MARGIN))
        share = _integrated(observation, region, grid, kernel, spatial, values, free)
    return RegionResponse(share, anchor, bins)


def _integrated(
    observation: Observation,
    region: Region,
    grid: WcsGrid,
    kernel: PSFKernel | None,
    spatial: SpatialModel,
    values: Array,
    free: list[int],
) -> _Share:
    """Fraction of a model by integration over pixels."""
    n_true = observation.energy_true.nbin
    inside = np.broadcast_to(region.weights(grid), (n_true, *grid.shape))
    planes = None if kernel is None else kernel.values
    weights = Convolution(planes, n_true, grid.shape).apply(inside)
    if isinstance(spatial, PointSpatialModel):
        return _PointShare(weights, grid, spatial, free)
    window = Window(0, grid.shape[0], 0, grid.shape[1])
    field = _Field(grid, observation.energy_true)
    return _ExtendedShare(weights, PixelIntegral(field, window, spatial, values), free)


def _reaches(region: Region, center: tuple[float, float], frame: str, width: float) -> bool:
    """Whether any pixel of the region is within a square around a position, by Gammapy's rule."""
    if region.is_point:
        return True
    grid = region.grid()
    x, y = grid.to_pixel(*rotate(*center, frame, grid.frame))
    npix = [round(max(width / scale, 1.0)) for scale in grid.pixel_scales[::-1]]
    window = cutout_window(grid.shape, (float(y), float(x)), (npix[0], npix[1]))
    return window is not None and bool(region.mask(grid)[window.slices].any())
