"""Access control of the live view: a request needs a host name of this machine and the token."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Router, Rule, RuleRouter

__all__ = ["guarded"]

# Bokeh's files and icon are not secret; nor is the socket, whose first message is signed by the opening page
FREE = ("/static/", "/favicon.ico", "/ws")


class _Admitted(Matcher):
    def __init__(self, hosts: Collection[str], token: str) -> None:
        self._hosts, self._token = {host.lower() for host in hosts}, token.encode()

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return no arguments for a page that may be shown, and None for one that may not."""
        if (
            request.host_name not in self._hosts
        ):  # another name that resolves to this machine: DNS rebinding
            return None
        if request.path.startswith(FREE):
            return {}
        given = request.query_arguments.get("token", [b""])[-1]
        return {} if secrets.compare_digest(given, self._token) else None


def guarded(pages: Router, hosts: Collection[str], token: str) -> Router:
    """Return routes that serve pages to admitted requests only; all others get a 404.

    Parameters
    ----------
    pages : `tornado.routing.Router`
    hosts : collection of str
        Names under which this machine may be addressed.
    token : str
        Token that a page's URL must contain, as ``?token=``.
    """
    return RuleRouter([Rule(_Admitted(hosts, token), pages)])
