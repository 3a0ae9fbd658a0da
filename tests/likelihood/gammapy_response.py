"""Compiled datasets and images with Gammapy's response, to be compared with Gammapy's numbers."""

from functools import partial

from gmdask.likelihood import dataset_likelihood, npred

CompiledDataset = partial(dataset_likelihood.CompiledDataset, response="gammapy")
npred_images = partial(npred.npred_images, response="gammapy")
