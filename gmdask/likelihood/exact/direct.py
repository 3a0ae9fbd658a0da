"""A sky model without a PSF: integrated over pixels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gmdask.geometry import Grid, Window, rotate
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.exact.footprints import pairs
from gmdask.likelihood.exact.irfs import edisp_jet
from gmdask.likelihood.exact.located import LocatedSource, Places
from gmdask.likelihood.exact.operator import ByShape, ExactOperator
from gmdask.likelihood.exact.patch import Patch, source_axes
from gmdask.likelihood.exact.pixel_shapes import Pixels, reach_of, shape_in_pixels
from gmdask.likelihood.exact.radial import DEG
from gmdask.likelihood.exact.transforms import has_transform
from gmdask.likelihood.observation import Keep, Observation
from gmdask.models import PointSpatialModel, SpatialModel
from gmdask.sums import times

__all__ = ["DirectSource", "direct_source"]

Array = NDArray[np.float64]


def direct_source(
    observation: Observation, bins: Bins, spatial: SpatialModel,
    apply_irf: dict[str, bool], free: list[int], keep: Keep,
) -> DirectSource | None:  # fmt: skip
    """Response of a map to a known shape without a PSF, None if it does not apply."""
    seen = observation.psf_energy is not None and apply_irf["psf"]
    if seen or observation.is_region or not has_transform(spatial):
        return None
    return DirectSource(observation, bins, spatial, apply_irf, free, keep)


class DirectSource(LocatedSource):
    """Response to one sky model in the bins of one dataset; see `direct_source`.

    See `LocatedSource`.
    """

    _corners: tuple[Patch, Array, float] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the kept pixels."""
        return super().nbytes + (0 if self._corners is None else self._corners[1].nbytes)

    def forget(self) -> None:
        """Release the pixels."""
        super().forget()
        self._corners = None

    def compile(self, values: Array) -> None:
        """See `LocatedSource`."""
        self.operator(values, derivatives=False)

    def _reach(self, values: Array) -> float:
        is_point = isinstance(self._spatial, PointSpatialModel)
        return 0.0 if is_point else reach_of(self._spatial, values)

    def operator(self, values: Array, *, derivatives: bool) -> tuple[ExactOperator | None, Places]:
        """See `LocatedSource`."""
        patch = self._patch_at(values)
        if patch is None:
            return None, np.zeros(0, dtype=np.intp)
        position, frame = self._spatial.position_at(values), self._spatial.frame
        edisp = edisp_jet(self._observation, position, frame, apply=self._apply["edisp"])
        free = len(self._free) if derivatives else 0
        prints = self._prints(patch, values, 1 if free else 0)

        def second() -> Array:
            return self._prints(patch, values, 2)

        response = self._by_shape(edisp, free)
        return DirectOperator(prints, patch, self._shares, response, second), self._places

    def _prints(self, patch: Patch, values: Array, order: int) -> Array:
        """Fraction of the source in each pixel, with derivatives: (row, lat, lon), as in `footprints`."""
        free = [self._spatial.parameter_names[k] for k in self._free] if order else []
        n_s = len(free)
        out = np.zeros((1 + n_s + (n_s * (n_s + 1) // 2 if order > 1 else 0), *patch.window.shape))
        if isinstance(self._spatial, PointSpatialModel):  # one pixel contains all of it
            x, y = self._observation.grid.to_pixel(
                *rotate(
                    *self._spatial.position_at(values),
                    self._spatial.frame,
                    self._observation.grid.frame,
                )
            )
            row, column = math.floor(y + 0.5) - patch.y0, math.floor(x + 0.5) - patch.x0
            if 0 <= row < out.shape[1] and 0 <= column < out.shape[2]:
                out[0, row, column] = 1.0
            return out
        axes = source_axes(
            self._spatial.position_at(values), self._spatial.frame, self._observation.grid
        )
        pixels = self._pixels(patch, axes, self._reach(values))
        found = shape_in_pixels(self._spatial, values, free, axes, pixels, order)
        out[0], out[1 : 1 + n_s] = found.value, found.first
        for k, (s, u) in enumerate(pairs(n_s) if order > 1 else []):
            out[1 + n_s + k] = found.second[s, u]
        return out

    def _pixels(self, patch: Patch, axes: Array, reach: float) -> Pixels:
        """Unmasked pixels within reach of the source."""
        if self._corners is None or self._corners[0] is not patch:
            points = _half_steps(self._observation.grid, patch.window)
            points = self._keep(points) if self._free else points
            self._corners = patch, points, _orientation(patch)
        _, points, sign = self._corners
        apart = np.sqrt(((patch.vectors[:, 1:-1, 1:-1] - axes[2][:, None, None]) ** 2).sum(axis=0))
        near = apart < 2 * math.sin(min(reach, 180.0) * DEG / 2) + patch.diagonal
        near &= (patch.pattern >= 0) | (patch.place >= 0)
        return Pixels(points, near, sign)


def _half_steps(grid: Grid, window: Window) -> Array:
    """Directions (2 lat + 1, 2 lon + 1, 3) of the corners of pixels and the midpoints of edges."""
    rows = np.arange(2 * window.shape[0] + 1) / 2 + window.y0 - 0.5
    columns = np.arange(2 * window.shape[1] + 1) / 2 + window.x0 - 0.5
    y, x = np.meshgrid(rows, columns, indexing="ij")
    lon, lat = (a * DEG for a in grid.to_sky(x, y))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _orientation(patch: Patch) -> float:
    """Sign of integrals along the edges: the scaled plane, of major and minor axis, is left-handed."""
    along, up = (
        np.diff(patch.vectors[:, 1:], axis=2)[:, :, 1:],
        np.diff(patch.vectors[:, :, 1:], axis=1)[:, 1:],
    )
    n_y, n_x = min(along.shape[1], up.shape[1]), min(along.shape[2], up.shape[2])
    along, up = along[:, :n_y, :n_x], up[:, :n_y, :n_x]
    outward = (np.cross(along, up, axis=0) * patch.vectors[:, 1 : 1 + n_y, 1 : 1 + n_x]).sum(axis=0)
    return -float(np.sign(np.nansum(outward)))


class DirectOperator(ExactOperator):
    """``M[k, t] = R[t, r_k] E[t, p_k] I[p_k]``, with I the fraction of a source in a pixel.

    All spatial parameters affect I, and the position also affects the energy dispersion R.

    Parameters
    ----------
    prints : array of shape (1 + S, lat, lon)
        I and its derivatives.
    patch, shares, edisp
        See `ExactOperator`.
    second : callable
        Returns `prints` with second derivatives.
    """

    def __init__(
        self,
        prints: Array,
        patch: Patch,
        shares: Array,
        edisp: ByShape,
        second: Callable[[], Array],
    ) -> None:
        self._prints, self._with_second = prints, second
        n_s = len(edisp.first)
        whole = ByShape(np.ones((shares.shape[1], 1, 1)), [None] * n_s, {})
        self._hold(patch, shares, edisp, whole, list(range(n_s)), lambda: whole)
        at = np.flatnonzero(patch.place.ravel() >= 0)
        pixels = np.empty(len(at), dtype=np.intp)
        pixels[patch.place.ravel()[at]] = at
        self._pixel_of_bin = np.repeat(pixels, np.diff(patch.starts))

    @property
    def nbytes(self) -> int:
        """Bytes held, without the patch."""
        return self._prints.nbytes + self._pixel_of_bin.nbytes

    def _maps(self) -> Array:
        """Maps (pixel, K) into which the exposure is decomposed."""
        maps = self._patch.exposure
        return maps.reshape(-1, maps.shape[2]).astype(np.float64)

    def _sums(self, prints: Array, maps: Array) -> Array:
        """Sums (pattern, row, K) of prints times maps over the pixels of each pattern."""
        patch, flat = self._patch, prints.reshape(len(prints), -1)
        out = np.zeros((len(patch.patterns), len(prints), maps.shape[1]))
        seen = np.flatnonzero(patch.pattern.ravel() >= 0)
        pattern = patch.pattern.ravel()[seen]
        for row, own in enumerate(flat[:, seen]):
            for j in range(maps.shape[1]):
                out[:, row, j] = np.bincount(pattern, own * maps[seen, j], len(out))
        return out

    def _at_bins(self, n_g: int, folded: Array) -> tuple[Array, Array]:
        patch, maps, pixel = self._patch, self._maps(), self._pixel_of_bin
        prints, columns = self._prints[: 1 + n_g], folded
        flat, n_c = prints.reshape(1 + n_g, -1)[:, pixel], columns.shape[1]
        sums = self._sums(prints, maps)
        masked = times(patch.patterns.T, sums)  # (R, row, K)
        counts, totals = np.zeros((len(patch.r), n_c + n_g)), np.zeros(n_c + n_g)
        for c in range(n_c):
            of_unit = (columns[patch.r, c] * maps[pixel]).sum(axis=1)
            counts[patch.order, c] = flat[0] * of_unit
            totals[c] = (masked[:, 0] * columns[:, c]).sum()
            for g in range(n_g if c == 0 else 0):
                counts[patch.order, n_c + g] = flat[1 + g] * of_unit
                totals[n_c + g] = (masked[:, 1 + g] * columns[:, c]).sum()
        return counts, totals

    def _onto(self, w: Array, w_sum: float, size: int) -> Array:
        patch, maps, pixel = self._patch, self._maps(), self._pixel_of_bin
        prints = self._with_second()
        weighted = w[patch.order] * prints.reshape(len(prints), -1)[:, pixel]
        out = np.zeros((patch.patterns.shape[1], len(prints), size))
        for row, own in enumerate(weighted):
            for j in range(maps.shape[1]):
                out[:, row, j] = np.bincount(patch.r, own * maps[pixel, j], len(out))
        out += w_sum * times(patch.patterns.T, self._sums(prints, maps))
        return out
