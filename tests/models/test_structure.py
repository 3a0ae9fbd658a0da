"""Selecting and changing many components at once, covariances in blocks, checksums, schema."""

import logging

import numpy as np
import pytest
import yaml
from gammapy.modeling.models import Models as GammapyModels
from hypothesis import given, settings
from hypothesis import strategies as st

from gmdask.errors import DuplicateNameError, InputError, ModelError, UnknownNameError
from gmdask.models import (
    BackgroundIRFModel,
    Block,
    BlockMatrix,
    Covariance,
    ExpDecayTemporalModel,
    GaussianPrior,
    GaussianSpatialModel,
    LogParabolaSpectralModel,
    Models,
    PointSpatialModel,
    PowerLawSpectralModel,
    SkyModel,
)
from gmdask.schemas import schema_problems


@pytest.fixture
def models():
    crab = SkyModel(PowerLawSpectralModel(), PointSpatialModel(), name="crab")
    halo = SkyModel(
        LogParabolaSpectralModel(amplitude=crab.spectral_model.amplitude),
        GaussianSpatialModel(),
        name="crab-halo",
        datasets_names=["a", "b"],
        temporal_model=ExpDecayTemporalModel(),
    )
    return Models([crab, halo, *(BackgroundIRFModel(dataset_name=n) for n in ("a", "b", "ab"))])


def test_select(models):
    assert models.select(name="crab*").names == ["crab", "crab-halo"]
    assert models.select(name="crab").names == ["crab"]
    assert models.select(dataset="a").names == ["crab", "crab-halo", "a-bkg"]
    assert models.select(dataset=["a", "ab"]).names == ["crab", "crab-halo", "a-bkg", "ab-bkg"]
    assert models.select(tag="sky-model").names == ["crab", "crab-halo"]
    assert models.select(tag=["pl", "pl-norm"], type="spectral").names[0] == "crab"
    assert len(models.select(tag=["pl", "pl-norm"], type="spectral")) == 4
    assert models.select(type="temporal").names == ["crab-halo"]
    assert models.select(type="spatial", tag="gauss", dataset="b").names == ["crab-halo"]
    assert len(models.select(name="nothing")) == 0
    models["a-bkg"].freeze()
    assert models.select(frozen=True).names == ["a-bkg"]
    assert models.select(name="crab")[0] is models["crab"]
    n = len(models.parameters)
    models.covariance = np.diag(np.arange(1.0, n + 1))
    variances = models.select(name="crab").covariance.errors ** 2
    np.testing.assert_allclose(variances, range(1, 6))


def test_freeze_and_unfreeze(models):
    models.freeze("spatial")
    assert models["crab"].spatial_model.frozen
    assert not models["crab"].spectral_model.frozen
    models.freeze()
    assert models.parameters.frozen.all()
    models.unfreeze("temporal")
    assert models.parameters.free.names == ["crab-halo.temporal.t0"]
    models.unfreeze()
    assert "crab.spatial.lon_0" in models.parameters.free.names


def test_reassign(models):
    models.covariance = np.eye(len(models.parameters))
    moved = models.reassign(["a", "b"], ["x", "y"])
    assert moved.names == ["crab", "crab-halo", "x-bkg", "y-bkg", "ab-bkg"]  # not a part of a name
    assert moved["crab-halo"].datasets_names == ["x", "y"]
    assert moved["crab"].datasets_names is None
    pars = moved.parameters
    assert pars["crab-halo.spectral.amplitude"] is pars["crab.spectral.amplitude"]
    assert moved.has_covariance
    assert models["crab-halo"].datasets_names == ["a", "b"]
    assert moved.for_dataset("x").names == ["crab", "crab-halo", "x-bkg"]


def test_insert_pop_and_add(models):
    new = SkyModel(PowerLawSpectralModel(), name="new")
    models.insert(1, new)
    assert models.names[:3] == ["crab", "new", "crab-halo"]
    assert models.for_dataset("a").names == ["crab", "new", "crab-halo", "a-bkg"]
    with pytest.raises(DuplicateNameError):
        models.insert(0, new)
    assert models.pop("new") is new
    assert models.pop().name == "ab-bkg"
    assert "new" not in models
    assert (models + new).names[-1] == "new"
    more = [new]
    assert (models + more).names[-1] == "new"
    with pytest.raises(UnknownNameError):
        models.pop("gone")


def test_parameters_table(models):
    models["crab"].spectral_model.index.prior = GaussianPrior()
    table = models.to_parameters_table()
    assert len(table) == len(models.full_names)
    assert table["model"][0] == "crab"
    assert (table["type"][0], table["name"][0], table["prior"][0]) == (
        "spectral", "index", "GaussianPrior",
    )  # fmt: skip
    linked = table[table["link"] != ""]
    assert set(linked["model"]) == {"crab", "crab-halo"}


# --- covariance in blocks -------------------------------------------------------------------------


def arrow(rng, shared=3, blocks=4, size=2):
    """Random blocks and the whole matrix."""
    n = shared + blocks * size
    order = rng.permutation(n)
    root = rng.normal(size=(shared, shared))
    inner, parts, follow = root @ root.T, [], np.zeros((n, shared))
    dense = np.zeros((n, n))
    follow[order[:shared]] = np.eye(shared)
    for k in range(blocks):
        index = order[shared + k * size : shared + (k + 1) * size]
        own = np.diag(rng.uniform(0.1, 1, size))
        on = rng.permutation(shared)[:2]
        response = rng.normal(size=(size, 2))
        parts.append(Block(index, own, on, response))
        dense[np.ix_(index, index)] += own
        follow[np.ix_(index, on)] = response
    return BlockMatrix(n, order[:shared], inner, parts), dense + follow @ inner @ follow.T


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), shared=st.integers(2, 5), blocks=st.integers(0, 5))
def test_blocks_are_the_whole_matrix(seed, shared, blocks):
    rng = np.random.default_rng(seed)
    matrix, dense = arrow(rng, shared, blocks)
    n = matrix.size
    np.testing.assert_allclose(matrix.to_dense(), dense, atol=1e-12)
    np.testing.assert_allclose(matrix.diagonal(), np.diag(dense), atol=1e-12)
    some = rng.permutation(n)[: n // 2]
    np.testing.assert_allclose(matrix.take(some), dense[np.ix_(some, some)], atol=1e-12)
    again = BlockMatrix.from_arrays(matrix.to_arrays())
    np.testing.assert_array_equal(again.to_dense(), matrix.to_dense())
    positions = rng.permutation(n)
    positions[rng.integers(n)] = -1
    moved = matrix.moved(positions, n)
    kept = np.flatnonzero(positions >= 0)
    at = positions[kept]
    expected = np.zeros((n, n))
    expected[np.ix_(at, at)] = dense[np.ix_(kept, kept)]
    for one in (moved, BlockMatrix.from_arrays(moved.to_arrays())):
        np.testing.assert_allclose(one.to_dense(), expected, atol=1e-12)
        np.testing.assert_allclose(one.diagonal(), np.diag(expected), atol=1e-12)
    turned = np.full(n, -1)
    turned[at] = np.arange(len(at))
    again = moved.moved(turned, len(at))
    np.testing.assert_allclose(again.to_dense(), dense[np.ix_(kept, kept)], atol=1e-12)


def test_bad_blocks():
    with pytest.raises(InputError, match="for 2 parameters"):
        BlockMatrix(3, [0, 1], np.eye(3))
    with pytest.raises(InputError, match="in two blocks"):
        BlockMatrix(3, [0], np.eye(1), [Block([0], np.eye(1), [0], [[1.0]])])
    with pytest.raises(InputError, match="block of 1 parameters"):
        Block([0], np.eye(2), [0], [[1.0]])
    with pytest.raises(InputError, match="not a block covariance"):
        BlockMatrix.from_arrays({"size": np.array(1)})


def many(n=400):
    crab = SkyModel(PowerLawSpectralModel(), PointSpatialModel(), name="crab")
    return Models([crab, *(BackgroundIRFModel(dataset_name=f"{k}") for k in range(n))])


def with_blocks(models):
    rng = np.random.default_rng(5)
    pars = models.parameters
    shared = [pars.index(name) for name in ("crab.spectral.index", "crab.spectral.amplitude")]
    inner = np.array([[0.01, 1e-15], [1e-15, 1e-26]])
    blocks = []
    for k in range(len(models) - 1):
        at = [pars.index(f"{k}-bkg.spectral.norm")]
        blocks.append(Block(at, [[rng.uniform(0.01, 0.1)]], [0, 1], [[rng.normal(), 1e11]]))
    return BlockMatrix(len(pars), shared, inner, blocks)


@pytest.mark.slow
def test_covariance_of_many_parameters(tmp_path, caplog):
    """1205 parameters: a few kB, and no table of 1.5 million cells."""
    models = many()
    matrix = with_blocks(models)
    models.covariance = matrix
    assert models.covariance.blocks is not None
    np.testing.assert_allclose(models.parameters.error**2, matrix.diagonal())
    with caplog.at_level(logging.WARNING):
        models.write(tmp_path / "m.yaml")
    assert "written in blocks to m_covariance.npz, which Gammapy cannot read" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.yaml", "m_covariance.npz"]
    assert (tmp_path / "m_covariance.npz").stat().st_size < 60_000
    again = Models.read(tmp_path / "m.yaml")
    assert again.covariance.blocks is not None
    np.testing.assert_array_equal(again.covariance.data, models.covariance.data)
    local = again.covariance.get_subcovariance(again["3-bkg"].parameters)
    assert local.errors[1] == pytest.approx(again["3-bkg"].parameters["norm"].error)
    backgrounds = again.select(tag="BackgroundIRFModel").covariance  # without the source
    assert backgrounds.blocks is not None
    assert backgrounds.blocks.nbytes < 100_000
    np.testing.assert_array_equal(backgrounds.errors, again.covariance.errors[5:])
    pair = backgrounds.get_subcovariance(["3-bkg.spectral.norm", "7-bkg.spectral.norm"])
    whole = again.covariance.data
    at = [again.parameters.index(name) for name in pair.parameters.names]
    np.testing.assert_allclose(pair.data, whole[np.ix_(at, at)], rtol=1e-14)
    assert pair.data[0, 1] != 0  # through the source
    twin = again.copy()
    twin.append(BackgroundIRFModel(dataset_name="new"))
    assert twin.covariance.blocks is not None
    np.testing.assert_array_equal(twin.covariance.errors[:-3], models.covariance.errors)
    assert len(GammapyModels.from_dict(models.to_dict())) == 401
    (tmp_path / "m_covariance.npz").write_bytes(b"PK")
    with pytest.raises(
        ModelError, match="is not the covariance that was written together with the YAML"
    ):
        Models.read(tmp_path / "m.yaml")


def test_a_dense_covariance_of_many_parameters(tmp_path):
    models = many(350)
    n = len(models.parameters)
    root = np.zeros((n, 20))
    root[::50] = np.random.default_rng(1).normal(size=root[::50].shape)
    models.covariance = root @ root.T
    models.write(tmp_path / "m.yaml")
    again = Models.read(tmp_path / "m.yaml")
    np.testing.assert_allclose(again.covariance.data, models.covariance.data, rtol=1e-12)


def test_small_blocks_are_written_as_gammapys_table(tmp_path):
    models = many(5)
    models.covariance = Covariance(models.parameters, with_blocks(models))
    models.write(tmp_path / "m.yaml")
    theirs = GammapyModels.read(tmp_path / "m.yaml")
    np.testing.assert_allclose(theirs.covariance.data, models.covariance.data, rtol=1e-12)
    np.testing.assert_array_equal(
        Models.read(tmp_path / "m.yaml").covariance.data, models.covariance.data
    )


# --- checksum and schema ------------------------------------------------------------


def test_checksum_both_ways(tmp_path, models, caplog):
    models.write(tmp_path / "ours.yaml", checksum=True)
    with caplog.at_level(logging.WARNING):
        theirs = GammapyModels.read(tmp_path / "ours.yaml", checksum=True)
    assert "Checksum" not in caplog.text
    theirs.write(tmp_path / "theirs.yaml", checksum=True, write_covariance=False)
    assert Models.read(tmp_path / "theirs.yaml", checksum=True).names == models.names
    text = (tmp_path / "ours.yaml").read_text()
    (tmp_path / "ours.yaml").write_text(text.replace("value: 2.0", "value: 2.5", 1))
    with pytest.raises(ModelError, match="the checksum does not match"):
        Models.read(tmp_path / "ours.yaml", checksum=True)
    assert len(Models.read(tmp_path / "ours.yaml")) == 5


def test_what_is_written_follows_the_schema(tmp_path, models):
    models["crab"].spectral_model.index.prior = GaussianPrior()
    for full_output in (False, True):
        path = tmp_path / f"{full_output}.yaml"
        models.write(path, full_output=full_output)
        assert schema_problems(yaml.safe_load(path.read_text())) == []
        GammapyModels.read(path).write(path, full_output=full_output, overwrite=True)
        assert schema_problems(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"frozen": "no"}, "crab' spectral parameters 'index' frozen: expected boolean"),
        ({"interp": "cubic"}, "'index' interp: expected one of lin, sqrt, log"),
        ({"value": None, "prior": {}}, "'index' prior: 'type' is missing"),
    ],
)
def test_errors_of_files_name_component_key_and_expectation(tmp_path, models, change, problem):
    data = models.to_dict()
    data["components"][0]["spectral"]["parameters"][0].update(change)
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ModelError) as caught:
        Models.read(path)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{path}: component 'crab': spectral: index: ")
