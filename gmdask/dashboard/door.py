"""Who may see the live view: browsers that ask under a name of this machine, and know the token."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Router, Rule, RuleRouter

__all__ = ["guarded"]

# Bokeh's files and icon are no secret; nor is the socket, whose first message is signed by the page that opens it
FREE = ("/static/", "/favicon.ico", "/ws")


class _Admitted(Matcher):
    def __init__(self, hosts: Collection[str], token: str) -> None:
        self._hosts, self._token = {host.lower() for host in hosts}, token.encode()

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Give no arguments to the pages; None where they are not to be shown."""
        if request.host_name not in self._hosts:  # another name that leads here: DNS rebinding
            return None
        if request.path.startswith(FREE):
            return {}
        given = request.query_arguments.get("token", [b""])[-1]
        return {} if secrets.compare_digest(given, self._token) else None


def guarded(pages: Router, hosts: Collection[str], token: str) -> Router:
    """Pages that are shown to those who are admitted; to others there are none (404).

    Parameters
    ----------
    pages : `tornado.routing.Router`
    hosts : collection of str
        Names under which this machine may be asked.
    token : str
        What the address of a page must hold, as ``?token=``.
    """
    return RuleRouter([Rule(_Admitted(hosts, token), pages)])
