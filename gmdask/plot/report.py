"""The report of a fit: one self-contained HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy import units as u

from gmdask.atomic_files import write_atomically
from gmdask.datasets import Datasets, counted
from gmdask.errors import GmdaskError, InputError, ModelError, StoreExistsError
from gmdask.events import read_events
from gmdask.inputs import load_json, read_bytes
from gmdask.models import Models, SkyModel
from gmdask.models.units import parse_unit, unit_text
from gmdask.own_files import OwnFiles
from gmdask.paths import expanded
from gmdask.plot.history import History, plot_passes
from gmdask.plot.irf import plot_energy_dispersion, plot_exposure, plot_psf_containment
from gmdask.plot.residuals import draw_maps, plot_residuals
from gmdask.plot.sed import plot_sed
from gmdask.plot.statistics import plot_correlation
from gmdask.plot.style import DATA, new_figure, png_tag
from gmdask.plot.sums import MAX_DATASETS, sum_up
from gmdask.schemas import schema_problems
from gmdask.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["read_result", "write_report"]

REPORT = "report.html"
MAX_SEDS = 12
MAX_MAPS = 3  # number of datasets with maps of their own: those with the highest statistic
MAX_ROWS = 500
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; border-bottom: 1px solid #eee; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } img { max-width: 100%; height: auto; }
.good { color: #00694f; } .bad { color: #b04a00; } nav a { margin-right: 1rem; } figure { margin: 1rem 0; }
"""


def read_result(folder: str | Path) -> dict[str, Any]:
    """Read the ``result.json`` of a fit.

    Parameters
    ----------
    folder : str or path
        Output folder of ``gmdask fit``.

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    InputError
        If it is not a result.
    """
    path = expanded(folder) / "result.json"
    content = load_json(read_bytes(path, "result of a fit that ended"), str(path))
    if not isinstance(content, dict) or not str(content.get("schema")).startswith(
        "gmdask result 1."
    ):
        msg = f"{path}: is not the result of a fit of gmdask"
        raise InputError(msg)
    if problems := schema_problems(content, "result.json"):
        msg = f"{path}: {'; '.join(problems)}"
        raise InputError(msg)
    for parameter in content["parameters"]:
        try:
            parse_unit(parameter["unit"])
        except ModelError as error:
            raise InputError(f"{path}: parameter {parameter['name']!r}: {error}") from error
    return content


def write_report(
    folder: str | Path, path: str | Path | None = None, *, overwrite: bool = False
) -> Path:
    """Write the report of a finished fit.

    If the store of the fit does not exist any more, or has changed, there are no maps, and the report says so.

    Parameters
    ----------
    folder : str or path
        Output folder of ``gmdask fit``.
    path : str or path, optional
        The HTML file, by default ``report.html`` in the folder.
    overwrite : bool
        Whether to replace an existing file; the report in the folder is replaced in any case,
        unless it was edited.

    Returns
    -------
    path : `~pathlib.Path`

    Raises
    ------
    InputError
        If the file does not end with ``.html``.
    InputNotFoundError
        If there is no result.
    StoreExistsError
        If the file exists and may not be replaced.
    """
    folder = expanded(folder)
    own = OwnFiles(folder)
    target = folder / REPORT if path is None else expanded(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{target}: expected a name that ends with .html")
    is_ours = target.absolute() == (folder / REPORT).absolute() and own.owns(REPORT)
    if os.path.lexists(target) and not is_ours and not overwrite:
        msg = f"{target}: already exists (--overwrite replaces it)"
        raise StoreExistsError(msg)
    result, models = read_result(folder), Models.read(folder / "models.yaml")
    history = History()
    history.add(read_events(folder / "events.jsonl")[0])
    datasets = _opened(result, models)
    sections = [
        ("Parameters", _parameters(result)),
        ("Correlations", _image("correlation matrix", lambda ax: plot_correlation(models.covariance, ax), (10, 8.5))),
        ("Spectra", _spectra(models, datasets)),
        ("Residuals", _residuals(result, datasets)),
        ("Datasets", _datasets(result)),
        ("Passes", _passes(history)),
        ("Provenance", _provenance(result)),
    ]  # fmt: skip
    title = escape(f"Fit {folder.resolve().name}")
    links = "".join(f'<a href="#{name.lower()}">{name}</a>' for name, _ in sections)
    body = "".join(f'<h2 id="{name.lower()}">{name}</h2>{html}' for name, html in sections)
    content = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>{_head(result)}<nav>{links}</nav>{body}</body></html>\n"
    ).encode()
    if path is None:
        own.write(REPORT, content)
    else:
        write_atomically(target, content)
    return target


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a table of texts; columns of numbers are aligned to the right."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    lines = []
    for row in rows[:MAX_ROWS]:
        kinds = (' class="n"' if k in numbers else "" for k in range(len(row)))
        cells = (f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds, row, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    more = f"<p>… and {len(rows) - MAX_ROWS} more.</p>" if len(rows) > MAX_ROWS else ""
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>{more}"


def _embedded(figure: Figure, text: str) -> str:
    return f"<figure>{png_tag(figure, text, 110)}</figure>"


def _image(
    text: str, draw: Callable[[Axes], object], size: tuple[float, float] = (7.5, 4.8)
) -> str:
    figure = new_figure(size)
    draw(figure.add_subplot())
    return _embedded(figure, text)


def _head(result: dict[str, Any]) -> str:
    free = sum(not row["frozen"] for row in result["parameters"])
    good = result["success"]
    verdict = (
        f'<b class="{"good" if good else "bad"}">{"converged" if good else "did not converge"}</b>'
    )
    return (
        f"<p>{verdict}: {escape(result['message'])}</p>"
        f"<p>Statistic (-2 log L) <b>{result['total_stat']:.4f}</b> of {len(result['stat'])} datasets, {free} free "
        f"parameters; {result['passes']} passes and {result['passes_errors']} for errors; {result['wall_s']:.2f} s, "
        f"{result['cpu_s']:.2f} s of processor time; backend {escape(result['backend'])}, edm {result['edm']:.1e}, "
        f"response {escape(result['response'])}.</p>"
    )


def _parameters(result: dict[str, Any]) -> str:
    """Return the free parameters, and the frozen ones folded up."""
    free, frozen = [], []
    for row in result["parameters"]:
        value = row["name"], f"{row['value']:.6g}"
        if row["frozen"]:
            frozen.append((*value, unit_text(row["unit"])))
        else:
            free.append(
                (*value, f"{row['error']:.2g}" if row["error"] else "", unit_text(row["unit"]))
            )
    shown = _table(("parameter", "value", "error", "unit"), free, numbers=(1, 2))
    folded = _table(("parameter", "value", "unit"), frozen, numbers=(1,))
    return f"{shown}<details><summary>{len(frozen)} frozen parameters</summary>{folded}</details>"


def _spectra(models: Models, datasets: Datasets | str) -> str:
    """Return the spectra of the sources, over the energies of the datasets if these are available."""
    names = [m.name for m in models if isinstance(m, SkyModel) and not m.spectral_model.is_counts]
    if not names:
        return "<p>There are no sources.</p>"
    shown, bounds = names[:MAX_SEDS], _energy_bounds(datasets)
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure((4.8 * columns + 0.5, 4 * rows))
    for k, name in enumerate(shown):
        plot_sed(models, name, bounds, figure.add_subplot(rows, columns, k + 1))
    more = f"<p>The first {MAX_SEDS} of {len(names)} sources.</p>" if len(names) > MAX_SEDS else ""
    return _embedded(figure, "spectra of the sources") + more


def _energy_bounds(datasets: Datasets | str) -> u.Quantity:
    """Return the lowest and highest energy of the datasets; 0.1 to 100 TeV if they are not available."""
    if isinstance(datasets, str) or not len(datasets):
        return u.Quantity([0.1, 100], "TeV")
    low, high = datasets[:MAX_DATASETS].energy_ranges
    return u.Quantity([low.min(), high.max()])


def _opened(result: dict[str, Any], models: Models) -> Datasets | str:
    """Return the fitted datasets, or why they are not available."""
    try:
        store = Store.open(result["store"]["url"])
    except (GmdaskError, OSError) as error:
        return f"the store cannot be opened ({error})"
    if store.digest != result["store"]["digest"]:
        return f"the store {store.url} changed since the fit"
    datasets = Datasets.from_store(store, response=result["response"])
    datasets.set_models(models)
    return datasets


def _residuals(result: dict[str, Any], datasets: Datasets | str) -> str:
    if isinstance(datasets, str):
        return f"<p>There are no maps: {escape(datasets)}.</p>"
    return "".join(_figures(datasets, result))


def _figures(datasets: Datasets, result: dict[str, Any]) -> Iterator[str]:
    yield _embedded(plot_residuals(datasets), "counts, model and residuals")
    with_sky = counted(datasets)
    if not with_sky:
        return
    names = [d.name for d in with_sky]
    worst = sorted(names, key=lambda name: -result["stat"].get(name, 0.0))[:MAX_MAPS]
    if len(names) > 1:
        yield "<p>Datasets with the highest statistic:</p>"
        for name in worst:
            yield _embedded(draw_maps(sum_up(datasets[name]), (14, 4)), f"maps of {name}")
    yield f"<p>Responses at the centre of {escape(names[0])}:</p>"
    draws = [plot_exposure, plot_energy_dispersion]
    if with_sky[0].psf is not None:
        draws.insert(1, plot_psf_containment)
    figure = new_figure((14, 4))
    for k, response in enumerate(draws):
        response(with_sky[0], figure.add_subplot(1, len(draws), k + 1))
    yield _embedded(figure, "responses")


def _datasets(result: dict[str, Any]) -> str:
    stats = list(result["stat"].items())

    def draw(ax: Axes) -> None:
        ax.plot(range(1, len(stats) + 1), [stat for _, stat in stats], "o", ms=3, color=DATA)
        ax.set(xlabel="Dataset", ylabel="statistic", title="statistic by dataset")

    rows = [(name, f"{stat:.4f}") for name, stat in stats]
    return _image("statistic by dataset", draw) + _table(("dataset", "statistic"), rows, [1])


def _passes(history: History) -> str:
    if not history.passes:
        return "<p>The events of the fit were not kept.</p>"
    rows = []
    for p in history.passes:
        stat, edm = (
            f"{p[key]:{form}}" if p[key] is not None else ""
            for key, form in (("stat", ".4f"), ("edm", ".1e"))
        )
        rows.append((str(p["number"]), stat, edm, "accepted" if p["accepted"] else "refused"))
    image = _image("statistic by pass", lambda ax: plot_passes(history, ax))
    return image + _table(("pass", "statistic", "edm", ""), rows, numbers=(0, 1, 2))


def _provenance(result: dict[str, Any]) -> str:
    rows = [("store", result["store"]["url"]), ("digest of the store", result["store"]["digest"])]
    rows += [(f"version of {name}", version) for name, version in result["versions"].items()]
    reduction = result.get("reduction", {"datasets": {}, "configurations": {}})
    if reduction["datasets"]:
        obs_ids = dict.fromkeys(str(made["obs_id"]) for made in reduction["datasets"].values())
        rows.append(("reduced observations", ", ".join(obs_ids)))
    for digest, configuration in reduction["configurations"].items():
        versions = (f"{name} {version}" for name, version in configuration["versions"].items())
        rows.append(("configuration of the reduction", f"{digest} ({', '.join(versions)})"))
    return _table(("", ""), rows)
