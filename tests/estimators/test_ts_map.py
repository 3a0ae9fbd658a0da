"""Maps of a trial source against Gammapy's, and against flux points at a single position."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

import gmdask as gm
from gmdask.errors import InputError, ModelError, StoreExistsError
from gmdask.events import DatasetsProgress

PKS = SkyCoord("329.71667d", "-30.225556d")
EDGES = [0.5, 2, 20] * u.TeV
WIDTH = "0.4 deg"


def trial(**options):
    spectral = gm.PowerLawSpectralModel(index=2.5, amplitude="1e-12 cm-2 s-1 TeV-1")
    return gm.SkyModel(spectral, options.get("spatial", gm.PointSpatialModel()), name="trial")


def known():
    """A source beside the middle, which is no part of the maps."""
    return gm.SkyModel(
        gm.PowerLawSpectralModel(index=2.7, amplitude="5e-13 cm-2 s-1 TeV-1"),
        gm.PointSpatialModel(lon_0="329.9 deg", lat_0="-30.1 deg", frame="icrs"), name="known",
    )  # fmt: skip


@pytest.fixture(scope="module")
def theirs(shared):
    """Two runs in Gammapy, cut out."""
    from gammapy.datasets import Datasets, MapDataset

    folder = shared / "data" / "pks2155"
    whole = [
        MapDataset.read(folder / f"hess-{n}.fits.gz", name=f"hess-{n}") for n in (47802, 47803)
    ]
    return Datasets([run.cutout(PKS, "0.6 deg", name=f"{run.name}-cut") for run in whole])


@pytest.fixture(scope="module")
def ours(theirs):
    return gm.from_gammapy(theirs)


def compare(maps, expected, keys):
    """Norms to a hundred-thousandth of their error, all else to the rounding of Gammapy's float32 kernels."""
    known = np.isfinite(expected.norm.data)
    np.testing.assert_array_equal(np.isfinite(maps.data["norm"]), known)
    error = expected.norm_err.data[known]
    for key in ("norm", *keys):
        found, theirs = maps.data[key].values[known], getattr(expected, key).data[known]
        close = np.abs(found - theirs) < 1e-4 * error
        assert close[np.isfinite(theirs) & np.isfinite(found)].all(), key
    np.testing.assert_allclose(
        maps.data["ts"].values[known], expected.ts.data[known], rtol=1e-4, atol=1e-3
    )
    for key, rtol in {"norm_err": 2e-4, "npred": 1e-5, "stat": 1e-5, "stat_null": 1e-8}.items():
        np.testing.assert_allclose(
            maps.data[key].values[known], getattr(expected, key).data[known], rtol=rtol
        )


@pytest.mark.parametrize("summed", [True, False])
def test_a_joint_map_has_gammapys_numbers(ours, theirs, summed):
    from gammapy.estimators import TSMapEstimator
    from gammapy.modeling.models import Models

    models = gm.Models([known()])
    theirs.models = Models.from_dict({"components": [models.to_dict()["components"][0]]})
    options = {
        "energy_edges": EDGES,
        "selection_optional": ["errn-errp", "ul"],
        "sum_over_energy_groups": summed,
    }
    kernel = Models.from_dict(gm.Models([trial()]).to_dict())[0]
    expected = TSMapEstimator(kernel, WIDTH, rtol=1e-10, **options).run(theirs)
    maps = gm.TSMapEstimator(trial(), WIDTH, response="gammapy", **options).run(ours, models)
    compare(maps, expected, ("norm_ul",))
    flux = maps.quantity("flux_ul").to_value("cm-2 s-1")
    known_ = np.isfinite(expected.norm_ul.data)
    np.testing.assert_allclose(flux[known_], expected.flux_ul.data[known_], rtol=1e-3)


@pytest.fixture(scope="module")
def runs(shared):
    """Two whole runs, at which a source is seen in both energy bins."""
    datasets = gm.Datasets.read(shared / "data" / "pks2155" / "datasets.yaml")
    datasets = datasets[["hess-47804", "hess-47827"]]
    datasets.set_response("exact")
    return datasets


@pytest.mark.parametrize(
    "spatial", [gm.PointSpatialModel(), gm.GaussianSpatialModel(sigma="0.1 deg")]
)
def test_a_position_has_the_flux_point_of_a_source_there(runs, spatial):
    """With a square as large as the map, all is as for flux points; here between the pixels."""
    place = SkyCoord(329.731, -30.212, unit="deg")
    one = gm.TSMapEstimator(
        trial(spatial=spatial), "6 deg", EDGES, position=place, width=0.01, binsz=0.01, selection_optional="all",
        sum_over_energy_groups=False,
    )  # fmt: skip
    found = one.run(runs).data.squeeze(("lat", "lon"))
    models = gm.Models([trial(spatial=spatial)])
    models[0].spatial_model.lon_0.value, models[0].spatial_model.lat_0.value = (
        place.ra.deg,
        place.dec.deg,
    )
    points = (
        gm.FluxPointsEstimator("trial", EDGES, selection_optional=["errn-errp", "ul"])
        .run(runs, models)
        .data
    )
    assert (
        points["norm"] > 0
    ).all()  # so that none is limited by bins without any other prediction
    for key in ("norm", "norm_err", "norm_errn", "norm_errp", "norm_ul"):
        away = (found[key] - points[key]) / points["norm_err"]
        assert np.abs(away).max() < 2e-3, key
    np.testing.assert_allclose(found["ts"], points["ts"], rtol=2e-3)
    np.testing.assert_allclose(
        found["npred_excess"], points["npred_excess"].sum("dataset"), rtol=1e-3
    )
    np.testing.assert_allclose(found["stat_null"], points["stat_null"], rtol=1e-9)


def test_numbers_do_not_depend_on_the_cluster(survey_store, two_workers):
    datasets = gm.Datasets.read(survey_store)
    told = []
    estimator = gm.TSMapEstimator(
        trial(), WIDTH, width=1.0, binsz=0.1, position=center(datasets), selection_optional="ul"
    )
    here = estimator.run(datasets, on_event=told.append)
    there = estimator.run(gm.Datasets.read(survey_store), client=two_workers)
    for key in here.data.data_vars:
        np.testing.assert_array_equal(here.data[key], there.data[key])
    assert np.isfinite(here.data["norm"]).any()
    assert [e for e in told if isinstance(e, DatasetsProgress) and e.work == "map"][-1].done == 1


def center(datasets):
    lon, lat = gm.estimators.map_geometry.map_grid(datasets, None, None, None, "CAR").center
    return SkyCoord(lon, lat, unit="deg")


@pytest.fixture(scope="module")
def maps(ours):
    return gm.TSMapEstimator(
        trial(), WIDTH, EDGES, selection_optional="ul", response="gammapy"
    ).run(ours)


@pytest.mark.parametrize("sed_type", ["likelihood", "flux"])
def test_files_that_gammapy_reads(maps, tmp_path, sed_type):
    from gammapy.estimators import FluxMaps

    path = tmp_path / "maps.fits.gz"
    maps.write(path, sed_type)
    theirs = FluxMaps.read(path)
    for key in ("flux", "flux_err", "flux_ul", "dnde", "sqrt_ts", "npred_excess"):
        ours = maps.quantity(key)
        np.testing.assert_allclose(
            getattr(theirs, key).quantity.to_value(ours.unit), ours.value, rtol=1e-9
        )
    again = gm.FluxMaps.read(path)
    assert again.reference_model.name == "trial"
    assert again.grid.header["CRVAL1"] == pytest.approx(maps.grid.header["CRVAL1"])
    for key in ("norm", "norm_ul", "ts", "success"):
        np.testing.assert_allclose(again.data[key].values, maps.data[key].values, rtol=1e-12)
    with pytest.raises(StoreExistsError):
        maps.write(path)


def test_files_of_gammapy(shared):
    theirs = gm.FluxMaps.read(shared / "data" / "pks2155" / "tsmap_pks2155.fits.gz")
    assert float(theirs.data["sqrt_ts"].max()) == pytest.approx(12.2386, abs=1e-3)
    with pytest.raises(InputError, match="not a file of flux maps"):
        gm.FluxMaps.read(shared / "data" / "pks2155" / "hess-47802.fits.gz")


def test_looks(maps):
    import matplotlib as mpl

    mpl.use("agg")
    assert "2 energy, 15 × 15 pixels" in repr(maps)
    lon, lat = maps.grid.center
    points = maps.get_flux_points(lon * u.deg, lat * u.deg)
    assert points.data["norm"].dims == ("energy",)
    assert float(points.data["ts"][0]) == float(maps.data["ts"][0, 7, 7])
    with pytest.raises(InputError, match="outside the map"):
        maps.get_flux_points(0 * u.deg, 0 * u.deg)
    ax = maps.plot("flux", energy=1)
    assert ax.get_title() == "trial, 2.33 to 20 TeV"
    with pytest.raises(InputError, match="was not estimated"):
        maps.quantity("norm_errn")


def test_positions_without_counts(ours):
    """Their norm is that at which the first prediction vanishes, and their limit is finite."""
    estimator = gm.TSMapEstimator(
        trial(), "0.05 deg", [5, 20] * u.TeV, selection_optional="ul", response="gammapy"
    )
    data = estimator.run(ours[[0]]).data
    empty = data["counts"].values == 0
    assert empty.any()
    assert (data["norm"].values[empty] < 0).all()
    assert np.isfinite(data["norm_ul"].values[empty]).all()
    assert np.isnan(data["norm_err"].values[empty]).all()
    assert (data["niter"].values[empty] == 0).all()


def test_errors(ours, runs):
    with pytest.raises(InputError, match="expected a positive angle"):
        gm.TSMapEstimator(trial(), -1 * u.deg)
    with pytest.raises(InputError, match="has no position"):
        gm.TSMapEstimator(gm.SkyModel(gm.PowerLawSpectralModel(), name="flat"))
    with pytest.raises(InputError, match="a position and a width"):
        gm.TSMapEstimator(trial(), position=PKS).run(ours)
    with pytest.raises(InputError, match="pixels are not those of the map"):
        gm.TSMapEstimator(
            trial(), WIDTH, position=PKS, width=0.1, binsz=0.03, response="gammapy"
        ).run(ours)
    runs.set_response("exact")
    long = gm.GaussianSpatialModel(sigma="0.1 deg", e=0.5)
    with pytest.raises(InputError, match="is not round"):
        gm.TSMapEstimator(trial(spatial=long), WIDTH, position=PKS, width=0.1).run(runs)
    negative = trial()
    negative.spectral_model.amplitude.value = -1e-12
    with pytest.raises(ModelError, match="negative counts"):
        gm.TSMapEstimator(negative, WIDTH, position=PKS, width=0.1).run(runs)


def test_a_norm_of_the_exposure(ours):
    """The maps are those of datasets whose exposure has been multiplied."""
    modifier = gm.ResponseModifier(name="all")
    modifier.exposure_model.norm.value = 1.25
    changed = []
    for dataset in ours:
        cube = dataset.open().load().copy()
        exposure = cube["exposure"]
        cube["exposure"] = (exposure * 1.25).assign_attrs(exposure.attrs)
        changed.append(gm.MapDataset(cube))
    estimator = gm.TSMapEstimator(trial(), WIDTH, energy_edges=EDGES, response="gammapy")
    maps = estimator.run(ours, gm.Models([known(), modifier]))
    expected = estimator.run(gm.Datasets(changed), gm.Models([known()]))
    for key in ("norm", "ts"):
        np.testing.assert_allclose(maps.data[key], expected.data[key], rtol=1e-4, atol=1e-6)
