"""The parameters of a joint fit: which are free and shared, their limits, and what is known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from gmdask.datasets import Datasets
from gmdask.evaluation.passes import Pass
from gmdask.evaluation.step_limits import StepLimits
from gmdask.models import BackgroundIRFModel, Component, Models, ResponseModifier, SkyModel
from gmdask.optimize.coordinates import Kinds, Turn
from gmdask.optimize.problem import Problem

__all__ = ["FitParameters", "local_parameters", "periods_of"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

N_ENERGIES = (
    20  # number of energies at which the sensitivity of spectra to their parameters is computed
)
ROUND = 0.01  # smallest eccentricity at the start of a search
SMALL = 1e-3  # deg; smallest size at the start of a search
# an angle is undetermined if the statistic changes by less than this over a full rotation
FLAT = 1e-6
NOTHING: Index = np.zeros(0, dtype=np.intp)


class FitParameters:
    """Parameters of a joint fit, N in all, of which S are free and shared by datasets.

    Parameters
    ----------
    models : `Models`
        The global models.
    datasets : `Datasets`
    shared : iterable of int
        Positions of parameters that are shared even if they could be local.

    Attributes
    ----------
    free, local : boolean array of shape (N,)
        Free parameters, and those among them that are minimised on the worker that holds the data: the
        free parameters of a background model, or of a response modifier of one dataset, that are not linked
        to anything else.
    shared : array of shape (S,)
        Positions of the other free parameters.
    periods : dict
        Lowest value and period of the angles that may take all values, by position.
    step_limits : `StepLimits`
        Largest changes of the shared parameters in one step.
    """

    def __init__(self, models: Models, datasets: Datasets, shared: Iterable[int] = ()) -> None:
        parameters = models.parameters
        self._models, self._prior = models, models.prior_sum
        self.free: Mask = np.array([not p.frozen for p in parameters], dtype=bool)
        self.local = self.free & local_parameters(models, datasets)
        self.local[list(shared)] = False
        self.shared: Index = np.flatnonzero(self.free & ~self.local)
        self._place = np.full(len(parameters), -1, dtype=np.intp)
        self._place[self.shared] = np.arange(len(self.shared))
        self._of_component = [
            np.array([parameters.index(p) for _, p in component.named_parameters()], dtype=np.intp)
            for component in models
        ]
        self.periods = periods_of(models)
        self.step_limits = StepLimits(models, self.shared, _energies(datasets))

    def of_components(self, components: Iterable[int]) -> Index:
        """Return the positions of the parameters of some components, one after the other."""
        return np.concatenate([NOTHING, *(self._of_component[k] for k in components)])

    def shared_of(self, index: Index) -> Index:
        """Return the positions among the shared parameters of those at some positions that are shared."""
        found = self._place[index]
        return np.asarray(found[found >= 0])

    @property
    def start(self) -> Array:
        """Values of all parameters in the global models."""
        return self._models.parameters.value

    @property
    def sizes(self) -> Mask:
        """Shared parameters (S,) that are sizes of sources."""
        return self.step_limits.sizes

    @property
    def even(self) -> Mask:
        """Shared parameters (S,) that enter only by their square: sizes of most shapes, and eccentricities."""
        return self.step_limits.even

    def degrees(self) -> Array:
        """One degree in the unit of each shared parameter (S,); NaN for parameters that are not angles."""
        units = [self._models.parameters[int(i)].unit for i in self.shared]
        return np.array([u.Unit("deg").to(x) if x.is_equivalent("deg") else np.nan for x in units])

    def beginning(self) -> Array:
        """Values of the shared parameters (S,) at which a search starts.

        The statistic has no slope along a size of zero, or along the angle of a round shape: sizes and
        eccentricities are therefore made a little larger, within their limits.
        """
        upper, degrees = self.limits()[1], self.degrees()
        begin = self.start[self.shared]
        least = np.where(np.isnan(degrees), ROUND, SMALL * np.nan_to_num(degrees, nan=0.0))
        small = self.even & (begin < least)
        small &= self.sizes | np.isin(np.arange(len(begin)), [t.e for t in self._turns()])
        return np.where(small, np.minimum(least, upper), begin)

    def limits(self) -> tuple[Array, Array]:
        """Return the lower and upper limits of the shared parameters; infinite for none.

        An angle that may take all values is periodic and has no limits.
        """
        lower, upper = self._all_limits()
        return lower[self.shared], upper[self.shared]

    def _all_limits(self) -> tuple[Array, Array]:
        parameters = self._models.parameters
        lower = np.where(np.isnan(parameters.min), -np.inf, parameters.min)
        upper = np.where(np.isnan(parameters.max), np.inf, parameters.max)
        low, high = self._prior.limits()
        lower, upper = np.maximum(lower, low), np.minimum(upper, high)
        for component in self._models:
            for model in component.models.values():
                for parameter, least, most in model.domains():
                    k = parameters.index(parameter)
                    lower[k], upper[k] = max(lower[k], least), min(upper[k], most)
        for index in self.periods:
            lower[index], upper[index] = -np.inf, np.inf
        return lower, upper

    def at_limits(self, values: Array) -> Mask:
        """Whether each of all parameters (N,) is at a limit."""
        lower, upper = self._all_limits()
        return np.asarray((values <= lower) | (values >= upper))

    def check_values(self, values: Array) -> None:
        """Raise a ValueError for values (N,) that no fit from the start can reach; it names one of them."""
        lower, upper = self._all_limits()
        wrong = np.where(self.free, (values < lower) | (values > upper), values != self.start)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            name = self._models.parameters.names[at]
            expected = (
                f"{lower[at]} to {upper[at]}" if self.free[at] else f"{self.start[at]}, frozen"
            )
            msg = f"{name} is {values[at]}, expected {expected}"
            raise ValueError(msg)

    def _turns(self) -> tuple[Turn, ...]:
        """Pairs of an eccentricity and an angle that are both free."""
        parameters, at = self._models.parameters, {int(k): n for n, k in enumerate(self.shared)}
        found = []
        for component in self._models:
            for model in component.models.values():
                declared = zip(model.defaults, model.named_parameters(), strict=True)
                own = [(default, p) for default, (_, p) in declared]
                shape = [p for default, p in own if default.even and default.unit == ""]
                angle = [p for default, p in own if default.period is not None]
                for e, phi in zip(shape, angle, strict=False):
                    i, j = parameters.index(e), parameters.index(phi)
                    if i in at and j in at:
                        found.append(Turn(at[i], at[j], float(phi.unit.to("rad"))))
        return tuple(found)

    @cached_property
    def blocks(self) -> Index:
        """Index of the first component that each shared parameter (S,) belongs to.

        Norms of the exposure count as parameters of the first source in their datasets: where the flux of
        the source goes up, they go down.
        """
        parameters = self._models.parameters
        blocks = np.full(len(parameters), -1, dtype=np.intp)
        for number, component in reversed(list(enumerate(self._models))):
            owner = _first_source(self._models, component, number)
            blocks[[parameters.index(p) for _, p in component.named_parameters()]] = owner
        return np.unique(blocks[self.shared], return_inverse=True)[1].astype(np.intp)

    def with_shared(self, values: Array, shared: Array) -> Array:
        """Return all parameters, with new values of the shared ones; angles are wrapped to their limits."""
        result = values.copy()
        result[self.shared] = shared
        for index, (lower, period) in self.periods.items():
            if not lower <= result[index] <= lower + period:
                result[index] = lower + (result[index] - lower) % period
        return result

    # --- at a point of the fit -----------------------------------------------------------

    def unfelt(self, point: Pass) -> Mask:
        """Shared parameters (S,) of components without any effect on the data, such as sources outside of all maps."""
        felt = point.gradient != 0
        for hessian in (point.hessian, point.observed):
            if hessian is not None:
                felt |= np.diag(hessian) != 0
        blocks = self.blocks
        return ~np.isin(blocks, blocks[felt])

    def flat_angles(self, point: Pass) -> Mask:
        """Shared parameters (S,) that are angles of shapes which are round at a point."""
        period = np.array([self.periods.get(int(i), (0.0, np.inf))[1] for i in self.shared])
        curvature = np.where(np.isfinite(period), np.diag(point.hessian), np.inf)
        return np.asarray(curvature < FLAT / period**2)

    def turned_round(self, errors: Array) -> Mask:
        """Shared parameters (S,) that are angles with errors (S,) of more than a quarter of the period."""
        period = np.array([self.periods.get(int(i), (0.0, np.inf))[1] for i in self.shared])
        return np.asarray(errors > 0.25 * period)

    def problem(self, touched: Sequence[Index], *, rough: bool) -> Problem:
        """Describe the shared parameters to a minimiser.

        Parameters
        ----------
        touched : sequence of array
            Shared parameters that affect each dataset.
        rough : bool
            Whether sources are rendered on the pixel grid: the statistic then has kinks and small steps
            along parameters that move what is seen.
        """
        amplitudes = self._models.scales[self.shared]
        kinds = Kinds(amplitudes, self.even, self._turns())
        touches = np.zeros((len(touched), int(self.blocks.max(initial=-1)) + 1), dtype=bool)
        for number, shared in enumerate(touched):
            touches[number, self.blocks[shared]] = True
        rough = rough and bool(self.step_limits.moving.any())
        return Problem(*self.limits(), kinds, self.step_limits, self.blocks, touches, rough)


def local_parameters(models: Models, datasets: Datasets) -> Mask:
    """Free parameters of a background model or a modifier of one of the datasets that occur nowhere else."""
    parameters = models.parameters
    uses = Counter(id(parameter) for _, parameter in models.named_parameters())
    names = set(datasets.names)
    own = {
        id(parameter)
        for model in models
        if isinstance(model, BackgroundIRFModel | ResponseModifier) and model.dataset_name in names
        for _, parameter in model.named_parameters()
        if uses[id(parameter)] == 1
    }
    return np.array([id(parameter) in own for parameter in parameters], dtype=bool)


def _first_source(models: Models, component: Component, number: int) -> int:
    """Position of the first source in any dataset of a modifier; the given one for other components."""
    if not isinstance(component, ResponseModifier):
        return number
    names = component.datasets_names
    for position, other in enumerate(models):
        if isinstance(other, SkyModel) and (
            names is None
            or other.datasets_names is None
            or not set(names).isdisjoint(other.datasets_names)
        ):
            return position
    return number


def periods_of(models: Models) -> dict[int, tuple[float, float]]:
    """Return lower limit and period of the angles that may take all values, by position."""
    parameters = models.parameters
    found = {}
    for component in models:
        for model in component.models.values():
            for parameter, period in model.periods:
                if parameter.max - parameter.min >= period * (1 - 1e-12):
                    found[parameters.index(parameter)] = parameter.min, period
    return found


def _energies(datasets: Datasets) -> Array:
    """Energies (TeV) over the range of the first dataset."""
    if not len(datasets):
        return np.ones(1)
    low, high = next(iter(datasets)).energy_range
    return np.geomspace(low, high, N_ENERGIES)
