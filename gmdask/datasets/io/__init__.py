"""Conversion of datasets from and to files, stores and Gammapy's objects."""
