"""Background makers in the proposal's form, beside Gammapy's in a plain loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gammapy import makers as theirs
from gammapy.maps import WcsGeom
from regions import CircleSkyRegion

import gmdask as gm
from gmdask import reduction
from gmdask.errors import InputError
from tests.reduction.dl3 import (
    CRAB,
    CRAB_RUNS,
    ENERGY_TRUE,
    assert_close,
    crab_map,
    crab_spectrum,
    energy,
    exclusion,
    store,
    with_phases,
    write_folder,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def observation(shared: Path) -> Any:
    return store(shared).obs(CRAB_RUNS[0]).copy(in_memory=True)


@pytest.mark.parametrize("options", [{"method": "scale"}, {"method": "fit"}])
def test_field_of_view(observation: Any, options: dict[str, Any]) -> None:
    dataset = crab_map(observation, "run")
    options |= {"exclusion_mask": exclusion(dataset.counts.geom)}
    found, model = reduction.FoVBackgroundMaker(**options).run(dataset, observation)
    expected = theirs.FoVBackgroundMaker(**options).run(crab_map(observation, "run"), observation)
    assert model is not None
    assert model.name == "run-bkg"
    for par in expected.background_model.parameters:
        mine = model.parameters[par.name]
        assert mine.value == pytest.approx(par.value, rel=1e-9)
        assert mine.error == pytest.approx(par.error, rel=1e-9)
        assert mine.frozen == par.frozen
    assert 0.5 < model.spectral_model.norm.value < 2
    assert model.spectral_model.norm.value != 1
    assert dataset.models is None
    found.set_models(gm.Models([model]))
    assert_close(found.npred().values, expected.npred().data)
    assert np.array_equal(found.counts.values, expected.counts.data)


def test_a_tilt_is_fitted_with_a_norm_model_of_ours(observation: Any) -> None:
    norm = gm.PowerLawNormSpectralModel()
    norm.tilt.frozen = False
    dataset = crab_map(observation, "run")
    mask = exclusion(dataset.counts.geom)
    maker = reduction.FoVBackgroundMaker(method="fit", exclusion_mask=mask, spectral_model=norm)
    _, model = maker.run(dataset)
    assert model is not None
    assert not model.spectral_model.tilt.frozen
    assert model.spectral_model.tilt.value != 0
    assert norm.tilt.value == 0


def test_ring(observation: Any) -> None:
    dataset = crab_map(observation, "run")
    options = {
        "r_in": "0.5 deg",
        "width": "0.3 deg",
        "exclusion_mask": exclusion(dataset.counts.geom).sum_over_axes(keepdims=True),
    }
    options["exclusion_mask"].data = options["exclusion_mask"].data.astype(bool)
    found, model = reduction.RingBackgroundMaker(**options).run(dataset, observation)
    on_off = theirs.RingBackgroundMaker(**options).run(crab_map(observation, "run"), observation)
    expected = on_off.to_map_dataset(name="run")
    assert_close(found.cube["background"].values, np.nan_to_num(expected.background.data))
    assert np.array_equal(found.cube["mask_safe"].values, expected.mask_safe.data)
    assert model is not None
    assert model.name == "run-bkg"
    assert not model.parameters.free_parameters
    assert found.cube["background"].values.sum() > 100


def test_adaptive_ring(observation: Any) -> None:
    dataset = crab_map(observation, "run", nbin=1)
    options = {
        "r_in": "0.3 deg",
        "r_out_max": "1 deg",
        "width": "0.3 deg",
        "stepsize": "0.1 deg",
        "exclusion_mask": exclusion(dataset.counts.geom),
    }
    found, _ = reduction.AdaptiveRingBackgroundMaker(**options).run(dataset)
    on_off = theirs.AdaptiveRingBackgroundMaker(**options).run(crab_map(observation, "run", 1))
    expected = on_off.to_map_dataset(name="run")
    known = np.isfinite(expected.background.data)
    assert known.sum() > 0
    assert_close(found.cube["background"].values, np.where(known, expected.background.data, 0.0))
    mask = expected.mask_safe.data & known
    assert np.array_equal(found.cube["mask_safe"].values, mask)
    with pytest.raises(InputError, match="12 bins of energy, expected one"):
        reduction.AdaptiveRingBackgroundMaker(**options).run(crab_map(observation, "run"))


def test_reflected_regions(observation: Any) -> None:
    maker = reduction.ReflectedRegionsBackgroundMaker(max_region_number=8)
    found, model = maker.run(crab_spectrum(observation, "run"), observation)
    expected = theirs.ReflectedRegionsBackgroundMaker(max_region_number=8).run(
        crab_spectrum(observation, "run"), observation
    )
    assert model is None
    assert isinstance(found, gm.SpectrumDatasetOnOff)
    assert found.name == "run"
    for key in ("counts", "counts_off", "acceptance", "acceptance_off", "mask_safe", "exposure"):
        assert_close(found.cube[key].values, getattr(expected, key).data)
    assert found.cube["counts_off"].values.sum() > 10


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
def test_phases(observation: Any) -> None:
    phased = with_phases(observation)
    options = {"on_phase": [0.9, 1.1], "off_phase": [[0.2, 0.4], [0.5, 0.8]]}
    found, model = reduction.PhaseBackgroundMaker(**options).run(
        crab_spectrum(phased, "run"), phased
    )
    expected = theirs.PhaseBackgroundMaker(
        on_phase=(0.9, 1.1), off_phase=[(0.2, 0.4), (0.5, 0.8)]
    ).run(crab_spectrum(phased, "run"), phased)
    assert (found.name, model) == ("run", None)
    for key in ("counts", "counts_off", "acceptance", "acceptance_off"):
        assert_close(found.cube[key].values, getattr(expected, key).data)
    assert found.cube["counts_off"].values.sum() > 10


def test_background_of_the_response(observation: Any) -> None:
    dataset = crab_map(observation, "run")
    found, model = reduction.IRFBackgroundMaker().run(dataset)
    assert_close(found.cube["background"].values, dataset.background.data, 0.0)
    assert model is not None
    assert [par.name for par in model.parameters.free_parameters] == ["norm"]


def test_what_cannot_be_made_is_an_error(observation: Any) -> None:
    dataset = crab_map(observation, "run")
    nothing = exclusion(dataset.counts.geom)
    nothing.data[...] = False
    with pytest.raises(InputError, match="dataset 'run': FoVBackgroundMaker failed"):
        reduction.FoVBackgroundMaker(exclusion_mask=nothing).run(dataset)
    with pytest.raises(InputError, match=r"FoVBackgroundMaker: .*guess"):
        reduction.FoVBackgroundMaker(method="guess")
    with pytest.raises(InputError, match="unexpected keyword"):
        reduction.RingBackgroundMaker(radius="1 deg")
    found, _ = reduction.IRFBackgroundMaker().run(dataset)
    with pytest.raises(InputError, match="expected Gammapy's MapDataset"):
        reduction.IRFBackgroundMaker().run(found)
    everywhere = exclusion(dataset.counts.geom.upsample(2))
    everywhere.data[...] = False
    with pytest.raises(InputError, match=r"dataset 'run': .*No OFF region found"):
        reduction.ReflectedRegionsBackgroundMaker(
            exclusion_mask=everywhere.sum_over_axes(keepdims=True) > 0
        ).run(crab_spectrum(observation, "run"), observation)


def test_the_loop_of_the_readme(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proposal's loop, as it stands in the README."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    block = next(b for b in text.split("```python\n")[1:] if "bkg_maker" in b).split("```")[0]
    write_folder(shared, tmp_path / "dl3", CRAB_RUNS)
    monkeypatch.chdir(tmp_path)
    gm.Models([gm.SkyModel(gm.PowerLawSpectralModel(), name="crab")]).write("sources.yaml")
    geom = WcsGeom.create(skydir=CRAB, width=4, binsz=0.2, axes=[energy(4)], frame="icrs")
    names = {"geom": geom, "exclusion_mask": exclusion(geom), "energy_axis_true": ENERGY_TRUE}
    exec(block, names)  # noqa: S102

    models = gm.Models.read("models.yaml")
    assert models.names == ["crab", *(f"hess-{run}-bkg" for run in CRAB_RUNS)]
    datasets = gm.Datasets([gm.MapDataset.read(f"dataset-{run}.fits.gz") for run in CRAB_RUNS])
    datasets.set_models(models)
    assert np.isfinite(datasets.stat_sum())


def test_the_region_is_where_it_was(observation: Any) -> None:
    found, _ = reduction.ReflectedRegionsBackgroundMaker().run(
        crab_spectrum(observation, "run"), observation
    )
    region = gm.to_gammapy(found).counts.geom.region
    assert isinstance(region, CircleSkyRegion)
    assert region.center.separation(CRAB).deg < 1e-6
