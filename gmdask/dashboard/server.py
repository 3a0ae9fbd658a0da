"""The server of the live view."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from concurrent.futures import Future
from html import escape
from typing import Any

from gmdask.dashboard.feeds import Feed
from gmdask.errors import InputError
from gmdask.plot import History

__all__ = ["Dashboard"]

LOOPBACK = "127.0.0.1"
POLL_MS = 1000


class Dashboard:
    """Live view of a fit, served to browsers by a thread of this process.

    The fit never waits for a browser.

    Parameters
    ----------
    feed : `Feed`
        Source of the events.
    address : str
        Address of this machine to listen on; by default only this machine can connect.
    port : int
        Port to listen on; 0 chooses a free one.

    Attributes
    ----------
    url : str
        URL for the browser. It contains a secret token, without which the view shows nothing;
        requests under an unknown host name are refused as well.

    Raises
    ------
    InputError
        If the extra ``dashboard`` is not installed, or the server cannot listen on the address.
    """

    def __init__(self, feed: Feed, *, address: str = LOOPBACK, port: int = 0) -> None:
        try:
            import bokeh  # noqa: F401
        except ImportError:
            msg = "the live view needs Bokeh: pip install 'gmdask[dashboard]'"
            raise InputError(msg) from None
        self._feed, self._address, self._port = feed, address, _free_port(address, port)
        self.history = History()
        self._token = secrets.token_urlsafe(24)
        self.url = f"http://{_shown(address)}:{self._port}/?token={self._token}"
        self._loop: Any = None
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="gmdask-dashboard", daemon=True)
        self._thread.start()
        try:
            self._started.result()
        except OSError as error:
            msg = f"cannot listen on {address}:{self._port}: {error}"
            raise InputError(msg) from None

    def _serve(self) -> None:
        from bokeh.application import Application
        from bokeh.application.handlers.function import FunctionHandler
        from bokeh.server.server import BaseServer
        from bokeh.server.tornado import BokehTornado
        from tornado.httpserver import HTTPServer
        from tornado.ioloop import IOLoop, PeriodicCallback

        from gmdask.dashboard.door import guarded
        from gmdask.dashboard.maps import MapMaker
        from gmdask.dashboard.page import Page

        asyncio.set_event_loop(asyncio.new_event_loop())
        self._loop = IOLoop.current()
        maps = MapMaker(self._feed)

        def make(document: Any) -> None:
            self._poll()
            Page(self.history, maps, self._feed.name).add_to(document)

        try:
            hosts = {_shown(self._address), "localhost", self._address}
            if _is_open(self._address):
                hosts |= {socket.gethostname(), socket.getfqdn()}
            pages = BokehTornado(
                {"/": Application(FunctionHandler(make))},
                extra_websocket_origins=[f"{host}:{self._port}" for host in sorted(hosts)],
                sign_sessions=True, secret_key=secrets.token_bytes(32),
            )  # fmt: skip
            http = HTTPServer(guarded(pages, hosts, self._token))
            http.listen(self._port, self._address)
            server = BaseServer(self._loop, pages, http)
        except OSError as error:
            self._started.set_exception(error)
            return
        server.start()
        poll = PeriodicCallback(self._poll, POLL_MS)
        poll.start()
        self._loop.add_callback(self._started.set_result, None)
        try:
            self._loop.start()
        finally:
            poll.stop()
            server.stop(wait=False)
            maps.close()
            self._loop.close()

    def _poll(self) -> None:
        self.history.add(self._feed.poll())

    def wait(self) -> None:
        """Serve until the process is interrupted."""
        while self._thread.is_alive():
            self._thread.join(1.0)

    def stop(self) -> None:
        """Stop serving."""
        if self._thread.is_alive():
            self._loop.add_callback(self._loop.stop)
            self._thread.join()

    def __repr__(self) -> str:
        return f"<Dashboard of {self._feed.name} at {self.url}>"

    def _repr_html_(self) -> str:
        url = escape(self.url)
        return (
            f'<p>Live view: <a href="{url}" target="_blank">{url}</a></p>'
            f'<iframe src="{url}" width="100%" height="720" style="border:0"></iframe>'
        )


def _free_port(address: str, port: int) -> int:
    """Return a port that is free to listen on; 0 chooses any."""
    try:
        family = socket.getaddrinfo(address, port)[0][0]
        with socket.socket(family) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, port))
            return int(one.getsockname()[1])
    except OSError as error:
        msg = f"cannot listen on {address}:{port}: {error}"
        raise InputError(msg) from None


def _is_open(address: str) -> bool:
    """Whether an address stands for all interfaces of the machine."""
    return address in ("", "0.0.0.0", "::")  # noqa: S104  (compared, not bound to)


def _shown(address: str) -> str:
    """Return the host name by which a browser reaches an address."""
    if _is_open(address):
        return socket.gethostname()
    return f"[{address}]" if ":" in address else address
