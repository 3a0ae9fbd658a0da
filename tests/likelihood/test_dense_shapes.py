"""Disks, shells, the constant, and norms: against the dense reference, for every response."""

from typing import Any

import numpy as np
import pytest

from gmdask.geometry import Axis
from gmdask.models import (
    BackgroundIRFModel,
    ConstantSpatialModel,
    DiskSpatialModel,
    GaussianSpatialModel,
    ShellSpatialModel,
    SkyMap,
    SkyModel,
    TemplateNPredModel,
)
from tests.likelihood import cubes
from tests.likelihood.sources import background, point, power_law
from tests.likelihood.test_dense_parity import GRIDS, check

POSITION: dict[str, Any] = {"lon_0": 184.5, "lat_0": -5.85, "frame": "galactic"}
SHAPES = {
    "disk": DiskSpatialModel(r_0=0.21, e=0.6, phi=35, edge_width=0.2, **POSITION),
    "small disk": DiskSpatialModel(r_0=0.05, **POSITION),
    "shell": ShellSpatialModel(radius=0.17, width=0.11, **POSITION),
    "thin shell": ShellSpatialModel(radius=0.17, width=0.02, **POSITION),
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("psf", ["true", "reco", None])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name, psf, grid):
    cube = cubes.make_cube(psf=psf, **GRIDS[grid])
    check(cube, [SkyModel(power_law(), SHAPES[name], name="source"), background()])


@pytest.mark.parametrize("edisp", ["migra", "kernel", None])
@pytest.mark.parametrize("psf", ["true", "reco", None])
def test_constant(psf, edisp):
    cube = cubes.make_cube(psf=psf, edisp=edisp)
    shape = ConstantSpatialModel(value=2)
    check(cube, [SkyModel(power_law("3e-9 cm-2 s-1 TeV-1"), shape, name="flat"), background()])


@pytest.mark.parametrize("psf", ["true", "reco"])
def test_template_npred_and_a_spatial_norm(psf):
    cube = cubes.make_cube(psf=psf)
    data = cube["background"].values * (1 + np.arange(5)[:, None, None] / 5)
    axis = Axis("energy", cube["energy_edges"].values, "log", "edges", "TeV")
    sky_map = SkyMap(data, cube.attrs["wcs"], [axis])
    template = TemplateNPredModel(sky_map, name="more")
    template.spectral_model.norm.value, template.spectral_model.tilt.value = 1.4, 0.3
    own = background()
    shape = GaussianSpatialModel(sigma=1.5, e=0.4, phi=10, **POSITION)
    own.spectral_model.norm.value = 2e-3
    check(cube, [point(), template, BackgroundIRFModel(own.spectral_model, "cube", None, shape)])
