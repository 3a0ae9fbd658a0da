"""Spectra from tables and from other spectra, and a user's own."""

import astropy.units as u
import mpmath as mp
import numpy as np
import pytest
from astropy.io import fits
from gammapy.maps import MapAxis, RegionNDMap
from gammapy.modeling.models import EBLAbsorptionNormSpectralModel as GammapyEBL
from gammapy.modeling.models import PiecewiseNormSpectralModel as GammapyPiecewise
from gammapy.modeling.models import TemplateNDSpectralModel as GammapyTemplateND
from gammapy.modeling.models import TemplateSpectralModel as GammapyTemplate
from gammapy.modeling.models.tests.test_spectral import TEST_MODELS

from gmdask.errors import InputNotFoundError, ModelError
from gmdask.models import (
    EBLAbsorptionNormSpectralModel,
    EnergyGrid,
    Models,
    PiecewiseNormSpectralModel,
    SkyModel,
    TemplateNDSpectralModel,
    TemplateSpectralModel,
)
from gmdask.models.io.serialization import model_from_dict, model_to_dict
from tests.models.spectral_cases import EDGES, ENERGY, again, assert_gradient, assert_same

SETS = 200


# --- Gammapy's reference values ------------------------------------------------------------


@pytest.mark.parametrize("case", TEST_MODELS, ids=lambda case: case["name"])
def test_reference_values_of_gammapy(case):
    data = case["model"].to_dict(full_output=True)["spectral"]
    model = model_from_dict("spectral", data, {})
    assert u.allclose(model(2 * u.TeV), case["val_at_2TeV"], rtol=1e-7)
    if "val_at_3TeV" in case:
        assert u.allclose(model(3 * u.TeV), case["val_at_3TeV"], rtol=1e-7)
    low, high = 1 * u.TeV, 10 * u.TeV
    assert u.allclose(model.integral(low, high), case["integral_1_10TeV"], rtol=1e-5)
    assert u.allclose(model.energy_flux(low, high), case["eflux_1_10TeV"], rtol=1e-5)


# --- nodes and tables ------------------------------------------------------------------------


@pytest.mark.parametrize("interp", ["log", "lin"])
def test_piecewise_norm(interp):
    rng = np.random.default_rng(5)
    for _ in range(SETS):
        nodes = np.sort(rng.uniform(0.1, 30, rng.integers(2, 7))) * u.TeV
        norms = rng.uniform(0.1, 5, len(nodes))
        model = PiecewiseNormSpectralModel(nodes, norms, interp)
        assert_same(model, GammapyPiecewise(nodes, norms, interp=interp))
        assert_gradient(model)
        exact = [_interpolated(e, nodes.value, norms, interp) for e in ENERGY]
        np.testing.assert_allclose(model.evaluate(ENERGY, *norms), exact, rtol=1e-12)
    assert model_to_dict(again(model)) == model_to_dict(model)
    assert model.parameters.names[:2] == ["norm_0", "norm_1"]
    assert model.norm_1.value == norms[1]


def _interpolated(energy, nodes, norms, interp):
    scale, inverse = (mp.log, mp.exp) if interp == "log" else (mp.mpf, mp.mpf)
    x, nodes, norms = scale(energy), list(map(scale, nodes)), list(map(scale, norms))
    k = min(max(sum(node <= x for node in nodes) - 1, 0), len(nodes) - 2)
    share = min(max((x - nodes[k]) / (nodes[k + 1] - nodes[k]), 0), 1)
    return float(inverse(norms[k] * (1 - share) + norms[k + 1] * share))


def test_piecewise_norm_at_zero():
    model = PiecewiseNormSpectralModel([1, 2, 4] * u.TeV, [0, 1, 1])
    y, dy = model.gradient(np.array([0.5, 1.5, 3.0]), 0.0, 1.0, 1.0)
    np.testing.assert_allclose(y, [0, 0, 1], atol=1e-120)
    assert np.isfinite(dy).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1] * u.TeV,), "at least two"),
        (([2, 1] * u.TeV,), "increasing"),
        (([1, 2] * u.s,), "expected energies with a unit"),
        (([1, 2] * u.TeV, [1]), "norms: 1 for 2 energies"),
        (([1, 2] * u.TeV, None, "cubic"), "interp: 'cubic'"),
    ],
)
def test_bad_nodes(arguments, message):
    with pytest.raises(ModelError, match=message):
        PiecewiseNormSpectralModel(*arguments)


def test_template():
    rng = np.random.default_rng(6)
    for unit in ("cm-2 s-1 TeV-1", "m-2 s-1 GeV-1", ""):
        for _ in range(SETS // 3):
            energy = np.sort(10 ** rng.uniform(-1.5, 2, rng.integers(2, 12))) * u.TeV
            values = 10 ** rng.uniform(-13, -10, len(energy)) * u.Unit(unit)
            if rng.uniform() < 0.2:
                values[-1] *= 0
            model = TemplateSpectralModel(energy.to("GeV"), values)
            theirs = GammapyTemplate(energy.to("GeV"), values)
            with np.errstate(all="ignore"):
                np.testing.assert_allclose(
                    model.evaluate(ENERGY), theirs(ENERGY * u.TeV).to_value(model.output_unit),
                    rtol=1e-10, atol=1e-280,
                )  # fmt: skip
            if values[-1] > 0:
                assert_same(model, theirs)
        assert model.is_norm == (unit == "")
        assert model_to_dict(again(model)) == model_to_dict(model)
    assert model.gradient(ENERGY)[1].shape == (0, 7)
    assert model.integral_bins_gradient(EnergyGrid(EDGES), np.zeros(0))[1].shape == (0, 12)
    assert model.integral_bins_hessian(EnergyGrid(EDGES), np.zeros(0)).shape == (0, 0, 12)
    with pytest.raises(ModelError, match=r"values: unit 'TeV' cannot be converted"):
        TemplateSpectralModel([1, 2] * u.TeV, [1, 2] * u.TeV)
    with pytest.raises(ModelError, match="energy is None, expected a mapping"):
        model_from_dict("spectral", {"type": "template"}, {})


@pytest.fixture(scope="module")
def parameter_space(tmp_path_factory):
    axes = [
        MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=8, name="energy_true"),
        MapAxis.from_nodes([10, 30, 100, 200], name="density", interp="log", unit="cm-3"),
        MapAxis.from_edges([0, 1, 2.0, 4], name="bend", interp="lin"),
        MapAxis.from_edges([0, 1, 2.0, 5], name="root", interp="sqrt"),
    ]
    table = RegionNDMap.create(region=None, axes=axes, unit="cm-2 s-1 TeV-1")
    table.data = 10 ** np.random.default_rng(7).uniform(-13, -11, table.data.shape)
    path = tmp_path_factory.mktemp("nd") / "table.fits"
    table.write(path)
    return path


@pytest.mark.slow
def test_template_of_several_parameters(parameter_space, tmp_path):
    model = TemplateNDSpectralModel(filename=parameter_space)
    theirs = GammapyTemplateND(RegionNDMap.read(parameter_space), filename=str(parameter_space))
    for ours, other in zip(model.parameters, theirs.parameters, strict=True):
        assert (ours.name, ours.value, str(ours.unit)) == (other.name, other.value, str(other.unit))
        assert (ours.min, ours.max, ours.interp) == (other.min, other.max, other.interp)
    rng = np.random.default_rng(8)
    low, high = model.parameters.min, model.parameters.max
    kinks = 0
    for _ in range(SETS):
        values = rng.uniform(low, high)
        model.parameters.value = values
        for par, value in zip(theirs.parameters, values, strict=True):
            par.value = value
        assert_same(model, theirs)
        kinks += _has_kink(model, values)
        if not _has_kink(model, values):
            assert_gradient(model)
    assert kinks < 0.1 * SETS
    assert model_to_dict(again(model)) == model_to_dict(model)
    model.write(tmp_path / "ours.fits")
    theirs = GammapyTemplateND(RegionNDMap.read(tmp_path / "ours.fits"), filename="x.fits")
    for par, value in zip(theirs.parameters, values, strict=True):
        par.value = value
    assert_same(model, theirs)


def _has_kink(model, values):
    """Whether differences would straddle a border of the table."""
    for axis, x in zip(model.map.axes[1:], values, strict=True):
        ends = [axis.cell(x * (1 + h))[0] for h in (-0.005, 0.005)]
        edges = np.searchsorted(axis.nodes, [x * 0.995, x * 1.005])
        if ends[0] != ends[1] or edges[0] != edges[1]:
            return True
    return False


def test_template_files_that_are_not(parameter_space, tmp_path):
    with pytest.raises(InputNotFoundError, match=r"none\.fits does not exist"):
        TemplateNDSpectralModel(filename=tmp_path / "none.fits")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(ModelError, match=r"empty\.fits: not a region map"):
        TemplateNDSpectralModel(filename=tmp_path / "empty.fits")
    nameless = TemplateNDSpectralModel(TemplateNDSpectralModel(filename=parameter_space).map)
    with pytest.raises(ModelError, match="TemplateNDSpectralModel: set filename"):
        Models([SkyModel(nameless)]).write(tmp_path / "m.yaml")


@pytest.fixture(scope="module")
def absorption(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ebl")
    return {code: _absorption_file(folder / f"ebl_{code}.fits.gz", code) for code in "ED"}


def _absorption_file(path, code):
    """A table in the form of XSPEC: in keV, one redshift twice."""
    redshift = np.array([0.01, 0.1, 0.3, 0.6, 1.0])
    edges = np.geomspace(1e7, 1e12, 31)
    energy = np.sqrt(edges[1:] * edges[:-1]) / 1e9
    values = np.exp(-redshift[:, None] * energy**0.9)
    columns = [fits.Column("VALUE", f"6{code}", array=np.append(redshift, redshift[-1])[None])]
    parameters = fits.BinTableHDU.from_columns(columns, name="PARAMETERS")
    columns = [
        fits.Column("ENERG_LO", code, array=edges[:-1]),
        fits.Column("ENERG_HI", code, array=edges[1:]),
    ]
    energies = fits.BinTableHDU.from_columns(columns, name="ENERGIES")
    columns = [
        fits.Column("PARAMVAL", code, array=redshift),
        fits.Column("INTPSPEC", f"30{code}", array=values),
    ]
    spectra = fits.BinTableHDU.from_columns(columns, name="SPECTRA")
    fits.HDUList([fits.PrimaryHDU(), parameters, energies, spectra]).writeto(path)
    return path


@pytest.mark.parametrize(("code", "rtol"), [("D", 1e-10), ("E", 1e-4)])
def test_absorption(absorption, code, rtol):
    """Gammapy takes the logarithms of a float32 table in float32."""
    absorption = absorption[code]
    model, theirs = EBLAbsorptionNormSpectralModel.read(absorption), GammapyEBL.read(absorption)
    rng = np.random.default_rng(9)
    for _ in range(SETS if code == "D" else 20):
        redshift, alpha = rng.uniform(0.02, 0.9), rng.uniform(0.2, 2)
        model.redshift.value = theirs.redshift.value = redshift
        model.alpha_norm.value = theirs.alpha_norm.value = alpha
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(
                model.evaluate(ENERGY, redshift, alpha), theirs(ENERGY * u.TeV), rtol=rtol,
                atol=1e-30,
            )  # fmt: skip
        assert_gradient(model)
    assert model.is_norm
    assert model_to_dict(again(model)) == model_to_dict(model)
    model.filename = None
    inline = again(model)
    np.testing.assert_allclose(
        inline.evaluate(ENERGY, 0.3, 1.0), model.evaluate(ENERGY, 0.3, 1.0), rtol=1e-12
    )
    data = model_to_dict(EBLAbsorptionNormSpectralModel.read(absorption))
    with pytest.raises(
        InputNotFoundError,
        match=r"spectral: filename: absorption table .* give a file .* does not exist",
    ):
        model_from_dict("spectral", {**data, "filename": "gone.fits"}, {})
