"""The live view in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import gmdask as gm
from gmdask.events import FitPass
from tests.cli.in_process import assert_told, run
from tests.datasets.synthetic import models as true_models
from tests.datasets.synthetic import with_models

pytestmark = pytest.mark.slow

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
GMDASK = [sys.executable, "-c", "from gmdask.cli.main import main; main()"]
MODELS = "[...Bokeh.documents[0]._all_models.values()]"
TABLE = f"{MODELS}.find(m => m.type === 'DataTable').source.data"
PIXEL = f"""([title, x, y]) => {{
  const plot = {MODELS}.find(m => m.type === "Figure" && m.title.text.startsWith(title));
  const view = Bokeh.index.find_one(plot), box = view.el.getBoundingClientRect();
  return [box.left + view.frame.x_scale.compute(x), box.top + view.frame.y_scale.compute(y)];
}}"""
STATS = f"""() => {{
  const source = {MODELS}.find(m => m.type === "ColumnDataSource" && m.data.stat && m.data.at);
  return [source.data.at[0], source.data.stat[0]];
}}"""


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip("no chromium is installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser):
    """A page of 1280 × 800; fails if there are errors in its console or requests elsewhere."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    wrong: list[str] = []
    opened.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    local = re.compile(r"(https?|ws)://127\.0\.0\.1:|data:|blob:|file:|about:")
    opened.on("request", lambda r: None if local.match(r.url) else wrong.append(r.url))
    opened.on("response", lambda r: None if r.ok else wrong.append(f"{r.status} of {r.url}"))
    yield opened
    opened.close()
    assert wrong == []


def has_text(page, text: str) -> None:
    sync_api.expect(page.get_by_text(re.compile(text)).first).to_be_visible(timeout=30_000)


class Gate:
    """Lets a fit go on for a pass when it is told to."""

    def __init__(self) -> None:
        self._open = threading.Semaphore(0)

    def __call__(self, event) -> None:
        if isinstance(event, FitPass):
            self._open.acquire()

    def let(self, passes: int) -> None:
        self._open.release(passes)


class Running:
    """A fit in a thread."""

    def __init__(self, fit: gm.Fit, models: gm.Models) -> None:
        self._thread = threading.Thread(target=lambda: setattr(self, "result", fit.run(models)))
        self.result: gm.FitResult | None = None
        self._thread.start()

    def wait(self) -> gm.FitResult:
        self._thread.join(120)
        assert self.result is not None
        return self.result


def away(datasets: gm.Datasets) -> gm.Models:
    models = with_models(datasets)
    models["source"].spectral_model.index.value = 3.0
    return models


def test_numbers_move_during_a_fit_and_go_on_without_the_browser(
    datasets, survey_store, page
) -> None:
    alone = gm.Datasets.read(survey_store)
    expected = gm.Fit(alone).run(away(alone))
    gate = Gate()
    fit = gm.Fit(datasets, on_event=gate)
    view = fit.dashboard()
    try:
        assert view.url in view._repr_html_()
        page.goto(view.url)
        has_text(page, "waiting for the first event")
        running = Running(fit, away(datasets))
        gate.let(1)
        has_text(page, "pass 1")
        first = page.evaluate(f"() => {TABLE}.value")
        gate.let(2)
        has_text(page, "pass 3")
        page.wait_for_function(f"(first) => {TABLE}.value[0] !== first[0]", arg=first)
        for title in ("Statistic by pass", "Statistic per dataset", "Background norm per dataset"):
            page.evaluate(PIXEL, [title, 1, 1])  # the figures are there
        page.mouse.click(*page.evaluate(PIXEL, ["Statistic per dataset", *page.evaluate(STATS)]))
        sync_api.expect(page.get_by_alt_text("maps of run-0")).to_be_visible(timeout=60_000)
        page.get_by_text("Log", exact=True).click()
        has_text(page, "pass 2: statistic")
        page.close()
        gate.let(1000)
        result = running.wait()
        assert result.total_stat == expected.total_stat  # to the last bit
        assert result.passes == expected.passes
    finally:
        gate.let(1000)
        view.stop()


@pytest.fixture(scope="module")
def output(survey_store, tmp_path_factory) -> Path:
    """Output of a fit of gmdask fit."""
    folder = tmp_path_factory.mktemp("output")
    names = gm.Datasets.read(survey_store).names
    true_models(names).write(folder / "start.yaml", full_output=True)
    cluster = ("--cluster", "local", "--workers", "1")
    assert_told(run("fit", survey_store, "start.yaml", "-o", "out", *cluster, cwd=folder), 0)
    return folder / "out"


def test_command_shows_a_fit_that_ended(output, page) -> None:
    command = [*GMDASK, "dashboard", str(output)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+/\S*", line)
            assert url is not None, line
            page.goto(url[0])
            has_text(page, "done: converged")
            page.wait_for_function(f"() => {TABLE}.name.length === 4")
            page.mouse.click(
                *page.evaluate(PIXEL, ["Statistic per dataset", *page.evaluate(STATS)])
            )
            sync_api.expect(page.get_by_alt_text("maps of run-0")).to_be_visible(timeout=60_000)
        finally:
            page.close()
            process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert told == ""


def test_report_needs_nothing_else(output, page, tmp_path) -> None:
    path = tmp_path / "report.html"
    assert_told(run("report", output, "-o", path, cwd=tmp_path), 0)
    moved = tmp_path / "elsewhere" / "report.html"
    moved.parent.mkdir()
    path.rename(moved)
    page.goto(moved.as_uri())
    for heading in (
        "Parameters",
        "Correlations",
        "Spectra",
        "Residuals",
        "Datasets",
        "Passes",
        "Provenance",
    ):
        sync_api.expect(page.get_by_role("heading", name=heading)).to_be_visible()
    sizes = page.evaluate("() => [...document.images].map(i => i.naturalWidth)")
    assert len(sizes) >= 7
    assert min(sizes) > 300
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 1280
    has_text(page, "source.spectral.index")


def test_report_without_its_store_says_so_and_takes_nothing_for_html(output, tmp_path) -> None:
    from gmdask.plot.report import write_report

    evil = "<script>alert(1)</script>"
    copy = tmp_path / "out"
    shutil.copytree(output, copy)
    result = json.loads((copy / "result.json").read_text())
    result["message"] = result["store"]["url"] = evil
    (copy / "result.json").write_text(json.dumps(result))
    report = write_report(copy).read_text()
    assert "There are no maps" in report
    assert "cm-2 s-1 TeV-1" in report  # as in the view
    assert "1 / (" not in report
    assert evil not in report
    assert "&lt;script&gt;" in report


def test_report_without_a_result(tmp_path) -> None:
    from gmdask.errors import InputNotFoundError
    from gmdask.plot.report import write_report

    with pytest.raises(InputNotFoundError, match=r"result\.json"):
        write_report(tmp_path)
