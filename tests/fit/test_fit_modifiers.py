"""Fits with norms of the exposure: errors, several kinds of data, workers, and flux points."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

import gmdask as gm
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.fit.uncertainty import uncertainty
from gmdask.models import (
    EnergyScaleModel,
    GaussianPrior,
    LogNormalPrior,
    PowerLawNormSpectralModel,
)
from tests.datasets.clusters import kill, local_client, pids, settled
from tests.datasets.flux_tables import mixed
from tests.datasets.synthetic import models
from tests.fit.problems import bits


def modified(names, tilt=False):
    """Models with a modifier of all runs, and one of each; known to 10 and to 20 %, with tilts also in energy."""
    own = models(names)
    for name in (None, *names):
        shared = name is None
        made = gm.ResponseModifier(
            PowerLawNormSpectralModel(), name, name="instrument" if shared else None,
            energy_model=EnergyScaleModel() if tilt and not shared else None,
        )  # fmt: skip
        if made.energy_model is not None:
            made.energy_model.scale.prior = LogNormalPrior(mu=1.0, sigma=0.1)
        norm, slope = made.exposure_model.norm, made.exposure_model.tilt
        norm.prior = GaussianPrior(mu=1.0, sigma=0.1 if shared else 0.2)
        slope.prior = GaussianPrior(mu=0.0, sigma=0.1)
        slope.frozen = not tilt
        own.append(made)
    return own


@pytest.mark.parametrize("tilt", [False, True])
def test_errors_of_local_and_of_shared_ones(datasets, tilt):
    """Covariances of all parameters are those of the full Hessian, in which nothing is local."""
    own = modified(datasets.names, tilt)
    result = gm.Fit(datasets).run(own)
    assert result.success
    objective = Objective(datasets, own)
    local = np.flatnonzero(objective.parameters.local)
    assert {own.parameters.names[k].split(".")[0] for k in local} == {
        f"{name}-{kind}" for name in datasets.names for kind in ("bkg", "response")
    }
    best = own.parameters.value
    profiled = uncertainty(objective, objective(best, order=2)).matrix.to_dense()
    objective.close()
    full = Objective(datasets, own, shared=local)
    assert not full.parameters.local.any()
    expected = uncertainty(full, full(best, order=2)).matrix.to_dense()
    full.close()
    error = np.sqrt(np.diag(expected))
    scale = np.where(error > 0, error, 1.0)
    unit = np.outer(scale, scale)
    np.testing.assert_allclose(profiled / unit, expected / unit, rtol=0, atol=1e-6)
    np.testing.assert_allclose(own.parameters.error, error, rtol=1e-5)
    for name in datasets.names:  # a prior of 20 % and the counts together
        assert 0 < own[f"{name}-response"].exposure_model.norm.error < 0.2


def test_the_norm_of_an_instrument(datasets):
    """Data with too much exposure: without counts that tell, the prior is divided among norm and source."""
    truth = models(datasets.names)
    datasets.set_models(truth)
    made = gm.Datasets(gm.MapDataset(d.to_asimov().open().load()) for d in datasets)
    own = models(made.names)
    modifier = gm.ResponseModifier(datasets_names=made.names[:2], name="first two")
    modifier.exposure_model.norm.prior = GaussianPrior(mu=1.3, sigma=0.05)
    own.append(modifier)
    result = gm.Fit(made).run(own)
    assert result.success
    norm = modifier.exposure_model.norm
    assert 1.0 < norm.value < 1.3
    assert norm.error < 0.05
    # their product in the first two, and the amplitude alone in the others
    assert own.parameters["source.spectral.amplitude"].value < truth.parameters["amplitude"].value


def with_modifiers(start, datasets):
    """One modifier for each instrument of the data of several kinds."""
    own = start.copy()
    for name in datasets.names:
        made = gm.ResponseModifier(datasets_names=name)
        made.exposure_model.norm.prior = GaussianPrior(mu=1.0, sigma=0.1)
        own.append(made)
    tied = gm.ResponseModifier(datasets_names=datasets.names[:2], name="two instruments")
    tied.exposure_model.norm.prior = GaussianPrior(mu=1.0, sigma=0.05)
    own.append(tied)
    return own


@pytest.mark.slow
def test_several_kinds_on_workers(shared, tmp_path):
    """A map, on/off spectra and flux points: the same bits on 1 and 2 workers, and without one that is killed."""
    datasets, start = mixed(shared)
    kinds = {type(dataset).__name__ for dataset in datasets}
    assert len(kinds) == 3
    datasets.write(tmp_path / "mwl.zarr")
    stored = gm.Datasets.read(tmp_path / "mwl.zarr", response="gammapy")
    expected = with_modifiers(start, stored)
    result = gm.Fit(stored).run(expected)
    assert result.success
    wanted = bits(result, expected)
    for workers in (1, 2):
        own = with_modifiers(start, stored)
        assert bits(gm.Fit(stored, local_client(workers)).run(own), own) == wanted
    client = local_client(2)
    lost = next(iter(pids(client).values()))
    own = with_modifiers(start, stored)
    try:
        kill(lost)
        assert bits(gm.Fit(stored, client).run(own), own) == wanted
    finally:
        settled(client, 2, lost)


def test_flux_points(datasets):
    """The norm that is estimated is that of datasets whose exposure has been multiplied."""
    own = models(datasets.names)
    own.append(gm.ResponseModifier(PowerLawNormSpectralModel(norm=1.25), name="all"))
    changed = []
    for dataset in datasets:
        cube = dataset.open().load().copy()
        cube["exposure"] = cube["exposure"] * np.float32(1.25)
        cube["exposure"].attrs = dataset.cube["exposure"].attrs
        changed.append(gm.MapDataset(cube))
    estimator = gm.FluxPointsEstimator("source", [0.5, 2, 20] * u.TeV)
    one = estimator.run(datasets, own).data
    two = estimator.run(gm.Datasets(changed), models(datasets.names)).data
    for name in ("norm", "norm_err", "ts"):
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5)
