"""Cubic interpolation between scattered nodes in mpmath (Clough & Tocher, Alfeld, Farin).

Slopes at the nodes make the integral of the squared second derivative along all edges smallest.
On each triangle of the Delaunay triangulation the cubic is made of three, with a slope across each
edge that is linear along it, in the direction of the centre of the neighbour.
"""

import mpmath as mp
import numpy as np
from scipy.spatial import Delaunay


class CloughTocher:
    """Interpolation between nodes [K, 2]; values are given when it is called."""

    def __init__(self, nodes):
        self._triangles = Delaunay(np.array(nodes, dtype=float))
        self._nodes = [tuple(map(mp.mpf, node)) for node in nodes]
        n = len(self._nodes)
        # smallest sum over edges of 4 (a² + a b + b²) / L, with a, b the slopes less Δ / L
        matrix, right = mp.zeros(2 * n), mp.zeros(2 * n, n)
        start, around = self._triangles.vertex_neighbor_vertices
        for i in range(n):
            for j in around[start[i] : start[i + 1]].tolist():
                edge = [q - p for p, q in zip(self._nodes[i], self._nodes[j], strict=True)]
                cube = mp.hypot(*edge) ** 3
                for a in range(2):
                    for b in range(2):
                        matrix[2 * i + a, 2 * i + b] += 4 * edge[a] * edge[b] / cube
                        matrix[2 * i + a, 2 * j + b] += 2 * edge[a] * edge[b] / cube
                    right[2 * i + a, j] += 6 * edge[a] / cube
                    right[2 * i + a, i] -= 6 * edge[a] / cube
        self._values, self._slopes, self._found = [], [], {}
        self._slopes_of = matrix**-1 * right

    def _barycentric(self, corners, x, y):
        (x1, y1), (x2, y2), (x3, y3) = (self._nodes[k] for k in corners)
        area = (x2 - x1) * (y3 - y1) - (x3 - x1) * (y2 - y1)
        first = ((x2 - x) * (y3 - y) - (x3 - x) * (y2 - y)) / area
        second = ((x3 - x) * (y1 - y) - (x1 - x) * (y3 - y)) / area
        return [first, second, 1 - first - second]

    def __call__(self, lon, lat, *values):
        """Value at a position, NaN outside the hull."""
        if self._values != list(values):
            self._values = list(map(mp.mpf, values))
            found = self._slopes_of * mp.matrix(self._values)
            self._slopes = [(found[2 * i], found[2 * i + 1]) for i in range(len(values))]
        triangle = self._found.get((lon, lat))
        if triangle is None:
            triangle = int(self._triangles.find_simplex([[lon, lat]])[0])
            self._found[lon, lat] = triangle
        if triangle < 0:
            return mp.nan
        corners = self._triangles.simplices[triangle].tolist()
        at = self._barycentric(corners, mp.mpf(lon), mp.mpf(lat))
        ordinates = self._ordinates(triangle, corners)
        small = at.index(min(at))  # which of the three parts
        inner = [b - at[small] for b in at] + [3 * at[small]]
        total = mp.mpf(0)
        for power, ordinate in ordinates.items():
            weight = mp.factorial(3)
            for b, n in zip(inner, power, strict=True):
                weight *= b**n / mp.factorial(n)
            total += weight * ordinate
        return total

    def _ordinates(self, triangle, corners):
        """Bézier ordinates, by the powers of the three corners and of the centre."""

        def power(*indices):
            return tuple(indices.count(k) for k in range(4))

        points = [self._nodes[k] for k in corners]
        points.append(tuple(sum(p[a] for p in points) / 3 for a in range(2)))
        c = {}
        for k, corner in enumerate(corners):
            c[power(k, k, k)] = value = self._values[corner]
            for m in {0, 1, 2, 3} - {k}:
                edge = [q - p for p, q in zip(points[k], points[m], strict=True)]
                rise = sum(s * e for s, e in zip(self._slopes[corner], edge, strict=True))
                c[power(k, k, m)] = value + rise / 3
        for k in range(3):  # across the edge opposite to corner k, from i to j
            i, j = (k + 1) % 3, (k + 2) % 3
            other = int(self._triangles.neighbors[triangle, k])
            along = -mp.mpf(1) / 2
            if other >= 0:
                far = self._triangles.simplices[other].tolist()
                middle = [sum(self._nodes[v][a] for v in far) / 3 for a in range(2)]
                b = self._barycentric(corners, *middle)
                along = (2 * b[j] + b[i] - 1) / (2 - 3 * b[j] - 3 * b[i])
            ends = [c[power(i, i, i)], c[power(i, i, j)], c[power(i, j, j)], c[power(j, j, j)]]
            bend = -ends[0] + 3 * ends[1] - 3 * ends[2] + ends[3]
            sides = c[power(i, i, 3)] + c[power(j, j, 3)]
            c[power(i, j, 3)] = (along * bend - ends[0] + 2 * ends[1] - ends[2] + sides) / 2
        for k in range(3):
            parts = [c[power(k, m, 3)] for m in range(3)]
            c[power(k, 3, 3)] = sum(parts) / 3
        c[power(3, 3, 3)] = sum(c[power(k, 3, 3)] for k in range(3)) / 3
        return c
