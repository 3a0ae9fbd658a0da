"""The list of the files that gmdask wrote into a folder, so that others are left alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from gmdask.atomic_files import write_atomically

__all__ = ["LIST", "OwnFiles"]

LIST = ".gmdask.json"
SCHEMA = "gmdask files 1.0"


class OwnFiles:
    """Files that gmdask wrote into a folder, with their checksums.

    A file that was changed since does not count as gmdask's. The list is the file ``.gmdask.json``.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> dict[str, list[str]]:
        """Return the SHA-256 of each file, by path within the folder.

        There are two while a file is being replaced, and none for a file whose content changes with
        time. A path that ends with "/" stands for everything below it.
        """
        try:
            found = json.loads((self.folder / LIST).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        files = found.get("files") if isinstance(found, dict) else None
        if not isinstance(files, dict) or found.get("schema") != SCHEMA:
            return {}
        return {name: list(sums) for name, sums in files.items() if isinstance(sums, list)}

    def owns(self, name: str) -> bool:
        """Whether a file exists unchanged since gmdask wrote it.

        Parameters
        ----------
        name : str
            Path within the folder.
        """
        names = self.names()
        if name == LIST:
            return bool(names)
        return name in names and self._is_unchanged(name, names[name])

    def foreign(self) -> list[str]:
        """Return the paths, from the folder on, of files and folders in it that are not gmdask's.

        A folder without any gmdask file is listed by its name, without its content.
        """
        names = self.names()
        return list(self._foreign_below(self.folder, names))

    def _foreign_below(self, folder: Path, names: Mapping[str, list[str]]) -> Iterable[str]:
        for path in sorted(folder.iterdir()):
            name = path.relative_to(self.folder).as_posix()
            if f"{name}/" in names or (name == LIST and names):
                continue
            if (
                path.is_dir()
                and not path.is_symlink()
                and any(n.startswith(f"{name}/") for n in names)
            ):
                yield from self._foreign_below(path, names)
            elif name not in names or not self._is_unchanged(name, names[name]):
                yield name

    def _is_unchanged(self, name: str, sums: list[str]) -> bool:
        path = self.folder / name
        if path.is_symlink() or not path.is_file():
            return False
        return not sums or _sha256(path) in sums

    def add(self, *names: str) -> None:
        """Add files whose content changes with time to the list.

        Parameters
        ----------
        names : str
            Paths within the folder; with a "/" at the end, everything below.
        """
        self._save(self.names() | {name: [] for name in names})

    def write(self, name: str, content: bytes) -> None:
        """Write a file into the folder, and add it to the list.

        Parameters
        ----------
        name : str
            Path within the folder. An existing file is replaced.
        content : bytes
        """
        names, digest = self.names(), hashlib.sha256(content).hexdigest()
        self._save(names | {name: [*names.get(name, []), digest]})
        write_atomically(self.folder / name, content)
        self._save(self.names() | {name: [digest]})

    def take(self, made: Path) -> list[str]:
        """Move everything from another folder here, and add it to the list.

        Parameters
        ----------
        made : path
            Folder on the same file system. Files of the same path are replaced; its ``result.json``
            is moved last.

        Returns
        -------
        list of str
            Paths within the folder.
        """
        found = [path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()]
        found.sort(key=lambda name: (name == "result.json", name))
        names, sums = self.names(), {name: _sha256(made / name) for name in found}
        self._save(names | {name: [*names.get(name, []), sums[name]] for name in found})
        for name in found:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(self.folder / name)
        self._save(self.names() | {name: [sums[name]] for name in found})
        return found

    def remove(self, names: Iterable[str]) -> None:
        """Remove files from the folder and the list, unless they were changed.

        Parameters
        ----------
        names : iterable of str
            Paths within the folder.
        """
        listed = self.names()
        for name in names:
            if name in listed:
                if self._is_unchanged(name, listed[name]):
                    (self.folder / name).unlink()
                del listed[name]
        self._save(listed)

    def _save(self, names: Mapping[str, list[str]]) -> None:
        if names:
            content = json.dumps({"schema": SCHEMA, "files": names}, indent=1) + "\n"
            write_atomically(self.folder / LIST, content.encode())
        elif self.names():
            (self.folder / LIST).unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
