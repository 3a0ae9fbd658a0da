"""The background of one dataset: its template times a norm per energy and, optionally, a norm on the sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.geometry import rotate
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.statistics import Terms
from gmdask.models import (
    BackgroundIRFModel,
    DatasetModels,
    PointSpatialModel,
    SkyGrid,
    SpatialModel,
    SpectralModel,
)
from gmdask.sums import gram, times

__all__ = ["Background", "SpatialBackground", "background_of", "make_background"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def background_of(models: DatasetModels, observation: Observation) -> BackgroundIRFModel | None:
    """Return the background model of a dataset, if there is one.

    Raises
    ------
    ModelError
        If there is more than one, or the dataset has no background.
    """
    found = [model for model in models if isinstance(model, BackgroundIRFModel)]
    if len(found) > 1:
        names = ", ".join(model.name for model in found)
        msg = f"dataset {observation.name!r}: more than one background model ({names})"
        raise ModelError(msg)
    if found and observation.background is None:
        msg = f"dataset {observation.name!r}: has no background, but a background model {found[0].name!r}"
        raise ModelError(msg)
    return found[0] if found else None


class Background:
    """Background of one dataset in its bins.

    The norm is evaluated at the centres of the reconstructed energy bins, so that all computations
    are per energy: with g[r] the norm, the counts are ``b[k] g[r_k]``.

    Parameters
    ----------
    observation : `Observation`
        An observation with a background.
    bins : `Bins`
    model : `SpectralModel` or None
        Norm; None for a norm of 1.

    Attributes
    ----------
    template : array of shape (bin,)
        Background in the bins.
    sums : array of shape (R,)
        Its sum over the mask, per energy.
    negative : bool
        Whether the template is negative anywhere in the mask.
    """

    def __init__(self, observation: Observation, bins: Bins, model: SpectralModel | None) -> None:
        background = _template_of(observation)
        self.template = background[bins.r, bins.y, bins.x]
        self.sums: Array = np.where(observation.mask, background, 0.0).sum(axis=(1, 2))
        self.negative = bool((background[observation.mask] < 0).any())
        self._model, self._energy = model, observation.energy.center
        self._n = np.bincount(
            bins.r, minlength=len(self.sums)
        )  # number of bins per energy, in order

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.template.nbytes + self.sums.nbytes

    def keep(self, keep: Keep) -> None:
        """Move large arrays to where `keep` puts them."""
        self.template = keep(self.template)

    def predict(self, values: Array) -> tuple[Array, float, float]:
        """Return counts (bin,), their masked sum, and a negative number if the norm may be negative."""
        norm = self._norm(values)
        counts = self.template * np.repeat(norm, self._n)
        return counts, float(times(self.sums, norm)), float(norm.min())

    def jacobian(self, values: Array, places: Index) -> tuple[Array, Array]:
        """Return derivatives (P, bin) of counts and (P,) of their sum by parameters at `places`."""
        slopes = self._gradient(values)[places]
        return self.template * np.repeat(slopes, self._n, axis=1), times(slopes, self.sums)

    def curvature(self, values: Array, places: Index, terms: Terms) -> Array:
        """Second derivatives (P, P) of the counts, summed with the first ones of the statistic."""
        return self._curvature(values, places, self._per_energy(terms)[0])

    def _curvature(self, values: Array, places: Index, first: Array) -> Array:
        if self._model is None:
            return np.zeros((len(places), len(places)))
        second = self._model.hessian(self._energy, *values.tolist())
        return times(second[np.ix_(places, places)], first)

    def derivatives(self, values: Array, places: Index, terms: Terms) -> tuple[Array, Array]:
        """Gradient (P,) and Hessian (P, P) of the statistic."""
        first, second = self._per_energy(terms)
        slopes = self._gradient(values)[places]
        curvature = self._curvature(values, places, first)
        return times(slopes, first), gram(slopes, second) + curvature

    def _norm(self, values: Array) -> Array:
        if self._model is None:
            return np.ones(len(self._energy))
        return self._model.evaluate(self._energy, *values.tolist())

    def _gradient(self, values: Array) -> Array:
        if self._model is None:
            return np.zeros((0, len(self._energy)))
        return self._model.gradient(self._energy, *values.tolist())[1]

    def _per_energy(self, terms: Terms) -> tuple[Array, Array]:
        """Gradient (R,) and diagonal of the Gauss-Newton Hessian (R,) with respect to the norm."""
        weighted = self.template * terms.first
        first = self._sum(weighted) + terms.first_sum * self.sums
        np.multiply(self.template, self.template, out=weighted)
        weighted *= terms.second
        return first, self._sum(weighted)

    def _sum(self, values: Array) -> Array:
        """Sum values in the bins per energy (R,)."""
        sums, filled = np.zeros(len(self._n)), self._n > 0
        if filled.any():
            sums[filled] = np.add.reduceat(values, (np.cumsum(self._n) - self._n)[filled])
        return sums


class SpatialBackground:
    """Background with a norm on the sky, too: the counts are ``b[k] g[r_k] h[p_k]``.

    The parameters are those of g, followed by those of h. If h depends on energy, it is evaluated at the
    centres of the reconstructed energy bins.

    Parameters
    ----------
    observation : `Observation`
        An observation with a background.
    bins : `Bins`
    model : `SpectralModel`
        Norm g as a function of energy.
    spatial : `SpatialModel`
        Norm h on the sky, whose unit is dropped.

    Raises
    ------
    ModelError
        If h is not defined everywhere in the mask.

    Attributes
    ----------
    negative : bool
        Whether the background is negative anywhere in the mask.
    """

    def __init__(
        self, observation: Observation, bins: Bins, model: SpectralModel, spatial: SpatialModel
    ) -> None:
        background = _template_of(observation)
        wanted = observation.mask_image.copy()
        wanted[bins.y, bins.x] = True
        y, x = np.nonzero(wanted)
        place = np.full(wanted.shape, -1, dtype=np.intp)
        place[y, x] = np.arange(len(y))
        self._r, self._p = bins.r, place[bins.y, bins.x]
        self._template = background[bins.r, bins.y, bins.x]
        self._masked = np.where(observation.mask, background, 0.0)[:, y, x]
        self.negative = bool((self._masked < 0).any())
        self._model, self._spatial = model, spatial
        self._n = len(model.parameter_names)
        self._energy = observation.energy.center
        self._sky = self._positions(observation, y, x)
        values = spatial.internal_values
        undefined = ~np.isfinite(self._h(values)[0]).all(axis=0) & observation.mask_image[y, x]
        if undefined.any():
            msg = (
                f"dataset {observation.name!r}: {type(spatial).__name__} of the background is not "
                f"defined in {np.count_nonzero(undefined)} pixels of the mask"
            )
            raise ModelError(msg)

    def _positions(self, observation: Observation, y: Index, x: Index) -> SkyGrid:
        lon, lat = observation.grid.to_sky(x.astype(float), y.astype(float))
        energy = self._energy if self._spatial.is_energy_dependent else None
        return SkyGrid(*rotate(lon, lat, observation.grid.frame, self._spatial.frame), energy)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._template.nbytes + self._masked.nbytes + self._sky.lon.nbytes * 3

    def keep(self, keep: Keep) -> None:
        """See `Background`."""
        self._template, self._masked, self._p = (
            keep(self._template),
            keep(self._masked),
            keep(self._p),
        )

    # --- the two norms -----------------------------------------------------------------------

    def _h(self, values: Array, *, derivatives: bool = False) -> tuple[Array, Array]:
        """Norm (1 or R, pixel) on the sky and its derivatives (Q, 1 or R, pixel)."""
        factor, none = self._spatial.norm_factor, np.zeros((0, 1, len(self._sky.lon)))
        if not derivatives:
            h, dh = self._spatial.evaluate(self._sky, *values.tolist()), none
        else:
            h, dh = self._spatial.gradient(self._sky, *values.tolist())
        if h.ndim == 1:
            h, dh = h[None], dh[:, None] if derivatives else dh
        return h * factor, dh * factor

    def _at_bins(self, h: Array) -> Array:
        """Return values (..., 1 or R, pixel) at the bins: (..., bin)."""
        result: Array = np.nan_to_num(h[..., self._r if h.shape[-2] > 1 else 0, self._p])
        return result

    def _split(self, values: Array) -> tuple[list[float], Array]:
        return values[: self._n].tolist(), values[self._n :]

    def predict(self, values: Array) -> tuple[Array, float, float]:
        """See `Background`."""
        spectral, rest = self._split(values)
        g, h = self._model.evaluate(self._energy, *spectral), self._h(rest)[0]
        total = float(times((self._masked * np.nan_to_num(h)).sum(axis=1), g))
        lowest = min(float(g.min()), float(np.nan_to_num(h).min(initial=0.0)))
        return self._template * g[self._r] * self._at_bins(h), total, lowest

    def jacobian(self, values: Array, places: Index) -> tuple[Array, Array]:
        """See `Background`."""
        spectral, rest = self._split(values)
        g, dg = self._model.gradient(self._energy, *spectral)
        h, dh = self._h(rest, derivatives=True)
        at_bins = np.concatenate([
            dg[:, self._r] * self._at_bins(h), g[self._r] * self._at_bins(dh),
        ])  # fmt: skip
        h_sums = (self._masked * np.nan_to_num(h)).sum(axis=-1)
        dh_sums = (self._masked * np.nan_to_num(dh)).sum(axis=-1)
        sums = np.concatenate([times(dg, h_sums), times(dh_sums, g)])
        return self._template * at_bins[places], sums[places]

    def curvature(self, values: Array, places: Index, terms: Terms) -> Array:
        """See `Background`."""
        spectral, rest = self._split(values)
        g, dg = self._model.gradient(self._energy, *spectral)
        h, dh = self._h(rest, derivatives=True)
        weight = terms.first_sum * self._masked  # (R, pixel); of b g h in the total statistic
        np.add.at(weight, (self._r, self._p), terms.first * self._template)
        second_g = self._model.hessian(self._energy, *spectral)
        n, m = self._n, len(values)
        whole = np.zeros((m, m))
        whole[:n, :n] = times(second_g, (weight * np.nan_to_num(h)).sum(axis=1))
        whole[:n, n:] = times(dg, (weight * np.nan_to_num(dh)).sum(axis=-1).T)
        whole[n:, :n] = whole[:n, n:].T
        if any(place >= n for place in places):
            second = self._spatial.hessian(self._sky, *rest.tolist()) * self._spatial.norm_factor
            per_pixel = weight * g[:, None]
            if second.ndim == 3:
                whole[n:, n:] = times(np.nan_to_num(second), per_pixel.sum(axis=0))
            else:
                whole[n:, n:] = (np.nan_to_num(second) * per_pixel).sum(axis=(-2, -1))
        return whole[np.ix_(places, places)]

    def derivatives(self, values: Array, places: Index, terms: Terms) -> tuple[Array, Array]:
        """See `Background`."""
        jacobian, sums = self.jacobian(values, places)
        gradient = times(jacobian, terms.first) + terms.first_sum * sums
        curvature = self.curvature(values, places, terms)
        return gradient, gram(jacobian, terms.second) + curvature


def _template_of(observation: Observation) -> Array:
    """Return the background (energy, lat, lon) of a dataset that has one."""
    if observation.background is None:
        msg = f"dataset {observation.name!r} has no background"
        raise ModelError(msg)
    return observation.background


def make_background(
    observation: Observation,
    bins: Bins,
    model: SpectralModel | None,
    spatial: SpatialModel | None,
) -> Background | SpatialBackground:
    """Create the background of a dataset.

    Parameters
    ----------
    observation : `Observation`
        An observation with a background.
    bins : `Bins`
    model : `SpectralModel` or None
        Norm as a function of energy.
    spatial : `SpatialModel` or None
        Norm on the sky.
    """
    if spatial is None or model is None:
        return Background(observation, bins, model)
    if isinstance(spatial, PointSpatialModel):
        msg = (
            f"dataset {observation.name!r}: a point source model cannot be a norm of the background"
        )
        raise ModelError(msg)
    return SpatialBackground(observation, bins, model, spatial)
