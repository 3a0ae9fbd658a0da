"""Datasets follow the global models with as little as that needs."""

from __future__ import annotations

import numpy as np
import pytest

import gmdask as gm
from tests.datasets.synthetic import models as make_models


@pytest.fixture
def followed(datasets):
    models = make_models(datasets.names)
    datasets.set_models(models)
    return datasets, models, [d._models for d in datasets]


def copies(datasets):
    return [d._models for d in datasets]


def same(datasets, before):
    return [a is b for a, b in zip(copies(datasets), before, strict=True)]


def test_nothing_is_sent_where_nothing_changed(followed):
    datasets, models, before = followed
    stat = datasets.stat_sum(models)
    assert stat == datasets.stat_sum()
    assert same(datasets, before) == [True] * 3


def test_values(followed):
    datasets, models, before = followed
    old = datasets.stat_sum()
    models["source"].spectral_model.amplitude.value *= 1.3
    assert datasets.stat_sum() == old  # not sent
    new = datasets.stat_sum(models)
    assert new != old
    assert same(datasets, before) == [True] * 3
    fresh = gm.Datasets([d.copy() for d in datasets])
    fresh.set_models(models)
    assert fresh.stat_sum() == new
    values = {d.models.parameters["source.spectral.amplitude"].value for d in datasets}
    assert values == {models.parameters["source.spectral.amplitude"].value}


def test_a_background_that_changed_goes_to_its_dataset_only(followed):
    datasets, models, before = followed
    name = f"{datasets.names[1]}-bkg"
    models[name].spectral_model.tilt.frozen = False
    models["source"].spectral_model.index.value += 0.1
    datasets.follow(models)
    assert same(datasets, before) == [True, False, True]
    assert not datasets[1].models[name].spectral_model.tilt.frozen
    assert [d.models["source"].spectral_model.index.value for d in datasets] == [
        models["source"].spectral_model.index.value
    ] * 3


def test_a_component_that_came_and_went(followed):
    datasets, models, before = followed
    twin = models["source"].copy(name="twin")
    twin.datasets_names = [datasets.names[0]]
    models.append(twin)
    datasets.follow(models)
    assert same(datasets, before) == [False, True, True]
    assert datasets[0].models.names.count("twin") == 1
    with_twin = copies(datasets)
    models.remove("twin")
    datasets.follow(models)
    assert same(datasets, with_twin) == [False, True, True]
    assert "twin" not in datasets[0].models


def test_a_link_goes_to_all_it_touches(followed):
    datasets, models, before = followed
    names = [f"{n}-bkg" for n in datasets.names]
    models[names[2]].spectral_model.norm = models[names[0]].spectral_model.norm
    datasets.follow(models)
    assert same(datasets, before) == [True, True, False]
    stat = datasets.stat_sum()
    fresh = gm.Datasets([d.copy() for d in datasets])
    fresh.set_models(models)
    np.testing.assert_equal(fresh.stat_sum(), stat)


def test_first_time(datasets):
    models = make_models(datasets.names)
    fresh = gm.Datasets([d.copy() for d in datasets])
    assert fresh.stat_sum(models) == fresh.stat_sum()
    assert [len(d.models) for d in fresh] == [2, 2, 2]


def test_what_others_sent_does_not_stay(followed):
    datasets, models, _ = followed
    stat = datasets.stat_sum(models)
    index = models["source"].spectral_model.index
    start = index.value
    index.value = start + 0.2
    datasets.set_models_parameters(models.parameters)
    index.value = start
    assert datasets.stat_sum() != stat
    assert datasets.stat_sum(models) == stat
    index.value = start + 0.2
    datasets[1].set_models_parameters(models.parameters)
    index.value = start
    assert datasets.stat_sum(models) == stat
    datasets[2].set_models(None)
    assert datasets.stat_sum(models) == stat


def test_a_component_that_leaves_a_dataset(followed):
    datasets, models, _ = followed
    twin = models["source"].copy(name="twin")
    twin.datasets_names = datasets.names[:2]
    models.append(twin)
    datasets.follow(models)
    twin.datasets_names = datasets.names[1:]
    datasets.follow(models)
    assert ["twin" in d.models for d in datasets] == [False, True, True]
