"""Another user of the machine, who tries to make the processes of a cluster run code.

Called with the user's number, a file to write to, and ports. Prints, as JSON, what came of every attempt.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, Security
from distributed.comm import connect
from distributed.protocol.pickle import dumps

PAGES = (
    "",
    "status",
    "info/main/workers.html",
    "info/main/logs.html",
    "json/identity.json",
    "metrics",
    "health",
)


def work(path: str) -> int:
    """Leave a mark."""
    with Path(path).open("a") as file:
        file.write(f"{os.getuid()}\n")
    return os.getuid()


async def asked(address: str, path: str, security: Security, operation: str) -> Any:
    """Ask a scheduler ("run_function"), worker or nanny ("run") to call a function."""
    there = await connect(address, timeout=2, **security.get_connection_args("client"))
    try:
        message = {"op": operation, "function": dumps(work), "args": dumps((path,)), "reply": True}
        await there.write(message)
        return (await there.read())["result"]
    finally:
        there.abort()


async def asked_to_run(address: str, path: str, security: Security) -> Any:
    """Ask both ways, and wait 4 s for each."""
    found = None
    for operation in ("run_function", "run"):
        try:
            return await asyncio.wait_for(asked(address, path, security, operation), 4)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is told)
            found = f"{type(error).__name__}: {error}"[:200]
    return found


async def all_asked(ports: list[str], path: str, ways: dict[str, Security]) -> dict[str, Any]:
    """Ask at all ports at the same time."""
    asked = {
        f"run {protocol}://127.0.0.1:{port}": asked_to_run(
            f"{protocol}://127.0.0.1:{port}", path, security
        )
        for port in ports
        for protocol, security in ways.items()
    }
    return dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))


def submitted(address: str, path: str, security: Security) -> Any:
    """Have a task done, as any client does."""
    with Client(address, security=security, timeout=2, set_as_default=False) as client:
        return client.submit(work, path, pure=False).result(timeout=5)


def attempt(what: Any, *arguments: Any) -> Any:
    """What an attempt gave; an error in words."""
    try:
        return what(*arguments)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told)
        return f"{type(error).__name__}: {error}"[:200]


def pages(port: int) -> list[str]:
    """Pages that a server of HTTP shows."""
    found = []
    for page in PAGES:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=2) as answer:
                found.append(f"{page}: {answer.status}")
        except (OSError, http.client.HTTPException):
            pass
    return found


def main() -> None:
    """Try all ways at all ports."""
    user, path, *ports = sys.argv[1:]
    with LocalCluster(
        1, processes=False, protocol="tcp://", dashboard_address=None, host="127.0.0.1"
    ) as own:
        submitted(
            own.scheduler_address, os.devnull, Security()
        )  # all modules are there before the user changes
        for address in (own.scheduler_address, own.workers[0].address):
            asyncio.run(asked_to_run(address, os.devnull, Security()))
    another = Security.temporary()
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
    ways = {"tcp": Security(), "tls": another}
    found = {}
    for protocol, security in ways.items():
        address = f"{protocol}://127.0.0.1:{ports[0]}"  # of the scheduler
        found[f"submit {address}"] = attempt(submitted, address, path, security)
    found |= asyncio.run(all_asked(ports, path, ways))
    found |= {f"pages {port}": pages(int(port)) for port in ports}
    print(json.dumps({"user": os.getuid(), "found": found}))


if __name__ == "__main__":
    main()
