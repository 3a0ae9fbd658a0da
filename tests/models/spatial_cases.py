"""Analytic shapes once more in mpmath, and random parameters in sensible limits."""

from functools import cache

import gammapy.modeling.models as gammapy_models
import mpmath as mp
import numpy as np
from astropy import units as u

from gmdask.models import (
    DiskSpatialModel,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    Shell2SpatialModel,
    ShellSpatialModel,
)

N_SETS, N_POINTS = 200, 3
with mp.workdps(40):
    DEGREE = mp.pi / 180


# --- the formulas once more, in mpmath -------------------------------------------------------


def seen_from(lon, lat, lon_0, lat_0):
    """Distance and bearing."""
    lon, lat, lon_0, lat_0 = (mp.mpf(x) * DEGREE for x in (lon, lat, lon_0, lat_0))
    north = mp.sin(lat) * mp.cos(lat_0) - mp.cos(lat) * mp.sin(lat_0) * mp.cos(lon - lon_0)
    east = mp.sin(lon - lon_0) * mp.cos(lat)
    cosine = mp.sin(lat) * mp.sin(lat_0) + mp.cos(lat) * mp.cos(lat_0) * mp.cos(lon - lon_0)
    return mp.atan2(mp.hypot(north, east), cosine), mp.atan2(east, north)


def effective(bearing, major, e, phi):
    minor = major * mp.sqrt(1 - e * e)
    angle = phi * DEGREE - bearing
    return major * minor / mp.hypot(major * mp.sin(angle), minor * mp.cos(angle))


def gaussian(lon, lat, lon_0, lat_0, sigma, e, phi):
    e = mp.mpf(e)
    lon, lat, lon_0, lat_0, sigma, phi = (
        mp.mpf(x) * mp.pi / 180 for x in (lon, lat, lon_0, lat_0, sigma, phi)
    )
    north = mp.sin(lat) * mp.cos(lat_0) - mp.cos(lat) * mp.sin(lat_0) * mp.cos(lon - lon_0)
    east = mp.sin(lon - lon_0) * mp.cos(lat)
    cosine = mp.sin(lat) * mp.sin(lat_0) + mp.cos(lat) * mp.cos(lat_0) * mp.cos(lon - lon_0)
    if e == 0:
        a = 1 - mp.cos(sigma)
        norm = 1 / (4 * mp.pi * a * (1 - mp.exp(-1 / a)))
    else:
        minor = sigma * mp.sqrt(1 - e * e)
        angle = phi - mp.atan2(east, north)
        radius = sigma * minor / mp.hypot(sigma * mp.sin(angle), minor * mp.cos(angle))
        a, norm = 1 - mp.cos(radius), 1 / (2 * mp.pi * sigma * minor)
    return norm * mp.exp(-(1 - cosine) / (2 * a))


def generalized(lon, lat, lon_0, lat_0, r_0, eta, e, phi):
    r, bearing = seen_from(lon, lat, lon_0, lat_0)
    r_0, eta, e, phi = (mp.mpf(x) for x in (r_0, eta, e, phi))
    r_0 *= DEGREE
    norm = 1 / (2 * mp.pi * r_0**2 * mp.sqrt(1 - e * e) * eta * mp.gamma(2 * eta))
    return norm * mp.exp(-((r / effective(bearing, r_0, e, phi)) ** (1 / eta)))


@cache
def solid_angle(a, b):
    """Elliptical cone, by the integral over the position angle that Gammapy uses."""
    big, small = 1 / mp.sin(a) ** 2, 1 / mp.sin(b) ** 2

    def height(x):
        return 1 - mp.sqrt(1 - 1 / (small + (big - small) * mp.cos(x) ** 2))

    return 4 * mp.quad(height, [0, mp.pi / 4, mp.pi / 2])


def disk(lon, lat, lon_0, lat_0, r_0, e, phi, edge_width):
    r, bearing = seen_from(lon, lat, lon_0, lat_0)
    r_0, e, phi, edge = (mp.mpf(x) for x in (r_0, e, phi, edge_width))
    r_0 *= DEGREE
    radius = effective(bearing, r_0, e, phi)
    x = mp.mpf("2.326174307353347") * (r - radius) / (radius * edge)
    return (1 - mp.erf(x)) / 2 / solid_angle(r_0, r_0 * mp.sqrt(1 - e * e))


def between(lon, lat, lon_0, lat_0, outer, inner):
    r = seen_from(lon, lat, lon_0, lat_0)[0]
    outer, inner = outer * DEGREE, inner * DEGREE
    value = mp.sqrt(outer**2 - r**2) if r < outer else mp.mpf(0)
    if r < inner:
        value -= mp.sqrt(inner**2 - r**2)
    return 3 * value / (2 * mp.pi * (outer**3 - inner**3))


def shell(lon, lat, lon_0, lat_0, radius, width):
    radius, width = mp.mpf(radius), mp.mpf(width)
    return between(lon, lat, lon_0, lat_0, radius + width, radius)


def shell2(lon, lat, lon_0, lat_0, r_0, eta):
    r_0, eta = mp.mpf(r_0), mp.mpf(eta)
    return between(lon, lat, lon_0, lat_0, r_0, (1 - eta) * r_0)


# --- random parameters ------------------------------------------------------------------------


def log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


CLASSES = {
    GaussianSpatialModel: (gaussian, lambda rng: (log_uniform(rng, 0.01, 10), *orientation(rng))),
    GeneralizedGaussianSpatialModel: (
        generalized,
        lambda rng: (log_uniform(rng, 0.01, 10), rng.uniform(0.03, 1), *orientation(rng)),
    ),
    DiskSpatialModel: (
        disk,
        lambda rng: (log_uniform(rng, 0.01, 20), *orientation(rng), log_uniform(rng, 0.01, 0.9)),
    ),
    ShellSpatialModel: (
        shell,
        lambda rng: (log_uniform(rng, 0.01, 10), log_uniform(rng, 0.01, 5)),
    ),
    Shell2SpatialModel: (shell2, lambda rng: (log_uniform(rng, 0.01, 10), rng.uniform(0.02, 0.99))),
}


def orientation(rng):
    return (0.0 if rng.random() < 0.2 else rng.uniform(0.01, 0.97)), rng.uniform(-180, 180)


def near(rng, lon_0, lat_0, radius, count):
    """Positions within a radius."""
    r, angle = radius * np.sqrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
    lat = np.clip(lat_0 + r * np.cos(angle), -89.9, 89.9)
    return lon_0 + r * np.sin(angle) / np.cos(np.deg2rad(lat)), lat


def random_sets(cls, seed, sets=N_SETS):
    """Model, parameters, and positions that its rims (if it has any) do not touch."""
    rng = np.random.default_rng(seed)
    model = cls()
    for _ in range(sets):
        values = (rng.uniform(0, 360), rng.uniform(-75, 75), *CLASSES[cls][1](rng))
        radius = min(model.evaluation_radius(np.array(values)), 40.0)
        points = near(rng, values[0], values[1], 0.8 * radius, N_POINTS)
        grid = near(rng, values[0], values[1], radius, 400)
        yield model, values, points, grid


def theirs_of(model, values):
    named = zip(model.parameter_names, values, model.internal_units, strict=True)
    cls = getattr(gammapy_models, type(model).__name__)
    return cls(**{name: u.Quantity(value, unit) for name, value, unit in named})


def distance_to_rim(model, values, lon, lat):
    """Smallest relative distance to the two rims of a shell."""
    outer, inner, width = model._radii(values)
    r = np.array([float(seen_from(*at, *values[:2])[0]) for at in zip(lon, lat, strict=True)])
    r = np.rad2deg(r)
    return np.minimum(np.abs(r - outer), np.abs(r - inner)) / width
