"""Statistics: how the data of a dataset measure what its models predict, one class and file each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gmdask.errors import InputError
from gmdask.likelihood.statistics.base import TRUNCATION, Statistic, Terms
from gmdask.likelihood.statistics.cash import Cash
from gmdask.likelihood.statistics.chi2 import Chi2
from gmdask.likelihood.statistics.distrib import Distrib
from gmdask.likelihood.statistics.profile import Profile
from gmdask.likelihood.statistics.weighted import WeightedCash
from gmdask.likelihood.statistics.wstat import WStat

__all__ = ["STATISTICS", "TRUNCATION", "Statistic", "Terms", "statistic_type"]

STATISTICS: dict[str, type[Statistic]] = {
    kind.name: kind for kind in (Cash, WeightedCash, WStat, Chi2, Distrib, Profile)
}


def statistic_type(attrs: Mapping[Any, Any]) -> type[Statistic]:
    """Statistic of a dataset.

    Parameters
    ----------
    attrs : mapping
        Attributes of its cube, of which "stat_type" tells; by default it is Cash's.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    name = attrs.get("stat_type", Cash.name)
    if name not in STATISTICS:
        expected = ", ".join(map(repr, STATISTICS))
        msg = (
            f"dataset {attrs.get('name', '')!r}: stat_type is {name!r}, expected one of {expected}"
        )
        raise InputError(msg)
    return STATISTICS[name]
