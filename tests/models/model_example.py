"""Models with links, units, limits and names that are not simple."""

from __future__ import annotations

from gmdask.models import (
    BackgroundIRFModel,
    GaussianSpatialModel,
    LogParabolaSpectralModel,
    Models,
    PointSpatialModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    SkyModel,
)


def example():
    crab = SkyModel(
        LogParabolaSpectralModel(
            amplitude="3.8e-7 m-2 s-1 TeV-1", reference="0.7 TeV", alpha=2.1234567890123456
        ),
        PointSpatialModel(lon_0="83.63 deg", lat_0="0.384 rad", frame="icrs"),
        name="crab: a 'source'",
        apply_irf={"edisp": False},
    )
    halo = SkyModel(
        PowerLawSpectralModel(amplitude=crab.spectral_model.amplitude, index=2.5),
        GaussianSpatialModel(sigma="12 arcmin", e=0.3, frame="galactic"),
        name="halo",
        datasets_names=["a", "b"],
    )
    halo.spatial_model.phi.frozen = False
    halo.spatial_model.sigma.min = 1
    halo.spatial_model.sigma.max = None
    norm = PowerLawNormSpectralModel(norm=1.1)
    norm.norm.min, norm.norm.error, norm.norm.scale_method = 0, 0.05, "factor1"
    norm.tilt.frozen = False
    return Models([crab, halo, BackgroundIRFModel(norm, dataset_name="a")])
