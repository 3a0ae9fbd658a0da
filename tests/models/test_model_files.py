"""Gammapy's YAML, both ways, and its covariance table."""

import json
import logging
import math

import astropy.units as u
import numpy as np
import pytest
import yaml
from gammapy.modeling.models import FoVBackgroundModel
from gammapy.modeling.models import GaussianSpatialModel as GammapyGaussian
from gammapy.modeling.models import LogParabolaSpectralModel as GammapyLogParabola
from gammapy.modeling.models import Models as GammapyModels
from gammapy.modeling.models import PointSpatialModel as GammapyPoint
from gammapy.modeling.models import PowerLawNormSpectralModel as GammapyNorm
from gammapy.modeling.models import PowerLawSpectralModel as GammapyPowerLaw
from gammapy.modeling.models import SkyModel as GammapySky

from gmdask.errors import (
    DuplicateNameError,
    InputNotFoundError,
    ModelError,
)
from gmdask.models import (
    BackgroundIRFModel,
    Models,
)
from tests.models.model_example import example

FOLDERS = ["crab", "pks2155", "hawc", "fermi_crab", "joint_crab", "mwl"]


def state(parameters):
    """What must survive, of our parameters and of Gammapy's."""
    return [
        (p.name, p.value, p.unit.to_string("fits"), p.error, str(p.min), str(p.max), bool(p.frozen))
        for p in parameters
    ]


def plain(data):
    """Text of plain data, whole numbers as floats."""
    return json.dumps(json.loads(json.dumps(data), parse_int=float))


def all_of(models):
    """Parameters of our models as Gammapy lists them: shared ones repeated."""
    return [par for _, par in models.named_parameters()]


def assert_same(ours, theirs, errors=True):
    cut = slice(None) if errors else slice(0, 3)
    assert [s[cut] for s in state(all_of(ours))] == [s[cut] for s in state(theirs.parameters)]
    assert ours.names == theirs.names
    assert [m.datasets_names for m in ours] == [m.datasets_names for m in theirs]


def gammapy_example():
    lp = GammapyLogParabola(amplitude="2e-12 cm-2 s-1 TeV-1", reference="2 TeV", alpha=2.2)
    pl = GammapyPowerLaw(index=2.7)
    lp.alpha.error, lp.beta.frozen, lp.amplitude.min = 0.1, True, 0
    shape = GammapyGaussian(sigma="0.3 deg", e=0.2, phi="20 deg", frame="galactic")
    norm = GammapyNorm(norm=0.9)
    one = GammapySky(lp, GammapyPoint(lon_0="83 deg"), name="one", datasets_names=["x"])
    two = GammapySky(
        pl, shape, name="two", apply_irf={"exposure": True, "psf": False, "edisp": True}
    )
    return GammapyModels([one, two, FoVBackgroundModel(dataset_name="x", spectral_model=norm)])


# --- with Gammapy -----------------------------------------------------------------------


@pytest.mark.parametrize("full_output", [False, True])
def test_gammapy_reads_what_we_write(tmp_path, full_output):
    models = example()
    path = tmp_path / "models.yaml"
    models.write(path, full_output=full_output)
    theirs = GammapyModels.read(path)
    assert_same(models, theirs)
    assert theirs[0].spectral_model.amplitude is theirs[1].spectral_model.amplitude
    assert theirs[0].apply_irf == models[0].apply_irf
    assert theirs[1].spatial_model.frame == "galactic"
    assert theirs[2].spectral_model.norm.scale_method == "factor1"
    assert plain(Models.read(path).to_dict()) == plain(models.to_dict())
    assert not list(tmp_path.glob("*covariance*"))


@pytest.mark.parametrize("full_output", [False, True])
def test_we_read_what_gammapy_writes(tmp_path, full_output):
    theirs = gammapy_example()
    path = tmp_path / "models.yaml"
    theirs.write(path, full_output=full_output, write_covariance=False)
    ours = Models.read(path)
    assert_same(ours, theirs)
    assert ours["two"].apply_irf["psf"] is False
    assert ours["two"].spatial_model.frame == "galactic"
    energy = np.geomspace(0.1, 10, 5) * u.TeV
    for a, b in zip(ours, theirs, strict=True):
        assert u.allclose(a.spectral_model(energy), b.spectral_model(energy), rtol=1e-13)


def test_hints_of_gammapy_are_kept(tmp_path):
    theirs = gammapy_example()
    theirs[1].spectral_model.reference.scale_method = None
    theirs[2].spectral_model.norm.scale_transform = "sqrt"
    theirs[2].spectral_model.norm.interp = "lin"
    theirs.write(tmp_path / "models.yaml", full_output=True)
    ours = Models.read(tmp_path / "models.yaml")
    ours.write(tmp_path / "ours.yaml")
    for models in (ours, GammapyModels.read(tmp_path / "ours.yaml")):
        assert models["two"].parameters["reference"].scale_method is None
        norm = models["x-bkg"].parameters["norm"]
        assert (norm.scale_transform, norm.interp) == ("sqrt", "lin")


def test_full_output_has_the_fields_of_gammapy(tmp_path):
    theirs = gammapy_example()
    path = tmp_path / "models.yaml"
    theirs.write(path, full_output=True, write_covariance=False)
    text = yaml.safe_load(path.read_text())["components"]
    assert plain(Models.read(path).to_dict()["components"]) == plain(text)
    theirs.write(path, full_output=False, write_covariance=False, overwrite=True)
    text = yaml.safe_load(path.read_text())["components"]
    ours = Models.read(path).to_dict(full_output=False)
    assert plain(ours["components"]) == plain(text)


def test_covariance_both_ways(tmp_path):
    theirs = gammapy_example()
    rng = np.random.default_rng(3)
    root = rng.normal(size=(len(theirs.parameters),) * 2) * 1e-3
    theirs.covariance = root @ root.T
    theirs.write(tmp_path / "theirs.yaml")
    ours = Models.read(tmp_path / "theirs.yaml")
    assert_same(ours, theirs)
    np.testing.assert_array_equal(ours.covariance.data, theirs.covariance.data)
    ours.write(tmp_path / "ours.yaml")
    again = GammapyModels.read(tmp_path / "ours.yaml")
    np.testing.assert_array_equal(again.covariance.data, theirs.covariance.data)
    assert_same(ours, again)


def test_covariance_of_linked_parameters(tmp_path):
    models = example()
    pars = models.parameters
    rng = np.random.default_rng(4)
    root = rng.normal(size=(len(pars),) * 2)
    models.covariance = root @ root.T
    path = tmp_path / "models.yaml"
    models.write(path)
    again = Models.read(path)
    np.testing.assert_array_equal(again.covariance.data, models.covariance.data)
    assert plain(again.to_dict()) == plain(models.to_dict())
    theirs = GammapyModels.read(path)
    assert theirs[0].spectral_model.amplitude is theirs[1].spectral_model.amplitude
    within = [pars.index(par) for _, par in models[0].named_parameters()]
    np.testing.assert_allclose(
        theirs[0].covariance.data[:4, :4],
        models.covariance.data[np.ix_(within, within)][:4, :4],
        rtol=1e-14,
    )
    theirs.write(tmp_path / "theirs.yaml", full_output=True)
    back = Models.read(tmp_path / "theirs.yaml")
    assert back.parameters["halo.spectral.amplitude"] is back[0].spectral_model.amplitude


@pytest.mark.parametrize("name", ["models_start.yaml", "models_best.yaml"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_real_files(shared, tmp_path, folder, name):
    source = shared / "data" / folder / name
    ours, theirs = Models.read(source), GammapyModels.read(source)
    assert_same(ours, theirs)
    path = tmp_path / "copy.yaml"
    ours.write(path)
    again = GammapyModels.read(path)
    assert_same(ours, again)
    if name == "models_best.yaml":
        assert ours.has_covariance
        np.testing.assert_array_equal(ours.covariance.data, theirs.covariance.data)
        np.testing.assert_array_equal(again.covariance.data, theirs.covariance.data)
        rows = (tmp_path / "copy_covariance.dat").read_text()
        assert rows == source.with_name("models_best_covariance.dat").read_text()


# --- reading ------------------------------------------------------------------------------


def component(spectral=None, **rest):
    spectral = {"type": "pl", "parameters": []} if spectral is None else spectral
    return {"name": "crab", "type": "SkyModel", "spectral": spectral, **rest}


def with_parameter(**entry):
    return component({"type": "pl", "parameters": [entry]})


BAD = [
    ({"type": "FluxModel", "name": "crab"}, "unknown component model type 'FluxModel'"),
    (component({"type": "xpl", "parameters": []}), "spectral: unknown spectral model type 'xpl'"),
    (component(spatial={"type": "blob"}), "spatial: unknown spatial model type 'blob'"),
    (component(spatial={"type": "point", "frame": "fk5"}), "spatial: frame: 'fk5'"),
    (component(spatial={"type": "point", "size": 3}), "size: unknown key of PointSpatialModel"),
    (component(spetial={}), "unknown key 'spetial', expected name, type"),
    (component(datasets_names=3), "datasets_names is 3, expected a list of names"),
    (component(apply_irf=True), "apply_irf is True"),
    (component(apply_irf={"psf": "no"}), "apply_irf has psf: 'no'"),
    (component("pl"), "spectral is 'pl', expected a mapping"),
    (component({"type": "pl", "parameters": {}, "x": 1}), "x: unknown key"),
    (component({"type": "pl", "parameters": "index"}), "parameters is 'index', expected a list"),
    (component({"type": "pl", "parameters": [3]}), "parameter number 0 is 3, expected a mapping"),
    (with_parameter(name="alpha", value=1), "unknown parameter 'alpha', expected index, amplitude"),
    (with_parameter(name="index"), "index: key 'value' is missing"),
    (with_parameter(name="index", value=math.nan), "index: value is nan"),
    (with_parameter(name="index", value="two"), "index: value is 'two'"),
    (with_parameter(name="index", value=2, unit="TeV"), "index: unit 'TeV' cannot be converted"),
    (with_parameter(name="index", value=2, unit=3), "index: unit is 3, expected a string"),
    (with_parameter(name="index", value=2, unit="blob"), "index: unit 'blob' is not a unit"),
    (with_parameter(name="index", value=2, min=3, max=1), "index: min 3.0 is larger than max 1.0"),
    (with_parameter(name="index", value=2, frozen="no"), "index: frozen is 'no'"),
    (with_parameter(name="index", value=2, froze=True), "index: unknown key 'froze'"),
    (
        with_parameter(name="index", value=2, prior={"type": "Gauss"}),
        "index: prior: unknown prior model type 'Gauss'",
    ),
    (
        component({"type": "pl", "parameters": [{"name": "index", "value": 1}] * 2}),
        "parameter 'index' is repeated",
    ),
    ({"name": "crab", "type": "SkyModel"}, "key 'spectral' is missing"),
]


@pytest.mark.parametrize(("data", "message"), BAD)
def test_errors_say_file_component_and_key(tmp_path, data, message):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({"components": [data]}))
    with pytest.raises(ModelError) as caught:
        Models.read(path)
    assert str(caught.value).startswith(f"{path}: component 'crab': ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "FoVBackgroundModel"}, "component 0: key 'datasets_names' is missing"),
        (
            {"type": "FoVBackgroundModel", "datasets_names": ["a", "b"]},
            "component 'a-bkg': datasets_names is ['a', 'b'], expected exactly one",
        ),
        (
            {"type": "FoVBackgroundModel", "datasets_names": ["a"], "spatial": {"type": "blob"}},
            "component 'a-bkg': spatial: unknown spatial model type 'blob'",
        ),
        ("crab", "component 0: component is 'crab', expected a mapping"),
        ({"type": "SkyModel", "name": 7, "spectral": {"type": "pl"}}, "name of SkyModel is 7"),
    ],
)
def test_errors_of_other_components(data, message):
    with pytest.raises(ModelError) as caught:
        Models.from_dict({"components": [data]})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("components: [", "not YAML"),
        ("- 1\n- 2\n", "not a models file"),
        ("models: []\n", "expected a mapping with the key 'components'"),
        ("components: 3\n", "components is 3, expected a list"),
        ("components: !!python/object/apply:os.system ['true']\n", "not YAML"),
        ("components: []\ncovariance: 3\n", "expected the name of a file"),
        ("components: \xff", "not YAML"),
        ("", "not a models file"),
    ],
)
def test_errors_of_files(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ModelError) as caught:
        Models.read(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(InputNotFoundError, match=r"none\.yaml does not exist"):
        Models.read(tmp_path / "none.yaml")
    with pytest.raises(ModelError, match="is a directory"):
        Models.read(tmp_path)
    path = tmp_path / "models.yaml"
    path.write_text("components: []\ncovariance: gone.dat\n")
    with pytest.raises(InputNotFoundError, match=r"covariance file .*gone\.dat does not exist"):
        Models.read(path)


def test_duplicate_names_in_a_file(tmp_path):
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump({"components": [component(), component()]}))
    with pytest.raises(
        DuplicateNameError, match=r"models\.yaml: a model named 'crab' already exists"
    ):
        Models.read(path)


def test_what_is_left_out_is_the_default(caplog):
    data = {"components": [with_parameter(name="index", value="3e0")]}
    with caplog.at_level(logging.WARNING):
        models = Models.from_dict(data)
    assert "PowerLawSpectralModel.amplitude is not in the file" in caplog.text
    pars = models["crab"].parameters
    assert pars["index"].value == 3.0
    assert pars["amplitude"].value == 1e-12
    assert pars["reference"].frozen


def test_results_and_metadata_are_skipped(tmp_path):
    path = tmp_path / "models.yaml"
    text = yaml.safe_dump({"OptimizeResult": {"nfev": 3}, "components": [component()]})
    path.write_text(text + "metadata: {creator: someone}\nchecksum: 00\n")
    assert Models.read(path).names == ["crab"]


def test_link_of_one_is_no_link_and_names_must_be_the_same():
    models = Models.from_dict(
        {"components": [with_parameter(name="index", value=2, link="index@aaaaaaaa")]}
    )
    assert "link" not in str(models.to_dict())
    entries = [
        {"name": "index", "value": 2, "link": "a@1"},
        {"name": "reference", "value": 2, "link": "a@1"},
    ]
    with pytest.raises(
        ModelError, match="reference cannot be linked to a parameter of another name"
    ):
        Models.from_dict({"components": [component({"type": "pl", "parameters": entries})]})


@pytest.mark.parametrize(
    ("more", "differing"),
    [
        ({"value": 3.0}, "value is 2.0 in crab.spectral.index, 3.0 in halo.spectral.model1.index"),
        ({"frozen": True}, "frozen is False in crab.spectral.index, True in halo"),
        ({"max": 4.0}, "max is 5.0 in crab.spectral.index, 4.0 in halo"),
        ({"min": 1.0}, None),  # said once, it is not contradicted
        ({}, None),
    ],
)
def test_linked_entries_say_the_same(more, differing):
    first = {"name": "index", "value": 2.0, "frozen": False, "max": 5.0, "link": "index@a1"}
    inner = {"type": "pl", "parameters": [first | more]}
    halo = component(
        {"type": "compound", "model1": inner, "model2": {"type": "pl"}, "operator": "add"}
    )
    data = {"components": [with_parameter(**first), halo | {"name": "halo"}]}
    if differing is None:
        models = Models.from_dict(data)
        assert models[0].spectral_model.index is models[1].spectral_model.model1.index
        return
    with pytest.raises(ModelError, match="linked parameters differ") as caught:
        Models.from_dict(data)
    assert differing in str(caught.value)


def test_background_with_a_name_of_its_own(tmp_path):
    models = Models([BackgroundIRFModel(dataset_name="a", name="mine")])
    models.covariance = np.diag([0.0, 0.04, 0.0])
    path = tmp_path / "models.yaml"
    models.write(path)
    again = Models.read(path)
    assert again.names == ["mine"]
    assert again.parameters.error[1] == 0.2
    assert GammapyModels.read(path)[0].spectral_model.norm.error == 0.2
    # Gammapy does not store the name: rows are then taken in order
    theirs = GammapyModels([FoVBackgroundModel(dataset_name="a", name="other")])
    theirs.covariance = np.diag([0.0, 0.01, 0.0])
    theirs.write(tmp_path / "theirs.yaml")
    assert "other.spectral.norm" in (tmp_path / "theirs_covariance.dat").read_text()
    assert Models.read(tmp_path / "theirs.yaml").parameters["a-bkg.spectral.norm"].error == 0.1


def test_limits_of_the_class_are_in_the_unit_of_the_value(tmp_path):
    """Gammapy takes their number in whatever unit, which leaves an arcmin no more than 90."""
    values = {"lon_0": (1.4, "rad"), "lat_0": (1320.0, "arcmin"), "sigma": (360.0, "arcsec")}
    parameters = [{"name": n, "value": v, "unit": unit} for n, (v, unit) in values.items()]
    spatial = {"type": "GaussianSpatialModel", "frame": "icrs", "parameters": parameters}
    spectral = {"type": "pl", "parameters": []}
    source = {"name": "a", "type": "SkyModel", "spectral": spectral, "spatial": spatial}
    models = Models.from_dict({"components": [source]})
    lat, sigma = models["a"].spatial_model.lat_0, models["a"].spatial_model.sigma
    assert (lat.min, lat.max) == (-5400, 5400)
    assert (sigma.min, str(sigma.max)) == (0, "nan")
    models["a"].check_values()
    sigma.min = np.nan
    for full_output in (True, False):
        path = tmp_path / f"{full_output}.yaml"
        models.write(path, full_output=full_output)
        back = Models.read(path)["a"].spatial_model
        assert (back.lat_0.min, back.lat_0.max) == (-5400, 5400)
        assert np.isnan(back.sigma.min)
        theirs = GammapyModels.read(path)["a"].spatial_model
        assert theirs.lat_0.max == pytest.approx(5400)
        lat.min, lat.max = -90, 90  # arcmin, by choice: not the default
        models.write(path, full_output=full_output, overwrite=True)
        assert Models.read(path)["a"].spatial_model.lat_0.max == 90
        lat.min, lat.max = -5400, 5400


def test_unknown_keys_of_a_file_are_told(tmp_path, caplog):
    path = tmp_path / "m.yaml"
    path.write_text("components: []\ncompnents: []\nmetadata: {a: 1}\n")
    Models.read(path)
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}: unknown key 'compnents' is ignored"
    ]
