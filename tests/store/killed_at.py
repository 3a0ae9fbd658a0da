"""Kills a writer at each of its steps in turn; one line of JSON per step. Run as a program.

A step is whatever is about to change a file or folder of the store: Python's audit events. Each
writer is a fork of a process that has imported everything and written nothing, and so is
each look at what it left.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gmdask.errors import StoreNotFoundError
from gmdask.store import Store, verify_store
from tests.store.store_cubes import make_cube

STEPS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.utime", "os.rmdir"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OLD, NEW, LATER = (
    make_cube(name, seed, 1)[["counts", "exposure"]]
    for seed, name in enumerate(("old", "new", "later"))
)


def create(url: Path) -> None:
    """Make a store without datasets."""
    Store.create(url)


def publish(url: Path) -> None:
    """Write a block and commit it."""
    store = Store.open(url)
    store.commit([store.write_block([NEW], "b" * 64)])


def merge(url: Path) -> None:
    """Put a block that is written already in the place of two."""
    store = Store.open(url)
    record = store.find_uncommitted("d" * 64)
    assert record is not None
    store.replace_blocks([([row.block for row in store.rows], record)])


def prepare(url: Path, writer: str) -> None:
    """Make what the writer begins with."""
    store = Store.create(url)
    store.commit([store.write_block([OLD], "a" * 64)])
    if writer == "merge":
        store.commit([store.write_block([NEW], "e" * 64)])
        store.write_block([OLD, NEW], "d" * 64)


def killed(url: Path, step: int) -> None:
    """Let this process end itself before its n-th step."""
    left, lock = [step], threading.Lock()

    def hook(event: str, arguments: tuple) -> None:
        if event not in STEPS or (event == "open" and not arguments[2] & WRITES):
            return
        if any(str(url) in str(argument) for argument in arguments):
            with lock:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def look(url: Path) -> dict:
    """Say what a killed writer left, and whether the store can be worked with."""
    try:
        store = Store.open(url)
    except StoreNotFoundError:
        Store.create(url)
        return {"names": None, "problems": [str(p) for p in verify_store(url)]}
    names = [row.name for row in store.rows]
    same = [
        bool((store.open_row(row)["counts"] == cube["counts"]).all())
        for row, cube in zip(store.rows, (OLD, NEW), strict=False)
    ]
    problems = [str(p) for p in store.verify()]
    store.commit([store.write_block([LATER], "c" * 64)])
    store.gc(0)
    blocks = {path.name for path in (url / "blocks").iterdir()}
    return {
        "names": names, "same": same, "problems": problems,
        "after": [row.name for row in Store.open(url).rows],
        "clean": blocks == {row.block for row in store.rows} | {"zarr.json"},
    }  # fmt: skip


def forked(work: Callable[[], object], out: Path | None = None) -> int:
    """Do something in a fork of this process; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            found = work()
            if out is not None:
                out.write_text(json.dumps(found))
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(folder: Path, writer: str) -> None:
    """Kill a writer at each step until it comes to its end."""
    work = {"create": create, "publish": publish, "merge": merge}[writer]
    begin = folder / "begin.zarr"
    if writer != "create" and forked(lambda: prepare(begin, writer)):
        sys.exit("cannot prepare")
    step, code = 0, -signal.SIGKILL
    while code != 0:
        url, out = folder / f"{step}.zarr", folder / f"{step}.json"
        if begin.exists():
            shutil.copytree(begin, url)

        def write(url: Path = url, step: int = step) -> None:
            killed(url, step)
            work(url)

        code = forked(write)
        if code not in (0, -signal.SIGKILL) or forked(partial(look, url), out):
            sys.exit(f"step {step}: exit code {code}, or the store cannot be looked at")
        print(json.dumps({"done": code == 0, **json.loads(out.read_text())}), flush=True)
        step += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
