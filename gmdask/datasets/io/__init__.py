"""Datasets in files and stores, and in Gammapy's objects."""
