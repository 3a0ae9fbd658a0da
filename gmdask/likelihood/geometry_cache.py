"""Cache of arrays that datasets on the same sky pixels have in common.

Datasets that are cut out of one geometry see a source on the same pixels: the positions of
these, the model integrated over them, and its Fourier transform are the same for all. The keys
describe how arrays were computed, so that results do not depend on the state of the cache.
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
    """Cache of arrays, of which the most recently used are kept.

    Parameters
    ----------
    max_bytes : int
        Largest number of bytes to keep.

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
        """Return the arrays of a key, computed if they are not cached; they must not be written to."""
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


CACHE = Cache()  # the cache of this process
