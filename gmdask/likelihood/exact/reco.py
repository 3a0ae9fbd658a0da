"""Response to a point source before a PSF in reconstructed energy."""

from __future__ import annotations

import numpy as np

from gmdask.likelihood.exact.irfs import Jet

__all__ = ["product"]


def product(edisp: Jet, exposure: Jet) -> Jet:
    """Energy dispersion (T, R) times exposure (T,), with derivatives."""
    r, e = edisp, exposure
    value = r.value * e.value[:, None]
    if not (r.first or e.first):
        return Jet(value, [], [])
    zero_r, zero_e = np.zeros_like(r.value), np.zeros_like(e.value)
    dr, de = r.first or [zero_r] * 2, e.first or [zero_e] * 2
    d2r = r.second or [[zero_r] * 2] * 2
    d2e = e.second or [[zero_e] * 2] * 2
    first = [dr[i] * e.value[:, None] + r.value * de[i][:, None] for i in (0, 1)]
    second = [
        [
            d2r[i][j] * e.value[:, None] + dr[i] * de[j][:, None] + dr[j] * de[i][:, None]
            + r.value * d2e[i][j][:, None]
            for j in (0, 1)
        ]
        for i in (0, 1)
    ]  # fmt: skip
    return Jet(value, first, second)
