"""Readers of foreign formats, into one `xarray.Dataset` per observation."""

from gmdask.store.formats.gadf import read_map_dataset
from gmdask.store.formats.gammapy_yaml import DatasetEntry, read_datasets_yaml

__all__ = ["DatasetEntry", "read_datasets_yaml", "read_map_dataset"]
