"""Stores of datasets: Zarr blocks with checksums, published by numbered commits."""

from gmdask.store.block import Block
from gmdask.store.checksums import input_digest
from gmdask.store.layout import CubeShape, describe, plan_blocks
from gmdask.store.records import BlockRecord, Pointing, Row
from gmdask.store.row_filter import chosen_rows
from gmdask.store.store import Store, open_block, verify_store, write_block
from gmdask.store.verify import Problem

__all__ = [
    "Block",
    "BlockRecord",
    "CubeShape",
    "Pointing",
    "Problem",
    "Row",
    "Store",
    "chosen_rows",
    "describe",
    "input_digest",
    "open_block",
    "plan_blocks",
    "verify_store",
    "write_block",
]
