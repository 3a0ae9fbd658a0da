"""The global models, and the copies of them that datasets hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gmdask.errors import InputError
from gmdask.models import files
from gmdask.models.component import Component
from gmdask.models.covariance import Covariance
from gmdask.models.parameter import Parameter, unit_factor
from gmdask.models.parameters import Parameters
from gmdask.models.plain import locating
from gmdask.models.sequence import ModelSequence

__all__ = ["DatasetModels", "Models"]


class DatasetModels(ModelSequence):
    """The components that touch one dataset: copies, with a structure that stays."""

    def set_parameters(self, parameters: Parameters) -> None:
        """Take values from the global parameters, by full name.

        Parameters
        ----------
        parameters : Parameters
            Global parameters; values are converted if the units differ.

        Raises
        ------
        UnknownNameError
            If a parameter is not among them; nothing is changed then.
        """
        found = []
        for name, par in self.named_parameters():
            source = parameters[name]
            factor = 1.0 if source.unit is par.unit else unit_factor(source.unit, par.unit)
            found.append((par, source.value * factor))
        for par, value in found:
            par.value = value


class Models(ModelSequence):
    """The global models of an analysis; there is one such object, and it changes only here."""

    _index: tuple[int, int, dict[str | None, list[int]]] | None = None

    # --- structure --------------------------------------------------------------------

    def append(self, component: Component) -> None:
        """Add a component."""
        self._add(component)

    def extend(self, components: Iterable[Component]) -> None:
        """Add components: all, or none if one of them cannot be."""
        new = type(self)([*self._components, *components])
        self._components, self._by_name = new._components, new._by_name
        self._backgrounds = new._backgrounds

    def remove(self, name: str) -> None:
        """Take a component out."""
        component = self[name]
        new = type(self)([other for other in self._components if other is not component])
        self._components, self._by_name = new._components, new._by_name
        self._backgrounds, self._index = new._backgrounds, None

    def _by_dataset(self) -> dict[str | None, list[int]]:
        """Positions of components by dataset, under None those for all; kept while valid."""
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

    def for_dataset(self, name: str) -> DatasetModels:
        """Copy the components that touch a dataset.

        Sky models for all datasets or for this one, and the background model of it; what is
        linked among them stays linked.

        Parameters
        ----------
        name : str
            Name of the dataset.
        """
        index = self._by_dataset()
        at = sorted([*index.get(None, []), *index.get(name, [])])
        memo: dict[int, Any] = {}
        return DatasetModels([self._components[k].copy(memo=memo) for k in at])

    # --- covariance -------------------------------------------------------------------

    @property
    def covariance(self) -> Covariance:
        """Covariance of `parameters`; from their errors, unless one was set.

        Set a matrix [P, P] over `parameters`, or a `Covariance` of some of them: the errors
        of the parameters follow.
        """
        return super().covariance

    @covariance.setter
    def covariance(self, value: Covariance | ArrayLike | None) -> None:
        if value is None:
            self._covariance = None
            return
        parameters = self.parameters
        if isinstance(value, Covariance):
            if any(par not in parameters for par in value.parameters):
                message = "covariance of parameters that do not belong to these models"
                raise InputError(message)
            value.set_errors()
            value = value.expanded_to(parameters).data
        covariance = Covariance(parameters, np.asarray(value, dtype=float))
        covariance.set_errors()
        self._covariance = covariance

    # --- files ------------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read Gammapy's YAML, with the covariance file it names.

        Parameters
        ----------
        path : str or Path
            File.

        Raises
        ------
        InputNotFoundError
            If a file does not exist.
        ModelError
            Naming file, component and key, if it is not what is expected.
        """
        path = Path(path)
        data = files.read_yaml(path)
        with locating(str(path)):
            models = cls.from_dict(data)
        table = files.covariance_path(path, data)
        if table is not None:
            rows, matrix = files.read_covariance(table, data.get("metadata"))
            with locating(str(table)):
                at = files.match_rows(rows, models.full_names)
            first = [at[k] for k in _first_occurrences(models.named_parameters())]
            models.covariance = matrix[np.ix_(first, first)]
        return models

    def write(self, path: str | Path, overwrite: bool = False, full_output: bool = False) -> None:
        """Write Gammapy's YAML, and the covariance, if one was set, to a file beside it.

        Parameters
        ----------
        path : str or Path
            File; the covariance goes to "<stem>_covariance.dat".
        overwrite : bool
            Whether to replace files that are there.
        full_output : bool
            Whether what equals the default of the class is written too.

        Raises
        ------
        StoreExistsError
            If a file is there and ``overwrite`` is not set.
        """
        path = Path(path)
        covariance, contents = None, {}
        if self.has_covariance:
            table = path.with_name(f"{path.stem}_covariance.dat")
            at = [self.covariance.parameters.index(par) for _, par in self.named_parameters()]
            matrix = self.covariance.data[np.ix_(at, at)]
            contents[table] = files.render_covariance(self.full_names, matrix)
            covariance = (table.name, contents[table])
        contents[path] = files.render_yaml(self.to_dict(full_output), covariance)
        files.write_files(contents, overwrite)


def _first_occurrences(pairs: Sequence[tuple[str, Parameter]]) -> list[int]:
    """Positions at which a parameter stands for the first time."""
    first: dict[int, int] = {}
    for k, (_, par) in enumerate(pairs):
        first.setdefault(id(par), k)
    return list(first.values())
