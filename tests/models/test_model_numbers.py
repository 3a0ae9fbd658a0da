"""Every class of the registry at random parameters: no one is left out."""

import numpy as np
import pytest

import gmdask.models as gm
from tests.models.model_cases import CASES, ELSEWHERE
from tests.models.model_numbers import BOUNDS, measure

# sets with derivatives in mpmath; far from a smooth break they are small
SLOW = {"PiecewiseNormSpatialModel": 3, "SmoothBrokenPowerLawSpectralModel": 200}


def test_no_class_is_missing():
    """A class that is added must be added to the tables too."""
    found = {
        (kind, gm.get_class(kind, name).__name__)
        for kind in ("spectral", "spatial", "temporal")
        for name in gm.known_types(kind)
        if gm.get_class(kind, name).__module__.startswith("gmdask.")
    }
    assert found == {*CASES} | ELSEWHERE


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_numbers(kind, name):
    """Within the bounds of the table that `tests.benchmarks.models_table` prints."""
    numbers = measure(kind, name, slow=SLOW.get(name, 20))
    assert numbers.values < BOUNDS["values"]
    for column in ("excess", "integrals", "derivatives"):
        found = getattr(numbers, column)
        assert np.isnan(found) or found <= BOUNDS.get((name, column), BOUNDS[column]), column


@pytest.mark.parametrize("kind", ["spectral", "spatial", "temporal"])
def test_a_wrong_model_is_seen(kind, monkeypatch):
    """A value that is off by 1e-11, and derivatives by 1e-5, break the bounds."""
    name = {"spectral": "LogParabola", "spatial": "Gaussian", "temporal": "ExpDecay"}[kind]
    name += f"{kind.capitalize()}Model"
    cls = getattr(gm, name)
    evaluate = cls.evaluate
    monkeypatch.setattr(cls, "evaluate", lambda *x: evaluate(*x) * (1 + 1e-11))
    slopes = "bins_gradient" if kind == "temporal" else "gradient"
    gradient = getattr(cls, slopes)
    monkeypatch.setattr(cls, slopes, lambda *x: (gradient(*x)[0], gradient(*x)[1] * (1 + 1e-5)))
    numbers = measure(kind, name, sets=5)
    assert numbers.values > BOUNDS["values"]
    assert numbers.derivatives > BOUNDS["derivatives"]
