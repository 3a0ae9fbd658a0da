"""What is known from Gammapy's Models, Parameters and positions: same names, same results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gammapy.modeling.models as theirs
import numpy as np
import pytest
import regions
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from gammapy.maps import RegionGeom

import gmdask as gm
from gmdask import models as ours
from gmdask.errors import InputError, InputNotFoundError, ModelError, UnknownNameError
from gmdask.models import (
    Covariance,
    DiskSpatialModel,
    EBLAbsorptionNormSpectralModel,
    EnergyGrid,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    Model,
    Models,
    PointSpatialModel,
    PowerLawSpectralModel,
    Shell2SpatialModel,
    ShellSpatialModel,
    SkyGrid,
    SkyModel,
)

KINDS = (ours, theirs)


def _pair() -> list[Any]:
    """The same models, ours and Gammapy's."""
    made = []
    for kind in KINDS:
        one = kind.SkyModel(
            spectral_model=kind.PowerLawSpectralModel(),
            spatial_model=kind.PointSpatialModel(lon_0="83 deg", lat_0="22 deg"),
            name="crab-1",
        )
        two = kind.SkyModel(
            spectral_model=kind.LogParabolaSpectralModel(),
            spatial_model=kind.GaussianSpatialModel(
                lon_0="184 deg", lat_0="-5 deg", sigma="0.3 deg", frame="galactic"
            ),
            name="crab-2",
            datasets_names=["a"],
        )
        three = kind.SkyModel(spectral_model=kind.PowerLawSpectralModel(), name="alone")
        background = kind.FoVBackgroundModel(dataset_name="b")
        three.freeze()
        made.append(kind.Models([one, two, three, background]))
    return made


CONDITIONS: list[dict[str, Any]] = [
    {"name_substring": "crab"},
    {"datasets_names": "a"},
    {"datasets_names": ["b"]},
    {"tag": "sky-model"},
    {"tag": ["pl", "gauss"], "model_type": "spectral"},
    {"tag": "gauss", "model_type": "spatial"},
    {"frozen": True},
    {"frozen": False},
    {"name_substring": "-", "tag": "pl", "model_type": "spectral", "frozen": False},
]


@pytest.mark.parametrize("conditions", CONDITIONS)
def test_select_as_in_gammapy(conditions: dict[str, Any]) -> None:
    mine, other = _pair()
    expected = [bool(x) for x in other.selection_mask(**conditions)]
    if conditions == {"frozen": False}:  # where Gammapy takes ~True for true
        expected = [not model.frozen for model in other]
    assert mine.selection_mask(**conditions).tolist() == expected
    names = [name for name, chosen in zip(mine.names, expected, strict=True) if chosen]
    assert mine.select(**conditions).names == names
    assert mine[mine.selection_mask(**conditions)].names == names


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="for 4 models"):
        _pair()[0][np.array([True])]


def test_positions_are_those_of_gammapy() -> None:
    mine, other = _pair()
    np.testing.assert_allclose(mine.positions.ra.deg, other.positions.ra.deg, rtol=1e-12)
    np.testing.assert_allclose(mine.positions.dec.deg, other.positions.dec.deg, rtol=1e-12)
    assert len(Models().positions) == 0


@pytest.mark.parametrize("frame", ["icrs", "galactic"])
def test_a_position_is_set_in_the_frame_of_the_model(frame: str) -> None:
    place = SkyCoord(10, 20, unit="deg", frame="galactic" if frame == "icrs" else "icrs")
    for shape in (
        GaussianSpatialModel.from_position(place),
        GaussianSpatialModel(frame=frame),
        GaussianSpatialModel(lon_0="0.1 rad", frame=frame),
    ):
        source = SkyModel(PowerLawSpectralModel(), shape)
        unit = shape.lon_0.unit
        source.position = place
        assert source.position.separation(place).deg < 1e-12
        assert shape.lon_0.unit == unit
    assert GaussianSpatialModel.from_position(place).frame == place.frame.name
    other = theirs.GaussianSpatialModel(frame=frame)
    other.position = place
    assert source.position.separation(other.position).deg < 1e-12


def test_a_position_of_what_has_none_is_refused() -> None:
    place = SkyCoord(10, 20, unit="deg")
    with pytest.raises(ModelError, match="a has no spatial model"):
        SkyModel(PowerLawSpectralModel(), name="a").position = place
    with pytest.raises(ModelError, match="ConstantSpatialModel has no position"):
        ours.ConstantSpatialModel().position = place


CENTER: dict[str, Any] = {"lon_0": "10 deg", "lat_0": "-20 deg", "frame": "galactic"}
SHAPES: list[tuple[type, dict[str, Any]]] = [
    (PointSpatialModel, CENTER),
    (GaussianSpatialModel, {**CENTER, "sigma": "0.5 deg", "e": 0.6, "phi": "30 deg"}),
    (GeneralizedGaussianSpatialModel, {**CENTER, "r_0": "0.5 deg", "e": 0.6, "phi": "30 deg"}),
    (DiskSpatialModel, {**CENTER, "r_0": "0.5 deg", "e": 0.6, "phi": "30 deg"}),
    (ShellSpatialModel, {**CENTER, "radius": "0.5 deg", "width": "0.1 deg"}),
    (Shell2SpatialModel, {**CENTER, "r_0": "0.5 deg", "eta": 0.3}),
    (ours.ConstantSpatialModel, {}),
]


@pytest.mark.parametrize(("cls", "values"), SHAPES)
@pytest.mark.parametrize("size_factor", [1.0, 2.5])
def test_outlines_are_those_of_gammapy(
    cls: type, values: dict[str, Any], size_factor: float
) -> None:
    found = cls(**values).to_region(size_factor)
    options = {"size_factor": size_factor}
    expected = getattr(theirs, cls.__name__)(**values).to_region(**options)
    assert type(found) is type(expected)
    assert found.center.separation(expected.center).deg < 1e-12
    for key in ("width", "height", "angle", "inner_radius", "outer_radius"):
        if hasattr(expected, key):
            given = getattr(found, key).to_value("deg")
            assert given == pytest.approx(getattr(expected, key).to_value("deg"), rel=1e-12)


def test_outlines_of_models_are_those_of_gammapy() -> None:
    mine, other = _pair()
    found, expected = mine.to_regions(2), other.to_regions(2)
    assert [type(one) for one in found] == [type(one) for one in expected]
    assert found[1].height.to_value("deg") == pytest.approx(1.2)


def test_select_region_is_that_of_gammapy() -> None:
    mine, _ = _pair()
    center = SkyCoord(83.2, 22.1, unit="deg")
    circle = regions.CircleSkyRegion(center, 0.5 * u.deg)
    assert mine.select_region(circle).names == ["crab-1"]
    everything = regions.CircleSkyRegion(center, 5 * u.deg)
    assert mine.select_region([circle, everything]).names == ["crab-1", "crab-2"]
    assert mine.select_region("icrs;circle(83.2, 22.1, 0.5)").names == ["crab-1"]
    wcs = RegionGeom.from_regions(circle).wcs
    assert mine.select_region(circle.to_pixel(wcs), wcs=wcs).names == ["crab-1"]
    far = regions.CircleSkyRegion(SkyCoord(0, 0, unit="deg"), 0.5 * u.deg)
    assert mine.select_region(far).names == []


# --- items and copies ---------------------------------------------------------------------


def test_items_are_replaced_and_deleted() -> None:
    models, _ = _pair()
    new = SkyModel(PowerLawSpectralModel(), name="new")
    models[1] = new
    assert models.names == ["crab-1", "new", "alone", "b-bkg"]
    models["alone"] = SkyModel(PowerLawSpectralModel(), name="other")
    assert models[2].name == "other"
    del models["new"], models[0]
    assert models.names == ["other", "b-bkg"]
    assert "new" not in models
    with pytest.raises(InputError, match="a model named 'other' already exists"):
        models[1] = models[0].copy()
    with pytest.raises(ModelError, match="not a model component"):
        models[0] = PowerLawSpectralModel()  # type: ignore[assignment]
    assert models.names == ["other", "b-bkg"]


def test_index_by_name_and_component() -> None:
    models, _ = _pair()
    assert [models.index("alone"), models.index(models[1]), models.index(-1)] == [2, 1, 3]
    with pytest.raises(UnknownNameError, match="is not in this sequence"):
        models.index(models[1].copy())


def test_models_are_added_as_in_gammapy() -> None:
    one, two, *_ = _pair()[0]
    several = [two]
    for added in (one + two, one + several, one + Models(two), Models(one) + two):
        assert isinstance(added, Models)
        assert added.names == ["crab-1", "crab-2"]


def test_one_component_is_reassigned() -> None:
    source, other = (pair[1] for pair in _pair())
    moved = source.reassign("a", "c")
    assert moved.datasets_names == other.reassign("a", "c").datasets_names == ["c"]
    assert source.datasets_names == ["a"]
    assert _pair()[0][3].reassign("b", "c").name == "c-bkg"


def test_frozen_of_all_and_of_a_type() -> None:
    models, _ = _pair()
    models.freeze(model_type="spatial")
    assert models[0].spatial_model.frozen
    assert not models.frozen
    models.freeze()
    assert models.frozen
    models.unfreeze("spectral")
    assert models[0].parameters.frozen.tolist() == [False, False, True, True, True]
    with pytest.raises(ModelError, match="model_type is 'spectra', expected one of"):
        models.freeze("spectra")


# --- parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "conditions",
    [
        {"name": "index"},
        {"name": ["lon_0", "sigma"]},
        {"type": "spatial"},
        {"frozen": True, "type": "spectral"},
        {"name": "reference", "frozen": False},
    ],
)
def test_parameters_are_selected_as_in_gammapy(conditions: dict[str, Any]) -> None:
    mine, other = _pair()
    expected = other.parameters.select(**conditions)
    found = mine.parameters.select(**conditions)
    assert [par.name for par in found] == [par.name for par in expected]


@pytest.mark.parametrize("restore_values", [True, False])
def test_status_is_restored_even_after_an_error(restore_values: bool) -> None:
    models, _ = _pair()
    matrix = np.diag(np.arange(len(models.parameters)) + 1.0)
    models.covariance = matrix
    index = models[0].spectral_model.index

    def change(holder: Any) -> None:
        with holder.restore_status(restore_values):
            index.value, index.error, index.frozen = 3, 9, True
            models.covariance = 2 * matrix
            raise RuntimeError

    for holder in (models, models.parameters):
        with pytest.raises(RuntimeError):
            change(holder)
        assert (index.value, index.error, index.frozen) == (2 if restore_values else 3, 1, False)
        models.covariance = matrix
        index.value = 2
    with pytest.raises(RuntimeError):
        change(models)
    np.testing.assert_array_equal(models.covariance.data, matrix)
    np.testing.assert_array_equal(models[0].covariance.data, matrix[:5, :5])


# --- made by name -------------------------------------------------------------------------


def test_models_are_made_by_name() -> None:
    source = SkyModel.create("pl", "gauss", name="a")
    assert isinstance(source.spatial_model, GaussianSpatialModel)
    assert SkyModel.create("lp", temporal_model="const").temporal_model is not None
    values = {"amplitude": "1e-10 cm-2 s-1", "index": 3}
    made = Model.create("pl-2", "spectral", **values)
    other = theirs.Model.create("pl-2", "spectral", **values)
    assert [par.value for par in other.parameters] == made.parameters.value.tolist()
    assert isinstance(Model.create("sky-model", spectral_model=made), SkyModel)
    assert repr(Model.from_dict({"spectral": {"type": "pl"}})) == repr(PowerLawSpectralModel())
    twin = Model.from_dict(source.to_dict())
    assert twin.to_dict() == source.to_dict()
    with pytest.raises(ModelError, match="unknown spectral model type 'plx'"):
        SkyModel.create("plx")
    with pytest.raises(ModelError, match="expected type or one of spectral"):
        Model.from_dict({"name": "a"})


@pytest.mark.parametrize(
    "reference", ["meyer", "hegra", "hess_pl", "hess_ecpl", "magic_lp", "magic_ecpl"]
)
def test_crab_spectra_are_those_of_gammapy(reference: str) -> None:
    energy = u.Quantity([0.1, 1, 20], "TeV")
    expected = theirs.create_crab_spectral_model(reference)(energy)
    found = ours.create_crab_spectral_model(reference)(energy)
    np.testing.assert_allclose(found.to_value(expected.unit), expected.value, rtol=1e-12)


@pytest.mark.parametrize("particle", ["proton", "electron", "N", "Si", "Fe"])
def test_cosmic_rays_are_those_of_gammapy(particle: str) -> None:
    energy = u.Quantity([0.1, 1, 20], "TeV")
    expected = theirs.create_cosmic_ray_spectral_model(particle)(energy)
    found = ours.create_cosmic_ray_spectral_model(particle)(energy)
    np.testing.assert_allclose(found.value, expected.to_value("cm-2 s-1 TeV-1"), rtol=1e-12)


def test_the_shoulder_of_cosmic_electrons() -> None:
    """It goes through a file, and its derivatives are those of differences."""
    spectrum = ours.create_cosmic_ray_spectral_model("electron")
    again = ours.Models.from_dict(ours.Models([ours.SkyModel(spectrum, name="e")]).to_dict())
    energy = u.Quantity([0.05, 0.09, 1, 20], "TeV")
    assert (again["e"].spectral_model(energy) == spectrum(energy)).all()
    shoulder = spectrum.model2
    values = np.array([shoulder.L.value, shoulder.Ep.value, shoulder.w.value])
    _, found = shoulder.gradient(energy.value, *values)
    for k, value in enumerate(values):
        step = 1e-5 * value * np.eye(3)[k]
        above, below = (shoulder.evaluate(energy.value, *(values + s)) for s in (step, -step))
        np.testing.assert_allclose(
            found[k], (above - below) / (2e-5 * value), rtol=1e-7, atol=1e-22
        )


def test_isotropic_emission_is_that_of_gammapy(tmp_path: Path) -> None:
    path = tmp_path / "iso.txt"
    energy = np.geomspace(50, 1e6, 12)
    np.savetxt(path, np.stack([energy, 1e-5 * energy**-2.4, 0 * energy], axis=1))
    mine = ours.create_fermi_isotropic_diffuse_model(path, ["a"])
    other = theirs.create_fermi_isotropic_diffuse_model(str(path), ["a"])
    assert (mine.name, mine.datasets_names, mine.apply_irf) == (
        other.name, other.datasets_names, other.apply_irf,
    )  # fmt: skip
    at = u.Quantity([0.01, 1, 500, 2000], "GeV")
    expected = other.spectral_model(at)
    found = mine.spectral_model(at)
    np.testing.assert_allclose(found.to_value(expected.unit), expected.value, rtol=1e-9)
    path.write_text("a b c\n", encoding="utf-8")
    with pytest.raises(ModelError, match="expected a table of energies and fluxes"):
        ours.create_fermi_isotropic_diffuse_model(path)
    with pytest.raises(InputNotFoundError, match=r"none\.txt"):
        ours.create_fermi_isotropic_diffuse_model(tmp_path / "none.txt")


def test_unknown_references_are_refused() -> None:
    for make, key in (
        (ours.create_crab_spectral_model, "reference"),
        (ours.create_cosmic_ray_spectral_model, "particle"),
        (EBLAbsorptionNormSpectralModel.read_builtin, "reference"),
    ):
        with pytest.raises(ModelError, match=f"{key}: 'x', expected one of"):
            make("x")


def _absorption_file(path: Path) -> None:
    """Table of two redshifts and three energies."""
    names = fits.BinTableHDU(Table({"VALUE": np.array([[0.1, 0.5]])}), name="PARAMETERS")
    low = np.array([1e8, 1e9, 1e10])
    energies = fits.BinTableHDU(Table({"ENERG_LO": low, "ENERG_HI": 10 * low}), name="ENERGIES")
    values = {"PARAMVAL": [0.1, 0.5], "INTPSPEC": [[1, 0.9, 0.5], [0.9, 0.5, 0.1]]}
    spectra = fits.BinTableHDU(Table(values), name="SPECTRA")
    path.parent.mkdir()
    fits.HDUList([fits.PrimaryHDU(), names, energies, spectra]).writeto(path)


def test_builtin_absorption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAMMAPY_DATA", raising=False)
    with pytest.raises(InputNotFoundError, match="set GAMMAPY_DATA to its folder"):
        EBLAbsorptionNormSpectralModel.read_builtin()
    monkeypatch.setenv("GAMMAPY_DATA", str(tmp_path))
    with pytest.raises(InputNotFoundError, match=r"ebl_dominguez11.fits.gz does not exist"):
        EBLAbsorptionNormSpectralModel.read_builtin("dominguez")
    _absorption_file(tmp_path / "ebl" / "ebl_dominguez11.fits.gz")
    mine = EBLAbsorptionNormSpectralModel.read_builtin("dominguez", redshift=0.2)
    other = theirs.EBLAbsorptionNormSpectralModel.read_builtin("dominguez", redshift=0.2)
    energy = u.Quantity([0.5, 3, 20], "TeV")
    np.testing.assert_allclose(mine(energy).value, other(energy).to_value(""), rtol=1e-6)


# --- to look at ---------------------------------------------------------------------------


def test_names_complete() -> None:
    models, _ = _pair()
    assert models._ipython_key_completions_() == models.names
    assert models.parameters._ipython_key_completions_() == models.parameters.names
    assert set(ours.__all__) <= set(dir(ours))
    assert ours.FoVBackgroundModel is gm.BackgroundIRFModel


def test_everything_has_a_text() -> None:
    models, _ = _pair()
    assert repr(Covariance(models.parameters)) == "<Covariance of 20 parameters, errors only>"
    assert repr(EnergyGrid([1, 2, 4])) == "<EnergyGrid: 2 bins, 1 to 4 TeV>"
    assert repr(SkyGrid([1.0, 2], [3.0, 4])) == "<SkyGrid: positions of shape (2,)>"
    assert repr(models.prior_sum) == "<PriorSum of 0 priors on 20 parameters>"
    for name in ours.__all__:
        cls = getattr(ours, name)
        if isinstance(cls, type) and cls is not Model:
            assert cls.__repr__ is not object.__repr__, name
