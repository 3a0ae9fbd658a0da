"""Sound inputs of the commands, and how each kind of them is spoilt."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.units import Quantity
from hypothesis import strategies as st

import gmdask as gm
from gmdask.errors import ModelError
from gmdask.geometry import Axis
from gmdask.models.io.region_map import RegionMap
from gmdask.models.registry import get_class, known_types
from tests.cli.fuzzing import VALUES, Case, damaged, fits_of, json_of, run, spoilt, yaml_of

SURVEY: dict[str, Any] = {
    "seed": 3,
    "models": "sky.yaml",
    "geometry": {
        "frame": "galactic", "projection": "CAR", "center": {"lon": "0 deg", "lat": "0 deg"},
        "pixel": "0.1 deg", "npix": 10,
    },
    "energy": {"min": "0.6 TeV", "max": "20 TeV", "bins": 2},
    "energy_true": {"min": "0.4 TeV", "max": "40 TeV", "bins": 3},
    "pointings": {
        "grid": {
            "lon": {"start": "0 deg", "stop": "0.2 deg", "n": 2},
            "lat": {"start": "0 deg", "stop": "0 deg", "n": 1},
            "repeat": 1, "dither": "0.1 deg",
        }
    },
    "livetime": {"min": "25 min", "max": "0.5 h"},
    "zenith": "20 deg",
    "background": {"rate": "800 s-1 TeV-1 sr-1", "norm_spread": 0.1},
    "irfs": {"pixel": "0.5 deg"},
}  # fmt: skip


# --- what is spoilt --------------------------------------------------------------------------


def _components() -> list[dict[str, Any]]:
    """A component with each class that has defaults."""
    entry = gm.SkyModel(
        gm.PowerLawSpectralModel(amplitude="3e-12 cm-2 s-1 TeV-1"),
        gm.PointSpatialModel(frame="galactic"), name="source",
    ).to_dict()  # fmt: skip
    found: list[dict[str, Any]] = []
    for kind in ("spectral", "spatial", "temporal"):
        for cls in {get_class(kind, tag) for tag in known_types(kind)}:
            with contextlib.suppress(ModelError, TypeError, AttributeError):
                model: Any = cls()
                spectral = model if kind == "spectral" else gm.PowerLawSpectralModel()
                if kind == "spectral" and model.is_norm:
                    continue
                spatial = model if kind == "spatial" else gm.PointSpatialModel(frame="galactic")
                temporal = model if kind == "temporal" else None
                source = gm.SkyModel(spectral, spatial, "source", temporal_model=temporal)
                found.append(source.to_dict())
    return [entry, *sorted(found, key=json.dumps)]


class Bench:
    """A folder with sound inputs, made once.

    Parameters
    ----------
    folder : Path
        That is new.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.components = _components()
        self.write("sky.yaml", {"components": self.components[:1]})
        self.write("survey.yaml", SURVEY)
        with contextlib.chdir(folder):
            store = gm.simulate("survey.yaml", "sky.zarr")
            gm.export_datasets(gm.Datasets.from_store(store), "export")
            self._templates()
            assert (
                run(
                    "fit", "sky.zarr", "models.yaml", "-o", "out", "--max-passes", "1", seconds=120
                ).code
                == 3
            )
            assert run("fit", "sky.zarr", "models.yaml", "-o", "done", seconds=120).code == 0

    def _templates(self) -> None:
        random = np.random.default_rng(1)
        header = {
            "CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRPIX1": 4.5, "CRPIX2": 4.5, "CRVAL1": 0.0,
            "CRVAL2": 0.0, "CDELT1": -0.1, "CDELT2": 0.1, "CUNIT1": "deg", "CUNIT2": "deg",
        }  # fmt: skip
        gm.models.SkyMap(random.uniform(1, 2, (8, 8)), header, unit="sr-1").write("map.fits")
        axes = (
            Axis("energy", np.geomspace(0.1, 100, 4), "log", "center", "TeV"),
            Axis("tilt", np.linspace(0, 1, 3), "lin", "center", ""),
        )
        RegionMap(axes, random.uniform(1, 2, (4, 3)), "", {}).write("spectra.fits")
        curve = gm.models.LightCurveTemplateTemporalModel(
            Quantity([0.0, 1, 5], "d"), [1.0, 2.0, 1.0]
        )
        curve.write("curve.fits")
        plain = self.components[0]
        with_map = {
            **plain,
            "name": "cloud",
            "spatial": {"type": "template", "filename": "map.fits", "normalize": True},
        }
        with_curve = {
            **plain,
            "name": "flare",
            "temporal": {"type": "template", "filename": "curve.fits", "scale": "utc"},
        }
        with_table = {**plain, "name": "table", "spectral": {
            "type": "CompoundSpectralModel", "operator": "mul", "model1": plain["spectral"],
            "model2": {"type": "TemplateNDSpectralModel", "filename": "spectra.fits"},
        }}  # fmt: skip
        backgrounds = gm.Models(
            gm.BackgroundIRFModel(dataset_name=name) for name in ("obs-0001", "obs-0002")
        ).to_dict()["components"]
        self.templates = [with_map, with_curve, with_table]
        self.components += [*self.templates, *backgrounds]
        self.write("models.yaml", {"components": [plain, *backgrounds]})

    def write(self, name: str, data: Any) -> None:
        """Write plain data as YAML."""
        (self.folder / name).write_text(yaml.safe_dump(data))

    def read(self, name: str) -> bytes:
        """Content of a file."""
        return (self.folder / name).read_bytes()


# --- cases -----------------------------------------------------------------------------------


@st.composite
def models_cases(draw: Any, bench: Bench) -> Case:
    """A file of models."""
    chosen = draw(st.lists(st.sampled_from(bench.components), min_size=1, max_size=3))
    content = draw(yaml_of({"components": chosen}))
    command = draw(st.sampled_from(["fit", "fit", "flux-points", "simulate"]))
    arguments = ["fit", "sky.zarr", "models.yaml", "-o", "new", "--max-passes", "1"]
    name = "models.yaml"
    if command == "flux-points":
        arguments = [
            command,
            "sky.zarr",
            name,
            "--source",
            "source",
            "--energy-edges",
            "1 10 TeV",
            "-o",
            "new.fits",
        ]
    if command == "simulate":
        name, arguments = "sky.yaml", [command, "survey.yaml", "new.zarr"]
    return Case(
        arguments,
        {name: content},
        (name, "source", "--source"),
        ("new", "new.fits", "new.zarr", "new-truth.yaml"),
    )


@st.composite
def template_cases(draw: Any, bench: Bench) -> Case:
    """A file that models name."""
    component = draw(st.sampled_from(bench.templates))
    name = {"cloud": "map.fits", "flare": "curve.fits", "table": "spectra.fits"}[component["name"]]
    files = {
        name: draw(fits_of(bench.read(name))),
        "models.yaml": yaml.safe_dump({"components": [component]}).encode(),
    }
    return Case(
        ["fit", "sky.zarr", "models.yaml", "-o", "new", "--max-passes", "1"],
        files,
        (name, "models.yaml", component["name"]),
    )


@st.composite
def datasets_cases(draw: Any, bench: Bench) -> Case:
    """A list of datasets."""
    name = "export/datasets.yaml"
    content = draw(yaml_of(yaml.safe_load(bench.read(name))))
    return Case(["import", name, "new"], {name: content}, (name, "new", "export/"))


@st.composite
def fits_cases(draw: Any, bench: Bench) -> Case:
    """A dataset in FITS."""
    names = sorted(
        str(p.relative_to(bench.folder)) for p in (bench.folder / "export").rglob("*.fits*")
    )
    name = draw(st.sampled_from(names))
    content = bench.read(name)
    if name.endswith(".gz"):
        import gzip

        content = gzip.decompress(content)
    return Case(["import", "export/datasets.yaml", "new"], {name: draw(fits_of(content))}, (name,))


@st.composite
def survey_cases(draw: Any, bench: Bench) -> Case:
    """The configuration of a survey."""
    content = draw(yaml_of(SURVEY))
    more = ["--dry-run"] if draw(st.booleans()) else []
    return Case(
        ["simulate", "survey.yaml", "new", *more],
        {"survey.yaml": content},
        ("survey.yaml", "sky.yaml", "new"),
        ("new", "new-truth.yaml"),
    )


def sealed(content: Any) -> bytes:
    """JSON with a sound checksum, whatever is in it."""
    body = json.dumps(content, separators=(",", ":")).encode()
    digest = hashlib.sha256(body).hexdigest()
    return b'{"sha256":"' + digest.encode() + b'",' + body[1:]


@st.composite
def commit_cases(draw: Any, bench: Bench) -> Case:
    """The newest commit of a store, or a manifest that fits its checksum."""
    newest = max((bench.folder / "sky.zarr" / "commits").glob("*.json"))
    name = str(newest.relative_to(bench.folder))
    content = json.loads(bench.read(name))
    del content["sha256"]
    files = {name: draw(json_of(content, sealed))}
    if draw(st.integers(0, 2)) == 0:
        manifest = next((bench.folder / "sky.zarr/manifests").glob("*.json"))
        inner = json.loads(manifest.read_bytes())
        inner.pop("sha256", None)
        made = draw(json_of(inner, sealed))
        content["blocks"]["manifest"] = [hashlib.sha256(made).hexdigest()]
        files = {name: sealed(content), str(manifest.relative_to(bench.folder)): made}
    arguments = draw(st.sampled_from([
        ["info", "sky.zarr"], ["ls", "sky.zarr"], ["verify", "sky.zarr"], ["export", "sky.zarr", "new"],
        ["fit", "sky.zarr", "models.yaml", "-o", "new", "--max-passes", "1"],
        ["stack", "sky.zarr", "new"],
    ]))  # fmt: skip
    return Case(arguments, files, ("sky.zarr", "obs-", "models.yaml"))


@st.composite
def checkpoint_cases(draw: Any, bench: Bench) -> Case:
    """What an unfinished fit, or one that ended, left in its folder."""
    name, command = draw(st.sampled_from([
        ("out/checkpoint.json", ["fit", "--resume", "out", "--max-passes", "1"]),
        ("out/checkpoint.json", ["fit", "--resume", "out", "--max-passes", "1"]),
        ("done/result.json", ["report", "done", "-o", "new.html"]),
        ("done/events.jsonl", ["status", "done"]),
        ("out/events.jsonl", ["status", "out"]),
    ]))  # fmt: skip
    content = bench.read(name)
    if name.endswith("jsonl"):
        return Case(
            command, {name: draw(damaged(content))}, ("events.jsonl", "out", "done"), ("new.html",)
        )
    data = json.loads(content)
    seal = sealed if data.pop("sha256", None) else lambda found: json.dumps(found).encode()
    if name.startswith("out") and draw(st.booleans()):
        data["state"] = draw(spoilt(data["state"], json_only=True))
        made = seal(data)
    else:
        made = draw(json_of(data, seal))
    return Case(
        command,
        {name: made},
        ("checkpoint.json", "result.json", "models.yaml", "sky.zarr", "out", "done"),
        ("out", "new.html"),
    )


@st.composite
def option_cases(draw: Any, bench: Bench) -> Case:
    """Options."""
    words = st.one_of(
        st.sampled_from([str(v) for v in VALUES if v not in ("",)]),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30),
        st.sampled_from([
            "livetime > 1", "name ~ [", "lon < nan", "counts=1e999", "1 10 TeV", "10 1 TeV", "1 2",
            "nan 1 TeV", "1 inf TeV", "2000-01-01", "2000-13-01", "99999-01-01", "51544", "1e400", "J2000",
        ]),
    )  # fmt: skip
    word, other = draw(words), draw(words)
    number = draw(st.sampled_from(["nan", "inf", "-1", "0", "1e308", "1e-308", "90", "0.3"]))
    output = draw(st.sampled_from([
        "new", " ", "x y", "ü☃", "a\nb", "\x1b[2J", "-", "new.fits", "new/deep/er", "n" * 300, "", "new.zarr/",
        "nan", "'new\"", "$HOME", "~", "models.yaml", "sky.zarr", "out", "done", ".", "/dev/null",
    ]))  # fmt: skip
    common = ["sky.zarr", "models.yaml", "--source", "source", "-o", "new.fits"]
    arguments = draw(st.sampled_from([
        ["ls", "sky.zarr", f"--where={word}"],
        ["light-curve", *common, "--energy-edges=1 10 TeV", "--interval", word, other],
        ["flux-points", *common, f"--energy-edges={word}"],
        ["flux-points", "sky.zarr", "models.yaml", f"--source={word}", "-o", "new.fits", "--energy-edges=1 10 TeV"],
        ["cutout", "sky.zarr", "new", f"--lon={number}", "--lat=0", "--width=0.3"],
        ["cutout", "sky.zarr", "new", "--lon=0", f"--lat={number}", "--width=0.3", "--frame=galactic"],
        ["cutout", "sky.zarr", "new", "--lon=0", "--lat=0", f"--width={number}", "--frame=galactic"],
        ["fit", "sky.zarr", "models.yaml", "-o", "new", "--max-passes=1", f"--time-limit={word}"],
        ["stack", "sky.zarr", "new", f"--name={word}"],
        ["info", word], ["import", word, "new"], ["fit", word, other], ["status", word],
        ["fit", "sky.zarr", "models.yaml", "-o", output, "--max-passes=1"],
        ["fit", "sky.zarr", "models.yaml", "-o", output, "--overwrite", "--max-passes=1"],
        ["fit", "sky.zarr", "models.yaml", "-o", "new", f"--max-passes={number}"],
        ["fit", "sky.zarr", "models.yaml", "-o", "new", "--max-passes=1", f"--where={word}"],
        ["fit", "sky.zarr", "models.yaml", "-o", "new", "--max-passes=1", f"--memory-limit={word}"],
        ["fit", "sky.zarr", "models.yaml", "-o", "new", "--max-passes=1", f"--cluster={word}"],
        ["fit", "--resume", word], ["fit", "--resume", "out", f"--time-limit={word}", "--max-passes=1"],
        ["flux-points", *common, "--energy-edges=1 10 TeV", f"--select={word}"],
        ["flux-points", *common[:-1], output, "--energy-edges=1 10 TeV"],
        ["flux-points", *common[:-1], output, "--energy-edges=1 10 TeV", "--overwrite"],
        ["light-curve", *common, "--energy-edges=1 10 TeV", f"--where={word}", f"--sed-type={other}"],
        ["import", "export/datasets.yaml", output], ["import", "export/datasets.yaml", output, "--overwrite"],
        ["import", "export/datasets.yaml", output, "--append"], ["append", output, "sky.zarr"],
        ["append", "new", word], ["export", "sky.zarr", output], ["simulate", "survey.yaml", output],
        ["stack", "sky.zarr", output, "--overwrite"], ["report", "done", "-o", output],
        ["report", "done", "-o", output, "--overwrite"], ["compact", word], ["verify", word],
        ["batch", "fit", "sky.zarr", "models.yaml", "-o", output, f"--walltime={word}"],
        ["batch", "fit", "sky.zarr", "models.yaml", "-o", "new", f"--memory={word}", f"--jobs={number}"],
    ]))  # fmt: skip
    stem = output.rstrip("/").split("/")[0]
    made = [stem] if stem not in ("", ".", "..", "models.yaml", "sky.zarr", "done") else []
    if arguments[0] == "flux-points":
        made += ["done", "source.fits"]  # in folders
    if arguments[0] == "import" and "--overwrite" in arguments:
        made += ["sky.zarr"]  # a store, whose datasets are replaced
    return Case(
        arguments, {}, ("",), ("new", "new.fits", "out", *made, f"{Path(stem).stem}-truth.yaml")
    )


KINDS = {
    "models": models_cases, "templates": template_cases, "datasets": datasets_cases,
    "fits": fits_cases, "survey": survey_cases, "commits": commit_cases,
    "checkpoints": checkpoint_cases, "options": option_cases,
}  # fmt: skip
