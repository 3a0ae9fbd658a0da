"""Checkpoints: a fit that was stopped anywhere goes on to the same bits, and repeats nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from astropy import units as u

import gmdask as gm
from gmdask.errors import FitInterrupted, InputError, InputNotFoundError
from gmdask.events import CheckpointFailed, FitPass
from gmdask.schemas import read_schema
from gmdask.store.checksums import encode_sealed
from tests.datasets.synthetic import models
from tests.fit.problems import bits

pytestmark = pytest.mark.slow

SHAPE = (
    0.15,
    0.0,
    10.0,
)  # round, where the slope by e vanishes: it is looked for along other angles


class CrashError(BaseException):
    """The process is gone."""


class Watch:
    """Counts passes, and ends the fit at one of them."""

    def __init__(self, at=None, error=CrashError):
        self.at, self.error, self.passes = at, error, []

    def __call__(self, event):
        if isinstance(event, FitPass):
            self.passes.append(event)
            if event.number == self.at:
                raise self.error


def reseal(path, content):
    """Write a checkpoint that was changed, with the checksum of what it is now."""
    path.write_bytes(
        encode_sealed({k: v for k, v in content.items() if k != "sha256"}, allow_nan=True)
    )


def start_of(datasets, *, extended=False):
    own = models(datasets.names, extended=extended)
    own["source"].spatial_model.lon_0.value += 0.07
    own["source"].spectral_model.amplitude.value *= 0.4
    if extended:
        shape = own["source"].spatial_model
        shape.sigma.value, shape.e.value, shape.phi.value = SHAPE
    return own


@pytest.fixture(scope="module")
def round_source(extended_store):
    return gm.Datasets.read(extended_store)


def undisturbed(datasets, **options):
    own, watch = start_of(datasets, extended=options.pop("extended", False)), Watch()
    result = gm.Fit(datasets, on_event=watch, **options).run(own)
    assert result.success, result.message
    return bits(result, own), result, len(watch.passes)


@pytest.mark.parametrize(
    ("fixture", "backend"),
    [("datasets", "newton"), ("round_source", "newton"), ("datasets", "minuit")],
)
def test_stopped_at_every_pass(fixture, backend, request, tmp_path):
    datasets, extended = request.getfixturevalue(fixture), fixture == "round_source"
    expected, result, n_passes = undisturbed(datasets, backend=backend, extended=extended)
    schema = read_schema("checkpoint.json")
    for at in range(2, n_passes + 1, 4 if extended else 2):
        path = tmp_path / f"{at}.json"
        with pytest.raises(CrashError):
            gm.Fit(datasets, backend=backend, checkpoint=path, on_event=Watch(at)).run(
                start_of(datasets, extended=extended)
            )
        kept = json.loads(path.read_text())
        jsonschema.validate(kept, schema)
        assert not kept["done"]
        before = kept["state"]["passes"]
        watch, own = Watch(), start_of(datasets, extended=extended)
        resumed = gm.Fit(
            datasets, backend=backend, checkpoint=path, resume=True, on_event=watch
        ).run(own)
        assert bits(resumed, own) == expected
        assert (resumed.passes, resumed.message) == (result.passes, result.message)
        assert [event.number for event in watch.passes] == list(range(before + 1, n_passes + 1))
        assert json.loads(path.read_text())["done"]
        path.unlink()
    assert list(tmp_path.iterdir()) == []


def test_other_bits_where_it_was_not_resumed_from_all(datasets, tmp_path):
    """The comparison above can fail: a smaller trust region than there was is another path."""
    expected, _, _ = undisturbed(datasets)
    path = tmp_path / "fit.json"
    with pytest.raises(CrashError):
        gm.Fit(datasets, checkpoint=path, on_event=Watch(3)).run(start_of(datasets))
    kept = json.loads(path.read_text())
    kept["state"]["search"]["radius"] = [0.3] * len(kept["state"]["search"]["radius"])
    reseal(path, kept)
    own = start_of(datasets)
    assert bits(gm.Fit(datasets, checkpoint=path, resume=True).run(own), own) != expected


def test_resumed_twice_and_on_workers(datasets, two_workers, tmp_path):
    expected, _result, n_passes = undisturbed(datasets)
    path, number = tmp_path / "fit.json", 0
    for at, client in ((2, None), (4, two_workers), (None, two_workers)):
        own, watch = start_of(datasets), Watch(at)
        fit = gm.Fit(datasets, client, checkpoint=path, resume=number > 0, on_event=watch)
        if at is not None:
            with pytest.raises(CrashError):
                fit.run(own)
            assert watch.passes[0].number == max(number, 1)
            number = at
        else:
            assert bits(fit.run(own), own) == expected
    assert watch.passes[-1].number == n_passes


def test_killed_process(datasets, survey_store, tmp_path):
    expected, _result, n_passes = undisturbed(datasets)
    path = tmp_path / "fit.json"
    code = (
        "import os, signal, sys; sys.path[:0] = sys.argv[3:]\n"
        "import gmdask as gm; from tests.fit.test_checkpoint import start_of\n"
        "def kill(event):\n"
        "    if getattr(event, 'edm', None) is not None and event.number == 4:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "datasets = gm.Datasets.read(sys.argv[1])\n"
        "gm.Fit(datasets, checkpoint=sys.argv[2], on_event=kill).run(start_of(datasets))\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, survey_store, path, root], check=False)
    assert done.returncode == -9
    own, watch = start_of(datasets), Watch()
    assert bits(gm.Fit(datasets, checkpoint=path, resume=True, on_event=watch).run(own), own) == (
        expected
    )
    assert len(watch.passes) <= n_passes - 3


def test_interrupted_keeps_the_best_point(datasets, tmp_path):
    expected, _, _ = undisturbed(datasets)
    path, own = tmp_path / "fit.json", start_of(datasets)
    start = own.parameters.value
    watch = Watch(4, KeyboardInterrupt)
    with pytest.raises(FitInterrupted) as caught:
        gm.Fit(datasets, checkpoint=path, on_event=watch).run(own)
    result = caught.value.result
    assert isinstance(caught.value, KeyboardInterrupt)
    assert not result.success
    assert "interrupted" in result.message
    best = [event for event in watch.passes[:3] if event.accepted][-1]
    assert result.total_stat == best.stat
    assert not np.array_equal(own.parameters.value, start)
    np.testing.assert_array_equal(result.parameters.value, own.parameters.value)
    assert datasets.stat_sum() == pytest.approx(result.total_stat, abs=1e-8)
    assert not own.parameters.error.any()
    assert "±" not in str(result)
    # with the models as they are now
    resumed = gm.Fit(datasets, checkpoint=path, resume=True).run(own)
    assert bits(resumed, own) == expected


def test_interrupted_before_a_point(datasets, tmp_path):
    own = start_of(datasets)
    before = own.parameters.value

    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        gm.Fit(datasets, checkpoint=tmp_path / "fit.json", on_event=interrupt).run(own)
    assert not isinstance(caught.value, FitInterrupted)
    np.testing.assert_array_equal(own.parameters.value, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["newton", "minuit"])
def test_limits_of_time_and_passes(backend, datasets, tmp_path):
    expected, result, _n_passes = undisturbed(datasets, backend=backend)
    own, path = start_of(datasets), tmp_path / "fit.json"
    first = gm.Fit(datasets, backend=backend, time_limit="1 ns", checkpoint=path).run(own)
    assert not first.success
    assert "time limit" in first.message
    assert (first.passes, first.passes_errors) == (1, 0)
    second = gm.Fit(datasets, backend=backend, max_passes=4, checkpoint=path, resume=True).run(own)
    assert not second.success
    assert "number of passes" in second.message
    third = gm.Fit(datasets, backend=backend, checkpoint=path, resume=True).run(own)
    assert bits(third, own) == expected
    assert third.passes == result.passes
    again = gm.Fit(datasets, backend=backend, checkpoint=path).run(start_of(datasets))  # is done
    assert again.success


@pytest.mark.parametrize("limit", [0, -1.0, "1 m", "soon", float("nan"), [1, 2]])
def test_no_time(limit, datasets):
    with pytest.raises(InputError, match="time_limit"):
        gm.Fit(datasets, time_limit=limit)


def test_another_fit_is_refused(datasets, tmp_path):
    path = tmp_path / "fit.json"
    with pytest.raises(InputNotFoundError, match=r"fit\.json: there is no checkpoint"):
        gm.Fit(datasets, checkpoint=path, resume=True).run(start_of(datasets))
    with pytest.raises(CrashError):
        gm.Fit(datasets, checkpoint=path, on_event=Watch(3)).run(start_of(datasets))
    kept = path.read_bytes()
    for options, word in (({"backend": "minuit"}, "backend"), ({}, "models"), ({}, "datasets")):
        own, some = start_of(datasets), datasets
        if word == "models":
            own["source"].spectral_model.index.frozen = True
        if word == "datasets":
            some = datasets[:2]
            own = start_of(some)
        with pytest.raises(InputError, match=word):
            gm.Fit(some, checkpoint=path, resume=True, **options).run(own)
    with pytest.raises(InputError, match="unfinished"):
        gm.Fit(datasets, checkpoint=path).run(start_of(datasets))
    assert path.read_bytes() == kept
    with pytest.raises(InputError, match="resume needs"):
        gm.Fit(datasets, resume=True)
    path.write_text("{")
    for resume in (True, False):
        with pytest.raises(InputError, match=r"fit\.json: is not a checkpoint"):
            gm.Fit(datasets, checkpoint=path, resume=resume).run(start_of(datasets))
    with pytest.raises(InputError, match="cannot be written"):
        gm.Fit(datasets, checkpoint=tmp_path / "no" / "fit.json").run(start_of(datasets))


def test_other_versions_are_told(datasets, tmp_path):
    path = tmp_path / "fit.json"
    with pytest.raises(CrashError):
        gm.Fit(datasets, checkpoint=path, on_event=Watch(3)).run(start_of(datasets))
    kept = json.loads(path.read_text())
    kept["versions"]["numpy"] = "0.9"
    reseal(path, kept)
    result = gm.Fit(datasets, checkpoint=path, resume=True).run(start_of(datasets))
    assert f"other versions: numpy 0.9, now {np.__version__}" in result.message


def test_datasets_in_memory(datasets, tmp_path):
    path = tmp_path / "fit.json"
    held = gm.Datasets([gm.MapDataset(dataset.cube.load()) for dataset in datasets])
    with pytest.raises(CrashError):
        gm.Fit(held, checkpoint=path, on_event=Watch(3)).run(start_of(held))
    cubes = [dataset.cube.copy(deep=True) for dataset in held]
    cubes[1]["counts"][0, 3, 4] += 1
    other = gm.Datasets([gm.MapDataset(cube) for cube in cubes])
    with pytest.raises(InputError, match="datasets"):
        gm.Fit(other, checkpoint=path, resume=True).run(start_of(other))
    assert gm.Fit(held, checkpoint=path, resume=True).run(start_of(held)).success


def damaged(content):
    """Function for each way to damage plain data: keys missing, or other types, shapes and numbers."""

    def walk(data, path):
        yield path, data
        items = data.items() if isinstance(data, dict) else ()
        for key, value in items:
            yield from walk(value, (*path, key))

    for path, data in walk(content, ()):
        if path in ((), ("asked",)) or path[:1] in (
            ("versions",),
            ("sha256",),
        ):
            continue
        others = {"nothing": None, "text": "x", "negative": -1, "list": [[1.0], [2.0]]}
        if isinstance(data, list) and data:
            nan = [float("nan")] * len(data)
            others |= {"shorter": data[:-1], "text in it": ["1", *data[1:]], "nan": nan}
        for what, other in others.items():
            if path[-1] in ("lowest", "floors", "stat", "done") and what in ("shorter", "negative"):
                continue  # as good as any
            if path[-1] in ("observed", "second") and what == "nothing":
                continue  # second derivatives need not be there
            yield (*path, what), path, other
        yield (*path, "missing"), path, KeyError


def changed(content, path, other):
    content = json.loads(json.dumps(content))
    place = content
    for key in path[:-1]:
        place = place[key]
    if other is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = other
    return content


def test_damaged_checkpoints_are_refused(datasets, tmp_path):
    """However it is damaged, with a checksum that fits: told in a line that names the file."""
    path = tmp_path / "fit.json"
    with pytest.raises(CrashError):
        gm.Fit(datasets, checkpoint=path, on_event=Watch(3)).run(start_of(datasets))
    whole = path.read_bytes()
    kept, told = json.loads(whole), []
    for name, where, other in damaged(kept):
        if where in (("state",),) and other is None:
            continue  # a fit that came to no point
        reseal(path, changed(kept, where, other))
        try:
            gm.Fit(datasets, checkpoint=path, resume=True).run(start_of(datasets))
            told.append((name, "taken"))
        except InputError as error:
            told.append((name, str(error).partition("fit.json: ")[1]))
    assert [name for name, words in told if words != "fit.json: "] == []
    assert len(told) > 80
    for at in range(len(whole) - 1, 0, -len(whole) // 40):  # flipped digits, and all else
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InputError, match=r"fit\.json: is not a checkpoint, or is damaged"):
            gm.Fit(datasets, checkpoint=path, resume=True).run(start_of(datasets))
    for at in (0, 1, 70, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at])
        with pytest.raises(InputError, match=r"fit\.json: is not a checkpoint, or is damaged"):
            gm.Fit(datasets, checkpoint=path, resume=True).run(start_of(datasets))
    path.write_bytes(whole)
    assert gm.Fit(datasets, checkpoint=path, resume=True).run(start_of(datasets)).success


def test_datasets_made_of_others(datasets, tmp_path):
    """Slices of stored datasets have no block; what they are made from stands for them."""
    path = tmp_path / "fit.json"
    low, high = 1 * u.TeV, 10 * u.TeV
    parts = datasets.slice_by_energy(low, high)
    with pytest.raises(CrashError):
        gm.Fit(parts, checkpoint=path, on_event=Watch(3)).run(start_of(parts))
    again, own = datasets.slice_by_energy(low, high), start_of(parts)
    expected, _, _ = undisturbed(parts)
    assert bits(gm.Fit(again, checkpoint=path, resume=True).run(own), own) == expected
    with pytest.raises(CrashError):
        gm.Fit(parts, checkpoint=path, on_event=Watch(3)).run(start_of(parts))
    other = datasets.slice_by_energy(low, 5 * u.TeV)
    with pytest.raises(InputError, match="another datasets"):
        gm.Fit(other, checkpoint=path, resume=True).run(start_of(other))


def test_two_at_once(datasets, tmp_path):
    path = tmp_path / "fit.json"

    def second(event):
        if isinstance(event, FitPass):
            for resume in (True, False):
                with pytest.raises(
                    InputError, match=r"another fit is running here \(host .*, process"
                ):
                    gm.Fit(datasets, checkpoint=path, resume=resume).run(start_of(datasets))
            told.append(event)

    told: list[FitPass] = []
    assert gm.Fit(datasets, checkpoint=path, on_event=second).run(start_of(datasets)).success
    assert told
    assert [file.name for file in tmp_path.iterdir()] == ["fit.json"]


def test_where_it_cannot_be_written_any_more(datasets, tmp_path):
    """The fit goes on, and tells it once."""
    path, told = tmp_path / "folder" / "fit.json", []
    path.parent.mkdir()

    def remove(event):
        if isinstance(event, FitPass) and event.number == 2:
            shutil.rmtree(path.parent)
        told.append(event)

    own = start_of(datasets)
    result = gm.Fit(datasets, checkpoint=path, on_event=remove).run(own)
    assert bits(result, own) == undisturbed(datasets)[0]
    failed = [event.error for event in told if isinstance(event, CheckpointFailed)]
    assert failed == [
        f"{path}: the checkpoint cannot be written: its folder was removed or replaced"
    ]
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_kept(datasets, tmp_path):
    (tmp_path / "notes.txt").write_text("mine, without an end of line")
    for options in ({"checkpoint": tmp_path / "notes.txt"}, {"events": tmp_path / "notes.txt"}):
        with pytest.raises(InputError, match=r"notes\.txt: "):
            gm.Fit(datasets, **options).run(start_of(datasets))
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine, without an end of line"
