"""Transforms of shapes times a small polynomial: what an exposure that varies makes of a source.

In the scaled plane, where a shape is a function s(z) of the radius alone and ω the angle to the
major axis, the transform of ``z^n cos jω s(z)`` is ``(-i)^j cos jω_κ T(κ)`` with

    T(κ) = 2π ∫ z dz z^n s(z) J_j(κ z),

and the same for sines. Shapes are mixtures of disks; those of a disk are Bessel functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import j0, j1, jv

from gmdask.likelihood.exact.radial import DEG, chord
from gmdask.likelihood.exact.transforms import (
    GAUSS_BAND,
    KAPPA_STEP,
    Transform,
    disk_mixture,
    general_mixture,
    size_names,
)
from gmdask.models import (
    DiskSpatialModel,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    Shell2SpatialModel,
    ShellSpatialModel,
    SpatialModel,
)
from gmdask.sums import matmul

__all__ = ["TERMS", "Moment", "Term", "moment_of", "scale_of"]

Array = NDArray[np.float64]
Triple = tuple[Array, Array, Array]
Profile = Callable[[Array], Triple]

HARMONIC = 1e-7  # below which a harmonic is left out
MAX_HARMONICS = 64
STEP = 2e-3  # of what a profile depends on, for differences of fourth order
THIN = 0.99  # inner radius of a shell in outer ones, up to which its polynomials are right


class Term(NamedTuple):
    """A polynomial ``z^power cos(wave ω)``, or the sine."""

    wave: int
    power: int
    sine: bool


TERMS = (
    Term(0, 0, sine=False), Term(1, 1, sine=False), Term(1, 1, sine=True),
    Term(0, 2, sine=False), Term(2, 2, sine=False), Term(2, 2, sine=True),
)  # fmt: skip


class Moment(NamedTuple):
    """Harmonics of a transform and their waves: (M, 2), the wave number and whether it is a sine."""

    waves: NDArray[np.int64]
    transform: Transform


def scale_of(model: SpatialModel, at: dict[str, float]) -> float:
    """Size in deg in whose units a polynomial is."""
    if isinstance(model, ShellSpatialModel):
        return at["radius"] + at["width"]
    return at.get("sigma", at.get("r_0", 0.0))


def moment_of(model: SpatialModel, values: Array, k: Array, core: float, term: Term) -> Moment:
    """Transform of an extended shape times a polynomial, at wave numbers in deg-1.

    Parameters are those of `transform_of`, and derivatives those by the same sizes.
    """
    at = dict(zip(model.parameter_names, values.tolist(), strict=True))
    size = scale_of(model, at)
    top = float(
        2.0 ** np.ceil(np.log2(max(float(k.max(initial=0.0)) * abs(float(chord(size))), 1.0)))
    )
    kind, extra = _profile(model, at)
    e = at.get("e", 0.0)
    is_round = "e" not in at or (e == 0 and model.parameter("e").frozen)

    def make(offset: float) -> Moment:
        return _moment(
            _profile_of(kind, extra + offset, term, top), term, size, e, k, core, is_round
        )

    found = make(0.0)
    n_m = len(found.waves)
    first, second = np.zeros((3, n_m, len(k))), np.zeros((3, 3, n_m, len(k)))
    first[:2], second[:2, :2] = found.transform.first, found.transform.second
    if _extra_is_free(model, kind, extra):
        a, b, c, d = (_cut(make(i * STEP), n_m) for i in (-2, -1, 1, 2))
        first[2] = (8 * (c.value - b.value) - (d.value - a.value)) / (12 * STEP)
        second[2, 2] = 16 * (c.value + b.value) - (d.value + a.value) - 30 * found.transform.value
        second[2, 2] /= 12 * STEP**2
        mixed = (8 * (c.first - b.first) - (d.first - a.first)) / (12 * STEP)
        second[2, :2] = second[:2, 2] = mixed
    chain, bent = _chain(model, at)
    by = np.einsum("pa,amk->pmk", chain, first)
    both = np.einsum("pa,qb,abmk->pqmk", chain, chain, second)
    both += np.einsum("pqa,amk->pqmk", bent, first)
    return Moment(found.waves, Transform(found.transform.value, by, both))


def _profile(model: SpatialModel, at: dict[str, float]) -> tuple[str, float]:
    """Kind of a profile, and what it depends on."""
    if isinstance(model, GaussianSpatialModel):
        return "gauss", 0.0
    if isinstance(model, GeneralizedGaussianSpatialModel):
        return "general", at["eta"]
    if isinstance(model, DiskSpatialModel):
        return "disk", at["edge_width"]
    if isinstance(model, Shell2SpatialModel):
        return "shell", min(abs(1 - at["eta"]), THIN)
    return "shell", min(abs(at["radius"] / (at["radius"] + at["width"] or 1.0)), THIN)


def _extra_is_free(model: SpatialModel, kind: str, extra: float) -> bool:
    if kind == "shell":
        return extra < THIN
    name = {"general": "eta", "disk": "edge_width"}.get(kind)
    return name is not None and not model.parameter(name).frozen


def _chain(model: SpatialModel, at: dict[str, float]) -> tuple[Array, Array]:
    """Derivatives (P, 3) and (P, P, 3) of size, eccentricity and profile by the parameters."""
    names = size_names(model)
    first, second = np.zeros((len(names), 3)), np.zeros((len(names), len(names), 3))
    if isinstance(model, ShellSpatialModel):
        inner, outer = at["radius"], at["radius"] + at["width"]
        outer = outer or 1e-10
        first[:, 0] = 1.0
        first[:, 2] = 1 / outer - inner / outer**2, -inner / outer**2
        bend = 2 * inner / outer**3
        second[0, 0, 2] = bend - 2 / outer**2
        second[0, 1, 2] = second[1, 0, 2] = bend - 1 / outer**2
        second[1, 1, 2] = bend
        return first, second
    for p, name in enumerate(names):
        if name in ("sigma", "r_0"):
            first[p, 0] = 1.0
        elif name == "e":
            first[p, 1] = 1.0
        else:
            first[p, 2] = -1.0 if isinstance(model, Shell2SpatialModel) else 1.0
    return first, second


def _cut(moment: Moment, n_m: int) -> Transform:
    """Harmonics up to a number, zeros where there are fewer."""
    value, first, second = moment.transform
    missing = max(n_m - len(value), 0)
    return Transform(
        np.pad(value[:n_m], ((0, missing), (0, 0))),
        np.pad(first[:, :n_m], ((0, 0), (0, missing), (0, 0))),
        second,
    )


def _profile_of(kind: str, extra: float, term: Term, top: float) -> Profile:
    """T and its derivatives, as functions of κ."""
    if kind != "shell":
        return partial(_at, _table(kind, extra, term, top))
    ball, factor, volume = _table("ball", 0.0, term, top), extra ** (3 + term.power), 1 - extra**3

    def shell(kappa: Array) -> Triple:
        outer, inner = _at(ball, kappa), _at(ball, extra * kappa)
        parts = [(a - factor * extra**n * b) / volume
                 for n, (a, b) in enumerate(zip(outer, inner, strict=True))]  # fmt: skip
        return parts[0], parts[1], parts[2]

    return shell


@lru_cache(maxsize=64)
def _table(kind: str, extra: float, term: Term, top: float) -> CubicSpline:
    """T as a spline of κ."""
    band = min(top, GAUSS_BAND + 2.0) if kind == "gauss" else top
    kappa = np.arange(0.0, band + 4 * KAPPA_STEP, KAPPA_STEP)
    if kind == "gauss":
        factor = {(0, 0): 1.0, (1, 1): kappa, (0, 2): 2 - kappa**2, (2, 2): kappa**2}
        return CubicSpline(kappa, factor[term.wave, term.power] * np.exp(-(kappa**2) / 2))
    if kind == "ball":
        radii, weights = _ball()
    else:
        radii, weights = disk_mixture(extra) if kind == "disk" else general_mixture(extra)
    largest = float(2.0 ** np.ceil(np.log2(max(float(radii.max()), 1.0))))
    of_disk, total = _disk_table(term, top * largest), np.zeros_like(kappa)
    for radius, weight in zip(radii.tolist(), weights.tolist(), strict=True):
        if weight > 0:
            total += weight * radius**term.power * of_disk(kappa * radius)
    return CubicSpline(kappa, total)


@lru_cache(maxsize=32)
def _disk_table(term: Term, top: float) -> CubicSpline:
    """T of a disk of radius 1, as a spline."""
    x = np.arange(0.0, top + 8 * KAPPA_STEP, KAPPA_STEP)
    return CubicSpline(x, _disk(term, x))


def _ball() -> tuple[Array, Array]:
    """Radii and shares of the disks that a projected ball is made of."""
    x, w = np.polynomial.legendre.leggauss(200)
    theta = (x + 1) * np.pi / 4
    weights = w * np.sin(theta) ** 3
    return np.sin(theta), weights / weights.sum()


def _disk(term: Term, x: Array) -> Array:
    """T of a disk of radius 1."""
    small = np.abs(x) < 1e-2
    y = np.where(small, 1.0, x)
    if term.power == 0:
        return np.where(small, 1 - x * x / 8, 2 * j1(y) / y)
    second = 2 * j1(y) / y - j0(y)
    if term.wave == 1:
        return np.where(small, x / 4 - x**3 / 48, 2 * second / y)
    if term.wave == 0:
        return np.where(small, 0.5 - x * x / 12, 2 * j1(y) / y - 4 * second / (y * y))
    return np.where(small, x * x / 24, 2 * jv(3, y) / y)


def _moment(
    profile: Profile, term: Term, size: float, e: float, k: Array, core: float, is_round: bool
) -> Moment:
    """Harmonics, with derivatives by size and eccentricity."""
    scale, slope = float(chord(size)), float(np.cos(size * DEG / 2))
    bend = -float(np.sin(size * DEG / 2)) * DEG / 2
    if is_round:
        s, ds, d2s = profile(k * scale)
        first, second = np.zeros((2, 1, len(k))), np.zeros((2, 2, 1, len(k)))
        first[0, 0], second[0, 0, 0] = ds * k * slope, d2s * (k * slope) ** 2 + ds * k * bend
        waves = np.array([[term.wave, int(term.sine)]], dtype=np.int64)
        return Moment(waves, Transform(s[None], first, second))
    for n_m in (8, 16, 32, MAX_HARMONICS):
        waves, found = _harmonics(profile, term, scale, slope, bend, e, k, n_m)
        seen = np.abs(found[0]) * np.exp(-((k * core) ** 2) / 2)
        large = np.flatnonzero(seen.max(axis=1, initial=0.0) > HARMONIC)
        if large.max(initial=0) < 0.7 * n_m:
            break
    n_m = max(int(large.max(initial=0)) + 1, 2)
    v, d_size, d_e, d_ss, d_se, d_ee = found[:, :n_m]
    second = np.stack([np.stack([d_ss, d_se]), np.stack([d_se, d_ee])])
    return Moment(waves[:n_m], Transform(v, np.stack([d_size, d_e]), second))


def _at(table: CubicSpline, kappa: Array) -> Triple:
    """A table and its derivatives; zero beyond its end."""
    size = np.abs(kappa)
    inside = size <= table.x[-1]
    near = np.where(inside, size, 0.0)
    s, ds, d2s = (np.where(inside, table(near, order), 0.0) for order in range(3))
    return s, ds * np.sign(kappa), d2s


def _times(a: Triple, b: Triple) -> Triple:
    """Product of quantities with first and second derivatives by e."""
    return a[0] * b[0], a[1] * b[0] + a[0] * b[1], a[2] * b[0] + 2 * a[1] * b[1] + a[0] * b[2]


def _turned(term: Term, phi: Array, e: float, w: Triple) -> Triple:
    """Cosine or sine of the angle in the scaled plane, with derivatives by e."""
    inverse = 1 / w[0], -w[1] / w[0] ** 2, 2 * w[1] ** 2 / w[0] ** 3 - w[2] / w[0] ** 2
    zero, one = np.zeros_like(phi), np.ones_like(phi)
    q = max(1 - e * e, 1e-12) ** 0.5
    cosine = _times((np.cos(phi), zero, zero), inverse)
    sine = _times((q * np.sin(phi), -e / q * np.sin(phi), -np.sin(phi) / q**3), inverse)
    if term.wave == 0:
        return one, zero, zero
    if term.wave == 1:
        return sine if term.sine else cosine
    if term.sine:
        a, b, c = _times(cosine, sine)
        return 2 * a, 2 * b, 2 * c
    plus, minus = _times(cosine, cosine), _times(sine, sine)
    return plus[0] - minus[0], plus[1] - minus[1], plus[2] - minus[2]


def _harmonics(
    profile: Profile,
    term: Term,
    scale: float,
    slope: float,
    bend: float,
    e: float,
    k: Array,
    n_m: int,
) -> tuple[NDArray[np.int64], Array]:
    """Waves (n_m, 2) and harmonics (6, n_m, k) of an elongated profile and its derivatives."""
    n_angles = 3 * n_m
    phi = np.asarray((np.arange(n_angles) + 0.5) * (np.pi / 2 / n_angles), dtype=np.float64)[
        :, None
    ]
    squares = np.sin(phi) ** 2
    w: Array = np.asarray(np.sqrt(np.maximum(1 - e * e * squares, 1e-12)), dtype=np.float64)
    w_e, w_ee = -e * squares / w, -squares / w - e * e * squares * squares / w**3
    t, t_e, t_ee = _turned(term, phi, e, (w, w_e, w_ee))
    kappa = k * scale
    s, ds, d2s = (a.reshape(n_angles, -1) for a in profile((kappa * w).ravel()))
    k_size = k * slope * w
    parts = [
        s * t, ds * k_size * t, ds * kappa * w_e * t + s * t_e,
        (d2s * k_size**2 + ds * k * w * bend) * t,
        (d2s * k_size * kappa * w_e + ds * k * slope * w_e) * t + ds * k_size * t_e,
        (d2s * (kappa * w_e) ** 2 + ds * kappa * w_ee) * t + 2 * ds * kappa * w_e * t_e + s * t_ee,
    ]  # fmt: skip
    least = 2 if term.sine and term.wave % 2 == 0 else term.wave % 2
    wave = least + 2 * np.arange(n_m)
    basis = np.sin(wave * phi) if term.sine else np.cos(wave * phi)
    basis = basis.T * (2.0 - (wave[:, None] == 0)) / n_angles
    basis *= (-1.0) ** ((wave[:, None] - term.wave) // 2)
    waves = np.stack([wave, np.full(n_m, int(term.sine))], axis=1).astype(np.int64)
    return waves, np.stack([matmul(np.ascontiguousarray(basis), part) for part in parts])
