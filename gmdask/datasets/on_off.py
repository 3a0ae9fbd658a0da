"""Spectra with a measured background: counts of an on region, and of an off region."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gmdask.datasets.derived_cube import computed, lazy, opened
from gmdask.datasets.io.fits_files import FITS
from gmdask.datasets.kinds import KINDS
from gmdask.datasets.operations.off_counts import OFF, exposure_ratio, off_background
from gmdask.datasets.operations.transforms import altered_dataset
from gmdask.datasets.prediction import by_bin
from gmdask.datasets.spectrum_dataset import SpectrumDataset
from gmdask.errors import InputError
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.statistics.wstat import WStat
from gmdask.likelihood.work_unit import npred_cube
from gmdask.models import BackgroundIRFModel, DatasetModels
from gmdask.models.io.gammapy_yaml import write_files
from gmdask.paths import expanded
from gmdask.store.formats.ogip_writer import ogip_contents
from gmdask.store.formats.validity import check_values
from gmdask.store.lazy_variable import lazy_variable

__all__ = ["SpectrumDatasetOnOff"]

Array = NDArray[np.float64]


class SpectrumDatasetOnOff(SpectrumDataset):
    """Counts of an on region and of one or several off regions, exposure and energy dispersion.

    The statistic is that of both counts at the most likely background, `WStat`: no background
    model is needed or accepted.

    Parameters
    ----------
    cube : `xarray.Dataset`
        As for a `SpectrumDataset`, with ``counts_off``, ``acceptance`` and ``acceptance_off`` (energy, lat,
        lon) in place of the background.
    stored : `StoredCube` or `AlteredCube`, optional
        See `MapDataset`.

    Raises
    ------
    InputError
        If arrays or the region are missing.
    """

    def _check(self, cube: xr.Dataset) -> None:
        super()._check(cube)
        for key in OFF:
            if key not in cube:
                msg = f"dataset {self._name!r}: {key!r} is missing"
                raise InputError(msg)

    @classmethod
    def create(  # type: ignore[override]
        cls, name: str, region: Any, energy: Any, energy_true: Any = None, *, migra: Any = None
    ) -> Self:
        """Create an empty spectrum for stacking; see `SpectrumDataset.create`."""
        empty = SpectrumDataset.create(name, region, energy, energy_true, migra=migra)
        return cls.from_spectrum_dataset(empty, 0.0, 0.0, 0.0)

    @classmethod
    def from_spectrum_dataset(
        cls,
        dataset: SpectrumDataset,
        counts_off: Any,
        acceptance: Any = 1.0,
        acceptance_off: Any = 1.0,
        name: str | None = None,
    ) -> Self:
        """Create a dataset from a spectrum, without its background, and the counts of an off region.

        Parameters
        ----------
        dataset : `SpectrumDataset`
        counts_off : array of shape (energy,)
        acceptance, acceptance_off : array of shape (energy,), or float
            Acceptances of the on and off region: their relative exposures to background.
        name : str, optional
            Name of the new dataset, by default that of the spectrum.

        Raises
        ------
        InputError
            If a shape does not match the energy axis, or values are invalid.
        """
        where, cube = f"dataset {dataset.name!r}", dataset.open().load()
        counts = cube["counts"]
        arrays = {}
        for key, given in zip(OFF, (counts_off, acceptance, acceptance_off), strict=True):
            values = np.asarray(given, dtype=np.float64)
            if values.ndim and values.shape != counts.shape[:1]:
                msg = f"{where}: {key!r} has shape {values.shape}, expected {counts.shape[:1]}"
                raise InputError(msg)
            full = np.broadcast_to(values, counts.shape[:1])[:, None, None].copy()
            arrays[key] = xr.Variable(counts.dims, full, {"unit": ""})
        cube = cube.drop_vars("background", errors="ignore").assign(arrays)
        cube.attrs |= {"name": name or dataset.name, "kind": cls.__name__, "stat_type": WStat.name}
        made = cls(check_values(cube, where), response=dataset.own_response)
        models = dataset.models_for(made.name)
        made.take_models(DatasetModels(m for m in models if not isinstance(m, BackgroundIRFModel)))
        return made

    def to_spectrum_dataset(  # type: ignore[override]
        self, name: str | None = None
    ) -> SpectrumDataset:
        """Return the spectrum with the background estimated from the off counts, as if it were known exactly.

        Parameters
        ----------
        name : str, optional
            Name of the new dataset; by default that of this one.
        """
        models = self.models_for(name or self._name)
        return altered_dataset(SpectrumDataset, self, with_known_background, {}, models, name)

    # --- measured and predicted counts ----------------------------------------------------

    @property
    def counts_off(self) -> xr.DataArray:
        """Counts of the off region (energy, lat, lon), lazy."""
        return self.cube["counts_off"]

    @property
    def acceptance(self) -> xr.DataArray:
        """Acceptance of the on region (energy, lat, lon), lazy."""
        return self.cube["acceptance"]

    @property
    def acceptance_off(self) -> xr.DataArray:
        """Acceptance of the off region (energy, lat, lon), lazy."""
        return self.cube["acceptance_off"]

    @property
    def alpha(self) -> xr.DataArray:
        """Ratio of the acceptances (energy, lat, lon), lazy; 0 if one is missing."""
        return self.labelled("alpha", exposure_ratio(lazy(self._cube)))

    @property
    def background(self) -> xr.DataArray:
        """Background in the on region as estimated from the off counts (energy, lat, lon), lazy."""
        return self.labelled("background", off_background(lazy(self._cube)))

    @property
    def excess(self) -> xr.DataArray:
        """Counts above `background` (energy, lat, lon), lazy."""
        counts = lazy(self._cube)["counts"].variable.astype(np.float64)
        return self.labelled("excess", counts - self.background.variable)

    @property
    def excess_variance(self) -> xr.DataArray:
        """Variance of `excess` (energy, lat, lon), estimated from on and off counts, lazy."""
        cube = lazy(self._cube)
        counts = cube["counts"].variable.astype(np.float64)
        variance = counts + exposure_ratio(cube) * off_background(cube)
        return self.labelled("excess_variance", variance)

    def npred(self) -> xr.DataArray:
        """Predicted counts (energy, lat, lon) of the sources and the most likely background, lazy."""
        return self.labelled(
            "npred", self.npred_signal().variable + self.npred_background().variable
        )

    def npred_background(self) -> xr.DataArray:
        """Most likely background (energy, lat, lon), given the predicted counts of the sources, lazy."""

        def likely(signal: Array, *data: Array) -> Array:
            return WStat(*data).background(signal)

        cube = lazy(self._cube)
        data = [cube[key] for key in WStat.reads]
        return self.labelled("npred_background", by_bin(likely, self.npred_signal(), *data))

    def _expected(self) -> xr.DataArray:
        return self.npred_signal()

    def _estimated_background(self) -> xr.DataArray:
        return self.background

    def _counts_summary(
        self, cube: xr.Dataset, background: xr.DataArray | None, mask: Any
    ) -> dict[str, Any]:
        """Return sums within a mask, and their significance (Li & Ma)."""
        assert background is not None
        n_on, n_off, acceptance = (
            float(cube[key].values[mask].sum(dtype=np.float64))
            for key in ("counts", "counts_off", "acceptance")
        )
        expected = float(background.values[mask].sum())
        alpha = expected / n_off if n_off > 0 else math.nan
        statistic = WStat(*(np.array([x]) for x in (n_on, n_off, alpha, 1.0)))
        ts = float(statistic.per_bin(np.zeros(1))[0]) if n_off > 0 else math.nan
        excess = n_on - expected
        return {
            "counts": int(n_on), "excess": excess,
            "sqrt_ts": math.copysign(math.sqrt(ts), excess), "background": expected,
            "counts_off": int(n_off), "acceptance": acceptance,
            "acceptance_off": acceptance / alpha if alpha > 0 else math.nan, "alpha": alpha,
        }  # fmt: skip

    def write(self, filename: str | Path, overwrite: bool = False, format: str = "gadf") -> None:  # noqa: A002
        """Write the dataset, without its models, as files that Gammapy reads.

        Parameters
        ----------
        filename : str or path
            ".fits" or ".fits.gz".
        overwrite : bool
            Whether to replace existing files.
        format : {"gadf", "ogip"}
            One file in Gammapy's map format; or an OGIP spectrum in keV and cm2, with files for background
            ("..._bkg.fits"), effective area ("..._arf.fits") and energy dispersion ("..._rmf.fits") beside it.
            OGIP files do not contain the fit mask.

        Raises
        ------
        InputError
            If the path has another ending, or there is no livetime, which OGIP files require.
        StoreExistsError
            If a file exists and may not be overwritten; then nothing is written.
        StoreError
            If a file cannot be written.
        """
        if format == "gadf":
            super().write(filename, overwrite)
            return
        path = expanded(filename)
        if format != "ogip" or not path.name.lower().endswith(FITS):
            msg = f"dataset {self._name!r}: {path} as {format!r}: expected a FITS file, as 'gadf' or 'ogip'"
            raise InputError(msg)
        cube = opened(self.source, self._name)
        edisp = Observation(cube).edisp_at(None, "icrs", apply=True)
        write_files(ogip_contents(cube, path, edisp), overwrite)

    # --- simulated counts ------------------------------------------------------------------

    def fake(self, seed: int, npred_background: Any = None) -> Self:
        """Replace on and off counts by random ones drawn from the predictions of the models, in place.

        Parameters
        ----------
        seed : int
            Seed of the generator; equal seeds give equal counts.
        npred_background : array of shape (energy,), optional
            Expected background in the on region, by default the current `background`.

        Returns
        -------
        dataset
            This dataset.

        Raises
        ------
        InputError
            If the background has another shape.
        """
        background = (
            self.background.values[:, 0, 0] if npred_background is None else npred_background
        )
        values = np.asarray(background, dtype=np.float64)
        if values.shape != self.counts.shape[:1] or not (values >= 0).all():
            msg = (
                f"dataset {self._name!r}: npred_background has shape {values.shape}, expected "
                f"{self.counts.shape[0]} non-negative numbers"
            )
            raise InputError(msg)
        return self.with_counts(
            with_fake_on_off, {"seed": seed, "npred_background": values.tolist()}
        )

    def to_asimov(self, name: str | None = None) -> Self:
        """Return a dataset whose counts are those predicted by the models, with the same off counts.

        Parameters
        ----------
        name : str, optional
            Name of the new dataset; by default that of this one.
        """
        return self.copy(name).with_counts(with_asimov_on, {})


def with_known_background(cube: xr.Dataset) -> xr.Dataset:
    """Return a cube with the background estimated from the off counts, instead of these.

    Parameters
    ----------
    cube : `xarray.Dataset`
        A cube with off counts and acceptances.
    """
    new = cube.drop_vars(OFF).assign(background=off_background(cube))
    new["background"].attrs = {"unit": ""}
    new.attrs = {key: value for key, value in cube.attrs.items() if key != "stat_type"}
    return new.assign_attrs(kind="SpectrumDataset")


def with_fake_on_off(
    cube: xr.Dataset,
    models: dict[str, Any],
    seed: int,
    npred_background: list[float],
    response: str,
) -> xr.Dataset:
    """Return a cube with on and off counts drawn from the predictions of models and a background.

    Parameters
    ----------
    cube : `xarray.Dataset`
    models : dict
        Plain data of its models.
    seed : int
        Seed of the generator.
    npred_background : list of float
        Expected background counts in the on region per energy.
    response : {"exact", "gammapy"}
        How predicted counts are computed.
    """

    @cache
    def draw() -> tuple[Array, Array]:
        background = np.array(npred_background)[:, None, None]
        alpha = exposure_ratio(cube).values
        off = np.where(alpha > 0, background / np.where(alpha > 0, alpha, 1.0), 0.0)
        random = np.random.default_rng(seed)
        on = random.poisson(np.clip(_signal(cube, models, response), 0.0, None) + background)
        return on.astype(np.float64), random.poisson(off).astype(np.float64)

    return _with(cube, {"counts": lambda: draw()[0], "counts_off": lambda: draw()[1]})


def with_asimov_on(cube: xr.Dataset, models: dict[str, Any], response: str) -> xr.Dataset:
    """Return a cube whose counts are those predicted by models, with the most likely background.

    Parameters
    ----------
    cube : `xarray.Dataset`
    models : dict
        Plain data of its models.
    response : {"exact", "gammapy"}
        How predicted counts are computed.
    """

    @cache
    def compute() -> Array:
        signal = _signal(cube, models, response)
        data = (np.asarray(computed(cube)[key].values) for key in WStat.reads)
        return signal + WStat(*data).background(signal)

    return _with(cube, {"counts": compute})


def _signal(cube: xr.Dataset, models: dict[str, Any], response: str) -> Array:
    name = str(cube.attrs["name"])
    return npred_cube(name, computed(cube), models, background=False, response=response)


def _with(cube: xr.Dataset, made: dict[str, Callable[[], Array]]) -> xr.Dataset:
    """Return a cube with some arrays replaced by ones that are computed when they are used."""
    return cube.assign({key: _later(cube[key].variable, compute) for key, compute in made.items()})


def _later(like: xr.Variable, compute: Callable[[], Array]) -> xr.Variable:
    return lazy_variable(
        tuple(map(str, like.dims)), lambda index: compute()[index], like.shape,
        np.dtype(np.float64), dict(like.attrs),
    )  # fmt: skip


KINDS[SpectrumDatasetOnOff.__name__] = SpectrumDatasetOnOff
