"""The hot loops of the exact response, compiled.

Sums are formed in the order of the loops, without reassociation, so that the bits of a result
depend on nothing but its input. Geometry is in rad, and the tables are per sr.

The convolved source is ``C(r, ψ) = Σ_m C_m(r) cos 2m(ψ - φ)`` of the chord r and the bearing ψ
of a pixel from the source; C_m is a cubic B-spline in ``q = r / (step sqrt(1 + (r / scale)²))``.
A pixel's counts are the integral over a few Gauss-Legendre nodes within it, whose directions
and solid angles follow from the centres of the pixel and its eight neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import j0, j1

__all__ = ["LAT", "LON", "PHI", "SIZE", "at_bins", "even_bessel", "forward", "matmul", "second", "to_spectrum"]

Array = NDArray[np.float64]

LON, LAT, SIZE, PHI = 0, 1, 2, 3  # kinds of parameters


def _compiled(function: Any) -> Any:
    """Compile on first use and keep the machine code beside the module, or in the user's cache."""
    return njit(cache=True, nogil=True, error_model="numpy")(function)


@_compiled
def matmul(a: Array, b: Array) -> Array:
    """Matrix product, summed in the order of the rows of `b`."""
    n, m, k = a.shape[0], b.shape[1], b.shape[0]
    out = np.zeros((n, m))
    for i in range(n):
        for j in range(k):
            x = a[i, j]
            if x != 0.0:
                for l in range(m):
                    out[i, l] += x * b[j, l]
    return out


@_compiled
def _even_orders(x: Array, first: Array, second: Array, out: Array) -> None:
    """Fill J_0, J_2, J_4, … (M, n) from J_0 and J_1, by whichever recurrence is stable."""
    n_m = out.shape[0]
    top = 2 * n_m
    for i in range(len(x)):
        z = x[i]
        out[0, i] = first[i]
        if z > top:
            low, high = first[i], second[i]
            for order in range(1, top - 2):
                low, high = high, 2 * order / z * high - low
                if order % 2 == 1:
                    out[(order + 1) // 2, i] = high
        elif z < 1e-8:
            for m in range(1, n_m):
                out[m, i] = 0.0
        else:
            start = top + 2 * (int(np.sqrt(40.0 * top)) // 2) + 10
            high, low, total = 0.0, 1e-300, 0.0
            for order in range(start, 0, -1):
                # low is J_order, high J_(order + 1), up to a factor
                if order % 2 == 0:
                    total += 2 * low
                    if order // 2 < n_m:
                        out[order // 2, i] = low
                high, low = low, 2 * order / z * low - high
                if abs(low) > 1e200:
                    low *= 1e-250
                    high *= 1e-250
                    total *= 1e-250
                    for m in range(1, n_m):
                        if 2 * m >= order:
                            out[m, i] *= 1e-250
            total += low
            for m in range(1, n_m):
                out[m, i] /= total


def even_bessel(x: Array, n_orders: int) -> Array:
    """Bessel functions J_0, J_2, … of the first kind.

    Parameters
    ----------
    x : array
        Arguments, not negative.
    n_orders : int
        How many even orders.

    Returns
    -------
    values : array of shape (n_orders, ...)
    """
    flat = np.ascontiguousarray(x.ravel())
    out = np.zeros((n_orders, len(flat)))
    if n_orders == 1:
        out[0] = j0(flat)
    else:
        _even_orders(flat, j0(flat), j1(flat), out)
    return out.reshape(n_orders, *x.shape)


@_compiled
def _pixel(vectors: Array, y: int, x: int, out: Array) -> bool:
    """Expand directions in a pixel: c, ∂x, ∂y, ∂xx, ∂xy, ∂yy as rows, then solid angle and its slopes."""
    for i in range(3):
        c, left, right = vectors[y + 1, x + 1, i], vectors[y + 1, x, i], vectors[y + 1, x + 2, i]
        down, up = vectors[y, x + 1, i], vectors[y + 2, x + 1, i]
        out[0, i] = c
        out[1, i] = 0.5 * (right - left)
        out[2, i] = 0.5 * (up - down)
        out[3, i] = right - 2 * c + left
        out[4, i] = 0.25 * (
            vectors[y + 2, x + 2, i] - vectors[y + 2, x, i]
            - vectors[y, x + 2, i] + vectors[y, x, i]
        )  # fmt: skip
        out[5, i] = up - 2 * c + down
    area, by_x, by_y = 0.0, 0.0, 0.0
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        a = out[1, j] * out[2, k] - out[1, k] * out[2, j]
        area += a * a
        by_x += a * (
            out[3, j] * out[2, k] - out[3, k] * out[2, j]
            + out[1, j] * out[4, k] - out[1, k] * out[4, j]
        )  # fmt: skip
        by_y += a * (
            out[4, j] * out[2, k] - out[4, k] * out[2, j]
            + out[1, j] * out[5, k] - out[1, k] * out[5, j]
        )  # fmt: skip
    area = np.sqrt(area)
    out[6, 0] = area
    out[6, 1] = by_x / area
    out[6, 2] = by_y / area
    return area > 0.0


@_compiled
def _spline(q: float, weights: Array) -> int:
    """Weights (value, slope, curvature) of four coefficients of a cubic B-spline; index of the first."""
    cell = int(q)
    u = q - cell
    v = 1.0 - u
    weights[0, 0] = v * v * v / 6
    weights[0, 1] = (3 * u * u * u - 6 * u * u + 4) / 6
    weights[0, 2] = (3 * v * v * v - 6 * v * v + 4) / 6
    weights[0, 3] = u * u * u / 6
    weights[1, 0] = -0.5 * v * v
    weights[1, 1] = 1.5 * u * u - 2 * u
    weights[1, 2] = -1.5 * v * v + 2 * v
    weights[1, 3] = 0.5 * u * u
    weights[2, 0] = v
    weights[2, 1] = 3 * u - 2
    weights[2, 2] = 3 * v - 2
    weights[2, 3] = u
    return cell


@_compiled
def forward(
    vectors: Array, exposure: Any, pattern: Any, place: Any, axes: Array, tables: Array,
    grid: Array, phi: float, nodes: Array, kinds: Any, table_of: Any, flux: Array, sums: Array,
) -> None:
    """Exposure times the convolved source, in pixels that matter, with first derivatives.

    Parameters
    ----------
    vectors : array of shape (lat + 2, lon + 2, 3)
        Directions of the pixel centres, one pixel around them included.
    exposure : array of shape (lat, lon, T)
    pattern : integer array of shape (lat, lon)
        Which set of energies the mask lets through; -1 for none.
    place : integer array of shape (lat, lon)
        Row of `flux`; -1 for none.
    axes : array of shape (3, 3)
        East, north, and direction of the source.
    tables : array of shape (table, M, n + 4, T)
        Coefficients of the splines.
    grid : array (step, scale, number of knots, sine, cosine of the latitude of the source)
    phi : float
        Angle of the major axis.
    nodes : array of shape (node, 3)
        Offsets in pixels and weight of the nodes of a pixel.
    kinds, table_of : integer array of shape (S,)
        Kind of each parameter, and the table of its own derivative; -1 for none.
    flux : array of shape (1 + S, pixel, T)
        Filled.
    sums : array of shape (pattern, 1 + S, T)
        Filled with the sums over the pixels of each pattern.
    """
    n_y, n_x, n_t = exposure.shape
    n_s, n_m = len(kinds), tables.shape[1]
    step, scale, n_cells = grid[0], grid[1], grid[2] + 1
    sin_lat, cos_lat = grid[3], grid[4]
    pixel = np.empty((7, 3))
    b = np.empty((3, 4))
    total = np.empty((1 + n_s, n_t))
    v, vr = np.empty(n_t), np.empty(n_t)
    offset = np.empty(3)
    q_end = n_cells
    saturation = scale / step
    if q_end >= saturation * 0.999999:
        q_end = saturation * 0.999999
    reach = scale * (q_end / saturation) / np.sqrt(1 - (q_end / saturation) ** 2)
    for y in range(n_y):
        for x in range(n_x):
            p, o = pattern[y, x], place[y, x]
            if p < 0 and o < 0:
                continue
            distance, size = 0.0, 0.0
            for i in range(3):
                d = vectors[y + 1, x + 1, i] - axes[2, i]
                distance += d * d
                d = vectors[y + 2, x + 2, i] - vectors[y + 1, x + 1, i]
                size += d * d
            if not np.sqrt(distance) < reach + np.sqrt(size):
                continue
            if not _pixel(vectors, y, x, pixel):
                continue
            total[:] = 0.0
            touched = False
            for node in range(len(nodes)):
                a, c = nodes[node, 0], nodes[node, 1]
                east, north, r2 = 0.0, 0.0, 0.0
                for i in range(3):
                    d = (
                        pixel[0, i] - axes[2, i] + a * pixel[1, i] + c * pixel[2, i]
                        + 0.5 * a * a * pixel[3, i] + a * c * pixel[4, i] + 0.5 * c * c * pixel[5, i]
                    )  # fmt: skip
                    offset[i] = d
                    east += d * axes[0, i]
                    north += d * axes[1, i]
                    r2 += d * d
                r = np.sqrt(r2) + 1e-14
                if not r < reach:
                    continue
                touched = True
                w = nodes[node, 2] * (pixel[6, 0] + a * pixel[6, 1] + c * pixel[6, 2])
                t = 1 / np.sqrt(1 + (r / scale) ** 2)
                cell = _spline(r * t / step, b)
                dq = t * t * t / step
                z = 1 - 0.5 * r2
                r_lon, r_lat = -cos_lat * east / r, -north / r
                rho2 = east * east + north * north + 1e-28
                for m in range(n_m):
                    cosine, sine, psi_lon, psi_lat = 1.0, 0.0, 0.0, 0.0
                    if m > 0:
                        angle = 2 * m * (np.arctan2(east, north) - phi)
                        cosine, sine = np.cos(angle), 2 * m * np.sin(angle)
                        psi_lon = sin_lat - cos_lat * z * north / rho2
                        psi_lat = east * z / rho2
                    k0, k1 = tables[0, m, cell], tables[0, m, cell + 1]
                    k2, k3 = tables[0, m, cell + 2], tables[0, m, cell + 3]
                    b0, b1, b2, b3 = b[0, 0] * w, b[0, 1] * w, b[0, 2] * w, b[0, 3] * w
                    for i in range(n_t):
                        v[i] = b0 * k0[i] + b1 * k1[i] + b2 * k2[i] + b3 * k3[i]
                    own = total[0]
                    for i in range(n_t):
                        own[i] += cosine * v[i]
                    if n_s == 0:
                        continue
                    c0, c1, c2, c3 = b[1, 0] * dq * w, b[1, 1] * dq * w, b[1, 2] * dq * w, b[1, 3] * dq * w
                    for i in range(n_t):
                        vr[i] = c0 * k0[i] + c1 * k1[i] + c2 * k2[i] + c3 * k3[i]
                    for s in range(n_s):
                        own = total[1 + s]
                        by_r, by_v = 0.0, 0.0
                        if kinds[s] == 0:
                            by_r, by_v = cosine * r_lon, -sine * psi_lon
                        elif kinds[s] == 1:
                            by_r, by_v = cosine * r_lat, -sine * psi_lat
                        elif kinds[s] == 3:
                            by_v = sine
                        if kinds[s] < 2:
                            for i in range(n_t):
                                own[i] += by_r * vr[i] + by_v * v[i]
                        elif kinds[s] == 3 and m > 0:
                            for i in range(n_t):
                                own[i] += by_v * v[i]
                        which = table_of[s]
                        if which >= 0:
                            l0, l1 = tables[which, m, cell], tables[which, m, cell + 1]
                            l2, l3 = tables[which, m, cell + 2], tables[which, m, cell + 3]
                            d0, d1, d2, d3 = cosine * b0, cosine * b1, cosine * b2, cosine * b3
                            for i in range(n_t):
                                own[i] += d0 * l0[i] + d1 * l1[i] + d2 * l2[i] + d3 * l3[i]
            if not touched:
                continue
            for s in range(1 + n_s):
                for i in range(n_t):
                    total[s, i] *= exposure[y, x, i]
            if p >= 0:
                for s in range(1 + n_s):
                    for i in range(n_t):
                        sums[p, s, i] += total[s, i]
            if o >= 0:
                for s in range(1 + n_s):
                    for i in range(n_t):
                        flux[s, o, i] = total[s, i]


@_compiled
def second(
    vectors: Array, exposure: Any, pattern: Any, place: Any, axes: Array, tables: Array,
    grid: Array, phi: float, nodes: Array, kinds: Any, table_of: Any, table_of_two: Any,
    weight_of_pattern: Array, weight_of_pixel: Array, out: Array,
) -> None:
    """Second derivatives (S, S) of a weighted sum of exposure times the convolved source.

    Parameters
    ----------
    vectors, exposure, pattern, place, axes, tables, grid, phi, nodes, kinds, table_of
        See `forward`.
    table_of_two : integer array of shape (S, S)
        Tables of the second derivatives; -1 for none.
    weight_of_pattern : array of shape (pattern, T)
        Weight of all pixels of a pattern.
    weight_of_pixel : array of shape (pixel, T)
        Weight, added to that, of the pixels of `place`.
    out : array of shape (S, S)
        Filled.
    """
    n_y, n_x, n_t = exposure.shape
    n_s, n_m = len(kinds), tables.shape[1]
    step, scale, n_cells = grid[0], grid[1], grid[2] + 1
    sin_lat, cos_lat = grid[3], grid[4]
    pixel = np.empty((7, 3))
    b = np.empty((3, 4))
    total = np.empty((n_s, n_s, n_t))
    v, vr, vrr = np.empty(n_t), np.empty(n_t), np.empty(n_t)
    own, own_r = np.zeros((n_s, n_t)), np.zeros((n_s, n_t))
    sums = np.zeros((n_s, n_s, n_t))
    radial, turn = np.zeros(n_s), np.zeros(n_s)
    radial2, turn2 = np.zeros((n_s, n_s)), np.zeros((n_s, n_s))
    q_end = n_cells
    saturation = scale / step
    if q_end >= saturation * 0.999999:
        q_end = saturation * 0.999999
    reach = scale * (q_end / saturation) / np.sqrt(1 - (q_end / saturation) ** 2)
    for y in range(n_y):
        for x in range(n_x):
            p, o = pattern[y, x], place[y, x]
            if p < 0 and o < 0:
                continue
            distance, size = 0.0, 0.0
            for i in range(3):
                d = vectors[y + 1, x + 1, i] - axes[2, i]
                distance += d * d
                d = vectors[y + 2, x + 2, i] - vectors[y + 1, x + 1, i]
                size += d * d
            if not np.sqrt(distance) < reach + np.sqrt(size):
                continue
            if not _pixel(vectors, y, x, pixel):
                continue
            total[:] = 0.0
            for node in range(len(nodes)):
                a, c = nodes[node, 0], nodes[node, 1]
                east, north, r2 = 0.0, 0.0, 0.0
                for i in range(3):
                    d = (
                        pixel[0, i] - axes[2, i] + a * pixel[1, i] + c * pixel[2, i]
                        + 0.5 * a * a * pixel[3, i] + a * c * pixel[4, i] + 0.5 * c * c * pixel[5, i]
                    )  # fmt: skip
                    east += d * axes[0, i]
                    north += d * axes[1, i]
                    r2 += d * d
                r = np.sqrt(r2) + 1e-14
                if not r < reach:
                    continue
                w = nodes[node, 2] * (pixel[6, 0] + a * pixel[6, 1] + c * pixel[6, 2])
                t = 1 / np.sqrt(1 + (r / scale) ** 2)
                cell = _spline(r * t / step, b)
                dq = t * t * t / step
                d2q = -3 * r * t**5 / (scale * scale * step)
                z = 1 - 0.5 * r2
                rho2 = east * east + north * north + 1e-28
                g, dg = z / rho2, (1 + z * z) / (rho2 * rho2)
                r_lon, r_lat = -cos_lat * east / r, -north / r
                r_lon_lon = (-cos_lat * (-cos_lat * z + sin_lat * north) - r_lon * r_lon) / r
                r_lon_lat = (sin_lat * east - r_lon * r_lat) / r
                r_lat_lat = (z - r_lat * r_lat) / r
                psi_lon, psi_lat = sin_lat - cos_lat * north * g, east * g
                psi_lon_lon = cos_lat * east * (sin_lat * g - cos_lat * north * dg)
                psi_lat_lat = east * north * dg
                psi_lon_lat = -cos_lat * z * g + sin_lat * north * g + cos_lat * east * east * dg
                for i in range(n_s):
                    radial[i], turn[i] = 0.0, 0.0
                    if kinds[i] == 0:
                        radial[i], turn[i] = r_lon, psi_lon
                    elif kinds[i] == 1:
                        radial[i], turn[i] = r_lat, psi_lat
                    elif kinds[i] == 3:
                        turn[i] = -1.0
                    for j in range(n_s):
                        radial2[i, j], turn2[i, j] = 0.0, 0.0
                        if kinds[i] < 2 and kinds[j] < 2:
                            both = kinds[i] + kinds[j]
                            if both == 0:
                                radial2[i, j], turn2[i, j] = r_lon_lon, psi_lon_lon
                            elif both == 1:
                                radial2[i, j], turn2[i, j] = r_lon_lat, psi_lon_lat
                            else:
                                radial2[i, j], turn2[i, j] = r_lat_lat, psi_lat_lat
                for m in range(n_m):
                    cosine, sine = 1.0, 0.0
                    if m > 0:
                        angle = 2 * m * (np.arctan2(east, north) - phi)
                        cosine, sine = np.cos(angle), 2 * m * np.sin(angle)
                    square = 4.0 * m * m * cosine
                    for i in range(n_t):
                        k0, k1 = tables[0, m, cell, i], tables[0, m, cell + 1, i]
                        k2, k3 = tables[0, m, cell + 2, i], tables[0, m, cell + 3, i]
                        by_q = b[1, 0] * k0 + b[1, 1] * k1 + b[1, 2] * k2 + b[1, 3] * k3
                        by_qq = b[2, 0] * k0 + b[2, 1] * k1 + b[2, 2] * k2 + b[2, 3] * k3
                        v[i] = w * (b[0, 0] * k0 + b[0, 1] * k1 + b[0, 2] * k2 + b[0, 3] * k3)
                        vr[i] = w * by_q * dq
                        vrr[i] = w * (by_qq * dq * dq + by_q * d2q)
                    for s in range(n_s):
                        which = table_of[s]
                        if which >= 0:
                            for i in range(n_t):
                                k0, k1 = tables[which, m, cell, i], tables[which, m, cell + 1, i]
                                k2, k3 = tables[which, m, cell + 2, i], tables[which, m, cell + 3, i]
                                own[s, i] = w * (b[0, 0] * k0 + b[0, 1] * k1 + b[0, 2] * k2 + b[0, 3] * k3)
                                own_r[s, i] = w * dq * (
                                    b[1, 0] * k0 + b[1, 1] * k1 + b[1, 2] * k2 + b[1, 3] * k3
                                )
                    for s in range(n_s):
                        for u in range(s + 1):
                            rr = cosine * radial[s] * radial[u]
                            by_r = cosine * radial2[s, u] - sine * (
                                turn[s] * radial[u] + turn[u] * radial[s]
                            )
                            by_v = -sine * turn2[s, u] - square * turn[s] * turn[u]
                            for i in range(n_t):
                                total[s, u, i] += rr * vrr[i] + by_r * vr[i] + by_v * v[i]
                            if table_of[s] >= 0:
                                e0, e1 = cosine * radial[u], -sine * turn[u]
                                for i in range(n_t):
                                    total[s, u, i] += e0 * own_r[s, i] + e1 * own[s, i]
                            if table_of[u] >= 0:
                                e0, e1 = cosine * radial[s], -sine * turn[s]
                                for i in range(n_t):
                                    total[s, u, i] += e0 * own_r[u, i] + e1 * own[u, i]
                            which = table_of_two[s, u]
                            if which >= 0:
                                for i in range(n_t):
                                    k0, k1 = tables[which, m, cell, i], tables[which, m, cell + 1, i]
                                    k2, k3 = tables[which, m, cell + 2, i], tables[which, m, cell + 3, i]
                                    total[s, u, i] += cosine * w * (
                                        b[0, 0] * k0 + b[0, 1] * k1 + b[0, 2] * k2 + b[0, 3] * k3
                                    )
            for i in range(n_t):
                weight = 0.0
                if p >= 0:
                    weight += weight_of_pattern[p, i]
                if o >= 0:
                    weight += weight_of_pixel[o, i]
                v[i] = weight * exposure[y, x, i]
            for s in range(n_s):
                for u in range(s + 1):
                    for i in range(n_t):
                        sums[s, u, i] += v[i] * total[s, u, i]
    for s in range(n_s):
        for u in range(s + 1):
            whole = 0.0
            for i in range(n_t):
                whole += sums[s, u, i]
            out[s, u] = whole
            out[u, s] = whole


@_compiled
def at_bins(flux: Array, folded: Array, pixel: Any, r: Any, out: Array) -> None:
    """Add ``Σ_t folded[r_k, t] flux[p_k, t]`` to each bin k."""
    n_t = flux.shape[1]
    for k in range(len(r)):
        f, e = flux[pixel[k]], folded[r[k]]
        a0, a1, a2, a3 = 0.0, 0.0, 0.0, 0.0
        i = 0
        while i + 4 <= n_t:
            a0 += f[i] * e[i]
            a1 += f[i + 1] * e[i + 1]
            a2 += f[i + 2] * e[i + 2]
            a3 += f[i + 3] * e[i + 3]
            i += 4
        while i < n_t:
            a0 += f[i] * e[i]
            i += 1
        out[k] += (a0 + a1) + (a2 + a3)


@_compiled
def to_spectrum(flux: Array, edisp: Array, pixel: Any, r: Any, w: Array, out: Array) -> None:
    """Add ``Σ_k w_k edisp[r_k, t] flux[p_k, t]`` to each true energy t."""
    n_t = flux.shape[1]
    for k in range(len(r)):
        x = w[k]
        f, e = flux[pixel[k]], edisp[r[k]]
        for i in range(n_t):
            out[i] += x * e[i] * f[i]
