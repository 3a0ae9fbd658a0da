"""Every public name of Gammapy's classes is there, or the error says what to do instead."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import cloudpickle
import gammapy.datasets as their_datasets
import gammapy.estimators as their_estimators
import gammapy.modeling as their_modeling
import gammapy.modeling.models as theirs
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from numpy.testing import assert_allclose

import gmdask as gm
from gmdask.errors import InputError, UnknownAttributeError
from gmdask.gammapy_names import INSTEAD

CLASSES: dict[str, tuple[type, type]] = {
    name: (getattr(theirs, name), getattr(gm.models, name))
    for name in dir(theirs)
    if inspect.isclass(getattr(theirs, name)) and hasattr(gm.models, name) and name != "Model"
}
CLASSES |= {
    "FoVBackgroundModel": (theirs.FoVBackgroundModel, gm.BackgroundIRFModel),
    "Parameter": (their_modeling.Parameter, gm.Parameter),
    "Parameters": (their_modeling.Parameters, gm.Parameters),
    "Covariance": (their_modeling.Covariance, gm.Covariance),
    "Fit": (their_modeling.Fit, gm.Fit),
    "FitResult": (their_modeling.fit.FitResult, gm.FitResult),
    "MapDataset": (their_datasets.MapDataset, gm.MapDataset),
    "SpectrumDataset": (their_datasets.SpectrumDataset, gm.SpectrumDataset),
    "SpectrumDatasetOnOff": (their_datasets.SpectrumDatasetOnOff, gm.SpectrumDatasetOnOff),
    "Datasets": (their_datasets.Datasets, gm.Datasets),
    "FluxPoints": (their_estimators.FluxPoints, gm.FluxPoints),
    "FluxPointsEstimator": (their_estimators.FluxPointsEstimator, gm.FluxPointsEstimator),
    "LightCurveEstimator": (their_estimators.LightCurveEstimator, gm.LightCurveEstimator),
}
OWN = {  # attributes of objects, which classes do not show
    "SkyModel": {"spectral_model", "spatial_model", "temporal_model", "apply_irf"},
    "FoVBackgroundModel": {"spectral_model", "spatial_model"},
    "TemplateNPredModel": {"spectral_model", "spatial_model", "map", "filename"},
    "NaimaSpectralModel": {"particle_distribution", "radiative_model"},
    "FitResult": {"parameters", "total_stat", "message", "covariance", "backend"},
    "PiecewiseNormSpectralModel": {"energy", "norms"},
    "PiecewiseNormSpatialModel": {"coords", "norms"},
    "LightCurveEstimator": {"source", "energy_edges", "time_intervals", "reoptimize"},
    "FluxPointsEstimator": {"source", "energy_edges", "reoptimize"},
    "Parameter": {"scan_n_values"},
    "UniformPrior": {"min", "max"},
    "LogUniformPrior": {"min", "max"},
    "GaussianPrior": {"mu", "sigma"},
    "GeneralizedGaussianPrior": {"mu", "sigma", "eta"},
    "Prior": {"weight"},
    "ConstantSpatialModel": {"frame"},
    "ConstantFluxSpatialModel": {"frame"},
}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_name_of_gammapy_is_there_or_told(name: str) -> None:
    other, own = CLASSES[name]
    parameters = {p.name for p in getattr(other, "default_parameters", ())}
    missing = public(other) - public(own) - OWN.get(name, set()) - parameters
    for attribute in sorted(missing):
        with pytest.raises(UnknownAttributeError) as caught:
            getattr(own, attribute)
        head, _, sentence = str(caught.value).partition(": ")
        assert head == f"{own.__name__} has no attribute {attribute!r}"
        assert len(sentence) > 8, attribute
        made = object.__new__(own)  # the same of an object, which has nothing yet
        with pytest.raises(UnknownAttributeError, match="has no attribute"):
            getattr(made, attribute)


def test_attributes_of_objects_are_told_too() -> None:
    ours = gm.from_gammapy
    pairs: list[tuple[Any, Any]] = [
        (their_estimators.FluxPointsEstimator(), gm.FluxPointsEstimator()),
        (their_estimators.LightCurveEstimator(), gm.LightCurveEstimator()),
        (their_modeling.Fit(), gm.Fit(gm.Datasets())),
        *((c, ours(c)) for c in (theirs.GaussianSpatialModel(), theirs.PowerLawSpectralModel())),
        (theirs.SkyModel.create("pl", "gauss"), gm.SkyModel.create("pl", "gauss")),
    ]
    for other, own in pairs:
        for attribute in sorted(set(dir(other)) - set(dir(own))):
            if not attribute.startswith("_"):
                with pytest.raises(UnknownAttributeError, match="has no attribute"):
                    getattr(own, attribute)


def test_no_sentence_is_about_what_is_there() -> None:
    """Or about a class that is not, or a name that Gammapy has not."""
    by_base: dict[str, list[tuple[type, type]]] = {}
    for other, own in CLASSES.values():
        for base in own.__mro__:
            by_base.setdefault(base.__name__, []).append((other, own))
    for base, sentences in INSTEAD.items():
        for attribute in sentences:
            pairs = by_base[base]
            assert not all(attribute in public(own) for _, own in pairs), (base, attribute)
            objects = {"scan_n_values", *OWN_OPTIONS}
            known = any(attribute in public(other) for other, _ in pairs)
            assert known or attribute in objects, (base, attribute)


OWN_OPTIONS = {  # attributes of Gammapy's objects
    "n_sigma", "n_sigma_ul", "n_sigma_sensitivity", "norm", "null_value", "fit", "meta", "gti",
    "allow_multiple_telescopes", "stack_over_time_interval", "sum_over_energy_groups",
    "confidence_opts", "covariance_opts", "optimize_opts", "store_trace", "spectral_model",
}  # fmt: skip


def test_errors_of_properties_and_of_other_names_stay_what_they_are() -> None:
    class Broken(gm.models.SpectralModel):
        defaults = gm.PowerLawSpectralModel.defaults

        @property
        def type(self) -> str:
            return str(self.nowhere)  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="nowhere"):
        _ = Broken().type
    with pytest.raises(AttributeError, match="'Broken' object has no attribute 'foo'"):
        _ = Broken().foo  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="'Broken' has no attribute 'foo'"):
        _ = Broken.foo  # type: ignore[attr-defined]
    assert not hasattr(gm.Models(), "clear")
    for twin in (copy.deepcopy(Broken()), pickle.loads(cloudpickle.dumps(Broken()))):
        assert isinstance(twin, gm.models.SpectralModel)
    with pytest.raises(UnknownAttributeError, match=r"scan_values': pass the values to Fit\."):
        gm.PowerLawSpectralModel().index.scan_values = [1, 2]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["LogParabola", "LogParabola2", "LogParabolaNorm"])
def test_log_parabolas_of_decadic_logarithms_are_gammapys(name: str) -> None:
    arguments: dict[str, Any] = {"reference": 2 * u.TeV, "alpha": 2.3, "beta": 0.4}
    arguments |= {"norm": 1.3} if name.endswith("Norm") else {"amplitude": "1e-12 cm-2 s-1 TeV-1"}
    if name.endswith("2"):
        arguments["escale"] = 3 * u.TeV
    own, other = (
        getattr(module, f"{name}SpectralModel").from_log10(
            **{k: u.Quantity(v) for k, v in arguments.items()} | {"alpha": 2.3, "beta": 0.4}
        )
        for module in (gm.models, theirs)
    )
    energy = [0.3, 2, 40] * u.TeV
    found, expected = own(energy), other(energy)
    assert_allclose(found.to_value(expected.unit), expected.value, rtol=1e-12)


def test_templates_of_models_are_gammapys() -> None:
    from gammapy.maps import Map, MapAxis, WcsGeom

    axis = MapAxis.from_energy_bounds("1 TeV", "10 TeV", nbin=3, name="energy_true")
    geom = WcsGeom.create(skydir=(10, 20), width=2, binsz=0.05, axes=[axis])
    models = gm.Models([
        gm.SkyModel(gm.PowerLawSpectralModel(), gm.GaussianSpatialModel(lon_0="10 deg", lat_0="20.2 deg"), name="a"),
        gm.SkyModel(gm.PowerLawSpectralModel(index=3), gm.PointSpatialModel(lon_0="9.7 deg", lat_0="20 deg"), name="b"),
        gm.BackgroundIRFModel(dataset_name="d"),
    ])  # fmt: skip
    models["a"].spatial_model.sigma.value = 0.2
    template = models.to_template_sky_model(geom, name="sum")
    given = gm.to_gammapy(models).select(tag="sky-model")
    expected = given.to_template_sky_model(geom)
    assert template.name == "sum"
    assert_allclose(template.spatial_model.map.data, expected.spatial_model.map.data, rtol=1e-6)
    norm = gm.PowerLawNormSpectralModel(norm=2)
    assert models.to_template_sky_model(geom, norm).spectral_model is norm
    mask = Map.from_geom(geom, data=np.ones(geom.data_shape, bool))
    mask.data[:, :, :20] = False
    spectrum = models.to_template_spectral_model(geom, mask)
    expected = given.to_template_spectral_model(geom, mask)
    values = spectrum(axis.center)
    assert_allclose(values.value, expected(axis.center).to_value(values.unit), rtol=1e-9)
    for wrong in (geom.to_image(), "geom", None):
        with pytest.raises(InputError, match="expected a WcsGeom of Gammapy's with an axis"):
            models.to_template_sky_model(wrong)
    with pytest.raises(InputError, match="Gammapy cannot merge these models"):
        gm.Models([gm.SkyModel(gm.PowerLawSpectralModel())]).to_template_spectral_model(geom)


def test_a_statistic_has_gammapys_name() -> None:
    edges = [1, 2, 4] * u.TeV
    spectrum = gm.SpectrumDataset.from_arrays(
        "a", region="icrs;circle(10,10,1)", energy=edges, energy_true=edges,
        counts=np.zeros(2), exposure=np.zeros(2),
    )  # fmt: skip
    assert spectrum.stat_type == "cash"
    onoff = gm.SpectrumDatasetOnOff.from_spectrum_dataset(
        dataset=spectrum, acceptance=1, acceptance_off=2, counts_off=np.ones(2)
    )
    assert onoff.stat_type == "wstat"


def test_quantities_of_flux_points_name_the_way() -> None:
    names = ("norm", "e_ref", "ref_dnde")
    points = gm.FluxPoints(xr.Dataset({name: ("energy", [1.0]) for name in names}))
    with pytest.raises(UnknownAttributeError, match=r'use quantity\("dnde_err"\)'):
        _ = points.dnde_err  # type: ignore[attr-defined]
