"""The response of simulated telescopes as tables of the GADF formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from gmdask.datasets.simulation.iact import MIGRA, RAD, IactResponse, background_shape

__all__ = ["GADF", "TELESCOPE", "irf_tables", "table_hdu"]

Array = NDArray[np.float64]
Columns = Sequence[tuple[str, str, Array]]

GADF = {
    "HDUCLASS": "GADF",
    "HDUDOC": "https://github.com/open-gamma-ray-astro/gamma-astro-data-formats",
    "HDUVERS": "0.2",
}
TELESCOPE = {"TELESCOP": "SIMULATED", "INSTRUME": "IACT", "ORIGIN": "gmdask"}

FINE_ENERGIES, ENERGIES = 64, 24  # per decade: of rates, and of PSF and energy dispersion
FINE_STEP, STEP = 0.1, 0.25  # deg between offsets
FINE_RAD = 2  # distances of the PSF per distance in the maps of simulated datasets


def irf_tables(
    response: IactResponse, energy: tuple[float, float], offset: float, zenith: float
) -> list[fits.BinTableHDU]:
    """Tabulate a response for an observation: effective area, energy dispersion, PSF and background.

    Parameters
    ----------
    response : `IactResponse`
    energy : tuple of float
        Lowest and highest energy in TeV.
    offset : float
        Largest offset from the pointing in deg.
    zenith : float
        In deg.

    Returns
    -------
    tables : list of `~astropy.io.fits.BinTableHDU`
        ``AEFF_2D``, ``EDISP_2D``, ``PSF_TABLE`` and ``BKG_2D`` of the formats for gamma-ray astronomy (GADF 0.2).
        They hold the response at the centres of the bins of energy, and at the offsets themselves.
    """
    center, at, ends = _axes(energy, offset, FINE_ENERGIES, FINE_STEP)
    area = response.effective_area(center[:, None, None], at[:, None], zenith)[:, :, 0].T
    rate = response.background_spectrum(center, zenith) * background_shape(at)[:, None]
    rates = [
        _irf("AEFF", "EFF_AREA", "AEFF_2D", [*ends, ("EFFAREA", "m2", area)]),
        _irf("BKG", "BKG", "BKG_2D", [*ends, ("BKG", "s-1 TeV-1 sr-1", rate)]),
    ]
    center, at, ends = _axes(energy, offset, ENERGIES, STEP)
    migration = response.migration(center, MIGRA, at[:, None], zenith)[..., 0]
    rad = np.linspace(0, RAD[-1], FINE_RAD * (len(RAD) - 1) + 1)
    profile = response.psf_profile(center, 0.5 * (rad[1:] + rad[:-1]), at[:, None], zenith)[..., 0]
    rings = 2 * np.pi * np.diff(-np.cos(np.radians(rad)))  # solid angles
    profile = profile / np.einsum("r,ero->eo", rings, profile)[:, None]
    migra_ends = _ends("MIGRA", "", MIGRA[:-1], MIGRA[1:])
    rad_ends = _ends("RAD", "deg", rad[:-1], rad[1:])
    energy_ends, offset_ends = ends[:2], ends[2:]
    return [
        *rates,
        _irf(
            "EDISP", "EDISP", "EDISP_2D",
            [*energy_ends, *migra_ends, *offset_ends, ("MATRIX", "", migration.transpose(2, 1, 0))],
        ),
        _irf("PSF", "RPSF", "PSF_TABLE", [*ends, *rad_ends, ("RPSF", "sr-1", profile.transpose(1, 2, 0))]),
    ]  # fmt: skip


def _axes(
    energy: tuple[float, float], offset: float, per_decade: int, step: float
) -> tuple[Array, Array, Columns]:
    """Return centres of energies, offsets, and the columns of both."""
    edges = np.geomspace(*energy, int(np.ceil(per_decade * np.log10(energy[1] / energy[0]))) + 1)
    at = np.linspace(0, offset, int(np.ceil(offset / step)) + 1)
    ends = *_ends("ENERG", "TeV", edges[:-1], edges[1:]), *_ends("THETA", "deg", at, at)
    return np.sqrt(edges[1:] * edges[:-1]), at, ends


def _ends(name: str, unit: str, low: Array, high: Array) -> Columns:
    return (f"{name}_LO", unit, low), (f"{name}_HI", unit, high)


def _irf(name: str, kind: str, form: str, columns: Columns) -> fits.BinTableHDU:
    classes = {
        "HDUCLAS1": "RESPONSE",
        "HDUCLAS2": kind,
        "HDUCLAS3": "FULL-ENCLOSURE",
        "HDUCLAS4": form,
    }
    rows = [(key, unit, values[None].astype(np.float32)) for key, unit, values in columns]
    return table_hdu(name, rows, GADF | classes | TELESCOPE)


def table_hdu(
    name: str, columns: Sequence[tuple[str, str, NDArray[np.generic]]], cards: Mapping[str, object]
) -> fits.BinTableHDU:
    """Return a table of a FITS file.

    Parameters
    ----------
    name : str
        Its ``EXTNAME``.
    columns : sequence of tuple
        Name, unit and values of each column; the first axis of the values counts rows.
    cards : mapping
        Cards of its header.
    """
    made = []
    for key, unit, values in columns:
        letter = {"f4": "E", "f8": "D", "i8": "K"}.get(values.dtype.str[1:], "A")
        shape = values.shape[1:]
        size = values.dtype.itemsize // 4 if letter == "A" else int(np.prod(shape, dtype=int))
        dim = str(shape[::-1]).replace(" ", "") if len(shape) > 1 else None
        made.append(fits.Column(key, f"{size}{letter}", unit=unit or None, dim=dim, array=values))
    hdu = fits.BinTableHDU.from_columns(made, name=name)
    hdu.header.update(cards)
    return hdu
