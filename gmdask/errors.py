"""The exceptions of gmdask, grouped by what the caller can do about them.

Each is also a subclass of a fitting builtin exception, so that code which does not know
gmdask can still catch it.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ClusterLostError",
    "CorruptStoreError",
    "DuplicateNameError",
    "FitError",
    "FitInterrupted",
    "GmdaskError",
    "InputError",
    "InputNotFoundError",
    "ModelError",
    "PlanError",
    "StoreError",
    "StoreExistsError",
    "StoreNotFoundError",
    "UnknownAttributeError",
    "UnknownNameError",
    "check_kind",
    "described",
]


class GmdaskError(Exception):
    """Base class of every error raised on purpose by gmdask."""


# --- fix the input -----------------------------------------------------------


class InputError(GmdaskError, ValueError):
    """A file, array or argument is invalid; nothing was changed."""


class InputNotFoundError(InputError, FileNotFoundError):
    """An input file does not exist."""


class ModelError(InputError):
    """A model or a models file is invalid."""


class DuplicateNameError(InputError):
    """A name that must be unique is already in use."""


class UnknownNameError(InputError, KeyError):
    """There is no dataset, model or parameter of this name."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class UnknownAttributeError(InputError, AttributeError):
    """An object has no such attribute, or the attribute cannot be set."""


def described(value: object) -> str:
    """Describe a value in an error message about its type.

    Parameters
    ----------
    value : object
        Any value; for a Gammapy object the text says how to convert it.
    """
    kind = type(value).__name__
    if any(base.__module__.partition(".")[0] == "gammapy" for base in type(value).__mro__):
        return f"Gammapy's {kind} (gmdask.from_gammapy converts it)"
    text = repr(value)
    return text if len(text) <= 80 and "\n" not in text else f"a {kind}"


def check_kind(value: object, kinds: Any, expected: str) -> None:
    """Raise an error if a value is not of the expected type.

    Parameters
    ----------
    value : object
    kinds : type or tuple of types
    expected : str
        Description of these types in words.

    Raises
    ------
    InputError
        If the value is not an instance of any of them.
    """
    if not isinstance(value, kinds):
        msg = f"expected {expected}, got {described(value)}"
        raise InputError(msg)


# --- fix the store -----------------------------------------------------------


class StoreError(GmdaskError, OSError):
    """A store cannot be read or written."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store at this place."""


class StoreExistsError(StoreError, FileExistsError):
    """A store, or something else, already exists at this place."""


class CorruptStoreError(StoreError):
    """The content of a store differs from what was written."""


# --- change the resources ----------------------------------------------------


class PlanError(GmdaskError, MemoryError):
    """The request does not fit the available memory or workers."""


# --- look at the fit ---------------------------------------------------------


class FitError(GmdaskError, RuntimeError):
    """A fit could not be started, or failed."""


class ClusterLostError(FitError, ConnectionError):
    """The scheduler, or every worker, of a cluster is gone; the last checkpoint is kept."""


# --- stopped by the user -----------------------------------------------------


class FitInterrupted(KeyboardInterrupt):
    """A fit was interrupted; the models hold the best point found so far.

    It is a `KeyboardInterrupt`, so that code after the fit does not run as if the fit had finished.

    Attributes
    ----------
    result : `gmdask.fit.FitResult`
        The result so far: not successful, and without errors.
    """

    def __init__(self, result: Any) -> None:
        super().__init__(result.message)
        self.result = result
