"""The page of the live view: figures and tables that follow the progress of a fit."""

from __future__ import annotations

from concurrent.futures import Future
from html import escape
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, HoverTool, InlineStyleSheet, TabPanel, Tabs, TapTool
from bokeh.models.annotations import Whisker
from bokeh.models.widgets import DataTable, Div, Select, StringFormatter, TableColumn
from bokeh.plotting import figure

from gmdask.dashboard.maps import MapMaker
from gmdask.models.units import unit_text
from gmdask.plot import History
from gmdask.plot.style import DATA, MODEL, PALETTE

__all__ = ["Page"]

WIDTH, TOP, BELOW = 1240, 300, 380
THIRD = WIDTH // 3
EVERY_MS = 2000  # showing an update takes 20 ms of this process
MAPS_TAB = 1
WORKERS = "Memory of workers (line: limit)"
EMPTY = "<p>Click on a dataset in the figure of the statistic per dataset to see its maps.</p>"


class Page:
    """One page in one browser.

    Parameters
    ----------
    history : `History`
        History of the fit, which is updated by the server.
    maps : `MapMaker`
    name : str
        Name of the fit that is shown.
    """

    def __init__(self, history: History, maps: MapMaker, name: str) -> None:
        self._history, self._maps, self._name = history, maps, name
        self._shown: dict[str, object] = {}
        self._picture: Future[str] | None = None
        self._head = Div(width=WIDTH, name="status")
        self._log = Div(name="log", width=WIDTH, height=BELOW - 10, styles={"overflow-y": "auto"})
        self._map = Div(text=EMPTY, name="maps", width=WIDTH, height=BELOW)
        none: list[Any] = []
        self._passes = ColumnDataSource({"number": none, "rise": none, "stat": none, "color": none})
        self._parameters = ColumnDataSource(
            {"name": none, "value": none, "error": none, "unit": none}
        )
        self._course = ColumnDataSource({"number": none, "value": none, "low": none, "high": none})
        self._stats = ColumnDataSource({"at": none, "name": none, "stat": none})
        self._norms = ColumnDataSource({"at": none, "name": none, "norm": none})
        self._workers = ColumnDataSource({"at": none, "name": none, "memory": none, "limit": none})
        self._select = Select(options=[], width=THIRD - 20, height=30)
        self._select.on_change("value", self._chosen)
        self._course_figure: Any = None
        self._pass_figure: Any = None
        self._workers_figure: Any = None
        self._tabs = Tabs(tabs=[])

    def add_to(self, document: Document) -> None:
        """Lay out the page, and update it regularly."""
        self._pass_figure = self._figure_of_passes()
        self._course_figure = self._figure_of_course()
        top = row(
            self._pass_figure, self._table(), column(self._select, self._course_figure), spacing=8
        )
        self._workers_figure = self._figure_of_workers()
        runs = row(self._figure_of_stats(), self._figure_of_norms(), self._workers_figure)
        self._tabs.tabs = [
            TabPanel(child=runs, title="Datasets and workers"),
            TabPanel(child=self._map, title="Maps"),
            TabPanel(child=self._log, title="Log"),
        ]
        document.title = f"gmdask: {self._name}"
        document.add_root(column(self._head, top, self._tabs, margin=(4, 10, 0, 10)))
        self.update()
        document.add_periodic_callback(self.update, EVERY_MS)

    # --- updates -----------------------------------------------------------------------

    def update(self) -> None:
        """Show what has changed."""
        if self._picture is not None and self._picture.done():
            self._map.text, self._picture = self._picture.result(), None
        history = self._history
        last = history.log[-1] if history.log else None
        if self._is_new("log", (last, len(history.log), history.status)):
            self._show_head()
            self._log.text = "".join(
                f"<div><code>{escape(time[11:19])}</code> {escape(text)}</div>"
                for time, text in reversed(history.log)
            )
        if self._is_new("passes", history.passes[-1:]):
            self._show_passes()
        if self._is_new("point", history.accepted[-1:]):
            self._show_point()
        if self._is_new("workers", (history.workers, bool(history.passes))):
            self._show_workers()

    def _is_new(self, what: str, state: object) -> bool:
        """Whether a state differs from the one shown last."""
        old, self._shown[what] = self._shown.get(what), state
        return old != state

    def _show_head(self) -> None:
        history = self._history
        lowest, known = history.rises()
        best = f", statistic <b>{lowest:.4f}</b>" if known else ""
        n = len(history.start.get("datasets", ()))
        datasets = f", {n} datasets" if n else ""
        self._head.text = (
            f"<span style='font-size:1.15rem'>{escape(self._name)}: <b>{escape(history.status)}</b>"
            f"{best}{datasets}, {len(history.passes)} passes</span>"
        )

    def _show_passes(self) -> None:
        lowest, known = self._history.rises()
        self._passes.data = {
            "number": [p["number"] for p, _ in known],
            "rise": [rise for _, rise in known],
            "stat": [p["stat"] for p, _ in known],
            "color": [DATA if p["accepted"] else MODEL for p, _ in known],
        }
        self._pass_figure.yaxis.axis_label = f"statistic - {lowest:.2f}"

    def _show_point(self) -> None:
        history = self._history
        if not history.accepted:
            return
        point, start = history.accepted[-1], history.start
        errors = point["errors"] or [None] * len(point["values"])
        self._parameters.data = {
            "name": start["parameters"],
            "value": [f"{value:.6g}" for value in point["values"]],
            "error": ["" if not error else f"{error:.2g}" for error in errors],
            "unit": [unit_text(unit) for unit in start["units"]],
        }
        if self._select.options != start["parameters"]:
            self._select.options = list(start["parameters"])
            self._select.value = start["parameters"][0] if start["parameters"] else ""
        numbers = list(range(1, len(start["datasets"]) + 1))
        self._stats.data = {"at": numbers, "name": start["datasets"], "stat": point["stats"]}
        if point["local"] is not None:
            norms = [float("nan") if norm is None else norm for norm in point["local"]]
            self._norms.data = {"at": numbers, "name": start["datasets"], "norm": norms}
        self._show_course()

    def _show_course(self) -> None:
        """Draw the chosen parameter against the pass, with its error."""
        names = self._history.start.get("parameters", [])
        if self._select.value not in names:
            return
        k = names.index(self._select.value)
        points = self._history.accepted
        values = [point["values"][k] for point in points]
        errors = [
            0.0 if point["errors"] is None else (point["errors"][k] or 0.0) for point in points
        ]
        pairs = list(zip(values, errors, strict=True))
        self._course.data = {
            "number": [point["number"] for point in points],
            "value": values,
            "low": [value - error for value, error in pairs],
            "high": [value + error for value, error in pairs],
        }
        unit = unit_text(self._history.start["units"][k])
        self._course_figure.yaxis.axis_label = f"value [{unit}]" if unit else "value"

    def _show_workers(self) -> None:
        workers = self._history.workers
        addresses = workers.get("addresses", [])
        memory, limit = ([n / 1e6 for n in workers.get(key, [])] for key in ("memory", "limit"))
        none = self._history.passes and not addresses
        self._workers_figure.title.text = "No workers: one process" if none else WORKERS
        self._workers.data = {
            "at": list(range(1, len(addresses) + 1)), "name": addresses, "memory": memory,
            "limit": [n or float("nan") for n in limit],
        }  # fmt: skip

    def _chosen(self, attr: str, old: object, new: object) -> None:  # noqa: ARG002
        self._show_course()

    def _tapped(self, attr: str, old: object, new: list[int]) -> None:  # noqa: ARG002
        """Request the maps of the dataset that was clicked on."""
        if new:
            name = self._stats.data["name"][new[0]]
            self._map.text = f"<p>Drawing the maps of {escape(name)} …</p>"
            self._tabs.active = MAPS_TAB
            self._picture = self._maps.ask(name, self._history)
            self._stats.selected.indices = []

    # --- figures -----------------------------------------------------------------------

    def _figure(self, title: str, x: str, y: str, **options: Any) -> Any:
        drawn: Any = figure(
            title=title, x_axis_label=x, y_axis_label=y, toolbar_location=None, tools="",
            **{"width": THIRD, "height": BELOW, **options},
        )  # fmt: skip
        drawn.xaxis.ticker.desired_num_ticks = 6
        drawn.xaxis.ticker.num_minor_ticks = 0
        drawn.xaxis.ticker.min_interval = 1
        return drawn

    def _figure_of_passes(self) -> Any:
        drawn = self._figure(
            "Statistic by pass (orange: rejected)", "pass", "statistic", height=TOP,
            y_axis_type="log",
        )  # fmt: skip
        drawn.line("number", "rise", source=self._passes, color="#999999")
        drawn.scatter("number", "rise", source=self._passes, color="color", size=7)
        drawn.add_tools(HoverTool(tooltips=[("pass", "@number"), ("statistic", "@stat{0.0000}")]))
        return drawn

    def _figure_of_course(self) -> Any:
        drawn = self._figure("Parameter by pass", "pass", "value", height=TOP - 40)
        drawn.line("number", "value", source=self._course, color=DATA)
        drawn.scatter("number", "value", source=self._course, color=DATA, size=6)
        drawn.add_layout(
            Whisker(base="number", upper="high", lower="low", source=self._course, line_color=DATA)
        )
        return drawn

    def _figure_of_stats(self) -> Any:
        drawn = self._figure("Statistic per dataset (click for maps)", "dataset", "statistic")
        drawn.scatter("at", "stat", source=self._stats, color=DATA, size=9)
        drawn.add_tools(HoverTool(tooltips="@name: @stat{0.00}"), TapTool())
        self._stats.selected.on_change("indices", self._tapped)
        return drawn

    def _figure_of_norms(self) -> Any:
        drawn = self._figure("Background norm per dataset", "dataset", "norm")
        drawn.scatter("at", "norm", source=self._norms, color=PALETTE[2], size=8)
        drawn.add_tools(HoverTool(tooltips="@name: @norm{0.000}"))
        return drawn

    def _figure_of_workers(self) -> Any:
        drawn = self._figure(WORKERS, "worker", "memory [MB]")
        drawn.vbar("at", top="memory", width=0.6, source=self._workers, color=PALETTE[5])
        drawn.scatter(
            "at", "limit", source=self._workers, marker="dash", color=MODEL, size=40, line_width=3
        )
        drawn.y_range.start = 0
        drawn.add_tools(HoverTool(tooltips="@name: @memory{0} of @limit{0} MB"))
        return drawn

    def _table(self) -> Any:
        wide = InlineStyleSheet(css=".slick-cell { font-size: 11px; }")
        columns = [
            TableColumn(field="name", title="parameter", width=165),
            TableColumn(field="value", title="value", width=80, formatter=StringFormatter(text_align="right")),
            TableColumn(field="error", title="error", width=52, formatter=StringFormatter(text_align="right")),
            TableColumn(field="unit", title="unit", width=105),
        ]  # fmt: skip
        return DataTable(
            source=self._parameters, columns=columns, width=THIRD, height=TOP, index_position=None,
            sortable=False, reorderable=False, name="parameters", stylesheets=[wide], row_height=22,
        )  # fmt: skip
