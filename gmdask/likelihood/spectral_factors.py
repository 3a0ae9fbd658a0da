"""Factors of the spectrum of a source in a dataset: the mean of its light curve, and norms of the exposure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.likelihood.gti_norm import temporal_norm
from gmdask.models import DatasetModels, ModelBase, ResponseModifier, SkyModel, SpectralModel
from gmdask.store.axes import cube_axis

__all__ = [
    "Factors",
    "SpectralFactor",
    "factors_of",
    "multiplied",
    "second_multiplied",
    "with_norms_of_exposure",
]

Array = NDArray[np.float64]


class SpectralFactor(Protocol):
    """A factor of a spectrum at T energies, with Q parameters: one number, or one per energy."""

    @property
    def model(self) -> ModelBase:
        """Model of the parameters."""
        ...

    def gradient(self, values: Array) -> tuple[Any, Array]:
        """Return the factor, a number or of shape (T,), and its derivatives (Q,) or (Q, T)."""
        ...

    def hessian(self, values: Array) -> Array:
        """Second derivatives (Q, Q) or (Q, Q, T)."""
        ...


class ExposureNorm:
    """Norm of the exposure at some energies.

    Parameters
    ----------
    model : `SpectralModel`
        A norm model.
    energies : array of shape (T,)
        In TeV.
    """

    def __init__(self, model: SpectralModel, energies: Array) -> None:
        self.model, self._energies = model, energies

    def gradient(self, values: Array) -> tuple[Array, Array]:
        """See `SpectralFactor`."""
        norm, slopes = self.model.gradient(self._energies, *values.tolist())
        return norm, slopes

    def hessian(self, values: Array) -> Array:
        """See `SpectralFactor`."""
        return self.model.hessian(self._energies, *values.tolist())


class Factors(NamedTuple):
    """What a dataset makes of the spectrum of a source: scales of its energies, and then factors.

    The parameters are those of the spectrum, the scales (one each) and the factors, one after the other.
    """

    scales: Sequence[ModelBase] = ()
    norms: Sequence[SpectralFactor] = ()

    @property
    def models(self) -> list[ModelBase]:
        """Models of the parameters."""
        return [*self.scales, *(norm.model for norm in self.norms)]

    @property
    def values(self) -> Array:
        """Current values of the parameters, in internal units."""
        return np.concatenate([np.zeros(0), *(model.internal_values for model in self.models)])


def factors_of(
    model: SkyModel, models: DatasetModels, cube: xr.Dataset, energies: Array
) -> Factors:
    """Return the scales and factors of the spectrum of a source in a dataset.

    Parameters
    ----------
    model : `SkyModel`
    models : `DatasetModels`
        All models of the dataset, those that modify its response among them.
    cube : `xarray.Dataset`
        The dataset.
    energies : array of shape (T,)
        Energies in TeV at which norms of the exposure are evaluated.
    """
    norm = temporal_norm(model, cube)
    found: list[SpectralFactor] = [] if norm is None else [norm]
    scales: list[ModelBase] = []
    for modifier in models if model.apply_irf["exposure"] else ():
        if isinstance(modifier, ResponseModifier):
            if modifier.energy_model is not None:
                scales.append(modifier.energy_model)
            if modifier.exposure_model is not None:
                found.append(ExposureNorm(modifier.exposure_model, energies))
    return Factors(scales, found)


def with_norms_of_exposure(
    cube: xr.Dataset, models: DatasetModels
) -> tuple[xr.Dataset, DatasetModels]:
    """Return a cube whose exposure has been multiplied by its norms, and the models without these.

    Parameters
    ----------
    cube : `xarray.Dataset`
    models : `DatasetModels`
        All models of the dataset.
    """
    modifiers = [m for m in models if isinstance(m, ResponseModifier)]
    norms = [m.exposure_model for m in modifiers if m.exposure_model is not None]
    for modifier in modifiers:
        if modifier.energy_model is not None:
            msg = f"{modifier.name!r}: a map of trial sources cannot have an energy scale"
            raise ModelError(msg)
    if not norms:
        return cube, models
    energies, exposure = cube_axis(cube, "energy_true", "TeV").center, cube["exposure"].variable
    factor = np.prod([norm.evaluate(energies, *norm.internal_values) for norm in norms], axis=0)
    changed = exposure * xr.Variable(("energy_true",), factor)
    changed = changed.transpose(*exposure.dims)
    changed.attrs = exposure.attrs
    others = DatasetModels([m for m in models if not isinstance(m, ResponseModifier)])
    return cube.assign(exposure=changed), others


def multiplied(
    f: Array, df: Array | None, factors: Sequence[SpectralFactor], values: Array
) -> tuple[Array, Array | None]:
    """Multiply a spectrum by factors.

    Parameters
    ----------
    f : array of shape (T,)
        The spectrum.
    df : array of shape (P, T) or None
        Its derivatives.
    factors : sequence of `SpectralFactor`
    values : array
        Parameters of all factors, one after the other.

    Returns
    -------
    product : array of shape (T,)
    derivatives : array of shape (P + Q, T), or None
        By the parameters of the spectrum, then those of the factors.
    """
    for factor, own in _each(factors, values):
        norm, slopes = factor.gradient(own)
        if df is not None:
            df = np.concatenate([df * norm, slopes.reshape(len(own), -1) * f])
        f = f * norm
    return f, df


def second_multiplied(
    f: Array, df: Array, second: Array, factors: Sequence[SpectralFactor], values: Array
) -> Array:
    """Second derivatives (P + Q, P + Q, T) of a spectrum times factors; see `multiplied`.

    Parameters
    ----------
    f, df : array of shape (T,), (P, T)
        The spectrum and its derivatives.
    second : array of shape (P, P, T)
        Its second derivatives.
    factors, values
        See `multiplied`.
    """
    for factor, own in _each(factors, values):
        norm, slopes = factor.gradient(own)
        n, m = len(df), len(df) + len(own)
        whole = np.zeros((m, m, len(f)))
        whole[:n, :n] = second * norm
        whole[n:, :n] = slopes.reshape(len(own), 1, -1) * df
        whole[:n, n:] = whole[n:, :n].swapaxes(0, 1)
        whole[n:, n:] = factor.hessian(own).reshape(len(own), len(own), -1) * f
        df = np.concatenate([df * norm, slopes.reshape(len(own), -1) * f])
        f, second = f * norm, whole
    return second


def _each(
    factors: Sequence[SpectralFactor], values: Array
) -> Iterator[tuple[SpectralFactor, Array]]:
    """Yield each factor with its parameters."""
    start = 0
    for factor in factors:
        stop = start + len(factor.model.parameter_names)
        yield factor, values[start:stop]
        start = stop
