"""The exact response: sources are convolved with the PSF before they are integrated over pixels."""
