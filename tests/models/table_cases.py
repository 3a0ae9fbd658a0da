"""Interpolation in tables by Gammapy's rule, in mpmath."""

from itertools import product

import mpmath as mp
import numpy as np

from gmdask.models import SkyMap

SCALES = {"log": mp.log, "lin": mp.mpf, "sqrt": mp.sqrt}


def cell(axis, x):
    """Lower pixel of an axis, and the place between it and the next: its last cells go on."""
    scale = SCALES[axis.interp]
    is_edges = axis.node_type == "edges"
    k = int(np.clip(sum(node <= x for node in axis.nodes) - 1, 0, len(axis.nodes) - 2))
    low, high = scale(mp.mpf(axis.nodes[k])), scale(mp.mpf(axis.nodes[k + 1]))
    pix = k + (scale(mp.mpf(x)) - low) / (high - low) - (mp.mpf(1) / 2 if is_edges else 0)
    first = int(np.clip(int(mp.floor(pix)), 0, axis.nbin - 2))
    return first, pix - first


def log_table(axes, data, at):
    """Value of a table at coordinates, multilinear in its logarithm."""
    cells = [cell(axis, x) for axis, x in zip(axes, at, strict=True)]
    return log_cells(cells, data)


def log_cells(cells, data):
    """Value of a table at cells and places in them."""
    total = mp.mpf(0)
    for corner in product((0, 1), repeat=len(cells)):
        weight, index = mp.mpf(1), []
        for side, (low, share) in zip(corner, cells, strict=True):
            weight *= share if side else 1 - share
            index.append(low + side)
        total += weight * mp.log(mp.mpf(float(data[tuple(index)])))
    return mp.exp(total)


def interpolated(x, nodes, values, interp):
    """Value between nodes, the ends held."""
    scale, inverse = (mp.log, mp.exp) if interp == "log" else (mp.mpf, mp.mpf)
    x, nodes, values = scale(x), list(map(scale, nodes)), list(map(scale, values))
    k = min(max(sum(node <= x for node in nodes) - 1, 0), len(nodes) - 2)
    share = min(max((x - nodes[k]) / (nodes[k + 1] - nodes[k]), 0), 1)
    return inverse(values[k] * (1 - share) + values[k + 1] * share)


def sky_map(rng, axes=()):
    """Map of 12 x 10 pixels around (0, 0), where pixels are known without a projection."""
    header = {
        "NAXIS": 2, "CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRVAL1": 0.0, "CRVAL2": 0.0,
        "CRPIX1": 6.5, "CRPIX2": 5.5, "CDELT1": -0.125, "CDELT2": 0.125, "CUNIT1": "deg",
        "CUNIT2": "deg", "RADESYS": "ICRS",
    }  # fmt: skip
    shape = (*(axis.nbin for axis in reversed(axes)), 10, 12)
    return SkyMap(rng.uniform(0.1, 2, shape), header, list(axes), "sr-1")


def pixel(lon, lat):
    """Cell of a position on such a map."""
    cells = []
    for x, size in ((4.5 + mp.mpf(lat) * 8, 10), (5.5 - mp.mpf(lon) * 8, 12)):
        low = int(np.clip(int(mp.floor(x)), 0, size - 2))
        cells.append((low, x - low))
    return cells
