"""A block covariance of many parameters: a block of shared ones, and one block per dataset.

With C the covariance of the shared parameters, and for each block its own part D and the
response F of its parameters to the shared ones, the whole matrix is

    blockdiag(D) + F C Fᵀ,    with F the identity at the shared parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import InputError

__all__ = ["Block", "BlockMatrix"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Block:
    """Local parameters that are correlated with each other and respond to some shared ones.

    Attributes
    ----------
    index : ndarray [m]
        Rows of the parameters.
    own : ndarray [m, m]
        Their covariance at fixed shared parameters.
    shared : ndarray [s]
        Positions, among the shared ones, of the parameters that they respond to.
    response : ndarray [m, s]
        Their derivatives with respect to those.
    """

    index: Index
    own: Array
    shared: Index
    response: Array

    def __post_init__(self) -> None:
        for name, dtype in (("index", np.intp), ("own", float), ("shared", np.intp)):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=dtype))
        response = np.array(self.response, dtype=float)
        object.__setattr__(self, "response", response)
        m, s = len(self.index), len(self.shared)
        if self.own.shape != (m, m) or response.shape != (m, s):
            msg = f"block of {m} parameters with {self.own.shape} and {response.shape}"
            raise InputError(msg)


class BlockMatrix:
    """Symmetric matrix of shared and local parts.

    Parameters
    ----------
    size : int
        Number of rows.
    shared : array [S]
        Rows of the shared parameters; -1 for a parameter without a row that blocks respond to.
    matrix : array [S, S]
        Their covariance.
    blocks : iterable of Block
        The local parameters; rows that are in no block are zero.

    Raises
    ------
    InputError
        If shapes are inconsistent, or a row is in two parts.
    """

    def __init__(
        self, size: int, shared: ArrayLike, matrix: ArrayLike, blocks: Iterable[Block] = ()
    ) -> None:
        self.size = size
        self.shared: Index = np.array(shared, dtype=np.intp)
        self.matrix: Array = np.array(matrix, dtype=float)
        self.blocks = tuple(blocks)
        if self.matrix.shape != (len(self.shared),) * 2:
            msg = f"matrix of shape {self.matrix.shape} for {len(self.shared)} parameters"
            raise InputError(msg)
        visible = self.shared >= 0
        rows = np.concatenate([self.shared[visible], *(block.index for block in self.blocks)])
        self._block = np.full(size, -2, dtype=np.intp)  # -1 stands for shared
        self._place = np.zeros(size, dtype=np.intp)
        outside = len(rows) > 0 and not 0 <= rows.min() <= rows.max() < size
        if outside or len(np.unique(rows)) != len(rows):
            msg = "a row of the covariance is in two blocks, or in none that exists"
            raise InputError(msg)
        self._block[self.shared[visible]] = -1
        self._place[self.shared[visible]] = np.flatnonzero(visible)
        for k, block in enumerate(self.blocks):
            self._block[block.index] = k
            self._place[block.index] = np.arange(len(block.index))

    def __repr__(self) -> str:
        n, parts = self.size, f"{len(self.shared)} shared rows and {len(self.blocks)} blocks"
        return f"<BlockMatrix {n} × {n}: {parts}>"

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        parts = [self.shared, self.matrix]
        for block in self.blocks:
            parts += [block.index, block.own, block.shared, block.response]
        return sum(part.nbytes for part in parts)

    def diagonal(self) -> Array:
        """Diagonal [size]."""
        found = np.zeros(self.size)
        visible = self.shared >= 0
        found[self.shared[visible]] = np.diag(self.matrix)[visible]
        for block in self.blocks:
            inner = self.matrix[np.ix_(block.shared, block.shared)]
            spread = np.einsum("ij,jk,ik->i", block.response, inner, block.response)
            found[block.index] = np.diag(block.own) + spread
        return found

    def take(self, rows: Sequence[int] | Index) -> Array:
        """Return the dense matrix [n, n] of some rows."""
        rows = np.array(rows, dtype=np.intp)
        response = np.zeros((len(rows), len(self.shared)))
        own = np.zeros((len(rows), len(rows)))
        members: dict[int, list[int]] = {}
        for k, row in enumerate(rows.tolist()):
            members.setdefault(int(self._block[row]), []).append(k)
        for number, at in members.items():
            place, places = self._place[rows[at]], np.array(at)
            if number == -1:
                response[at, place] = 1.0
            elif number >= 0:
                block = self.blocks[number]
                response[np.ix_(places, block.shared)] = block.response[place]
                own[np.ix_(places, places)] = block.own[np.ix_(place, place)]
        from gmdask.sums import times  # imports numba, which reading models does not need

        return np.asarray(own + times(times(response, self.matrix), response.T))

    def to_dense(self) -> Array:
        """Return the dense matrix [size, size]."""
        return self.take(np.arange(self.size))

    def moved(self, positions: Sequence[int] | Index, size: int) -> BlockMatrix:
        """Return the matrix with its rows at other positions; rows with a negative position are removed.

        Parameters
        ----------
        positions : array [size]
            New position of each row. A shared parameter that is removed has no row any more, but
            the blocks still respond to it.
        size : int
            Number of rows of the new matrix.
        """
        positions = np.array(positions, dtype=np.intp)
        shared = np.where(self.shared >= 0, positions[self.shared], -1)
        blocks = []
        for block in self.blocks:
            at = np.flatnonzero(positions[block.index] >= 0)
            if len(at):
                own, index = block.own[np.ix_(at, at)], positions[block.index[at]]
                blocks.append(Block(index, own, block.shared, block.response[at]))
        return BlockMatrix(size, shared, self.matrix, blocks)

    # --- arrays to store ------------------------------------------------------------------

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return a few flat arrays, however many blocks there are."""
        blocks = self.blocks
        sizes = np.array([[len(b.index), len(b.shared)] for b in blocks], dtype=np.intp)

        def flat(name: str) -> NDArray[Any]:
            parts = [np.ravel(getattr(block, name)) for block in blocks]
            return np.concatenate(parts) if parts else np.zeros(0)

        return {
            "size": np.array(self.size),
            "shared": self.shared,
            "matrix": self.matrix,
            "sizes": sizes.reshape(-1, 2),
            "index": flat("index"),
            "own": flat("own"),
            "follows": flat("shared"),
            "response": flat("response"),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> BlockMatrix:
        """Return the matrix from the arrays of `to_arrays`.

        Raises
        ------
        InputError
            If the arrays are inconsistent.
        """
        blocks, at = [], dict.fromkeys(("index", "own", "follows", "response"), 0)

        def piece(name: str, *shape: int) -> Array:
            n = int(np.prod(shape))
            part = arrays[name][at[name] : at[name] + n]
            at[name] += n
            return np.asarray(part.reshape(shape))

        try:
            for m, s in arrays["sizes"].tolist():
                index, own = piece("index", m).astype(np.intp), piece("own", m, m)
                follows = piece("follows", s).astype(np.intp)
                blocks.append(Block(index, own, follows, piece("response", m, s)))
            return cls(int(arrays["size"]), arrays["shared"], arrays["matrix"], blocks)
        except (KeyError, ValueError) as error:
            msg = f"not a block covariance: {error}"
            raise InputError(msg) from error
