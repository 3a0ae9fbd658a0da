"""Settings of clusters: defaults, files, the environment; and what must be encrypted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.resources import files

import dask
import pytest
import yaml

import gmdask as gm
from gmdask.cluster.settings import setting
from gmdask.errors import InputError, InputNotFoundError


def test_defaults_are_documented_and_there():
    text = (files("gmdask") / "gmdask.yaml").read_text("utf-8")
    for key, value in yaml.safe_load(text)["gmdask"]["slurm"].items():
        assert setting(f"slurm.{key}") == value
        assert re.search(rf"^ +{key}: .*# \w", text, re.MULTILINE), key


def test_environment():
    code = (
        "from gmdask.cluster.settings import setting; print([setting('slurm.memory'), setting('slurm.jobs'), "
        "setting('slurm.before-end'), setting('slurm.cores')])"
    )
    told = {"DASK_GMDASK__SLURM__MEMORY": "7GB", "DASK_GMDASK__SLURM__JOBS": "9"}
    told["DASK_GMDASK__SLURM__BEFORE_END"] = "30"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | told, capture_output=True, check=True, text=True
    )  # fmt: skip
    assert done.stdout.strip() == "['7GB', 9, 30, 1]"


def test_a_setting_around_the_import():
    code = (
        "import dask\n"
        "with dask.config.set({'gmdask.response': 'gammapy'}):\n"
        "    from gmdask.cluster.settings import setting\n"
        "    inside = setting('response')\n"
        "print(inside, setting('response'), setting('slurm.cores'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "gammapy exact 1"


def test_a_file_of_settings(two_workers, tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump({"gmdask": {"cluster": two_workers.scheduler.address}}))
    with gm.connect(str(path), security=two_workers.security) as client:
        assert set(client.nthreads()) == set(two_workers.nthreads())
    assert setting("cluster") == "local"
    with (
        dask.config.set({"gmdask.cluster": two_workers.scheduler.address}),
        gm.connect(security=two_workers.security) as client,
    ):
        assert set(client.nthreads()) == set(two_workers.nthreads())


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, InputNotFoundError, "configuration file .* does not exist"),
        ("[1, 2", InputError, "not YAML"),
        ("only words", InputError, "is not a configuration"),
        ("gmdask: {cluster: other.yaml}", InputError, "another configuration file"),
        ("gmdask: {cluster: 'tcp://10.0.0.1:8786'}", InputError, "would not be encrypted"),
    ],
)
def test_files_that_are_refused(content, error, words, tmp_path):
    path = tmp_path / "cluster.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=words):
        gm.connect(str(path))


@pytest.mark.parametrize(
    "address", ["tcp://10.1.2.3:8786", "10.1.2.3:8786", "node7:8786", "tcp://[fe80::1]:8786"]
)
def test_what_is_not_encrypted_is_refused(address):
    with pytest.raises(InputError, match=r"would not be encrypted: expected tls://"):
        gm.connect(address)


def test_it_may_be_allowed():
    with (
        dask.config.set({"gmdask.allow-unencrypted": True}),
        pytest.raises(OSError, match=r"0\.0\.0\.0:1"),
    ):
        gm.connect("tcp://0.0.0.0:1", timeout=0.2)  # nobody is there
