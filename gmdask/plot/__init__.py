"""Figures."""

from gmdask.plot.residuals import plot_residuals

__all__ = ["plot_residuals"]
