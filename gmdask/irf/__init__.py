"""Instrument response at a position: PSF kernels, energy dispersion matrices."""

from gmdask.irf.blend import Blend, blend_at
from gmdask.irf.edisp import EDispMap, overlap_matrix
from gmdask.irf.psf import PSFKernel, PSFMap
from gmdask.irf.tiles import TiledMap

__all__ = ["Blend", "EDispMap", "PSFKernel", "PSFMap", "TiledMap", "blend_at", "overlap_matrix"]
