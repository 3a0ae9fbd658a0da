"""Storage of the arrays of compiled datasets: in memory, or in a file."""

from __future__ import annotations

import ctypes
import mmap
import tempfile
from contextlib import ExitStack, suppress
from threading import Lock
from typing import IO, Any
from weakref import finalize

import numpy as np
import psutil
from numpy.typing import NDArray

from gmdask.errors import PlanError

__all__ = ["POOL", "Memory", "Pool", "trim_heap"]

SMALL = 1024  # bytes; smaller arrays are not written to a file
ALIGNED = 64  # bytes
PART = 1 << 28  # bytes of the file that are mapped at a time
SLAB = 1 << 22  # bytes of memory that are requested from the system at a time

GAPS = 40_000_000  # bytes of growth after which gaps of the heap are returned, as refilling them takes time

_process = psutil.Process()
_resident = [0]  # bytes of this process when gaps were last returned


def trim_heap() -> None:
    """Return memory of freed arrays from the heap to the system."""
    with suppress(OSError, AttributeError):  # only glibc has this function
        ctypes.CDLL(None).malloc_trim(0)
    _resident[0] = _process.memory_info().rss


class Pool:
    """Counter of the bytes that all groups of a process hold together.

    Attributes
    ----------
    taken : int
        Bytes held.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._lock = Lock()

    def take(self, n_bytes: int, budget: int | None) -> bool:
        """Add bytes, if the total then is within the budget; return whether it is."""
        with self._lock:
            fits = budget is None or self.taken + n_bytes <= budget
            self.taken += n_bytes if fits else 0
        return fits

    def give(self, n_bytes: int) -> None:
        """Hold less."""
        with self._lock:
            self.taken -= n_bytes


POOL = Pool()


class Memory:
    """Memory of a group of compiled datasets.

    Arrays that are kept for the whole fit stay in memory as long as the budget of the process allows; the others
    are written once to a file and read from there at each pass, through the page cache of the
    system. Arrays that can be computed again are kept as long as there is room.

    Parameters
    ----------
    budget : int or None
        Bytes that all groups of this process may hold; None for no limit.
    folder : str or None
        Folder of the file; None for the system's folder of temporary files.

    Attributes
    ----------
    in_file : int
        Bytes of the file.

    Notes
    -----
    The file has no name: nothing is left of it whatever happens to the process. Its pages are
    released after use, so that they do not count as memory of the process.
    If there is a budget, arrays that stay in memory are stored together, apart from the heap: between short-lived
    arrays, they would leave gaps there as large as themselves.
    """

    def __init__(self, budget: int | None = None, folder: str | None = None) -> None:
        self._budget, self._folder = budget, folder
        self.in_file = 0
        self._file: IO[bytes] | None = None
        self._parts: list[mmap.mmap] = []
        self._slab, self._used = mmap.mmap(-1, SLAB) if budget is not None else None, 0
        self._held: dict[int | None, int] = {
            None: 0
        }  # permanently, and by dataset that can release them
        self._files = ExitStack()
        finalize(self, _end, self._held, self._files)

    def __reduce__(self) -> Any:
        msg = "arrays in a file of this process cannot be sent to another process"
        raise TypeError(msg)

    @property
    def resident(self) -> int:
        """Bytes held in memory."""
        return sum(self._held.values())

    def keep(self, array: NDArray[Any]) -> NDArray[Any]:
        """Keep an array, and return it from where it is kept; it must not be written to.

        Raises
        ------
        PlanError
            If the disk is full.
        """
        budget = None if array.nbytes <= SMALL else self._budget
        if POOL.take(array.nbytes, budget):
            self._held[None] += array.nbytes
            return array if self._slab is None else self._in_slab(array)
        try:
            return self._in_file(np.ascontiguousarray(array))
        except OSError as error:
            folder = self._folder or tempfile.gettempdir()
            msg = f"{folder}: no room for {array.nbytes} more bytes of operators ({error.strerror})"
            raise PlanError(msg) from error

    def _in_slab(self, array: NDArray[Any]) -> NDArray[Any]:
        """Copy an array to memory that is released only when the group ends."""
        start = -(-self._used // ALIGNED) * ALIGNED
        if self._slab is None or start + array.nbytes > len(self._slab):
            start, size = 0, max(SLAB, -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE)
            self._slab = mmap.mmap(-1, size)  # the previous slab lives as long as the arrays in it
        self._used = start + array.nbytes
        kept = np.frombuffer(self._slab, array.dtype, array.size, start).reshape(array.shape)
        kept[...] = array
        kept.flags.writeable = False
        return kept

    def _in_file(self, array: NDArray[Any]) -> NDArray[Any]:
        """Write an array to the file, and return the mapped array."""
        if self._file is None:
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (as long as this)
            self._file = self._files.enter_context(file)
        mapped = sum(len(part) for part in self._parts)
        start = -(-self.in_file // ALIGNED) * ALIGNED
        if start + array.nbytes > mapped:
            start, size = mapped, -(-array.nbytes // PART) * PART
            self._file.truncate(start + size)  # unwritten parts take no space on the disk
            new = mmap.mmap(self._file.fileno(), size, prot=mmap.PROT_READ, offset=start)
            self._parts.append(new)
            mapped += size
        self._file.seek(start)
        self._file.write(array.data.cast("B"))
        self._file.flush()
        self.in_file = start + array.nbytes
        part = self._parts[-1]
        offset = start - (mapped - len(part))
        return np.frombuffer(part, array.dtype, array.size, offset).reshape(array.shape)

    def rest(self) -> None:
        """Release gaps of the heap, and pages of the file, which will be read again."""
        for part in self._parts:
            part.madvise(mmap.MADV_DONTNEED)
        if self._budget is not None and _process.memory_info().rss > _resident[0] + GAPS:
            trim_heap()

    def try_cache(self, borrower: int, n_bytes: int) -> bool:
        """Whether arrays that can be computed again may stay: if they fit in half of the remaining budget.

        Parameters
        ----------
        borrower : int
            Number of the dataset.
        n_bytes : int
            Bytes that it holds now.
        """
        POOL.give(self._held.pop(borrower, 0))
        if POOL.take(n_bytes, None if self._budget is None else self._budget // 2):
            self._held[borrower] = n_bytes
            return True
        return False


def _end(held: dict[int | None, int], files: ExitStack) -> None:
    POOL.give(sum(held.values()))
    files.close()
