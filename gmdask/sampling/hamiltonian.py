"""Hamiltonian Monte Carlo in white coordinates.

The motion in a unit normal distribution is a rotation of position and momentum, which is followed exactly; what
the posterior differs from it kicks the momentum between rotations (split Hamiltonian Monte Carlo: Shahbaba et al.
2014, Statistics and Computing 24, 339). Of a normal posterior, one evaluation gives an independent draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chains", "Draw", "State", "draw", "sample_chains"]

Array = NDArray[np.float64]
Ask = Generator[Array, tuple[float, Array], "Draw"]

TURN = (
    0.5 * math.pi
)  # of a trajectory, on average: draws of a normal distribution are then independent
SPREAD = 0.2  # share by which turns differ, so that no period of the posterior is met each time
DIVERGED = 1000.0  # change of the energy, as in Stan
ACCEPTED = 0.9  # mean acceptance below which trajectories get twice as many steps
ROUND = 25  # draws of a round of the warm-up
MAX_STEPS = 256


class State(NamedTuple):
    """A point of a chain, with its log density and gradient."""

    z: Array
    value: float
    gradient: Array


class Draw(NamedTuple):
    """The end of a trajectory.

    Attributes
    ----------
    state : `State`
    acceptance : float
        Probability with which the end of the trajectory is taken.
    diverging : bool
        Whether its energy grew without limits.
    n_steps : int
        Evaluations.
    """

    state: State
    acceptance: float
    diverging: bool
    n_steps: int


def draw(state: State, rng: np.random.Generator, n_steps: int) -> Ask:
    """Draw the next point of a chain: yields points to evaluate, and returns the draw.

    Parameters
    ----------
    state : `State`
    rng : `numpy.random.Generator`
    n_steps : int
        Steps of the trajectory.
    """
    momentum = rng.standard_normal(len(state.z))
    angle = TURN * rng.uniform(1 - SPREAD, 1 + SPREAD) / n_steps
    chance = rng.uniform()
    cos, sin = math.cos(angle), math.sin(angle)
    energy = 0.5 * float(np.sum(momentum * momentum)) - state.value
    z, gradient, change = state.z, state.gradient, math.inf
    for step in range(1, n_steps + 1):
        momentum = momentum + 0.5 * angle * (gradient + z)
        z, momentum = cos * z + sin * momentum, cos * momentum - sin * z
        value, gradient = yield z
        momentum = momentum + 0.5 * angle * (gradient + z)
        change = 0.5 * float(np.sum(momentum * momentum)) - value - energy
        if not change < DIVERGED:
            return Draw(state, 0.0, diverging=True, n_steps=step)
    acceptance = math.exp(min(0.0, -change))
    end = State(z, value, gradient) if chance < acceptance else state
    return Draw(end, acceptance, diverging=False, n_steps=n_steps)


@dataclass(frozen=True)
class Chains:
    """Draws of several chains.

    Attributes
    ----------
    z : array of shape (chain, draw, n)
    value, acceptance : array of shape (chain, draw)
    diverging : boolean array of shape (chain, draw)
    n_steps : array of int of shape (chain, draw)
    n_warm_up : int
        Draws of the warm-up per chain, which are not kept.
    """

    z: Array
    value: Array
    acceptance: Array
    diverging: NDArray[np.bool_]
    n_steps: NDArray[np.intp]
    n_warm_up: int


def sample_chains(
    several: Callable[[Sequence[Array]], Sequence[tuple[float, Array]]],
    n: int,
    draws: int,
    rngs: Sequence[np.random.Generator],
    on_draw: Callable[[int], None] = lambda _: None,
) -> Chains:
    """Sample several chains, whose points are evaluated together.

    Parameters
    ----------
    several : callable
        Takes points (n,) in white coordinates, and returns the log density and its gradient of each.
    n : int
        Number of coordinates.
    draws : int
        Draws to keep per chain.
    rngs : sequence of `numpy.random.Generator`
        One per chain.
    on_draw : callable, optional
        Receives the number of draws kept so far per chain.

    Notes
    -----
    During the warm-up, the number of steps is doubled until the acceptance is at least 0.9 over a round of 25 draws of
    all chains, and the position has been forgotten for another round.
    """
    starts = [rng.standard_normal(n) for rng in rngs]
    states = [
        State(z, *found) for z, found in zip(starts, several(starts), strict=True)
    ]  # fmt: skip
    for k, state in enumerate(states):
        if not math.isfinite(state.value):  # the centre is allowed
            states[k] = State(np.zeros(n), *several([np.zeros(n)])[0])
    n_steps, n_warm_up, settled = 1, 0, 0
    while settled < 2:
        taken = []
        for _ in range(ROUND):
            found = _together(several, states, rngs, n_steps)
            states = [one.state for one in found]
            taken += [one.acceptance for one in found]
        n_warm_up += ROUND
        if np.mean(taken) < ACCEPTED and n_steps < MAX_STEPS:
            n_steps, settled = 2 * n_steps, 0
        else:
            settled += 1
    kept = []
    for number in range(draws):
        found = _together(several, states, rngs, n_steps)
        states = [one.state for one in found]
        kept.append(found)
        on_draw(number + 1)
    by_chain = list(zip(*kept, strict=True))
    return Chains(
        np.array([[one.state.z for one in chain] for chain in by_chain]),
        np.array([[one.state.value for one in chain] for chain in by_chain]),
        np.array([[one.acceptance for one in chain] for chain in by_chain]),
        np.array([[one.diverging for one in chain] for chain in by_chain]),
        np.array([[one.n_steps for one in chain] for chain in by_chain]),
        n_warm_up,
    )


def _together(
    several: Callable[[Sequence[Array]], Sequence[tuple[float, Array]]],
    states: Sequence[State],
    rngs: Sequence[np.random.Generator],
    n_steps: int,
) -> list[Draw]:
    """Draw the next point of each chain, and evaluate the points of one step together."""
    asking = {
        k: draw(state, rng, n_steps)
        for k, (state, rng) in enumerate(zip(states, rngs, strict=True))
    }
    points = {k: next(ask) for k, ask in asking.items()}
    done: dict[int, Draw] = {}
    while points:
        answers = several(list(points.values()))
        going: dict[int, Array] = {}
        for k, answer in zip(points, answers, strict=True):
            try:
                going[k] = asking[k].send(answer)
            except StopIteration as end:
                done[k] = end.value
        points = going
    return [done[k] for k in range(len(states))]
