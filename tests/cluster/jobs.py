"""Plain functions for workers, which know nothing of a likelihood."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from gmdask.errors import InputError

SIZE = 200_000  # numbers in a group: worth not to be sent about


def build(spec, folder):
    """Make a group: some numbers, and how long an evaluation takes."""
    seed, seconds = spec
    return np.random.default_rng(seed).normal(size=SIZE), seconds


def evaluate(group, payload):
    """Return a number that depends on every bit of both."""
    numbers, seconds = group
    time.sleep(seconds)
    return float(np.sin(numbers * payload).sum())


def fail(group, payload):
    """Evaluate, unless the payload is negative."""
    if payload < 0:
        message = f"payload {payload} is negative"
        raise InputError(message)
    return evaluate(group, payload)


def pid_of(_):
    """Return the process."""
    return os.getpid()


def late(item):
    """Return a number after some seconds."""
    number, seconds = item
    time.sleep(seconds)
    return number


def touch(path):
    """Leave a trace; refuse what has "bad" in its name."""
    time.sleep(0.02)
    Path(path).touch()
    if "bad" in path:
        message = f"{path} is bad"
        raise InputError(message)
    return path


def leaf_or_error(item):
    """Return the item as text, unless it is negative."""
    if isinstance(item, int) and item < 0:
        message = f"item {item} is negative"
        raise InputError(message)
    return str(item)


def pair(one, other):
    """Return both in brackets, unless they are x."""
    if one == other == "x":
        message = "x and x cannot be paired"
        raise InputError(message)
    return f"({one}{other})"
