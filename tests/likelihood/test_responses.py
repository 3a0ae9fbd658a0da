"""What every response promises, whatever the dataset and the shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from astropy import units as u
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.likelihood.bins import all_bins, occupied_bins
from gmdask.likelihood.observation import Observation
from gmdask.likelihood.responses import RESPONSES, Response, Shape, make_response
from gmdask.likelihood.statistics.cash import Cash
from gmdask.models import GaussianSpatialModel, PointSpatialModel, SpatialModel
from tests.likelihood import cubes
from tests.likelihood.constant_response import CONSTANT

SPECTRUM = np.linspace(2.0, 1.0, cubes.N_TRUE) * 1e-9
N_BINS = cubes.N_RECO * cubes.N_LAT * cubes.N_LON  # at most
FREE = {"point": [0, 1], "gauss": [0, 1, 2]}
SHAPES: dict[str, Callable[[], SpatialModel]] = {
    "point": lambda: PointSpatialModel(lon_0=83.668, lat_0=22.084, frame="icrs"),
    "gauss": lambda: GaussianSpatialModel(lon_0=83.57, lat_0=21.93, sigma=0.11, frame="icrs"),
}
DATASETS = {
    "map": {"psf": "true"},
    "map, PSF in reconstructed energy": {"psf": "reco"},
    "map without PSF": {"psf": None},
    "region": {"psf": "true"},
}


@pytest.fixture(scope="module", autouse=True)
def _constant():
    RESPONSES["constant"] = CONSTANT
    yield
    del RESPONSES["constant"]


@pytest.fixture(scope="module")
def observations():
    """Observations with counts in a part of the bins."""
    found = {}
    for name, options in DATASETS.items():
        cube = cubes.make_cube(**options)
        if name == "region":
            circle = CircleSkyRegion(cubes.CENTRE, 0.3 * u.deg)
            cube = gm.MapDataset(cube).to_region_map_dataset(circle).compute().cube
        found[name] = Observation(cube)
    return found


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", ["exact", "gammapy", "constant"])
class TestResponse:
    """The contract."""

    @pytest.fixture
    def seen(self, observations, name, dataset, kind):
        """Observation, a response with free shape parameters, and their values."""
        observation = observations[dataset]
        if name == "gammapy" and dataset == "region" and observation.psf_energy == "energy":
            pytest.skip("Gammapy has no such regions")
        return observation, self.made(observation, name, kind), SHAPES[kind]().internal_values

    @staticmethod
    def made(
        observation: Observation,
        name: str,
        kind: str,
        *,
        free: bool = True,
        everywhere: bool = False,
    ) -> Response:
        linear = Cash(observation.counts).is_linear
        bins = all_bins(observation) if everywhere else occupied_bins(observation, linear)
        irfs = {"exposure": True, "psf": True, "edisp": True}
        shape = Shape(observation, bins, SHAPES[kind](), irfs, FREE[kind] if free else [], "source")
        return make_response(name, shape)

    @staticmethod
    def counts(response, values, *, derivatives=False):
        """Counts in each bin of the list, and the masked sum."""
        operator, places = response.operator(values, values, derivatives=derivatives)
        counts, total = operator.forward(SPECTRUM)
        found = np.zeros(N_BINS)
        found[: len(counts) if isinstance(places, slice) else N_BINS][places] = counts
        return np.append(found, total)

    def test_same_bits_whatever_was_computed_before(self, seen):
        _, response, values = seen
        first = self.counts(response, values)
        assert first.max() > 0
        assert np.array_equal(self.counts(response, values, derivatives=True), first)
        self.counts(response, values + 0.013)
        assert np.array_equal(self.counts(response, values), first)
        response.forget()
        assert response.forgettable == 0
        assert np.array_equal(self.counts(response, values), first)

    def test_a_frozen_shape_predicts_the_same(self, seen, name, kind):
        observation, response, values = seen
        frozen = self.made(observation, name, kind, free=False)
        frozen.compile(values)
        assert frozen.forgettable == 0
        expected = self.counts(response, values)
        np.testing.assert_allclose(
            self.counts(frozen, values), expected, rtol=1e-11, atol=1e-12 * expected.max()
        )

    def test_image(self, seen, name, kind):
        """Images are what the operator gives over all bins."""
        observation, _, values = seen
        response = self.made(observation, name, kind, free=False, everywhere=True)
        if not observation.is_region:
            window, counts = response.image(values, SPECTRUM)
            image = np.zeros(observation.mask.shape)
            image[:, *window.slices] = counts
            operator, places = response.operator(values, values, derivatives=False)
            expected = np.zeros(image.size)
            expected[places] = operator.forward(SPECTRUM)[0]
            np.testing.assert_allclose(
                image.ravel(), expected, rtol=1e-10, atol=1e-12 * image.max()
            )

    def test_adjoint(self, seen):
        """``w · (A f) = (Aᵀ w) · f``, the masked sum included."""
        _, response, values = seen
        operator, _ = response.operator(values, values, derivatives=True)
        random = np.random.default_rng(1)
        f, w_sum = random.random(cubes.N_TRUE), 0.7
        counts, total = operator.forward(f)
        w = random.normal(size=len(counts))
        there = w @ counts + w_sum * total
        assert operator.adjoint(w, w_sum) @ f == pytest.approx(there, rel=1e-11)
        slopes, slope_sums = operator.forward_shape(f)
        there = w @ slopes + w_sum * slope_sums
        scale = np.abs(w) @ np.abs(slopes) + w_sum * np.abs(slope_sums)
        assert operator.adjoint_shape(w, w_sum) @ f == pytest.approx(there, abs=1e-11 * max(scale))

    def test_derivatives_by_the_shape(self, seen, kind):
        """At a fixed anchor, by differences of the counts and of the first derivatives."""
        _, response, values = seen
        f, step = SPECTRUM, 1e-5
        operator, _ = response.operator(values, values, derivatives=True)
        slopes = np.vstack(
            [part[None] if part.ndim == 1 else part for part in operator.forward_shape(f)]
        )
        random = np.random.default_rng(2)
        w, w_sum = random.random(len(slopes) - 1), 0.3
        curvature = operator.second_shape(f, w, w_sum)

        def differences(function, column):
            h = np.where(np.arange(len(values)) == column, step, 0.0)
            near = function(values + h) - function(values - h)
            return (8 * near - (function(values + 2 * h) - function(values - 2 * h))) / (12 * step)

        def there(at):
            moved, _ = response.operator(at, values, derivatives=False)
            return np.append(*moved.forward(f))

        def adjoint(at):
            moved, _ = response.operator(at, values, derivatives=True)
            return moved.adjoint_shape(w, w_sum) @ f

        for column in FREE[kind]:
            found = differences(there, column)
            scale = max(np.abs(found).max(), 1e-30)
            np.testing.assert_allclose(slopes[:, column], found, atol=2e-5 * scale)
            found = differences(adjoint, column)
            np.testing.assert_allclose(
                curvature[column], found, atol=2e-4 * max(np.abs(curvature).max(), 1e-30)
            )


def test_a_dataset_is_evaluated_with_it():
    """The constant response is one file: a fit's likelihood takes it by its name alone."""
    from gmdask.likelihood.dataset_likelihood import CompiledDataset
    from gmdask.models import DatasetModels
    from tests.likelihood.sources import gauss

    models = DatasetModels([gauss()])
    compiled = CompiledDataset(cubes.make_cube(psf="true"), models, response="constant")
    values = models.parameters.value
    found = compiled.evaluate(values, order=2)
    step = 1e-4 * values[1]
    shift = np.where(np.arange(len(values)) == 1, step, 0.0)
    slope = (compiled.evaluate(values + shift).stat - compiled.evaluate(values - shift).stat) / (
        2 * step
    )
    assert found.gradient is not None
    assert found.gradient[1] == pytest.approx(slope, rel=1e-5)
    assert not found.gradient[3:].any()  # nothing depends on where the source is


@pytest.mark.parametrize("dataset", ["map", "map without PSF"])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_source_that_walks_off_the_map_and_back(observations, dataset, kind):
    """In small and large steps, at the edge and far beyond: as one that was never anywhere else."""
    observation = observations[dataset]
    kept, start = TestResponse.made(observation, "exact", kind), SHAPES[kind]().internal_values
    reached = []
    for step in (0.0, 0.02, 0.04, 0.5, 0.9, 0.95, 1.3, 1.32, 30.0, 30.1, 1.32, 1.1, 0.9, 0.45, 0.0):
        values = start.copy()
        values[:2] += step
        fresh = TestResponse.made(observation, "exact", kind)
        known = kept.operator(values, values, derivatives=False)[0] is not None
        assert known == (fresh.operator(values, values, derivatives=False)[0] is not None)
        if known:
            expected = TestResponse.counts(fresh, values)
            assert np.array_equal(TestResponse.counts(kept, values), expected)
        reached.append(known)
    assert reached[0]
    assert reached[-1]
    assert not all(reached)


def test_a_source_among_masked_pixels_alone_has_no_operator(observations):
    """It has no effect, although it is on the map."""
    cube = cubes.make_cube(psf="true")
    cube["mask_safe"] = cube["counts"].astype(bool) & False
    cube["mask_safe"][:, :, : cubes.N_LON // 6] = True
    observation = Observation(cube)
    response = TestResponse.made(observation, "exact", "point")
    values = SHAPES["point"]().internal_values
    lon, lat = observation.grid.to_sky(np.array([0.0, cubes.N_LON - 1.0]), cubes.N_LAT / 2)
    found = []
    for x, y in zip(lon, lat, strict=True):
        values[:2] = float(x), float(y)
        found.append(response.operator(values, values, derivatives=True)[0] is not None)
    assert found == [True, False]
