"""Surveys drawn photon by photon: their counts are what the exact response predicts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gmdask as gm
from gmdask.datasets.simulation import event_sampling, survey_simulation
from gmdask.datasets.simulation.iact import IactResponse
from gmdask.datasets.simulation.observation import simulate_observation
from gmdask.datasets.simulation.survey import EVENTS, Observed, SkyPixels, Survey
from gmdask.datasets.simulation.survey_file import read_survey
from gmdask.datasets.simulation.survey_simulation import simulate
from gmdask.errors import InputError, ModelError
from gmdask.geometry import Axis, separation
from gmdask.likelihood.npred import npred_images
from gmdask.models import (
    ConstantSpatialModel,
    DatasetModels,
    DiskSpatialModel,
    GaussianSpatialModel,
    GeneralizedGaussianSpatialModel,
    LinearTemporalModel,
    PointSpatialModel,
    PowerLawNormSpectralModel,
    PowerLawSpectralModel,
    Shell2SpatialModel,
    ShellSpatialModel,
    SkyMap,
    SkyModel,
    SpatialModel,
    TemplateSpatialModel,
)
from tests.datasets.simulated import write_config

LON, LAT = 83.6, 22.0
AT: dict[str, Any] = {"lon_0": LON + 0.03, "lat_0": LAT - 0.02, "frame": "icrs"}
OBSERVED = Observed(0, "obs", LON, LAT, 0.0, 1800.0, 20.0)


class EvenResponse(IactResponse):
    """The same all over the field: a response that is taken at the source is so at its pixels."""

    def effective_area(self, energy, offset, zenith):
        return super().effective_area(energy, 0 * offset, zenith)

    def psf_width(self, energy, offset, zenith):
        return super().psf_width(energy, 0 * offset, zenith)

    def migration_width(self, energy, offset, zenith):
        return super().migration_width(energy, 0 * offset, zenith)


SURVEY = Survey(
    3, SkyPixels("icrs", "TAN", (LON, LAT), 0.05), 40, np.geomspace(0.7, 10, 4),
    np.geomspace(0.5, 14, 61), (), gm.Models(), EvenResponse(threshold=0.05, background=1e-9),
    sources=EVENTS,
)  # fmt: skip


def of(spatial: SpatialModel | None, flux: float = 6e-8, **arguments) -> SkyModel:
    spectrum = PowerLawSpectralModel(index=2.0, amplitude=flux)
    shape = None if spatial is None else spatial.copy()
    return SkyModel(spectrum, shape, name="source", **arguments)


def drawn(model: SkyModel, survey: Survey = SURVEY, observed: Observed = OBSERVED):
    """Counts, and the dataset they are of."""
    cube = simulate_observation(dataclasses.replace(survey, models=gm.Models([model])), observed)
    return cube["counts"].values.astype(float), cube


def deviations(counts: np.ndarray, npred: np.ndarray) -> tuple[np.ndarray, float]:
    """Deviations of the totals of each energy, and of chi2 over the bins, in standard deviations."""
    totals = (counts.sum(axis=(1, 2)) - npred.sum(axis=(1, 2))) / np.sqrt(npred.sum(axis=(1, 2)))
    many = npred > 10
    chi2 = ((counts[many] - npred[many]) ** 2 / npred[many]).sum()
    return totals, (chi2 - many.sum()) / np.sqrt(2 * many.sum())


SHAPES = {
    "point": PointSpatialModel(**AT),
    "round": GaussianSpatialModel(sigma=0.2, **AT),
    "elongated": GaussianSpatialModel(sigma=0.25, e=0.9, phi=30.0, **AT),
    "disk": DiskSpatialModel(r_0=0.3, **AT),
    "ellipse": DiskSpatialModel(r_0=0.3, e=0.8, phi=20.0, **AT),
    "shell": ShellSpatialModel(radius=0.25, width=0.1, **AT),
    "shell 2": Shell2SpatialModel(r_0=0.35, eta=0.4, **AT),
    "general": GeneralizedGaussianSpatialModel(r_0=0.15, eta=0.8, e=0.5, phi=100.0, **AT),
    "galactic": GaussianSpatialModel(lon_0=184.6, lat_0=-5.8, sigma=0.1, e=0.9, phi=10.0, frame="galactic"),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_counts_are_those_of_the_exact_response(shape):
    model = of(SHAPES[shape])
    counts, cube = drawn(model)
    assert counts.sum() > 3e5
    totals, bins = deviations(counts, npred_images(cube, DatasetModels([model])))
    assert np.abs(totals).max() < 3.5
    assert abs(bins) < 3.5


def test_a_difference_would_be_seen():
    """A twentieth of a pixel, two percent of a width, and points that four pixels share."""
    point, wide = of(SHAPES["point"]), of(GaussianSpatialModel(sigma=0.1, **AT), 1e-7)
    counts, cube = drawn(point)
    assert abs(deviations(counts, npred_images(cube, DatasetModels([point])))[1]) < 3.5
    assert deviations(counts, npred_images(cube, DatasetModels([point]), "gammapy"))[1] > 20
    point.spatial_model.lat_0.value += 0.0025
    assert deviations(counts, npred_images(cube, DatasetModels([point])))[1] > 5
    counts, cube = drawn(wide)
    wide.spatial_model.sigma.value *= 1.02
    assert deviations(counts, npred_images(cube, DatasetModels([wide])))[1] > 5


def test_a_source_beyond_the_edge_leaks_in():
    beyond = of(PointSpatialModel(lon_0=LON, lat_0=LAT + 1.07, frame="icrs"), 1e-7)
    counts, cube = drawn(beyond)
    totals, bins = deviations(counts, npred_images(cube, DatasetModels([beyond])))
    assert counts.sum() > 3e4
    assert np.abs(totals).max() < 3.5
    assert abs(bins) < 3.5


def image_header(width: float) -> dict:
    return {
        "CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRPIX1": 20.5, "CRPIX2": 15.5, "CRVAL1": LON,
        "CRVAL2": 0.0, "CDELT1": -width, "CDELT2": width, "CUNIT1": "deg", "CUNIT2": "deg",
    }  # fmt: skip


def cloud(energy: bool) -> TemplateSpatialModel:
    y, x = np.indices((30, 40))
    header = {**image_header(0.04), "CRPIX2": 15.5 - LAT / 0.04}
    image = np.exp(-0.5 * (((y - 14) / 4) ** 2 + ((x - 20) / 6) ** 2))
    if not energy:
        return TemplateSpatialModel(SkyMap(image, header, unit="sr-1"))
    right = np.exp(-0.5 * (((y - 14) / 4) ** 2 + ((x - 26) / 3) ** 2))
    axis = Axis("energy_true", np.array([0.5, 14.0]), node_type="center", unit="TeV")
    return TemplateSpatialModel(SkyMap(np.stack([image, right]), header, [axis], "sr-1"))


@pytest.mark.parametrize("energy", [False, True])
def test_templates(energy):
    model = of(cloud(energy))
    counts, cube = drawn(model)
    assert counts.sum() > 3e5
    totals, bins = deviations(counts, npred_images(cube, DatasetModels([model])))
    assert np.abs(totals).max() < 3.5
    assert abs(bins) < 3.5


def test_irfs_that_do_not_apply():
    """Without PSF a point is in one pixel, without energy dispersion energies are the true ones."""
    flux = 1e5
    none = dict.fromkeys(("exposure", "psf", "edisp"), False)
    spectrum = PowerLawSpectralModel(index=2.0, amplitude=f"{flux} TeV-1")
    model = SkyModel(spectrum, SHAPES["point"], name="source", apply_irf=none)
    counts, _ = drawn(model)
    assert (counts.sum(axis=0) > 0).sum() == 1
    expected = flux * (1 / SURVEY.energy[:-1] - 1 / SURVEY.energy[1:])
    assert np.abs((counts.sum(axis=(1, 2)) - expected) / np.sqrt(expected)).max() < 3.5


def test_flux_everywhere_and_with_time():
    """The same in every pixel; the same density everywhere; half of it on average over time."""
    for spatial, share in ((None, 1.0), (ConstantSpatialModel(value="1 sr-1"), None)):
        temporal = LinearTemporalModel(alpha=0.5, beta="0 d-1", t_ref="60000 d")
        model = of(spatial, 5e-11 if share else 5e-5, temporal_model=temporal)
        counts, cube = drawn(model)
        solid_angle = SURVEY.pixels.cutout(LON, LAT, SURVEY.npix).solid_angle
        exposure, true = cube["exposure"].values[:, 20, 20], SURVEY.energy_true
        flux = 1e4 * 0.5 * model.spectral_model.amplitude.value * exposure * -np.diff(1 / true)
        # all but the energies that leak over the ends of the axis
        inner = of(SHAPES["point"], model.spectral_model.amplitude.value, temporal_model=temporal)
        kept = npred_images(cube, DatasetModels([inner])).sum() / flux.sum()
        image = np.ones((40, 40)) if share else solid_angle
        expected = flux.sum() * kept * image
        assert counts.sum() > 1e5
        z = (counts.sum(axis=0) - expected) / np.sqrt(expected)
        assert abs((z**2).sum() - z.size) < 4 * np.sqrt(2 * z.size)
        assert abs(counts.sum() - expected.sum()) < 3.5 * np.sqrt(expected.sum())


def test_effective_area_at_the_true_position_and_energy():
    """A disk off axis, without PSF: its counts against a fine sum over directions and energies."""
    survey = dataclasses.replace(
        SURVEY, response=IactResponse(threshold=0.8, background=1e-9), energy=np.array([0.5, 14.0])
    )
    observed = dataclasses.replace(OBSERVED, lat=LAT - 1.2)
    spatial = DiskSpatialModel(lon_0=LON, lat_0=LAT - 0.6, r_0=0.3, frame="icrs")
    model = of(spatial, 2e-7, apply_irf={"psf": False, "edisp": False})
    counts, _ = drawn(model, survey, observed)
    grid = survey.pixels.cutout(observed.lon, observed.lat, survey.npix)
    whole = slice(0, 40), slice(0, 40)
    lon, lat = grid.upsampled_centers(*whole, 10)
    shape = spatial.evaluate(gm.models.SkyGrid(lon, lat), *spatial.internal_values.tolist())
    shape *= np.repeat(np.repeat(grid.solid_angle, 10, 0), 10, 1) / 100
    inside = shape > 0
    offset = separation(lon[inside], lat[inside], observed.lon, observed.lat)
    edges = np.geomspace(0.5, 14, 201)
    centre, flux = np.sqrt(edges[1:] * edges[:-1]), 2e-7 * -np.diff(1 / edges)
    area = survey.response.effective_area(centre[:, None, None], offset[None], 20.0)[:, 0]
    image = np.zeros(lon.shape)
    image[inside] = shape[inside] * (flux @ area) * 1e4 * observed.livetime
    expected = image.reshape(40, 10, 40, 10).sum(axis=(1, 3))[None]
    assert counts.sum() > 3e5
    totals, bins = deviations(counts, expected)
    assert np.abs(totals).max() < 3.5
    assert abs(bins) < 3.5


@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_psf_is_that_of_the_response(offset):
    """Share of photons within every distance, against the sum of the profile."""
    response, n, energy = IactResponse(psf=0.2), 200_000, 0.5
    random = np.random.default_rng(1)
    r = response.draw_distances(np.full(n, energy), np.full(n, offset), 30.0, random)
    rad = np.linspace(0, 0.66, 2001)
    middle = (rad[1:] + rad[:-1]) / 2
    profile = response.psf_profile(np.array([energy]), middle, np.array([[offset]]), 30.0)
    cumulative = np.cumsum(profile[0, :, 0, 0] * middle)
    found = np.searchsorted(np.sort(r), rad[1:]) / n
    assert r.max() <= 0.66
    assert np.abs(found - cumulative / cumulative[-1]).max() < 1.95 / np.sqrt(n)  # at 0.1 %


def test_what_is_far_away_or_has_no_size():
    """Sources beyond the reach of the PSF give nothing; a disk without a size is a point."""
    far = {**AT, "lat_0": LAT - 4}
    template = cloud(False)
    template.lat_0.value -= 4
    for spatial in (PointSpatialModel(**far), DiskSpatialModel(r_0=0.5, **far), template):
        assert drawn(of(spatial, 1e-9))[0].sum() == 0
    for spatial in (DiskSpatialModel(r_0=0, **AT), GaussianSpatialModel(sigma=0, e=0.5, **AT)):
        counts, cube = drawn(of(spatial))
        npred = npred_images(cube, DatasetModels([of(SHAPES["point"])]))
        totals, bins = deviations(counts, npred)
        assert np.abs(totals).max() < 3.5
        assert abs(bins) < 3.5


def test_chunks_and_seed(monkeypatch):
    """Many photons are drawn in parts; the seed and the number of the dataset fix them."""
    model = of(SHAPES["round"], 1e-8)
    counts, _ = drawn(model)
    np.testing.assert_array_equal(drawn(model)[0], counts)
    other = dataclasses.replace(OBSERVED, number=1)
    assert (drawn(model, observed=other)[0] != counts).any()
    monkeypatch.setattr(event_sampling, "CHUNK", 1000)
    parts, cube = drawn(model)
    totals, bins = deviations(parts, npred_images(cube, DatasetModels([model])))
    assert np.abs(totals).max() < 3.5
    assert abs(bins) < 3.5


# --- stores --------------------------------------------------------------------------------


def content(store):
    """Digest of the input, and of every file, of each block."""
    blocks = dict.fromkeys(row.block for row in store.rows)
    manifests = [store.open_block(block).manifest for block in blocks]
    return [(m.source_digest, {path: f.sha256 for path, f in m.files.items()}) for m in manifests]


def test_same_bytes_on_workers(tmp_path, monkeypatch, two_workers):
    monkeypatch.setattr(survey_simulation, "BLOCK_BYTES", 600_000)  # of two observations
    config = write_config(tmp_path)
    alone = simulate(config, tmp_path / "alone.zarr", events=True)
    spread = simulate(config, tmp_path / "spread.zarr", two_workers, events=True)
    assert len(content(alone)) == 4
    assert content(alone) == content(spread)
    binned = simulate(config, tmp_path / "binned.zarr")
    assert not {d for d, _ in content(alone)} & {d for d, _ in content(binned)}
    counts = [sum(row.counts for row in store.rows) for store in (alone, binned)]
    assert abs(counts[0] - counts[1]) < 4 * np.sqrt(sum(counts))
    assert counts[0] != counts[1]


def test_what_cannot_be_drawn(tmp_path: Path):
    class Own(SpatialModel):
        defaults = PointSpatialModel.defaults

        def evaluate(self, grid, *values):
            return np.ones(grid.shape)

    survey = dataclasses.replace(read_survey(write_config(tmp_path)), sources=EVENTS)
    bad = {
        "negative or not finite": of(SHAPES["point"], -1e-12),
        "photons, expected 0 to 1e": of(SHAPES["point"], 1.0),
        "Own: photons cannot be drawn": of(Own()),
        "radii of 0.5 and 0.2 deg": of(ShellSpatialModel(radius=0.5, width=-0.3, **AT)),
    }
    for words, model in bad.items():
        with pytest.raises(InputError, match=rf"dataset 'obs-0001': model 'source': .*{words}"):
            simulate(dataclasses.replace(survey, models=gm.Models([model])), tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr").exists()
    assert issubclass(ModelError, InputError)


def test_a_template_of_fluxes():
    """Its spectrum is a norm, its map per energy and area."""
    sky_map = cloud(True).map
    data, header = sky_map.data * np.array([[[4e-7]], [[1e-9]]]), sky_map.grid.header
    fluxes = SkyMap(data, header, sky_map.axes, "cm-2 s-1 TeV-1 sr-1")
    spatial = TemplateSpatialModel(fluxes, normalize=False)
    model = SkyModel(PowerLawNormSpectralModel(norm=0.5), spatial, name="source")
    counts, cube = drawn(model)
    assert counts.sum() > 1e5
    totals, bins = deviations(counts, npred_images(cube, DatasetModels([model])))
    assert np.abs(totals).max() < 3.5
    assert abs(bins) < 3.5
