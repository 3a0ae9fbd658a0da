"""Select the datasets of a store with ``--where``, and the models that belong to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gmdask.errors import InputError

if TYPE_CHECKING:  # imported late, for a quick start of commands that do not need them
    from gmdask.datasets import Datasets
    from gmdask.models import Models

__all__ = ["chosen_datasets", "datasets_and_models", "response_option", "where_option"]

where_option = click.option(
    "--where", multiple=True, metavar="CONDITION",
    help="Use only datasets that fulfil a condition such as 'livetime > 1000' or 'name ~ hess-*'; "
    "may be repeated, and then all conditions must hold.",
)  # fmt: skip

response_option = click.option(
    "--response", type=click.Choice(["exact", "gammapy"]),
    help="How predicted counts are computed: exact, or with Gammapy's numbers bin by bin. "
    "[default: the setting gmdask.response, exact]",
)  # fmt: skip


def chosen_datasets(store: str, where: Sequence[str]) -> Datasets:
    """Return the datasets of a store that fulfil all conditions.

    Raises
    ------
    InputError
        If a condition is invalid, or no dataset fulfils them all.
    """
    from gmdask.datasets import Datasets
    from gmdask.store import Store, chosen_rows

    opened = Store.open(store)
    datasets = Datasets.from_store(opened)
    if not where:
        return datasets
    chosen = chosen_rows(opened.rows, where)
    if not any(chosen):
        msg = f"{store}: no dataset fulfils {' and '.join(map(repr, where))}"
        raise InputError(msg)
    return datasets[chosen]


def datasets_and_models(
    store: str, models: str, where: Sequence[str], response: str | None = None
) -> tuple[Datasets, Models]:
    """Return the datasets that fulfil all conditions, and the models that apply to them.

    Parameters
    ----------
    store, models : str
        Store, and models file.
    where : sequence of str
        Conditions.
    response : {"exact", "gammapy"}, optional
        How predicted counts are computed.
    """
    from gmdask.models import Models
    from gmdask.store import Store

    datasets, found = chosen_datasets(store, where), Models.read(models)
    if response is not None:
        datasets.set_response(response)
    left_out = {row.name for row in Store.open(store).rows} - set(datasets.names)
    for model in list(found) if left_out else ():
        names = model.datasets_names
        kept = None if names is None else [name for name in names if name not in left_out]
        if kept == []:
            found.remove(model.name)
        elif kept != names:
            model.datasets_names = kept
    return datasets, found
