"""Files of flux points and light curves, to Gammapy and from it."""

from __future__ import annotations

import numpy as np
import pytest

import gmdask as gm
from gmdask.errors import InputError, InputNotFoundError, StoreExistsError
from tests.estimators.pks2155 import SOURCE

pytestmark = pytest.mark.gammapy_response

QUANTITIES = ["", "_err", "_errn", "_errp", "_ul"]


@pytest.mark.parametrize("ending", ["ecsv", "fits"])
@pytest.mark.parametrize("sed_type", ["likelihood", "dnde", "e2dnde", "flux", "eflux"])
def test_flux_points_that_gammapy_reads(points, models, tmp_path, ending, sed_type):
    from gammapy.estimators import FluxPoints
    from gammapy.modeling.models import PowerLawSpectralModel

    path = tmp_path / f"points.{ending}"
    points.write(path, sed_type)
    own = models[SOURCE].spectral_model
    index, amplitude, reference = own.parameters
    theirs = FluxPoints.read(
        path,
        reference_model=PowerLawSpectralModel(
            index=index.value, amplitude=amplitude.quantity, reference=reference.quantity
        ),
    )
    for kind in ("dnde", "e2dnde", "flux", "eflux"):
        for part in QUANTITIES:
            ours = points.quantity(kind + part)
            found = getattr(theirs, kind + part).quantity.squeeze()
            np.testing.assert_allclose(found.to_value(ours.unit), ours.value, rtol=1e-7)
    np.testing.assert_array_equal(theirs.is_ul.data.squeeze(), points.is_ul)
    if sed_type == "likelihood":
        scan = theirs.stat_scan.data.squeeze()
        np.testing.assert_array_equal(scan, points.data["stat_scan"])
    again = gm.FluxPoints.read(path, reference_model=own)
    for name in ("norm", "norm_err", "norm_ul", "ts", "counts", "npred"):
        np.testing.assert_allclose(again.data[name], points.data[name], rtol=1e-12)
    with pytest.raises(StoreExistsError):
        points.write(path)


@pytest.mark.parametrize("ending", ["ecsv", "fits"])
def test_light_curves_that_gammapy_reads(curve, tmp_path, ending):
    from gammapy.estimators import FluxPoints

    path = tmp_path / f"curve.{ending}"
    curve.write(path)
    theirs = FluxPoints.read(path)
    for part in QUANTITIES:
        ours = curve.quantity(f"flux{part}")
        found = getattr(theirs, f"flux{part}").quantity.squeeze()
        np.testing.assert_allclose(found.to_value(ours.unit), ours.value[:, 0], rtol=1e-12)
    axis = theirs.geom.axes["time"]
    np.testing.assert_allclose(axis.time_min.mjd, curve.time_min.mjd, rtol=1e-13)
    again = gm.LightCurve.read(path)
    np.testing.assert_allclose(again.quantity("flux_ul"), curve.quantity("flux_ul"), rtol=1e-12)
    np.testing.assert_allclose(again.time_max.mjd, curve.time_max.mjd, rtol=1e-14)
    np.testing.assert_allclose(again.data["npred"], curve.data["npred"])


def test_those_of_gammapy(folder, points, curve):
    theirs = gm.FluxPoints.read(folder / "flux_points_pks2155.ecsv")
    np.testing.assert_allclose(
        theirs.quantity("e2dnde_ul"), points.quantity("e2dnde_ul"), rtol=1e-4
    )
    assert theirs.n_sigma_ul == 2
    assert theirs.reference_model(1 * theirs.quantity("e_ref").unit) > 0
    theirs = gm.LightCurve.read(folder / "light_curve_pks2155.fits")
    np.testing.assert_allclose(theirs.quantity("flux_ul"), curve.quantity("flux_ul"), rtol=1e-4)


def test_files_that_are_none(tmp_path, points):
    with pytest.raises(InputNotFoundError, match=r"none\.ecsv"):
        gm.FluxPoints.read(tmp_path / "none.ecsv")
    path = tmp_path / "text.ecsv"
    path.write_text("no table\n")
    with pytest.raises(InputError, match=r"text\.ecsv"):
        gm.FluxPoints.read(path)
    points.write(tmp_path / "points.fits")
    with pytest.raises(InputError, match="is not a light curve"):
        gm.LightCurve.read(tmp_path / "points.fits")
    with pytest.raises(InputError, match="sed_type"):
        points.to_table("counts")


@pytest.mark.parametrize("name", ["points.csv", "points.txt", "points", "points.fits.bz2"])
def test_other_endings_are_refused_before_anything_is_written(points, curve, tmp_path, name):
    for fluxes in (points, curve):
        with pytest.raises(InputError, match=r"expected the ending"):
            fluxes.write(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_zipped_file(points, tmp_path):
    points.write(tmp_path / "points.FITS.GZ")
    again = gm.FluxPoints.read(tmp_path / "points.FITS.GZ")
    np.testing.assert_array_equal(again.data["norm"], points.data["norm"])
    assert [path.name for path in tmp_path.iterdir()] == ["points.FITS.GZ"]
