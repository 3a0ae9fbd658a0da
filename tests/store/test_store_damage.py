"""Every bit of every file counts."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from store_cubes import assert_same, make_cube

from gmdask.errors import CorruptStoreError, StoreNotFoundError
from gmdask.store import Store, verify_store

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
            if file == "commits/00000003.json":
                continue  # the store is then as it was before: see below
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
    """The one loss that cannot be seen: the store is what it was one commit earlier."""
    (url / "commits/00000003.json").unlink()
    assert [row.name for row in Store.open(url).rows] == ["crab", "vela"]
    assert verify_store(url) == []
    for commit in (url / "commits").iterdir():
        commit.unlink()
    with pytest.raises(StoreNotFoundError):
        Store.open(url)


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
    with pytest.raises(CorruptStoreError, match=r"00000004\.json: not the commit of this number"):
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
