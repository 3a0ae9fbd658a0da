"""Gammapy's geometries and makers for a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.coordinates import Angle, SkyCoord
from astropy.nddata import NoOverlapError
from astropy.units import Quantity, UnitsError
from regions import CircleSkyRegion, PointSkyRegion, Regions

from gmdask.errors import InputError
from gmdask.inputs.optional import gammapy_module
from gmdask.quiet import no_warnings
from gmdask.reduction import backgrounds
from gmdask.reduction.backgrounds import BackgroundMaker
from gmdask.reduction.config import ReductionConfig

__all__ = ["Recipe", "recipe_of"]

WHAT = "reduce"
OFF_WIDTH, OFF_PIXEL = 10.0, 0.02  # deg; size of the exclusion mask of a spectrum
# measured peak memory, in units of the maps of a dataset and of the maps of its largest response
MAPS, RESPONSES = 3, 25
RAD_BINS, MIGRA_BINS = 66, 160  # of a PSF map, and of typical tables of the energy dispersion
MAKERS: dict[str, Callable[..., BackgroundMaker]] = {
    "irf": backgrounds.IRFBackgroundMaker,
    "fov_background": backgrounds.FoVBackgroundMaker,
    "ring": backgrounds.RingBackgroundMaker,
    "adaptive_ring": backgrounds.AdaptiveRingBackgroundMaker,
    "reflected": backgrounds.ReflectedRegionsBackgroundMaker,
    "phase": backgrounds.PhaseBackgroundMaker,
}


class Recipe:
    """Creates datasets from observations.

    Parameters
    ----------
    config : `ReductionConfig`

    Raises
    ------
    InputError
        If a value of the configuration is invalid.
    """

    def __init__(self, config: ReductionConfig) -> None:
        self._given, self._file = config.datasets, config.file
        self.is_spectrum = self._given["type"] == "1d"
        try:
            with no_warnings():
                self._make()
        except (TypeError, ValueError, KeyError, UnitsError, OSError) as error:
            msg = f"{self._file}: datasets: {error}"
            raise InputError(msg) from error

    def _make(self) -> None:
        given = self._given
        axes = given["geom"]["axes"]
        self._energy = _axis(axes["energy"], "energy")
        self._energy_true = _axis(axes["energy_true"], "energy_true")
        makers = gammapy_module("makers", WHAT)
        if self.is_spectrum:
            method = self._method
            selection = ["counts", "exposure", "edisp"] + (
                ["background"] if method == "irf" else []
            )
            self.maker = makers.SpectrumDatasetMaker(
                selection=selection,
                containment_correction=self._region_has_radius and given.get("containment_correction", True),
            )  # fmt: skip
        else:
            self.maker = makers.MapDatasetMaker(selection=given.get("map_selection"))
        mask = given.get("safe_mask", {})
        self.safe_mask_maker = makers.SafeMaskMaker(
            methods=mask.get("methods", ["aeff-default"]), **_positions(mask.get("parameters", {}))
        )
        bins = given.get("time_bins")
        self.time_bin = None if bins is None else Quantity(bins).to("s")
        self._common = None if self._is_per_observation else self._reference(None, "reference")
        self.background_maker(self.reference_at(SkyCoord(0, 0, unit="deg"), "reference"))

    @property
    def _method(self) -> str:
        return str(self._given.get("background", {}).get("method", "irf"))

    @property
    def _region_has_radius(self) -> bool:
        return "radius" in self._given.get("on_region", {})

    @property
    def _is_per_observation(self) -> bool:
        return not self.is_spectrum and "skydir" not in self._given["geom"]["wcs"]

    @property
    def required(self) -> list[str]:
        """Types of the responses that an observation must have."""
        needed = ["aeff", "edisp"]
        if not self.is_spectrum:
            chosen = self._given.get("map_selection", ["background", "psf"])
            needed += [
                key for key, name in (("bkg", "background"), ("psf", "psf")) if name in chosen
            ]
        elif self._method == "irf":
            needed.append("bkg")
        if self.is_spectrum and self._region_has_radius and self.maker.containment_correction:
            needed.append("psf")
        return needed

    @property
    def _whole(self) -> Any:
        """Empty dataset of the size of each dataset, or of the common frame they are cut out of."""
        if self._common is not None:
            return self._common
        return self._reference(SkyCoord(0, 0, unit="deg"), "reference")

    def dataset_bytes(self) -> int:
        """Size in bytes of the maps of a dataset, before they are cut out of a common frame."""
        whole = self._whole
        maps = [whole.counts, whole.background, whole.mask_safe, whole.exposure]
        for response, name in ((whole.psf, "psf_map"), (whole.edisp, "edisp_map")):
            maps.append(None if response is None else getattr(response, name))
        return sum(8 * one.data.size for one in maps if one is not None)

    def peak_bytes(self) -> int:
        """Peak memory of the reduction of an observation in bytes, without its event list.

        Gammapy's interpolation of a response holds many arrays of its size at the same time;
        energy dispersion kernels are computed on the table's own migra bins.
        """
        edisp = self._whole.edisp.edisp_map.geom
        migra = edisp.axes["migra"].nbin if "migra" in edisp.axes.names else MIGRA_BINS
        pixels = int(np.prod(edisp.data_shape[-2:]))
        response = 8 * pixels * self._energy_true.nbin * max(migra, RAD_BINS)
        return int(MAPS * self.dataset_bytes() + RESPONSES * response)

    # --- datasets ---------------------------------------------------------------------

    def reference_at(self, pointing: SkyCoord, name: str) -> Any:
        """Return an empty Gammapy dataset for an observation.

        Parameters
        ----------
        pointing : `~astropy.coordinates.SkyCoord`
        name : str

        Raises
        ------
        InputError
            If the observation is outside of the common frame.
        """
        if self._common is None:
            return self._reference(pointing, name)
        offset = self._given["geom"].get("selection", {}).get("offset_max")
        if offset is None or self.is_spectrum or name == "reference":
            return self._common.copy(name=name)
        try:
            return self._common.cutout(pointing, width=2 * Angle(offset), mode="trim", name=name)
        except NoOverlapError as error:
            msg = "it is outside of the geometry"
            raise InputError(msg) from error

    def _reference(self, pointing: SkyCoord | None, name: str) -> Any:
        maps, datasets = gammapy_module("maps", WHAT), gammapy_module("datasets", WHAT)
        geom = self._given["geom"]
        options: dict[str, Any] = {"energy_axis_true": self._energy_true, "name": name}
        wcs = geom.get("wcs", {})
        if self.is_spectrum:
            region = maps.RegionGeom.create(self._on_region(), axes=[self._energy])
            return datasets.SpectrumDataset.create(region, **options)
        if "binsize_irf" in wcs:
            options["binsz_irf"] = Angle(wcs["binsize_irf"]).deg
        if "migra" in geom["axes"]:
            migra = geom["axes"]["migra"]
            edges = np.linspace(migra["min"], migra["max"], migra["nbins"] + 1)
            options["migra_axis"] = maps.MapAxis.from_edges(edges, name="migra")
        if pointing is None:
            center = wcs["skydir"]
            pointing = SkyCoord(center["lon"], center["lat"], frame=center.get("frame", "icrs"))
            frame = center.get("frame", "icrs")
        else:
            frame = wcs.get("frame", "icrs")
        frame_of_all = maps.WcsGeom.create(
            skydir=pointing, frame=frame, proj=wcs.get("proj", "CAR"), binsz=Angle(wcs["binsize"]).deg,
            width=tuple(Angle(wcs["width"][side]).deg for side in ("width", "height")), axes=[self._energy],
        )  # fmt: skip
        return datasets.MapDataset.create(frame_of_all, **options)

    def _on_region(self) -> Any:
        given = self._given["on_region"]
        center = SkyCoord(given["lon"], given["lat"], frame=given.get("frame", "icrs"))
        if not self._region_has_radius:
            return PointSkyRegion(center)
        return CircleSkyRegion(center, Angle(given["radius"]))

    # --- backgrounds ------------------------------------------------------------------

    def background_maker(self, dataset: Any) -> BackgroundMaker:
        """Return the background maker for a dataset.

        Parameters
        ----------
        dataset : ``gammapy.datasets.MapDataset``
            The exclusion mask has its pixels, unless it is read from a file.
        """
        given = self._given.get("background", {})
        options = dict(given.get("parameters", {}))
        if "exclusion" in given:
            options["exclusion_mask"] = self._exclusion(given["exclusion"], dataset)
        maker = MAKERS[self._method]
        if self._method == "irf" and options:
            msg = f"{self._file}: datasets background: {', '.join(options)} given, expected none with method irf"
            raise InputError(msg)
        return maker(**options)

    def _exclusion(self, given: Any, dataset: Any) -> Any:
        maps = gammapy_module("maps", WHAT)
        if isinstance(given, str) and not given.endswith(".reg"):
            mask = maps.Map.read(given)
            mask.data = mask.data.astype(bool)
            return mask
        if isinstance(given, str):
            regions = list(Regions.read(given, format="ds9"))
        else:
            regions = [
                CircleSkyRegion(SkyCoord(one["lon"], one["lat"], frame=one.get("frame", "icrs")), Angle(one["radius"]))
                for one in given
            ]  # fmt: skip
        if self.is_spectrum:
            center = dataset.counts.geom.center_skydir
            geom = maps.WcsGeom.create(
                skydir=center, width=OFF_WIDTH, binsz=OFF_PIXEL, frame="icrs"
            )
            return geom.region_mask(regions, inside=False)
        image = dataset.counts.geom.to_image().to_cube([self._energy.squash()])
        return image.region_mask(regions, inside=False)


_made: dict[str, Recipe] = {}  # by the digest of the configuration; only the last one


def recipe_of(config: ReductionConfig) -> Recipe:
    """Return the recipe of a configuration, created once per process.

    Parameters
    ----------
    config : `ReductionConfig`
    """
    if config.digest not in _made:
        made = Recipe(config)
        _made.clear()
        _made[config.digest] = made
    return _made[config.digest]


def _axis(given: dict[str, Any], name: str) -> Any:
    low, high = Quantity(given["min"]), Quantity(given["max"])
    return gammapy_module("maps", WHAT).MapAxis.from_bounds(
        low.value, high.to_value(low.unit), given["nbins"], name=name, unit=low.unit, interp="log",
        node_type="edges",
    )  # fmt: skip


def _positions(options: dict[str, Any]) -> dict[str, Any]:
    """Convert position and offset in the options of the safe mask."""
    found = dict(options)
    if "position" in found:
        given = found["position"]
        found["position"] = SkyCoord(given["lon"], given["lat"], frame=given.get("frame", "icrs"))
    if "fixed_offset" in found:
        found["fixed_offset"] = Angle(found["fixed_offset"])
    return found
