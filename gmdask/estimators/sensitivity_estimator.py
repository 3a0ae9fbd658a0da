"""Sensitivity: the flux of a source that would just be detected, in each energy bin of an on/off spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray

from gmdask.attributes import KnownAttributes
from gmdask.datasets import Datasets, SpectrumDatasetOnOff
from gmdask.datasets.base import chosen_response
from gmdask.errors import InputError, check_kind
from gmdask.estimators.counts_statistic import on_off_excess
from gmdask.models import Models, PowerLawSpectralModel, SkyModel, SpectralModel
from gmdask.store.axes import cube_axis

__all__ = ["SensitivityEstimator"]

Array = NDArray[np.float64]


class SensitivityEstimator(KnownAttributes):
    """Estimator of the smallest flux that is detected in each energy bin.

    Parameters
    ----------
    spectral_model : `SpectralModel`, optional
        Spectrum of the source; by default a power law of index 2.
    n_sigma : float
        Smallest significance (Li & Ma 1983) of the excess.
    gamma_min : float
        Smallest number of excess counts.
    bkg_syst_fraction : float
        Smallest ratio of excess and background.
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed; by default the setting of the dataset.

    Notes
    -----
    The rules are those of Gammapy's ``SensitivityEstimator``.
    """

    def __init__(
        self,
        spectral_model: SpectralModel | None = None,
        n_sigma: float = 5.0,
        gamma_min: float = 10,
        bkg_syst_fraction: float = 0.05,
        *,
        response: str | None = None,
    ) -> None:
        self.spectral_model = PowerLawSpectralModel() if spectral_model is None else spectral_model
        check_kind(self.spectral_model, SpectralModel, "a spectral model")
        self.n_sigma, self.gamma_min = float(n_sigma), float(gamma_min)
        self.bkg_syst_fraction = float(bkg_syst_fraction)
        if not (self.n_sigma > 0 and self.gamma_min >= 0 and self.bkg_syst_fraction >= 0):
            msg = (
                f"n_sigma is {n_sigma}, gamma_min {gamma_min} and bkg_syst_fraction {bkg_syst_fraction}, "
                "expected a positive number, and two that are not negative"
            )
            raise InputError(msg)
        self.response = None if response is None else chosen_response(response)

    def run(self, dataset: SpectrumDatasetOnOff) -> QTable:
        """Estimate the sensitivity.

        Parameters
        ----------
        dataset : `SpectrumDatasetOnOff`
            It is not changed.

        Returns
        -------
        sensitivity : `~astropy.table.QTable`
            One row per energy bin, with Gammapy's columns: ``e_ref``, ``e_min``, ``e_max``; ``e2dnde`` of the source;
            ``excess`` and ``background`` counts; and the ``criterion`` that determines them: "significance", "gamma"
            or "bkg". NaN without off acceptance, and infinite fluxes without exposure.

        Raises
        ------
        InputError
            If the dataset is no on/off spectrum.
        """
        check_kind(dataset, SpectrumDatasetOnOff, "an on/off spectrum (SpectrumDatasetOnOff)")
        cube = dataset.cube
        n_off, acceptance, acceptance_off = (
            np.asarray(cube[key].values, dtype=float)[:, 0, 0]
            for key in ("counts_off", "acceptance", "acceptance_off")
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            alpha = np.where(acceptance_off > 0, acceptance / acceptance_off, np.nan)
        background = alpha * n_off
        excess = on_off_excess(n_off, alpha, self.n_sigma)
        criterion = np.full(len(excess), "significance", dtype="U12")
        few = excess < self.gamma_min
        excess = np.where(few, self.gamma_min, excess)
        small = excess < self.bkg_syst_fraction * background
        excess = np.where(small, self.bkg_syst_fraction * background, excess)
        criterion[few], criterion[small] = "gamma", "bkg"
        axis = cube_axis(cube, "energy", "TeV")
        energy = u.Quantity(axis.center, "TeV")
        with np.errstate(invalid="ignore", divide="ignore"):
            norm = excess / self._signal(dataset)
        e2dnde = (norm * self.spectral_model(energy) * energy**2).to("erg cm-2 s-1")
        columns: dict[str, Any] = {
            "e_ref": energy, "e_min": u.Quantity(axis.edges[:-1], "TeV"), "e_max": u.Quantity(axis.edges[1:], "TeV"),
            "e2dnde": e2dnde, "excess": excess, "background": background, "criterion": criterion,
        }  # fmt: skip
        return QTable(columns, meta={"n_sigma": self.n_sigma})

    def _signal(self, dataset: SpectrumDatasetOnOff) -> Array:
        """Counts (energy,) of the source at a norm of 1."""
        own = dataset.copy()
        if self.response is not None:
            own.set_response(self.response)
        Datasets([own]).set_models(Models([SkyModel(self.spectral_model.copy(), name="source")]))
        return np.asarray(own.npred_signal().values, dtype=float)[:, 0, 0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.n_sigma:g} σ>"
