"""Files that a YAML of models names: the maps of templates.

In memory a model knows its file by a path that does not depend on where the YAML is. In the YAML
it stands relative to the folder of the YAML, if it is in there, and in full otherwise.
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
    """Plain data with every mapping that has a file name changed."""
    if isinstance(data, list):
        return [_mapped(item, change) for item in data]
    if not isinstance(data, dict):
        return data
    data = {key: _mapped(value, change) for key, value in data.items()}
    return change(data) if "filename" in data else data


def found_from(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Plain data as read from a YAML, with full paths of the files that are in its folder.

    Other names are left as they are, for the working directory, as Gammapy does.

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
    """Plain data as they are written to a YAML: relative names, and no maps.

    Parameters
    ----------
    folder : Path
        Folder of the YAML.
    data : dict
        Plain data.

    Raises
    ------
    ModelError
        If there is a map that has no file name.
    """

    def change(item: dict[str, Any]) -> dict[str, Any]:
        if item["filename"] is None:
            msg = f"{item.get('type')}: set filename, to write its map"
            raise ModelError(msg)
        path = _target(folder, item["filename"])
        inside = path.is_relative_to(folder.resolve())
        item["filename"] = str(path.relative_to(folder.resolve()) if inside else path)
        return {key: value for key, value in item.items() if key != "map"}

    return _mapped(data, change)  # type: ignore[no-any-return]


def _target(folder: Path, filename: str) -> Path:
    """Where a file is, or is to be written: a name that is nowhere belongs beside the YAML."""
    path = expanded(filename)
    if path.is_absolute() or path.exists():
        return path.resolve()
    return (folder / path).resolve()


def write_map(
    model: Any, sky_map: SkyMap, path: str | Path | None, overwrite: bool, *, is_read: bool
) -> None:
    """Write the map of a model, unless its file is there already.

    Parameters
    ----------
    model : object
        With an attribute ``filename``, which becomes the path if one is given.
    sky_map : SkyMap
        Its map.
    path : str or Path, optional
        File; by default that of the model.
    overwrite : bool
        Whether to replace a file that is there, if the map did not come from it.
    is_read : bool
        Whether the map came from a file.

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
    """Write the maps of models whose files are not there.

    Parameters
    ----------
    components : iterable of Component
        Components.
    folder : Path
        Folder of the YAML.
    overwrite : bool
        Whether to replace files that are there, of maps that did not come from a file.

    Raises
    ------
    ModelError
        If there is a map that has no file name.
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
