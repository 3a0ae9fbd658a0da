"""Cholesky factors, eigenvalues and inverses of symmetric matrices, with the same bits on every processor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gmdask.compiling import compiled
from gmdask.sums import times

__all__ = ["cholesky", "eigh", "from_eigen", "pseudo_inverse", "solve_factored"]

Array = NDArray[np.float64]

MAX_TURNS = 60  # QL steps per eigenvalue; two or three are usual


@compiled
def _factor(matrix: Array, out: Array) -> bool:
    """Fill the Cholesky factor; return False if the matrix is not positive definite."""
    n = len(matrix)
    out[:] = matrix
    column = np.empty(n)
    for k in range(n):
        if not out[k, k] > 0.0:
            return False
        root = np.sqrt(out[k, k])
        out[k, k] = root
        for i in range(k + 1, n):
            out[i, k] /= root
            column[i] = out[i, k]
        for i in range(k + 1, n):
            out[k, i] = 0.0
            factor, row, others = column[i], out[i, k + 1 : i + 1], column[k + 1 : i + 1]
            for j in range(len(row)):
                row[j] -= factor * others[j]
    return True


@compiled
def _substitute(factor: Array, x: Array) -> None:
    """Solve ``L Lᵀ x = b`` in place."""
    n = len(x)
    for i in range(n):
        for k in range(i):
            x[i] -= factor[i, k] * x[k]
        x[i] /= factor[i, i]
    for i in range(n - 1, -1, -1):
        x[i] /= factor[i, i]
        for k in range(i):
            x[k] -= factor[i, k] * x[i]


@compiled
def _mirror(a: Array, k: int, v: Array) -> float:
    """Vector v of the Householder reflection ``1 - beta v vᵀ`` that clears column k; returns beta."""
    square = 0.0
    for i in range(k + 1, len(a)):
        v[i] = a[i, k]
        square += v[i] * v[i]
    below = square - v[k + 1] * v[k + 1]
    if below <= 0.0:
        return 0.0
    target = -np.sqrt(square) if v[k + 1] > 0 else np.sqrt(square)
    v[k + 1] -= target
    a[k + 1, k] = target
    return float(2.0 / (below + v[k + 1] * v[k + 1]))


@compiled
def _combine(v: Array, rows: Array, start: int, out: Array) -> None:
    """Fill `out` with ``Σ_i v[i] rows[i]``, from row `start` on."""
    out[:] = 0.0
    for i in range(start, len(rows)):
        for j in range(rows.shape[1]):
            out[j] += v[i] * rows[i, j]


@compiled
def _subtract(v: Array, w: Array, rows: Array, start: int) -> None:
    """Subtract ``v[i] w`` from each row i, from row and column `start` on."""
    for i in range(start, len(rows)):
        row, factor, rest = rows[i, start:], v[i], w[start:]
        for j in range(len(row)):
            row[j] -= factor * rest[j]


@compiled
def _reflect(a: Array, turned: Array, diagonal: Array, beside: Array) -> None:
    """Reduce a matrix to tridiagonal form by Householder reflections, accumulated in the rows of `turned`."""
    n = len(a)
    v, w = np.zeros(n), np.zeros(n)
    for k in range(n - 2):
        beta = _mirror(a, k, v)
        if beta == 0.0:
            continue
        _combine(v, a, k + 1, w)  # by rows, since the matrix is symmetric
        along = 0.0
        for i in range(k + 1, n):
            w[i] *= beta
            along += w[i] * v[i]
        for i in range(k + 1, n):
            w[i] -= 0.5 * beta * along * v[i]
        _subtract(v, w, a, k + 1)
        _subtract(w, v, a, k + 1)
        _combine(v, turned, k + 1, w)
        w *= beta
        for i in range(k + 1, n):
            for j in range(n):
                turned[i, j] -= v[i] * w[j]
    for k in range(n):
        diagonal[k] = a[k, k]
        if k < n - 1:
            beside[k] = a[k + 1, k]


@compiled
def _turn(diagonal: Array, beside: Array, low: int, high: int, turned: Array) -> None:
    """One implicit QL step with Wilkinson's shift on the rows `low` to `high` of a tridiagonal matrix."""
    half = (diagonal[low + 1] - diagonal[low]) / 2
    root = np.sqrt(half * half + beside[low] * beside[low])
    shift = diagonal[low] - beside[low] * beside[low] / (half + (root if half >= 0 else -root))
    x, bulge = diagonal[high] - shift, beside[high - 1]
    for i in range(high - 1, low - 1, -1):
        size = np.sqrt(x * x + bulge * bulge)
        c, s = (x / size, bulge / size) if size > 0 else (1.0, 0.0)
        if i < high - 1:
            beside[i + 1] = size
        a, b, d = diagonal[i], beside[i], diagonal[i + 1]
        diagonal[i + 1] = c * c * d + 2 * c * s * b + s * s * a
        diagonal[i] = s * s * d - 2 * c * s * b + c * c * a
        beside[i] = (c * c - s * s) * b + c * s * (a - d)
        x = beside[i]
        if i > low:
            bulge = s * beside[i - 1]
            beside[i - 1] *= c
        for k in range(turned.shape[1]):
            above, below = turned[i, k], turned[i + 1, k]
            turned[i + 1, k] = c * below + s * above
            turned[i, k] = c * above - s * below


@compiled
def _diagonalise(diagonal: Array, beside: Array, turned: Array) -> bool:
    """Diagonalise a tridiagonal matrix; return False if the iteration does not converge."""
    n, tiny = len(diagonal), 2.0**-53
    for low in range(n):
        for _ in range(MAX_TURNS):
            high = low
            while high < n - 1:
                around = abs(diagonal[high]) + abs(diagonal[high + 1])
                if abs(beside[high]) <= tiny * around:
                    beside[high] = 0.0
                    break
                high += 1
            if high == low:
                break
            _turn(diagonal, beside, low, high, turned)
        else:
            return False
    return True


def cholesky(matrix: Array) -> Array | None:
    """Lower triangle L of ``L Lᵀ``; None if the matrix is not positive definite.

    Parameters
    ----------
    matrix : array of shape (n, n)
        Symmetric; the lower triangle is read.
    """
    out = np.empty(matrix.shape)
    return out if _factor(np.ascontiguousarray(matrix), out) else None


def solve_factored(factor: Array, right: Array) -> Array:
    """Solve ``L Lᵀ x = right``, of shape (n,)."""
    x = np.array(right, dtype=np.float64)
    _substitute(factor, x)
    return x


def eigh(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues in ascending order, and eigenvectors in the columns.

    Parameters
    ----------
    matrix : array of shape (n, n)
        Symmetric.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is not finite.
    """
    n = len(matrix)
    scale = float(np.abs(matrix).max(initial=0.0))
    turned, diagonal, beside = np.eye(n), np.zeros(n), np.zeros(max(n - 1, 0))
    if scale == 0.0:
        return diagonal, turned
    if not np.isfinite(scale):
        msg = "the matrix is not finite"
        raise np.linalg.LinAlgError(msg)
    _reflect(np.array(matrix / scale, order="C"), turned, diagonal, beside)
    if not _diagonalise(diagonal, beside, turned):
        msg = "the eigenvalue iteration did not converge"
        raise np.linalg.LinAlgError(msg)
    order = np.argsort(diagonal, kind="stable")
    return diagonal[order] * scale, np.ascontiguousarray(turned[order].T)


def from_eigen(values: Array, vectors: Array) -> Array:
    """Matrix ``V diag(values) Vᵀ``."""
    return times(vectors * values, vectors.T)


def pseudo_inverse(matrix: Array, flat: float = 1e-15) -> Array:
    """Inverse of a symmetric matrix, without the directions along which it is flat.

    Parameters
    ----------
    matrix : array of shape (n, n)
    flat : float
        Eigenvalues below this fraction of the largest count as zero.
    """
    values, vectors = eigh(matrix)
    usable = np.abs(values) > flat * np.abs(values).max(initial=0.0)
    return from_eigen(1 / values[usable], vectors[:, usable])
