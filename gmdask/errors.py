"""The exceptions of gmdask, grouped by what the caller would do about them.

Each is also a fitting builtin, so that code which knows nothing of gmdask can
still catch it.
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
    """A file, array or argument is not what was expected; nothing was changed."""


class InputNotFoundError(InputError, FileNotFoundError):
    """An input file does not exist."""


class ModelError(InputError):
    """A model, or a file of models, is not valid."""


class DuplicateNameError(InputError):
    """A name that must be unique is there already."""


class UnknownNameError(InputError, KeyError):
    """A dataset, model or parameter of this name does not exist."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class UnknownAttributeError(InputError, AttributeError):
    """An object has no such attribute, or it cannot be set."""


def described(value: object) -> str:
    """Say what a value is, in a message about one that is of the wrong kind.

    Parameters
    ----------
    value : object
        Any value; of one of Gammapy's the text says how to convert it.
    """
    kind = type(value).__name__
    if any(base.__module__.partition(".")[0] == "gammapy" for base in type(value).__mro__):
        return f"Gammapy's {kind} (gmdask.from_gammapy converts it)"
    text = repr(value)
    return text if len(text) <= 80 and "\n" not in text else f"a {kind}"


def check_kind(value: object, kinds: Any, expected: str) -> None:
    """Refuse a value of another kind.

    Parameters
    ----------
    value : object
    kinds : type or tuple of types
    expected : str
        What these are in words.

    Raises
    ------
    InputError
        If the value is an instance of none of them.
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
    """There is a store (or something else) at this place already."""


class CorruptStoreError(StoreError):
    """Bytes of a store are not those that were written."""


# --- change the plan ---------------------------------------------------------


class PlanError(GmdaskError, MemoryError):
    """What was asked for does not fit the memory or the workers at hand."""


# --- look at the fit ---------------------------------------------------------


class FitError(GmdaskError, RuntimeError):
    """A fit cannot be started or went wrong."""


class ClusterLostError(FitError, ConnectionError):
    """The scheduler, or all workers, of a cluster are gone; a checkpoint stays as it was."""


# --- stopped by the user -----------------------------------------------------


class FitInterrupted(KeyboardInterrupt):
    """A fit was interrupted; the models hold the best point it came to.

    It is a `KeyboardInterrupt`, so that what comes after the fit does not run as if it had ended.

    Attributes
    ----------
    result : `gmdask.fit.FitResult`
        Not successful, without errors.
    """

    def __init__(self, result: Any) -> None:
        super().__init__(result.message)
        self.result = result
