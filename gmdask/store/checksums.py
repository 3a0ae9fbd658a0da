"""Checksums, and JSON files that contain their own checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import google_crc32c

from gmdask.errors import CorruptStoreError
from gmdask.inputs import load_json, read_bytes

__all__ = ["crc32c", "decode_sealed", "encode_sealed", "input_digest", "sha256"]

LAYOUT_VERSION = 1
_DIGEST_LENGTH = 64
_HEAD = b'{"sha256":"'
_TAIL = b'",'


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes."""
    return int(google_crc32c.value(data))


def input_digest(inputs: Iterable[tuple[str, str | Path]]) -> str:
    """Return a digest that identifies the input of a block.

    Parameters
    ----------
    inputs : iterable of (str, str or pathlib.Path)
        Name and file of each dataset, in order.

    Returns
    -------
    str
        SHA-256, in hexadecimal.

    Raises
    ------
    InputNotFoundError
        If a file does not exist.
    InputError
        If a file cannot be read.
    """
    total = hashlib.sha256(f"layout {LAYOUT_VERSION}".encode())
    for name, path in inputs:
        digest = sha256(read_bytes(path))
        total.update(json.dumps([name, digest]).encode())
    return total.hexdigest()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def encode_sealed(content: dict[str, Any], *, allow_nan: bool = False) -> bytes:
    """Write a non-empty JSON object whose first member is the SHA-256 of the others."""
    body = json.dumps(content, separators=(",", ":"), allow_nan=allow_nan).encode()
    return _HEAD + sha256(body).encode() + _TAIL + body[1:]


def decode_sealed(data: bytes, where: str) -> dict[str, Any]:
    """Read what `encode_sealed` wrote.

    Raises
    ------
    CorruptStoreError
        If the checksum does not match the content.
    """
    start = len(_HEAD) + _DIGEST_LENGTH
    digest, tail = data[len(_HEAD) : start], data[start : start + len(_TAIL)]
    body = b"{" + data[start + len(_TAIL) :]
    if not data.startswith(_HEAD) or tail != _TAIL or sha256(body).encode() != digest:
        raise CorruptStoreError(f"{where}: damaged, its checksum does not match its content")
    return dict(load_json(body, where, CorruptStoreError))
