"""Spectra of counts, without area and time in their unit: for sources without exposure."""

import json

import pytest
from astropy import units as u
from gammapy.modeling.models import Models as GammapyModels
from gammapy.modeling.models import PowerLawSpectralModel as GammapyPowerLaw

from gmdask.errors import ModelError
from gmdask.models import (
    ExpCutoffPowerLawNormSpectralModel,
    GaussianSpectralModel,
    Models,
    PointSpatialModel,
    PowerLaw2SpectralModel,
    PowerLawSpectralModel,
    ScaleSpectralModel,
    SkyModel,
)

IRFS = {"exposure": False}
SPECTRA = {
    "power law": lambda: PowerLawSpectralModel(amplitude="3 GeV-1"),
    "line": lambda: GaussianSpectralModel(amplitude=40 * u.one),
    "integral": lambda: PowerLaw2SpectralModel(amplitude=40 * u.one),
    "product": lambda: (
        PowerLawSpectralModel(amplitude="3000 TeV-1") * ExpCutoffPowerLawNormSpectralModel()
    ),
    "scaled": lambda: ScaleSpectralModel(PowerLawSpectralModel(amplitude="30 TeV-1"), norm=2),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_units_and_yaml(name, tmp_path):
    spectrum = SPECTRA[name]()
    assert spectrum.is_counts
    assert spectrum(2 * u.TeV).unit == "TeV-1"
    assert spectrum.integral(1 * u.TeV, 2 * u.TeV).unit == ""
    with pytest.raises(
        ModelError, match=r"source: the spectrum has no area and time .*\(1 / TeV\)"
    ):
        SkyModel(spectrum, PointSpatialModel(), name="source")
    models = Models([SkyModel(spectrum, PointSpatialModel(), name="source", apply_irf=IRFS)])
    models.write(tmp_path / "m.yaml")
    again = Models.read(tmp_path / "m.yaml")
    assert json.dumps(again.to_dict()) == json.dumps(models.to_dict())
    assert u.allclose(again[0].spectral_model(3 * u.TeV), spectrum(3 * u.TeV), rtol=1e-14)
    if name != "scaled":  # which Gammapy does not write
        theirs = GammapyModels.read(tmp_path / "m.yaml")
        assert u.allclose(theirs[0].spectral_model(3 * u.TeV), spectrum(3 * u.TeV), rtol=1e-12)


def test_as_gammapy():
    ours = SPECTRA["power law"]()
    theirs = GammapyPowerLaw.from_parameters(GammapyPowerLaw().parameters.copy())
    theirs.amplitude.unit, theirs.amplitude.value = "GeV-1", 3
    assert u.allclose(ours(2 * u.TeV), theirs(2 * u.TeV), rtol=1e-14)
    mine = ours.integral(1 * u.TeV, 5 * u.TeV)
    assert u.allclose(mine, theirs.integral(1 * u.TeV, 5 * u.TeV), rtol=1e-13)


def test_refused():
    both = PowerLawSpectralModel(amplitude="3 TeV-1") + PowerLawSpectralModel()
    with pytest.raises(ModelError, match="some amplitudes are fluxes, others are not"):
        SkyModel(both, name="source", apply_irf=IRFS)
    for unit in ("TeV", "cm-2", "s-1 TeV-1"):
        with pytest.raises(ModelError, match="cannot be converted"):
            PowerLawSpectralModel(amplitude=f"3 {unit}")
    flux = PowerLawSpectralModel()
    assert not flux.is_counts
    assert flux.output_unit == "cm-2 s-1 TeV-1"
