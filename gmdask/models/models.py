"""The global models of an analysis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from gmdask.drawing import draw
from gmdask.errors import InputError
from gmdask.models.background import BackgroundIRFModel
from gmdask.models.component import Component
from gmdask.models.dataset_models import DatasetModels
from gmdask.models.io.read_write import WriteOptions, read_models, write_models
from gmdask.models.model_list import ModelSequence
from gmdask.models.names import check_texts, list_of_names, new_names
from gmdask.paths import expanded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gmdask.models.sky import SkyModel
    from gmdask.models.spectral.base import SpectralModel

__all__ = ["Models"]


class Models(ModelSequence):
    """The global models of an analysis, of which there is one object; datasets hold copies."""

    _index: tuple[int, int, dict[str | None, list[int]]] | None = None

    # --- structure --------------------------------------------------------------------

    def append(self, component: Component) -> None:
        """Add a component."""
        self._add(component)

    def extend(self, components: Component | Iterable[Component]) -> None:
        """Add one or several components, either all of them or none."""
        number = len(self)
        try:
            for component in type(self)(components):
                self._add(component)
        except InputError:
            added = self._components[number:]
            del self._components[number:]
            for component in added:
                del self._by_name[component.name]
                if isinstance(component, BackgroundIRFModel):
                    del self._backgrounds[component.dataset_name]
            raise

    def remove(self, name: str) -> None:
        """Remove a component."""
        component = self[name]
        self._replace([other for other in self._components if other is not component])

    def _replace(self, components: Iterable[Component]) -> None:
        new = type(self)(components)
        self._components, self._by_name = new._components, new._by_name
        self._backgrounds, self._index = new._backgrounds, None

    def __setitem__(self, key: int | str, component: Component) -> None:
        """Replace a component."""
        components = list(self._components)
        components[self.index(key)] = component
        self._replace(components)

    def __delitem__(self, key: int | str) -> None:
        self.remove(self[key].name)

    def insert(self, index: int, component: Component) -> None:
        """Add a component at a position."""
        components = list(self._components)
        components.insert(index, component)
        self._replace(components)

    def pop(self, key: int | str = -1) -> Component:
        """Remove a component and return it."""
        component: Component = self[key]
        self.remove(component.name)
        return component

    def __add__(self, other: Component | Iterable[Component]) -> Self:
        others = other if isinstance(other, Iterable) else [other]
        return type(self)([*self._components, *others])

    # --- selection --------------------------------------------------------------------

    def selection_mask(
        self,
        name: str | None = None,
        dataset: str | Iterable[str] | None = None,
        tag: str | Iterable[str] | None = None,
        type: str | None = None,  # noqa: A002
        frozen: bool | None = None,
        *,
        name_substring: str | None = None,
        datasets_names: str | Iterable[str] | None = None,
        model_type: str | None = None,
    ) -> NDArray[np.bool_]:
        """Return which components fulfil all conditions.

        Parameters
        ----------
        name : str, optional
            Name, with wildcards ``*`` and ``?``.
        dataset : str or list of str, optional
            Exact names of datasets; the component applies to at least one of them.
        tag : str or list of str, optional
            Class name or short tag of the component or, with ``type``, of its model of this type.
        type : str, optional
            "spectral", "spatial" or "temporal": the component has a model of this type.
        frozen : bool, optional
            Whether all its parameters are frozen.
        name_substring : str, optional
            Part of the name.
        datasets_names, model_type
            Gammapy's names of ``dataset`` and ``type``.

        Returns
        -------
        ndarray [components] of bool
        """
        dataset = datasets_names if dataset is None else dataset
        kind = model_type if type is None else type
        check_texts(name, name_substring, kind)
        datasets = None if dataset is None else list_of_names(dataset)
        tags = None if tag is None else set(list_of_names(tag))

        def meets(component: Component) -> bool:
            model: Any = component if kind is None else component.models.get(kind)
            return (
                (name is None or fnmatchcase(component.name, name))
                and (name_substring is None or name_substring in component.name)
                and (datasets is None or any(map(component.applies_to, datasets)))
                and model is not None
                and (tags is None or not tags.isdisjoint(model.tag))
                and (frozen is None or component.frozen == frozen)
            )

        return np.array([meets(component) for component in self._components], dtype=bool)

    def select(self, *conditions: Any, **named: Any) -> Models:
        """Return the components that fulfil all conditions of `selection_mask`: the same objects, not copies.

        Returns
        -------
        Models
            With their part of the covariance.
        """
        return self[self.selection_mask(*conditions, **named)]

    def select_region(self, region: Any, wcs: Any = None) -> Models:
        """Return the sky models whose position lies in a region, in the plane around its centre.

        Parameters
        ----------
        region : SkyRegion, PixelRegion, list of these, str or path
            See `gmdask.geometry.regions.read_region`.
        wcs : `~astropy.wcs.WCS`, optional
            WCS of the pixels of a `PixelRegion`.
        """
        from gmdask.geometry.regions import Region

        given = region if isinstance(region, list | tuple) else [region]
        if wcs is not None:
            given = [part.to_sky(wcs) if hasattr(part, "to_sky") else part for part in given]
        inside = Region(given if len(given) > 1 else given[0])
        places = [getattr(component, "position", None) for component in self._components]
        return self[np.array([p is not None and inside.contains(p) for p in places], dtype=bool)]

    @property
    def positions(self) -> Any:
        """Positions of the sky models that have one, as a single ICRS `~astropy.coordinates.SkyCoord`."""
        from astropy.coordinates import SkyCoord

        places = [getattr(component, "position", None) for component in self._components]
        found = [place.icrs for place in places if place is not None]
        return SkyCoord(found) if found else SkyCoord([], [], unit="deg")

    def to_regions(self, size_factor: float = 1.0) -> list[Any]:
        """Return the outlines of the sky models that have one, as `~regions.SkyRegion`.

        Parameters
        ----------
        size_factor : float
            Factor on the sizes of the models.
        """
        shapes = [getattr(c, "spatial_model", None) for c in self.select(tag="sky-model")]
        outlines = [shape.to_region(size_factor) for shape in shapes if shape is not None]
        return [outline for outline in outlines if outline is not None]

    def plot_positions(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Mark the positions of the sources; see `gmdask.plot.plot_positions`."""
        axes: Axes = draw("plot_positions", self, ax, **kwargs)
        return axes

    def plot_regions(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the outlines of the sources; see `gmdask.plot.plot_regions`."""
        axes: Axes = draw("plot_regions", self, ax, **kwargs)
        return axes

    def to_template_sky_model(
        self, geom: Any, spectral_model: Any = None, name: str | None = None
    ) -> SkyModel:
        """Sum of the sky models as one template, which Gammapy computes.

        Parameters
        ----------
        geom : ``gammapy.maps.WcsGeom``
            Pixels and true energies of the map.
        spectral_model : SpectralModel, optional
            A norm, by default a power law.
        name : str, optional
        """
        from gmdask.models.io.gammapy_objects import merged

        made: SkyModel = merged("to_template_sky_model", self, geom).copy(name=name)
        if spectral_model is not None:
            made.spectral_model = spectral_model
        return made

    def to_template_spectral_model(self, geom: Any, mask: Any = None) -> SpectralModel:
        """Spectrum of the sum of the sky models within a map, which Gammapy computes.

        Parameters
        ----------
        geom : ``gammapy.maps.WcsGeom``
            Pixels and true energies.
        mask : ``gammapy.maps.Map`` of bool, optional
            Where they count.
        """
        from gmdask.models.io.gammapy_objects import merged

        made: SpectralModel = merged("to_template_spectral_model", self, geom, mask)
        return made

    @property
    def frozen(self) -> bool:
        """Whether all parameters are frozen."""
        return all(component.frozen for component in self._components)

    def freeze(self, model_type: str | None = None) -> None:
        """Freeze all parameters, or those of one type ("spectral", "spatial", "temporal")."""
        for component in self._components:
            component.freeze(model_type)

    def unfreeze(self, model_type: str | None = None) -> None:
        """Restore the frozen flags of the class for all parameters, or for those of one type."""
        for component in self._components:
            component.unfreeze(model_type)

    @contextmanager
    def restore_status(self, restore_values: bool = True) -> Iterator[None]:
        """Context manager that restores frozen flags, values and errors of the parameters on exit.

        Parameters
        ----------
        restore_values : bool
            Whether to restore the values too.
        """
        parameters, covariance = self.parameters, self._covariance
        with parameters.restore_status(restore_values):
            try:
                yield
            finally:
                self.keep_covariance(covariance)

    def reassign(self, old: str | Iterable[str], new: str | Iterable[str]) -> Self:
        """Copy all components, with those of some datasets assigned to others.

        A default name of a background model is adapted to its dataset; links are kept.

        Parameters
        ----------
        old, new : str or list of str
            Exact names of the old datasets, and of the new ones.
        """
        names = new_names(old, new)
        memo: dict[int, Any] = {}
        copies: list[Component] = []
        for component in self._components:
            bound = component.datasets_names
            if isinstance(component, BackgroundIRFModel):
                target = names.get(component.dataset_name)
                copies.append(component.copy(memo=memo, dataset_name=target))
                continue
            twin = component.copy(memo=memo)
            if bound is not None and not names.keys().isdisjoint(bound):
                twin.datasets_names = [names.get(key, key) for key in bound]
            copies.append(twin)
        moved = self.__class__(copies)
        if self.has_covariance:
            moved.keep_covariance(self.covariance.rebound(memo, moved.parameters))
        return moved

    def _by_dataset(self) -> dict[str | None, list[int]]:
        """Positions of components by dataset, with those for all datasets under None; cached while valid."""
        state = (len(self._components), Component.assignments)
        index = self._index
        if index is None or index[:2] != state:
            table: dict[str | None, list[int]] = {}
            for k, component in enumerate(self._components):
                names = component.datasets_names
                keys = [None] if names is None else dict.fromkeys(names)
                for key in keys:
                    table.setdefault(key, []).append(k)
            self._index = index = (*state, table)
        return index[2]

    def positions_for(self, name: str) -> list[int]:
        """Return the positions of the components that apply to a dataset.

        These are the sky models for all datasets or for this one, and its background model.

        Parameters
        ----------
        name : str
            Name of the dataset.
        """
        index = self._by_dataset()
        return sorted([*index.get(None, []), *index.get(name, [])])

    def for_dataset(self, name: str) -> DatasetModels:
        """Copy the components that apply to a dataset; linked parameters stay linked.

        Parameters
        ----------
        name : str
            Name of the dataset.
        """
        memo: dict[int, Any] = {}
        components = [self._components[k] for k in self.positions_for(name)]
        return DatasetModels([component.copy(memo=memo) for component in components])

    # --- files ------------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | Path, checksum: bool = False) -> Self:
        """Read Gammapy's YAML, and the covariance file that it refers to.

        Parameters
        ----------
        path : str or Path
            File.
        checksum : bool
            Whether to verify its checksum.

        Raises
        ------
        InputNotFoundError
            If a file does not exist.
        ModelError
            If the content is invalid; the message names file, component and key.
        """
        return read_models(cls, expanded(path), checksum)

    def write(
        self,
        path: str | Path,
        overwrite: bool = False,
        full_output: bool = False,
        overwrite_templates: bool = False,
        checksum: bool = False,
    ) -> None:
        """Write Gammapy's YAML and, if a covariance was set, a covariance file beside it.

        Parameters
        ----------
        path : str or Path
            File; the covariance is written to "<stem>_covariance.dat" as Gammapy's table. For more than
            1000 parameters it is written to "<stem>_covariance.npz" instead, in its blocks,
            which Gammapy cannot read; this is logged.
        overwrite : bool
            Whether to replace existing files.
        full_output : bool
            Whether values that equal the default of the class are also written.
        overwrite_templates : bool
            Whether to replace the files of maps that were given in memory; missing files are
            written in any case.
        checksum : bool
            Whether to add a checksum, as Gammapy does.

        Raises
        ------
        StoreExistsError
            If a file exists and ``overwrite`` is False.
        """
        options = WriteOptions(overwrite, full_output, overwrite_templates, checksum)
        write_models(self, expanded(path), options)
