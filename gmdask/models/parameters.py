"""A sequence of parameters that are accessible by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from html import escape
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.attributes import KnownAttributes
from gmdask.errors import InputError, UnknownNameError, check_kind
from gmdask.models.parameter import Parameter
from gmdask.models.units import unit_text

__all__ = ["Parameters"]

Array = NDArray[np.float64]


class Parameters(KnownAttributes, Sequence[Parameter]):
    """Distinct parameters, with the names by which they are accessible.

    A shared parameter is placed where it occurs first, under its first name, and is also
    accessible by its other names. A shorter name is sufficient if only one parameter ends with it.

    Parameters
    ----------
    parameters : iterable of Parameter
        Parameters, possibly with repetitions.
    names : iterable of str, optional
        A name for each; by default the parameter's own name.
    """

    def __init__(
        self, parameters: Iterable[Parameter] = (), names: Iterable[str] | None = None
    ) -> None:
        parameters = list(parameters)
        names = [par.name for par in parameters] if names is None else list(names)
        self._pairs = list(zip(names, parameters, strict=True))
        first: dict[int, str] = {}
        unique: list[Parameter] = []
        for name, par in self._pairs:
            if id(par) not in first:
                first[id(par)] = name
                unique.append(par)
        self._parameters = unique
        self._names = list(first.values())
        self._full: dict[str, list[int]] | None = None
        self._endings: dict[str, list[int]] | None = None
        self._positions = {id(par): k for k, par in enumerate(unique)}

    @classmethod
    def from_names(cls, pairs: Iterable[tuple[str, Parameter]]) -> Parameters:
        """Return parameters from (name, parameter) pairs."""
        pairs = list(pairs)
        return cls([par for _, par in pairs], [name for name, _ in pairs])

    def __reduce__(self) -> tuple[Any, ...]:
        return Parameters.from_names, (self._pairs,)  # positions refer to the copies

    # --- access -------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """First name of every parameter."""
        return list(self._names)

    @property
    def all_names(self) -> list[tuple[str, Parameter]]:
        """Return every name with its parameter, shared parameters under each of their names."""
        return list(self._pairs)

    def _lookup(self, key: str) -> list[int]:
        """Return the positions of a full name, or of all names that end with the key after a dot."""
        if self._full is None:
            self._full = {}
            for name, par in self._pairs:
                _add(self._full, name, self._positions[id(par)])
        if key in self._full:
            return self._full[key]
        if self._endings is None:
            self._endings = {}
            for name, par in self._pairs:
                rest = name
                while "." in rest:
                    rest = rest.partition(".")[2]
                    _add(self._endings, rest, self._positions[id(par)])
        return self._endings.get(key, [])

    def index(self, key: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the position of a parameter.

        Parameters
        ----------
        key : str or Parameter
            Name, or the parameter itself.
        start, stop : int, optional
            Not used; part of the interface of a sequence.

        Raises
        ------
        UnknownNameError
            If there is no such parameter, or the name is ambiguous.
        """
        del start, stop
        if isinstance(key, Parameter):
            if id(key) not in self._positions:
                msg = f"parameter {key.where!r} is not in this sequence"
                raise UnknownNameError(msg)
            return self._positions[id(key)]
        found = self._lookup(key)
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(self._names[k] for k in found[:5])
            more = ", ..." if len(found) > 5 else ""
            msg = f"parameter name {key!r} is ambiguous: {several}{more}"
            raise UnknownNameError(msg)
        near = get_close_matches(str(key), [name for name, _ in self._pairs[:2000]], 5, 0.4)
        hint = ", ".join(near or self._names[:5]) or "there are none"
        msg = f"no parameter {key!r}; near: {hint}"
        raise UnknownNameError(msg)

    @overload
    def __getitem__(self, key: int | str) -> Parameter: ...
    @overload
    def __getitem__(self, key: slice | Sequence[bool] | NDArray[np.bool_]) -> Parameters: ...
    def __getitem__(self, key: Any) -> Parameter | Parameters:
        """Return a parameter by index or name, or several by slice or mask."""
        if isinstance(key, str):
            return self._parameters[self.index(key)]
        if isinstance(key, (int, np.integer)):
            return self._parameters[key]
        if isinstance(key, slice):
            return self._select({id(par) for par in self._parameters[key]})
        mask = np.asarray(key, dtype=bool)
        if mask.shape != (len(self),):
            msg = f"mask of shape {mask.shape} for {len(self)} parameters"
            raise InputError(msg)
        return self._select({id(self._parameters[k]) for k in np.flatnonzero(mask)})

    def __contains__(self, key: object) -> bool:
        if isinstance(key, Parameter):
            return id(key) in self._positions
        return isinstance(key, str) and len(self._lookup(key)) == 1

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters)

    def _select(self, keep: set[int]) -> Parameters:
        return Parameters.from_names(pair for pair in self._pairs if id(pair[1]) in keep)

    @property
    def free(self) -> Parameters:
        """The parameters that are not frozen."""
        return self._select({id(par) for par in self._parameters if not par.frozen})

    free_parameters = free

    def __add__(self, other: Parameters) -> Parameters:
        return Parameters.from_names([*self._pairs, *other._pairs])

    # --- arrays -------------------------------------------------------------------

    def _array(self, get: Callable[[Parameter], float]) -> Array:
        return np.array([get(par) for par in self._parameters], dtype=float)

    @property
    def value(self) -> Array:
        """Values [P], each in the unit of its parameter; either all are set or none."""
        return self._array(lambda par: par.value)

    @value.setter
    def value(self, values: ArrayLike) -> None:
        array = np.asarray(values, dtype=float)
        if array.shape != (len(self),):
            msg = f"values of shape {array.shape} for {len(self)} parameters"
            raise InputError(msg)
        if not np.isfinite(array).all():
            bad = self._names[int(np.flatnonzero(~np.isfinite(array))[0])]
            msg = f"value of {bad} is not finite"
            raise InputError(msg)
        for par, value in zip(self._parameters, array.tolist(), strict=True):
            par.value = value

    @property
    def error(self) -> Array:
        """Errors [P]."""
        return self._array(lambda par: par.error)

    @property
    def min(self) -> Array:
        """Lower limits [P], NaN for none."""
        return self._array(lambda par: par.min)

    @property
    def max(self) -> Array:
        """Upper limits [P], NaN for none."""
        return self._array(lambda par: par.max)

    @property
    def frozen(self) -> NDArray[np.bool_]:
        """Frozen flags [P]."""
        return np.array([par.frozen for par in self._parameters], dtype=bool)

    def select(
        self,
        name: str | Iterable[str] | None = None,
        type: str | None = None,  # noqa: A002
        frozen: bool | None = None,
    ) -> Parameters:
        """Return the parameters that fulfil all conditions.

        Parameters
        ----------
        name : str or list of str, optional
            Own names of the parameters, such as ``index``.
        type : {"spectral", "spatial", "temporal"}, optional
            Type of their model, as far as it is part of the names.
        frozen : bool, optional
            Whether they are frozen.
        """
        check_kind(name, str | Iterable | None, "a name, or a list of names")
        names = None if name is None else {name} if isinstance(name, str) else set(name)
        keep = {
            id(par)
            for full, par in self._pairs
            if (names is None or par.name in names)
            and (type is None or _kind_of(full) == type)
            and (frozen is None or par.frozen == frozen)
        }
        return self._select(keep)

    @contextmanager
    def restore_status(self, restore_values: bool = True) -> Iterator[None]:
        """Context manager that restores frozen flags, values and errors of the parameters on exit.

        Parameters
        ----------
        restore_values : bool
            Whether to restore the values too.
        """
        before = [(par, par.value, par.error, par.frozen) for par in self._parameters]
        try:
            yield
        finally:
            for par, value, error, frozen in before:
                par.frozen, par.error = frozen, error
                if restore_values:
                    par.value = value

    def _ipython_key_completions_(self) -> list[str]:
        return self.names

    def freeze_all(self) -> None:
        """Freeze every parameter."""
        for par in self._parameters:
            par.frozen = True

    def unfreeze_all(self) -> None:
        """Free every parameter."""
        for par in self._parameters:
            par.frozen = False

    # --- display -------------------------------------------------------------------

    def to_table(self) -> Any:
        """Return an astropy table with one row per parameter.

        Returns
        -------
        Table
            Columns name, value, unit, error, min, max, frozen, and link: the other names of
            a shared parameter.
        """
        from astropy.table import Table

        others: dict[int, list[str]] = {id(par): [] for par in self._parameters}
        for name, par in self._pairs:
            others[id(par)].append(name)
        table = Table()
        table["name"] = np.array(self._names, dtype=str)
        table["value"] = self.value
        table["unit"] = np.array([str(par.unit) for par in self], dtype=str)
        table["error"], table["min"], table["max"] = self.error, self.min, self.max
        table["frozen"] = self.frozen
        table["link"] = np.array([", ".join(others[id(par)][1:]) for par in self], dtype=str)
        for name in ("value", "error", "min", "max"):
            table[name].format = ".4g"
        return table

    def __str__(self) -> str:
        lines = [
            f"{name:<{max(map(len, self._names))}}  {_text(par)}"
            for name, par in zip(self._names, self._parameters, strict=True)
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        shown = ", ".join(self._names[:8]) + (", ..." if len(self) > 8 else "")
        return f"Parameters({len(self)}: {shown})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(_text(par))}</td></tr>"
            for name, par in zip(self._names[:200], self._parameters, strict=False)
        )
        more = f"<p>{len(self) - 200} more</p>" if len(self) > 200 else ""
        return f"<table>{rows}</table>{more}"


def _add(table: dict[str, list[int]], name: str, k: int) -> None:
    places = table.setdefault(name, [])
    if k not in places[-1:]:
        places.append(k)


def _kind_of(name: str) -> str | None:
    """Type of the model in a full name, such as "spectral" for "crab.spectral.index"."""
    kinds = [part for part in name.split(".")[:-1] if part in ("spectral", "spatial", "temporal")]
    return kinds[-1] if kinds else None


def _text(par: Parameter) -> str:
    error = "(frozen)" if par.frozen else f"± {par.error:.2g}"
    limits = [
        f"{sign} {limit:.4g}"
        for sign, limit in (("≥", par.min), ("≤", par.max))
        if not np.isnan(limit)
    ]
    return " ".join([f"{par.value:.5g}", error, unit_text(par.unit), *limits]).rstrip()
