"""Temporal models once more in mpmath, and random parameters in sensible limits."""

import mpmath as mp
import numpy as np

from gmdask.models import get_class

T_REF = 55555.0


def _pulse(x, rise, decay, eta):
    return mp.exp(-mp.mpf(0.5) * (abs(x) / (rise if x < 0 else decay)) ** (1 / eta))


# value at x = t - t_ref with the other parameters by name, and their limits
EXACT = {
    "const": (lambda x: mp.mpf(1), {}),
    "linear": (lambda x, alpha, beta: alpha + beta * x, {"alpha": (0.5, 2), "beta": (-0.1, 0.1)}),
    "exp-decay": (lambda x, t0: mp.exp(-x / t0), {"t0": (0.5, 20)}),
    "gauss": (lambda x, sigma: mp.exp(-(x**2) / (2 * sigma**2)), {"sigma": (0.3, 20)}),
    "gengauss": (
        lambda x, t_rise, t_decay, eta: _pulse(x, t_rise, t_decay, eta),
        {"t_rise": (0.5, 5), "t_decay": (0.5, 5), "eta": (0.3, 1.2)},
    ),
    "powerlaw": (lambda x, alpha, t0: (x / t0) ** alpha, {"alpha": (-2, 2), "t0": (0.5, 5)}),
    "sinus": (
        lambda x, amp, omega: 1 + amp * mp.sin(omega * x),
        {"amp": (0, 1), "omega": (0.1, 20)},
    ),
}


def draw(tag, rng):
    cls = get_class("temporal", tag)
    values = {name: rng.uniform(*limits) for name, limits in EXACT[tag][1].items()}
    after = 0.1 if tag == "powerlaw" else -2.0
    start = np.cumsum(rng.uniform(0.01, 2.0, 4)) + after
    stop = start + rng.uniform(0.001, 0.01, 4) + rng.uniform(0, 0.5, 4) * (rng.uniform() < 0.5)
    keys = {"t_ref": T_REF, **values} if tag != "const" else {}
    return cls(scale="tt", **keys), values, start, stop


def exact_integral(tag, values, start, stop):
    function = EXACT[tag][0]
    values = {name: mp.mpf(value) for name, value in values.items()}

    def along(x):
        return function(x, **values)

    points = [start, stop] if tag != "gengauss" or start * stop > 0 else [start, 0, stop]
    return mp.quad(along, points)


def over_rotations(x, y, values, start, stop):
    """Integral (s) between two times and its derivatives [5], cut where the curve has corners."""

    def phase(t):
        return values[1] + t * (values[2] + t / 2 * (values[3] + t / 3 * values[4]))

    def frequency(t):
        return values[2] + t * (values[3] + t / 2 * values[4])

    def changes(t):
        return np.stack([-frequency(t) * 86400, t**0, t, t**2 / 2, t**3 / 6])

    turns = np.arange(np.floor(phase(start)), np.floor(phase(stop)) + 1)
    target = np.unique((turns[:, None] + np.array([0.0, *x])).ravel())
    target = target[(target > phase(start)) & (target < phase(stop))]
    t = start + (stop - start) * (target - phase(start)) / (phase(stop) - phase(start))
    for _ in range(20):
        t = t - (phase(t) - target) / frequency(t)
    edges = np.concatenate([[start], t, [stop]])
    nodes, weights = np.polynomial.legendre.leggauss(4)  # in between all is a polynomial
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    t = middle[:, None] + half[:, None] * nodes
    turn = np.floor(phase(middle))
    k = np.clip(np.searchsorted(x, phase(middle) - turn, "right") - 1, 0, len(x) - 2)
    slope = (np.diff(y) / np.diff(x))[k, None]
    norm = y[k, None] + slope * (phase(t) - turn[:, None] - x[k, None])
    total = half @ (norm @ weights)
    derivatives = (slope * changes(t)) @ weights @ half
    last, first = np.diff(y)[-1] / np.diff(x)[-1], np.diff(y)[0] / np.diff(x)[0]
    jump = y[0] - first * x[0] - (y[-1] + last * (1 - x[-1]))
    at = edges[1:-1][np.isin(target, turns)]
    return total, derivatives + jump * (changes(at) / frequency(at)).sum(axis=1)
