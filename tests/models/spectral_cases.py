"""Every spectral class: exact values with mpmath, and random parameters in sensible limits."""

import astropy.units as u
import mpmath as mp
import numpy as np

from gmdask.models import EnergyGrid, SpectralModel, get_class
from gmdask.models.io.serialization import model_from_dict, model_to_dict

ENERGY = np.geomspace(0.05, 60, 7)
EDGES = np.geomspace(0.1, 30, 13)


def _pl(e, index, amplitude, reference):
    return amplitude * (e / reference) ** -index


def _pl2(e, amplitude, index, emin, emax):
    if index == 1:
        return amplitude / e / mp.log(emax / emin)
    power = 1 - index
    return amplitude * power * e**-index / (emax**power - emin**power)


def _lp(e, amplitude, reference, alpha, beta, scale=None):
    log = mp.log(e / reference)
    second = log if scale is None else mp.log(e / scale)
    return amplitude * mp.exp(-(alpha + beta * second) * log)


def _ecpl(e, index, amplitude, reference, lambda_, alpha):
    return _pl(e, index, amplitude, reference) * mp.exp(-((e * lambda_) ** alpha))


def _ecpl3(e, index, amplitude, reference, ecut):
    return _pl(e, index, amplitude, reference) * mp.exp((reference - e) / ecut)


def _secpl3(e, amplitude, reference, ecut, first, second):
    cutoff = (reference / ecut) ** second - (e / ecut) ** second
    return _pl(e, first, amplitude, reference) * mp.exp(cutoff)


def _secpl4(e, amplitude, reference, factor, first, second):
    mev = mp.mpf(10) ** 6
    cutoff = factor * ((reference * mev) ** second - (e * mev) ** second)
    return _pl(e, first, amplitude, reference) * mp.exp(cutoff)


def _dr3(e, amplitude, reference, factor, first, second):
    log = mp.log(e / reference)
    bent = -mp.expm1(second * log) / second**2 + log / second
    return _pl(e, first, amplitude, reference) * mp.exp(factor * bent)


def _bpl(e, first, second, amplitude, ebreak):
    return amplitude * (e / ebreak) ** -(first if e < ebreak else second)


def _sbpl(e, first, second, amplitude, ebreak, reference, beta):
    sign = mp.sign(second - first)
    bent = (1 + (e / ebreak) ** (abs(second - first) / beta)) ** (-sign * beta)
    return _pl(e, first, amplitude, reference) * bent


def _gauss(e, amplitude, mean, sigma):
    z = (e - mean) / sigma
    return amplitude / (sigma * mp.sqrt(2 * mp.pi)) * mp.exp(-z * z / 2)


def _meyer(e, norm):
    coefficients = [-0.00449161, 0, 0.0473174, -0.179475, -0.53616, -10.2708]
    log, x = mp.mpf(0), mp.log(e, 10)
    for coefficient in coefficients:
        log = log * x + mp.mpf(coefficient)
    return norm * mp.mpf("0.62415090744607626") * mp.mpf(10) ** log / e**2


EXACT = {
    "const": lambda e, const: const,
    "pl": _pl,
    "pl-2": _pl2,
    "pl-norm": _pl,
    "lp": _lp,
    "lp2": _lp,
    "lp-norm": _lp,
    "ecpl": _ecpl,
    "ecpl-norm": _ecpl,
    "ecpl-3fgl": _ecpl3,
    "secpl-3fgl": _secpl3,
    "secpl-4fgl": _secpl4,
    "secpl-4fgl-dr3": _dr3,
    "bpl": _bpl,
    "sbpl": _sbpl,
    "gauss": _gauss,
    "meyer-crab": _meyer,
}

# parameters by their names, ("log", low, high) for those that are scales
LIMITS = {
    "const": ("log", 1e-15, 1e-9),
    "amplitude": ("log", 1e-15, 1e-9),
    "norm": ("log", 0.1, 10),
    "tilt": ("lin", -1, 1),
    "index": ("lin", 0.5, 4),
    "index1": ("lin", 0.5, 4),
    "index2": ("lin", 0.5, 4),
    "index_1": ("lin", 0.5, 4),
    "index_2": ("lin", 0.2, 1.5),
    "alpha": ("lin", 0.5, 3),
    "beta": ("lin", 0.05, 0.8),
    "reference": ("log", 0.1, 10),
    "escale": ("log", 0.1, 10),
    "emin": ("log", 0.05, 0.5),
    "emax": ("log", 1, 100),
    "ebreak": ("log", 0.2, 20),
    "ecut": ("log", 2, 100),
    "lambda_": ("log", 0.01, 0.5),
    "expfactor": ("log", 1e-3, 0.5),
    "mean": ("log", 0.5, 5),
    "sigma": ("log", 0.5, 5),
}
SPECIAL = {
    ("ecpl", "alpha"): ("lin", 0.5, 1.5),
    ("ecpl-norm", "alpha"): ("lin", 0.5, 1.5),
    ("secpl-4fgl", "expfactor"): ("log", 1e-10, 1e-8),
}


def draw(tag, rng):
    """Random values of all parameters."""
    values = []
    for name in get_class("spectral", tag).parameter_names:
        scale, low, high = SPECIAL.get((tag, name), LIMITS[name])
        x = rng.uniform()
        values.append(low * (high / low) ** x if scale == "log" else low + (high - low) * x)
    if tag == "sbpl" and abs(values[1] - values[0]) < 0.2:  # it jumps where they are equal
        return draw(tag, rng)
    return values


def exact(tag, energy, values):
    """Value with mpmath."""
    return EXACT[tag](mp.mpf(energy), *map(mp.mpf, values))


def assert_same(ours, theirs, rtol=1e-10):
    """Values and integrals."""
    unit = ours.output_unit
    np.testing.assert_allclose(
        ours.evaluate(ENERGY, *ours.internal_values),
        theirs(ENERGY * u.TeV).to_value(unit),
        rtol=rtol,
    )
    np.testing.assert_allclose(
        ours.integral_bins(EnergyGrid(EDGES), ours.internal_values),
        theirs.integral(EDGES[:-1] * u.TeV, EDGES[1:] * u.TeV).to_value(unit * u.TeV),
        rtol=rtol,
    )


def assert_gradient(model, energy=ENERGY, rtol=1e-6):
    values = model.internal_values
    y, dy = model.gradient(energy, *values)
    np.testing.assert_allclose(y, model.evaluate(energy, *values), rtol=1e-13)
    by_differences = SpectralModel.gradient(model, energy, *values)[1]
    for mine, other, value in zip(dy, by_differences, values, strict=True):
        size = rtol * np.abs(mine).max() + 1e-9 * np.abs(y).max() / (abs(value) or 1.0)
        np.testing.assert_allclose(mine, other, rtol=0, atol=size)


def again(model):
    return model_from_dict("spectral", model_to_dict(model), {})
