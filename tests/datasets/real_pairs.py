"""Real observations twice: as gmdask and as Gammapy read them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import gmdask as gm

KEYS = ("counts", "background", "exposure", "mask_safe", "mask_fit")


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of Gammapy and what it uses."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@lru_cache
def _theirs(folder: Path):
    from gammapy.datasets import Datasets

    with quiet():
        return Datasets.read(folder / "datasets.yaml")


@lru_cache
def _ours(folder: Path) -> gm.Datasets:
    return gm.Datasets.read(folder / "datasets.yaml")


def ours(shared: Path, name: str) -> gm.Datasets:
    """Datasets of one analysis, without models."""
    datasets = _ours(shared / "data" / name)
    datasets.set_models(None)
    return datasets


def theirs(shared: Path, name: str, index: int = 0) -> Any:
    """Copy of one of the same of Gammapy, without models."""
    dataset = _theirs(shared / "data" / name)[index]
    with quiet():
        return dataset.copy(name=dataset.name)


def start_models(shared: Path, name: str) -> tuple[gm.Models, Any]:
    """Models of the analysis, of gmdask and of Gammapy."""
    from gammapy.modeling.models import Models

    path = shared / "data" / name / "models_start.yaml"
    with quiet():
        return gm.Models.read(path), Models.read(path)


def compare_maps(own: gm.MapDataset, other: Any, tolerance: float = 1e-6) -> None:
    """Compare all arrays, to a tolerance of their maximum; masks, axes and pixels."""
    for key in KEYS:
        found, expected = getattr(own, key), getattr(other, key)
        assert (found is None) == (expected is None), key
        if expected is not None:
            _compare(found, expected, tolerance, key)
    for key, attribute in (("psf", "psf_map"), ("edisp", "edisp_map")):
        irf = getattr(other, key)
        assert (getattr(own, key) is None) == (irf is None), key
        if irf is None:
            continue
        _compare(getattr(own, key), getattr(irf, attribute), tolerance, key)
        if irf.exposure_map is not None:
            exposure = own.cube[f"{key}_exposure"]
            _compare(exposure, irf.exposure_map, tolerance, f"{key}_exposure")
    energy = other.counts.geom.axes["energy"]
    np.testing.assert_allclose(own.cube["energy_edges"], energy.edges.value, rtol=1e-12)
    if not other.counts.geom.is_region:
        _compare_pixels(own, other)


def _compare(found: Any, expected: Any, tolerance: float, key: str) -> None:
    from astropy.units import Unit

    values, data = found.values, expected.data.reshape(found.shape)
    if data.dtype == bool:
        np.testing.assert_array_equal(values, data, err_msg=key)
        return
    factor = Unit(found.attrs.get("unit", "")).to(expected.unit)
    scale = np.abs(data).max()
    np.testing.assert_allclose(values * factor, data, rtol=0, atol=tolerance * scale, err_msg=key)


def _compare_pixels(own: gm.MapDataset, other: Any) -> None:
    from gmdask.geometry import WcsGrid

    lon, lat = WcsGrid(own.cube.attrs["wcs"], own.counts.shape[-2:]).pixel_centers
    with quiet():
        sky = other.counts.geom.to_image().get_coord().skycoord.data
    np.testing.assert_allclose(lon, sky.lon.deg, rtol=0, atol=1e-9)
    np.testing.assert_allclose(lat, sky.lat.deg, rtol=0, atol=1e-9)


def compare_stat(
    own: gm.MapDataset,
    other: Any,
    models: gm.Models,
    their_models: Any,
    names: Callable[[str], bool],
) -> None:
    """Compare the statistic of the models with some names, within 0.01, and npred to 1e-6."""
    own = own.copy()
    chosen = [m.copy() for m in models if names(m.name)]
    for model in chosen:
        if not isinstance(model, gm.BackgroundIRFModel):
            model.datasets_names = None
    own.set_models(chosen)
    their_chosen = [m.copy(name=m.name) for m in their_models if names(m.name)]
    with quiet():
        for model in their_chosen:
            if len(model.datasets_names or []) != 1:
                model.datasets_names = None
        other.models = their_chosen
        stat, npred = other.stat_sum(), other.npred().data
    assert abs(own.stat_sum() - stat) < 0.01
    np.testing.assert_allclose(own.npred(), npred, rtol=0, atol=1e-6 * npred.max())
