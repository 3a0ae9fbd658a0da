"""One parameter vector, one value, whatever was evaluated before: to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmdask.models import DatasetModels
from tests.likelihood import cubes
from tests.likelihood.gammapy_response import CompiledDataset
from tests.likelihood.sources import background, gauss, locals_of, log_parabola, point

BASE = {
    "true": lambda: [point(spectral=log_parabola()), gauss(e=0.6, phi=30.0), background()],
    "reco": lambda: [point(), gauss(), background()],
}
CUBES = {psf: cubes.make_cube(psf=psf) for psf in BASE}


def same(one, two):
    for a, b in zip(one, two, strict=True):
        assert (a is None) == (b is None)
        assert a is None or np.array_equal(a, b)


def vectors(models, norm=-0.1, n=6):
    """Some near the start, one far outside, one of negative amplitude, one of small width."""
    rng = np.random.default_rng(8)
    names, start = models.parameters.names, models.parameters.value
    result = [start]
    for _ in range(n - 1):
        x = start * (1 + 1e-4 * rng.normal(size=len(start)))
        result.append(x)
    result[1][names.index("point.spatial.lon_0")] += 4.0
    result[2][names.index("point.spectral.amplitude")] *= -1
    result[3][names.index("gauss.spatial.sigma")] = 0.02
    result[4][names.index("cube-bkg.spectral.norm")] = norm
    return result


@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("psf", BASE)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    walk=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=6
    )
)
def test_a_walk_leaves_no_trace(psf, profile, walk):
    models = DatasetModels(BASE[psf]())
    local = locals_of(models) if profile else None
    points = vectors(models, norm=0.3 if profile else -0.1)
    used = CompiledDataset(CUBES[psf], models, local=local)
    for value, anchor, order in walk:
        last = used.evaluate(points[value], points[anchor], order=order)
        used.npred(points[anchor])
    fresh = CompiledDataset(CUBES[psf], models, local=local)
    same(last, fresh.evaluate(points[value], points[anchor], order=order))


@pytest.mark.parametrize("psf", BASE)
def test_the_order_does_not_change_the_value(psf):
    models = DatasetModels(BASE[psf]())
    for x in vectors(models):
        stats = {CompiledDataset(CUBES[psf], models).evaluate(x, order=k).stat for k in (0, 1, 2)}
        assert len(stats) == 1


def test_arguments_are_not_changed_and_results_not_shared():
    models = DatasetModels(BASE["true"]())
    compiled = CompiledDataset(CUBES["true"], models, local=locals_of(models))
    values = models.parameters.value
    values[models.parameters.names.index("cube-bkg.spectral.norm")] = 2.0
    kept = values.copy()
    one = compiled.evaluate(values, order=2)
    assert np.array_equal(values, kept)
    before = one.gradient.copy(), one.observed.copy()
    other = values.copy()
    other[0] *= 1.1
    compiled.evaluate(other, order=2)
    assert np.array_equal(one.gradient, before[0])
    assert np.array_equal(one.observed, before[1])


def test_spectra_shared_by_a_cache():
    """The cache of one pass gives the same bits as none, for datasets of two axes as well."""
    models = DatasetModels(BASE["true"]())
    values = models.parameters.value
    wide = cubes.make_cube(psf="true")
    wide = wide.isel(energy_true=slice(0, 6), edisp_energy_true=slice(0, 6)).drop_vars(
        ["energy_true_edges", "edisp_energy_true_edges"]
    )
    for key in ("energy_true", "edisp_energy_true"):
        full = CUBES["true"][f"{key}_edges"]
        wide = wide.assign_coords({f"{key}_edges": full[:7]})
    cache = {}
    for cube in (CUBES["true"], wide, CUBES["true"]):
        for order in (0, 2, 1):
            compiled = CompiledDataset(cube, models)
            shared = compiled.evaluate(values, order=order, cache=cache)
            same(shared, CompiledDataset(cube, models).evaluate(values, order=order))
