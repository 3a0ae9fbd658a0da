"""Maps of one dataset as an image, drawn in a thread beside the live view."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape

import dask

from gmdask.dashboard.feeds import Feed
from gmdask.datasets import counted
from gmdask.errors import GmdaskError
from gmdask.plot import History, plot_counts_spectrum, plot_residuals, sum_up
from gmdask.plot.residuals import draw_maps
from gmdask.plot.style import new_figure, png_tag

__all__ = ["MapMaker"]

logger = logging.getLogger(__name__)


class MapMaker:
    """Draws the maps of the most recently requested dataset, in a thread of its own.

    Parameters
    ----------
    feed : `Feed`
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._thread = ThreadPoolExecutor(1, "gmdask-maps")

    def ask(self, name: str, history: History) -> Future[str]:
        """Return the future HTML of the maps of a dataset at the last accepted point.

        Parameters
        ----------
        name : str
        history : `History`
        """
        return self._thread.submit(self._html, name, history)

    def close(self) -> None:
        """Start no further drawings."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _html(self, name: str, history: History) -> str:
        try:
            return self._picture(name, history)
        except (GmdaskError, OSError) as error:
            return f"<p>{escape(str(error))}</p>"
        except Exception:
            logger.exception("maps of %s", name)
            return f"<p>The maps of {escape(name)} could not be drawn; see the log.</p>"

    def _picture(self, name: str, history: History) -> str:
        # drawn here, not on the cluster, which is busy with the fit
        with dask.config.set(scheduler="synchronous"):
            dataset = self._feed.dataset(name, history)
            if not counted([dataset]):
                return png_tag(plot_residuals(dataset), f"residuals of {name}", 82)
            sums = sum_up(dataset)
        if sums.counts.size > 1:
            figure = draw_maps(sums, (15, 4.4))
        else:
            figure = new_figure((15, 4.4))
            plot_counts_spectrum(sums, figure.add_subplot())
        return png_tag(figure, f"maps of {name}", 82)
