"""Matrix products that are summed in a fixed order, with the same bits on every processor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled
from gmdask.vectors import dot

__all__ = ["dots", "gram", "matmul", "times"]

Array = NDArray[np.float64]

FEW = 4  # with fewer columns than this, sums along rows are faster than sums along columns


@compiled
def matmul(a: Array, b: Array) -> Array:
    """Matrix product, summed in the order of the rows of `b`, four at a time.

    Four rows of the product are computed at once, so that `b` is read a quarter as often.
    """
    n, m, k = a.shape[0], b.shape[1], b.shape[0]
    out, whole = np.zeros((n, m)), k - k % 4
    for i in range(0, n - 3, 4):
        for j in range(0, whole, 4):
            p0, p1, p2, p3 = a[i, j], a[i, j + 1], a[i, j + 2], a[i, j + 3]
            q0, q1, q2, q3 = a[i + 1, j], a[i + 1, j + 1], a[i + 1, j + 2], a[i + 1, j + 3]
            r0, r1, r2, r3 = a[i + 2, j], a[i + 2, j + 1], a[i + 2, j + 2], a[i + 2, j + 3]
            s0, s1, s2, s3 = a[i + 3, j], a[i + 3, j + 1], a[i + 3, j + 2], a[i + 3, j + 3]
            for column in range(m):
                w, x = b[j, column], b[j + 1, column]
                y, z = b[j + 2, column], b[j + 3, column]
                out[i, column] += (p0 * w + p1 * x) + (p2 * y + p3 * z)
                out[i + 1, column] += (q0 * w + q1 * x) + (q2 * y + q3 * z)
                out[i + 2, column] += (r0 * w + r1 * x) + (r2 * y + r3 * z)
                out[i + 3, column] += (s0 * w + s1 * x) + (s2 * y + s3 * z)
    for i in range(n - n % 4, n):
        for j in range(0, whole, 4):
            w, x, y, z = a[i, j], a[i, j + 1], a[i, j + 2], a[i, j + 3]
            for column in range(m):
                out[i, column] += (w * b[j, column] + x * b[j + 1, column]) + (
                    y * b[j + 2, column] + z * b[j + 3, column]
                )
    for i in range(n):
        for j in range(whole, k):
            for column in range(m):
                out[i, column] += a[i, j] * b[j, column]
    return out


@compiled
def dots(a: Array, b: Array) -> Array:
    """Products (n, m) of the rows of two contiguous matrices (n, k) and (m, k)."""
    n, m, k = a.shape[0], b.shape[0], a.shape[1]
    out = np.empty((n, m))
    for i in range(n):
        for j in range(m):
            out[i, j] = dot(a, i * k, b, j * k, k)
    return out


@compiled
def gram(a: Array, weights: Array) -> Array:
    """Sum (n, n) of ``weights[k] a[:, k] a[:, k]ᵀ`` over the columns of a (n, k)."""
    n, k = a.shape
    out, block = np.zeros((n, n)), np.empty((64, n))
    for start in range(0, k, 64):
        size = min(64, k - start)
        for i in range(n):
            for j in range(size):
                block[j, i] = a[i, start + j]
        block[size:] = 0.0
        for i in range(n):
            for j in range(0, size, 4):
                w = weights[start + j] * block[j, i]
                x = weights[start + j + 1] * block[j + 1, i] if j + 1 < size else 0.0
                y = weights[start + j + 2] * block[j + 2, i] if j + 2 < size else 0.0
                z = weights[start + j + 3] * block[j + 3, i] if j + 3 < size else 0.0
                for column in range(i + 1):
                    out[i, column] += (w * block[j, column] + x * block[j + 1, column]) + (
                        y * block[j + 2, column] + z * block[j + 3, column]
                    )
    for i in range(n):
        for j in range(i):
            out[j, i] = out[i, j]
    return out


def times(a: Array, b: Array) -> Array:
    """Sum products over the last axis of `a` and the first of `b`: ``a @ b`` if `b` has at most two axes."""
    if a.ndim > 2 or b.ndim > 2:
        shape, n = a.shape[:-1] + b.shape[1:], len(b)
        if not n:
            return np.zeros(shape)
        return times(a.reshape(-1, n), b.reshape(n, -1)).reshape(shape)
    left = np.ascontiguousarray(a if a.ndim == 2 else a[None], dtype=np.float64)
    if b.ndim == 1 or b.shape[1] < FEW:
        columns = b[None] if b.ndim == 1 else b.T
        found = dots(left, np.ascontiguousarray(columns, dtype=np.float64))
    else:
        found = matmul(left, np.ascontiguousarray(b, dtype=np.float64))
    result: Array = found.reshape(a.shape[:-1] + b.shape[1:])
    return result
