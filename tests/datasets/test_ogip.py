"""OGIP files: as Gammapy writes them, read by Gammapy, with unlike grids, and damaged ones."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from regions import CircleSkyRegion

import gmdask as gm
from gmdask.errors import InputError, InputNotFoundError, StoreExistsError
from tests.datasets.real_pairs import ours, quiet, start_models, theirs

KEYS = ("counts", "counts_off", "acceptance", "acceptance_off", "mask_safe")
LIVETIME = 1687.0


@pytest.fixture
def file(shared, tmp_path):
    return _written(shared, tmp_path)


def _written(shared, folder, style="ogip"):
    """Files as Gammapy writes them: channels from 0, whole counts, energies in the unit of the axis.

    Gammapy 2.1 by itself fails at its PHA and ARF with this version of astropy.
    """
    own, other = ours(shared, "joint_crab")[6], theirs(shared, "joint_crab", 6)
    path = folder / "pha_obs23523.fits"
    energy, true = (
        own.cube[f"{key}_edges"].values * u.keV.to("TeV") for key in ("energy", "energy_true")
    )
    column = lambda key: own.cube[key].values[:, 0, 0]  # noqa: E731
    n = len(energy) - 1
    bounds = fits.BinTableHDU.from_columns([
        fits.Column("CHANNEL", "I", array=np.arange(n)),
        fits.Column("E_MIN", "D", unit="TeV", array=energy[:-1]),
        fits.Column("E_MAX", "D", unit="TeV", array=energy[1:]),
    ], name="EBOUNDS")  # fmt: skip
    names = {"ANCRFILE": f"{path.stem}_arf.fits", "BACKFILE": f"{path.stem}_bkg.fits"}
    for key, file, scale in (("counts", path, "acceptance"),
                             ("counts_off", folder / names["BACKFILE"], "acceptance_off")):  # fmt: skip
        table = fits.BinTableHDU.from_columns([
            fits.Column("CHANNEL", "I", array=np.arange(n)),
            fits.Column("COUNTS", "J", array=column(key).astype(int)),
            fits.Column("QUALITY", "L", array=~column("mask_safe")),
            fits.Column("BACKSCAL", "D", array=column(scale)),
        ], name="SPECTRUM")  # fmt: skip
        table.header.update({
            "HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM", "HDUCLAS4": "TYPE:1", "EXPOSURE": LIVETIME,
            "OBS_ID": own.name, "RESPFILE": f"{path.stem}_rmf.fits", "AREASCAL": 1, **names,
        })  # fmt: skip
        fits.HDUList([fits.PrimaryHDU(), table, bounds]).writeto(file)
    area = own.exposure.values[:, 0, 0] * u.Unit(own.exposure.attrs["unit"]).to("m2 s") / LIVETIME
    fits.BinTableHDU.from_columns([
        fits.Column("ENERG_LO", "D", unit="TeV", array=true[:-1]),
        fits.Column("ENERG_HI", "D", unit="TeV", array=true[1:]),
        fits.Column("SPECRESP", "D", unit="m2", array=area),
    ], name="SPECRESP").writeto(folder / names["ANCRFILE"])  # fmt: skip
    with quiet():
        other.edisp.get_edisp_kernel().write(folder / f"{path.stem}_rmf.fits", format=style)
    return path


def model_pair(shared):
    return start_models(shared, "joint_crab")


def test_written_as_gammapy_does(file, shared):
    """Counts, mask and acceptances equal; the response to single precision, in which it was written."""
    own, before = gm.SpectrumDatasetOnOff.read(file), ours(shared, "joint_crab")[6]
    assert own.name == "hess-obs23523"
    for key in KEYS:
        np.testing.assert_array_equal(own.cube[key], before.cube[key], err_msg=key)
    factor = u.Unit(before.exposure.attrs["unit"]).to(own.exposure.attrs["unit"])
    np.testing.assert_allclose(own.exposure, before.exposure * factor, rtol=1e-6)
    np.testing.assert_allclose(own.edisp.values, before.edisp.values, rtol=1e-6, atol=1e-7)
    models = model_pair(shared)[0]
    for one in (own, before):
        one.set_models(models)
    assert own.stat_sum() == pytest.approx(before.stat_sum(), abs=1e-4)
    assert own.info_dict()["livetime"] == LIVETIME * u.s


def test_statistic_of_what_gammapy_reads(file, shared):
    from gammapy.datasets import SpectrumDatasetOnOff

    models = model_pair(shared)
    own = gm.MapDataset.read(file)
    with quiet():
        other = SpectrumDatasetOnOff.read(file)
        other.models = models[1]
        stat = other.stat_sum()
    own.set_models(models[0])
    assert own.stat_sum() == pytest.approx(float(stat), abs=1e-6)


@pytest.mark.parametrize("index", [0, 1, 4, 5, 6])
def test_written_by_gmdask(shared, tmp_path, index):
    """Read again to the last bit, and by Gammapy."""
    from gammapy.datasets import SpectrumDatasetOnOff

    own = ours(shared, "joint_crab")[index]
    cube = own.open().load()
    timed = cube["exposure"].assign_attrs(meta={"livetime": f"{LIVETIME} s"})
    cube = cube.assign(exposure=timed)
    own = gm.SpectrumDatasetOnOff(cube)
    path = tmp_path / "spectrum.fits"
    own.write(path, format="ogip")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "spectrum.fits", "spectrum_arf.fits", "spectrum_bkg.fits", "spectrum_rmf.fits"
    ]  # fmt: skip
    again = gm.SpectrumDatasetOnOff.read(path)
    for key in KEYS:
        np.testing.assert_array_equal(again.cube[key], own.cube[key], err_msg=key)
    factor = u.Unit(own.exposure.attrs["unit"]).to("cm2 s")
    np.testing.assert_allclose(again.exposure, own.exposure * factor, rtol=1e-14)
    np.testing.assert_array_equal(again.edisp.values, own.edisp.values)
    models = model_pair(shared)
    with quiet():
        other = SpectrumDatasetOnOff.read(path)
        other.models = models[1]
        for key in KEYS:
            np.testing.assert_array_equal(getattr(other, key).data, own.cube[key], err_msg=key)
        stat = float(other.stat_sum())
    for one in (own, again):
        one.set_models(models[0])
    assert again.stat_sum() == pytest.approx(own.stat_sum(), abs=1e-9)
    assert stat == pytest.approx(own.stat_sum(), abs=1e-6)


def test_written_twice(shared, file):
    own = gm.SpectrumDatasetOnOff.read(file)
    own.write(file.with_name("own.fits.gz"), format="ogip")
    again = gm.SpectrumDatasetOnOff.read(file.with_name("own.fits.gz"))
    np.testing.assert_array_equal(again.counts, own.counts)
    with pytest.raises(StoreExistsError):
        own.write(file.with_name("own.fits.gz"), format="ogip")
    own.write(file.with_name("own.fits.gz"), format="ogip", overwrite=True)
    with pytest.raises(InputError, match="'gadf' or 'ogip'"):
        own.write(file.with_name("own.fits"), format="pha")


def test_a_dataset_without_livetime(shared, tmp_path):
    own = ours(shared, "joint_crab")[6]
    with pytest.raises(InputError, match=r"'hess-obs23523': there is no livetime"):
        own.write(tmp_path / "x.fits", format="ogip")


def test_a_list_of_them_in_a_store(file, tmp_path, shared):
    """Imported by Gammapy's list; a change of a companion is another input."""
    listed = tmp_path / "datasets.yaml"
    listed.write_text(
        f"datasets: [{{name: a run, type: SpectrumDatasetOnOff, filename: {file.name}}}]"
    )
    store = gm.import_datasets(listed, tmp_path / "store")
    own = gm.Datasets.read(tmp_path / "store")["a run"]
    np.testing.assert_array_equal(own.counts, gm.MapDataset.read(file).counts)
    from gmdask.datasets.io.importing import _digest
    from gmdask.datasets.kinds import KINDS
    from gmdask.store.formats.gammapy_yaml import read_datasets_yaml

    entries = read_datasets_yaml(listed, KINDS)
    before = _digest(entries)
    with fits.open(file.with_name("pha_obs23523_bkg.fits"), mode="update") as hdus:
        hdus["SPECTRUM"].data["COUNTS"][50] += 1
    assert _digest(entries) != before
    assert len(store.rows) == 1


def test_bins_of_bad_quality(file):
    with fits.open(file, mode="update") as hdus:
        quality = hdus["SPECTRUM"].data["QUALITY"]
        quality[:] = 0
        quality[7], quality[9] = 5, 2
    mask = gm.MapDataset.read(file).mask_safe.values[:, 0, 0]
    assert not mask[[7, 9]].any()
    assert mask[[6, 8, 10]].all() == gm.MapDataset.read(file).mask_safe.values[[6, 8, 10]].all()


def test_keywords_instead_of_columns(file):
    """Quality and scale as keywords, as many spectra have them; the exposure off twice as long."""
    for path, scale in ((file, 1.0), (file.with_name("pha_obs23523_bkg.fits"), 12.0)):
        with fits.open(path) as hdus:
            old = hdus["SPECTRUM"]
            kept = [c for c in old.columns if c.name not in ("QUALITY", "BACKSCAL")]
            new = fits.BinTableHDU.from_columns(kept, header=old.header, name="SPECTRUM")
            for key in ("QUALITY", "BACKSCAL"):
                new.header.remove(key, ignore_missing=True)
            new.header["BACKSCAL"] = scale
            if scale > 1:
                new.header["EXPOSURE"] *= 2
            hdus["SPECTRUM"] = new
            fits.HDUList([h.copy() for h in hdus]).writeto(path, overwrite=True)
    own = gm.SpectrumDatasetOnOff.read(file)
    assert own.mask_safe.values.all()
    np.testing.assert_allclose(own.alpha, 1 / 24, rtol=1e-12)


def test_an_effective_area_with_other_bins(file):
    """Four times finer: the mean over the bins of the energy dispersion is what it was."""
    before = gm.SpectrumDatasetOnOff.read(file)
    with fits.open(file.with_name("pha_obs23523_arf.fits"), mode="update") as hdus:
        old = hdus["SPECRESP"]
        edges = np.append(old.data["ENERG_LO"], old.data["ENERG_HI"][-1])
        pieces = np.linspace(edges[:-1], edges[1:], 5, axis=1)
        columns = [
            fits.Column("ENERG_LO", "D", unit=old.columns["ENERG_LO"].unit, array=pieces[:, :-1].ravel()),
            fits.Column("ENERG_HI", "D", unit=old.columns["ENERG_HI"].unit, array=pieces[:, 1:].ravel()),
            fits.Column("SPECRESP", "D", unit=old.columns["SPECRESP"].unit,
                        array=np.repeat(old.data["SPECRESP"], 4)),
        ]  # fmt: skip
        hdus["SPECRESP"] = fits.BinTableHDU.from_columns(columns, name="SPECRESP")
    after = gm.SpectrumDatasetOnOff.read(file)
    largest = before.exposure.values.max()  # edges of the matrix are in single precision
    np.testing.assert_allclose(after.exposure, before.exposure, rtol=1e-5, atol=1e-9 * largest)
    np.testing.assert_array_equal(after.edisp, before.edisp)


@pytest.mark.parametrize("fixed", [False, True])
def test_a_matrix_in_groups(file, fixed):
    """Channels from 1, two groups in a row, of variable or fixed length."""
    before = gm.SpectrumDatasetOnOff.read(file).edisp.values[:, :, 0, 0]
    path = file.with_name("pha_obs23523_rmf.fits")
    rows = np.zeros_like(before)
    rows[:, 3:6], rows[:, 20:24] = before[:, 3:6], before[:, 20:24]
    rows[:, 3] += 0.6
    n = len(rows)
    with fits.open(path) as hdus:
        old = hdus["MATRIX"]
        kept = [old.columns["ENERG_LO"], old.columns["ENERG_HI"]]
        values = np.concatenate([rows[:, 3:6], rows[:, 20:24]], axis=1)
        starts, lengths = np.tile([4, 21], (n, 1)), np.tile([3, 4], (n, 1))

        def column(name, form, array):
            if fixed:
                return fits.Column(name, f"{array.shape[1]}{form}", array=array)
            cells = np.empty(n, dtype=object)
            cells[:] = list(array)
            return fits.Column(name, f"P{form}()", array=cells)

        new = fits.BinTableHDU.from_columns([
            *kept, fits.Column("N_GRP", "I", array=np.full(n, 2)), column("F_CHAN", "J", starts),
            column("N_CHAN", "J", lengths), column("MATRIX", "D", values),
        ], name="MATRIX")  # fmt: skip
        new.header["TLMIN4"] = 1
        fits.HDUList([hdus[0].copy(), new, hdus["EBOUNDS"].copy()]).writeto(path, overwrite=True)
    found = gm.SpectrumDatasetOnOff.read(file).edisp.values[:, :, 0, 0]
    np.testing.assert_array_equal(found, rows)


def test_without_a_background(file, shared):
    with fits.open(file, mode="update") as hdus:
        hdus["SPECTRUM"].header["BACKFILE"] = "none"
    own = gm.MapDataset.read(file)
    assert type(own) is gm.SpectrumDataset
    own.set_models(model_pair(shared)[0])
    assert own.info_dict()["stat_type"] == "cash"


def _group(file, grouping, quality=None):
    with fits.open(file) as hdus:
        old = hdus["SPECTRUM"]
        columns = [*old.columns, fits.Column("GROUPING", "I", array=grouping)]
        if quality is not None:
            columns = [c for c in columns if c.name != "QUALITY"]
            columns.append(fits.Column("QUALITY", "I", array=quality))
        hdus["SPECTRUM"] = fits.BinTableHDU.from_columns(
            columns, header=old.header, name="SPECTRUM"
        )
        fits.HDUList([h.copy() for h in hdus]).writeto(file, overwrite=True)


@pytest.mark.parametrize("of_list", [False, True])
def test_grouping(shared, file, of_list):
    """Channels of a group are one bin: counts, off counts and predictions are sums over the good groups."""
    fine = gm.MapDataset.read(file)
    n = fine.counts.shape[0]
    quality = (~fine.mask_safe.values[:, 0, 0]).astype(int)
    first = np.r_[0:20:4, 20:n:3]  # groups of four, then of three
    grouping = np.where(np.isin(np.arange(n), first), 1, -1)
    _group(file, grouping, quality)
    if of_list:
        listed = file.with_name("datasets.yaml")
        listed.write_text(
            f"datasets: [{{name: a, type: SpectrumDatasetOnOff, filename: {file.name}}}]"
        )
        own = gm.Datasets.read(listed)[0]
    else:
        own = gm.MapDataset.read(file)
    assert own.counts.shape[0] == len(first)
    np.testing.assert_allclose(own.cube["energy_edges"][:-1], fine.cube["energy_edges"][first])
    good = np.logical_and.reduceat(quality == 0, first)
    assert 0 < good.sum() < len(first)
    np.testing.assert_array_equal(own.mask_safe.values[:, 0, 0], good)
    models = model_pair(shared)[0]
    for dataset in (own, fine):
        dataset.set_models(models)
    for key in ("counts", "counts_off"):
        sums = np.add.reduceat(fine.cube[key].values[:, 0, 0], first)
        np.testing.assert_allclose(own.cube[key].values[good, 0, 0], sums[good])
    sums = np.add.reduceat(fine.npred_signal().values[:, 0, 0], first)
    np.testing.assert_allclose(own.npred_signal().values[good, 0, 0], sums[good], rtol=1e-6)
    np.testing.assert_allclose(
        own.alpha.values[good, 0, 0], fine.alpha.values[quality == 0][0, 0, 0], rtol=1e-6
    )


def _of_rows(path, rows, keywords, columns):
    """A file of several spectra: vectors of channels per row, and scalars as columns or as keywords."""
    n = rows["COUNTS"].shape[1]
    table = [fits.Column("SPEC_NUM", "I", array=np.arange(1, len(rows["COUNTS"]) + 1))]
    for key, values in rows.items():
        table.append(fits.Column(key, f"{n}D", array=values))
    for key, (form, values) in columns.items():
        table.append(fits.Column(key, form, array=values))
    hdu = fits.BinTableHDU.from_columns(table, name="SPECTRUM")
    hdu.header.update(
        {"HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM", "HDUCLAS4": "TYPE:II", **keywords}
    )
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


@pytest.fixture
def three(file):
    """Three spectra in a file, made of one: their counts, livetimes and acceptances are unlike."""
    with fits.open(file) as hdus, fits.open(file.with_name("pha_obs23523_bkg.fits")) as others:
        on, off = hdus["SPECTRUM"].data, others["SPECTRUM"].data
        n, channel = len(on), np.tile(on["CHANNEL"], (3, 1))
        rng = np.random.default_rng(4)
        bad = np.tile(on["QUALITY"].astype(float), (3, 1))
        bad[1, :40] = 2
        rows = {"CHANNEL": channel, "COUNTS": rng.poisson(on["COUNTS"], (3, n)), "QUALITY": bad}
        behind = {"CHANNEL": channel, "COUNTS": rng.poisson(off["COUNTS"], (3, n))}
        scale = off["BACKSCAL"][on["QUALITY"] == 0][0]
    background, seconds = file.with_name("three_bkg.fits"), np.array([1000.0, 1500.0, 500.0])
    responses = {key: f"pha_obs23523_{key[:3].lower()}.fits" for key in ("ARF", "RMF")}
    named = {"ANCRFILE": responses["ARF"], "RESPFILE": responses["RMF"]}
    _of_rows(background, behind, {"BACKSCAL": scale}, {"EXPOSURE": ("D", 2 * seconds)})
    _of_rows(
        file.with_name("three.fits"), rows, {**named, "BACKSCAL": 1.0, "OBS_ID": "crab"},
        {"EXPOSURE": ("D", seconds), "BACKFILE": ("20A", [background.name] * 3)},
    )  # fmt: skip
    return file.with_name("three.fits"), rows, behind, seconds, scale


def test_several_spectra(three, file, shared, tmp_path):
    """Each row is a dataset, as if it were read from a file of its own, which Gammapy reads, too."""
    from gammapy.datasets import SpectrumDatasetOnOff

    path, rows, behind, seconds, scale = three
    found = gm.Datasets.read(path)
    assert found.names == ["crab-1", "crab-2", "crab-3"]
    models = model_pair(shared)
    fit = {}
    for k, own in enumerate(found):
        np.testing.assert_array_equal(own.counts.values[:, 0, 0], rows["COUNTS"][k])
        np.testing.assert_array_equal(own.counts_off.values[:, 0, 0], behind["COUNTS"][k])
        np.testing.assert_array_equal(own.mask_safe.values[:, 0, 0], rows["QUALITY"][k] == 0)
        np.testing.assert_allclose(own.alpha.values, 1 / (2 * scale), rtol=1e-12)
        assert own.info_dict()["livetime"] == seconds[k] * u.s
        one = gm.MapDataset.read(f"{path}{{{k + 1}}}")
        assert one.open().identical(own.open())
        own.write(tmp_path / f"{own.name}.fits", format="ogip")
        with quiet():
            other = SpectrumDatasetOnOff.read(tmp_path / f"{own.name}.fits")
            np.testing.assert_array_equal(other.counts.data, own.counts)
            np.testing.assert_array_equal(other.counts_off.data, own.counts_off)
            other.models = models[1]
            fit[own.name] = float(other.stat_sum())
    found.set_models(models[0])
    assert found.stat_sum() == pytest.approx(sum(fit.values()), abs=1e-6)


def test_rows_of_a_list_in_a_store(three, tmp_path):
    """By number in Gammapy's list; a spectrum that changes is another input."""
    path, rows, *_ = three
    listed = path.with_name("datasets.yaml")
    entry = "{{name: {0}, type: SpectrumDatasetOnOff, filename: 'three.fits{{{1}}}'}}"
    listed.write_text(f"datasets: [{entry.format('b', 2)}, {entry.format('a', 1)}]")
    gm.import_datasets(listed, tmp_path / "listed")
    found = gm.Datasets.read(tmp_path / "listed")
    np.testing.assert_array_equal(found["b"].counts.values[:, 0, 0], rows["COUNTS"][1])
    gm.import_datasets(path, tmp_path / "store")
    assert gm.Datasets.read(tmp_path / "store").names == ["crab-1", "crab-2", "crab-3"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("three.fits", r"3 spectra \(type II\).*'file.fits\{1\}'"),
        ("three.fits{0}", "row 0 is not among the 3 spectra"),
        ("three.fits{4}", "row 4 is not among the 3 spectra"),
        ("pha_obs23523.fits{1}", r"contains one spectrum \(type I\)"),
        ("pha_obs23523_arf.fits{1}", "has no HDU SPECTRUM"),
    ],
)
def test_rows_that_are_not_there(three, name, message):
    with pytest.raises(InputError, match=message) as info:
        gm.MapDataset.read(three[0].with_name(name))
    assert name.partition("{")[0] in str(info.value)


def _change(path, hdu, **keywords):
    with fits.open(path, mode="update") as hdus:
        for key, value in keywords.items():
            if value is None:
                hdus[hdu].header.remove(key)
            else:
                hdus[hdu].header[key] = value


@pytest.mark.parametrize(
    ("part", "hdu", "change", "message"),
    [
        ("", "SPECTRUM", {"HDUCLAS4": "TYPE:II"}, r"spectra \(type II\)"),
        ("", "SPECTRUM", {"TTYPE2": "RATE"}, "no column COUNTS"),
        ("", "SPECTRUM", {"EXPOSURE": 0.0}, "EXPOSURE is 0.0"),
        ("", "SPECTRUM", {"AREASCAL": 0.5}, "AREASCAL"),
        ("", "SPECTRUM", {"ANCRFILE": "none"}, "ANCRFILE does not name a file"),
        ("_arf", "SPECRESP", {"TUNIT3": "s"}, "not have a unit of area"),
        ("_arf", "SPECRESP", {"TTYPE1": "LOW"}, "column ENERG_LO is missing"),
        ("_arf", "SPECRESP", {"EXTNAME": "AREA"}, "no HDU SPECRESP"),
        ("_rmf", "MATRIX", {"HDUCLAS3": "FULL"}, "includes an effective area"),
        ("_rmf", "MATRIX", {"TTYPE4": "FIRST"}, "column F_CHAN is missing"),
        ("_rmf", "MATRIX", {"TLMIN4": 5}, "channels beyond"),
        ("_rmf", "EBOUNDS", {"EXTNAME": "OTHER"}, "HDUs MATRIX and EBOUNDS"),
        ("_bkg", "SPECTRUM", {"EXTNAME": "OTHER"}, "no HDU SPECTRUM"),
    ],
)
def test_refused(file, part, hdu, change, message):
    """With the file, the dataset and what is wrong."""
    path = file.with_name(f"pha_obs23523{part}.fits")
    _change(path, hdu, **change)
    with pytest.raises(InputError, match=message) as info:
        gm.MapDataset.read(file)
    assert path.name in str(info.value)
    assert "dataset 'hess-obs23523'" in str(info.value)


@pytest.mark.parametrize("part", ["arf", "rmf", "bkg"])
def test_a_file_that_is_not_there(file, part):
    file.with_name(f"pha_obs23523_{part}.fits").unlink()
    with pytest.raises(InputNotFoundError, match=f"pha_obs23523_{part}.fits"):
        gm.MapDataset.read(file)


def test_channels_that_do_not_match(file):
    with fits.open(file.with_name("pha_obs23523_bkg.fits"), mode="update") as hdus:
        hdus["SPECTRUM"].data["CHANNEL"][3] = 500
    with pytest.raises(InputError, match="channels of HDU SPECTRUM do not match"):
        gm.MapDataset.read(file)


def test_a_region_without_an_energy_dispersion(shared, tmp_path):
    """The region is written; a perfect instrument has the matrix of the overlap of bins."""
    from gammapy.datasets import SpectrumDatasetOnOff

    circle = CircleSkyRegion(SkyCoord(83.63, 22.01, unit="deg"), 0.11 * u.deg)
    spectrum = gm.SpectrumDataset.from_arrays(
        "made", region=circle, energy=[1, 2, 5, 10] * u.TeV, energy_true=[0.5, 1, 3, 20] * u.TeV,
        counts=[30.0, 10.0, 3.0], exposure=[1e13, 2e13, 3e13],
    )  # fmt: skip
    cube = gm.SpectrumDatasetOnOff.from_spectrum_dataset(
        spectrum, [60, 15, 4], 1.0, 3.0
    ).cube.load()
    timed = cube["exposure"].assign_attrs(meta={"livetime": "100 s"})
    own = gm.SpectrumDatasetOnOff(cube.assign(exposure=timed))
    own.write(tmp_path / "made.fits", format="ogip")
    again = gm.SpectrumDatasetOnOff.read(tmp_path / "made.fits")
    assert again.region is not None
    assert str(again.region) == str(own.region)
    models = model_pair(shared)
    with quiet():
        other = SpectrumDatasetOnOff.read(tmp_path / "made.fits")
        other.models = models[1]
        assert other.counts.geom.region.radius.to_value("deg") == pytest.approx(0.11)
        stat = float(other.stat_sum())
    for one in (own, again):
        one.set_models(models[0])
    assert again.stat_sum() == pytest.approx(own.stat_sum(), abs=1e-9)
    assert own.stat_sum() == pytest.approx(
        stat, rel=1e-7
    )  # Gammapy's matrix is in single precision
