"""Responses: how predicted counts are computed, one class and file each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gmdask.likelihood.responses.base import Kept, Part, Places, Response, Shape, whole_image
from gmdask.likelihood.responses.exact import exact_response
from gmdask.likelihood.responses.gridded import GriddedResponse

__all__ = [
    "EXACT",
    "RESPONSES",
    "Kept",
    "Part",
    "Places",
    "Response",
    "ResponseType",
    "Shape",
    "make_response",
    "whole_image",
]


class ResponseType(NamedTuple):
    """How predicted counts are computed.

    Attributes
    ----------
    ways : tuple of callable
        Each creates the `Response` of a `Shape`, or returns None if it does not apply; the last always applies.
    rough : bool
        Whether the statistic has kinks and small steps along spatial parameters.
    """

    ways: tuple[Callable[[Shape], Response | None], ...]
    rough: bool


RESPONSES = {
    "exact": ResponseType((exact_response, GriddedResponse), rough=False),
    "gammapy": ResponseType((GriddedResponse,), rough=True),
}
EXACT = "exact"


def make_response(name: str, shape: Shape) -> Response:
    """Return the response of a shape, from the first way that applies.

    Parameters
    ----------
    name : {"exact", "gammapy"}
    shape : `Shape`
    """
    return next(made for make in RESPONSES[name].ways if (made := make(shape)) is not None)
