"""Write the store of this version of the schemas that must open for ever.

``python -m tests.data.make_store tests/data/store-1.0.zarr``: run once for each version of the
schemas, and kept beside what it wrote; what is there is never written again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import gmdask as gm
from tests.store.store_cubes import make_cube

CIRCLE = "icrs;circle(83.6,22.0,0.25)"


def content(cube: xr.Dataset) -> dict[str, Any]:
    """Return all that a dataset holds, arrays as digests of their bytes."""
    arrays = {
        str(key): [
            list(map(str, array.dims)), str(array.dtype), dict(array.attrs),
            hashlib.sha256(np.ascontiguousarray(array.values).tobytes()).hexdigest(),
        ]
        for key, array in cube.variables.items()
    }  # fmt: skip
    return json.loads(json.dumps({"attrs": dict(cube.attrs), "arrays": arrays}))


def datasets() -> gm.Datasets:
    """Two maps that share a block, one of another shape, with kernels, and a spectrum."""
    one, two = make_cube("one", 0, 2), make_cube("two", 1, 3)
    kernels = make_cube("kernels", 2, 1, lat=6, lon=7).drop_vars(["edisp", "migra", "migra_edges"])
    values = np.random.default_rng(5).random((4, 3, 5, 5)).astype(np.float32)
    dims = ("edisp_energy_true", "energy", "edisp_lat", "edisp_lon")
    kernels["edisp"] = (dims, values, {"unit": ""})
    kernels["mask_fit"] = kernels["mask_safe"] & (kernels["counts"] < 3)
    spectrum = gm.SpectrumDataset.from_arrays(
        "spectrum", region=CIRCLE, energy=[0.5, 2, 20] * u_tev(), energy_true=[0.3, 1, 5, 30] * u_tev(),
        counts=np.array([5, 2]), exposure=np.array([1e10, 3e10, 4e10]), background=np.array([1.5, 0.25]),
        edisp=np.full((3, 2), 0.5),
    )  # fmt: skip
    return gm.Datasets([gm.MapDataset(cube) for cube in (one, two, kernels)] + [spectrum])


def u_tev() -> Any:
    """Return the unit TeV."""
    from astropy import units

    return units.TeV


def main(url: str) -> None:
    """Write the store, and what is in it beside it."""
    own = datasets()
    own[:2].write(url)
    own[2:].write(url, append=True)
    expected = {dataset.name: content(dataset.cube) for dataset in own}
    text = json.dumps(expected, indent=1, sort_keys=True) + "\n"
    Path(url).with_suffix(".json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
