"""Files that were made to harm: each is refused at once, in one line that names it."""

from __future__ import annotations

import gzip
import io
import os
import resource
import socket
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table

from gmdask.errors import InputError, InputNotFoundError
from gmdask.inputs import (
    load_arrays,
    load_json,
    load_yaml,
    open_fits,
    read_bytes,
    read_table,
    unpack,
)

GIGABYTE = 1 << 30


@pytest.fixture(autouse=True)
def bounded():
    """No test of this file may take another gigabyte of memory."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + GIGABYTE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def a_pipe(path):
    os.mkfifo(path)


def a_directory(path):
    path.mkdir()


def a_device(path):
    path.symlink_to("/dev/zero")


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [a_pipe, a_directory, a_device, a_socket])
def test_files_that_are_not_regular(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    path = Path("special")
    make(path)
    with pytest.raises(InputError, match="special: cannot be read"):
        read_bytes(path)


def test_files_that_do_not_exist(tmp_path):
    with pytest.raises(InputNotFoundError, match=r"map .*none\.fits does not exist"):
        read_bytes(tmp_path / "none.fits", "map")
    with pytest.raises(InputError, match="cannot be read"):
        read_bytes("a\0b")


def test_a_file_larger_than_memory(tmp_path):
    path = tmp_path / "sparse.fits"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"sparse\.fits: 1048576 MB, expected at most"):
        read_bytes(path)


def bomb(levels, width):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    more = [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * width)}]" for k in range(1, levels)]
    return "\n".join([*lines, *more])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(12, 10), "aliases stand for more than 1000000 values in line 6"),
        ("a: &a [*a]", "alias .a in line 1 is part of itself"),
        ("components: &x {y: [1, {z: *x}]}", "is part of itself"),
        ("[" * 150 + "]" * 150, "nested deeper than 100 levels"),
        ("- " * 5000, "nested deeper than 100 levels"),
        ("a: {x: 1, y: 2, x: 3}", "key 'x' is repeated in line 1"),
        ("a: *b", "not YAML: found undefined alias"),
        ("a: " + "9" * 5000, "not YAML: Exceeds the limit"),
        ("a: 2001-99-99", "not YAML: month must be in 1..12"),
        ("a: !!float ''", "not YAML"),
        ("a: !!bool maybe", "not YAML"),
        ("? [a, b]\n: 1\n", "not YAML"),
        ("a: 1\n---\nb: 1\n", "not YAML"),
        (b"a: \xff", "not YAML"),
        ("a: \x00", "not YAML"),
        ("!!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_yaml_that_is_refused(text, message):
    with pytest.raises(InputError, match=message) as caught:
        load_yaml(text if isinstance(text, bytes) else text.encode(), "bad.yaml")
    assert str(caught.value).startswith("bad.yaml: ")
    assert "\n" not in str(caught.value)


def test_yaml_with_aliases_that_are_meant():
    names = [f"run-{k}" for k in range(1000)]
    data = {"models": [{"datasets_names": names, "n": k} for k in range(500)]}
    text = yaml.dump(data)
    assert "&id001" in text
    assert load_yaml(text, "good.yaml") == data
    merged = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: &s word\nd: *s"
    assert load_yaml(merged, "good.yaml")["b"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(
    "text",
    [b"{", b"[" * 100_000, b"\xff", b'{"a": 1, "b": 2, "a": 3}', b"1" * 5000, b""],
)
def test_json_that_is_refused(text):
    with pytest.raises(InputError, match=r"^bad\.json: is not JSON: "):
        load_json(text, "bad.json")


def test_gzip_that_grows_out_of_proportion():
    packed = gzip.compress(bytes(1 << 20)) * 300  # members follow one upon the other
    with pytest.raises(InputError, match=r"bomb\.gz: 0\.3 MB that unpack to more than 256 MB"):
        unpack(packed, "bomb.gz")
    assert unpack(packed[: len(packed) // 300], "good.gz") == bytes(1 << 20)
    with pytest.raises(InputError, match="cannot be read"):
        unpack(packed[:500], "cut.gz")


def image(**cards):
    """Bytes of a FITS file of 4 by 3 pixels, with other cards in its header."""
    buffer = io.BytesIO()
    fits.HDUList([
        fits.PrimaryHDU(),
        fits.ImageHDU(np.ones((3, 4), dtype=np.float32), name="COUNTS"),
        fits.BinTableHDU(Table({"x": [1.0, 2.0]}), name="TABLE"),
    ]).writeto(buffer)  # fmt: skip
    content = buffer.getvalue()
    for card, value in cards.items():
        key, _, hdu = card.partition("__")
        at = content.index(f"{key:<8}=".encode(), int(hdu) * 5760)
        content = content[:at] + f"{key:<8}= {value:>20}".ljust(80).encode() + content[at + 80 :]
    return content


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"NAXIS2__0": -32}, "HDU 1: keyword NAXIS2 is -32"),
        ({"NAXIS2__0": 10**12}, "HDU 1: truncated, .* of its header"),
        ({"NAXIS2__0": "1.5"}, "HDU 1: keyword NAXIS2 is 1.5"),
        ({"NAXIS2__0": "T"}, "HDU 1: keyword NAXIS2 is True"),
        ({"BITPIX__0": 7}, "HDU 0: keyword BITPIX is 7"),
        ({"PCOUNT__0": -2880}, "HDU 1: keyword PCOUNT is -2880"),
        ({"GCOUNT__0": 10**9}, "HDU 1: keyword GCOUNT is 1000000000"),
        ({"TFORM1__1": "'99999999999D'"}, "HDU 2: columns of 799999999992 bytes in rows of 8"),
        ({"TFIELDS__1": 10**9}, "HDU 2: keyword TFORM2 is None"),
        ({"NAXIS__0": 10**9}, "HDU 0: keyword NAXIS is 1000000000, expected at most 32"),
    ],
)
def test_fits_headers_that_lie(cards, message, tmp_path):
    path = tmp_path / "lying.fits"
    path.write_bytes(image(**cards))
    with pytest.raises(InputError, match=message), open_fits(path):
        pass


def test_compressed_images_that_lie(tmp_path):
    path = tmp_path / "lying.fits"
    fits.HDUList([
        fits.PrimaryHDU(), fits.CompImageHDU(np.ones((100, 100), dtype=np.int16))
    ]).writeto(path)  # fmt: skip
    with open_fits(path) as hdus:
        assert hdus[1].data.sum() == 10_000
    content = path.read_bytes()
    card = f"ZNAXIS1 = {100:>20}".encode()
    assert card in content
    path.write_bytes(content.replace(card, f"ZNAXIS1 = {10**9:>20}".encode()))
    with pytest.raises(InputError, match="claims more than its compressed data"), open_fits(path):
        pass


def test_every_header_card_cut_or_changed(tmp_path):
    path, content = tmp_path / "some.fits", image()
    random = np.random.default_rng(1)
    for _ in range(100):
        spoilt = bytearray(content)
        at = int(random.integers(0, len(content)))
        spoilt[at] = int(random.integers(32, 127))
        path.write_bytes(spoilt[: None if at % 2 else at])
        with suppress(InputError), open_fits(path) as hdus:
            assert sum(np.size(hdu.data) for hdu in hdus) < 100


def test_tables(tmp_path):
    table = Table({"TIME": [1.0, 2.0], "NORM": [3.0, 4.0]}, meta={"MJDREFI": 51910})
    for name in ("curve.fits", "curve.ecsv", "curve.fits.gz"):
        table.write(tmp_path / name)
        found = read_table(tmp_path / name)
        assert found.meta["MJDREFI"] == 51910
        assert found["NORM"].tolist() == [3.0, 4.0]
    lines = (tmp_path / "curve.ecsv").read_text().splitlines()
    harm = ["# " + line for line in bomb(12, 10).splitlines()]
    (tmp_path / "bomb.ecsv").write_text("\n".join([*lines[:2], *harm, *lines[2:]]))
    with pytest.raises(InputError, match=r"bomb\.ecsv: aliases stand for more"):
        read_table(tmp_path / "bomb.ecsv")
    (tmp_path / "image.fits").write_bytes(image()[:8640])
    with pytest.raises(InputError, match=r"image\.fits: contains no table"):
        read_table(tmp_path / "image.fits")
    (tmp_path / "words.txt").write_text("only words")
    with pytest.raises(InputError, match=r"words\.txt: not a FITS file"):
        read_table(tmp_path / "words.txt")


def archive(header=None, size=0):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        member = io.BytesIO()
        if header is None:
            np.save(member, np.arange(3.0))
        else:
            np.lib.format.write_array_header_1_0(member, header)
            member.write(bytes(size))
        made.writestr("x.npy", member.getvalue())
    return buffer.getvalue()


def test_archives_of_arrays():
    assert load_arrays(archive(), "good.npz")["x"].tolist() == [0, 1, 2]
    claim = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    with pytest.raises(InputError, match=r"bad\.npz: not an archive of arrays: array of shape"):
        load_arrays(archive(claim, 80), "bad.npz")
    pickled = {"descr": "|O", "fortran_order": False, "shape": (1,)}
    with pytest.raises(InputError, match=r"bad\.npz: not an archive of arrays"):
        load_arrays(archive(pickled, 8), "bad.npz")
    with pytest.raises(InputError, match=r"bad\.npz: contains arrays of more than 256 MB"):
        load_arrays(archive({**claim, "shape": (1 << 25,)}, 1 << 28), "bad.npz")
    for content in (b"", b"PK\3\4", archive()[:-30], archive()[:60] + b"xxxx" + archive()[64:]):
        with pytest.raises(InputError, match=r"bad\.npz"):
            load_arrays(content, "bad.npz")
