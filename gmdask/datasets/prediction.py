"""What the models of a dataset predict, and how the counts compare with it."""

from __future__ import annotations

from functools import cache, partial

import dask
import dask.array
import numpy as np
import xarray as xr

from gmdask.datasets.base import CubeDataset
from gmdask.likelihood.group import npred_cube
from gmdask.store.lazy import lazy_variable

__all__ = ["Predictions"]


class Predictions(CubeDataset):
    """Counts that the models of a dataset predict."""

    def npred(self) -> xr.DataArray:
        """Predicted counts (energy, lat, lon) of all models and the background, lazy.

        Backed by Dask for a dataset of a store on disk; one in memory is computed in this process.
        Negative sums are clipped at zero, as in Gammapy.
        """
        dims, shape = tuple(map(str, self.counts.dims)), self.counts.shape
        models = self._models.to_dict()
        if self._stored is None:  # its arrays do not leave this process
            compute = cache(partial(npred_cube, self._name, self._cube, models))
            lazy = lazy_variable(dims, lambda index: compute()[index], shape, np.dtype(np.float64))
        else:
            task = dask.delayed(npred_cube, pure=False)(self._name, self._stored, models)
            lazy = xr.Variable(dims, dask.array.from_delayed(task, shape, dtype=np.float64))
        coords = {"energy": self._cube["energy"]}
        return xr.DataArray(lazy, coords, name="npred", attrs={"unit": ""})
