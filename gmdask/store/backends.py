"""Storage backends of a store: a directory, or memory.

Paths are strings relative to the store, with ``/`` between their parts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import NoReturn, Protocol

import zarr.abc.store
from zarr.storage import LocalStore, MemoryStore

from gmdask.errors import PlanError, StoreError, StoreExistsError, check_kind
from gmdask.inputs import read_bytes
from gmdask.paths import expanded

__all__ = ["Files", "LocalFiles", "MemoryFiles", "files_at"]

TEMPORARY = ".tmp-"
MEMORY_URL = "memory:"


class Files(Protocol):
    """Operations that a store needs from its backend."""

    url: str

    def read(self, path: str) -> bytes:
        """Return a file's bytes; FileNotFoundError if there is none."""

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Return some bytes of a file, fewer if it ends before."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a whole file durably and return True; if it exists already, return False."""

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the direct members of a folder."""

    def walk(self, folder: str) -> list[str]:
        """Return the sorted paths (from the folder on) of all files below it."""

    def sync(self, folder: str) -> None:
        """Flush everything below a folder to disk, so that it survives a power failure."""

    def age(self, path: str) -> float:
        """Return the seconds since anything below a path was last changed."""

    def touch(self, folder: str) -> None:
        """Refresh the modification time of a folder."""

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with everything below it."""

    def zarr_store(self, folder: str, read_only: bool) -> zarr.abc.store.Store:
        """Return a folder as a Zarr store."""


def files_at(url: str | os.PathLike[str]) -> Files:
    """Return the directory that a URL (a path or ``file://``) refers to.

    Raises
    ------
    InputError
        If it is neither a URL nor a path.
    StoreError
        If the URL has another scheme.
    """
    check_kind(url, (str, os.PathLike), "a path or a URL of a store")
    text = os.fspath(url)
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "file":
        raise StoreError(f"{text}: a store is a directory; {scheme}:// is not supported yet")
    if text.startswith(MEMORY_URL):
        raise StoreError(
            f"{text}: a memory store can only be opened in the process that created it"
        )
    return LocalFiles(Path(rest) if separator else expanded(text))


class LocalFiles:
    """A directory."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = str(self.root)

    def read(self, path: str) -> bytes:
        """Return a file's bytes; FileNotFoundError if there is none."""
        return read_bytes(self.root / path, error=StoreError)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Return some bytes of a file, fewer if it ends before."""
        with open(f"{self.url}/{path}", "rb", buffering=0, opener=_at_once) as file:
            file.seek(start)
            return file.read(end - start)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a whole file durably and return True; if it exists already, return False."""
        target = self.root / path
        temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
        self._make_folder(target.parent)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, target)
            _sync_folder(target.parent)
        except FileExistsError:
            return False
        except OSError as error:
            _fail(target, error)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        return True

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreExistsError(f"{self.url}: is a file, not a directory") from error
        except OSError as error:
            _fail(folder, error)

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the direct members of a folder."""
        try:
            return sorted(os.listdir(self.root / folder))  # noqa: PTH208  (names are all we need)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            _fail(self.root / folder, error)

    def walk(self, folder: str) -> list[str]:
        """Return the sorted paths (from the folder on) of all files below it."""
        base = self.root / folder
        return sorted(p.relative_to(base).as_posix() for p in base.rglob("*") if not p.is_dir())

    def sync(self, folder: str) -> None:
        """Flush everything below a folder to disk, so that it survives a power failure."""
        base = self.root / folder
        for path in sorted(base.rglob("*")):
            if path.is_dir():
                _sync_folder(path)
            else:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        _sync_folder(base)
        _sync_folder(base.parent)

    def age(self, path: str) -> float:
        """Return the seconds since anything below a path was last changed."""
        base = self.root / path
        times = [0.0]
        for item in (base, *base.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                times.append(item.stat().st_mtime)
        return time.time() - max(times)

    def touch(self, folder: str) -> None:
        """Refresh the modification time of a folder."""
        os.utime(self.root / folder)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with everything below it."""
        target = self.root / path
        try:
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        except OSError as error:
            _fail(target, error)

    def zarr_store(self, folder: str, read_only: bool) -> zarr.abc.store.Store:
        """Return a folder as a Zarr store."""
        return LocalStore(self.root / folder, read_only=read_only)

    def __reduce__(self) -> tuple[type[LocalFiles], tuple[Path]]:
        return LocalFiles, (self.root,)


def _at_once(path: str, flags: int) -> int:
    """Open a file without blocking, in case it is a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fail(path: Path, error: OSError) -> NoReturn:
    raise StoreError(f"{path}: {error.strerror or error}") from error


class MemoryFiles:
    """Files in the memory of this process."""

    def __init__(self) -> None:
        self.url = f"{MEMORY_URL}{uuid.uuid4().hex}"
        self._files: dict[str, bytes] = {}
        self._folders: dict[str, MemoryStore] = {}
        self._changed: dict[str, float] = {}
        self._lock = threading.Lock()

    def read(self, path: str) -> bytes:
        """Return a file's bytes; FileNotFoundError if there is none."""
        for folder, store in self._folders.items():
            if path.startswith(f"{folder}/"):
                buffer = store._store_dict.get(path.removeprefix(f"{folder}/"))
                if buffer is not None:
                    return buffer.to_bytes()
        try:
            return self._files[path]
        except KeyError as error:
            raise FileNotFoundError(path) from error

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Return some bytes of a file, fewer if it ends before."""
        return self.read(path)[start:end]

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a whole file and return True; if it exists already, return False."""
        with self._lock:
            if path in self._files:
                return False
            self._files[path] = data
            self._changed[path] = time.time()
            return True

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the direct members of a folder."""
        return sorted({path.split("/", 1)[0] for path in self.walk(folder)})

    def walk(self, folder: str) -> list[str]:
        """Return the sorted paths (from the folder on) of all files below it."""
        paths = list(self._files)
        for name, store in self._folders.items():
            paths += [f"{name}/{key}" for key in store._store_dict]
        prefix = f"{folder}/"
        return sorted(path.removeprefix(prefix) for path in paths if path.startswith(prefix))

    def sync(self, folder: str) -> None:
        """Do nothing: memory does not survive a power failure."""

    def age(self, path: str) -> float:
        """Return the seconds since a path was created."""
        return time.time() - self._changed.get(path, 0.0)

    def touch(self, folder: str) -> None:
        """Refresh the modification time of a folder."""
        self._changed[folder] = time.time()

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with everything below it."""
        with self._lock:
            self._folders.pop(path, None)
            for key in [key for key in self._files if key == path or key.startswith(f"{path}/")]:
                del self._files[key]

    def zarr_store(self, folder: str, read_only: bool) -> zarr.abc.store.Store:
        """Return a folder as a Zarr store."""
        with self._lock:
            if folder not in self._folders:
                self._folders[folder] = MemoryStore()
                self._changed[folder] = time.time()
        return self._folders[folder].with_read_only(read_only)

    def __reduce__(self) -> NoReturn:
        raise PlanError(
            "a memory store cannot be sent to another process; import into a directory instead"
        )
