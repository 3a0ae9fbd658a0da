"""Covariance of parameters."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gmdask.errors import InputError
from gmdask.models.parameter import Parameter
from gmdask.models.parameters import Parameters

__all__ = ["Covariance"]

Array = NDArray[np.float64]


class Covariance:
    """Covariance of parameters, frozen ones included with zeros.

    Parameters
    ----------
    parameters : Parameters
        P parameters, shared ones once.
    matrix : array [P, P], optional
        Each element in the product of the units of its two parameters. Without it the
        parameters are independent, with the errors they have.

    Raises
    ------
    InputError
        If the matrix has another shape.
    """

    def __init__(self, parameters: Parameters, matrix: ArrayLike | None = None) -> None:
        self.parameters = parameters
        self._matrix: Array | None = None
        if matrix is not None:
            array = np.array(matrix, dtype=float)
            if array.shape != self.shape:
                message = f"covariance of shape {array.shape} for {len(parameters)} parameters"
                raise InputError(message)
            self._matrix = array

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return len(self.parameters), len(self.parameters)

    @property
    def is_diagonal(self) -> bool:
        """Whether it consists of the errors of the parameters only."""
        return self._matrix is None

    @property
    def data(self) -> Array:
        """Matrix [P, P]."""
        if self._matrix is None:
            return np.diag(self.parameters.error**2)
        return self._matrix

    @property
    def errors(self) -> Array:
        """Standard deviations [P]; NaN for a negative variance."""
        if self._matrix is None:
            return self.parameters.error
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(np.diag(self._matrix)))

    @property
    def correlation(self) -> Array:
        """Correlation [P, P], zero where a parameter has no error."""
        errors = self.errors
        usable = np.isfinite(errors) & (errors > 0)
        scale = np.where(usable, errors, 1.0)
        return np.where(np.outer(usable, usable), self.data / np.outer(scale, scale), 0.0)

    def get_subcovariance(self, parameters: Parameters | list[Any]) -> Covariance:
        """Covariance of some of the parameters.

        Parameters
        ----------
        parameters : Parameters, or list of Parameter or str
            Which.

        Raises
        ------
        UnknownNameError
            If one is not among these.
        """
        at = [self.parameters.index(key) for key in parameters]
        chosen = Parameters(
            [self.parameters[k] for k in at], [self.parameters.names[k] for k in at]
        )
        if self._matrix is None:
            return Covariance(chosen)
        return Covariance(chosen, self._matrix[np.ix_(at, at)])

    def expanded_to(self, parameters: Parameters) -> Covariance:
        """Covariance over other parameters, by identity.

        What both have is kept; parameters that only ``parameters`` has enter with the
        errors they have, uncorrelated.
        """
        if self._matrix is None:
            return Covariance(parameters)
        if list(map(id, parameters)) == list(map(id, self.parameters)):
            return Covariance(parameters, self._matrix)
        known = [k for k, par in enumerate(parameters) if par in self.parameters]
        old = [self.parameters.index(parameters[k]) for k in known]
        matrix = np.diag(parameters.error**2)
        matrix[np.ix_(known, known)] = self._matrix[np.ix_(old, old)]
        return Covariance(parameters, matrix)

    def set_errors(self) -> None:
        """Give the parameters the errors of this covariance."""
        for par, error in zip(self.parameters, self.errors.tolist(), strict=True):
            par.error = error

    def rebound(self, twins: dict[int, Parameter], parameters: Parameters) -> Covariance:
        """Covariance of the copies of the parameters.

        Parameters
        ----------
        twins : dict
            Copy of each parameter, by its id.
        parameters : Parameters
            All copies.
        """
        if self._matrix is None:
            return Covariance(parameters)
        copies = Parameters([twins[id(par)] for par in self.parameters], self.parameters.names)
        return Covariance(copies, self._matrix)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __str__(self) -> str:
        return f"Covariance of {len(self.parameters)} parameters\n{self.data}"

    def _repr_html_(self) -> str:
        if len(self.parameters) > 50:
            return f"<p>Covariance of {len(self.parameters)} parameters</p>"
        names = [escape(name) for name in self.parameters.names]
        head = "".join(f"<th>{name}</th>" for name in names)
        rows = "".join(
            f"<tr><th>{name}</th>" + "".join(f"<td>{x:.3g}</td>" for x in row) + "</tr>"
            for name, row in zip(names, self.data, strict=True)
        )
        return f"<table><tr><th></th>{head}</tr>{rows}</table>"
