"""Every bit of every file counts."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

import gmdask as gm
from gmdask.datasets import compact
from gmdask.errors import CorruptStoreError, StoreError, StoreNotFoundError
from gmdask.store import Store, verify_store
from gmdask.store.checksums import crc32c, encode_sealed, sha256
from tests.store.store_cubes import assert_same, make_cube

pytestmark = pytest.mark.slow

CUBES = [make_cube("crab", 0, 2), make_cube("vela", 1, 3)]
OTHER = [make_cube("other", 2, 1)[["counts", "exposure"]]]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    url = tmp_path_factory.mktemp("pristine") / "s.zarr"
    store = Store.create(url)
    store.commit([store.write_block(CUBES, "a" * 64)])
    store.commit([store.write_block(OTHER, "b" * 64)])
    assert verify_store(url) == []
    return url


@pytest.fixture
def url(pristine, tmp_path):
    return Path(shutil.copytree(pristine, tmp_path / "s.zarr"))


def files_of(url):
    return sorted(path.relative_to(url).as_posix() for path in url.rglob("*") if path.is_file())


def read_all(url):
    store = Store.open(url)
    assert [row.name for row in store.rows] == ["crab", "vela", "other"]
    return [store.open_row(row).load() for row in store.rows]


def is_read(file):
    """Whether reading all datasets touches a file (not: what consolidated metadata repeat)."""
    parts = file.split("/")
    if parts[0] == "commits":
        return parts[1] == "00000003.json"
    if parts[0] == "blocks":
        return len(parts) == 3 or (len(parts) > 3 and parts[-1] != "zarr.json")
    return True


def check_damage(url, file, is_bit=True):
    """Verification names the file; reading either fails with its name or is right."""
    problems = verify_store(url)
    assert file in {problem.file for problem in problems}, file
    try:
        cubes = read_all(url)
    except CorruptStoreError as error:
        assert file in str(error)  # noqa: PT017
        assert is_read(file), str(error)  # noqa: PT017
    else:
        assert not is_read(file), f"damage in {file} was not noticed"
        for cube, expected in zip(cubes, [*CUBES, *OTHER], strict=True):
            assert_same(cube, expected)
    return problems


def test_every_file_with_sampled_bits(url):
    rng = random.Random(1)  # noqa: S311
    files = files_of(url)
    assert len(files) > 60
    for file in files:
        path = url / file
        good = path.read_bytes()
        bits = {0, 8 * len(good) - 1, *(rng.randrange(8 * len(good)) for _ in range(1))}
        for bit in sorted(bits):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bad)
            check_damage(url, file)
        path.write_bytes(good)
    assert verify_store(url) == []


def test_bits_of_the_newest_commit_and_of_a_shard_index(url):
    """Dense where a single flipped bit could pass for another number."""
    commit = url / "commits/00000003.json"
    good = commit.read_bytes()
    for bit in range(0, 8 * len(good), 5):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        commit.write_bytes(bad)
        with pytest.raises(CorruptStoreError, match=r"commits/00000003\.json"):
            Store.open(url)
    commit.write_bytes(good)
    store = Store.open(url)
    block = store.rows[0].block
    shard = url / "blocks" / block / "counts/c/0/0/0/0"
    good = shard.read_bytes()
    for bit in range(8 * (len(good) - 36), 8 * len(good), 2):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        shard.write_bytes(bad)
        store = Store.open(url)
        with pytest.raises(CorruptStoreError, match=r"array counts, file blocks/.*/counts/c/0"):
            store.open_row(store.rows[0])["counts"].load()


@pytest.mark.parametrize("damage", ["truncate", "empty", "grow", "remove", "zeros"])
def test_every_file_truncated_grown_or_gone(url, damage):
    for file in files_of(url):
        path = url / file
        good = path.read_bytes()
        if damage == "remove":
            if file == "commits/00000003.mark":
                continue  # it tells of a lost commit only: see below
            path.unlink()
        else:
            changed = {
                "truncate": good[:-1],
                "empty": b"",
                "grow": good + b"\0",
                "zeros": bytes(len(good)),
            }
            path.write_bytes(changed[damage])
        problems = verify_store(url)
        assert file in {problem.file for problem in problems}, file
        try:
            cubes = read_all(url)
        except CorruptStoreError as error:
            assert file in str(error)  # noqa: PT017
        else:  # it grew behind the last byte that is read, or is not read at all
            assert not is_read(file) or (damage == "grow" and "/c/" in file), file
            for cube, expected in zip(cubes, [*CUBES, *OTHER], strict=True):
                assert_same(cube, expected)
        path.write_bytes(good)


def test_newest_commit_gone(url):
    """Its mark tells; what it held is named, and nothing can be removed."""
    block = Store.open(url).rows[2].block
    (url / "commits/00000003.json").unlink()
    before = files_of(url)
    problems = {problem.file: problem for problem in verify_store(url)}
    assert problems.keys() == {"commits/00000003.json", f"manifests/{block}.json"}
    assert problems["commits/00000003.json"].message == "missing"
    assert problems[f"manifests/{block}.json"].dataset == "other"
    assert "no commit holds it" in problems[f"manifests/{block}.json"].message
    for work in (Store.open, Store.create, compact):
        with pytest.raises(
            CorruptStoreError, match=r"commits/00000003\.json, the newest commit, is"
        ):
            work(url)
    assert files_of(url) == before
    new = Store.create(url, overwrite=True)
    new.commit([new.write_block(OTHER, "c" * 64)])
    assert [problem.file for problem in verify_store(url)] == []
    (url / "commits/00000003.json").unlink()
    (url / "commits/00000002.json").unlink()
    assert str(verify_store(url)[0]) == (
        "file commits/00000002.json: missing, and so are those up to commits/00000003.json"
    )


def test_newest_commit_and_its_mark_gone(url):
    """As in a store that knows no marks: it is what it was, but nothing is removed."""
    block = Store.open(url).rows[2].block
    for name in ("00000003.json", "00000003.mark"):
        (url / "commits" / name).unlink()
    before = files_of(url)
    store = Store.open(url)
    assert [row.name for row in store.rows] == ["crab", "vela"]
    assert [problem.file for problem in verify_store(url)] == [f"manifests/{block}.json"]
    with pytest.raises(StoreError, match="no commit holds 1 finished blocks"):
        store.gc(0)
    assert files_of(url) == before
    for commit in (url / "commits").iterdir():
        commit.unlink()
    with pytest.raises(StoreNotFoundError):
        Store.open(url)


def test_commits_far_apart(url):
    """Whatever the number of a file says, nothing is counted up to it."""
    (url / "commits/99999999.json").write_bytes((url / "commits/00000003.json").read_bytes())
    files = [problem.file for problem in verify_store(url)]
    assert files[:2] == ["commits/00000004.json", "commits/99999999.json"]
    with pytest.raises(
        CorruptStoreError, match=r"commits/99999999\.json: contains a commit of another"
    ):
        Store.open(url)
    content = json.loads((url / "commits/00000003.json").read_bytes()) | {"version": 99999999}
    del content["sha256"]
    (url / "commits/99999999.json").write_bytes(encode_sealed(content))
    store = Store.open(url)
    with pytest.raises(StoreError, match="no number is left"):
        store.commit([])


def reseal_commit(url, change):
    path = url / "commits/00000003.json"
    content = json.loads(path.read_bytes())
    del content["sha256"]
    change(content)
    path.write_bytes(encode_sealed(content))
    path.with_suffix(".mark").write_text(sha256(path.read_bytes()))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("row", -1), ("row", 10**9), ("row", 1), ("row", True), ("row", 0.0), ("row", None),
        ("block", 7), ("block", -1), ("block", "0"), ("name", "vela"), ("name", 3), ("name", "x"),
        ("counts", None), ("livetime", "long"), ("kind", 1), ("lon", []), ("counts", 5.0),
    ],
)  # fmt: skip
def test_commits_sealed_again(key, value, url):
    """Rows that are not those of their blocks: verification names them, and nothing else happens."""
    rows = Store.open(url).rows
    reseal_commit(url, lambda content: content["rows"][key].__setitem__(0, value))
    problems = verify_store(url)
    assert "commits/00000003.json" in {problem.file for problem in problems}
    try:
        store = Store.open(url)
    except CorruptStoreError as error:
        assert "commits/00000003.json: not a commit" in str(error)  # noqa: PT017
        return
    changed = (("row", 10**9), ("row", 1), ("name", "x"), ("counts", 5.0), ("counts", None))
    assert (key, value) in changed
    if key == "counts":  # which the rows repeat from the block, and flux points do not have
        assert rows[0].counts != value
        return
    with pytest.raises(CorruptStoreError, match=r"dataset '(crab|x)' is not in row"):
        store.open_row(store.rows[0])
    dataset = gm.Datasets.read(url)[0]
    with pytest.raises(CorruptStoreError, match=r"dataset '(crab|x)' is not in row"):
        _ = dataset.cube


@pytest.mark.parametrize(
    ("array", "shape"),
    [("counts", [2, 10**12, 12, 14]), ("counts", [10**12, 3, 12, 14]), ("counts", [2, 3, 12, 10**12]),
     ("energy", [10**12]), ("energy", [4]), ("gti/start", [10**12]), ("counts", [2, 4, 12, 14])],
)  # fmt: skip
def test_shapes_sealed_again(array, shape, url):
    """A shape that the files do not bear out is told before anything is allocated for it."""
    store = Store.open(url)
    row = store.rows[0]
    folder, manifest_file = url / "blocks" / row.block, url / f"manifests/{row.block}.json"
    manifest = json.loads(manifest_file.read_bytes())
    del manifest["sha256"]
    for name in ("zarr.json", f"{array}/zarr.json", "gti/zarr.json"):
        content = json.loads((folder / name).read_bytes())
        own = name.rpartition("/")[0]  # members are named from there
        consolidated = content.get("consolidated_metadata") or {"metadata": {}}
        for key, member in [("", content), *consolidated["metadata"].items()]:
            if "/".join(part for part in (own, key) if part) == array:
                member["shape"] = shape
        data = json.dumps(content).encode()
        (folder / name).write_bytes(data)
        manifest["files"][name] |= {
            "size": len(data), "sha256": sha256(data), "ends": [len(data)], "crc32c": [crc32c(data)]
        }  # fmt: skip
    manifest_file.write_bytes(encode_sealed(manifest))

    def change(content):
        content["blocks"]["manifest"][0] = sha256(manifest_file.read_bytes())

    reseal_commit(url, change)
    told = [problem for problem in verify_store(url) if row.block in problem.file]
    assert told
    assert "cannot be opened" in told[-1].message
    opened = Store.open(url)
    with pytest.raises(CorruptStoreError, match=rf"block {row.block}: its metadata are invalid"):
        opened.open_row(opened.rows[0]).load()


def test_swapped_shards(url, monkeypatch):
    monkeypatch.setattr("gmdask.store.layout.SHARD_BYTES", 1)
    store = Store.open(url)
    record = store.write_block([make_cube("x", 5), make_cube("y", 6)], "c" * 64)
    store.commit([record])
    folder = url / "blocks" / record.block / "psf/c"
    (folder / "0").rename(folder / "tmp")
    (folder / "1").rename(folder / "0")
    (folder / "tmp").rename(folder / "1")
    files = {f"blocks/{record.block}/psf/c/{n}/0/0/0/0" for n in (0, 1)}
    assert {problem.file for problem in store.verify()} == files
    with pytest.raises(CorruptStoreError, match="dataset x, array psf"):
        store.open_row(store.rows[-2])["psf"].load()


def test_swapped_manifests_and_older_commits(url):
    manifests = sorted((url / "manifests").iterdir())
    one, two = (path.read_bytes() for path in manifests)
    manifests[0].write_bytes(two)
    manifests[1].write_bytes(one)
    assert {f"manifests/{path.name}" for path in manifests} == {
        problem.file for problem in verify_store(url)
    }
    with pytest.raises(CorruptStoreError, match="manifests/"):
        read_all(url)
    manifests[0].write_bytes(one)
    manifests[1].write_bytes(two)
    commits = url / "commits"
    shutil.copy(commits / "00000002.json", commits / "00000004.json")
    with pytest.raises(
        CorruptStoreError, match=r"00000004\.json: contains a commit of another number"
    ):
        Store.open(url)


def test_rewritten_history(url, tmp_path):
    """A commit that is sound by itself but not the child of the one before."""
    other = Store.create(tmp_path / "other.zarr")
    other.commit([other.write_block([make_cube("z")], "d" * 64)])
    shutil.copy(tmp_path / "other.zarr/commits/00000002.json", url / "commits/00000002.json")
    problems = verify_store(url)
    assert "commits/00000003.json: does not follow" in "; ".join(map(str, problems))


def test_names_in_errors(url):
    store = Store.open(url)
    block = store.rows[1].block
    shard = url / "blocks" / block / "background/c/0/0/0/0"
    good = shard.read_bytes()
    index = len(good) - 36
    bad = bytearray(good)
    bad[index - 5] ^= 1  # in the chunk of the second dataset
    shard.write_bytes(bad)
    message = f"dataset vela, array background, file blocks/{block}/background/c/0/0/0/0: bytes"
    with pytest.raises(CorruptStoreError, match=message):
        store.open_row(store.rows[1])["background"].load()
    assert_same(store.open_row(store.rows[0]), CUBES[0])  # its bytes are sound
    (problem,) = store.verify()
    assert (problem.dataset, problem.array) == ("vela", "background")
    assert str(problem).startswith(message)
    shard.unlink()
    store = Store.open(url)
    with pytest.raises(CorruptStoreError, match=r"dataset crab, vela, array background.*missing"):
        store.open_row(store.rows[0])["background"].load()


def test_verification_does_not_stop(url):
    """Five kinds of damage at once, five files in the report, and an extra one."""
    store = Store.open(url)
    folder = url / "blocks" / store.rows[0].block
    (folder / "counts/c/0/0/0/0").unlink()
    (folder / "psf/c/0/0/0/0/0").write_bytes(b"")
    (folder / "energy/c/0").write_bytes(b"x" * 10)
    (folder / "stray").write_bytes(b"x")
    (url / "blocks/zarr.json").write_bytes(b"{}")
    (url / "manifests" / f"{store.rows[2].block}.json").unlink()
    (url / "commits/00000001.json").unlink()
    problems = {problem.file: problem for problem in store.verify()}
    assert set(problems) == {
        f"blocks/{folder.name}/counts/c/0/0/0/0",
        f"blocks/{folder.name}/psf/c/0/0/0/0/0",
        f"blocks/{folder.name}/energy/c/0",
        f"blocks/{folder.name}/stray",
        "blocks/zarr.json",
        f"manifests/{store.rows[2].block}.json",
        "commits/00000001.json",
    }
    assert problems[f"manifests/{store.rows[2].block}.json"].dataset == "other"
    assert problems[f"blocks/{folder.name}/counts/c/0/0/0/0"].dataset == "crab, vela"


def test_unreadable_is_not_a_traceback_of_another_kind(url):
    store = Store.open(url)
    block = store.rows[0].block
    shard = url / "blocks" / block / "counts/c/0/0/0/0"
    shard.unlink()
    shard.mkdir()
    with pytest.raises(CorruptStoreError, match="cannot be read"):
        store.open_row(store.rows[0])["counts"].load()
    assert f"blocks/{block}/counts/c/0/0/0/0" in {p.file for p in store.verify()}
    manifest = url / "manifests" / f"{block}.json"
    manifest.unlink()
    manifest.mkdir()
    assert f"manifests/{block}.json" in {p.file for p in store.verify()}
