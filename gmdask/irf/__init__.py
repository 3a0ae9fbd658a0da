"""Instrument response at a position: PSF kernels, energy dispersion matrices."""

from gmdask.irf.edisp import EDispMap, overlap_matrix
from gmdask.irf.psf import PSFKernel, PSFMap
from gmdask.irf.tiles import TiledMap

__all__ = ["EDispMap", "PSFKernel", "PSFMap", "TiledMap", "overlap_matrix"]
