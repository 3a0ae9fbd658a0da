"""Background makers that return a dataset and its background model.

They use Gammapy's makers of the same names.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from gmdask.datasets import Dataset, MapDataset, from_gammapy
from gmdask.errors import InputError, described
from gmdask.inputs.optional import gammapy_module
from gmdask.models import BackgroundIRFModel, ModelBase, PowerLawNormSpectralModel
from gmdask.models.io.gammapy_objects import models_from_gammapy, models_to_gammapy
from gmdask.quiet import no_warnings

__all__ = [
    "AdaptiveRingBackgroundMaker",
    "BackgroundMaker",
    "FoVBackgroundMaker",
    "IRFBackgroundMaker",
    "PhaseBackgroundMaker",
    "ReflectedRegionsBackgroundMaker",
    "RingBackgroundMaker",
    "logged",
]

DATASETS = ("MapDataset", "SpectrumDataset")


class BackgroundMaker(ABC):
    """Computes the background of a dataset, and the model that corrects it in a fit."""

    def run(
        self, dataset: Any, observation: Any = None
    ) -> tuple[MapDataset, BackgroundIRFModel | None]:
        """Compute the background.

        Parameters
        ----------
        dataset : ``gammapy.datasets.MapDataset`` or ``SpectrumDataset``
            Created by Gammapy's ``MapDatasetMaker`` or ``SpectrumDatasetMaker`` and, usually,
            ``SafeMaskMaker``. It is not changed.
        observation : ``gammapy.data.Observation``, optional
            Needed if events are counted: with reflected regions and phases.

        Returns
        -------
        dataset : `MapDataset`, `SpectrumDataset` or `SpectrumDatasetOnOff`
            Without models.
        model : `BackgroundIRFModel` or None
            Named ``<dataset>-bkg``, to be added to the global models. On/off spectra have none, as their
            background is measured.

        Raises
        ------
        InputError
            If the dataset is of another kind, or Gammapy cannot compute its background.
        """
        kind = type(dataset).__name__
        if kind not in DATASETS or isinstance(dataset, Dataset):  # gmdask's have the same names
            msg = f"dataset is {described(dataset)}, expected Gammapy's {' or '.join(DATASETS)}"
            raise InputError(msg)
        made, model = self.make(dataset.copy(name=dataset.name), observation)
        found: MapDataset = from_gammapy(made)
        return found, model

    @abstractmethod
    def make(self, dataset: Any, observation: Any) -> tuple[Any, BackgroundIRFModel | None]:
        """Compute the background of a Gammapy dataset, which may be changed.

        Parameters
        ----------
        dataset, observation
            See `run`.

        Returns
        -------
        dataset
            The Gammapy dataset.
        model : `BackgroundIRFModel` or None
        """


class IRFBackgroundMaker(BackgroundMaker):
    """Uses the background of the instrument response.

    Parameters
    ----------
    spectral_model : `SpectralModel`, optional
        Norm model, by default a `PowerLawNormSpectralModel` with a free norm.
    """

    def __init__(self, spectral_model: Any = None) -> None:
        self.spectral_model = spectral_model

    def make(
        self,
        dataset: Any,
        observation: Any = None,  # noqa: ARG002
    ) -> tuple[Any, BackgroundIRFModel]:
        """Return the dataset with a model of its background; see `BackgroundMaker.make`."""
        if dataset.background is None:
            msg = f"dataset {dataset.name!r} has no background"
            raise InputError(msg)
        norm = None if self.spectral_model is None else self.spectral_model.copy()
        return dataset, BackgroundIRFModel(norm, dataset.name)


class _GammapyMaker(BackgroundMaker):
    """A maker that wraps one of Gammapy's.

    Parameters
    ----------
    options : dict
        Options of Gammapy's maker; norm models may be gmdask's.

    Raises
    ------
    InputError
        If it has no such option, or the value is invalid.
    """

    theirs: ClassVar[str]

    def __init__(self, **options: Any) -> None:
        theirs = gammapy_module("makers", type(self).__name__)
        given = {key: _theirs(value) for key, value in options.items()}
        try:
            self.maker = getattr(theirs, self.theirs)(**given)
        except (TypeError, ValueError) as error:
            msg = f"{self.theirs}: {error}"
            raise InputError(msg) from error

    def _run(self, dataset: Any, observation: Any) -> Any:
        """Return Gammapy's dataset; problems that Gammapy only logs and masks are errors."""
        try:
            with no_warnings(), logged() as messages:
                made = self.maker.run(dataset, observation)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            msg = f"dataset {dataset.name!r}: {self.theirs}: {error}"
            raise InputError(msg) from error
        if not made.mask_safe.data.any():
            reason = "; ".join(messages) or "no bin is left in the safe mask"
            msg = f"dataset {dataset.name!r}: {reason}"
            raise InputError(msg)
        return made


class FoVBackgroundMaker(_GammapyMaker):
    """Scales or fits the norm of the background outside of an exclusion mask.

    Parameters
    ----------
    **options
        Options of Gammapy's `FoVBackgroundMaker`: ``method`` ("scale" or "fit"), ``exclusion_mask``,
        ``spectral_model``, ``spatial_model``, ``min_counts``, ``min_npred_background``. The returned
        model has the values and errors of the norm, which stays free.
    """

    theirs = "FoVBackgroundMaker"

    def make(self, dataset: Any, observation: Any = None) -> tuple[Any, BackgroundIRFModel]:
        """Scale or fit the norm; see `BackgroundMaker.make`."""
        made = self._run(dataset, observation)
        model: BackgroundIRFModel = models_from_gammapy(made.background_model)
        made.models = None
        return made, model


class _OffMaker(_GammapyMaker):
    """A maker that measures the background in on/off data."""

    def make(self, dataset: Any, observation: Any = None) -> tuple[Any, BackgroundIRFModel | None]:
        """Measure the background; see `BackgroundMaker.make`."""
        name = dataset.name
        made = self._run(dataset, observation)
        if made.counts.geom.is_region:
            return (made if made.name == name else made.copy(name=name)), None
        found = made.to_map_dataset(name=name)
        known = np.isfinite(found.background.data)
        found.background.data = np.where(known, found.background.data, 0.0)
        found.mask_safe.data &= known
        norm = PowerLawNormSpectralModel()
        norm.norm.frozen = True
        return found, BackgroundIRFModel(norm, name)


class RingBackgroundMaker(_OffMaker):
    """Measures the background of each pixel in a ring around it.

    The dataset has this estimate as its background, and a model whose norm is frozen at 1.

    Parameters
    ----------
    **options
        Those of Gammapy's `RingBackgroundMaker`: ``r_in``, ``width``, ``exclusion_mask``.
    """

    theirs = "RingBackgroundMaker"


class AdaptiveRingBackgroundMaker(_OffMaker):
    """Measures the background of each pixel in a ring as large as it needs to be.

    The dataset has one bin of energy. Where no ring is large enough, the pixel is masked.

    Parameters
    ----------
    **options
        Those of Gammapy's `AdaptiveRingBackgroundMaker`: ``r_in``, ``r_out_max``, ``width``,
        ``stepsize``, ``threshold_alpha``, ``theta``, ``method``, ``exclusion_mask``.
    """

    theirs = "AdaptiveRingBackgroundMaker"

    def make(self, dataset: Any, observation: Any = None) -> tuple[Any, BackgroundIRFModel | None]:
        """Measure the background; see `BackgroundMaker.make`."""
        nbin = dataset.counts.geom.axes["energy"].nbin
        if nbin != 1:
            msg = f"dataset {dataset.name!r} has {nbin} bins of energy, expected one with {self.theirs}"
            raise InputError(msg)
        return super().make(dataset, observation)


class ReflectedRegionsBackgroundMaker(_OffMaker):
    """Counts the background of a spectrum in regions as far from the pointing as the source.

    Parameters
    ----------
    **options
        Those of Gammapy's `ReflectedRegionsBackgroundMaker` and of its region finder:
        ``exclusion_mask``, ``min_distance``, ``max_region_number``, ... With ``n_off_regions``, the finder is
        Gammapy's `WobbleRegionsFinder`, which point-like responses with a table of radii (``RAD_MAX_2D``) need.
    """

    theirs = "ReflectedRegionsBackgroundMaker"

    def __init__(self, **options: Any) -> None:
        if "n_off_regions" in options:
            finder = gammapy_module("makers", "reduce").WobbleRegionsFinder
            names = [name for name in ("n_off_regions", "binsz") if name in options]
            options["region_finder"] = finder(**{name: options.pop(name) for name in names})
        super().__init__(**options)


class PhaseBackgroundMaker(_OffMaker):
    """Counts the background in other phases of a pulsar.

    Parameters
    ----------
    **options
        Those of Gammapy's `PhaseBackgroundMaker`: ``on_phase`` and ``off_phase``, pairs of phases
        or lists of them, and ``phase_column_name``.
    """

    theirs = "PhaseBackgroundMaker"

    def __init__(self, **options: Any) -> None:
        phases = {key: _pairs(value) for key, value in options.items() if key.endswith("_phase")}
        super().__init__(**{**options, **phases})


def _pairs(phases: Any) -> Any:
    """Intervals of phase as Gammapy takes them: a list of tuples."""
    several = isinstance(phases, Sequence) and all(isinstance(one, Sequence) for one in phases)
    return [tuple(one) for one in phases] if several else [tuple(phases)]


def _theirs(value: Any) -> Any:
    return models_to_gammapy(value) if isinstance(value, ModelBase) else value


# --- what Gammapy says -------------------------------------------------------------------


class _Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(" ".join(record.getMessage().split()))


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect what Gammapy logs as warnings or errors, instead of printing it.

    Yields
    ------
    messages : list of str
        Those that came until now.
    """
    log, handler = logging.getLogger("gammapy"), _Messages()
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield handler.messages
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
