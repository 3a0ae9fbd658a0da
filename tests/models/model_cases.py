"""Every model class at random parameters, beside mpmath and Gammapy, for `model_numbers`."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import gammapy.modeling.models as gammapy
import mpmath as mp
import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from gammapy.maps import Map, MapAxis, MapCoord, RegionNDMap, WcsGeom
from gammapy.modeling.models.spectral_cosmic_ray import _LogGaussianSpectralModel

import gmdask.models as gm
from gmdask.geometry import Axis
from gmdask.models.io.region_map import RegionMap
from tests.models import spatial_cases, spectral_cases, temporal_cases
from tests.models.clough_tocher import CloughTocher
from tests.models.table_cases import cell, interpolated, log_cells, log_table, pixel, sky_map

ENERGY = np.geomspace(0.07, 40, 5)
EDGES = np.geomspace(0.1, 30, 13)


class Case(NamedTuple):
    """A model at some parameters.

    ``exact(point, *values)`` is the value in mpmath. ``scale`` is what distances are relative
    to, by default the exact value; ``theirs`` Gammapy's model, ``largest`` what errors of
    derivatives are relative to (by default their maximum over the points), ``fixed`` the
    parameters that have no derivatives here. In time, ``integral()`` is exact over ``bounds``,
    and so are ``slopes``, its derivatives (by default differences are taken).
    """

    model: Any
    values: list[float]
    points: list[Any]
    exact: Callable[..., Any]
    theirs: Any = None
    scale: float | None = None
    largest: Any = None
    fixed: tuple[str, ...] = ()
    integral: Callable[..., Any] | None = None
    bounds: Any = None
    slopes: Any = None


# --- spectra ------------------------------------------------------------------------------------


def closed_form(tag):
    def draw(rng):
        values = spectral_cases.draw(tag, rng)
        model = gm.get_class("spectral", tag)()
        model.parameters.value = values
        quantities = {par.name: par.quantity for par in model.parameters}
        theirs = getattr(gammapy, type(model).__name__)(**quantities)
        return Case(model, values, list(ENERGY), spectral_cases.EXACT[tag], theirs)

    return draw


def compound(rng):
    name = ("mul", "add", "sub")[rng.integers(3)]
    first, second = ("pl", "ecpl-norm") if name == "mul" else ("pl", "pl")
    parts = [closed_form(tag)(rng) for tag in (first, second)]
    if name != "mul":  # of the same order, but never zero
        parts[1].model.amplitude.value = 0.1 * parts[0].model.amplitude.value
        parts[1].model.index.value = parts[0].model.index.value
        parts[1].model.reference.value = parts[0].model.reference.value
        parts[1].theirs.parameters.value = parts[1].model.parameters.value
    model = gm.CompoundSpectralModel(parts[0].model, parts[1].model, name)
    operate = {"mul": mp.fmul, "add": mp.fadd, "sub": mp.fsub}[name]
    n = len(parts[0].values)

    def exact(e, *values):
        return operate(parts[0].exact(e, *values[:n]), parts[1].exact(e, *values[n:]))

    operator = {"mul": np.multiply, "add": np.add, "sub": np.subtract}[name]
    theirs = gammapy.CompoundSpectralModel(parts[0].theirs, parts[1].theirs, operator)
    return Case(model, model.internal_values.tolist(), list(ENERGY), exact, theirs)


def log_gaussian(rng):
    values = [10 ** rng.uniform(-13, -11), rng.uniform(0.05, 5), rng.uniform(0.3, 2)]
    model = gm.LogGaussianSpectralModel()
    model.parameters.value = values
    theirs = _LogGaussianSpectralModel(**{par.name: par.quantity for par in model.parameters})

    def exact(e, scale, peak, width):
        z = mp.log(e / peak) / width
        return scale / (e * width * mp.sqrt(2 * mp.pi)) * mp.exp(-z * z / 2)

    return Case(model, values, list(ENERGY), exact, theirs)


def scale(rng):
    part, norm = closed_form("lp")(rng), rng.uniform(0.1, 5)
    model = gm.ScaleSpectralModel(part.model, norm=norm)
    theirs = gammapy.ScaleSpectralModel(part.theirs, norm=norm)

    def exact(e, norm):
        return norm * part.exact(e, *map(mp.mpf, part.values))

    return Case(model, [norm], list(ENERGY), exact, theirs)


def piecewise_spectrum(rng):
    interp = ("log", "lin")[rng.integers(2)]
    nodes = np.sort(rng.uniform(0.1, 30, rng.integers(2, 7)))
    norms = rng.uniform(0.1, 5, len(nodes))
    model = gm.PiecewiseNormSpectralModel(nodes * u.TeV, norms, interp)
    theirs = gammapy.PiecewiseNormSpectralModel(nodes * u.TeV, norms, interp=interp)

    def exact(e, *norms):
        return interpolated(e, nodes, norms, interp)

    return Case(model, norms.tolist(), list(ENERGY), exact, theirs)


def template(rng):
    energy = np.geomspace(0.03, 100, 9) * rng.uniform(0.9, 1.1, 9)
    values = 10 ** rng.uniform(-13, -10, 9)
    arguments = energy * u.TeV, values * u.Unit("cm-2 s-1 TeV-1")
    axis = Axis("energy", energy, "log", "center")

    def exact(e):
        return log_table([axis], values, [e])

    theirs = gammapy.TemplateSpectralModel(*arguments)
    return Case(gm.TemplateSpectralModel(*arguments), [], list(ENERGY), exact, theirs)


ND = (
    Axis("energy_true", np.geomspace(0.05, 60, 8), "log", "center", "TeV"),
    Axis("density", np.array([10.0, 30, 100, 200]), "log", "center", "cm-3"),
    Axis("root", np.array([0.0, 1, 2, 5]), "sqrt", "edges"),
)


def template_nd(rng):
    data = 10 ** rng.uniform(-13, -11, (3, 4, 8))
    axes = [
        (MapAxis.from_nodes if a.node_type == "center" else MapAxis.from_edges)(
            a.nodes, name=a.name, unit=a.unit, interp=a.interp
        )
        for a in ND
    ]
    table = RegionNDMap.create(region=None, axes=axes, unit="cm-2 s-1 TeV-1")
    table.data = data.reshape(table.data.shape)
    model = gm.TemplateNDSpectralModel(RegionMap(ND, data.T, "cm-2 s-1 TeV-1", {}))
    values = [float(rng.uniform(12, 190)), float(rng.uniform(0.2, 4.5))]
    model.parameters.value = values
    theirs = gammapy.TemplateNDSpectralModel(table, filename="x.fits")
    theirs.parameters.value = values

    def exact(e, *values):
        return log_table(ND, data.T, [e, *values])

    return Case(model, values, list(ENERGY), exact, theirs)


def ebl(rng):
    energy, redshift = np.geomspace(0.01, 100, 31), np.array([0.01, 0.1, 0.3, 0.6, 1.0])
    arguments = energy * u.TeV, redshift, np.exp(-redshift[:, None] * energy**0.9 * rng.uniform())
    model = gm.EBLAbsorptionNormSpectralModel(*arguments)
    values = [float(rng.uniform(0.02, 0.9)), float(rng.uniform(0.2, 2))]
    model.parameters.value = values
    theirs = gammapy.EBLAbsorptionNormSpectralModel(
        *arguments, redshift=values[0], alpha_norm=values[1]
    )
    axes = (
        Axis("param", arguments[1], "lin", "center"),
        Axis("energy", arguments[0].value, "log", "center"),
    )

    def exact(e, redshift, alpha):
        return log_table(axes, arguments[2], [redshift, e]) ** alpha

    return Case(model, values, list(ENERGY), exact, theirs)


# --- shapes -------------------------------------------------------------------------------------


def shape(cls):
    exact = spatial_cases.CLASSES[cls][0]

    def draw(rng):
        sets = spatial_cases.random_sets(cls, int(rng.integers(2**31)), 1)
        model, values, points, grid = next(iter(sets))
        density, slopes = model.gradient(gm.SkyGrid(*grid), *values)
        largest, fixed = np.abs(slopes).max(axis=1), ()
        if "Shell" in cls.__name__:  # their slopes have no maximum at the rims
            largest = np.median(np.abs(slopes), axis=1)
            keep = spatial_cases.distance_to_rim(model, values, *points) > 1e-3
            points = [np.asarray(x)[keep] for x in points]
        if "e" in model.parameter_names and values[model.parameter_names.index("e")] == 0:
            fixed = ("e", "phi")  # a circle has no orientation
        if cls is gm.DiskSpatialModel:  # its norm is an integral
            fixed = (*fixed, "r_0", "e")
        theirs = spatial_cases.theirs_of(model, values)
        return Case(
            model, list(values), list(zip(*points, strict=True)), lambda at, *v: exact(*at, *v),
            theirs, density.max(), largest, fixed,
        )  # fmt: skip

    return draw


def constant(rng):
    value = float(rng.uniform(0.1, 10))
    model = gm.ConstantSpatialModel(value=value)
    theirs = gammapy.ConstantSpatialModel(value=value * u.Unit("sr-1"))
    return Case(model, [value], [(1.0, 2.0), (3.0, 4.0)], lambda _, value: value, theirs)


def constant_flux(rng):
    points = [(float(rng.uniform(0, 360)), 2.0)]
    return Case(gm.ConstantFluxSpatialModel(), [], points, lambda _: mp.mpf(1))


def positions(rng):
    return [(float(x), float(y)) for x, y in rng.uniform(-0.5, 0.5, (3, 2))]


def as_gammapy(made):
    """The same map, for Gammapy."""
    axes = [
        MapAxis.from_edges(a.nodes, name=a.name, unit=a.unit, interp=a.interp) for a in made.axes
    ]
    geom = WcsGeom(WCS(fits.Header(dict(made.grid.header))), npix=(12, 10), axes=axes)
    return Map.from_geom(geom, data=made.data, unit=made.unit)


def sky_template(rng):
    made = sky_map(rng)
    model = gm.TemplateSpatialModel(made, normalize=False)
    values = [0.015625, -0.0078125]
    for par, value in zip(model.parameters, values, strict=True):
        par.value = value
    theirs = gammapy.TemplateSpatialModel(as_gammapy(made), normalize=False, filename="x.fits")
    centre = model.internal_values.tolist()

    def exact(at, lon_0, lat_0):
        return log_cells(pixel(at[0] - lon_0, at[1] - lat_0), made.data)

    for par, value in zip(theirs.parameters, centre, strict=True):
        par.value = value
    return Case(model, centre, positions(rng), exact, theirs, scale=2.0)


HEAT = Axis("kt", np.array([1.0, 2, 4, 9]), "log", "edges", "keV")


def sky_template_nd(rng):
    made = sky_map(rng, [HEAT])
    model = gm.TemplateNDSpatialModel(made)
    value = float(rng.uniform(1.5, 6))
    model.kt.value = value
    theirs = gammapy.TemplateNDSpatialModel(as_gammapy(made), filename="x.fits")
    theirs.parameters["kt"].value = value

    def exact(at, heat):
        return log_cells([cell(HEAT, heat), *pixel(*at)], made.data)

    return Case(model, [value], positions(rng), exact, theirs, scale=2.0)


def rings(seed):
    """Nodes on two rings, so that no triangle is a sliver."""
    rng, k = np.random.default_rng(seed), np.arange(8)
    radius = np.where(k < 5, 3, 1.2) * (1 + rng.uniform(-0.2, 0.2, 8))
    angle = 2 * np.pi * (np.where(k < 5, k / 5, (k - 5) / 3) + rng.uniform(-0.05, 0.05, 8))
    return 83 + radius * np.cos(angle), 22 + radius * np.sin(angle)


RINGS = [rings(seed) for seed in range(5)]
SKY_NORMS = [gm.PiecewiseNormSpatialModel(*(x * u.deg for x in nodes)) for nodes in RINGS]
with mp.workdps(30):
    CUBICS = [CloughTocher(np.stack(nodes, axis=1)) for nodes in RINGS]


def piecewise_sky(rng):
    n, norms = int(rng.integers(5)), rng.uniform(0.3, 2, 8)
    model = SKY_NORMS[n]
    model.parameters.value = norms
    coords, theirs = MapCoord.create(tuple(x * u.deg for x in RINGS[n])), None
    if rng.uniform() < 0.1:  # it takes long, and is good to 1e-6 only
        theirs = gammapy.PiecewiseNormSpatialModel(coords, norms=norms)
    points = [(83 + float(x), 22 + float(y)) for x, y in rng.uniform(-1.2, 1.2, (3, 2))]
    return Case(
        model, norms.tolist(), points, lambda at, *v: CUBICS[n](*at, *v), theirs,
        float(norms.max()),
    )  # fmt: skip


# --- changes with time --------------------------------------------------------------------------


def change(tag):
    def draw(rng):
        model, named, start, stop = temporal_cases.draw(tag, rng)
        values = [0.0 if n == "t_ref" else named[n] for n in model.parameter_names]

        def exact(t, *values):
            given = dict(zip(model.parameter_names, values, strict=True))
            return temporal_cases.EXACT[tag][0](t - given.pop("t_ref", 0), **given)

        def integral():
            parts = zip(start, stop, strict=True)
            return [temporal_cases.exact_integral(tag, named, a, b) for a, b in parts]

        def theirs(time):
            given = zip(model.parameter_names, values, model.internal_units, strict=True)
            quantities = {name: u.Quantity(value, unit) for name, value, unit in given}
            return getattr(gammapy, type(model).__name__).evaluate(time, **quantities)

        return Case(
            model, values, start.tolist(), exact, theirs, integral=integral, bounds=(start, stop)
        )

    return draw


def light_curve(rng):
    time, norm = np.cumsum(rng.uniform(0.1, 1, 6)), rng.uniform(0.1, 3, 6)
    model = gm.LightCurveTemplateTemporalModel(time * u.d, norm)
    start = np.sort(rng.uniform(time[0], time[-1], 4))
    stop = start + rng.uniform(0.001, 1, 4) * (time[-1] - start)

    def exact(t, t_ref):
        return interpolated(t - t_ref, time, norm, "lin")

    def integral():
        found = []
        for a, b in zip(start, stop, strict=True):
            corners = [a, *time[(time > a) & (time < b)].tolist(), b]
            heights = [exact(mp.mpf(t), 0) for t in corners]
            found.append(sum(
                (mp.mpf(q) - mp.mpf(p)) * (x + y) / 2
                for (p, q), (x, y) in zip(pairwise(corners), pairwise(heights), strict=True)
            ))  # fmt: skip
        return found

    return Case(model, [0.0], start.tolist(), exact, integral=integral, bounds=(start, stop))


def phase_curve(rng):
    phase, norm = np.sort(rng.uniform(0, 1, 5)), rng.uniform(0.2, 2, 5)
    model = gm.TemplatePhaseCurveTemporalModel(phase, norm, normalize=False)
    f0 = float(rng.uniform(0.01, 0.1))
    values = [0.0, float(rng.uniform(0, 1)), f0, 1e-9 * f0**2, 1e-18 * f0**3]
    ends = np.sort(rng.uniform(0, 9, 2)) / f0
    rises = [(y1 - y0) / (x1 - x0) for (x0, x1), (y0, y1) in zip(
        pairwise(map(mp.mpf, phase)), pairwise(map(mp.mpf, norm)), strict=True
    )]  # fmt: skip

    def exact(t, t_ref, phi_ref, f0, f1, f2):
        x = (t - t_ref) * 86400
        part = phi_ref + x * (f0 + x / 2 * (f1 + x / 3 * f2))
        part -= mp.floor(part)
        k = int(np.clip(sum(p <= part for p in phase) - 1, 0, 3))
        return mp.mpf(norm[k]) + rises[k] * (part - mp.mpf(phase[k]))

    total, slopes = temporal_cases.over_rotations(phase, norm, values, *ends)

    def integral():
        return [total / 86400]

    bounds = ends[:1] / 86400, ends[1:] / 86400
    return Case(
        model, values, (ends / 86400).tolist(), exact, scale=float(np.abs(model._y).max()),
        integral=integral, bounds=bounds, slopes=slopes[:, None] / 86400,
    )  # fmt: skip


CASES = {
    **{
        ("spectral", gm.get_class("spectral", tag).__name__): closed_form(tag)
        for tag in spectral_cases.EXACT
    },
    ("spectral", "CompoundSpectralModel"): compound,
    ("spectral", "LogGaussianSpectralModel"): log_gaussian,
    ("spectral", "ScaleSpectralModel"): scale,
    ("spectral", "PiecewiseNormSpectralModel"): piecewise_spectrum,
    ("spectral", "TemplateSpectralModel"): template,
    ("spectral", "TemplateNDSpectralModel"): template_nd,
    ("spectral", "EBLAbsorptionNormSpectralModel"): ebl,
    **{("spatial", cls.__name__): shape(cls) for cls in spatial_cases.CLASSES},
    ("spatial", "ConstantSpatialModel"): constant,
    ("spatial", "ConstantFluxSpatialModel"): constant_flux,
    ("spatial", "TemplateSpatialModel"): sky_template,
    ("spatial", "TemplateNDSpatialModel"): sky_template_nd,
    ("spatial", "PiecewiseNormSpatialModel"): piecewise_sky,
    **{
        ("temporal", gm.get_class("temporal", tag).__name__): change(tag)
        for tag in temporal_cases.EXACT
    },
    ("temporal", "LightCurveTemplateTemporalModel"): light_curve,
    ("temporal", "TemplatePhaseCurveTemporalModel"): phase_curve,
}
# no formula of their own: four pixels of a grid (tests/likelihood), and naima (test_naima)
ELSEWHERE = {("spatial", "PointSpatialModel"), ("spectral", "NaimaSpectralModel")}
