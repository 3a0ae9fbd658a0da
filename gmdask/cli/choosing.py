"""Datasets of a store that fulfil the conditions of ``--where``, and the models of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gmdask.errors import InputError

if TYPE_CHECKING:  # commands that need none of these start without them
    from gmdask.datasets import Datasets
    from gmdask.models import Models

__all__ = ["chosen_datasets", "datasets_and_models", "response_option", "where_option"]

where_option = click.option(
    "--where", multiple=True, metavar="CONDITION",
    help="Only datasets such as 'livetime > 1000' or 'name ~ hess-*'; all of several must hold.",
)  # fmt: skip

response_option = click.option(
    "--response", type=click.Choice(["exact", "gammapy"]),
    help="How sources become counts: exact, or with Gammapy's numbers bin by bin. "
    "[default: the setting gmdask.response, exact]",
)  # fmt: skip


def chosen_datasets(store: str, where: Sequence[str]) -> Datasets:
    """Datasets of a store that fulfil all conditions.

    Raises
    ------
    InputError
        If a condition is not valid, or no dataset fulfils them.
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
    """Datasets that fulfil all conditions, and the models of a file without those of other datasets.

    Parameters
    ----------
    store, models : str
        Store, and file of models.
    where : sequence of str
        Conditions.
    response : {"exact", "gammapy"}, optional
        How sources become counts in the datasets.
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
