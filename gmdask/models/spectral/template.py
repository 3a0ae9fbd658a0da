"""Spectra from tables: as a function of energy, of energy and parameters, and absorption factors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.errors import InputNotFoundError, ModelError, described
from gmdask.geometry import Axis
from gmdask.inputs import open_fits
from gmdask.models.interpolation import LogTable
from gmdask.models.io.region_map import RegionMap, map_from_gammapy
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.quantities import quantity_from_dict, quantity_to_dict
from gmdask.models.registry import register
from gmdask.models.spectral.base import SpectralModel
from gmdask.models.units import parse_unit, unit_factor

__all__ = [
    "EBLAbsorptionNormSpectralModel",
    "TemplateNDSpectralModel",
    "TemplateSpectralModel",
]

Array = NDArray[np.float64]

_BUILTIN = {
    "franceschini": "ebl_franceschini.fits.gz",
    "dominguez": "ebl_dominguez11.fits.gz",
    "finke": "frd_abs.fits.gz",
    "franceschini17": "ebl_franceschini_2017.fits.gz",
    "saldana-lopez21": "ebl_saldana-lopez_2021.fits.gz",
}

_FLUX = u.Unit("cm-2 s-1 TeV-1")


def _value_factor(unit: u.UnitBase, what: str) -> tuple[bool, float]:
    """Whether a unit is that of a norm, and the factor that converts it to internal units."""
    if unit.is_equivalent(u.dimensionless_unscaled):
        return True, unit_factor(unit, u.dimensionless_unscaled)
    try:
        return False, unit_factor(unit, _FLUX)
    except ModelError as error:
        msg = f"{what}: {error}"
        raise ModelError(msg) from error


@register
class TemplateSpectralModel(SpectralModel):
    """Values at energies, interpolated and extrapolated linearly in logarithms.

    Parameters
    ----------
    energy : Quantity [K]
        Energies, increasing.
    values : Quantity [K]
        Values; values without a unit are norms.

    Raises
    ------
    ModelError
        If shapes or units do not match.
    """

    tag = ("TemplateSpectralModel", "template")
    without_parameters: ClassVar[bool] = True

    def __init__(self, energy: Any, values: Any) -> None:
        self.energy, self.values = u.Quantity(energy), u.Quantity(values)
        if self.energy.shape != self.values.shape or self.energy.ndim != 1:
            msg = f"values of shape {self.values.shape} at energies of {self.energy.shape}"
            raise ModelError(msg)
        self.is_norm, self._factor = _value_factor(self.values.unit, "values")
        self._unit = unit_factor(u.TeV, self.energy.unit)
        axis = Axis("energy", self.energy.value, "log", "center")
        self._table = LogTable([axis], self.values.value)
        super().__init__()

    def evaluate(self, energy: Array, *values: float) -> Array:  # noqa: ARG002
        """Value at energies (TeV)."""
        return self._factor * self._table(energy * self._unit)

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Value [...] at energies (TeV) and no derivatives [0, ...]."""
        return self.evaluate(energy, *values), np.zeros((0, *np.shape(energy)))

    def extra_to_dict(self) -> dict[str, Any]:
        """Return energies and values."""
        return {"energy": quantity_to_dict(self.energy), "values": quantity_to_dict(self.values)}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read energies and values."""
        rest = {key: value for key, value in data.items() if key not in ("energy", "values")}
        arguments = super().extra_from_dict(rest)
        for key in ("energy", "values"):
            arguments[key] = quantity_from_dict(data.get(key), key)
        return arguments


@register
class TemplateNDSpectralModel(SpectralModel):
    """A table of spectra as a function of parameters, interpolated linearly in pixel coordinates.

    Every axis of the map other than the energy is a parameter, whose limits are those of the axis.

    Parameters
    ----------
    map : RegionMap, optional
        Map; by default it is read from the file.
    filename : str or Path, optional
        File of the map, to which the YAML refers.
    **parameters
        Parameters by name.

    Raises
    ------
    ModelError
        If the map has no energy axis, or an incompatible unit.
    """

    tag = ("TemplateNDSpectralModel", "templateND")

    def __init__(
        self,
        map: RegionMap | None = None,  # noqa: A002
        filename: str | Path | None = None,
        **parameters: Any,
    ) -> None:
        if map is None and filename is None:
            msg = "TemplateNDSpectralModel: needs a map or a filename"
            raise ModelError(msg)
        given: Any = RegionMap.read(str(filename)) if map is None else map
        self.map = map_from_gammapy(given) if hasattr(given, "to_hdulist") else given
        if not isinstance(self.map, RegionMap):
            msg = f"TemplateNDSpectralModel: map is {described(given)}, expected a RegionMap"
            raise ModelError(msg)
        self.filename = None if filename is None else str(filename)
        names = [axis.name for axis in self.map.axes]
        at = [k for k, name in enumerate(names) if name in ("energy", "energy_true")]
        if len(at) != 1:
            msg = f"template: expected one energy axis among {', '.join(names)}"
            raise ModelError(msg)
        order = [k for k in range(len(names)) if k != at[0]] + at
        axes = [self.map.axes[k] for k in order]
        self._table = LogTable(axes, self.map.values.transpose(order))
        self._energy_unit = unit_factor(u.TeV, parse_unit(axes[-1].unit))
        self.is_norm, self._factor = _value_factor(parse_unit(self.map.unit), "template")
        self._set_defaults(self.defaults_for({"map": self.map}))
        super().__init__(**parameters)

    @classmethod
    def defaults_for(cls, arguments: Mapping[str, Any]) -> tuple[ParameterDefault, ...]:
        """Return one parameter per axis other than the energy."""
        found = []
        for axis in arguments["map"].axes:
            if axis.name in ("energy", "energy_true"):
                continue
            low, high = float(axis.nodes[0]), float(axis.nodes[-1])
            found.append(
                ParameterDefault(
                    axis.name, (low + high) / 2, axis.unit, low, high, interp=axis.interp
                )
            )
        return tuple(found)

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Value at energies (TeV)."""
        return self._factor * self._table(energy * self._energy_unit, *values)

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Value [...] at energies (TeV) and its derivatives [P, ...]."""
        y, dy = self._table.gradient(energy * self._energy_unit, *values)
        return self._factor * y, self._factor * dy

    def write(self, filename: str | Path | None = None, overwrite: bool = False) -> None:
        """Write the map to a file, to which the YAML will refer."""
        if filename is not None:
            self.filename = str(filename)
        if self.filename is None:
            msg = "the template has no file name: give one to write()"
            raise ModelError(msg)
        self.map.write(self.filename, overwrite)

    def extra_to_dict(self) -> dict[str, Any]:
        """Return file and unit, and the map itself if it has no file."""
        content = {"map": self.map} if self.filename is None else {}
        return {"filename": self.filename, "unit": self.map.unit, **content}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read the file."""
        keys = ("filename", "unit", "map")
        arguments = super().extra_from_dict({k: v for k, v in data.items() if k not in keys})
        filename, held = data.get("filename"), data.get("map")
        if isinstance(held, RegionMap):
            return {**arguments, "map": held, "filename": filename}
        if not isinstance(filename, str):
            msg = f"filename is {filename!r}, expected the name of a file"
            raise ModelError(msg)
        return {**arguments, "map": RegionMap.read(filename), "filename": filename}


@register
class EBLAbsorptionNormSpectralModel(SpectralModel):
    """Absorption by the extragalactic background light, exp(-τ(E, z))^alpha_norm, from a table.

    The table is interpolated linearly in redshift and in the logarithms of energy and value.

    Parameters
    ----------
    energy : Quantity [K]
        Energies of the table.
    param : array [Z]
        Redshifts of the table.
    data : array [Z, K]
        Absorption factors.
    filename : str, optional
        File of the table, to which the YAML refers.
    **parameters
        Parameters by name.
    """

    tag = ("EBLAbsorptionNormSpectralModel", "ebl-norm")
    is_norm = True
    defaults = (
        ParameterDefault("redshift", 0.1, frozen=True),
        ParameterDefault("alpha_norm", 1.0, frozen=True),
    )
    redshift: Parameter
    alpha_norm: Parameter

    def __init__(
        self, energy: Any, param: Any, data: Any, filename: str | None = None, **parameters: Any
    ) -> None:
        self.energy, self.param = u.Quantity(energy), u.Quantity(param)
        self.data, self.filename = u.Quantity(data), filename
        self._unit = unit_factor(u.TeV, self.energy.unit)
        axes = [
            Axis("param", self.param.value, "lin", "center"),
            Axis("energy", self.energy.value, "log", "center"),
        ]
        self._table = LogTable(axes, self.data.value)
        super().__init__(**parameters)

    @classmethod
    def read(cls, filename: str | Path, **parameters: Any) -> Self:
        """Read the table from an XSPEC table model (energies in keV).

        Parameters
        ----------
        filename : str or Path
            FITS file with the tables PARAMETERS, ENERGIES and SPECTRA.
        **parameters
            Parameters by name.

        Raises
        ------
        InputNotFoundError
            If the file does not exist.
        ModelError
            If it is not such a file.
        """
        return cls(**_read_absorption(str(filename)), **parameters)

    @classmethod
    def read_builtin(cls, reference: str = "dominguez", **parameters: Any) -> Self:
        """Read one of the tables of Gammapy's data package, in the folder $GAMMAPY_DATA.

        Parameters
        ----------
        reference : {"franceschini", "dominguez", "finke", "franceschini17", "saldana-lopez21"}
            Franceschini et al. 2008, Domínguez et al. 2011, Finke et al. 2010, Franceschini et
            al. 2017, Saldana-Lopez et al. 2021.
        **parameters
            Parameters by name.

        Raises
        ------
        ModelError
            If the reference is unknown.
        InputNotFoundError
            If $GAMMAPY_DATA is not set, or the file does not exist.
        """
        if reference not in _BUILTIN:
            msg = f"reference: {reference!r}, expected one of {', '.join(_BUILTIN)}"
            raise ModelError(msg)
        folder = os.environ.get("GAMMAPY_DATA")
        if not folder:
            msg = (
                f"the built-in table {reference!r} is part of Gammapy's data package: set "
                "GAMMAPY_DATA to its folder, or read() a file"
            )
            raise InputNotFoundError(msg)
        return cls.read(Path(folder) / "ebl" / _BUILTIN[reference], **parameters)

    def _absorption(self, energy: Array, redshift: float) -> tuple[Array, Array]:
        """Absorption factor, and its derivative with respect to the redshift."""
        y, dy = self._table.gradient(energy * self._unit, redshift)
        inside = (y > 0) & (y < 1)
        return np.clip(y, 0.0, 1.0), np.where(inside, dy[0], 0.0)

    def evaluate(self, energy: Array, *values: float) -> Array:
        """Norm at energies (TeV)."""
        return np.asarray(np.power(self._absorption(energy, values[0])[0], values[1]))

    def gradient(self, energy: Array, *values: float) -> tuple[Array, Array]:
        """Norm [...] at energies (TeV) and its derivatives [2, ...]."""
        factor, slope = self._absorption(energy, values[0])
        y = np.power(factor, values[1])
        safe = np.where(factor > 0, factor, 1.0)
        return y, np.stack([values[1] * y / safe * slope, y * np.log(safe)])

    def extra_to_dict(self) -> dict[str, Any]:
        """Return the file, or the table if it has no file."""
        if self.filename is not None:
            return {"filename": self.filename}
        return {
            "energy": quantity_to_dict(self.energy),
            "param": quantity_to_dict(self.param),
            "values": quantity_to_dict(self.data),
        }

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read the file, or the table."""
        keys = ("filename", "energy", "param", "values")
        arguments = super().extra_from_dict({k: v for k, v in data.items() if k not in keys})
        if data.get("filename") is not None:
            return {**arguments, **_read_absorption(str(data["filename"]))}
        for key, name in (("energy", "energy"), ("param", "param"), ("values", "data")):
            arguments[name] = quantity_from_dict(data.get(key), key)
        return arguments


def _read_absorption(filename: str) -> dict[str, Any]:
    """Read energies, redshifts and factors from an XSPEC table model, with its name."""
    what = "filename: absorption table (gmdask does not contain any: give a file of yours)"
    with open_fits(filename, what, ModelError) as hdus:
        # the list of values has duplicates at its end
        redshift, index = np.unique(hdus["PARAMETERS"].data["VALUE"][0], return_index=True)
        low, high = (np.asarray(hdus["ENERGIES"].data[name]) for name in ("ENERG_LO", "ENERG_HI"))
        data = np.asarray(hdus["SPECTRA"].data["INTPSPEC"])[index]
    low, high = (u.Quantity(e.astype(e.dtype.newbyteorder("=")), "keV") for e in (low, high))
    data = data.astype(data.dtype.newbyteorder("="))
    energy = np.sqrt(low * high)
    return {"energy": energy, "param": redshift, "data": data, "filename": filename}
