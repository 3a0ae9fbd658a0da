"""The common base of spectral and spatial models: parameters with defaults."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from gmdask.errors import ModelError, UnknownNameError
from gmdask.models.covariance import HasCovariance
from gmdask.models.parameter import Parameter
from gmdask.models.parameter_default import ParameterDefault
from gmdask.models.parameters import Parameters
from gmdask.models.units import unit_text

__all__ = ["ModelBase"]

Array = NDArray[np.float64]


class ModelBase(HasCovariance):
    """A model whose parameters are its attributes.

    A parameter is changed by ``model.index.value = 2.2``; assigning another `Parameter`
    of the same name links it: ``model.index = other.index``.

    A class lists its parameters in ``defaults`` (or, as in Gammapy, as class attributes that
    are `Parameter` objects). If they differ between models of a class, `defaults_for` returns
    them and `_set_defaults` sets them for the model. Attributes that are models themselves are
    named in ``nested``.

    Parameters
    ----------
    **parameters : float, Quantity, str or Parameter
        Values that differ from the defaults. A number without a unit is in the default's unit.

    Raises
    ------
    UnknownNameError
        If there is no parameter of this name.
    ModelError
        If a value is not finite or has an incompatible unit.
    """

    kind: ClassVar[str] = ""
    tag: ClassVar[tuple[str, ...]] = ()
    nested: ClassVar[tuple[str, ...]] = ()
    writes_parameters: ClassVar[bool] = True
    without_parameters: ClassVar[bool] = False
    defaults: tuple[ParameterDefault, ...] = ()
    parameter_names: tuple[str, ...] = ()
    internal_units: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        given = [par for par in cls.__dict__.values() if isinstance(par, Parameter)]
        if given and "defaults" not in cls.__dict__:
            cls.defaults = tuple(map(ParameterDefault.of, given))
        _check_class(cls)
        cls.parameter_names = tuple(default.name for default in cls.defaults)
        cls.internal_units = tuple(default.unit for default in cls.defaults)

    def _set_defaults(self, defaults: tuple[ParameterDefault, ...]) -> None:
        """Give this model its own list of parameters, before they are set."""
        self.defaults = defaults
        self.parameter_names = tuple(default.name for default in defaults)
        self.internal_units = tuple(default.unit for default in defaults)

    @classmethod
    def defaults_for(cls, arguments: Mapping[str, Any]) -> tuple[ParameterDefault, ...]:
        """Return the parameters of a model that is created with these arguments.

        Parameters
        ----------
        arguments : dict
            Arguments other than parameters, as returned by `extra_from_dict`.
        """
        del arguments
        return cls.defaults

    def __init__(self, **parameters: Any) -> None:
        for name in parameters:
            if name not in self.parameter_names:
                msg = (
                    f"{type(self).__name__} has no parameter {name!r}, "
                    f"only {', '.join(self.parameter_names) or 'none'}"
                )
                raise UnknownNameError(msg)
        for default in self.defaults:
            value = parameters.get(default.name)
            if not isinstance(value, Parameter):
                try:
                    value = default.make(value)
                except ModelError as error:
                    msg = f"{type(self).__name__}.{error}"
                    raise ModelError(msg) from error
            setattr(self, default.name, value)

    def __setattr__(self, name: str, value: object) -> None:
        if self._is_made and name in self.nested:  # prevents a model from containing itself
            kind = type(self).__name__
            msg = f"{kind}.{name} cannot be replaced: create another {kind}"
            raise ModelError(msg)
        if name in self.parameter_names:
            where = f"{type(self).__name__}.{name}"
            if not isinstance(value, Parameter):
                msg = f"{where} is a parameter: set {name}.value, or assign a Parameter to link"
                raise ModelError(msg)
            if value.name != name:  # Gammapy cannot read such a link
                msg = f"{where} cannot be linked to a parameter of another name, {value.name!r}"
                raise ModelError(msg)
            try:
                self.defaults[self.parameter_names.index(name)].factor_from(value)
            except ModelError as error:
                msg = f"{where}: {error}"
                raise ModelError(msg) from error
        super().__setattr__(name, value)

    # --- parameters -----------------------------------------------------------

    def parameter(self, name: str) -> Parameter:
        """Return a parameter by its name in the class."""
        return self.__dict__[name]  # type: ignore[no-any-return]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return names and parameters, in the order of the class."""
        return [(name, self.__dict__[name]) for name in self.parameter_names]

    @property
    def parameters(self) -> Parameters:
        """Parameters in the order of the class, shared ones once."""
        return Parameters.from_names(self.named_parameters())

    @property
    def internal_factors(self) -> Array:
        """Factors [P] that convert from the units of the parameters to `internal_units`."""
        pairs = zip(self.defaults, self.named_parameters(), strict=True)
        return np.array([default.factor_from(par) for default, (_, par) in pairs], dtype=float)

    @property
    def scales(self) -> list[Parameter]:
        """Parameters that only multiply the model, or a part of it."""
        return []

    @property
    def periods(self) -> list[tuple[Parameter, float]]:
        """Return the parameters that are angles, each with its period in its own unit."""
        return [
            (par, default.period / default.factor_from(par))
            for default, (_, par) in zip(self.defaults, self.named_parameters(), strict=True)
            if default.period is not None
        ]

    def domains(self) -> list[tuple[Parameter, float, float]]:
        """Return the parameters with a restricted domain, each with its ends."""
        found = []
        for default, (_, par) in zip(self.defaults, self.named_parameters(), strict=True):
            if math.isfinite(default.least) or math.isfinite(default.most):
                factor = default.factor_from(par)
                found.append((par, default.least / factor, default.most / factor))
        return found

    def check_values(self) -> None:
        """Raise an error for values outside their domain, such as a negative width.

        Raises
        ------
        ModelError
            If a value is outside; the message names the parameter, its value and the expectation.
        """
        for model in self.with_nested():
            for par, least, most in model.domains():
                if not least <= par.value <= most:
                    ends = (
                        f"from {least:g} to {most:g}"
                        if math.isfinite(most)
                        else f"at least {least:g}"
                    )
                    unit = f" {unit_text(par.unit)}" if str(par.unit) else ""
                    msg = f"{par.where} is {par.value:g}{unit}, expected a value {ends}{unit}"
                    raise ModelError(msg)

    @property
    def internal_values(self) -> Array:
        """Values [P] in `internal_units`."""
        values = np.array([par.value for _, par in self.named_parameters()], dtype=float)
        return values * self.internal_factors

    @property
    def frozen(self) -> bool:
        """Whether all parameters are frozen."""
        return all(par.frozen for _, par in self.named_parameters())

    def freeze(self) -> None:
        """Freeze all parameters."""
        for _, par in self.named_parameters():
            par.frozen = True

    def unfreeze(self) -> None:
        """Restore the frozen flags of the class for all parameters."""
        for default, (_, par) in zip(self.defaults, self.named_parameters(), strict=True):
            par.frozen = default.frozen

    def with_nested(self) -> Iterator[ModelBase]:
        """All nested models, followed by the model itself."""
        for name in self.nested:
            yield from self.__dict__[name].with_nested()
        yield self

    def check(self) -> None:
        """Evaluate the model once, to detect an invalid class before it is used.

        Raises
        ------
        ModelError
            If the model is invalid; the message names the class.
        """
        raise NotImplementedError

    # --- copies and plain data --------------------------------------------------

    def copy(self, memo: dict[int, Any] | None = None) -> Self:
        """Return an independent copy; parameters that are shared under the same ``memo`` stay shared.

        The covariance is copied too, unless a ``memo`` indicates that further copies follow.
        """
        alone, memo = memo is None, {} if memo is None else memo
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.__dict__.pop("_covariance", None)
        for name in self.nested:
            new.__dict__[name] = self.__dict__[name].copy(memo)
        for name in self.parameter_names:
            par = self.__dict__.get(name)
            if par is not None:  # parameters of nested models have been copied already
                copied = memo.get(id(par))
                new.__dict__[name] = copied if copied is not None else par.__deepcopy__(memo)
        if alone:
            self._copy_covariance(new)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = memo[id(self)] = self.copy(memo)
        self._copy_covariance(new)
        return new

    def extra_to_dict(self) -> dict[str, Any]:
        """Return the plain data that is written in addition to the parameters."""
        return {}

    @classmethod
    def extra_from_dict(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Convert the data that is written in addition to the parameters to arguments of the class.

        Raises
        ------
        ModelError
            For a key that the class does not know.
        """
        for key in data:
            msg = f"{key}: unknown key of {cls.__name__}"
            raise ModelError(msg)
        return {}

    def __repr__(self) -> str:
        values = ", ".join(
            f"{name}={par.value:g} {unit_text(par.unit)}".rstrip()
            for name, par in self.named_parameters()
        )
        return f"{type(self).__name__}({values})"

    def _repr_html_(self) -> str:
        return f"<p><code>{escape(type(self).__name__)}</code></p>{self.parameters._repr_html_()}"


def _check_class(cls: type[ModelBase]) -> None:
    """Raise an error for an invalid class, when it is defined."""
    where = cls.__name__
    given: tuple[Any, ...] = cls.defaults
    for default in given:
        if not isinstance(default, ParameterDefault):
            msg = f"{where}: defaults has {default!r}, expected ParameterDefault objects"
            raise ModelError(msg)
        value = getattr(ModelBase, default.name, None)
        if not default.name.isidentifier() or value is not None:
            msg = f"{where}: a parameter cannot be named {default.name!r}"
            raise ModelError(msg)
        try:
            default.make()
        except ModelError as error:
            msg = f"{where}: default of {error}"
            raise ModelError(msg) from error
    names = [default.name for default in cls.defaults]
    if len(set(names)) != len(names):
        msg = f"{where}: two parameters of the same name among {', '.join(names)}"
        raise ModelError(msg)
    evaluate = cls.__dict__.get("evaluate")
    if evaluate is None:
        return
    static = isinstance(evaluate, staticmethod)
    taken = list(inspect.signature(evaluate.__func__ if static else evaluate).parameters.values())
    plain = [par.name for par in taken if par.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    plain = plain[1 if static else 2 :]
    if len(taken) == len(plain) + (1 if static else 2) and plain != names:
        msg = (
            f"{where}: evaluate takes {', '.join(plain) or 'no parameters'}, "
            f"but its parameters are {', '.join(names) or 'none: list them in defaults'}"
        )
        raise ModelError(msg)
