"""On/off spectra: against Gammapy's, through the store and files, stacked, simulated, and in a fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.errors import InputError, ModelError
from tests.datasets.clusters import local_client
from tests.datasets.real_pairs import ours, quiet, start_models, theirs

OFF = (
    "counts",
    "counts_off",
    "acceptance",
    "acceptance_off",
    "exposure",
    "mask_safe",
    "background",
)
CRAB = CircleSkyRegion(SkyCoord(83.63, 22.01, unit="deg"), 0.11 * u.deg)


@pytest.fixture(params=[0, 1, 4, 5, 6])
def index(request):
    """Fermi, MAGIC, VERITAS, FACT, H.E.S.S."""
    return request.param


@pytest.fixture
def pair(shared, index):
    own, other = ours(shared, "joint_crab")[index], theirs(shared, "joint_crab", index)
    models = start_models(shared, "joint_crab")
    own.set_models(models[0])
    with quiet():
        other.models = models[1]
    return own, other


def compare(own, other, rtol=1e-12, stat=1e-6):
    """Arrays of a dataset, bin by bin, and the statistic."""
    for key in OFF:
        expected = getattr(other, key)
        found = getattr(own, key)
        assert (expected is None) == (found is None)
        factor = u.Unit(found.attrs.get("unit", "")).to(expected.unit)
        values, data = found.values.astype(float) * factor, expected.data.astype(float)
        np.testing.assert_allclose(values, data, rtol=rtol, err_msg=key)
    with quiet():
        assert own.stat_sum() == pytest.approx(float(other.stat_sum()), abs=stat)


@pytest.fixture(scope="module")
def analysis(shared):
    folder = shared / "data" / "joint_crab"
    return folder, json.loads((folder / "reference.json").read_text())


def test_statistic_of_the_reference(analysis):
    folder, reference = analysis
    datasets = gm.Datasets.read(folder / "datasets.yaml")
    models = gm.Models.read(folder / "models_start.yaml")
    datasets.set_models(models)
    for vector, expected in reference["stat"].items():
        for name, value in reference["vectors"][vector].items():
            models.parameters[name].value = value
        datasets.set_models_parameters(models.parameters)
        for name, stat in expected["per_dataset"].items():
            assert datasets[name].stat_sum() == pytest.approx(stat, abs=1e-6)
            npred = datasets[name].npred().values.sum(axis=(1, 2))
            np.testing.assert_allclose(npred, expected["npred"][name]["total"], rtol=1e-9)


def test_fit_of_the_reference(analysis):
    folder, reference = analysis
    datasets = gm.Datasets.read(folder / "datasets.yaml")
    models = gm.Models.read(folder / "models_start.yaml")
    result = gm.Fit(datasets).run(models)
    assert result.success
    assert result.total_stat < reference["fit"]["total_stat"] + 0.01
    for name, error in reference["observed"]["errors"].items():
        found = models.parameters[name]
        assert abs(found.value - reference["fit"]["values"][name]) < 0.05 * error
        assert found.error == pytest.approx(error, rel=0.03)
    # Nigro et al. 2019
    assert abs(models.parameters["crab.spectral.amplitude"].value - 3.849e-11) < 0.114e-11
    assert abs(models.parameters["crab.spectral.alpha"].value - 2.505) < 0.026


def test_one_dataset(pair):
    own, other = pair
    assert isinstance(own, gm.SpectrumDatasetOnOff)
    compare(own, other)
    with quiet():
        for name in ("npred", "npred_background", "npred_signal"):
            expected = getattr(other, name)().data
            np.testing.assert_allclose(getattr(own, name)().values, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(own.stat_array(), other.stat_array(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(own.excess, other.excess.data, atol=1e-9)
        np.testing.assert_allclose(own.alpha, other.alpha.data, rtol=1e-12)


@pytest.mark.parametrize("safe", [True, False])
def test_info_dict(pair, safe):
    own, other = pair
    with quiet():
        expected = other.info_dict(in_safe_data_range=safe)
    found = own.info_dict(in_safe_data_range=safe)
    assert set(expected) == set(found)
    for key, value in expected.items():
        if isinstance(value, u.Quantity):
            assert u.isclose(found[key], value, rtol=1e-9, equal_nan=True)
        elif isinstance(value, str):
            assert found[key] == value
        else:
            assert found[key] == pytest.approx(value, rel=1e-9, nan_ok=True), key


def test_slices_and_sums_of_energies(pair):
    own, other = pair
    edges = other.counts.geom.axes["energy"].edges
    low, high = edges[len(edges) // 3], edges[-5]
    with quiet():
        sliced = other.slice_by_energy(low, high, name=other.name)
        sliced.models = other.models
    compare(own.slice_by_energy(low, high), sliced)
    with quiet():
        axis = other.counts.geom.axes["energy"].squash()
        expected = other.resample_energy_axis(axis, name=other.name)
    found = own.resample_energy_axis(axis.edges)
    for key in OFF[:-1]:
        np.testing.assert_allclose(found.cube[key], getattr(expected, key).data, rtol=1e-9)
    np.testing.assert_allclose(found.background, expected.background.data, rtol=1e-9)


def test_sums_of_energies_without_off_counts(shared):
    """Gammapy's ratio of exposures is 0 / 0 there; here it is that of all energies."""
    own = ours(shared, "joint_crab")[6]
    groups = list(range(0, 81, 4))
    found = own.resample_energy_axis(own.cube["energy_edges"].values[groups] * u.keV)
    assert (found.counts_off.values == 0).any()
    ratio = own.alpha.values.max()
    np.testing.assert_allclose(found.alpha.values[found.acceptance.values > 0], ratio, rtol=1e-12)


def test_stack(shared):
    """The H.E.S.S. runs, in both orders of doing it, and as one tree."""
    own = [ours(shared, "joint_crab")[i] for i in (6, 7, 8, 9)]
    others = [theirs(shared, "joint_crab", i) for i in (6, 7, 8, 9)]
    models = start_models(shared, "joint_crab")
    total = own[0].to_masked()
    with quiet():
        expected = others[0].to_masked(name=others[0].name)
        for one in others[1:]:
            expected.stack(one)
        expected.models = models[1]
    for one in own[1:]:
        total.stack(one)
    total.set_models(models[0])
    compare(total, expected, rtol=1e-6, stat=1e-4)  # Gammapy sums in single precision
    tree = gm.Datasets(own).stack_reduce("tree")
    assert isinstance(tree, gm.SpectrumDatasetOnOff)
    for key in OFF:
        np.testing.assert_allclose(getattr(tree, key), getattr(total, key), rtol=1e-12)


def test_stack_of_unlike_kinds(shared):
    own = ours(shared, "joint_crab")[6]
    with pytest.raises(InputError, match="only one of them has off counts"):
        own.to_spectrum_dataset("known").stack(own)


def test_stack_without_any_off_counts(shared):
    """The ratio is that of the acceptances then: the exposure of the off region counts."""
    own = ours(shared, "joint_crab")[6]
    none = gm.SpectrumDatasetOnOff.from_spectrum_dataset(
        own.to_spectrum_dataset(), 0.0, own.acceptance.values[:, 0, 0], 12.0
    )
    total = none.to_masked()
    total.stack(none)
    safe = none.mask_safe.values
    np.testing.assert_allclose(total.alpha.values[safe], 1 / 12, rtol=1e-12)


def test_gammapy_and_back(pair):
    own, other = pair
    with quiet():
        back = gm.from_gammapy(other)
        made = gm.to_gammapy(own)
    assert type(made).__name__ == "SpectrumDatasetOnOff"
    assert made.stat_type == "wstat"
    back.set_models(own.models)
    compare(back, other)
    with quiet():
        made.models = other.models
    compare(own, made)


def test_files(pair, tmp_path):
    own, other = pair
    own.write(tmp_path / "own.fits.gz")
    again = gm.SpectrumDatasetOnOff.read(tmp_path / "own.fits.gz")
    again.set_models(own.models)
    compare(again, other)
    from gammapy.datasets import SpectrumDatasetOnOff

    with quiet():
        theirs_again = SpectrumDatasetOnOff.read(tmp_path / "own.fits.gz")
        theirs_again.models = other.models
    compare(own, theirs_again)


def test_a_list_that_gammapy_reads(shared, tmp_path):
    from gammapy.datasets import Datasets

    path = gm.export_datasets(ours(shared, "joint_crab"), tmp_path / "made")
    with quiet():
        again = Datasets.read(path)
    assert [type(d).__name__ for d in again] == ["SpectrumDatasetOnOff"] * 10


def test_store_and_workers(shared, tmp_path):
    """The same bits from a store, from files, in this process and on workers; altered as well."""
    folder = shared / "data" / "joint_crab"
    gm.import_datasets(folder / "datasets.yaml", tmp_path / "store")
    stored = gm.Datasets.read(tmp_path / "store")
    models = gm.Models.read(folder / "models_start.yaml")

    def fit(datasets, client=None):
        return gm.Fit(datasets, client).run(models.copy())

    assert {type(d).__name__ for d in stored} == {"SpectrumDatasetOnOff"}
    results = [fit(ours(shared, "joint_crab")), fit(stored)]
    client = local_client(2)
    results.append(fit(stored, client))
    sliced = stored.slice_by_energy("1 TeV", "10 TeV")
    pair = [fit(sliced, c).total_stat for c in (None, client)]
    assert pair[0] == pair[1]
    for result in results[1:]:
        assert result.total_stat == results[0].total_stat
        np.testing.assert_array_equal(result.covariance.data, results[0].covariance.data)


def test_with_a_spectrum_of_another_kind(shared, tmp_path):
    """One model, on/off and known background in one fit and one store."""
    datasets = ours(shared, "joint_crab")
    own = datasets[6]
    mixed = gm.Datasets([own.to_spectrum_dataset("known"), own])
    models = gm.Models.read(shared / "data" / "joint_crab" / "models_start.yaml")
    mixed.write(tmp_path / "store")
    again = gm.Datasets.read(tmp_path / "store")
    assert [type(d).__name__ for d in again] == ["SpectrumDataset", "SpectrumDatasetOnOff"]
    mixed.set_models(models)
    again.set_models(models)
    assert again.stat_sum() == mixed.stat_sum()
    assert mixed.stat_sum() == mixed[0].stat_sum() + mixed[1].stat_sum()
    assert again["known"].info_dict()["stat_type"] == "cash"
    assert gm.Fit(again).run(models).success


def test_with_a_map(shared, tmp_path):
    """Fermi-LAT map and H.E.S.S. spectrum: a background norm is profiled where its data are."""
    folder = shared / "data" / "mwl"
    reference = json.loads((folder / "reference.json").read_text())
    both = gm.Datasets([
        gm.MapDataset.read(folder / "Fermi-LAT.fits", response="gammapy"),
        gm.MapDataset.read(folder / "pha_obsHESS.fits"),
    ])  # fmt: skip
    models = gm.Models.read(folder / "models_start.yaml")
    both.set_models(models)
    for vector, expected in reference["stat"].items():
        for name, value in reference["vectors"][vector].items():
            models.parameters[name].value = value
        both.set_models_parameters(models.parameters)
        for name, tolerance in (("Fermi-LAT", 0.01), ("HESS", 1e-6)):
            stat = both[name].stat_sum()
            assert stat == pytest.approx(expected["per_dataset"][name], abs=tolerance)
    both.write(tmp_path / "store")
    stored = gm.Datasets.read(tmp_path / "store", response="gammapy")
    results, found = [], []
    for client in (None, local_client(1), local_client(2)):
        own = gm.Models.read(folder / "models_start.yaml")
        results.append(gm.Fit(stored, client).run(own))
        found.append(own.parameters)
    assert results[0].success
    for result, parameters in zip(results[1:], found[1:], strict=True):
        assert result.total_stat == results[0].total_stat
        np.testing.assert_array_equal(parameters.value, found[0].value)
    # at the optimum of all, with the norm profiled: no better value nearby
    stored.set_models(own)
    least = stored.stat_sum()
    for parameter in own.parameters.free:
        best = parameter.value
        for step in (-0.05, 0.05):
            parameter.value = best + step * parameter.error
            stored.set_models_parameters(own.parameters)
            assert stored.stat_sum() > least
        parameter.value = best


def test_asimov_and_fake(shared):
    own = ours(shared, "joint_crab")[6]
    models = gm.Models.read(shared / "data" / "joint_crab" / "models_start.yaml")
    own.set_models(models)
    asimov = own.to_asimov()
    np.testing.assert_allclose(asimov.counts, own.npred(), rtol=1e-12)
    background = np.full(own.counts.shape[0], 3.0)
    drawn = []
    for seed in range(200):
        made = own.copy().fake(seed, background)
        drawn.append([made.counts.values.sum(), made.counts_off.values.sum()])
    expected = [
        (own.npred_signal().values + 3.0).sum(),
        (3.0 / own.alpha.values[own.alpha.values > 0]).sum(),
    ]
    error = np.sqrt(np.array(expected) / 200)
    assert (np.abs(np.mean(drawn, axis=0) - expected) < 4 * error).all()
    np.testing.assert_array_equal(own.copy().fake(1).counts, own.copy().fake(1).counts)
    with pytest.raises(InputError, match="npred_background has shape"):
        own.copy().fake(1, [1.0, 2.0])


def test_made_of_a_spectrum(shared):
    own = ours(shared, "joint_crab")[6]
    spectrum = own.to_spectrum_dataset()
    np.testing.assert_allclose(spectrum.background, own.background, rtol=1e-12)
    columns = [
        own.cube[key].values[:, 0, 0] for key in ("counts_off", "acceptance", "acceptance_off")
    ]
    again = gm.SpectrumDatasetOnOff.from_spectrum_dataset(spectrum, *columns)
    models = gm.Models.read(shared / "data" / "joint_crab" / "models_start.yaml")
    for one in (own, again):
        one.set_models(models)
    assert again.stat_sum() == own.stat_sum()
    with pytest.raises(InputError, match=r"'counts_off' has shape \(3,\), expected"):
        gm.SpectrumDatasetOnOff.from_spectrum_dataset(spectrum, [1, 2, 3])
    with pytest.raises(InputError, match="counts_off is negative"):
        gm.SpectrumDatasetOnOff.from_spectrum_dataset(spectrum, -1.0)


def test_begin_with_nothing(shared):
    own = ours(shared, "joint_crab")[6]
    axes = [own.cube[f"{key}_edges"].values * u.keV for key in ("energy", "energy_true")]
    empty = gm.SpectrumDatasetOnOff.create("sum", CRAB, *axes)
    assert empty.counts_off.values.sum() == 0
    assert not empty.mask_safe.values.any()


def test_flux_points(shared):
    """Of the H.E.S.S. runs: norms, errors, limits and significance of Gammapy's estimator."""
    from gammapy.datasets import Datasets
    from gammapy.estimators import FluxPointsEstimator

    folder, edges = shared / "data" / "joint_crab", [0.7, 1.5, 3, 6] * u.TeV
    own = gm.Datasets([ours(shared, "joint_crab")[i] for i in (6, 7, 8, 9)])
    models = gm.Models.read(folder / "models_best.yaml")
    points = gm.FluxPointsEstimator("crab", edges, selection_optional="all").run(own, models)
    found = points.to_table(sed_type="likelihood")
    with quiet():
        from gammapy.modeling.models import Models

        others = Datasets([theirs(shared, "joint_crab", i) for i in (6, 7, 8, 9)])
        others.models = Models.read(folder / "models_best.yaml")
        estimator = FluxPointsEstimator(source="crab", energy_edges=edges, selection_optional="all")
        expected = estimator.run(others).to_table(sed_type="likelihood")
    error = np.asarray(expected["norm_err"])
    for key in ("norm", "norm_err", "norm_errn", "norm_errp", "norm_ul"):
        difference = np.asarray(found[key]) - np.asarray(expected[key])
        assert (np.abs(difference) < 2e-3 * error).all(), key
    for key in ("ts", "stat", "stat_null"):
        np.testing.assert_allclose(found[key], expected[key], atol=1e-5)
    for key in ("npred", "npred_excess"):
        np.testing.assert_allclose(found[key], expected[key], rtol=2e-3)


@pytest.mark.parametrize("counts_off", [0.0, 5.0])
def test_flux_points_without_counts(shared, counts_off):
    """Below zero where the off region has counts: what the likelihood itself says, by brute force."""
    own = ours(shared, "joint_crab")[6]
    spectrum = own.to_spectrum_dataset()
    spectrum = gm.SpectrumDataset(spectrum.cube.load().assign(counts=spectrum.counts * 0))
    none = gm.SpectrumDatasetOnOff.from_spectrum_dataset(spectrum, counts_off, 1.0, 12.0)
    models = gm.Models.read(shared / "data" / "joint_crab" / "models_best.yaml")
    found = gm.FluxPointsEstimator("crab", [1, 3] * u.TeV, selection_optional="all").run(
        none, models
    )
    row = found.to_table(sed_type="likelihood")[0]
    cut = none.slice_by_energy("1 TeV", "3 TeV")

    def stat(norm):
        scaled = models.copy()
        scaled.parameters["crab.spectral.amplitude"].value *= norm
        cut.set_models(scaled)
        return cut.stat_sum()

    norms = np.linspace(row["norm"] - 0.05, row["norm"] + 0.05, 21)
    assert stat(row["norm"]) == pytest.approx(row["stat"], abs=1e-9)
    assert min(map(stat, norms)) >= row["stat"] - 1e-9
    assert stat(row["norm_ul"]) == pytest.approx(row["stat"] + 4, abs=1e-4)
    assert stat(row["norm"] + row["norm_errp"]) == pytest.approx(row["stat"] + 1, abs=1e-4)
    assert stat(row["norm"] - row["norm_errn"]) == pytest.approx(row["stat"] + 1, abs=1e-4)


def test_no_background_model(shared):
    own = ours(shared, "joint_crab")[6]
    model = gm.BackgroundIRFModel(gm.PowerLawNormSpectralModel(), dataset_name=own.name)
    with pytest.raises(ModelError, match="has no background"):
        own.set_models([model])


@pytest.mark.parametrize("missing", ["COUNTS_OFF", "ACCEPTANCE", "ACCEPTANCE_OFF"])
def test_files_without_a_part(shared, tmp_path, missing):
    from astropy.io import fits

    with fits.open(shared / "data" / "joint_crab" / "pha_obsfermi-obs0.fits") as hdus:
        del hdus[missing]
        hdus.writeto(tmp_path / "part.fits")
    with pytest.raises(InputError, match=rf"'fermi-obs0': HDU {missing} is missing"):
        gm.MapDataset.read(tmp_path / "part.fits")


def test_looks(pair):
    own, _ = pair
    assert "SpectrumDatasetOnOff" in repr(own)
    assert "counts_off" in str(own)
    own.plot_fit()
    own.plot_excess()
    own.peek()
