"""One file with every spectral and temporal class, links and priors, both ways with Gammapy."""

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from gammapy.maps import MapAxis, RegionNDMap
from gammapy.modeling.models import Models as GammapyModels
from hypothesis import given, settings
from hypothesis import strategies as st

import gmdask.models as gm
from gmdask.errors import ModelError

NOT_IN_GAMMAPYS_YAML = {
    "LogGaussianSpectralModel", "MeyerCrabSpectralModel", "NaimaSpectralModel", "ScaleSpectralModel",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("every")
    axes = [
        MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=8, name="energy_true"),
        MapAxis.from_nodes([10, 30, 100], name="density", interp="log", unit="cm-3"),
    ]
    table = RegionNDMap.create(region=None, axes=axes, unit="cm-2 s-1 TeV-1")
    table.data = 10 ** np.random.default_rng(7).uniform(-13, -11, table.data.shape)
    table.write(folder / "nd.fits")
    curve = Table({"TIME": [0, 1, 2] * u.d, "NORM": [1.0, 2, 1]})
    curve.meta.update(MJDREFI=55000, MJDREFF=0.0, TIMESYS="utc", TIMEUNIT="d")
    curve.write(folder / "curve.fits")
    Table({"PHASE": [0.0, 0.5, 1], "NORM": [1.0, 2, 1]}).write(folder / "phase.fits")
    return folder


def every_spectrum(folder):
    nodes = [0.1, 1, 10] * u.TeV
    special = {
        "CompoundSpectralModel": lambda: gm.CompoundSpectralModel(
            gm.PowerLawSpectralModel(), gm.PowerLawNormSpectralModel(), "mul"
        ),
        "PiecewiseNormSpectralModel": lambda: gm.PiecewiseNormSpectralModel(nodes, [1, 2, 3]),
        "TemplateSpectralModel": lambda: gm.TemplateSpectralModel(
            nodes, [3e-12, 1e-12, 1e-14] * u.Unit("cm-2 s-1 TeV-1")
        ),
        "TemplateNDSpectralModel": lambda: gm.TemplateNDSpectralModel(filename=folder / "nd.fits"),
        "EBLAbsorptionNormSpectralModel": lambda: gm.EBLAbsorptionNormSpectralModel(
            nodes, [0.1, 0.5], [[1, 0.9, 0.1], [1, 0.5, 0.01]]
        ),
        "ScaleSpectralModel": lambda: gm.ScaleSpectralModel(gm.PowerLawSpectralModel(), norm=2),
    }
    for name in sorted(set(gm.known_types("spectral"))):
        cls = getattr(gm, name, None) if name.endswith("Model") else None
        if cls is not None and name != "NaimaSpectralModel":
            yield name, special.get(name, cls)()


def every_change(folder):
    curve = gm.LightCurveTemplateTemporalModel
    phase = gm.TemplatePhaseCurveTemporalModel
    special = {
        curve.__name__: lambda: curve.read(folder / "curve.fits"),
        phase.__name__: lambda: phase.read(folder / "phase.fits", normalize=False),
    }
    for name in sorted(set(gm.known_types("temporal"))):
        cls = getattr(gm, name, None) if name.endswith("Model") else None
        if cls is not None:
            yield special.get(name, cls)()


def every_model(folder, skip=()):
    """Norms multiply a power law; all power-law indices are one parameter; priors and limits."""
    models, index, rng = [], gm.Parameter("index", 2.2, min=1, max=4, error=0.1), None
    rng = np.random.default_rng(3)
    index.prior = gm.GaussianPrior(mu=2.3, sigma=0.2, weight=0.5)
    changes = list(every_change(folder))
    for k, (name, spectrum) in enumerate(every_spectrum(folder)):
        if name in skip:
            continue
        if spectrum.is_norm:
            spectrum = gm.PowerLawSpectralModel(index=index) * spectrum
        for _, par in spectrum.named_parameters():
            if par is not index:
                par.error = float(abs(par.value) * rng.uniform(0.01, 0.1))
                par.frozen = bool(rng.uniform() < 0.5)
        change = changes[k] if k < len(changes) else None
        models.append(gm.SkyModel(spectrum, name=f"m{k}-{name}", temporal_model=change))
    assert len(models) > len(changes)
    return gm.Models(models)


@pytest.mark.parametrize("full_output", [False, True])
def test_our_own_round_trip(folder, tmp_path, full_output):
    models = every_model(folder)
    n = len(models.parameters)
    root = np.random.default_rng(4).normal(size=(n, n))
    models.covariance = root @ root.T
    models.write(tmp_path / "m.yaml", full_output=full_output)
    again = gm.Models.read(tmp_path / "m.yaml")
    assert json.dumps(again.to_dict()) == json.dumps(models.to_dict())
    np.testing.assert_array_equal(again.covariance.data, models.covariance.data)
    twin = gm.Models.from_dict(models.to_dict())
    assert json.dumps(twin.to_dict()) == json.dumps(models.to_dict())
    assert json.dumps(models.copy().to_dict()) == json.dumps(models.to_dict())
    for one, other in zip(models, again, strict=True):
        energy = np.geomspace(0.2, 20, 5) * u.TeV
        assert u.allclose(one.spectral_model(energy), other.spectral_model(energy), rtol=1e-14)


@pytest.mark.parametrize("full_output", [False, True])
def test_both_ways_with_gammapy(folder, tmp_path, full_output):
    """A file of all of them; Gammapy forgets the state of its table models' parameters."""
    models = every_model(folder, skip=NOT_IN_GAMMAPYS_YAML)
    n = len(models.parameters)
    root = np.random.default_rng(5).normal(size=(n, n)) * 1e-3
    models.covariance = root @ root.T
    models.write(tmp_path / "ours.yaml", full_output=full_output)
    with np.errstate(all="ignore"):  # 0 / 0 in theirs, at two equal indices
        theirs = GammapyModels.read(tmp_path / "ours.yaml")
    assert theirs.names == models.names
    assert len(theirs.parameters) == len(models.full_names)
    energy = np.geomspace(0.2, 20, 5) * u.TeV
    for ours, other in zip(models, theirs, strict=True):
        with np.errstate(all="ignore"):
            expected = other.spectral_model(energy).to_value("cm-2 s-1 TeV-1")
        np.testing.assert_allclose(ours.spectral_model(energy).value, expected, rtol=1e-10)
        if ours.temporal_model is not None:
            assert type(ours.temporal_model).__name__ == type(other.temporal_model).__name__
            assert ours.temporal_model.scale == other.temporal_model.scale
    np.testing.assert_allclose(
        theirs["m0-BrokenPowerLawSpectralModel"].covariance.data[:4, :4],
        models.covariance.data[:4, :4],
    )
    theirs.write(tmp_path / "theirs.yaml", full_output=full_output, write_covariance=False)
    back = gm.Models.read(tmp_path / "theirs.yaml")
    assert back.names == models.names
    loses = ("EBL", "Piecewise", "LightCurve")
    for (name, ours), (_, other) in zip(
        models.named_parameters(), back.named_parameters(), strict=True
    ):
        assert other.value == pytest.approx(ours.value, rel=1e-15, abs=1e-300), name
        assert other.unit == ours.unit
        if not any(word in name for word in loses):
            assert (other.frozen, str(other.min), str(other.max)) == (
                ours.frozen, str(ours.min), str(ours.max),
            ), name  # fmt: skip
    named = [name for name, par in models.named_parameters() if par.prior is not None]
    shared = [par for name, par in back.named_parameters() if name in named]
    assert len(shared) > 3
    assert len({id(par) for par in shared}) == 1
    assert shared[0].prior == gm.GaussianPrior(mu=2.3, sigma=0.2, weight=0.5)


def test_naima_is_not_read():
    with pytest.raises(ModelError, match="cannot be read from YAML"):
        gm.Models.from_dict(
            {"components": [{"name": "n", "type": "SkyModel", "spectral": {"type": "naima"}}]}
        )


# --- any parameters ----------------------------------------------------------------------------


finite = st.floats(-1e12, 1e12, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(finite, min_size=9, max_size=9),
    errors=st.lists(st.floats(0, 1e6), min_size=9, max_size=9),
    frozen=st.lists(st.booleans(), min_size=9, max_size=9),
    linked=st.sets(st.integers(0, 2)),
    full_output=st.booleans(),
    limit=st.floats(0, 1e6),
)
def test_any_models_survive(values, errors, frozen, linked, full_output, limit):
    parts = [gm.PowerLawSpectralModel() for _ in range(3)]
    for name in ("index", "amplitude", "reference"):
        if len(linked) > 1:
            first = min(linked)
            for k in linked - {first}:
                setattr(parts[k], name, getattr(parts[first], name))
    models = gm.Models([gm.SkyModel(m, name=f"m{k}") for k, m in enumerate(parts)])
    pars = models.parameters
    assert len(pars) == 9 - 3 * max(len(linked) - 1, 0)
    for par, value, error, flag in zip(pars, values, errors, frozen, strict=False):
        par.value, par.error, par.frozen = value, error, flag
        par.min, par.max = value - limit, value + limit
    again = gm.Models.from_dict(models.to_dict(full_output))
    assert json.dumps(again.to_dict()) == json.dumps(models.to_dict())
    assert again.parameters.names == pars.names
    assert len(again.parameters.free) == len(pars) - sum(p.frozen for p in pars)
    for _, par in again.named_parameters():
        assert par.min <= par.value <= par.max


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), picked=st.sets(st.integers(0, 8), min_size=1))
def test_slices_of_a_covariance(seed, picked):
    rng = np.random.default_rng(seed)
    models = gm.Models([gm.SkyModel(gm.PowerLawSpectralModel(), name=f"m{k}") for k in range(3)])
    root = rng.normal(size=(9, 9))
    models.covariance = root @ root.T
    pars = models.parameters
    some = [pars[k] for k in rng.permutation(sorted(picked))]
    part = models.covariance.get_subcovariance(some)
    at = [pars.index(par) for par in some]
    np.testing.assert_array_equal(part.data, models.covariance.data[np.ix_(at, at)])
    np.testing.assert_array_equal(part.errors, [par.error for par in some])
    restored = part.expanded_to(pars)
    np.testing.assert_array_equal(restored.data[np.ix_(at, at)], part.data)
    np.testing.assert_allclose(restored.errors, pars.error, rtol=1e-12)
