"""Models in files, and in Gammapy's objects."""
