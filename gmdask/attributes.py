"""Errors for unknown attributes, which suggest the nearest name or an alternative to Gammapy's."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from gmdask.errors import UnknownAttributeError
from gmdask.gammapy_names import INSTEAD

__all__ = ["Hinting", "KnownAttributes", "unknown_attribute"]


def _instead(kind: type, name: str) -> UnknownAttributeError | None:
    """Return an error that suggests an alternative to an attribute that only Gammapy's class has."""
    for base in kind.__mro__:
        if name in vars(base):
            return None
        if (sentence := INSTEAD.get(base.__name__, {}).get(name)) is not None:
            return UnknownAttributeError(f"{kind.__name__} has no attribute {name!r}: {sentence}")
    return None


class _Hinting(ABCMeta):
    """Metaclass that looks up missing class attributes in `INSTEAD`."""

    if not TYPE_CHECKING:  # else type checkers would accept any attribute

        def __getattr__(cls, name: str) -> Any:
            if (error := _instead(cls, name)) is not None:
                raise error
            return type.__getattribute__(cls, name)


class Hinting(metaclass=_Hinting):
    """Base of classes whose errors suggest alternatives to Gammapy's attributes."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if (error := _instead(type(self), name)) is not None:
                raise error
            return object.__getattribute__(self, name)  # raises the property's error, or Python's


class KnownAttributes(Hinting):
    """Base of classes whose objects have only the attributes that ``__init__`` sets.

    Without it, ``model.alfa = 3`` would silently do nothing. Properties can be set as usual, and
    names that begin with an underscore are not checked.

    Attributes
    ----------
    set_otherwise : dict
        What to do instead of setting an attribute, by name of the attribute.
    """

    __slots__ = ()
    _is_made = False
    set_otherwise: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        init = cls.__dict__.get("__init__")
        if init is not None:
            type.__setattr__(cls, "__init__", _finishing(init))

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and self._is_made:
            _check_name(self, name)
        object.__setattr__(self, name, value)


def _finishing(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``__init__`` to mark the object as complete, unless a subclass still has to continue."""

    @wraps(init)
    def finishing(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self).__init__ is finishing:
            object.__setattr__(self, "_is_made", True)

    return finishing


def _check_name(instance: KnownAttributes, name: str) -> None:
    """Reject a name that is not an attribute, or that cannot be set.

    Raises
    ------
    UnknownAttributeError
        If the name is rejected.
    """
    if name in instance.set_otherwise:
        msg = f"{type(instance).__name__}.{name} cannot be set: {instance.set_otherwise[name]}"
        raise UnknownAttributeError(msg)
    found = getattr(type(instance), name, instance.__dict__)
    is_read_only = isinstance(found, property) and found.fset is None
    if is_read_only or (found is instance.__dict__ and name not in found):
        raise unknown_attribute(instance, name)


def unknown_attribute(instance: object, name: str) -> UnknownAttributeError:
    """Return the error for an attribute that does not exist or cannot be set.

    Parameters
    ----------
    instance : object
        Object that does not have it.
    name : str
        The given name.
    """
    if (error := _instead(type(instance), name)) is not None:
        return error
    kind = type(instance).__name__
    names = [known for known in dir(instance) if not known.startswith("_")]
    if name in names:
        return UnknownAttributeError(f"{kind}.{name} cannot be set")
    near = get_close_matches(name, names, 1)
    own = [known for known in getattr(instance, "__dict__", names) if known in names]
    hint = f": did you mean {near[0]!r}?" if near else f", but {', '.join(own[:8])}" if own else ""
    return UnknownAttributeError(f"{kind} has no attribute {name!r}{hint}")
