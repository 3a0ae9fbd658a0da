"""What the numbers of a dataset must be before it may enter a store."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.errors import InputError

__all__ = ["check_values"]


def check_values(dataset: xr.Dataset, where: str) -> None:
    """Refuse numbers that no likelihood could be made of.

    Parameters
    ----------
    dataset : xarray.Dataset
        A cube with ``counts`` and ``exposure``, and perhaps masks and ``background``.
    where : str
        File and dataset, to begin messages with.

    Raises
    ------
    InputError
        Exposure is not finite at a pixel of the mask image, or counts (finite, not
        negative) or background (finite) are not what they must be in the mask.
    """
    mask: NDArray[Any] = np.ones(dataset["counts"].shape, dtype=bool)
    for key in ("mask_safe", "mask_fit"):
        if key in dataset:
            mask &= dataset[key].values
    counts = dataset["counts"].values
    _refuse(~np.isfinite(counts) & mask, "counts", "not finite inside the mask", where)
    with np.errstate(invalid="ignore"):
        _refuse((counts < 0) & mask, "counts", "negative inside the mask", where)
    if "background" in dataset:
        background = dataset["background"].values
        _refuse(~np.isfinite(background) & mask, "background", "not finite inside the mask", where)
    bad = ~np.isfinite(dataset["exposure"].values)
    image = mask.any(axis=0)
    _refuse(bad & image, "exposure", "NaN or infinite at pixels of the mask", where)


def _refuse(bad: NDArray[np.bool_], array: str, what: str, where: str) -> None:
    if bad.any():
        pixels = int(bad.any(axis=0).sum())
        raise InputError(
            f"{where}: {array} is {what}: {int(bad.sum())} bins at {pixels} pixels; "
            "mask them, or set them to what is meant"
        )
