"""Fourier transforms of source shapes in the plane of chords, with derivatives with respect to their sizes.

Circular profiles are functions of ``κ = k · size``; an elongated one is the same function of
``k · sqrt(a² cos² φ + b² sin² φ)`` with its semi-axes a and b, expanded in ``cos 2mφ`` of the
angle φ to the major axis.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import gamma, j0, j1

from gmdask.likelihood.exact.radial import DEG, chord
from gmdask.models import (
    DiskSpatialModel,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    PointSpatialModel,
    Shell2SpatialModel,
    ShellSpatialModel,
    SpatialModel,
)
from gmdask.sums import matmul

__all__ = ["Extent", "Transform", "extent_of", "has_transform", "size_names", "transform_of"]

Array = NDArray[np.float64]
Profile = Callable[[Array], tuple[Array, Array, Array]]

SUPPORTED = (
    PointSpatialModel, GaussianSpatialModel, DiskSpatialModel, ShellSpatialModel,
    Shell2SpatialModel, GeneralizedGaussianSpatialModel,
)  # fmt: skip

EDGE = 2.326174307353347 * np.sqrt(2.0)  # width of a disk's edge in standard deviations
GAUSS_REACH = 6.3  # sigma; there a Gaussian is 2e-9 of its maximum
GAUSS_BAND = 8.6  # k sigma; there its transform is 1e-16
LOG_TINY = 28.0  # values below exp(-28) of a generalised Gaussian are neglected
HARMONIC = 1e-8  # harmonics below this fraction of the flux are neglected
MAX_HARMONICS = 96
STEP = 2e-3  # step of the fourth-order differences in eta and edge_width
SHARP = 1e-6  # standard deviations of the edge of a disk in its radius, below which it is none
KAPPA_STEP = 0.025  # step in κ of the splines of profiles


class Transform(NamedTuple):
    """Harmonics of a transform, and derivatives with respect to the P sizes.

    Attributes
    ----------
    value : array of shape (M, k)
    first : array of shape (P, M, k)
    second : array of shape (P, P, M, k)
    """

    value: Array
    first: Array
    second: Array


class Extent(NamedTuple):
    """Extent and smoothness of a shape, in deg of chord.

    Attributes
    ----------
    reach : float
        Radius beyond which it vanishes.
    inner : float
        Radius within which it may have sharp features.
    smooth : float
        Width (a standard deviation) below which it has no structure; 0 for sharp shapes.
    """

    reach: float
    inner: float
    smooth: float


def has_transform(model: SpatialModel) -> bool:
    """Whether the transform of a spatial model is known; false for subclasses of such models."""
    return type(model) in SUPPORTED


def size_names(model: SpatialModel) -> tuple[str, ...]:
    """Names of the parameters that the transform depends on: neither position nor angle."""
    return tuple(n for n in model.parameter_names if n not in ("lon_0", "lat_0", "phi"))


def _named(model: SpatialModel, values: Array) -> dict[str, float]:
    return dict(zip(model.parameter_names, values.tolist(), strict=True))


def extent_of(model: SpatialModel, values: Array) -> Extent:
    """Return the extent of a shape at some values of its parameters, in its internal units."""
    at = _named(model, values)
    if isinstance(model, GaussianSpatialModel):
        size = abs(float(chord(at["sigma"])))
        minor = size * np.sqrt(max(1 - at["e"] ** 2, 0.0))
        return Extent(GAUSS_REACH * size, 0.0, float(minor))
    if isinstance(model, GeneralizedGaussianSpatialModel):
        size = abs(float(chord(at["r_0"])))
        return Extent(size * LOG_TINY ** at["eta"], 0.0, 0.0)
    if isinstance(model, DiskSpatialModel):
        size = abs(float(chord(at["r_0"])))
        whole = size * (1 + 8 * abs(at["edge_width"]) / EDGE)
        return Extent(whole, whole, 0.0)
    if isinstance(model, (ShellSpatialModel, Shell2SpatialModel)):
        outer = abs(float(chord(_radii(model, at)[0])))
        return Extent(outer, outer, 0.0)
    return Extent(0.0, 0.0, 0.0)


def transform_of(model: SpatialModel, values: Array, k: Array, core: float) -> Transform:
    """Return the transform at wave numbers, with derivatives with respect to the parameters of `size_names`.

    Parameters
    ----------
    model : `SpatialModel`
        A model for which `has_transform` is true.
    values : array
        Its parameters in its internal units.
    k : array of shape (k,)
        Wave numbers in deg-1.
    core : float
        Standard deviation in deg of the narrowest PSF; structure that it smooths out is neglected.
    """
    at = _named(model, values)
    if isinstance(model, PointSpatialModel):
        return Transform(
            np.ones((1, len(k))), np.zeros((0, 1, len(k))), np.zeros((0, 0, 1, len(k)))
        )
    if isinstance(model, (ShellSpatialModel, Shell2SpatialModel)):
        return _shell(model, at, k)
    if isinstance(model, GaussianSpatialModel):
        return _elliptical(_gaussian, at["sigma"], at["e"], k, core, frozen_e=_is_round(model, at))
    name = "eta" if isinstance(model, GeneralizedGaussianSpatialModel) else "edge_width"
    make = _generalized if name == "eta" else _disk
    size, e, extra = at["r_0"], at["e"], at[name]
    is_round = _is_round(model, at)
    highest = float(k.max(initial=0.0)) * abs(float(chord(size)))
    top = float(2.0 ** np.ceil(np.log2(max(highest, 1.0))))
    profile = make(extra, top)
    found = _elliptical(profile, size, e, k, core, frozen_e=is_round)
    if model.parameter(name).frozen:
        return _with_extra(model, name, found, None)
    around = [
        _elliptical(make(extra + i * STEP, top), size, e, k, core, frozen_e=is_round)
        for i in (-2, -1, 1, 2)
    ]
    return _with_extra(model, name, found, around)


def _is_round(model: SpatialModel, at: dict[str, float]) -> bool:
    """Whether a shape is circular and stays so."""
    return at["e"] == 0 and model.parameter("e").frozen


def _with_extra(
    model: SpatialModel, name: str, found: Transform, around: list[Transform] | None
) -> Transform:
    """Insert derivatives with respect to a parameter of the profile into those by (size, e).

    `around` contains the transforms at -2, -1, 1 and 2 steps of the parameter.
    """
    n_m, n_k = found.value.shape
    place = size_names(model).index(name)
    old = [p for p in range(3) if p != place]
    first, second = np.zeros((3, n_m, n_k)), np.zeros((3, 3, n_m, n_k))
    first[old] = found.first
    second[np.ix_(old, old)] = found.second
    if around is not None:
        a, b, c, d = (_padded(t, n_m) for t in around)
        first[place] = (8 * (c.value - b.value) - (d.value - a.value)) / (12 * STEP)
        second[place, place] = (
            16 * (c.value + b.value) - (d.value + a.value) - 30 * found.value
        ) / (12 * STEP**2)
        mixed = (8 * (c.first - b.first) - (d.first - a.first)) / (12 * STEP)
        second[place, old] = second[old, place] = mixed
    return Transform(found.value, first, second)


def _padded(transform: Transform, n_m: int) -> Transform:
    """Pad or cut a transform to a number of harmonics."""
    value, first = np.zeros((n_m, transform.value.shape[1])), transform.first[:, :n_m]
    value[: len(transform.value)] = transform.value[:n_m]
    whole = np.zeros((len(first), n_m, first.shape[2]))
    whole[:, : first.shape[1]] = first
    return Transform(value, whole, transform.second)


def _elliptical(
    profile: Profile, size: float, e: float, k: Array, core: float, *, frozen_e: bool
) -> Transform:
    """Harmonics of a scaled profile, and derivatives with respect to size and e."""
    scale, slope = float(chord(size)), float(np.cos(size * DEG / 2))
    bend = -float(np.sin(size * DEG / 2)) * DEG / 2
    if frozen_e:
        s, ds, d2s = profile(k * scale)
        by_size = ds * k
        first = np.zeros((2, 1, len(k)))
        second = np.zeros((2, 2, 1, len(k)))
        first[0, 0] = by_size * slope
        second[0, 0, 0] = d2s * (k * slope) ** 2 + by_size * bend
        return Transform(s[None], first, second)
    for n_harmonics in (12, 24, 48, MAX_HARMONICS):
        found = _harmonics(profile, scale, slope, bend, e, k, n_harmonics)
        seen = np.abs(found[0]) * np.exp(-((k * core) ** 2) / 2)
        large = np.flatnonzero(seen.max(axis=1, initial=0.0) > HARMONIC)
        if large.max(initial=0) < 0.7 * n_harmonics:
            break
    n_m = max(int(large.max(initial=0)) + 1, 2)
    v, d_size, d_e, d_ss, d_se, d_ee = found[:, :n_m]
    second = np.stack([np.stack([d_ss, d_se]), np.stack([d_se, d_ee])])
    return Transform(v, np.stack([d_size, d_e]), second)


def _harmonics(
    profile: Profile, scale: float, slope: float, bend: float, e: float, k: Array, n_m: int
) -> Array:
    """Harmonics (6, n_m, k) of an elongated profile and of its derivatives with respect to size and e."""
    n_angles = 3 * n_m
    phi = (np.arange(n_angles) + 0.5) * (np.pi / 2 / n_angles)
    sine = np.sin(phi)[:, None] ** 2
    w = np.sqrt(np.maximum(1 - e * e * sine, 1e-12))
    w_e, w_ee = -e * sine / w, -sine / w - e * e * sine * sine / w**3
    kappa = k * scale
    s, ds, d2s = (a.reshape(n_angles, -1) for a in profile((kappa * w).ravel()))
    k_size = k * slope * w
    parts = [
        s, ds * k_size, ds * kappa * w_e,
        d2s * k_size**2 + ds * k * w * bend,
        d2s * k_size * kappa * w_e + ds * k * slope * w_e,
        d2s * (kappa * w_e) ** 2 + ds * kappa * w_ee,
    ]  # fmt: skip
    order = np.arange(n_m)
    cosines = np.cos(2 * order[:, None] * phi) * (2.0 - (order[:, None] == 0)) / n_angles
    return np.stack([matmul(cosines, part) for part in parts])


def _gaussian(kappa: Array) -> tuple[Array, Array, Array]:
    s = np.exp(-np.minimum(kappa * kappa / 2, 700.0))
    return s, -kappa * s, (kappa * kappa - 1) * s


def _sharp_disk(x: Array) -> tuple[Array, Array, Array]:
    """``2 J1(x) / x`` and its derivatives."""
    small = np.abs(x) < 1e-2
    y = np.where(small, 1.0, x)
    a, b = j1(y), 2 * j1(y) / y - j0(y)
    square = x * x
    s = np.where(small, 1 - square / 8 + square * square / 192, 2 * a / y)
    ds = np.where(small, -x / 4 + x * square / 48, -2 * b / y)
    d2s = np.where(small, -0.25 + square / 16, -2 * (a / y - 3 * b / (y * y)))
    return s, ds, d2s


def _mixture(nodes: Array, weights: Array, kappa: Array) -> tuple[Array, Array, Array]:
    """Sum of disks of some radii, with their fractions of the flux."""
    s, ds, d2s = (np.zeros_like(kappa) for _ in range(3))
    for node, weight in zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True):
        v, dv, d2v = _sharp_disk(kappa * node)
        s += weight * v
        ds += weight * node * dv
        d2s += weight * node * node * d2v
    return s, ds, d2s


def _tabulated(nodes: Array, weights: Array, top: float, band: float, flux: float = 1.0) -> Profile:
    """A sum of disks as splines of κ up to `top`, zero beyond `band`."""
    kappa = np.arange(0.0, min(top, band) + 4 * KAPPA_STEP, KAPPA_STEP)
    spline = CubicSpline(kappa, flux * np.stack(_mixture(nodes, weights, kappa), axis=1))

    def profile(at: Array) -> tuple[Array, Array, Array]:
        size = np.abs(at)
        out = spline(np.minimum(size, kappa[-1]))
        out[size > min(top, band) + KAPPA_STEP] = 0.0
        return out[:, 0], out[:, 1] * np.sign(at), out[:, 2]

    return profile


@lru_cache(maxsize=16)
def _disk(edge: float, top: float) -> Profile:
    """A disk with an edge."""
    sigma = abs(edge) / EDGE
    if sigma < SHARP:
        return _sharp_disk
    radii, shares = disk_mixture(edge)
    return _tabulated(radii, shares, top, 9.0 / sigma, float(shares.sum()))


def disk_mixture(edge: float) -> tuple[Array, Array]:
    """A disk with a soft edge: disks whose radii are normally distributed, and their flux.

    Its density has the norm of a sharp one, as in Gammapy, so that its flux is slightly larger.
    """
    sigma = abs(edge) / EDGE
    if sigma < SHARP:
        return np.ones(1), np.ones(1)
    x = np.arange(-24, 25) / 3.0
    radii = 1 + sigma * x
    shares = np.exp(-x * x / 2)
    return radii, shares * radii * radii * (radii > 0) / shares.sum()


@lru_cache(maxsize=16)
def _generalized(eta: float, top: float) -> Profile:
    """A generalised Gaussian."""
    return _tabulated(*general_mixture(eta), top, np.inf)


def general_mixture(eta: float) -> tuple[Array, Array]:
    """``exp(-z^(1 / eta))``: disks of radius ``u^eta``, and their flux.

    u is distributed as ``u^(2 eta) exp(-u)``.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    # the radius itself is the variable if it grows slowly with u
    power = max(eta, 0.25)
    t = (nodes + 1) / 2
    u = (LOG_TINY + 12.0) * t ** (1 / power)
    shares = weights * u / np.maximum(t, 1e-300) * u ** (2 * eta) * np.exp(-u) / gamma(2 * eta + 1)
    kept = shares > 1e-17 * shares.max()
    return u[kept] ** eta, shares[kept] / shares[kept].sum()


def _radii(model: SpatialModel, at: dict[str, float]) -> tuple[float, float]:
    if isinstance(model, Shell2SpatialModel):
        return at["r_0"], at["r_0"] * (1 - at["eta"])
    return at["radius"] + at["width"], at["radius"]


def _shell(model: SpatialModel, at: dict[str, float], k: Array) -> Transform:
    """Projected hollow sphere: the difference of two solid spheres."""
    outer_angle, inner_angle = _radii(model, at)
    outer, inner = (float(chord(a)) for a in (outer_angle, inner_angle))
    if abs(outer - inner) < 1e-7 * max(abs(outer), 1e-3):  # numerically a thin shell
        outer = inner + 1e-7 * max(abs(outer), 1e-3)
    volume = (outer - inner) * (outer * outer + outer * inner + inner * inner)
    values, firsts, seconds = zip(*(_ball(k, r) for r in (outer, inner)), strict=True)
    s = (values[0] - values[1]) / volume
    sign = np.array([1.0, -1.0])
    dv = sign * 3 * np.array([outer, inner]) ** 2
    d2v = sign * 6 * np.array([outer, inner])
    d = np.stack([(sign[i] * firsts[i] - s * dv[i]) / volume for i in (0, 1)])
    d2 = np.empty((2, 2, len(k)))
    for i in (0, 1):
        for j in (0, 1):
            own = sign[i] * seconds[i] - s * d2v[i] if i == j else 0.0
            d2[i, j] = (own - d[i] * dv[j] - d[j] * dv[i]) / volume
    slope = np.array([np.cos(a * DEG / 2) for a in (outer_angle, inner_angle)])
    bend = np.array([-np.sin(a * DEG / 2) * DEG / 2 for a in (outer_angle, inner_angle)])
    d2 = d2 * slope[:, None, None] * slope[None, :, None]
    d2[[0, 1], [0, 1]] += d * bend[:, None]
    d = d * slope[:, None]
    if isinstance(model, Shell2SpatialModel):
        chain = np.array([[1.0, 0.0], [1 - at["eta"], -at["r_0"]]])  # (radius, parameter)
        second = np.einsum("ip,jq,ijk->pqk", chain, chain, d2)
        second[0, 1] -= d[1]
        second[1, 0] -= d[1]
    else:
        chain = np.array([[1.0, 1.0], [1.0, 0.0]])
        second = np.einsum("ip,jq,ijk->pqk", chain, chain, d2)
    first = np.einsum("ip,ik->pk", chain, d)
    return Transform(s[None], first[:, None], second[:, :, None])


def _ball(k: Array, radius: float) -> tuple[Array, Array, Array]:
    """Transform of a projected solid sphere times its radius cubed, with derivatives with respect to the radius."""
    x = k * radius
    small = np.abs(x) < 0.05
    y = np.where(small, 1.0, x)
    square = x * x
    body = np.where(small, 1 - square / 10 + square**2 / 280 - square**3 / 15120,
                    3 * (np.sin(y) - y * np.cos(y)) / y**3)  # fmt: skip
    sinc = np.sinc(x / np.pi)
    return body * radius**3, 3 * radius**2 * sinc, 3 * radius * (sinc + np.cos(x))
