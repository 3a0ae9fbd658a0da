"""Compiled datasets and images with Gammapy's response, to be compared with Gammapy's numbers."""

from functools import partial

from gmdask.likelihood import compiled, images

CompiledDataset = partial(compiled.CompiledDataset, response="gammapy")
npred_images = partial(images.npred_images, response="gammapy")
