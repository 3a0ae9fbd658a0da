"""Figures.

Every function draws on the axes that it is given and returns them; by default it draws on those of a new
pyplot figure. Functions of datasets also accept the sums of `sum_up`, so that predictions are computed once.
"""

from gmdask.plot.corner import plot_corner
from gmdask.plot.coverage import plot_coverage
from gmdask.plot.dataset import (
    peek,
    plot_counts,
    plot_excess,
    plot_masks,
    plot_residuals_spatial,
    plot_residuals_spectral,
)
from gmdask.plot.flux_fit import plot_flux_fit
from gmdask.plot.flux_maps import plot_flux_map
from gmdask.plot.history import History, plot_passes
from gmdask.plot.irf import (
    plot_effective_area,
    plot_energy_dispersion,
    plot_exposure,
    plot_psf_containment,
)
from gmdask.plot.maps import (
    plot_counts_map,
    plot_map,
    plot_model_map,
    plot_residuals_map,
    plot_significance_map,
)
from gmdask.plot.model_errors import plot_position_error, plot_spatial_error
from gmdask.plot.models import (
    plot_phasogram,
    plot_positions,
    plot_regions,
    plot_spatial_grid,
    plot_spatial_model,
    plot_temporal_model,
)
from gmdask.plot.report import write_report
from gmdask.plot.residuals import plot_residuals
from gmdask.plot.sed import (
    plot_flux_points,
    plot_flux_profile,
    plot_light_curve,
    plot_sed,
    plot_spectral_error,
    plot_spectral_model,
)
from gmdask.plot.spectra import (
    plot_counts_spectrum,
    plot_residuals_histogram,
    plot_residuals_spectrum,
)
from gmdask.plot.statistics import plot_contour, plot_correlation, plot_profile, plot_surface
from gmdask.plot.sums import Sums, significance, sum_up
from gmdask.plot.ts_profiles import plot_ts_profiles

__all__ = [
    "History",
    "Sums",
    "peek",
    "plot_contour",
    "plot_corner",
    "plot_correlation",
    "plot_counts",
    "plot_counts_map",
    "plot_counts_spectrum",
    "plot_coverage",
    "plot_effective_area",
    "plot_energy_dispersion",
    "plot_excess",
    "plot_exposure",
    "plot_flux_fit",
    "plot_flux_map",
    "plot_flux_points",
    "plot_flux_profile",
    "plot_light_curve",
    "plot_map",
    "plot_masks",
    "plot_model_map",
    "plot_passes",
    "plot_phasogram",
    "plot_position_error",
    "plot_positions",
    "plot_profile",
    "plot_psf_containment",
    "plot_regions",
    "plot_residuals",
    "plot_residuals_histogram",
    "plot_residuals_map",
    "plot_residuals_spatial",
    "plot_residuals_spectral",
    "plot_residuals_spectrum",
    "plot_sed",
    "plot_significance_map",
    "plot_spatial_error",
    "plot_spatial_grid",
    "plot_spatial_model",
    "plot_spectral_error",
    "plot_spectral_model",
    "plot_surface",
    "plot_temporal_model",
    "plot_ts_profiles",
    "significance",
    "sum_up",
    "write_report",
]
