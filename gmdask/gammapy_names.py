"""What to do here instead of what Gammapy's classes have and gmdask's have not."""

from __future__ import annotations

from itertools import product

__all__ = ["INSTEAD"]


def _each(sentences: dict[str, str]) -> dict[str, str]:
    """Sentence for each of the names that share it, which stand in one string."""
    return {name: sentence for names, sentence in sentences.items() for name in names.split()}


_FLUXES = ("dnde", "e2dnde", "flux", "eflux", "norm", "npred_excess")
_PARTS = ("", "_err", "_errn", "_errp", "_ul", "_ref", "_sensitivity")
_NEVER = ("norm_ref", "npred_excess_sensitivity")
_QUANTITIES = (
    *(a + b for a, b in product(_FLUXES, _PARTS) if a + b not in _NEVER), "dnde_scan_values", "ts", "sqrt_ts", "stat",
    "stat_null", "stat_scan", "ts_scan", "npred", "npred_background", "counts", "success", "niter",
    "alpha", "acceptance_on", "acceptance_off", "n_dof",
)  # fmt: skip
_COPIES = "datasets hold copies: use the global Models, and give them by set_models(models)"
_LIST = "Datasets([...]) makes others; append, extend and remove change these"
_GEOM = "call the model with longitudes and latitudes; to_gammapy(model) has maps"
_SCAN = "give the values to Fit.stat_profile(models, name, values)"
_FACTORS = "minimisers scale by themselves: there is only value, with min and max"
_ESTIMATE = "run(datasets, models) estimates all that was asked for by selection_optional"
_OPTIONS = "is an argument of the class, and cannot be changed afterwards"
_ARRAYS = "data holds all as an xarray.Dataset, which can be selected from"
_FILES = "MapDataset.read and write take files, from_gammapy and to_gammapy Gammapy's objects"

_DATASET = _each({
    "background_model": 'models["<name>-bkg"] is that of a dataset; the global Models are yours',
    "data_shape": "counts.shape has it",
    "energy_range energy_range_safe energy_range_fit energy_range_total": (
        "Datasets.energy_ranges has the ends, mask.any('energy') and mask_safe the bins"
    ),
    "evaluators": "npred_signal(stack=False) has the counts of each model",
    "from_geoms": "create(name, position, width, ...) makes an empty dataset, from_arrays one of arrays",
    "from_dict from_hdulist to_dict to_hdulist": _FILES,
    "from_map_dataset to_map_dataset": "maps of on/off data are not in gmdask yet",
    "geoms": "counts, exposure, psf and edisp are xarray.DataArray with their coordinates",
    "gti": "Datasets([dataset]).gti has a table of the good time intervals",
    "mask_image mask_fit_image mask_safe_image": (
        "reduce a mask by mask.any('energy'), mask_fit.any('energy'), mask_safe.any('energy')"
    ),
    "mask_safe_psf mask_safe_edisp": "the response carries no masks: mask_safe is that of the counts",
    "meta meta_table": "Datasets([dataset]).meta_table has the metadata",
    "npred_off": "alpha, npred_background() and counts_off have what it is made of",
    "reset_data_cache": "nothing is cached that could be stale",
    "tag": "type(dataset).__name__ names the kind",
})  # fmt: skip

_MODEL_LIST = _each({
        "from_yaml": "Models.from_dict(yaml.safe_load(text))",
        "to_yaml": "yaml.safe_dump(models.to_dict())",
    "parameters_unique_names": "parameters.names has the full names",
    "read_covariance write_covariance": "Models.read and write take the covariance along",
    "select_mask select_from_geom": "select_region(region) takes what lies in a region",
    "set_parameters_bounds": "set min and max of each of parameters.select(name)",
    "set_penalties set_prior": "set parameter.prior of each parameter",
    "update_link_label": "links are labelled when models are written",
    "update_parameters_from_table": "set values by models.parameters[name].value",
    "wcs_geom": "to_regions() has the outlines, plot_regions() draws them",
})  # fmt: skip

INSTEAD: dict[str, dict[str, str]] = {
    "ModelBase": _each(
        {
            "default_parameters": "defaults has those of the class",
            "from_parameters": "give parameters to the class by their names",
            "from_dict to_dict": "Models.from_dict and to_dict take whole models",
            "parameters_unique_names": "parameters.names has the names",
            "reassign": "datasets are those of the SkyModel: sky_model.reassign(old, new)",
            "type": "kind names the kind of model",
        }
    ),
    "Component": _each(
        {
            "contributes": "dataset.npred_signal([name]).sum() > 0 tells",
            "default_parameters": "defaults of each of its models has those of the class",
            "evaluate evaluate_geom integrate_geom": (
                "call spectral_model, spatial_model and temporal_model; to_gammapy(model) has maps"
            ),
            "evaluation_bin_size_min evaluation_radius evaluation_region": (
                "spatial_model.to_region() has the outline"
            ),
            "frame": "spatial_model.frame has it",
            "from_parameters": "give models to the class",
            "parameters_unique_names": "parameters.names has the full names",
            "position_lonlat": "position has it",
            "reset_to_default": "make another one, BackgroundIRFModel(dataset_name=...)",
            "spectral_model": "is an attribute of each model",
            "type": "type(model).__name__ names the kind",
        }
    ),
    "TemplateNPredModel": _each(
        {
            "cutout slice_by_energy stack": (
                "datasets take the part of the map that they need; sums are made by the fit"
            ),
            "energy_center": "map.axes[0].center has it",
            "position": "map.center has the centre of the map",
            "evaluation_radius": "map.width has the size of the map",
            "write": "write_map(path) writes the map",
        }
    ),
    "SpectralModel": _each(
        {
            "evaluate_integral": "integral(energy_min, energy_max)",
            "evaluate_energy_flux": "energy_flux(energy_min, energy_max)",
            "from_region_map read_xspec_model": "give energies and values to TemplateSpectralModel",
            "is_norm_spectral_model": "is_norm tells",
            "map": "energies, parameters and values are attributes",
            "ssc_model": "radiative_model has naima's model",
        }
    ),
    "SpatialModel": _each(
        {
            "evaluate_geom integrate_geom": _GEOM,
            "evaluation_region": "to_region() has the outline",
            "from_region": "give lon_0, lat_0, r_0, e and phi to the class",
            "map_center": "map.center has it",
            "phi_0": "the frame of a model is not turned: phi counts from its north",
            "plot_interactive": "plot(energy=...) draws one energy, plot_grid() all of a template",
            "position_lonlat": "position has it",
            "write": "write_map(path) writes the map",
        }
    ),
    "TemporalModel": _each(
        {
            "from_table to_table": "read(path) and write(path) take files, from_gammapy objects",
            "sample_time": "simulate(..., events=True) draws events",
            "time_sum": "(t_max - t_min).sum()",
        }
    ),
    "Prior": _each(
        {
            "copy": "a prior does not change: share it",
            "covariance sample_parameters_from_covariance": "the numbers of a prior have no errors",
            "default_parameters parameters parameters_unique_names": "names has its numbers",
            "freeze frozen unfreeze": "the numbers of a prior are never fitted",
            "from_dict": "Models.from_dict takes whole models, with their priors",
            "from_parameters": "give the numbers to the class by their names",
            "reassign": "a prior belongs to its parameter",
            "type": "tag names the kind",
        }
    ),
    "ModelSequence": _MODEL_LIST,
    "Models": _each(
        {
            "clear": "Models() makes empty ones",
            "reverse": "Models(models[::-1]) makes those in reverse order",
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
            "check_limits": "Models.check_values() refuses what means nothing, a fit what is beyond limits",
            "copy": "models.copy().parameters has copies",
            "free_unique_parameters": "free has them: shared ones are there once",
            "from_stack": "add them: first + second",
            "prior prior_stat_sum": "Models.prior_stat() has the sum, parameter.prior each of them",
            "to_dict from_dict": "to_table() shows them, Models.write keeps them",
            "types": "Models.to_parameters_table() has the kind of model of each",
            "unique_parameters": "these are unique: shared ones are there once",
            "update_link_label": "links are labelled when models are written",
        }
    ),
    "Parameter": _each(
        {
            "autoscale factor factor_max factor_min inverse_transform": _FACTORS,
            "reset_autoscale scale transform update_scale": _FACTORS,
            "check_limits": "a fit refuses a value beyond its limits",
            "conf_max conf_min": "Fit.confidence(models, name) has asymmetric errors",
            "prior_stat_sum": "prior(value) has it",
            "scan_max scan_min scan_n_sigma scan_n_values scan_values": _SCAN,
            "set_lim": "set min and max",
            "to_dict update_from_dict": "set its attributes; Models.write keeps them",
            "type": "Models.to_parameters_table() has the kind of model of each parameter",
        }
    ),
    "Covariance": _each(
        {
            "from_factor_matrix": "Covariance(parameters, matrix) takes a matrix in their units",
            "from_stack": "the covariance of Models joins those of its components",
            "scipy_mvn": "sample_parameters_from_covariance() of a model or of Models draws samples",
            "set_subcovariance": "set the covariance of the model that the parameters belong to",
        }
    ),
    "CubeDataset": _DATASET,
    "DatasetList": _each(
        {
            "clear copy insert pop reverse": _LIST,
            "contributes_to_stat": "mask of each dataset tells which bins count",
            "is_all_same_type is_all_same_shape is_all_same_geom": (
                "info_table() shows what the datasets are; a fit needs no common geometry"
            ),
            "energy_axes_are_aligned is_all_same_energy_shape": (
                "energy_ranges has the ends of the axes; a fit needs no common axis"
            ),
            "models parameters": (
                "the global Models are yours: set_models(models) gives the datasets copies of them"
            ),
        }
    ),
    "FluxData": {
        **{
            name: f'quantity("{name}") has it with its unit, if it was estimated'
            for name in _QUANTITIES
        },
        **_each(
            {
                "all_quantities available_quantities": "data lists all that was estimated",
                "copy slice_by_coord slice_by_energy slice_by_idx": _ARRAYS,
                "slice_by_time resample_axis iter_by_axis filter_success_nan": _ARRAYS,
                "energy_axis energy_max energy_min energy_ref": (
                    'energy_edges; quantity("e_min"), ("e_max") and ("e_ref") has them'
                ),
                "from_hdulist to_hdulist from_maps to_maps": "read(path) and write(path)",
                "from_table": "read(path) takes the table from its file",
                "from_stack": "xarray.concat joins the data of several",
                "geom get_flux_points": "there are no maps of fluxes: data is along the energy",
                "gti meta": "data.attrs has what is known of them",
                "has_any_ts has_stat_profiles has_success has_ul": (
                    'see whether "ts", "stat_scan", "success" or "norm_ul" is in data'
                ),
                "is_convertible_to_flux_sed_type": "all kinds of flux can be had by quantity(name)",
                "n_sigma": "errors are of one standard deviation; n_sigma_ul is of limits",
                "recompute_ul": "run the estimator with n_sigma_ul and selection_optional='ul'",
                "reference_model_default": "a power law of index 2 is the default of read()",
                "reference_spectral_model": "reference_model has it",
                "sed_type_init sed_type_plot_default": "plot(sed_type=...) and to_table(sed_type)",
                "sqrt_ts_threshold_ul": "limits stand for points of √ts < 2, see is_ul",
            }
        ),
    },
    "Profiling": _each(
        {
            "confidence_opts covariance_opts optimize_opts": (
                "arguments of Fit choose backend and tolerances"
            ),
            "store_trace": "events='events.jsonl' of Fit keeps what happened",
        }
    ),
    "FitResult": _each(
        {
            "covariance_result optimize_result": "it is one result: success, message, covariance",
            "method": "backend names what minimised",
            "minuit": "backend='minuit' of Fit uses it; its object stays inside",
            "models": "the models given to Fit.run hold the values and errors",
            "nfev": "passes has the number of evaluations over all data",
            "trace": "events='events.jsonl' of Fit keeps what happened",
            "write": "to_dict() has plain data; Models.write keeps values and errors",
        }
    ),
    "FluxPointsEstimator": _each(
        {
            "config_parameters": "repr shows what was asked for",
            "copy": "make another estimator",
            "estimate_best_fit estimate_counts estimate_errn_errp": _ESTIMATE,
            "estimate_flux_point estimate_npred estimate_npred_excess": _ESTIMATE,
            "estimate_scan estimate_sensitivity estimate_ts estimate_ul": _ESTIMATE,
            "estimate_time_bin_flux get_scale_model expand_map": _ESTIMATE,
            "allow_multiple_telescopes stack_over_time_interval sum_over_energy_groups": (
                "datasets stay apart: their likelihoods are added"
            ),
            "fit": "the norms are found by its own minimiser",
            "n_jobs parallel_backend": "run(datasets, models, client) works on a cluster",
            "n_sigma n_sigma_ul norm selection_optional": _OPTIONS,
            "n_sigma_sensitivity": "sensitivities are not in gmdask yet",
            "null_value": "the null hypothesis is a norm of zero",
            "tag": "type(estimator).__name__ names the kind",
        }
    ),
}
