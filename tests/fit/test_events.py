"""What a fit tells of itself: to subscribers, and in a file that others follow."""

from __future__ import annotations

import json
import logging

import pytest

import gmdask as gm
from gmdask.errors import FitInterrupted, InputError
from gmdask.events import Accepted, Bus, EventFile, FitEnd, FitPass, read_events, record
from tests.datasets.synthetic import with_models


@pytest.fixture
def told(survey_store, tmp_path):
    """Result and events of a fit whose subscriber fails every time, and its file."""
    datasets = gm.Datasets.read(survey_store)
    models, seen = with_models(datasets), []
    models["source"].spatial_model.lon_0.value += 0.03

    def broken(event):
        seen.append(event)
        message = "a picture cannot be drawn"
        raise ValueError(message)

    file = tmp_path / "events.jsonl"
    fit = gm.Fit(
        datasets, on_event=broken, events=file, checkpoint=tmp_path / "checkpoint.json"
    )  # fmt: skip
    return fit.run(models), seen, file


def test_a_fit(told, survey_store):
    result, seen, file = told
    assert result.success
    events, offset = read_events(file)
    assert offset == file.stat().st_size
    assert [event["event"] for event in events] == [type(event).__name__ for event in seen]
    kinds = [event["event"] for event in events]
    assert kinds[:2] == ["FitStart", "CompileEnd"]
    assert kinds[-1] == "FitEnd"
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    start, (*_, last) = events[0], [event for event in events if event["event"] == "Accepted"]
    n_datasets = len(start["datasets"])
    assert start["store"] == str(survey_store)
    assert start["datasets"] == gm.Datasets.read(survey_store).names
    assert last["stat"] == result.total_stat
    assert last["stats"] == [result.stat[name] for name in start["datasets"]]
    parameters = result.parameters
    assert last["values"] == [parameters[name].value for name in start["parameters"]]
    assert start["units"] == [str(parameters[name].unit) for name in start["parameters"]]
    errors = [parameters[name].error for name in start["parameters"]]
    assert last["errors"] == errors  # of the result, for those who watch
    norms = [parameters[f"{name}-bkg.spectral.norm"].value for name in start["datasets"]]
    assert last["local"] == norms
    passes = [event for event in events if event["event"] == "FitPass"]
    assert passes[-1]["number"] == result.passes == events[-1]["passes"]
    written = kinds.count("CheckpointWritten")
    assert written == kinds.count("Accepted") - 1 == sum(p["accepted"] for p in passes) > 1
    assert len(last["stats"]) == n_datasets


def test_a_failing_subscriber_is_logged_once(caplog):
    heard = []

    def broken(event):
        raise OSError(event.message)

    bus = Bus([broken])
    bus.subscribe(heard.append)
    for i in range(3):
        bus(FitEnd(True, f"end {i}", i))
    assert len(heard) == 3
    (entry,) = [r for r in caplog.records if r.name.startswith("gmdask.events")]
    assert entry.levelno == logging.ERROR
    assert "end 0" in caplog.text
    bus.unsubscribe(heard.append)
    bus(FitEnd(True, "end", 3))
    assert len(heard) == 3


def test_an_interruption_is_no_failure_of_a_subscriber():
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Bus([interrupted])(FitEnd(True, "", 0))


def test_what_is_not_finite():
    assert record(FitPass(1, 2.0, float("inf"), float("nan"), True)) | {"time": ""} == {
        "event": "FitPass", "time": "", "number": 1, "stat": 2.0, "best": None, "edm": None, "accepted": True,
    }  # fmt: skip


def test_lines_that_are_not_whole(tmp_path):
    path = tmp_path / "events.jsonl"
    assert read_events(path) == ([], 0)
    EventFile(path)(FitEnd(True, "größer", 1))
    ((first,), offset) = read_events(path)
    assert first["message"] == "größer"
    with path.open("a") as file:
        file.write('{"event": "FitPa')
    assert read_events(path, offset) == ([], offset)
    EventFile(path)(FitEnd(False, "second", 2))  # of one that goes on after a kill
    ((second,), end) = read_events(path, offset)
    assert second["message"] == "second"
    assert all(json.loads(line) for line in path.read_text().splitlines())
    path.unlink()
    EventFile(path)(FitEnd(True, "new", 1))  # shorter than what was read
    assert end > path.stat().st_size
    assert [event["message"] for event in read_events(path, end)[0]] == ["new"]


def test_a_fit_that_fails(survey_store, tmp_path):
    datasets = gm.Datasets.read(survey_store)
    models, file = with_models(datasets), tmp_path / "events.jsonl"
    (tmp_path / "checkpoint.json").write_text("{}")
    fit = gm.Fit(datasets, checkpoint=tmp_path / "checkpoint.json", events=file)
    with pytest.raises(InputError):
        fit.run(models)
    (failed,) = read_events(file)[0]
    assert failed["event"] == "FitFailed"
    assert "not a checkpoint" in failed["error"]


def test_interrupted_at_the_first_accepted_point(survey_store, tmp_path):
    """As by a signal while a subscriber is at work: the point is in the checkpoint."""
    datasets = gm.Datasets.read(survey_store)
    models, file = with_models(datasets), tmp_path / "events.jsonl"

    def interrupt(event):
        if isinstance(event, Accepted):
            raise KeyboardInterrupt

    told = {"checkpoint": tmp_path / "checkpoint.json", "events": file}
    with pytest.raises(FitInterrupted):
        gm.Fit(datasets, on_event=interrupt, **told).run(models)
    assert read_events(file)[0][-1]["event"] == "FitEnd"
    result = gm.Fit(datasets, resume=True, **told).run(models)
    assert result.success
    events, _ = read_events(file)
    assert [e["passes"] for e in events if e["event"] == "FitStart"] == [0, 1]


def test_workers(survey_store, two_workers, tmp_path):
    datasets = gm.Datasets.read(survey_store)
    models, file = with_models(datasets), tmp_path / "events.jsonl"
    gm.Fit(datasets, two_workers, events=file).run(models)
    events, _ = read_events(file)
    planned = next(event for event in events if event["event"] == "Planned")
    assert (planned["workers"], planned["limit"]) == (2, 2_000_000_000)
    workers = next(event for event in events if event["event"] == "Workers")
    assert set(workers["addresses"]) == set(two_workers.nthreads())
    assert workers["limit"] == [2_000_000_000] * 2
    assert all(memory > 10_000_000 for memory in workers["memory"])
