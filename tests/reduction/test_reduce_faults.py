"""Observations that cannot be reduced: each is named with its reason, and stops no other."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.table import Table

import gmdask as gm
from gmdask import reduction
from gmdask.errors import InputError
from gmdask.store import Store
from tests.cli.in_process import run
from tests.reduction.configs import digest_of, read_reduced, small, write
from tests.reduction.dl3 import CRAB_RUNS, PKS_RUNS, write_folder

pytestmark = pytest.mark.slow

GOOD, TRUNCATED, EMPTY, MISSING, NO_PSF, BAD_BYTES = (
    CRAB_RUNS[0],
    *(1_000_000 * k + CRAB_RUNS[0] for k in range(1, 6)),
)
OUTSIDE = PKS_RUNS[0]


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    """Event lists, of which one is as it should be."""
    write_folder(shared, tmp_path / "dl3", [GOOD], times=6)
    data = tmp_path / "dl3/data"

    def content(run: int) -> bytes:
        return (data / f"run-{run}.fits.gz").read_bytes()

    def replace(run: int, new: bytes) -> None:
        (data / f"run-{run}.fits.gz").unlink()
        (data / f"run-{run}.fits.gz").write_bytes(new)

    whole = content(TRUNCATED)
    replace(TRUNCATED, whole[: len(whole) // 2])
    with fits.open(data / f"run-{EMPTY}.fits.gz") as hdus:
        hdus["EVENTS"].data = hdus["EVENTS"].data[:0]
        (data / f"run-{EMPTY}.fits.gz").unlink()
        hdus.writeto(data / f"run-{EMPTY}.fits.gz")
    (data / f"run-{MISSING}.fits.gz").unlink()
    unpacked = bytearray(gzip.decompress(whole))
    with fits.open(data / f"run-{GOOD}.fits.gz") as hdus:
        start = hdus["AEFF"].fileinfo()["hdrLoc"]
    unpacked[start : start + 800] = b"?" * 800
    replace(BAD_BYTES, gzip.compress(bytes(unpacked), 1))

    index = Table.read(tmp_path / "dl3/hdu-index.fits.gz")
    is_psf = [str(kind).strip() == "psf" for kind in index["HDU_TYPE"]]
    kept = [not (psf and run == NO_PSF) for psf, run in zip(is_psf, index["OBS_ID"], strict=True)]
    index[kept].write(tmp_path / "dl3/hdu-index.fits.gz", overwrite=True)
    return tmp_path


REASONS = {
    TRUNCATED: "run-1023523.fits.gz: cannot be read",
    EMPTY: "there are no events",
    MISSING: "run-3023523.fits.gz does not exist",
    NO_PSF: "Required HDUs ['psf'] not found in observation 4023523",
    BAD_BYTES: "run-5023523.fits.gz",
}


def test_each_is_named_and_only_the_mended_one_is_done_again(folder: Path) -> None:
    path = write(folder, small(Path("dl3")))
    done = run("reduce", path, "crab.zarr", cwd=folder)
    assert done.returncode == 0
    assert "1 dataset; 6 observations: 1 reduced, 0 unchanged, 5 failed" in done.stdout
    for obs_id, reason in REASONS.items():
        line = next(x for x in done.stderr.splitlines() if x.startswith(f"observation {obs_id}:"))
        assert reason in line
    assert "Traceback" not in done.stderr
    before = read_reduced(Store.open(folder / "crab.zarr"))

    strict = run("reduce", path, "crab.zarr", "--strict", cwd=folder)
    assert strict.returncode == 1
    assert "0 reduced, 1 unchanged, 5 failed" in strict.stdout

    data = folder / "dl3/data"
    (data / f"run-{MISSING}.fits.gz").symlink_to((data / f"run-{GOOD}.fits.gz").resolve())
    mended = run("reduce", path, "crab.zarr", cwd=folder)
    assert "2 datasets; 6 observations: 1 reduced, 1 unchanged, 4 failed" in mended.stdout
    after = read_reduced(Store.open(folder / "crab.zarr"))
    assert list(after) == ["hess-23523", "hess-3023523"]
    assert after["hess-23523"].identical(before["hess-23523"])
    assert after["hess-3023523"]["counts"].equals(before["hess-23523"]["counts"])
    models = gm.Models.read(folder / "crab-models.yaml")
    assert models.names == ["hess-23523-bkg", "hess-3023523-bkg"]
    assert not (folder / "crab.zarr.parts").exists()
    assert run("verify", "crab.zarr", cwd=folder).returncode == 0


def test_models_that_are_there_stay(shared: Path, tmp_path: Path) -> None:
    content = small(shared / "data/dl3")
    content["observations"]["obs_ids"] = [GOOD]
    path = write(tmp_path, content)
    assert run("reduce", path, "crab.zarr", "--models", "all.yaml", cwd=tmp_path).returncode == 0
    models = gm.Models.read(tmp_path / "all.yaml")
    models["hess-23523-bkg"].spectral_model.norm.value = 1.25
    models.append(gm.SkyModel(gm.PowerLawSpectralModel(), name="crab"))
    models.write(tmp_path / "all.yaml", overwrite=True)
    content["observations"]["obs_ids"] = list(CRAB_RUNS[:2])
    write(tmp_path, content)
    again = run("reduce", path, "crab.zarr", "--models", "all.yaml", cwd=tmp_path)
    assert "1 reduced, 1 unchanged" in again.stdout
    models = gm.Models.read(tmp_path / "all.yaml")
    assert models.names == ["hess-23523-bkg", "crab", "hess-23526-bkg"]
    assert models["hess-23523-bkg"].spectral_model.norm.value == 1.25


def test_outside_of_the_geometry(shared: Path, tmp_path: Path) -> None:
    content = small(shared / "data/dl3")
    content["observations"] = {"datastore": str(shared / "data/dl3"), "obs_ids": [OUTSIDE]}
    for selection in ({}, {"offset_max": "2 deg"}):
        content["datasets"]["geom"]["selection"] = selection
        config = reduction.read_config(write(tmp_path, content))
        done = reduction.reduce(
            reduction.select_observations(config), config, tmp_path / f"{len(selection)}.zarr"
        )
        assert [failure.obs_id for failure in done.failures] == [OUTSIDE]
        assert "outside of the geometry" in done.failures[0].reason
    nothing = run("reduce", "config.yaml", "nothing.zarr", cwd=tmp_path)
    assert nothing.returncode == 1
    assert "none of 1 observation could be reduced" in nothing.stderr


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"target": "Vela"}, "no observation of the 10"),
        ({"target": None, "quality": -1}, "no observation of the 10"),
        ({"obs_ids": [1, 23523]}, "there is no observation 1"),
        ({"obs_time": {"start": "2020-01-01", "stop": "2020-01-02"}}, "no observation of the 10"),
        ({"target": None, "obs_cone": {"lon": "10 deg", "lat": "0 deg", "radius": "1 deg"}}, "no obs"),
        ({"datastore": "/nowhere"}, "/nowhere/hdu-index.fits.gz does not exist"),
        ({"datastore": None}, "expected either datastore or files"),
        ({"obs_cone": {"lon": "10 deg", "lat": "0 deg"}}, "radius is missing"),
        ({"colour": "red"}, "colour"),
    ],
)  # fmt: skip
def test_empty_selections(
    conditions: dict[str, object], message: str, shared: Path, tmp_path: Path
) -> None:
    content = small(shared / "data/dl3")
    content["observations"] |= conditions
    with pytest.raises(InputError, match=message):
        reduction.select_observations(reduction.read_config(write(tmp_path, content)))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (("type",), "1d", "on_region lon is missing"),
        (("stack",), True, "gmdask stack"),
        (("name",), "run", "obs_id"),
        (("background", "method"), "reflected", "expected one of irf, fov_background"),
        (("background", "method"), "guess", "expected one of irf"),
        (("background", "parameters"), {"method": "fit"}, "expected none with method irf"),
        (("geom", "axes", "energy", "min"), "0.5 deg", "not convertible"),
        (("geom", "wcs", "binsize"), "wide", "a number with a unit"),
        (("safe_mask", "parameters"), {"colour": 1}, "colour"),
        (("background", "exclusion"), "nowhere.fits", "nowhere.fits does not exist"),
    ],
)
def test_configurations_that_cannot_be_used(
    key: tuple[str, ...], value: object, message: str, shared: Path, tmp_path: Path
) -> None:
    content = small(shared / "data/dl3")
    place = content["datasets"]
    for name in key[:-1]:
        place = place[name]
    place[key[-1]] = value
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message):
        _reduce(path, tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def _reduce(path: Path, store: Path) -> reduction.Reduction:
    config = reduction.read_config(path)
    return reduction.reduce(reduction.select_observations(config), config, store)


def test_another_configuration_needs_another_store(shared: Path, tmp_path: Path) -> None:
    content = small(shared / "data/dl3")
    content["observations"]["obs_ids"] = [GOOD]
    config = reduction.read_config(write(tmp_path, content))
    observations = reduction.select_observations(config)
    reduction.reduce(observations, config, tmp_path / "a.zarr")
    before = digest_of(Store.open(tmp_path / "a.zarr"))
    content["datasets"]["safe_mask"]["parameters"] = {"offset_max": "2 deg"}
    other = reduction.read_config(write(tmp_path, content))
    with pytest.raises(InputError, match="created with another configuration"):
        reduction.reduce(observations, other, tmp_path / "a.zarr")
    with pytest.raises(InputError, match="given 2 times"):
        reduction.reduce([*observations, *observations], config, tmp_path / "a.zarr")
    assert digest_of(Store.open(tmp_path / "a.zarr")) == before
