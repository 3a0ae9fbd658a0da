"""The course of a fit from its events, wherever they come from."""

from __future__ import annotations

import asyncio
import json
import math
import re
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pytest
from bokeh.util.token import generate_jwt_token
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

import gmdask as gm
from gmdask.dashboard import BusFeed, ClusterFeed, Dashboard, FolderFeed
from gmdask.errors import InputError, InputNotFoundError
from gmdask.events import (
    Accepted,
    DatasetsProgress,
    EventFile,
    FitEnd,
    FitFailed,
    FitPass,
    FitStart,
    record,
)
from gmdask.plot import History, plot_passes
from gmdask.plot.style import new_figure
from tests.datasets.synthetic import with_models


def start(passes: int = 0) -> FitStart:
    return FitStart(("a.spectral.index",), ("",), None, ("run-0", "run-1"), passes, "exact")


def of_pass(number: int, stat: float, *, accepted: bool = True) -> FitPass:
    return FitPass(number, stat, stat, math.nan, accepted)


def of_point(number: int, stat: float) -> Accepted:
    return Accepted(number, stat, (2.0 + number,), (0.1,), (stat / 2, stat / 2), (1.1, None))


def history_of(*events) -> History:
    history = History()
    history.add(map(record, events))
    return history


def test_status_and_log() -> None:
    assert History().status == "waiting for the first event"
    assert history_of(start()).status == "compiling"
    some = DatasetsProgress("compile", 1, 2)
    assert history_of(start(), some).status == "compiling: 1 of 2 datasets"
    assert history_of(start(), some, of_pass(1, 5.0)).status == "pass 1"
    assert history_of(start(), of_pass(1, 5.0)).status == "pass 1"
    done = history_of(start(), of_pass(1, 5.0), FitEnd(True, "converged", 1))
    assert done.status == "done: converged"
    assert [text for _, text in done.log] == [
        "fit of memory: 2 datasets, 1 shared parameter",
        "pass 1: statistic 5.0000",
        "done: converged (1 pass)",
    ]
    assert history_of(start(), FitFailed("no memory")).status == "failed: no memory"


def test_a_fit_that_goes_on_makes_its_last_passes_again() -> None:
    events = [start(), of_pass(1, 9), of_point(1, 9), of_pass(2, 5), of_point(2, 5), of_pass(3, 4)]
    history = history_of(*events, start(passes=2), of_pass(3, 4.5))
    assert [p["stat"] for p in history.passes] == [9, 5, 4.5]
    assert history_of(*events, start(), of_pass(1, 8)).accepted == []  # another fit


def test_passes_are_drawn_with_what_is_not_finite_left_out() -> None:
    axes = new_figure().add_subplot()
    history = history_of(
        start(), of_pass(1, 9), of_pass(2, math.inf, accepted=False), of_pass(3, 5)
    )
    plot_passes(history, axes)
    assert list(axes.lines[0].get_xdata()) == [1, 3]
    axes.figure.canvas.draw()
    plot_passes(History(), new_figure().add_subplot()).figure.canvas.draw()


def test_events_of_a_folder_come_as_they_are_written(tmp_path: Path) -> None:
    feed = FolderFeed(tmp_path)
    assert feed.poll() == []
    write = EventFile(tmp_path / "events.jsonl")
    write(start())
    assert [e["event"] for e in feed.poll()] == ["FitStart"]
    with (tmp_path / "events.jsonl").open("a") as file:
        line = json.dumps(record(of_pass(1, 3.0))) + "\n"
        file.write(line[:20])
        file.flush()
        assert feed.poll() == []  # half a line
        file.write(line[20:])
    assert [e["number"] for e in feed.poll()] == [1]
    write(FitEnd(True, "converged", 1))
    assert [e["event"] for e in feed.poll()] == ["FitEnd"]


def test_no_such_folder() -> None:
    with pytest.raises(InputNotFoundError, match="no such folder"):
        FolderFeed("nowhere")


def test_a_dataset_has_the_values_of_the_last_point(datasets) -> None:
    models = with_models(datasets)
    feed, name = BusFeed(datasets), datasets.names[0]
    fit = gm.Fit(datasets, max_passes=2)
    fit.bus.subscribe(feed)
    fit.optimize(models)
    history = History()
    history.add(feed.poll())
    assert len(history.accepted) >= 1
    dataset = feed.dataset(name, history)
    point = history.accepted[-1]
    values = dict(zip(history.start["parameters"], point["values"], strict=True))
    for key, value in values.items():
        assert dataset.models.parameters[key].value == value
    assert dataset.models[f"{name}-bkg"].parameters["norm"].value == point["local"][0]
    assert dataset is not datasets[name]


def test_events_are_on_the_cluster_for_those_elsewhere(datasets, two_workers) -> None:
    models = with_models(datasets)
    feed = ClusterFeed(two_workers)
    feed.poll()
    gm.Fit(datasets, two_workers).run(models)
    history = History()
    history.add(feed.poll())
    assert history.end is not None
    assert history.status.startswith("done")
    assert feed.poll() == []
    with pytest.raises(InputError, match="need the models"):
        feed.dataset("run-0", history)


def test_port_that_is_taken(tmp_path: Path) -> None:
    first = Dashboard(FolderFeed(tmp_path))
    try:
        assert first.url.startswith("http://127.0.0.1:")
        port = urlsplit(first.url).port
        with pytest.raises(InputError, match="cannot listen on"):
            Dashboard(FolderFeed(tmp_path), port=port)
    finally:
        first.stop()


def first_message(place: SplitResult, token: str) -> str | None:
    """What the socket of a page sends first; None where it is closed."""

    async def ask() -> str | None:
        request = HTTPRequest(
            f"ws://{place.netloc}/ws", headers={"Origin": f"http://{place.netloc}"}
        )
        connection = await websocket_connect(request, subprotocols=["bokeh", token])
        first = found = await asyncio.wait_for(connection.read_message(), 10)
        connection.close()
        while found is not None:  # until it is closed
            found = await asyncio.wait_for(connection.read_message(), 10)
        return first

    return asyncio.run(ask())


def test_only_who_has_the_url_sees_the_view(tmp_path: Path) -> None:
    view, another = Dashboard(FolderFeed(tmp_path)), Dashboard(FolderFeed(tmp_path))
    place = urlsplit(view.url)
    query = place.query

    def answer(path: str, **headers: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", place.port, timeout=10)
        try:
            connection.request("GET", path, headers=headers)
            found = connection.getresponse()
            return found.status, found.read().decode()
        finally:
            connection.close()

    try:
        assert len(query) > len("token=") + 30
        code, page = answer(f"/?{query}")
        assert code == answer(f"/?{query}", Host=f"localhost:{place.port}")[0] == 200
        foreign = (
            "evil.example",
            f"evil.example:{place.port}",
            "127.0.0.1.example",
            "localhost.",
            "10.0.0.1",
            "",
        )
        for host in foreign:
            assert answer(f"/?{query}", Host=host)[0] == 404
            assert answer("/static/js/bokeh.min.js", Host=host)[0] == 404
        for other in ("", "token=", "token=x", f"{query}x", urlsplit(another.url).query):
            for path in ("/", "/autoload.js", "/metadata"):
                assert answer(f"{path}?{other}")[0] == 404
        (signed,) = re.findall(r'"token":"([^"]+)"', page)
        assert '"ACK"' in (first_message(place, signed) or "")
        assert first_message(place, generate_jwt_token("forged", signed=False)) is None
        upgrade = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": f"bokeh, {signed}",
        }  # fmt: skip
        assert answer("/ws", Origin="http://evil.example", **upgrade)[0] == 403
    finally:
        view.stop()
        another.stop()
