"""Radiation of particle populations, with the package ``naima``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.errors import ModelError
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.registry import register
from gmdask.models.spectral.base import SpectralModel

__all__ = ["NaimaSpectralModel"]

Array = NDArray[np.float64]

_UNIFORM = 2.24  # photon density in a uniformly emitting sphere (Atoyan & Aharonian 1996)


def _naima() -> Any:
    try:
        return import_module("naima.models")
    except ImportError as error:
        msg = "NaimaSpectralModel needs the package naima: pip install naima"
        raise ModelError(msg) from error


_RADIATION = ("InverseCompton", "Synchrotron", "Bremsstrahlung", "PionDecay")
_PARTICLES = (
    "PowerLaw", "ExponentialCutoffPowerLaw", "BrokenPowerLaw", "ExponentialCutoffBrokenPowerLaw",
    "LogParabola", "TableModel",
)  # fmt: skip


@register
class NaimaSpectralModel(SpectralModel):
    """Spectrum of a naima radiative model.

    The parameters are those of its particle distribution, and the magnetic field ``B`` for
    synchrotron radiation; for synchrotron self-Compton ``B`` and ``radius``. Gradients are
    finite differences, each of which needs evaluations of naima. The classes and settings of
    naima's models are written to YAML if they are naima's own; Gammapy cannot read that (nor its own files).

    Parameters
    ----------
    radiative_model : object
        Instance of a class of ``naima.models``; evaluation changes it.
    distance : Quantity
        Distance of the source.
    seed : str or list of str, optional
        Seed photon fields of an inverse Compton model; by default all.
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
    _grid: ClassVar[Array] = np.logspace(-7, 9, 100)  # eV; energies of the synchrotron photons

    def __init__(
        self,
        radiative_model: Any,
        distance: Any = "1 kpc",
        seed: Any = None,
        nested_models: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> None:
        _naima()
        self.radiative_model, self.seed = radiative_model, seed
        radiative_model._memoize = False
        self.distance = u.Quantity(distance)
        self.nested_models = dict(nested_models or {})
        self._set_defaults(self.defaults_for(self.__dict__))
        super().__init__(**parameters)

    @classmethod
    def defaults_for(cls, arguments: Mapping[str, Any]) -> tuple[ParameterDefault, ...]:
        """Return the parameters of the particles, and ``B`` and ``radius`` where they apply."""
        model = arguments["radiative_model"]
        particles = model.particle_distribution
        found = [Parameter(name, getattr(particles, name)) for name in _free(particles)]
        if "B" in model.param_names:
            found.append(Parameter("B", model.B))
        if _has_ssc(model, arguments["nested_models"]):
            ssc = arguments["nested_models"]["SSC"]
            found.append(Parameter("B", ssc["B"]))
            found.append(Parameter("radius", ssc["radius"], frozen=True))
        return tuple(map(ParameterDefault.of, found))

    @property
    def include_ssc(self) -> bool:
        """Whether synchrotron photons are scattered, too."""
        return _has_ssc(self.radiative_model, self.nested_models)

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Differential flux at energies (TeV), in cm-2 s-1 TeV-1."""
        given = {
            default.name: u.Quantity(value, default.unit)
            for default, value in zip(self.defaults, values, strict=True)
        }
        particles = self.radiative_model.particle_distribution
        for name in _free(particles):
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
        synchrotron = _naima().Synchrotron(
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

    # --- plain data -------------------------------------------------------------------

    def extra_to_dict(self) -> dict[str, Any]:
        """Return the classes and settings of naima's models, distance and seed photon fields.

        Raises
        ------
        ModelError
            If a class is not one of naima's.
        """
        model = self.radiative_model
        particles = _described(model.particle_distribution, _PARTICLES, ())
        if particles["type"] == "TableModel":
            table = model.particle_distribution
            particles |= {"energy": _plain(table._energy), "values": _plain(table._values)}
        settings = [name for name in model.param_names if name not in self.parameter_names]
        radiation = _described(model, _RADIATION, settings)
        if self.include_ssc:  # this seed photon field is recomputed in each evaluation
            radiation["seed_photon_fields"].pop("SSC", None)
        radiation["particle_distribution"] = particles
        return {
            "radiative_model": radiation,
            "distance": _plain(self.distance),
            "seed": self.seed,
            "nested_models": _plain(self.nested_models),
        }

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Create naima's models."""
        keys = ("radiative_model", "distance", "seed", "nested_models")
        super().extra_from_dict({key: value for key, value in data.items() if key not in keys})
        radiation = data.get("radiative_model")
        if not isinstance(radiation, dict):
            msg = (
                "radiative_model is missing: a NaimaSpectralModel that Gammapy wrote cannot be read "
                "from YAML, which does not contain its model"
            )
            raise ModelError(msg)
        try:
            particles = _particles_from(radiation.get("particle_distribution"))
            model = _known(radiation, _RADIATION)(particles)
            for key in radiation.keys() - {"type", "particle_distribution"}:
                if key not in model.param_names:
                    msg = f"{key}: unknown key of {type(model).__name__}"
                    raise ModelError(msg)
                setattr(model, key, _quantities(radiation[key]))
            distance = u.Quantity(_quantities(data.get("distance")))
        except (TypeError, ValueError, AttributeError) as error:
            msg = f"radiative_model: {error}"
            raise ModelError(msg) from error
        nested = _quantities(data.get("nested_models") or {})
        return {
            "radiative_model": model, "distance": distance, "seed": data.get("seed"),
            "nested_models": nested,
        }  # fmt: skip


def _free(particles: Any) -> list[str]:
    """Return the parameters of a particle distribution; a table has only an amplitude."""
    return list(getattr(particles, "param_names", ("amplitude",)))


def _has_ssc(model: Any, nested: Mapping[str, Any]) -> bool:
    return "SSC" in nested and isinstance(model, _naima().InverseCompton)


def _described(model: Any, known: tuple[str, ...], names: Iterable[str]) -> dict[str, Any]:
    """Return the class and settings of a naima model."""
    name = type(model).__name__
    if name not in known or type(model) is not getattr(_naima(), name):
        msg = f"{model!r} is not one of naima's {', '.join(known)}, and cannot be converted to plain data"
        raise ModelError(msg)
    return {"type": name, **{key: _plain(getattr(model, key)) for key in names}}


def _known(data: Any, known: tuple[str, ...]) -> Any:
    """Return the class that plain data refer to."""
    name = data.get("type") if isinstance(data, dict) else data
    if name not in known:
        msg = f"type {name!r}, expected one of {', '.join(known)}"
        raise ModelError(msg)
    return getattr(_naima(), name)


def _particles_from(data: Any) -> Any:
    """Return a particle distribution; the values of its parameters are those of the spectral model."""
    kind = _known(data, _PARTICLES)
    if data["type"] == "TableModel":
        return kind(_quantities(data.get("energy")), _quantities(data.get("values")))
    units = {name: "TeV-1" if name == "amplitude" else "TeV" for name in kind.param_names}
    return kind(**{
        name: u.Quantity(1.0, unit) if name == "amplitude" or name.startswith("e_") else 1.0
        for name, unit in units.items()
    })  # fmt: skip


def _plain(value: Any) -> Any:
    """Convert settings to plain data, with quantities as data and unit."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, u.Quantity):
        return {"data": value.value.tolist(), "unit": value.unit.to_string()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _quantities(value: Any) -> Any:
    """Convert plain data to settings."""
    if not isinstance(value, Mapping):
        return np.array(value) if isinstance(value, list) else value
    if value.keys() == {"data", "unit"}:
        return u.Quantity(value["data"], value["unit"])
    return {key: _quantities(item) for key, item in value.items()}
