"""Groups of datasets that are compiled from a description in the process that uses them."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from gmdask.likelihood.memory import Memory

__all__ = ["DescribedGroup"]


class Description(Protocol):
    """Plain data from which a group is compiled."""

    @property
    def budget(self) -> int | None:
        """Bytes that all groups of a process may hold; None for no limit."""


Spec = TypeVar("Spec", bound=Description)


class DescribedGroup(Generic[Spec]):
    """Group of compiled datasets with its own memory.

    Parameters
    ----------
    spec
        Its description.
    folder : str or None
        Folder for data that do not fit in memory; None for the system's folder of temporary files.

    Notes
    -----
    When it is sent to another process, e.g. by a scheduler from an overloaded worker, only its description is
    sent, and it is compiled there when it is first evaluated.
    """

    def __init__(self, spec: Spec, folder: str | None = None) -> None:
        self.spec, self.memory = spec, Memory(spec.budget, folder)

    def __reduce__(self) -> Any:
        return type(self), (self.spec,)

    def __sizeof__(self) -> int:
        """Bytes held in memory, as reported to Dask."""
        return self.memory.resident
