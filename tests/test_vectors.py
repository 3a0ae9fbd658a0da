"""Operations on eight numbers at a time, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gmdask.compiling import compiled
from gmdask.vectors import add_multiple, dot, set_multiple


@compiled
def _all(a, i, b, j, n, added, changed):
    add_multiple(0.3, a, i, added, j, n)
    set_multiple(-1.7, a, i, changed, j, n)
    return dot(a, i, b, j, n)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 24, 37])
def test_parts_of_flat_arrays(n):
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal((4, 3, 5)), rng.standard_normal((6, 11))
    added, changed = rng.standard_normal(66), rng.standard_normal(66)
    flat, to = a.ravel()[3 : 3 + n], slice(11, 11 + n)
    expected, other = added.copy(), changed.copy()
    expected[to] += 0.3 * flat
    other[to] = -1.7 * flat
    found = _all(a, 3, b, 11, n, added, changed)
    np.testing.assert_allclose(found, flat @ b.ravel()[to], rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(added, expected)  # products are not fused with sums
    np.testing.assert_array_equal(changed, other)


def test_contiguous_arrays_of_float64_alone():
    a = np.zeros(9)
    for wrong in (np.zeros(9, dtype=np.float32), np.zeros(18)[::2]):
        with pytest.raises(Exception, match="expected a contiguous array of float64"):
            _all(wrong, 0, a, 0, 1, a, a)
