"""Python functions that are compiled to machine code on their first call and cached on disk.

Sums are not reassociated and products not fused: results depend to the last bit only on the input and
on the functions of the mathematical library.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import event, extending
from numba.core.caching import FunctionCache

__all__ = ["bytes_to_compile", "compiled", "inlined", "part"]

logger = logging.getLogger("gmdask")

COMPILER = (
    150_000_000  # bytes by which compiling enlarges a process permanently; 125 MB were measured
)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on first use; the code is cached beside the module, or in the user's cache."""
    return _cached(njit(nogil=True, error_model="numpy")(function))


def part(function: Callable[..., Any]) -> Any:
    """Compile for calls from compiled functions alone, without a way in from Python: less work."""
    without: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(nogil=True, error_model="numpy", **without)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile into the calling function: for loops over energies, which calls would slow down."""
    return njit(nogil=True, error_model="numpy", inline="always")(function)


def _cached(dispatcher: Any) -> Any:
    """Cache machine code on disk, if any place is writable."""
    # without a home, "~" would be a folder in the current one
    if os.path.expanduser("~") != "~" or "NUMBA_CACHE_DIR" in os.environ:  # noqa: PTH111
        with suppress(RuntimeError, OSError):  # no writable place: each process compiles again
            dispatcher._cache = _Cache(dispatcher.py_func)  # type: ignore[no-untyped-call]
            _caches.append((dispatcher.__module__, dispatcher._cache))
    return dispatcher


class _Cache(FunctionCache):
    """Machine code on disk, compiled again when anything that the function calls has changed.

    Processes take turns with the files of a function: entries are numbered consecutively, and two
    processes that add an entry at the same time would use the same name.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code of a signature, or None."""
        with suppress(OSError, EOFError), self._turn(fcntl.LOCK_SH):
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save the code; if that fails, the next process compiles it again."""
        with suppress(OSError):
            self._impl.locator.ensure_cache_path()
            with self._turn(fcntl.LOCK_EX):
                super().save_overload(sig, data)  # type: ignore[no-untyped-call]

    @contextmanager
    def _turn(self, operation: int) -> Iterator[None]:
        with ExitStack() as stack:
            with suppress(OSError):  # the folder is not writable
                lock = Path(self.cache_path) / f"{self._impl.filename_base}.lock"
                fcntl.flock(stack.enter_context(lock.open("a")), operation)
            yield

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        key = super()._index_key(sig, codegen)  # type: ignore[no-untyped-call]
        return (*key, _fingerprint(self._py_func))


def _fingerprint(function: Any) -> str:
    """Return a digest of a function and of everything in its module that it calls or reads."""
    code, parts = function.__code__, []
    for name in code.co_names:
        value = function.__globals__.get(name)
        if hasattr(value, "py_func"):
            parts.append(_fingerprint(value.py_func))
        elif isinstance(value, extending._Intrinsic):  # its code is made by its module
            source = Path(value._defn.__code__.co_filename)
            parts.append(hashlib.sha256(source.read_bytes()).hexdigest())
        elif isinstance(value, int | float):
            parts.append(f"{name}={value!r}")
    text = "\n".join([code.co_code.hex(), repr(code.co_consts), repr(code.co_names), *parts])
    return hashlib.sha256(text.encode()).hexdigest()


def bytes_to_compile(package: str) -> int:
    """Memory that the compiler will need in this process, zero if the compiled code is on disk.

    Parameters
    ----------
    package : str
        Package whose functions will run, such as "gmdask.likelihood".
    """
    places = {cache.cache_path for name, cache in _caches if name.startswith(package)}
    return 0 if any(list(Path(place).glob("*.nbi")) for place in places) else COMPILER


_caches: list[
    tuple[str, _Cache]
] = []  # the caches of this process, with the modules of their functions


class _Notice(event.Listener):
    """Logs once per process that code is being compiled."""

    def __init__(self) -> None:
        self._reported = False

    def on_start(self, event: Any) -> None:
        """Log that compilation begins."""
        module = event.data["dispatcher"].py_func.__module__ or ""  # code may have none
        if not self._reported and module.startswith("gmdask"):
            self._reported = True
            logger.info(
                "Compiling numerical code, which takes some seconds once after installation."
            )

    def on_end(self, event: Any) -> None:
        """Tell nothing."""


event.register("numba:compile", _Notice())  # type: ignore[no-untyped-call]
