"""Datasets with their own copies of models, and collections of datasets."""

from gmdask.datasets.base import Dataset
from gmdask.datasets.collection import Datasets, as_datasets
from gmdask.datasets.flux_points import FluxPointsDataset
from gmdask.datasets.given import check_global, counted, with_counts
from gmdask.datasets.io.exporting import export_datasets, from_gammapy, to_gammapy
from gmdask.datasets.io.importing import import_datasets
from gmdask.datasets.io.write_store import compact
from gmdask.datasets.map_dataset import MapDataset
from gmdask.datasets.on_off import SpectrumDatasetOnOff
from gmdask.datasets.operations.energy_groups import resample_energy_edges
from gmdask.datasets.simulation.event_lists import simulate_event_lists
from gmdask.datasets.simulation.survey_simulation import simulate
from gmdask.datasets.spectrum_dataset import SpectrumDataset

__all__ = [
    "Dataset",
    "Datasets",
    "FluxPointsDataset",
    "MapDataset",
    "SpectrumDataset",
    "SpectrumDatasetOnOff",
    "as_datasets",
    "check_global",
    "compact",
    "counted",
    "export_datasets",
    "from_gammapy",
    "import_datasets",
    "resample_energy_edges",
    "simulate",
    "simulate_event_lists",
    "to_gammapy",
    "with_counts",
]
