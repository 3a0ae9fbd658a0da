"""A small MapDataset in FITS, written by hand so that it can be wrong on purpose."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from tests.store.store_cubes import wcs_cards

ENERGY = ("E_MIN,E_MAX", np.geomspace(1, 10, 4), "TeV", "log")
ENERGY_TRUE = ("ENERGY_TRUE_MIN,ENERGY_TRUE_MAX", np.geomspace(0.5, 20, 5), "TeV", "log")
RAD = ("RAD_MIN,RAD_MAX", np.linspace(0, 0.6, 7), "deg", "lin")
RAD_ONE = ("RAD_MIN,RAD_MAX", np.array([0, 0.6]), "deg", "lin")
MIGRA = ("MIGRA_MIN,MIGRA_MAX", np.linspace(0.2, 5, 6), "", "lin")
MIGRA_ONE = ("MIGRA_MIN,MIGRA_MAX", np.array([0.2, 5]), "", "lin")
SKY = (8, 10)
IRF = (3, 3)


def size(axis: tuple) -> int:
    return len(axis[1]) - ("," in axis[0])


def image(name: str, data: Any, axes: list[tuple], unit: str = "", **cards: Any) -> list:
    """Return the image and the table of axes of one map."""
    hdu = fits.ImageHDU(data, name=name)
    hdu.header.update(wcs_cards(n=data.shape[:-3:-1]))
    bands = fits.BinTableHDU.from_columns(_columns(axes), name=f"{name}_BANDS")
    for number, (columns, _, _, interp) in enumerate(axes, start=1):
        for header in (hdu.header, bands.header):
            header[f"AXCOLS{number}"] = columns
            header[f"INTERP{number}"] = interp
    hdu.header["BANDSHDU"] = bands.name
    hdu.header["BUNIT"] = unit
    hdu.header["META"] = "{}"
    hdu.header.update(cards)
    return [hdu, bands]


def _columns(axes: list[tuple]) -> list[fits.Column]:
    index = list(itertools.product(*(range(size(axis)) for axis in reversed(axes))))
    columns = [fits.Column("CHANNEL", "K", array=np.arange(len(index)))]
    for axis, numbers in zip(reversed(axes), np.array(index).T, strict=True):
        for shift, column in enumerate(axis[0].split(",")):
            columns.append(fits.Column(column, "D", unit=axis[2], array=axis[1][numbers + shift]))
    return columns


def hdus() -> dict[str, list]:
    """Return the parts of a sound file; change them before `write`."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(1, (3, *SKY)).astype(np.float32)
    mask = np.ones((3, *SKY), dtype=np.int64)
    mask[:, 0] = 0
    gti = fits.BinTableHDU.from_columns(
        [
            fits.Column("START", "D", unit="s", array=[0.0, 200.0]),
            fits.Column("STOP", "D", unit="s", array=[100.0, 300.0]),
        ],
        name="GTI",
    )
    gti.header.update({"MJDREFI": 51910, "MJDREFF": 0.00074287037, "TIMESYS": "tt"})
    meta = fits.BinTableHDU.from_columns(
        [
            fits.Column("TELESCOP", "4A", array=["HESS"]),
            fits.Column("RA_PNT", "D", unit="deg", array=[83.6]),
        ],
        name="META_TABLE",
    )
    primary = fits.PrimaryHDU()
    primary.header["NAME"] = "small"
    primary.header["CREATOR"] = "tests"
    livetime = '{"livetime": "1500.0 s"}'
    return {
        "primary": [primary],
        "counts": image("COUNTS", counts, [ENERGY]),
        "background": image("BACKGROUND", rng.random((3, *SKY)), [ENERGY]),
        "exposure": image("EXPOSURE", rng.random((4, *SKY)), [ENERGY_TRUE], "m2 s", META=livetime),
        "mask_safe": image("MASK_SAFE", mask, [ENERGY]),
        "psf": image("PSF", rng.random((4, 6, *IRF)), [RAD, ENERGY_TRUE], "sr-1"),
        "psf_exposure": image(
            "PSF_EXPOSURE", rng.random((4, 1, *IRF)), [RAD_ONE, ENERGY_TRUE], "m2 s"
        ),
        "edisp": image("EDISP", rng.random((4, 5, *IRF)), [MIGRA, ENERGY_TRUE]),
        "edisp_exposure": image(
            "EDISP_EXPOSURE", rng.random((4, 1, *IRF)), [MIGRA_ONE, ENERGY_TRUE], "m2 s"
        ),
        "gti": [gti],
        "meta_table": [meta],
    }


def write(path: Path, parts: dict[str, list]) -> Path:
    fits.HDUList([hdu for part in parts.values() for hdu in part]).writeto(path)
    return path
