"""Files that a models YAML refers to: the maps of templates.

In memory a model has the full path of its file. In the YAML the path is relative to the folder of
the YAML if the file lies in it, and absolute otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gmdask.errors import ModelError
from gmdask.models.io.sky_map import SkyMap
from gmdask.paths import expanded

__all__ = ["found_from", "named_from", "write_map", "write_missing"]


def _mapped(data: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return plain data in which every mapping with a file name is changed by a function."""
    if isinstance(data, list):
        return [_mapped(item, change) for item in data]
    if not isinstance(data, dict):
        return data
    data = {key: _mapped(value, change) for key, value in data.items()}
    return change(data) if "filename" in data else data


def found_from(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return plain data from a YAML, with full paths of the files in its folder.

    Other names are left as they are, relative to the working directory, as in Gammapy.

    Parameters
    ----------
    folder : Path
        Folder of the YAML.
    data : dict
        Plain data.
    """

    def change(item: dict[str, Any]) -> dict[str, Any]:
        name = item["filename"]
        if isinstance(name, str) and (path := folder / expanded(name)).exists():
            item["filename"] = str(path.resolve())
        return item

    return _mapped(data, change)  # type: ignore[no-any-return]


def named_from(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return plain data for a YAML, with relative names and without maps.

    Parameters
    ----------
    folder : Path
        Folder of the YAML.
    data : dict
        Plain data.

    Raises
    ------
    ModelError
        If a map has no file name.
    """

    def change(item: dict[str, Any]) -> dict[str, Any]:
        if item["filename"] is None:
            msg = f"{item.get('type')}: set filename to write its map"
            raise ModelError(msg)
        path = _target(folder, item["filename"])
        inside = path.is_relative_to(folder.resolve())
        item["filename"] = str(path.relative_to(folder.resolve()) if inside else path)
        return {key: value for key, value in item.items() if key != "map"}

    return _mapped(data, change)  # type: ignore[no-any-return]


def _target(folder: Path, filename: str) -> Path:
    """Return the path of a file to read or write: a name that does not exist is placed beside the YAML."""
    path = expanded(filename)
    if path.is_absolute() or path.exists():
        return path.resolve()
    return (folder / path).resolve()


def write_map(
    model: Any, sky_map: SkyMap, path: str | Path | None, overwrite: bool, *, is_read: bool
) -> None:
    """Write the map of a model, unless its file exists already.

    Parameters
    ----------
    model : object
        Has an attribute ``filename``, which is set to the path if one is given.
    sky_map : SkyMap
        Its map.
    path : str or Path, optional
        File; by default that of the model.
    overwrite : bool
        Whether to replace an existing file, if the map was not read from it.
    is_read : bool
        Whether the map was read from a file.

    Raises
    ------
    ModelError
        If there is no file name.
    """
    if path is not None:
        model.filename = str(path)
    if model.filename is None:
        label = getattr(model, "name", None) or type(model).__name__
        msg = f"{label} has no file name: set filename to write its map"
        raise ModelError(msg)
    sky_map.write(model.filename, overwrite and not is_read)


def write_missing(components: Iterable[Any], folder: Path, overwrite: bool = False) -> None:
    """Write the maps of models whose files do not exist.

    Parameters
    ----------
    components : iterable of Component
        Components.
    folder : Path
        Folder of the YAML.
    overwrite : bool
        Whether to replace existing files by maps that were not read from a file.

    Raises
    ------
    ModelError
        If a map has no file name.
    """
    for component in components:
        for model in (
            component,
            *component.models.values(),
            getattr(component, "spatial_model", None),
        ):
            write = getattr(model, "write_map", None)
            if write is not None:
                path = None if model.filename is None else _target(folder, model.filename)
                write(path, overwrite)
