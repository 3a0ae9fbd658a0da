"""Groups of datasets that are compiled from a description, where they are used."""

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
    """Group with memory of its own.

    Parameters
    ----------
    spec
        Its description.
    folder : str or None
        Where what does not fit in memory goes; None for the system's folder of temporary files.

    Notes
    -----
    Sent to another process, as by a scheduler that sees one worker overloaded, it goes as its description,
    and is compiled there when it is first evaluated.
    """

    def __init__(self, spec: Spec, folder: str | None = None) -> None:
        self.spec, self.memory = spec, Memory(spec.budget, folder)

    def __reduce__(self) -> Any:
        return type(self), (self.spec,)

    def __sizeof__(self) -> int:
        """Bytes held in memory, for whoever counts it."""
        return self.memory.resident
