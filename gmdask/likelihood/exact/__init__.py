"""The exact response: sources are convolved with the PSF before they meet the pixels."""
