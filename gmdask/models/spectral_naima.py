"""Radiation of particle populations, through the package ``naima``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.models.parameter import Parameter, ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spectral_base import SpectralModel

__all__ = ["NaimaSpectralModel"]

Array = NDArray[np.float64]

_UNIFORM = 2.24  # photon density in a uniformly emitting sphere (Atoyan & Aharonian 1996)


def _naima() -> Any:
    try:
        return import_module("naima.models")
    except ImportError as error:
        message = "NaimaSpectralModel needs the package naima: pip install naima"
        raise ModelError(message) from error


@register
class NaimaSpectralModel(SpectralModel):
    """Spectrum of a radiative model of naima.

    The parameters are those of its particle distribution, and the magnetic field ``B`` of
    synchrotron radiation; with synchrotron self-Compton ``B`` and ``radius``. Gradients are
    differences, each of which costs evaluations of naima. As in Gammapy, such a model cannot be
    read from YAML.

    Parameters
    ----------
    radiative_model : object
        Instance of a class of ``naima.models``; it is changed by evaluation.
    distance : Quantity
        Distance of the source.
    seed : str or list of str, optional
        Seed photon fields of an inverse Compton model, by default all.
    nested_models : dict, optional
        ``{"SSC": {"B": ..., "radius": ...}}`` for synchrotron self-Compton.
    **parameters
        Parameters by name.

    Raises
    ------
    ModelError
        If naima is not installed.
    """

    tag = ("NaimaSpectralModel", "naima")
    linear = None
    _grid: ClassVar[Array] = np.logspace(-7, 9, 100)  # eV, of the synchrotron photons

    def __init__(
        self,
        radiative_model: Any,
        distance: Any = "1 kpc",
        seed: Any = None,
        nested_models: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> None:
        self._models = _naima()
        self.radiative_model, self.seed = radiative_model, seed
        radiative_model._memoize = False
        self.distance = u.Quantity(distance)
        self.nested_models = dict(nested_models or {})
        self._set_defaults(self._own_defaults())
        super().__init__(**parameters)

    def _own_defaults(self) -> tuple[ParameterDefault, ...]:
        particles = self.radiative_model.particle_distribution
        table = isinstance(particles, self._models.TableModel)
        names = ["amplitude"] if table else list(particles.param_names)
        found = [Parameter(name, getattr(particles, name)) for name in names]
        if "B" in self.radiative_model.param_names:
            found.append(Parameter("B", self.radiative_model.B))
        self._particle_names = names
        if self.include_ssc:
            ssc = self.nested_models["SSC"]
            found.append(Parameter("B", ssc["B"]))
            found.append(Parameter("radius", ssc["radius"], frozen=True))
        return tuple(map(ParameterDefault.of, found))

    @property
    def include_ssc(self) -> bool:
        """Whether synchrotron photons are scattered too."""
        compton = isinstance(self.radiative_model, self._models.InverseCompton)
        return compton and "SSC" in self.nested_models

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1."""
        given = {
            default.name: u.Quantity(value, default.unit)
            for default, value in zip(self.defaults, values, strict=True)
        }
        particles = self.radiative_model.particle_distribution
        for name in self._particle_names:
            quantity = given[name]
            plain = quantity.unit == u.dimensionless_unscaled
            setattr(particles, name, quantity.value if plain else quantity)
        if "B" in self.radiative_model.param_names:
            self.radiative_model.B = given["B"]
        flat = u.Quantity(np.ravel(energy), "TeV")
        if self.include_ssc:
            flux = self._self_compton(flat, given)
        elif self.seed is not None:
            flux = self.radiative_model.flux(flat, seed=self.seed, distance=self.distance)
        else:
            flux = self.radiative_model.flux(flat, distance=self.distance)
        return np.asarray(flux.to_value("cm-2 s-1 TeV-1")).reshape(np.shape(energy))

    def _self_compton(self, energy: u.Quantity, given: dict[str, u.Quantity]) -> u.Quantity:
        from astropy import constants

        model = self.radiative_model
        synchrotron = self._models.Synchrotron(
            model.particle_distribution, B=given["B"], Eemax=model.Eemax, Eemin=model.Eemin
        )
        at = u.Quantity(self._grid, "eV")
        luminosity = synchrotron.flux(at, distance=u.Quantity(0, "cm"))
        density = luminosity / (4 * np.pi * given["radius"] ** 2 * constants.c) * _UNIFORM
        model.seed_photon_fields["SSC"] = {
            "isotropic": True, "type": "array", "energy": at, "photon_density": density,
        }  # fmt: skip
        compton = model.flux(energy, seed=self.seed, distance=self.distance)
        return compton + synchrotron.flux(energy, distance=self.distance)

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Refuse: the radiative model is not part of the YAML."""
        del data
        message = "NaimaSpectralModel cannot be read from YAML, which does not hold its model"
        raise ModelError(message)
