"""Files of models and covariances: damaged ones, and failures while writing."""

import json
from pathlib import Path

import numpy as np
import pytest

from gmdask.errors import (
    DuplicateNameError,
    InputError,
    InputNotFoundError,
    ModelError,
    StoreExistsError,
    UnknownNameError,
)
from gmdask.models import (
    Models,
    PowerLawSpectralModel,
    SkyModel,
)
from gmdask.models.io.gammapy_yaml import write_files
from tests.models.model_example import example


def plain(data):
    """Text of plain data, whole numbers as floats."""
    return json.dumps(json.loads(json.dumps(data), parse_int=float))


# --- covariance files ---------------------------------------------------------------------


@pytest.fixture
def written(tmp_path) -> Path:
    models = Models([SkyModel(PowerLawSpectralModel(), name="crab")])
    models.covariance = np.diag([1.0, 2.0, 0.0])
    path = tmp_path / "models.yaml"
    models.write(path)
    return path


def test_covariance_of_another_file_is_noticed(written):
    table = written.with_name("models_covariance.dat")
    table.write_text(table.read_text().replace("2.0", "3.0"))
    with pytest.raises(
        ModelError, match="is not the covariance that was written together with the YAML"
    ):
        Models.read(written)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2.0", "two", "not a table of numbers"),
        ("crab.spectral.amplitude", "vela.spectral.extension", "covariance of other parameters"),
        ("| 1.0 |", "|", "not a table|square"),
        ("\n|", "\n", "not a table|square|other parameters"),
    ],
)
def test_bad_covariance_files(written, old, new, message):
    table = written.with_name("models_covariance.dat")
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))
    lines = [line for line in written.read_text().splitlines() if "sha256" not in line]
    written.write_text("\n".join(lines))
    if old == "\n|":
        assert Models.read(written).parameters.error[0] == 1.0  # outer bars may be missing
        return
    with pytest.raises(ModelError, match=message) as caught:
        Models.read(written)
    assert str(table) in str(caught.value)


# --- writing ------------------------------------------------------------------------------


def test_no_overwriting_unless_asked(tmp_path, written):
    models = Models([SkyModel(PowerLawSpectralModel(), name="vela")])
    with pytest.raises(StoreExistsError, match="already exists"):
        models.write(written)
    with pytest.raises(FileExistsError):
        models.write(tmp_path, overwrite=True)
    assert Models.read(written).names == ["crab"]
    models.write(written, overwrite=True)
    assert Models.read(written).names == ["vela"]
    models.write(tmp_path / "new" / "folder" / "models.yaml")
    assert Models.read(tmp_path / "new" / "folder" / "models.yaml").names == ["vela"]


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_failure_leaves_the_old_pair(monkeypatch, written, fails):
    """Whichever of the renames fails."""
    before = {path.name: path.read_bytes() for path in written.parent.iterdir()}
    models = Models.read(written)
    models.parameters["index"].value = 5
    models.covariance = np.diag([4.0, 2.0, 0.0])
    calls, replace = [], Path.replace

    def failing(self, target):
        calls.append(target)
        if len(calls) == fails:
            raise OSError("disk full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="disk full"):
        models.write(written, overwrite=True)
    assert {path.name: path.read_bytes() for path in written.parent.iterdir()} == before


def test_a_failure_leaves_nothing_new(monkeypatch, tmp_path):
    replace = Path.replace

    def failing(self, target):
        if str(target).endswith("b"):
            raise OSError("disk full")
        replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="disk full"):
        write_files({tmp_path / "a": b"1", tmp_path / "b": b"2"}, overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_same_models_same_labels():
    first, second = example().to_dict(), example().to_dict()
    assert plain(first) == plain(second)
    labels = [
        p["link"] for c in first["components"] for p in c["spectral"]["parameters"] if "link" in p
    ]
    assert len(labels) == 2
    assert labels[0] == labels[1]
    name, _, mark = labels[0].partition("@")
    assert (name, len(mark)) == ("amplitude", 8)


def test_numbers_survive_exactly(tmp_path):
    rng = np.random.default_rng(8)
    values = rng.normal(size=200) * 10.0 ** rng.integers(-300, 300, size=200)
    models = Models(
        [SkyModel(PowerLawSpectralModel(index=v), name=f"m{k}") for k, v in enumerate(values)]
    )
    path = tmp_path / "models.yaml"
    models.write(path)
    np.testing.assert_array_equal(Models.read(path).parameters.value, models.parameters.value)


def test_error_kinds():
    for error in (ModelError, UnknownNameError, DuplicateNameError, InputNotFoundError):
        assert issubclass(error, InputError)
