from __future__ import annotations

import gzip
import json
import logging
import threading

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from gmdask.errors import InputError, InputNotFoundError
from gmdask.store.formats import read_map_dataset
from tests.store import gadf_file
from tests.store.gadf_file import ENERGY, ENERGY_TRUE, IRF, SKY, hdus, image, write


@pytest.fixture
def parts():
    return hdus()


def read(tmp_path, parts, name=None):
    return read_map_dataset(write(tmp_path / "file.fits", parts), name)


def test_small_file(tmp_path, parts):
    cube = read(tmp_path, parts)
    assert cube.attrs["name"] == "small"
    assert cube.attrs["kind"] == "MapDataset"
    assert cube.attrs["primary"] == {"CREATOR": "tests"}
    assert cube.attrs["gti"] == {"mjdrefi": 51910, "mjdreff": 0.00074287037, "timesys": "tt"}
    table = cube.attrs["meta_table"]["columns"]
    assert table == {
        "TELESCOP": {"unit": "", "values": ["HESS"]},
        "RA_PNT": {"unit": "deg", "values": [83.6]},
    }
    json.dumps(cube.attrs)
    dims = {key: cube[key].dims for key in cube.data_vars}
    assert dims == {
        "counts": ("energy", "lat", "lon"),
        "background": ("energy", "lat", "lon"),
        "mask_safe": ("energy", "lat", "lon"),
        "exposure": ("energy_true", "lat", "lon"),
        "psf": ("psf_energy_true", "rad", "psf_lat", "psf_lon"),
        "psf_exposure": ("psf_energy_true", "psf_lat", "psf_lon"),
        "edisp": ("edisp_energy_true", "migra", "edisp_lat", "edisp_lon"),
        "edisp_exposure": ("edisp_energy_true", "edisp_lat", "edisp_lon"),
        "gti_start": ("gti",),
        "gti_stop": ("gti",),
    }
    assert cube["counts"].dtype == np.float32
    assert cube["mask_safe"].dtype == bool
    assert cube["psf"].attrs == {"unit": "sr**-1"}
    assert cube["exposure"].attrs == {"unit": "m**2.s", "meta": {"livetime": "1500.0 s"}}
    for key in ("counts", "psf", "exposure"):
        np.testing.assert_array_equal(cube[key].values, parts[key][0].data)
        assert cube[key].dtype.isnative
    np.testing.assert_array_equal(cube["psf_exposure"], parts["psf_exposure"][0].data[:, 0])
    energy = cube["energy"]
    assert energy.attrs == {"unit": "TeV", "interp": "log", "node_type": "edges"}
    np.testing.assert_array_equal(cube["energy_edges"], ENERGY[1])
    np.testing.assert_allclose(energy, np.sqrt(ENERGY[1][1:] * ENERGY[1][:-1]), rtol=1e-15)
    np.testing.assert_allclose(cube["rad"], np.linspace(0.05, 0.55, 6), rtol=1e-15)
    wcs = WCS(fits.Header(list(cube.attrs["wcs"].items())))
    direct = WCS(parts["counts"][0].header, naxis=2)
    np.testing.assert_array_equal(wcs.wcs_pix2world(3, 4, 0), direct.wcs_pix2world(3, 4, 0))


def test_name(tmp_path, parts):
    assert read_map_dataset(write(tmp_path / "a.fits", parts), "other").attrs["name"] == "other"
    del parts["primary"][0].header["NAME"]
    path = write(tmp_path / "stem.fits", parts)
    assert read_map_dataset(path).attrs["name"] == "stem"
    packed = tmp_path / "packed.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_map_dataset(packed).attrs["name"] == "packed"


def test_only_what_is_needed(tmp_path, parts):
    cube = read(tmp_path, {key: parts[key] for key in ("primary", "counts", "exposure")})
    assert set(cube.data_vars) == {"counts", "exposure"}
    assert set(cube.attrs) == {"name", "kind", "wcs", "primary"}


def test_axis_of_nodes(tmp_path, parts):
    nodes = ("ENERGY_TRUE", np.geomspace(1, 20, 4), "GeV", "log")
    rad = ("RAD", np.linspace(0, 0.1, 6), "rad", "lin")
    parts["psf"] = image("PSF", np.ones((4, 6, *IRF)), [rad, nodes], "sr-1")
    del parts["psf_exposure"]
    cube = read(tmp_path, parts)
    np.testing.assert_array_equal(cube["psf_energy_true"], nodes[1])
    assert cube["psf_energy_true"].attrs == {"unit": "GeV", "interp": "log", "node_type": "center"}
    assert "psf_energy_true_edges" not in cube.coords
    np.testing.assert_array_equal(cube["rad"], rad[1])


def test_kernel_map_and_psf_in_reconstructed_energy(tmp_path, parts):
    in_gev = (ENERGY[0], ENERGY[1] * 1000, "GeV", "log")
    parts["edisp"] = image("EDISP", np.ones((4, 3, *IRF)), [in_gev, ENERGY_TRUE])
    parts["psf"] = image("PSF", np.ones((3, 6, *IRF)), [gadf_file.RAD, ENERGY], "deg-2")
    del parts["edisp_exposure"], parts["psf_exposure"]
    cube = read(tmp_path, parts)
    assert cube["edisp"].dims == ("edisp_energy_true", "energy", "edisp_lat", "edisp_lon")
    assert cube["psf"].dims == ("psf_energy", "rad", "psf_lat", "psf_lon")
    assert cube["energy"].attrs["unit"] == "TeV"


def test_empty_gti(tmp_path, parts):
    parts["gti"][0].data = parts["gti"][0].data[:0]
    cube = read(tmp_path, parts)
    assert cube.sizes["gti"] == 0
    assert cube["gti_start"].dtype == np.float64


def test_unknown_hdu_is_reported(tmp_path, parts, caplog):
    parts["other"] = image("EXCESS", np.ones((3, *SKY)), [ENERGY])
    with caplog.at_level(logging.WARNING):
        read(tmp_path, parts)
    assert "unknown HDU EXCESS is ignored" in caplog.text


def test_hdu_without_data_is_skipped(tmp_path, parts):
    parts["background"][0].data = None
    assert "background" not in read(tmp_path, parts)


def test_many_threads(tmp_path, parts):
    """Astropy's warnings are process-wide; reading in threads leaves no filter behind."""
    import warnings

    path = write(tmp_path / "file.fits", parts)
    before = list(warnings.filters)
    cubes = []
    threads = [
        threading.Thread(target=lambda: cubes.append(read_map_dataset(path))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cubes) == 8
    assert warnings.filters == before


# --- what must be refused ------------------------------------------------------


def no_counts(parts):
    del parts["counts"]


def no_exposure(parts):
    parts["exposure"][0].data = None


def on_off(parts):
    parts["off"] = image("COUNTS_OFF", np.ones((3, *SKY)), [ENERGY])


def healpix_image(parts):
    parts["counts"][0].header["PIXTYPE"] = "HEALPIX"


def healpix_table(parts):
    table = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])], name="EXPOSURE")
    table.header["PIXTYPE"] = "HEALPIX"
    parts["exposure"] = [table]


def region(parts):
    column = fits.Column("DATA", "D", array=[1.0])
    parts["counts"] = [
        fits.BinTableHDU.from_columns([column], name="COUNTS"),
        fits.BinTableHDU.from_columns([column], name="COUNTS_REGION"),
    ]


def table(parts):
    column = fits.Column("VALUE", "D", array=[1.0])
    parts["counts"] = [fits.BinTableHDU.from_columns([column], name="COUNTS")]


def other_shape(parts):
    parts["background"] = image("BACKGROUND", np.ones((3, 8, 9)), [ENERGY])


def other_wcs(parts):
    parts["exposure"][0].header["CRVAL1"] = 84.0


def other_projection(parts):
    parts["mask_safe"][0].header.update(CTYPE1="RA---SIN", CTYPE2="DEC--SIN")


def other_psf_grid(parts):
    parts["psf_exposure"][0].header["CDELT1"] = -0.3


def other_axis(parts):
    axis = (ENERGY[0], ENERGY[1] * 1.1, *ENERGY[2:])
    parts["mask_safe"] = image("MASK_SAFE", np.ones((3, *SKY), int), [axis])


def kernel_axis(parts):
    axis = (ENERGY[0], ENERGY[1] * 1.1, *ENERGY[2:])
    parts["edisp"] = image("EDISP", np.ones((4, 3, *IRF)), [axis, ENERGY_TRUE])


def wrong_axes(parts):
    parts["psf"] = image("PSF", np.ones((5, 4, *IRF)), [ENERGY_TRUE, gadf_file.MIGRA])


def image_does_not_fit_axes(parts):
    parts["counts"][0].data = np.ones((2, *SKY), np.float32)


def no_bands(parts):
    parts["counts"].pop()


def gap_between_bins(parts):
    parts["counts"][1].data["E_MIN"][1] *= 1.2


def bad_unit(parts):
    parts["exposure"][0].header["BUNIT"] = "bananas"


def bad_meta(parts):
    parts["exposure"][0].header["META"] = "{no json"


def bad_wcs(parts):
    for key in ("counts", "background", "exposure", "mask_safe"):
        parts[key][0].header["CTYPE1"] = "RA---XYZ"


def no_wcs(parts):
    del parts["counts"][0].header["CTYPE1"]


def bad_interp(parts):
    parts["counts"][1].header["INTERP1"] = "cubic"


def gti_without_reference(parts):
    del parts["gti"][0].header["MJDREFI"]


def gti_unit(parts):
    parts["gti"][0].columns["START"].unit = "m"


def nan_exposure(parts):
    parts["exposure"][0].data[:, 3, 4] = np.nan
    parts["exposure"][0].data[0, 3, 5] = np.inf


def negative_counts(parts):
    parts["counts"][0].data[1, 3, 4] = -1


def nan_counts(parts):
    parts["counts"][0].data[1, 3, 4] = np.nan


def nan_background(parts):
    parts["background"][0].data[1, 3, 4] = np.nan


REFUSED = {
    no_counts: "HDU COUNTS is missing",
    no_exposure: "HDU EXPOSURE is missing or has no data",
    on_off: "HDU COUNTS_OFF found",
    healpix_image: "HDU COUNTS: HEALPix maps are not supported yet",
    healpix_table: "HDU EXPOSURE: HEALPix maps are not supported yet",
    region: "HDU COUNTS: maps as tables are not supported yet",
    table: "HDU COUNTS: maps as tables are not supported yet",
    other_shape: r"HDU BACKGROUND has \(8, 9\) pixels \(lat, lon\), but HDU COUNTS has \(8, 10\)",
    other_wcs: "the WCS of HDU EXPOSURE differs from that of HDU COUNTS",
    other_projection: "the WCS of HDU MASK_SAFE differs from that of HDU COUNTS",
    other_psf_grid: "the WCS of HDU PSF_EXPOSURE differs from that of HDU PSF",
    other_axis: "HDU MASK_SAFE: axis energy .* differs from that of HDU COUNTS",
    kernel_axis: "HDU EDISP: axis energy .* differs from that of HDU COUNTS",
    wrong_axes: r"HDU PSF has axes \(energy_true, migra\), expected \(rad, energy_true or",
    image_does_not_fit_axes: r"HDU COUNTS: image of shape \(2, 8, 10\)",
    no_bands: "HDU COUNTS_BANDS, is missing",
    gap_between_bins: "HDU COUNTS_BANDS: axis energy: its bins are not consecutive",
    bad_unit: "HDU EXPOSURE: 'bananas' is not a unit",
    bad_meta: "HDU EXPOSURE: keyword META: is not JSON",
    bad_wcs: "HDU COUNTS: its WCS keywords are not valid",
    no_wcs: "HDU COUNTS: WCS keywords CTYPE1 are missing",
    bad_interp: "interpolation 'cubic'",
    gti_without_reference: "HDU GTI: expected the keywords MJDREFI, MJDREFF, TIMESYS",
    gti_unit: "HDU GTI: column START does not have a unit of time",
    nan_exposure: "exposure is NaN or infinite at pixels of the mask: 5 bins at 2 pixels",
    negative_counts: "counts is negative inside the mask: 1 bins at 1 pixels",
    nan_counts: "counts is not finite inside the mask: 1 bins",
    nan_background: "background is not finite inside the mask: 1 bins",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_refused(tmp_path, parts, change):
    change(parts)
    with pytest.raises(InputError, match=REFUSED[change]) as info:
        read(tmp_path, parts)
    assert "file.fits: dataset 'small'" in str(info.value)


def test_outside_the_mask_all_is_allowed(tmp_path, parts):
    parts["counts"][0].data[:, 0, 0] = -1
    parts["background"][0].data[:, 0, 1] = np.nan
    parts["exposure"][0].data[:, 0, 2] = np.nan
    cube = read(tmp_path, parts)
    assert np.isnan(cube["exposure"].values[:, 0, 2]).all()


def test_mask_fit_counts_too(tmp_path, parts):
    mask = np.ones((3, *SKY), dtype=np.int64)
    mask[:, 3, 4] = 0
    parts["mask_fit"] = image("MASK_FIT", mask, [ENERGY])
    nan_exposure(parts)
    with pytest.raises(InputError, match="1 bins at 1 pixels"):
        read(tmp_path, parts)


def test_damaged_files(tmp_path, parts):
    good = write(tmp_path / "good.fits", parts).read_bytes()
    packed = gzip.compress(good)
    path = tmp_path / "bad.fits"
    pieces = [good[:n] for n in (0, 100, 2880, len(good) // 2, len(good) - 2880, len(good) - 1)]
    pieces += [packed[:n] for n in (1, 10, len(packed) // 2, len(packed) - 1)]
    pieces += [b"not a FITS file", good + b"x" * 2880, packed[:-8] + b"\0" * 8]
    middle = bytearray(packed)
    middle[len(middle) // 2] ^= 1
    pieces.append(bytes(middle))
    for content in pieces:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.fits"):
            read_map_dataset(path)


def test_no_file(tmp_path):
    with pytest.raises(InputNotFoundError, match=r"none\.fits does not exist"):
        read_map_dataset(tmp_path / "none.fits")
    with pytest.raises(InputError, match="cannot be read"):
        read_map_dataset(tmp_path)
