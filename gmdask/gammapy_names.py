"""Alternatives to attributes of Gammapy's classes that gmdask's classes do not have."""

from __future__ import annotations

from itertools import product

__all__ = ["INSTEAD"]


def _each(sentences: dict[str, str]) -> dict[str, str]:
    """Split strings of several names that share a sentence into one entry per name."""
    return {name: sentence for names, sentence in sentences.items() for name in names.split()}


_FLUXES = ("dnde", "e2dnde", "flux", "eflux", "norm", "npred_excess")
_PARTS = ("", "_err", "_errn", "_errp", "_ul", "_ref", "_sensitivity")
_NEVER = ("norm_ref", "npred_excess_sensitivity")
_QUANTITIES = (
    *(a + b for a, b in product(_FLUXES, _PARTS) if a + b not in _NEVER), "dnde_scan_values", "ts", "sqrt_ts", "stat",
    "stat_null", "stat_scan", "ts_scan", "npred", "npred_background", "counts", "success", "niter",
    "alpha", "acceptance_on", "acceptance_off", "n_dof",
)  # fmt: skip
_COPIES = "datasets hold copies: change the global Models, and use set_models(models)"
_LIST = "use append, extend or remove, or create new ones by Datasets([...])"
_GEOM = "call the model with longitudes and latitudes, or use to_gammapy(model) for maps"
_SCAN = "pass the values to Fit.stat_profile(models, name, values)"
_FACTORS = "minimisers scale parameters automatically: use value, min and max"
_ESTIMATE = "use run(datasets, models), which estimates everything in selection_optional"
_OPTIONS = "it is an argument of the class and cannot be changed afterwards"
_ARRAYS = "select from data, which is an xarray.Dataset with all quantities"
_FILES = (
    "use MapDataset.read and write for files, from_gammapy and to_gammapy for Gammapy's objects"
)

_DATASET = _each({
    "background_model": 'use models["<name>-bkg"] of the dataset or of the global Models',
    "data_shape": "use counts.shape",
    "energy_range_safe energy_range_fit energy_range_total": (
        "use Datasets.energy_ranges for the ends, mask and mask_safe for the bins"
    ),
    "evaluators": "use npred_signal(stack=False) for the counts of each model",
    "from_geoms": "use create(name, position, width, ...) for an empty dataset, from_arrays for one with arrays",
    "from_dict from_hdulist to_dict to_hdulist": _FILES,
    "from_map_dataset to_map_dataset": "maps of on/off data are not in gmdask yet",
    "geoms": "counts, exposure, psf and edisp are xarray.DataArray with coordinates",
    "gti": "use Datasets([dataset]).gti, a table of the good time intervals",
    "mask_image mask_fit_image mask_safe_image": (
        "reduce a mask by mask.any('energy'), mask_fit.any('energy'), mask_safe.any('energy')"
    ),
    "mask_safe_psf mask_safe_edisp": "the responses have no masks: use mask_safe, that of the counts",
    "meta meta_table": "use Datasets([dataset]).meta_table",
    "npred_off": "compute it from alpha and npred_background(), or use counts_off",
    "reset_data_cache": "not needed: nothing is cached that could be out of date",
    "tag": "use type(dataset).__name__",
})  # fmt: skip

_MODEL_LIST = _each({
        "from_yaml": "Models.from_dict(yaml.safe_load(text))",
        "to_yaml": "yaml.safe_dump(models.to_dict())",
    "parameters_unique_names": "use parameters.names",
    "read_covariance write_covariance": "use Models.read and write, which include the covariance",
    "select_mask select_from_geom": "use select_region(region)",
    "set_parameters_bounds": "set min and max of each of parameters.select(name)",
    "set_penalties set_prior": "set parameter.prior of each parameter",
    "update_link_label": "not needed: links are labelled when models are written",
    "update_parameters_from_table": "set values by models.parameters[name].value",
    "wcs_geom": "use to_regions() for the outlines, plot_regions() to draw them",
})  # fmt: skip

INSTEAD: dict[str, dict[str, str]] = {
    "ModelBase": _each(
        {
            "default_parameters": "use defaults of the class",
            "from_parameters": "pass parameters to the class by name",
            "from_dict to_dict": "use Models.from_dict and to_dict, with complete models",
            "parameters_unique_names": "use parameters.names",
            "reassign": "use reassign(old, new) of the SkyModel, which has the names of datasets",
            "type": 'use kind, such as "spectral"',
        }
    ),
    "Component": _each(
        {
            "contributes": "check that dataset.npred_signal([name]).sum() > 0",
            "default_parameters": "use defaults of the classes of its models",
            "evaluate evaluate_geom integrate_geom": (
                "call spectral_model, spatial_model and temporal_model, or use to_gammapy(model) for maps"
            ),
            "evaluation_bin_size_min evaluation_radius evaluation_region": (
                "use spatial_model.to_region() for the outline"
            ),
            "frame": "use spatial_model.frame",
            "from_parameters": "pass models to the class",
            "parameters_unique_names": "use parameters.names",
            "position_lonlat": "use position",
            "reset_to_default": "create another BackgroundIRFModel(dataset_name=...)",
            "spectral_model": "it is an attribute of each model",
            "type": "use type(model).__name__",
        }
    ),
    "TemplateNPredModel": _each(
        {
            "cutout slice_by_energy stack": (
                "not needed: datasets use the part of the map that they need"
            ),
            "energy_center": "use map.axes[0].center",
            "position": "use map.center",
            "evaluation_radius": "use map.width",
            "write": "use write_map(path)",
        }
    ),
    "SpectralModel": _each(
        {
            "evaluate_integral": "use integral(energy_min, energy_max)",
            "evaluate_energy_flux": "use energy_flux(energy_min, energy_max)",
            "from_region_map read_xspec_model": "pass energies and values to TemplateSpectralModel",
            "is_norm_spectral_model": "use is_norm",
            "map": "use the attributes for energies, parameters and values",
            "ssc_model": "use radiative_model, which is naima's model",
        }
    ),
    "SpatialModel": _each(
        {
            "evaluate_geom integrate_geom": _GEOM,
            "evaluation_region": "use to_region() for the outline",
            "from_region": "pass lon_0, lat_0, r_0, e and phi to the class",
            "map_center": "use map.center",
            "phi_0": "use phi, which is measured from north in the frame of the model",
            "plot_interactive": "use plot(energy=...) for one energy, plot_grid() for all energies of a template",
            "position_lonlat": "use position",
            "write": "use write_map(path)",
        }
    ),
    "TemporalModel": _each(
        {
            "from_table to_table": "use read(path) and write(path) for files, from_gammapy for objects",
            "sample_time": "use simulate(..., events=True) to draw events",
            "time_sum": "use (t_max - t_min).sum()",
        }
    ),
    "Prior": _each(
        {
            "copy": "not needed: priors cannot be changed, and can be shared",
            "covariance sample_parameters_from_covariance": "the numbers of a prior have no errors",
            "default_parameters parameters parameters_unique_names": "use names, which lists its numbers",
            "freeze frozen unfreeze": "the numbers of a prior are never fitted",
            "from_dict": "use Models.from_dict, with complete models and their priors",
            "from_parameters": "pass the numbers to the class by name",
            "reassign": "a prior belongs to its parameter",
            "type": "use tag, which lists its names",
        }
    ),
    "ModelSequence": _MODEL_LIST,
    "Models": _each(
        {
            "clear": "create empty ones by Models()",
            "reverse": "use Models(models[::-1])",
        }
    ),
    "DatasetModels": _each(
        {
            "freeze frozen plot_positions plot_regions positions": _COPIES,
            "reassign restore_status select select_region selection_mask": _COPIES,
            "to_regions unfreeze to_template_sky_model": _COPIES,
            "to_template_spectral_model read write": _COPIES,
        }
    ),
    "Parameters": _each(
        {
            "autoscale set_parameter_factors": _FACTORS,
            "check_limits": "use Models.check_values(); a fit rejects values beyond their limits",
            "copy": "use models.copy().parameters",
            "free_unique_parameters": "use free, which contains shared parameters once",
            "from_stack": "add them: first + second",
            "prior prior_stat_sum": "use Models.prior_stat() for the sum, parameter.prior for each of them",
            "to_dict from_dict": "use to_table() to print them, Models.write to save them",
            "types": "use Models.to_parameters_table(), which has the type of each model",
            "unique_parameters": "not needed: shared parameters are contained once",
            "update_link_label": "not needed: links are labelled when models are written",
        }
    ),
    "Parameter": _each(
        {
            "autoscale factor factor_max factor_min inverse_transform": _FACTORS,
            "reset_autoscale scale transform update_scale": _FACTORS,
            "check_limits": "not needed: a fit rejects a value beyond its limits",
            "conf_max conf_min": "use Fit.confidence(models, name) for asymmetric errors",
            "prior_stat_sum": "use prior(value)",
            "scan_max scan_min scan_n_sigma scan_n_values scan_values": _SCAN,
            "set_lim": "set min and max",
            "to_dict update_from_dict": "set its attributes; Models.write saves them",
            "type": "use Models.to_parameters_table(), which has the type of each parameter's model",
        }
    ),
    "Covariance": _each(
        {
            "from_factor_matrix": "use Covariance(parameters, matrix), with a matrix in their units",
            "from_stack": "use covariance of Models, which combines those of its components",
            "scipy_mvn": "use sample_parameters_from_covariance() of a model or of Models",
            "set_subcovariance": "set the covariance of the model that the parameters belong to",
        }
    ),
    "CubeDataset": _DATASET,
    "Datasets": _each(
        {
            "clear copy insert pop reverse": _LIST,
            "contributes_to_stat": "use mask of each dataset, which tells which bins count",
            "is_all_same_type is_all_same_shape is_all_same_geom": (
                "use info_table(); a fit needs no common geometry"
            ),
            "energy_axes_are_aligned is_all_same_energy_shape": (
                "use energy_ranges for the ends of the axes; a fit needs no common axis"
            ),
            "models parameters": (
                "use the global Models, of which set_models(models) gives copies to the datasets"
            ),
        }
    ),
    "FluxData": {
        **{name: f'use quantity("{name}"), if it was estimated' for name in _QUANTITIES},
        **_each(
            {
                "all_quantities available_quantities": "use data, which contains everything that was estimated",
                "copy slice_by_coord slice_by_energy slice_by_idx": _ARRAYS,
                "slice_by_time resample_axis iter_by_axis filter_success_nan": _ARRAYS,
                "energy_axis energy_max energy_min energy_ref": (
                    'use energy_edges, or quantity("e_min"), quantity("e_max") and quantity("e_ref")'
                ),
                "from_hdulist to_hdulist from_maps to_maps": "use read(path) and write(path)",
                "from_table": "use read(path) to read the table from its file",
                "from_stack": "use xarray.concat to combine their data",
                "geom get_flux_points": "maps of fluxes are FluxMaps: use data",
                "gti meta": "use data.attrs",
                "has_any_ts has_stat_profiles has_success has_ul": (
                    'check whether "ts", "stat_scan", "success" or "norm_ul" is in data'
                ),
                "is_convertible_to_flux_sed_type": "not needed: use quantity(name) for any SED type",
                "n_sigma": "errors are one standard deviation; n_sigma_ul is for upper limits",
                "recompute_ul": "run the estimator with n_sigma_ul and selection_optional='ul'",
                "reference_model_default": "the default of read() is a power law of index 2",
                "reference_spectral_model": "use reference_model",
                "sed_type_init sed_type_plot_default": "use plot(sed_type=...) and to_table(sed_type)",
                "sqrt_ts_threshold_ul": "use is_ul: upper limits are shown for √ts < 2",
            }
        ),
    },
    "Fit": _each(
        {
            "confidence_opts covariance_opts optimize_opts": ("use the arguments of Fit"),
            "store_trace": "use events='events.jsonl' of Fit",
        }
    ),
    "FitResult": _each(
        {
            "covariance_result optimize_result": "use success, message and covariance of this result",
            "method": "use backend",
            "minuit": "use backend='minuit' of Fit; its object is not accessible",
            "models": "use the models given to Fit.run, which have the values and errors",
            "nfev": "use passes, the number of evaluations over all data",
            "trace": "use events='events.jsonl' of Fit",
            "write": "use to_dict() for plain data, Models.write for values and errors",
        }
    ),
    "FluxPointsEstimator": _each(
        {
            "config_parameters": "use repr(estimator)",
            "copy": "create another estimator",
            "estimate_best_fit estimate_counts estimate_errn_errp": _ESTIMATE,
            "estimate_flux_point estimate_npred estimate_npred_excess": _ESTIMATE,
            "estimate_scan estimate_sensitivity estimate_ts estimate_ul": _ESTIMATE,
            "estimate_time_bin_flux get_scale_model expand_map": _ESTIMATE,
            "allow_multiple_telescopes stack_over_time_interval sum_over_energy_groups": (
                "not needed: the likelihoods of the datasets are added"
            ),
            "fit": "not needed: the estimator has its own minimiser",
            "n_jobs parallel_backend": "use run(datasets, models, client) to work on a cluster",
            "n_sigma n_sigma_ul norm selection_optional": _OPTIONS,
            "n_sigma_sensitivity": "sensitivities are not in gmdask yet",
            "null_value": "the null hypothesis is a norm of zero",
            "tag": "use type(estimator).__name__",
        }
    ),
}
