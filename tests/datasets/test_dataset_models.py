"""Datasets: found, copied and put together; their models are copies."""

from __future__ import annotations

import json

import pytest

import gmdask as gm
from gmdask.errors import (
    DuplicateNameError,
    InputError,
    ModelError,
    StoreNotFoundError,
    UnknownNameError,
)
from tests.datasets.synthetic import models, with_models, write_survey


def as_text(own):
    return json.dumps(own.to_dict())


def test_found_by_number_name_and_slice(datasets):
    assert datasets.names == ["run-0", "run-1", "run-2"]
    assert len(datasets) == 3
    assert datasets[0] is datasets["run-0"]
    assert datasets[-1] is datasets["run-2"]
    assert [dataset.name for dataset in datasets] == datasets.names
    some = datasets[1:]
    assert isinstance(some, gm.Datasets)
    assert some.names == ["run-1", "run-2"]
    assert some["run-1"] is datasets["run-1"]
    assert "run-1" in datasets
    assert datasets["run-1"] in datasets
    assert "other" not in datasets
    with pytest.raises(UnknownNameError, match=r"'other'.*run-0, run-1, run-2"):
        datasets["other"]
    with pytest.raises(IndexError):
        datasets[3]


def test_from_two_stores(datasets, tmp_path):
    gm.import_datasets(write_survey(tmp_path / "more", 1, prefix="more"), tmp_path / "more.zarr")
    both = gm.Datasets([*datasets, *gm.Datasets.read(tmp_path / "more.zarr")])
    assert both.names == ["run-0", "run-1", "run-2", "more-0"]
    with_models(both)
    assert both.stat_sum() == pytest.approx(sum(d.stat_sum() for d in both), rel=1e-14)


def test_names_are_unique(datasets, survey_store):
    again = gm.Datasets.read(survey_store)
    with pytest.raises(DuplicateNameError, match="'run-1'"):
        gm.Datasets([*datasets, again["run-1"]])
    assert len(gm.Datasets([*datasets, again["run-1"].copy(name="again")])) == 4


def test_wrong_arguments(datasets, tmp_path):
    with pytest.raises(InputError, match="expected datasets, got 'run-1'"):
        gm.Datasets([datasets[0], "run-1"])
    with pytest.raises(StoreNotFoundError, match=r"nothing\.zarr"):
        gm.Datasets.read(tmp_path / "nothing.zarr")


def test_models_are_copies(datasets):
    own = models(datasets.names)
    before = as_text(own)
    datasets.set_models(own)
    for dataset in datasets:
        assert dataset.models.names == ["source", f"{dataset.name}-bkg"]
        assert not {id(p) for p in dataset.models.parameters} & {id(p) for p in own.parameters}
    stat = datasets.stat_sum()
    own.parameters["index"].value = 3.0
    assert datasets.stat_sum() == stat
    assert datasets["run-0"].models.parameters["index"].value == 2.3
    datasets.set_models_parameters(own.parameters)
    assert datasets["run-0"].models.parameters["index"].value == 3.0
    assert datasets.stat_sum() > stat + 10
    own.parameters["index"].value = 2.3
    datasets.set_models_parameters(own.parameters)
    assert datasets.stat_sum() == stat
    assert as_text(own) == before


def test_what_is_looked_at_is_a_copy(datasets):
    with_models(datasets)
    dataset = datasets[0]
    stat = dataset.stat_sum()
    dataset.models.parameters["index"].value = 5.0
    assert dataset.models.parameters["index"].value == 2.3
    assert dataset.stat_sum() == stat


def test_nothing_a_dataset_does_changes_the_global_models(datasets):
    own = models(datasets.names)
    before, ids = as_text(own), [id(p) for p in own.parameters]
    datasets.set_models(own)
    dataset = datasets[0]
    dataset.set_models(own)
    dataset.set_models_parameters(own.parameters)
    copied = dataset.copy(name="other")
    copied.stat_sum()
    copied.npred().compute()
    dataset.models["source"].spectral_model.freeze()
    for text in (repr(dataset), str(dataset), dataset._repr_html_(), datasets._repr_html_()):
        assert "run-0" in text
    datasets.set_models(None)
    assert as_text(own) == before
    assert [id(p) for p in own.parameters] == ids


def test_links_hold_within_a_copy(datasets):
    own = models(datasets.names)
    twin = own["source"].copy(name="twin")
    twin.spectral_model.index = own["source"].spectral_model.index
    own.append(twin)
    datasets.set_models(own)
    copied = datasets[0].models
    assert copied["twin"].spectral_model.index is copied["source"].spectral_model.index
    own.parameters["twin.spectral.index"].value = 2.9
    datasets.set_models_parameters(own.parameters)
    assert datasets[0].models.parameters["source.spectral.index"].value == 2.9


def test_one_dataset_alone(datasets):
    own = models(datasets.names)
    datasets["run-1"].set_models(own)
    assert datasets["run-1"].models.names == ["source", "run-1-bkg"]
    assert len(datasets["run-0"].models) == 0


def test_models_for_some_datasets(datasets):
    own = models(datasets.names)
    own["source"].datasets_names = ["run-2"]
    datasets.set_models(own)
    assert [len(dataset.models) for dataset in datasets] == [1, 1, 2]


@pytest.mark.parametrize("kind", ["background", "sky"])
def test_model_of_a_dataset_that_is_not_there(kind, datasets):
    own = with_models(datasets)
    before = [as_text(dataset.models) for dataset in datasets]
    stat = datasets.stat_sum()
    if kind == "background":
        bad = models([*datasets.names, "other"])
    else:
        bad = models(datasets.names)
        bad["source"].datasets_names = ["run-0", "other"]
    bad.parameters["index"].value = 3.0
    with pytest.raises(UnknownNameError, match=r"(other-bkg|source)'.*'other'"):
        datasets.set_models(bad)
    assert [as_text(dataset.models) for dataset in datasets] == before
    assert datasets.stat_sum() == stat
    assert len(own) == 4


def test_model_that_cannot_be_used(datasets):
    bare = gm.MapDataset(datasets["run-1"].cube.drop_vars("background"))
    mixed = gm.Datasets([datasets["run-0"], bare])
    mixed.set_models([gm.BackgroundIRFModel(dataset_name="run-0")])
    before = [as_text(dataset.models) for dataset in mixed]
    bad = gm.Models([gm.BackgroundIRFModel(dataset_name=name) for name in mixed.names])
    with pytest.raises(ModelError, match=r"'run-1-bkg'.*'run-1'"):
        mixed.set_models(bad)
    assert [as_text(dataset.models) for dataset in mixed] == before


class Flat(gm.models.SpatialModel):
    """A user's shape that returns one number for all pixels."""

    tag = ("Flat",)
    defaults = gm.PointSpatialModel.defaults

    def evaluate(self, grid, lon_0, lat_0):
        return lon_0 + lat_0


def test_wrong_classes_of_users(datasets):
    with_models(datasets)
    before = [as_text(dataset.models) for dataset in datasets]
    bad = gm.Models([gm.SkyModel(gm.PowerLawSpectralModel(), Flat(), name="bad")])
    for target in (datasets, datasets[0]):
        with pytest.raises(
            ModelError, match=r"bad\.spatial: Flat\.evaluate returns shape \(\), exp"
        ):
            target.set_models(bad)
    assert [as_text(dataset.models) for dataset in datasets] == before


def test_parameters_that_are_not_there(datasets):
    with_models(datasets)
    before = [as_text(dataset.models) for dataset in datasets]
    with pytest.raises(UnknownNameError, match=r"source\.spectral\.index"):
        datasets.set_models_parameters(gm.Models().parameters)
    assert [as_text(dataset.models) for dataset in datasets] == before


def test_parameters_for_all_datasets_or_none(datasets):
    with_models(datasets)
    before = [as_text(dataset.models) for dataset in datasets]
    fewer = models(["run-0", "run-1"])
    fewer.parameters["index"].value = 3.0
    with pytest.raises(UnknownNameError, match="run-2"):
        datasets.set_models_parameters(fewer.parameters)
    assert [as_text(dataset.models) for dataset in datasets] == before


def test_copy_has_models_of_its_own(datasets):
    own = with_models(datasets)
    own["source"].datasets_names = ["run-0", "run-1"]
    datasets[0:2].set_models(gm.Models([own["source"], own["run-0-bkg"], own["run-1-bkg"]]))
    before = as_text(datasets[0].models)
    copied = datasets[0].copy(name="other")
    assert copied.name == copied.cube.attrs["name"] == "other"
    assert [model.datasets_names for model in copied.models] == [["other", "run-1"], ["other"]]
    assert copied.stat_sum() == datasets[0].stat_sum()
    assert as_text(datasets[0].models) == before
    assert datasets[0].name == datasets[0].cube.attrs["name"] == "run-0"
    own.parameters["index"].value = 3.0
    datasets[0].set_models_parameters(own.parameters)
    assert copied.models.parameters["index"].value == 2.3
    same = datasets[0].copy()
    assert same.name == "run-0"
    assert as_text(same.models) == as_text(datasets[0].models)


def test_copy_can_be_fitted_beside_the_original(datasets, two_workers):
    with_models(datasets)
    both = gm.Datasets([datasets[0], datasets[0].copy(name="other")])
    totals = []
    for client in (None, two_workers):
        result = gm.Fit(both, client).run(models(both.names))
        assert result.success
        assert result.stat["run-0"] == result.stat["other"]
        totals.append(result.total_stat)
    assert totals[0] == totals[1]
