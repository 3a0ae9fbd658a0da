"""Predicted counts given by a map: a template with an energy-dependent norm."""

from __future__ import annotations

import numpy as np
from astropy.units import Unit
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.geometry import pixel_offset, rotate, wcs_of
from gmdask.likelihood.bins import Bins
from gmdask.likelihood.observation import Keep, Observation
from gmdask.likelihood.operators import Operator, OperatorBase
from gmdask.likelihood.responses import Part, whole_image
from gmdask.likelihood.source import SpectrumCache
from gmdask.models import EnergyGrid, SkyGrid, SkyMap, TemplateNPredModel
from gmdask.sums import times

__all__ = ["TemplateOperator", "TemplateResponse", "TemplateSource"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


class TemplateOperator(OperatorBase):
    """Counts of a template: linear in its norm (R,) per reconstructed energy.

    Parameters
    ----------
    template : array of shape (bin,)
    r : array of shape (bin,)
        Energy of each bin.
    sums : array of shape (R,)
        Sum of the template over the mask.
    negative : bool
        Whether the template is negative anywhere in the mask.
    """

    def __init__(self, template: Array, r: Index, sums: Array, negative: bool) -> None:
        self._template, self._r, self._sums, self.negative = template, r, sums, negative

    @property
    def nbytes(self) -> int:
        """Size of the operator."""
        return self._template.nbytes + self._sums.nbytes

    def keep(self, keep: Keep) -> None:
        """See `Operator`."""
        self._template = keep(self._template)

    def forward(self, spectra: Array) -> tuple[Array, Array]:
        """See `Operator`, with norms (R, n) as spectra."""
        template = self._template if spectra.ndim == 1 else self._template[:, None]
        return template * spectra[self._r], times(self._sums, spectra)

    def forward_shape(self, f: Array) -> tuple[Array, Array]:  # noqa: ARG002
        """Return no derivatives, since a template has no spatial parameters."""
        return np.zeros((len(self._r), 0)), np.zeros(0)

    def adjoint(self, w: Array, w_sum: float) -> Array:
        """See `Operator`."""
        per_energy = np.bincount(self._r, self._template * w, len(self._sums))
        result: Array = per_energy + w_sum * self._sums
        return result

    def adjoint_shape(self, w: Array, w_sum: float) -> Array:  # noqa: ARG002
        """Return no derivatives, since a template has no spatial parameters."""
        return np.zeros((0, len(self._sums)))

    def second_shape(self, f: Array, w: Array, w_sum: float) -> Array:  # noqa: ARG002
        """Return no derivatives, since a template has no spatial parameters."""
        return np.zeros((0, 0))


class TemplateResponse:
    """Counts of a template at the bins of one dataset; see `Response`: it has no shape parameters.

    Parameters
    ----------
    observation : `Observation`
    bins : `Bins`
    model : `TemplateNPredModel`

    Raises
    ------
    ModelError
        If the energies of its map differ from those of the dataset, or their pixels do not coincide.
    """

    gridded = False

    def __init__(self, observation: Observation, bins: Bins, model: TemplateNPredModel) -> None:
        self._observation = observation
        values = _on_grid(observation, model)
        masked = np.where(observation.mask, values, 0.0)
        template = values[bins.r, bins.y, bins.x]
        self._index: Index = np.flatnonzero(template)
        self._operator = TemplateOperator(
            template[self._index],
            bins.r[self._index],
            masked.sum(axis=(1, 2)),
            bool((masked < 0).any()),
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._operator.nbytes + self._index.nbytes

    @property
    def forgettable(self) -> int:
        """Nothing: it does not move."""
        return 0

    def compile(self, values: Array) -> None:
        """Nothing is left to read."""

    def forget(self) -> None:
        """Nothing can be computed again."""

    def image(self, values: Array, spectrum: Array) -> Part | None:  # noqa: ARG002
        """See `Response`, with norms (R,) as the spectrum."""
        return whole_image(self._observation, self._operator, self._index, spectrum)

    def operator(
        self, values: Array, anchor: Array, *, derivatives: bool
    ) -> tuple[Operator | None, Index]:
        """Return the operator and the indices of its bins, for any parameters."""
        del values, anchor, derivatives
        return self._operator, self._index


class TemplateSource:
    """A template in one dataset, in the place of a `Source`.

    Parameters
    ----------
    observation, bins, model
        See `TemplateResponse`.
    """

    moves = False

    def __init__(self, observation: Observation, bins: Bins, model: TemplateNPredModel) -> None:
        self.model = model
        self.response = TemplateResponse(observation, bins, model)
        self._energy = observation.energy.center

    def spectrum(
        self,
        grid: EnergyGrid,
        values: Array,
        cache: SpectrumCache,
        *,
        derivatives: bool,
    ) -> tuple[Array, Array | None]:
        """Norm (R,) per reconstructed energy, with its gradient if requested."""
        del grid, cache
        norm = self.model.spectral_model
        value = norm.evaluate(self._energy, *values.tolist())
        return value, norm.gradient(self._energy, *values.tolist())[1] if derivatives else None

    def spectrum_hessian(
        self,
        grid: EnergyGrid,  # noqa: ARG002
        values: Array,
        cache: SpectrumCache,  # noqa: ARG002
    ) -> Array:
        """Second derivatives (P, P, R) of the norm."""
        return self.model.spectral_model.hessian(self._energy, *values.tolist())


def _on_grid(observation: Observation, model: TemplateNPredModel) -> Array:
    """Map (energy, lat, lon), with its spatial norm, on the grid of the dataset; 0 outside."""
    sky_map = model.map
    where = f"model {model.name!r}: map of {model.filename or 'memory'}"
    axis, own = sky_map.axes[0], observation.energy
    edges = axis.edges * float(Unit(axis.unit or "TeV").to("TeV"))
    if len(edges) != len(own.edges) or not np.allclose(edges, own.edges, rtol=1e-6):
        msg = f"{where} has other energies than dataset {observation.name!r}"
        raise ModelError(msg)
    rows, columns = _place(observation, sky_map, where)
    values = np.nan_to_num(sky_map.data.astype(np.float64), posinf=0.0, neginf=0.0)
    values = values * _spatial_norm(model, sky_map)
    result = np.zeros((own.nbin, *observation.grid.shape))
    inside = [
        (at >= 0) & (at < n) for at, n in zip((rows, columns), observation.grid.shape, strict=True)
    ]
    result[:, rows[inside[0]][:, None], columns[inside[1]]] = values[:, inside[0]][:, :, inside[1]]
    return result


def _place(observation: Observation, sky_map: SkyMap, where: str) -> tuple[Index, Index]:
    """Rows and columns of the dataset's grid that coincide with the pixels of a map."""
    offset = pixel_offset(wcs_of(observation.grid, where), sky_map.grid, sky_map.frame)
    if offset is None:
        msg = f"{where} does not lie on the pixels of dataset {observation.name!r}"
        raise ModelError(msg)
    n_y, n_x = sky_map.grid.shape
    return np.arange(n_y) + offset[0], np.arange(n_x) + offset[1]


def _spatial_norm(model: TemplateNPredModel, sky_map: SkyMap) -> Array:
    spatial = model.spatial_model
    if spatial is None:
        return np.ones(())
    lon, lat = rotate(*sky_map.grid.pixel_centers, sky_map.frame, spatial.frame)
    values = spatial.evaluate(SkyGrid(lon, lat), *spatial.internal_values.tolist())
    return np.nan_to_num(values * spatial.norm_factor)
