"""Creation of models by name, and standard models of the field."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

from gmdask.errors import ModelError
from gmdask.inputs.files import SMALL, read_bytes
from gmdask.models.io.serialization import model_from_dict
from gmdask.models.registry import get_class
from gmdask.models.sky import SkyModel
from gmdask.models.spatial.constant import ConstantSpatialModel
from gmdask.models.spectral.base import SpectralModel
from gmdask.models.spectral.cutoff import ExpCutoffPowerLawSpectralModel
from gmdask.models.spectral.power_law import (
    LogParabolaSpectralModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
)
from gmdask.models.spectral.shapes import LogGaussianSpectralModel, MeyerCrabSpectralModel
from gmdask.models.spectral.template import TemplateSpectralModel
from gmdask.paths import expanded

__all__ = [
    "Model",
    "create_cosmic_ray_spectral_model",
    "create_crab_spectral_model",
    "create_fermi_isotropic_diffuse_model",
]

_KINDS = ("spectral", "spatial", "temporal")


class Model:
    """Create models by the name or tag of their class, as Gammapy's class of this name does."""

    @staticmethod
    def create(tag: str, model_type: str | None = None, *args: Any, **arguments: Any) -> Any:
        """Make a model.

        Parameters
        ----------
        tag : str
            Class name or short tag, such as "pl-2".
        model_type : {"spectral", "spatial", "temporal", "prior"}, optional
            Kind of model; None for a component, such as "sky-model".
        *args, **arguments
            Arguments of the class.

        Raises
        ------
        ModelError
            If there is no such class.
        """
        return get_class(model_type or "component", tag)(*args, **arguments)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Any:
        """Create a model or a component from plain data, as returned by its ``to_dict``.

        Raises
        ------
        ModelError
            If the data are invalid.
        """
        if "type" in data:
            return get_class("component", data["type"]).from_dict(data)
        for kind in _KINDS:
            if kind in data:
                return model_from_dict(kind, data[kind], {})
        msg = f"keys are {', '.join(map(str, data))}, expected type or one of {', '.join(_KINDS)}"
        raise ModelError(msg)


def create_crab_spectral_model(reference: str = "meyer") -> SpectralModel:
    """Spectrum of the Crab nebula, a common unit of fluxes.

    Parameters
    ----------
    reference : {"meyer", "hegra", "hess_pl", "hess_ecpl", "magic_lp", "magic_ecpl"}
        Meyer et al. 2010 (appendix D), Aharonian et al. 2000, Aharonian et al. 2006 (twice),
        Aleksić et al. 2015 (twice).

    Raises
    ------
    ModelError
        If there is no such reference.
    """
    ecpl, unit = ExpCutoffPowerLawSpectralModel, u.Unit("cm-2 s-1 TeV-1")
    known: dict[str, tuple[type[SpectralModel], dict[str, Any]]] = {
        "meyer": (MeyerCrabSpectralModel, {}),
        "hegra": (PowerLawSpectralModel, {"amplitude": 2.83e-11 * unit, "index": 2.62}),
        "hess_pl": (PowerLawSpectralModel, {"amplitude": 3.45e-11 * unit, "index": 2.63}),
        "hess_ecpl": (
            ecpl, {"amplitude": 3.76e-11 * unit, "index": 2.39, "lambda_": 1 / (14.3 * u.TeV)}
        ),
        "magic_lp": (
            LogParabolaSpectralModel,
            {
                "amplitude": 3.23e-11 * unit, "alpha": 2.47, "beta": 0.24 / np.log(10),
                "reference": 1 * u.TeV,
            },
        ),
        "magic_ecpl": (
            ecpl, {"amplitude": 3.80e-11 * unit, "index": 2.21, "lambda_": 1 / (6.0 * u.TeV)}
        ),
    }  # fmt: skip
    if reference not in known:
        msg = f"reference: {reference!r}, expected one of {', '.join(known)}"
        raise ModelError(msg)
    cls, values = known[reference]
    return cls(**values)


def create_cosmic_ray_spectral_model(particle: str = "proton") -> SpectralModel:
    """Spectrum of cosmic rays at Earth, integrated over the whole sky.

    Parameters
    ----------
    particle : {"proton", "electron", "N", "Si", "Fe"}
        Table 3 of Bernlöhr et al. 2013; the electron spectrum is a power law with a shoulder.

    Raises
    ------
    ModelError
        If the particle is unknown.
    """
    known = {
        "proton": (0.096, 2.70),
        "electron": (6.85e-5, 3.21),
        "N": (0.0719, 2.64),
        "Si": (0.0284, 2.66),
        "Fe": (0.0134, 2.63),
    }
    if particle not in known:
        msg = f"particle: {particle!r}, expected one of {', '.join(known)}"
        raise ModelError(msg)
    amplitude, index = known[particle]
    law = PowerLawSpectralModel(
        amplitude=u.Quantity(4 * np.pi * amplitude, "m-2 s-1 TeV-1"), index=index
    )
    if particle != "electron":
        return law
    return law + LogGaussianSpectralModel(L=u.Quantity(4 * np.pi * 3.19e-3, "m-2 s-1"))


def create_fermi_isotropic_diffuse_model(
    filename: str | Path, datasets_names: str | list[str] | None = None
) -> SkyModel:
    """Read the isotropic diffuse emission of Fermi-LAT, with a free norm and a frozen tilt.

    Parameters
    ----------
    filename : str or path
        Text file of the Fermi-LAT collaboration: energies in MeV, differential fluxes, and their errors.
    datasets_names : str or list of str, optional
        Datasets it applies to; for a single one, the model is named "isotropic_<dataset>".

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    ModelError
        If it is not such a table.
    """
    raw = read_bytes(expanded(filename), "file", ModelError, SMALL)
    try:
        table = np.loadtxt(BytesIO(raw), ndmin=2)
        energy, values = u.Quantity(table[:, 0], "MeV"), u.Quantity(table[:, 1], "MeV-1 s-1 cm-2")
    except (ValueError, IndexError) as error:
        msg = f"{filename}: expected a table of energies and fluxes: {error}"
        raise ModelError(msg) from error
    names = [datasets_names] if isinstance(datasets_names, str) else datasets_names
    return SkyModel(
        TemplateSpectralModel(energy, values) * PowerLawNormSpectralModel(),
        ConstantSpatialModel(),
        name=f"isotropic_{names[0]}" if names and len(names) == 1 else "fermi-diffuse-iso",
        datasets_names=names,
        apply_irf={"psf": False, "exposure": True, "edisp": False},
    )
