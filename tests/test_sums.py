"""Products of matrices and the algebra of symmetric ones, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gmdask.sums import gram, times
from gmdask.symmetric import cholesky, eigh, pseudo_inverse, solve_factored

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("a", "b"),
    [((7,), (7,)), ((3, 9), (9,)), ((9,), (9, 5)), ((4, 9), (9, 2)), ((4, 9), (9, 6)),
     ((2, 3, 9), (9,)), ((2, 3, 9), (9, 6)), ((3, 5), (5, 2, 4)), ((5,), (5, 2, 4)),
     ((0, 9), (9,)), ((3, 0), (0, 6)), ((0,), (0,)), ((2, 0, 9), (9, 2))],
)  # fmt: skip
def test_times(a, b):
    x, y = RNG.standard_normal(a), RNG.standard_normal(b)
    found = times(x, y)
    np.testing.assert_allclose(found, np.tensordot(x, y, axes=1), rtol=1e-13, atol=1e-14)
    assert found.shape == np.tensordot(x, y, axes=1).shape
    assert times(np.asfortranarray(x), np.asfortranarray(y)).tobytes() == found.tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (3, 0), (0, 4), (2, 66), (12, 64), (9, 131)])
def test_gram(shape):
    a, weights = RNG.standard_normal(shape), RNG.standard_normal(shape[1])
    found = gram(a, weights)
    np.testing.assert_allclose(found, (a * weights) @ a.T, rtol=1e-12, atol=1e-13)
    assert (found == found.T).all()


def symmetric(n: int, kind: str) -> np.ndarray:
    """A symmetric matrix of a kind."""
    a = RNG.standard_normal((n, n))
    if kind == "steep":
        a = a * 10.0 ** RNG.uniform(-8, 8, n)
        return a @ a.T
    if kind == "singular":
        half = a[:, : n // 2]
        return half @ half.T
    return np.diag(np.arange(n) % 2.0) if kind == "diagonal" else a + a.T


@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 41])
@pytest.mark.parametrize("kind", ["indefinite", "steep", "singular", "diagonal"])
def test_eigh(n, kind):
    matrix = symmetric(n, kind)
    values, vectors = eigh(matrix)
    size = np.abs(matrix).max(initial=1e-300)
    tolerance = 1e-14 * size * max(n, 1)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=0, atol=tolerance)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, rtol=0, atol=tolerance)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), rtol=0, atol=1e-14 * max(n, 1))


def test_what_is_not_finite():
    with pytest.raises(np.linalg.LinAlgError):
        eigh(np.array([[1.0, np.nan], [np.nan, 1.0]]))
    assert cholesky(np.array([[1.0, 0.0], [0.0, np.nan]])) is None


def test_cholesky():
    matrix = symmetric(12, "indefinite")
    assert cholesky(matrix) is None
    assert cholesky(np.zeros((2, 2))) is None
    positive = matrix @ matrix
    factor = cholesky(positive)
    assert factor is not None
    np.testing.assert_allclose(factor, np.linalg.cholesky(positive), rtol=1e-9, atol=1e-12)
    right = RNG.standard_normal(12)
    np.testing.assert_allclose(
        solve_factored(factor, right), np.linalg.solve(positive, right), rtol=1e-7
    )


def test_pseudo_inverse():
    matrix = symmetric(10, "singular")
    np.testing.assert_allclose(
        pseudo_inverse(matrix, 1e-10), np.linalg.pinv(matrix, 1e-10, hermitian=True), rtol=1e-8
    )


@pytest.mark.parametrize(
    ("a", "b"), [((0,), (0, 3, 4)), ((2, 0), (0, 3, 4)), ((0,), (0, 4)), ((3, 2), (2, 0, 4))]
)
def test_sums_of_nothing(a, b):
    result = times(np.zeros(a), np.zeros(b))
    np.testing.assert_array_equal(result, np.zeros(a[:-1] + b[1:]))
