"""What a user holds: datasets with their own copies of models, and collections of them."""

from gmdask.datasets.collection import Datasets
from gmdask.datasets.importing import import_datasets
from gmdask.datasets.map_dataset import MapDataset, SpectrumDataset
from gmdask.datasets.simulating import simulate

__all__ = ["Datasets", "MapDataset", "SpectrumDataset", "import_datasets", "simulate"]
