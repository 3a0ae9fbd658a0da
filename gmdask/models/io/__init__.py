"""Conversion of models from and to files and Gammapy's objects."""
