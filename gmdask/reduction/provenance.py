"""What the datasets of a store were reduced from."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from gmdask.store import Store

__all__ = ["PROVENANCE", "reduction_of"]

PROVENANCE = "reduction"  # name of an attribute of the cube


def reduction_of(store: Store, names: Container[str]) -> dict[str, Any]:
    """Return the inputs, the configurations and the versions from which datasets were reduced.

    Parameters
    ----------
    store : `Store`
    names : container of str
        Names of datasets.

    Returns
    -------
    reduction : dict
        "datasets": for each dataset that gmdask reduced, its identifier ("obs_id"), the SHA-256 of each file
        ("inputs") and the digest of its configuration; "configurations": by digest, the description of the datasets and
        the versions of packages. Empty if gmdask reduced none of them.
    """
    datasets: dict[str, Any] = {}
    configurations: dict[str, Any] = {}
    for row in store.rows:
        made = (
            store.open_block(row.block).attribute(row.row, PROVENANCE)
            if row.name in names
            else None
        )
        if made is None:
            continue
        digest = made["configuration"]["digest"]
        datasets[row.name] = {
            "obs_id": made["obs_id"],
            "inputs": made["inputs"],
            "configuration": digest,
        }
        configurations[digest] = {
            "datasets": made["configuration"]["datasets"],
            "versions": made["versions"],
        }
    return {"datasets": datasets, "configurations": configurations} if datasets else {}
