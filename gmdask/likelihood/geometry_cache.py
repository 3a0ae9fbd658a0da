"""What datasets on the same pixels of the sky have in common, computed once.

Datasets that are cut out of one geometry see a source on the same pixels: the positions of
these, the shape integrated over them and its Fourier transform are the same for all. Everything is
found by what it was made of, so that nothing depends on what is here, or on who came first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CACHE", "Cache"]

Arrays = tuple[NDArray[Any], ...]

MAX_BYTES = 32_000_000


class Cache:
    """Arrays found by what they were made of; those used last are kept.

    Parameters
    ----------
    max_bytes : int
        Bytes of the arrays that are kept.

    Attributes
    ----------
    nbytes : int
        Bytes kept.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes, self.nbytes = max_bytes, 0
        self._found: OrderedDict[Hashable, Arrays] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Arrays]) -> Arrays:
        """Return arrays of a key, made if they are not here; not to be written to."""
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
                return found
        found = make()
        size = _size(found)
        with self._lock:
            if key not in self._found and size <= self._max_bytes:
                self._found[key] = found
                self.nbytes += size
            while self.nbytes > self._max_bytes:
                self.nbytes -= _size(self._found.popitem(last=False)[1])
        return found


def _size(arrays: Arrays) -> int:
    return sum(np.asarray(a).nbytes for a in arrays)


CACHE = Cache()  # of this process
