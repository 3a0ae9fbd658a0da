"""What the tests of fits share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import gmdask as gm
from gmdask.evaluation.joint_likelihood import Objective
from gmdask.models import ParameterDefault, SpectralModel, register

FOLDERS = ["crab", "pks2155", "hawc", "fermi_crab"]


@register
class EdgeSpectralModel(SpectralModel):
    """Power law that is no number from a limit of the index on, and negative close to it."""

    tag = ("EdgeSpectralModel", "edge")
    defaults = (
        ParameterDefault("index", 2.0, ""),
        ParameterDefault("amplitude", 4e-12, "cm-2 s-1 TeV-1"),
        ParameterDefault("limit", 3.0, "", frozen=True),
    )

    def evaluate(self, energy, index, amplitude, limit):
        with np.errstate(invalid="ignore", divide="ignore"):
            return amplitude * energy**-index * np.log(limit - index)


def real_models(folder: Path) -> gm.Models:
    """Models of a real analysis at the start."""
    return gm.Models.read(folder / "models_start.yaml")


def reference(folder: Path) -> dict:
    """What Gammapy found."""
    return json.loads((folder / "reference.json").read_text())


def bits(result, models) -> dict[str, bytes]:
    """What has to be the same to the last bit."""
    return {
        "total": np.float64(result.total_stat).tobytes(),
        "stat": np.array(list(result.stat.values())).tobytes(),
        "values": models.parameters.value.tobytes(),
        "errors": models.parameters.error.tobytes(),
        "covariance": result.covariance.data.tobytes(),
    }


def numeric_gradient(objective: Objective, point, anchor, steps) -> np.ndarray:
    """Gradient by the shared parameters: differences of fourth order at a fixed anchor."""
    gradient = []
    for index, step in zip(objective.parameters.shared, steps, strict=True):

        def stat(factor, index=index, step=step):
            values = point.values.copy()
            values[index] += factor * step
            # of order 1: the value at the optimum of the local parameters
            return objective(values, anchor=anchor, order=1).stat

        gradient.append((8 * (stat(1) - stat(-1)) - (stat(2) - stat(-2))) / (12 * step))
    return np.array(gradient)


def numeric_hessian(objective: Objective, point, anchor, steps) -> np.ndarray:
    """Hessian by the shared parameters: differences of the exact gradient."""
    rows = []
    for index, step in zip(objective.parameters.shared, steps, strict=True):

        def gradient(factor, index=index, step=step):
            values = point.values.copy()
            values[index] += factor * step
            return objective(values, anchor=anchor, order=1).gradient

        rows.append((8 * (gradient(1) - gradient(-1)) - (gradient(2) - gradient(-2))) / (12 * step))
    hessian = np.array(rows)
    return 0.5 * (hessian + hessian.T)
