"""The description of a simulation: pixels, energies, response and observations."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmdask.datasets.base import chosen_response
from gmdask.datasets.simulation.iact import IactResponse
from gmdask.geometry import WcsGrid
from gmdask.models import Models

__all__ = ["EVENTS", "Observed", "SkyPixels", "Survey"]

Array = NDArray[np.float64]


EVENTS = "events"


@dataclass(frozen=True)
class SkyPixels:
    """A pixel grid of the whole sky, from which the maps of a survey are cut out.

    Attributes
    ----------
    frame : {"galactic", "icrs"}
    projection : {"CAR", "TAN"}
    center : tuple of float
        Reference position (lon, lat) in deg, the centre of a pixel.
    pixel : float
        Size of a pixel in deg.
    """

    frame: str
    projection: str
    center: tuple[float, float]
    pixel: float

    def cutout(self, lon: float, lat: float, npix: int) -> WcsGrid:
        """Return the pixels around a position; the headers of all cutouts differ only in CRPIX.

        Parameters
        ----------
        lon, lat : float
            Position in deg.
        npix : int
            Pixels per side.
        """
        at = self._first.to_pixel(lon, lat)
        x0, y0 = (int(np.ceil(float(v) - npix / 2)) for v in at)  # Gammapy's rule for cutouts
        return WcsGrid(self._header(1 - x0, 1 - y0), (npix, npix))

    @cached_property
    def _first(self) -> WcsGrid:
        """Return the pixel at the reference position."""
        return WcsGrid(self._header(1, 1), (1, 1))

    def _header(self, x: int, y: int) -> dict[str, Any]:
        lon, lat = ("GLON", "GLAT") if self.frame == "galactic" else ("RA", "DEC")
        cards = {
            "CTYPE1": f"{lon:-<5}{self.projection}", "CTYPE2": f"{lat:-<5}{self.projection}",
            "CRPIX1": float(x), "CRPIX2": float(y), "CRVAL1": self.center[0], "CRVAL2": self.center[1],
            "CDELT1": -self.pixel, "CDELT2": self.pixel, "CUNIT1": "deg", "CUNIT2": "deg",
        }  # fmt: skip
        return cards if self.frame == "galactic" else {**cards, "RADESYS": "ICRS"}


@dataclass(frozen=True)
class Observed:
    """One observation of a survey.

    Attributes
    ----------
    number : int
        Index from 0; together with the seed of the survey it determines all random numbers.
    name : str
        Name of the dataset.
    lon, lat : float
        Pointing in deg, in the frame of the survey.
    start, livetime : float
        In s; the start is relative to that of the survey.
    zenith : float
        In deg.
    norm, tilt : float
        True parameters of the background.
    """

    number: int
    name: str
    lon: float
    lat: float
    start: float
    livetime: float
    zenith: float
    norm: float = 1.0
    tilt: float = 0.0


@dataclass(frozen=True)
class Survey:
    """Description of a simulated survey.

    Attributes
    ----------
    seed : int
        Seed of all random numbers.
    pixels : SkyPixels
        Pixel grid of the whole survey.
    npix : int
        Pixels per side of a dataset.
    energy, energy_true : array
        Edges of the bins in TeV.
    observations : tuple of Observed
    models : Models
        The true sky.
    response : IactResponse
    irf_pixel : float
        Pixel size of the maps of PSF and energy dispersion in deg.
    sources : {"exact", "gammapy", "events"}
        How the counts of sources are drawn: from the prediction of a response (see `MapDataset.response`),
        or photon by photon (see `photon_counts`). By default the setting ``gmdask.response``.
    """

    seed: int
    pixels: SkyPixels
    npix: int
    energy: Array
    energy_true: Array
    observations: tuple[Observed, ...]
    models: Models = field(default_factory=Models)
    response: IactResponse = field(default_factory=IactResponse)
    irf_pixel: float = 0.3
    sources: str = field(default_factory=chosen_response)

    def __post_init__(self) -> None:
        if self.sources != EVENTS:
            chosen_response(self.sources)

    def random(self, number: int, stream: int) -> np.random.Generator:
        """Return the generator of one dataset (stream 0: its observation, 1: its counts, 2: its photons)."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number, stream)))
