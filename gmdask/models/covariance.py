"""Covariance of parameters."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.attributes import KnownAttributes
from gmdask.drawing import draw
from gmdask.errors import InputError, described
from gmdask.models.block_matrix import Block, BlockMatrix
from gmdask.models.parameter import Parameter
from gmdask.models.parameters import Parameters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Covariance", "HasCovariance", "joined"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

DENSE = 1000  # a matrix of more parameters than this is kept in blocks
_SHOWN = 50


class Covariance(KnownAttributes):
    """Covariance of parameters, with zeros for frozen ones.

    Parameters
    ----------
    parameters : Parameters
        P parameters, each shared one once.
    matrix : array [P, P] or BlockMatrix, optional
        Each element is in the product of the units of its two parameters. By default the
        parameters are uncorrelated and have their own errors.

    Raises
    ------
    InputError
        If the matrix has another shape.
    """

    def __init__(
        self, parameters: Parameters, matrix: ArrayLike | BlockMatrix | None = None
    ) -> None:
        self.parameters = parameters
        self._matrix: Array | BlockMatrix | None = None
        if isinstance(matrix, BlockMatrix):
            if matrix.size != len(parameters):
                msg = f"covariance of {matrix.size} rows for {len(parameters)} parameters"
                raise InputError(msg)
            self._matrix = matrix
        elif matrix is not None:
            try:
                array = np.array(matrix, dtype=float)
            except (TypeError, ValueError) as error:
                msg = f"expected a matrix of numbers as covariance, got {described(matrix)}"
                raise InputError(msg) from error
            if array.shape != self.shape:
                msg = f"covariance of shape {array.shape} for {len(parameters)} parameters"
                raise InputError(msg)
            self._matrix = array

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return len(self.parameters), len(self.parameters)

    @property
    def is_diagonal(self) -> bool:
        """Whether the parameters are uncorrelated."""
        return self._matrix is None

    @property
    def blocks(self) -> BlockMatrix | None:
        """The matrix in blocks, None if it is stored densely."""
        return self._matrix if isinstance(self._matrix, BlockMatrix) else None

    @property
    def data(self) -> Array:
        """The dense matrix [P, P], which is computed if the covariance is in blocks."""
        if self._matrix is None:
            return np.diag(self.parameters.error**2)
        return self._matrix.to_dense() if isinstance(self._matrix, BlockMatrix) else self._matrix

    @property
    def errors(self) -> Array:
        """Standard deviations [P]; NaN for a negative variance."""
        if self._matrix is None:
            return self.parameters.error
        with np.errstate(invalid="ignore"):
            blocks = self.blocks
            diagonal = np.diag(self.data) if blocks is None else blocks.diagonal()
            return np.asarray(np.sqrt(diagonal))

    @property
    def correlation(self) -> Array:
        """Correlation matrix [P, P], zero for parameters without an error."""
        errors = self.errors
        usable = np.isfinite(errors) & (errors > 0)
        scale = np.where(usable, errors, 1.0)
        return np.where(np.outer(usable, usable), self.data / np.outer(scale, scale), 0.0)

    def get_subcovariance(self, parameters: Parameters | list[Any]) -> Covariance:
        """Return the covariance of some of the parameters.

        Parameters
        ----------
        parameters : Parameters, or list of Parameter or str
            The parameters.

        Raises
        ------
        UnknownNameError
            If one of them is not in this covariance.
        """
        at = [self.parameters.index(key) for key in parameters]
        chosen = Parameters(
            [self.parameters[k] for k in at], [self.parameters.names[k] for k in at]
        )
        if isinstance(self._matrix, BlockMatrix):
            positions = np.full(len(self.parameters), -1, dtype=np.intp)
            positions[at] = np.arange(len(at))
            return Covariance(chosen, self._matrix.moved(positions, len(at)))
        return Covariance(chosen, None if self._matrix is None else self._matrix[np.ix_(at, at)])

    def matrix_of(self, parameters: Iterable[Parameter]) -> Array:
        """Return the dense matrix [n, n] of some of the parameters; only this part is computed.

        Raises
        ------
        UnknownNameError
            If one of them is not in this covariance.
        """
        at = [self.parameters.index(par) for par in parameters]
        if isinstance(self._matrix, BlockMatrix):
            return self._matrix.take(at)
        return self.data[np.ix_(at, at)]

    def expanded_to(self, parameters: Parameters) -> Covariance:
        """Return the covariance of another set of parameters.

        Elements of parameters in both sets are kept; parameters only in the new set are
        uncorrelated and have their own errors.
        """
        if self._matrix is None:
            return Covariance(parameters)
        if list(map(id, parameters)) == list(map(id, self.parameters)):
            return Covariance(parameters, self._matrix)
        if isinstance(self._matrix, BlockMatrix):
            return Covariance(parameters, self._moved_blocks(self._matrix, parameters))
        known = [k for k, par in enumerate(parameters) if par in self.parameters]
        old = [self.parameters.index(parameters[k]) for k in known]
        matrix = np.diag(parameters.error**2)
        matrix[np.ix_(known, known)] = self._matrix[np.ix_(old, old)]
        return Covariance(parameters, matrix)

    def _moved_blocks(self, matrix: BlockMatrix, parameters: Parameters) -> BlockMatrix:
        places = {id(par): k for k, par in enumerate(parameters)}
        moved = matrix.moved([places.get(id(par), -1) for par in self.parameters], len(parameters))
        added = [k for k, par in enumerate(parameters) if par not in self.parameters]
        none = np.zeros((1, 0))
        more = [
            Block(np.array([k]), np.array([[parameters[k].error ** 2]]), none[0], none)
            for k in added
        ]
        return BlockMatrix(moved.size, moved.shared, moved.matrix, [*moved.blocks, *more])

    def set_errors(self) -> None:
        """Set the errors of the parameters to those of this covariance."""
        for par, error in zip(self.parameters, self.errors.tolist(), strict=True):
            par.error = error

    def plot_correlation(self, ax: Axes | None = None) -> Axes:
        """Draw the correlation; see `gmdask.plot.plot_correlation`."""
        axes: Axes = draw("plot_correlation", self, ax)
        return axes

    def rebound(self, twins: dict[int, Parameter], parameters: Parameters) -> Covariance:
        """Return the covariance with the parameters replaced by their copies.

        Parameters
        ----------
        twins : dict
            Copy of each parameter, by the id of the parameter.
        parameters : Parameters
            All copies.
        """
        if self._matrix is None:
            return Covariance(parameters)
        copies = Parameters([twins[id(par)] for par in self.parameters], self.parameters.names)
        return Covariance(copies, self._matrix)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        kind = "errors only" if self.is_diagonal else "in blocks" if self.blocks else "dense"
        return f"<Covariance of {len(self.parameters)} parameters, {kind}>"

    def __str__(self) -> str:
        head = f"Covariance of {len(self.parameters)} parameters"
        if len(self.parameters) > _SHOWN:
            return head + (" in blocks" if self.blocks is not None else "")
        return f"{head}\n{self.data}"

    def _repr_html_(self) -> str:
        if len(self.parameters) > _SHOWN:
            return f"<p>{escape(str(self))}</p>"
        names = [escape(name) for name in self.parameters.names]
        head = "".join(f"<th>{name}</th>" for name in names)
        rows = "".join(
            f"<tr><th>{name}</th>" + "".join(f"<td>{x:.3g}</td>" for x in row) + "</tr>"
            for name, row in zip(names, self.data, strict=True)
        )
        return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def joined(parameters: Parameters, parts: Iterable[Covariance]) -> Covariance:
    """Combine covariances that are not correlated with each other.

    Parameters
    ----------
    parameters : Parameters
        All parameters; those in no part keep their own errors.
    parts : iterable of Covariance
        Covariances of some of them; if a parameter is in several, the first counts.
    """
    parts = list(parts)
    if len(parts) == 1:
        return parts[0].expanded_to(parameters)
    taken: set[int] = set()
    blocks = []
    for part in [*parts, *(Covariance(Parameters([par])) for par in parameters)]:
        new = [par for par in part.parameters if par in parameters and id(par) not in taken]
        taken.update(map(id, new))
        at = np.array([parameters.index(par) for par in new], dtype=np.intp)
        if new:
            blocks.append(Block(at, part.matrix_of(new), at[:0], np.zeros((len(new), 0))))
    matrix = BlockMatrix(len(parameters), [], np.zeros((0, 0)), blocks)
    return Covariance(parameters, matrix if len(parameters) > DENSE else matrix.to_dense())


class HasCovariance(KnownAttributes):
    """Base class of objects with parameters and a covariance of these: models, components, sequences of them."""

    _covariance: Covariance | None = None  # of these parameters, and perhaps of others

    @property
    def parameters(self) -> Parameters:
        """Parameters, shared ones once."""
        raise NotImplementedError

    def _inner(self) -> Iterable[HasCovariance]:
        """Parts whose parameters all belong to this object."""
        return ()

    @property
    def has_covariance(self) -> bool:
        """Whether a covariance was set or fitted, for this object or a part of it."""
        return self._covariance is not None or any(part.has_covariance for part in self._inner())

    @property
    def covariance(self) -> Covariance:
        """Covariance of `parameters`, as set or fitted, as far as it is still valid.

        A parameter whose error was changed since then is uncorrelated. When a matrix [P, P] or a
        `Covariance` of the parameters is assigned, their errors are updated.
        """
        parameters = self.parameters
        matrix = np.diag(parameters.error**2)
        if self._covariance is not None:
            known = [k for k, par in enumerate(parameters) if par in self._covariance.parameters]
            kept = self._covariance.matrix_of([parameters[k] for k in known])
            matrix[np.ix_(known, known)] = kept
        _update(matrix, np.arange(len(parameters))[:, None], parameters.error[:, None, None] ** 2)
        for part in self._inner():
            inner = part.covariance
            at = [parameters.index(par) for par in inner.parameters]
            _update(matrix, np.array([at], dtype=np.intp), inner.data[None])
        return Covariance(parameters, matrix)

    @covariance.setter
    def covariance(self, value: Covariance | ArrayLike) -> None:
        parameters = self.parameters
        matrix = value.matrix_of(parameters) if isinstance(value, Covariance) else value
        covariance = Covariance(parameters, matrix)
        covariance.set_errors()
        self.keep_covariance(covariance)

    @property
    def whole_covariance(self) -> Covariance:
        """Covariance as set or fitted, including other parameters that it was fitted with; see `covariance`."""
        return self._covariance or self.covariance

    def keep_covariance(self, covariance: Covariance | None) -> None:
        """Store a covariance in this object and its parts, without updating the errors.

        Parameters
        ----------
        covariance : `Covariance` or None
            Covariance of these and perhaps of other parameters; None removes it.
        """
        self._covariance = covariance
        for part in self._inner():
            part.keep_covariance(covariance)

    def _copy_covariance(self, new: HasCovariance) -> None:
        """Give a copy the covariance of its parameters."""
        if self.has_covariance:
            new.keep_covariance(Covariance(new.parameters, self.covariance.data))

    def sample_parameters_from_covariance(
        self,
        n_samples: int = 1000,
        random_state: int | np.random.RandomState | np.random.Generator = 42,
        free_only: bool = True,
    ) -> Array:
        """Draw parameter values from the multivariate normal distribution of their covariance.

        Parameters
        ----------
        n_samples : int
            Number of samples.
        random_state : int, RandomState or Generator
            Seed or generator; a seed gives the same samples as in Gammapy.
        free_only : bool
            Whether to leave out frozen parameters.

        Returns
        -------
        ndarray [n_samples, P]
        """
        parameters = self.parameters.free if free_only else self.parameters
        if isinstance(random_state, int | np.integer):
            random_state = np.random.RandomState(random_state)
        matrix = self.covariance.matrix_of(parameters)
        return random_state.multivariate_normal(parameters.value, matrix, int(n_samples))


def _update(matrix: Array, rows: Index, parts: Array) -> None:
    """Write blocks [n, m, m] to rows [n, m] of a matrix; rows that change lose their correlations."""
    for at, part in zip(rows, parts, strict=True):
        if not np.allclose(matrix[np.ix_(at, at)], part, rtol=1e-9, atol=0, equal_nan=True):
            matrix[at], matrix[:, at] = 0.0, 0.0
            matrix[np.ix_(at, at)] = part
