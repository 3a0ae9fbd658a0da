"""Elimination of local parameters against the full dense Hessian."""

import numpy as np
import pytest

from gmdask.likelihood.arrow_hessian import eliminate, local_block, local_covariance
from gmdask.likelihood.dataset_likelihood import CompiledDataset
from gmdask.likelihood.work_unit import DatasetSpec, GroupSpec, Point, compile_group, evaluate_group
from gmdask.models import DatasetModels, Models
from tests.likelihood import cubes
from tests.likelihood.sources import background, free_of, gauss, locals_of, point

N_SHARED = 4


def random_datasets(seed, n_locals):
    """Hessians and gradients of datasets, and the same put together: shared first."""
    rng = np.random.default_rng(seed)
    total = N_SHARED + sum(n_locals)
    hessian, gradient, parts, start = np.zeros((total, total)), np.zeros(total), [], N_SHARED
    for n in n_locals:
        size = N_SHARED + n
        root = rng.normal(size=(size, size + 3)) * 10.0 ** rng.uniform(-2, 2, (size, 1))
        own, slope = root @ root.T, rng.normal(size=size)
        order = rng.permutation(size)  # local ones anywhere among them
        local = np.isin(order, np.arange(N_SHARED, size))
        places = np.where(order < N_SHARED, order, order - N_SHARED + start)
        own, slope = own[np.ix_(order, order)], slope[order]
        hessian[np.ix_(places, places)] += own
        gradient[places] += slope
        parts.append((own, slope, local, places))
        start += n
    return hessian, gradient, parts


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("held", [False, True])
def test_against_the_inverse_of_the_whole(seed, held):
    n_locals = [2, 1, 0, 3]
    hessian, gradient, parts = random_datasets(seed, n_locals)
    moving = np.ones(len(gradient), dtype=bool)
    schur, slope, blocks = np.zeros((N_SHARED, N_SHARED)), np.zeros(N_SHARED), []
    for own, first, local, places in parts:
        active = np.ones(len(first), dtype=bool)
        if held and local.any():
            active[np.flatnonzero(local)[0]] = False
            moving[places[~active]] = False
        block = local_block(own, local, active)
        part_gradient, part = eliminate(first, own, local, block)
        shared = places[~local]
        schur[np.ix_(shared, shared)] += part
        slope[shared] += part_gradient
        blocks.append((block, places[local], shared))
    inverse = np.zeros_like(hessian)
    inverse[np.ix_(moving, moving)] = np.linalg.inv(hessian[np.ix_(moving, moving)])
    covariance, full = 2 * np.linalg.inv(schur), 2 * inverse

    def close(a, b, rows, columns):
        scale = np.sqrt(np.outer(np.diag(full)[rows], np.diag(full)[columns])) + 1e-300
        assert np.abs((a - b) / scale).max(initial=0) < 1e-8

    every = np.arange(N_SHARED)
    close(covariance, full[:N_SHARED, :N_SHARED], every, every)
    step = -inverse @ gradient
    np.testing.assert_allclose(-np.linalg.solve(schur, slope), step[:N_SHARED], rtol=1e-7)
    for block, own_places, shared in blocks:
        to_shared = covariance[np.ix_(shared, shared)]
        close(
            local_covariance(block, to_shared),
            full[np.ix_(own_places, own_places)],
            own_places,
            own_places,
        )
        close(-block.slope @ to_shared, full[np.ix_(own_places, shared)], own_places, shared)


def test_no_local_parameters_and_all_held():
    hessian, gradient = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, -1.0])
    nothing = np.zeros(2, dtype=bool)
    block = local_block(hessian, nothing, ~nothing)
    first, second = eliminate(gradient, hessian, nothing, block)
    np.testing.assert_array_equal(first, gradient)
    np.testing.assert_array_equal(second, hessian)
    local = np.array([False, True])
    block = local_block(hessian, local, np.array([True, False]))
    first, second = eliminate(gradient, hessian, local, block)
    assert (first.tolist(), second.tolist()) == ([1.0], [[2.0]])
    assert local_covariance(block, np.eye(1)).tolist() == [[0.0]]


def spec(name, models, together, shared_names, cube):
    local = locals_of(models)
    free = free_of(models)
    names = np.array(models.parameters.names)[free & ~local]
    shared = np.array([shared_names.index(n) for n in names])
    components = tuple(together.names.index(n) for n in models.names)
    return DatasetSpec(name, cube, components, free, local & free, shared)


def test_a_group_is_the_sum_of_its_datasets():
    """Two cubes, one with a second source: against the full Hessian of all parameters."""
    data = {
        n: cubes.make_cube(n, seed=k, psf=p)
        for k, (n, p) in enumerate((("a", "true"), ("b", "reco")))
    }
    models = {
        "a": DatasetModels([point(), background(dataset="a")]),
        "b": DatasetModels([point(), gauss(), background(dataset="b", norm=0.9)]),
    }
    shared_names = []
    for own in models.values():
        keep = free_of(own) & ~locals_of(own)
        shared_names += [n for n in np.array(own.parameters.names)[keep] if n not in shared_names]
    together = Models([*models["b"][:2], models["a"][1], models["b"][2]])
    specs = [spec(n, models[n], together, shared_names, data[n]) for n in data]
    values = np.concatenate([m.parameters.value for m in models.values()])
    plain = together.to_dict()
    (result,) = evaluate_group(compile_group(GroupSpec(plain, [specs])), Point(values, None, 2))
    alone = GroupSpec(plain, [[s] for s in specs])
    apart = evaluate_group(compile_group(alone), Point(values, None, 2))
    assert result.stats.tolist() == [r.stats[0] for r in apart]
    assert result.shared.tolist() == list(range(len(shared_names)))

    names = [*shared_names, *(f"{n}-bkg.spectral.{p}" for n in data for p in ("tilt", "norm"))]
    hessian, gradient = np.zeros((len(names), len(names))), np.zeros(len(names))
    at = np.split(result.values, [len(models["a"].parameters)])
    for (name, own), x in zip(models.items(), at, strict=True):
        evaluation = CompiledDataset(data[name], own).evaluate(x, order=2)
        place = [names.index(n) for n in np.array(own.parameters.names)[free_of(own)]]
        hessian[np.ix_(place, place)] += evaluation.observed
        gradient[place] += evaluation.gradient
    full = 2 * np.linalg.inv(hessian)
    sigma = np.sqrt(np.diag(full))
    n = len(shared_names)
    covariance = 2 * np.linalg.inv(result.observed)
    unit = np.outer(sigma, sigma)
    assert np.abs((covariance - full[:n, :n]) / unit[:n, :n]).max() < 1e-8
    assert np.abs((gradient[:n] - result.gradient) * sigma[:n]).max() < 1e-5
    for k, (block, shared) in enumerate(zip(result.blocks, result.block_shared, strict=True)):
        own = slice(n + 2 * k, n + 2 * k + 2)
        found = local_covariance(block, covariance[np.ix_(shared, shared)])
        assert np.abs((found - full[own, own]) / unit[own, own]).max() < 1e-8
