"""The copies of the global models that a dataset holds."""

from __future__ import annotations

from gmdask.models.model_list import ModelSequence
from gmdask.models.parameter import Parameter
from gmdask.models.parameters import Parameters
from gmdask.models.units import unit_factor

__all__ = ["DatasetModels"]


class DatasetModels(ModelSequence):
    """The components that apply to one dataset: copies, whose structure is fixed."""

    def set_parameters(self, parameters: Parameters) -> None:
        """Take over values from the global parameters, matched by full name.

        Parameters
        ----------
        parameters : Parameters
            Global parameters; values are converted if the units differ.

        Raises
        ------
        UnknownNameError
            If a parameter is not among the global ones; then nothing is changed.
        """
        for par, value in self.values_from(parameters):
            par.value = value

    def values_from(self, parameters: Parameters) -> list[tuple[Parameter, float]]:
        """Return the parameters with the values that `set_parameters` would set.

        Raises
        ------
        UnknownNameError
            If a parameter is not among the global ones.
        """
        found = []
        for name, par in self.named_parameters():
            source = parameters[name]
            factor = 1.0 if source.unit is par.unit else unit_factor(source.unit, par.unit)
            found.append((par, source.value * factor))
        return found
