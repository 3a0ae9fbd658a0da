from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from gmdask.errors import (
    CorruptStoreError,
    DuplicateNameError,
    StoreError,
    StoreExistsError,
    StoreNotFoundError,
)
from gmdask.store import Store, verify_store, write_block
from gmdask.store.checksums import encode_sealed, sha256
from tests.store.store_cubes import assert_same, make_cube

SPAWN = multiprocessing.get_context("spawn")
A, B = "a" * 64, "b" * 64


@pytest.fixture
def url(tmp_path):
    return tmp_path / "s.zarr"


def small(name, seed=0):
    return make_cube(name, seed)[["counts", "exposure"]]


def names(store):
    return [row.name for row in store.rows]


def test_new_store(url):
    store = Store.create(url)
    assert store.rows == ()
    assert store.version == 1
    assert store.verify() == []
    assert Store.open(url).digest == store.digest
    assert store.digest == sha256((url / "commits/00000001.json").read_bytes())
    assert repr(store) == f"<Store {url}: 0 datasets, version 1>"


def test_url_forms(url, monkeypatch, tmp_path):
    Store.create(f"file://{url}")
    assert Store.open(str(url)).url == str(url)
    monkeypatch.chdir(tmp_path)
    assert Store.open("s.zarr").url == str(url)
    with pytest.raises(StoreError, match="not supported yet"):
        Store.open("s3://bucket/s.zarr")
    with pytest.raises(StoreError, match="memory store"):
        Store.open(Store.memory().url)


def test_no_store(url, tmp_path):
    for make in (Store.open, verify_store):
        with pytest.raises(StoreNotFoundError, match="no store here"):
            make(url)
    with pytest.raises(StoreNotFoundError):
        write_block(url, [small("a")], A)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreNotFoundError):
        Store.open(tmp_path / "file")
    assert not url.exists()


def test_commits(url):
    store = Store.create(url)
    first = store.digest
    store.commit([store.write_block([small("a")], A), store.write_block([small("b", 1)], B)])
    assert store.version == 2
    assert names(store) == ["a", "b"]
    assert store.digest != first
    other = Store.open(url)
    assert other.rows == store.rows
    with pytest.raises(DuplicateNameError, match="a dataset 'a' already exists"):
        other.commit([other.write_block([small("a", 3)], "c" * 64)])
    assert names(Store.open(url)) == ["a", "b"]
    record = other.write_block([small("d"), small("d", 1)], "d" * 64)
    with pytest.raises(DuplicateNameError, match="'d'"):
        other.commit([record])
    other.commit([other.write_block([small("e")], "e" * 64)])
    assert names(other) == ["a", "b", "e"]
    assert names(store) == ["a", "b"]  # a store stays at its commit
    store.commit([store.write_block([small("f")], "f" * 64)])
    assert names(store) == ["a", "b", "e", "f"]
    assert store.verify() == []


def test_commit_needs_the_block(url):
    store = Store.create(url)
    record = store.write_block([small("a")], A)
    manifest = url / "manifests" / f"{record.block}.json"
    content = manifest.read_bytes()
    manifest.write_bytes(content.replace(b'"a"', b'"b"'))
    with pytest.raises(CorruptStoreError, match="was changed since it was written"):
        store.commit([record])
    manifest.unlink()
    with pytest.raises(CorruptStoreError, match="is missing"):
        store.commit([record])


def test_existing(url, tmp_path):
    store = Store.create(url)
    record = store.write_block([small("a")], A)
    again = Store.create(url)  # nothing committed yet: an import that was interrupted
    assert again.find_uncommitted(A) == record
    again.commit([record])
    with pytest.raises(StoreExistsError, match="a store with 1 dataset"):
        Store.create(url)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(StoreExistsError, match=r"thesis\.tex"):
            Store.create(foreign, overwrite=overwrite)
        with pytest.raises(StoreExistsError, match="not a directory"):
            Store.create(foreign / "thesis.tex", overwrite=overwrite)


def test_overwrite_keeps_the_old_until_the_commit(url):
    store = Store.create(url)
    store.commit([store.write_block([small("a")], A)])
    new = Store.create(url, overwrite=True)
    assert new.rows == ()
    record = new.write_block([small("a", 7)], B)
    assert names(Store.open(url)) == ["a"]
    assert_same(Store.open(url).open_row(store.rows[0]), small("a"))
    new.commit([record])
    assert names(new) == ["a"]
    assert_same(new.open_row(new.rows[0]), small("a", 7))
    assert_same(store.open_row(store.rows[0]), small("a"))  # a reader of the old commit
    new.commit([new.write_block([small("b")], "c" * 64)])
    assert names(new) == ["a", "b"]
    assert new.gc(0) == [store.rows[0].block]
    assert new.verify() == []
    assert names(Store.open(url)) == ["a", "b"]


def test_overwrite_of_a_damaged_store(url):
    store = Store.create(url)
    store.commit([store.write_block([small("a")], A)])
    (url / "commits/00000002.json").write_text("damaged")
    with pytest.raises(CorruptStoreError, match=r"commits/00000002\.json"):
        Store.create(url)
    new = Store.create(url, overwrite=True)
    new.commit([new.write_block([small("a", 1)], B)])
    assert names(Store.open(url)) == ["a"]
    assert [problem.file for problem in new.verify()] == ["commits/00000002.json"]


def test_uncommitted(url):
    store = Store.create(url)
    record = store.write_block([small("a")], A)
    assert store.find_uncommitted(B) is None
    assert store.find_uncommitted(A[:16] + B) is None
    assert store.find_uncommitted(A) == record
    chunk = next((url / "blocks" / record.block / "counts/c").rglob("0/0/0/0"), None)
    chunk = chunk or next(
        p for p in (url / "blocks" / record.block / "counts/c").rglob("*") if p.is_file()
    )
    good = chunk.read_bytes()
    chunk.write_bytes(good[:-1])
    assert store.find_uncommitted(A) is None
    chunk.write_bytes(good)
    store.commit([record])
    assert store.find_uncommitted(A) is None


def test_gc(url):
    store = Store.create(url)
    kept = store.write_block([small("a")], A)
    store.commit([kept])
    lost = store.write_block([small("b")], B)
    half = f"{B[:16]}-{'0' * 32}"
    (url / "blocks" / half).mkdir()
    (url / "commits" / ".tmp-1").touch()
    users = [
        url / "blocks" / "notes",
        url / "commits" / "README.md",
        url / "manifests" / "list.json",
    ]
    for path in users:
        path.write_text("mine")
    assert store.gc(3600) == []
    assert store.find_uncommitted(B) == lost
    assert store.gc(0, unfinished_older_than_s=3600) == []
    assert store.gc(0) == sorted([lost.block, half])
    assert [path.read_text() for path in users] == ["mine"] * 3
    for path in users:
        path.unlink()
    assert sorted(p.name for p in (url / "commits").iterdir()) == [
        "00000001.json", "00000002.json", "00000002.mark"
    ]  # fmt: skip
    assert sorted(p.name for p in (url / "blocks").iterdir()) == [kept.block, "zarr.json"]
    assert store.verify() == []
    assert_same(store.open_row(store.rows[0]), small("a"))


def test_memory_store_is_a_store():
    store = Store.memory()
    kept = store.write_block([small("a")], A)
    store.commit([kept])
    with pytest.raises(DuplicateNameError):
        store.commit([kept])
    lost = store.write_block([small("b")], B)
    assert store.find_uncommitted(B) == lost
    assert store.gc(3600) == []
    assert store.gc(0) == [lost.block]
    assert store.verify() == []


def test_newer_layout(url):
    store = Store.create(url)
    store.commit([])
    (url / "commits/00000003.json").write_bytes(encode_sealed({"schema_version": 2}))
    with pytest.raises(StoreError, match="version 2 of the layout"):
        Store.open(url)
    (url / "commits/00000003.json").write_bytes(encode_sealed({"schema_version": 1}))
    with pytest.raises(CorruptStoreError, match="not a commit"):
        Store.open(url)


def append(url, writer, count):
    for number in range(count):
        store = Store.open(url)
        cube = small(f"w{writer}-{number}", seed=writer)
        store.commit([store.write_block([cube], f"{writer:08d}{number:08d}")])


@pytest.mark.slow
def test_concurrent_commits(url):
    Store.create(url)
    processes = [SPAWN.Process(target=append, args=(url, writer, 10)) for writer in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    store = Store.open(url)
    assert store.version == 41
    assert sorted(names(store)) == [f"w{w}-{n}" for w in range(4) for n in range(10)]
    assert store.verify() == []
    for row in store.rows:
        assert_same(store.open_row(row), small(row.name, seed=int(row.name[1])))


def blocks_of(url):
    return {path.name for path in (url / "blocks").iterdir()}


def write_for_ever(url):
    number = 0
    while True:
        append(url, os.getpid(), number)
        store = Store.open(url)
        number += 1
        cubes = [make_cube(f"{os.getpid()}-{number}-{k}", k) for k in range(20)]
        store.commit([store.write_block(cubes, f"{number:016d}")])


@pytest.mark.slow
def test_killed_writers(url):
    """Whenever a writer is killed: the store opens, is sound, and can be written."""
    Store.create(url)
    versions = []
    for delay in (0.0, 0.07, 0.29):
        before = blocks_of(url)
        process = SPAWN.Process(target=write_for_ever, args=(url,))
        process.start()
        deadline = time.monotonic() + 30
        while blocks_of(url) == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        store = Store.open(url)
        assert verify_store(url) == []
        for row in store.rows[-3:]:
            store.open_row(row).load()
        store.commit([store.write_block([small(f"after {delay}")], A)])
        versions.append(store.version)
    assert sorted(set(versions)) == versions
    store.gc(0)
    assert blocks_of(url) == {row.block for row in store.rows} | {"zarr.json"}
    assert store.verify() == []
