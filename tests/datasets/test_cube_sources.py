"""What every source of a cube promises: stored, made from others, or made by a function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed.protocol.pickle import dumps, loads

import gmdask as gm
from gmdask.datasets.derived_cube import AlteredCube
from gmdask.datasets.operations.energy import slice_axes
from gmdask.fit.checkpoint import identity
from gmdask.store.cube_source import CubeSource
from tests.datasets.synthetic import models
from tests.store.store_cubes import make_cube


@dataclass(frozen=True)
class MadeCube:
    """A second implementation, all in one file: a cube that a function makes of a number."""

    seed: int
    url = block = None

    def identity(self) -> list[Any]:
        """Plain data that stand for the content of the cube."""
        return ["made", self.seed]

    def open(self) -> xr.Dataset:
        """The cube."""
        return make_cube(f"made-{self.seed}", seed=self.seed)


@pytest.fixture(scope="module")
def stored(survey_store) -> list[Any]:
    """The first cubes of a store."""
    return [dataset.stored for dataset in list(gm.Datasets.read(survey_store))[:2]]


def derived(source: CubeSource) -> AlteredCube:
    return AlteredCube(slice_axes, (source,), {"slices": {"energy": (0, 2)}})


@pytest.mark.parametrize("kind", ["stored", "derived", "made", "derived from made"])
class TestCubeSource:
    """The contract."""

    @pytest.fixture
    def pair(self, kind, stored) -> tuple[CubeSource, CubeSource]:
        """A source, and one of another cube."""
        made = MadeCube(1), MadeCube(2)
        return {
            "stored": (stored[0], stored[1]), "derived": (derived(stored[0]), derived(stored[1])),
            "made": made, "derived from made": (derived(made[0]), derived(made[1])),
        }[kind]  # fmt: skip

    def test_it_travels_and_opens_to_the_same(self, pair):
        source = pair[0]
        there = loads(dumps(source))
        xr.testing.assert_identical(there.open().load(), source.open().load())

    def test_identity_stands_for_the_content(self, pair):
        source, other = pair
        assert loads(dumps(source)).identity() == source.identity()
        assert other.identity() != source.identity()
        assert (source.url is None) == (source.block is None)

    def test_a_dataset_has_it(self, pair):
        """What is made of the dataset, and a checkpoint, take the source without looking at its kind."""
        source, other = pair
        cube, far = source.open(), other.open()
        dataset = gm.MapDataset(cube.assign_attrs(name="one"), source)
        changed = gm.MapDataset(far.assign_attrs(name="one"), other)
        plain = gm.MapDataset(cube.load().assign_attrs(name="one"))
        own = models(["one"])
        for some in (dataset, changed, plain):
            some.set_models(own)
        assert dataset.stat_sum() == plain.stat_sum()
        np.testing.assert_array_equal(dataset.to_image().npred(), plain.to_image().npred())
        first, second = (identity(gm.Datasets([d]), own, "newton") for d in (dataset, changed))
        assert first["datasets"] != second["datasets"]
