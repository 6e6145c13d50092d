"""The interface of integrators, and the parts of the engine they may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.errors import InputError
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.exact import ExactSum
from allegro_md.integrators.schedule import Ramp
from allegro_md.state import AtomState, Field

T = TypeVar("T")


class EvaluateForces(Protocol):
    """Evaluates forces at the present positions."""

    def __call__(self, state: AtomState, needs: Needs) -> Evaluation:
        """Writes the forces of the local atoms; these may be others afterwards, in another order.

        Args:
            state: atoms of this rank.
            needs: names of `evaluation.QUANTITIES` that the integrator uses.
        """


class Collective(Protocol):
    """The only ways in which an integrator may learn of other ranks."""

    def reduce(self, total: ExactSum) -> NDArray[np.float64]:
        """Sum over ranks, the same float64 on all of them."""

    def on_root(self, compute: Callable[[], T]) -> T:
        """The result of `compute` on rank 0, on all ranks (libm differs between machines)."""

    def agreed(self, compute: Callable[[], T]) -> T:
        """The result of a function of numbers that all ranks share, the same bits on all of them."""

    def max(self, values: float) -> float:
        """The largest of the ranks' values, none of which is NaN."""


@dataclass(frozen=True)
class Clock:
    """The step that is being made, or a part of it.

    A step that failed may be made anew in several equal parts. Random numbers are keyed by step and substep, so that
    no two parts draw the same ones.

    Attributes:
        step: number of the step; the first is 1.
        dt: length of this part, fs.
        substep: number of the part, from 0.
        n_substeps: parts of the step.
        first: steps that were made before this stage of the run began.
    """

    step: int
    dt: float
    substep: int = 0
    n_substeps: int = 1
    first: int = 0

    @property
    def end(self) -> float:
        """Steps of this stage that are made when this part is over."""
        return self.step - self.first - 1 + (self.substep + 1) / self.n_substeps


@dataclass(frozen=True)
class GroupSize:
    """A group of atoms.

    Attributes:
        bit: in the field `state.GROUP`.
        n_free: its atoms that are not held.
    """

    bit: int
    n_free: int


@dataclass(frozen=True)
class Setting:
    """The surroundings an integrator is built for.

    Attributes:
        info: of the potential.
        n_atoms: of the whole system.
        cell: at the start.
        collective: sums and decisions over ranks.
        n_held: atoms that are not accelerated, `AtomState.held`.
        driven: external forces act, whose sum is not zero.
        groups: those with a thermostat, by name.
    """

    info: PotentialInfo
    n_atoms: int
    cell: Cell
    collective: Collective
    n_held: int = 0
    driven: bool = False
    groups: Mapping[str, GroupSize] = field(default_factory=dict)

    def of_group(self, name: str) -> Setting:
        """The surroundings of a group alone, whose momentum is not conserved unless it holds all atoms that move."""
        n_free, n_moving = self.groups[name].n_free, self.n_atoms - self.n_held
        return self if n_free == n_moving else replace(self, n_atoms=n_free, n_held=0, driven=True)

    def degrees_of_freedom(self, momentum_removed: bool = True) -> int:
        """3N − 3 where total momentum is zero and stays so, else three for each atom that is not held."""
        conserved = self.info.conserves_momentum and momentum_removed and self.n_held == 0 and not self.driven
        return max(0, 3 * (self.n_atoms - self.n_held) - (3 if conserved else 0))


def require_degrees_of_freedom(degrees_of_freedom: int) -> None:
    """Refuses to thermostat atoms without degrees of freedom.

    Raises:
        InputError: there are none.
    """
    if degrees_of_freedom < 1:
        raise InputError(
            "a thermostat needs at least one degree of freedom; a single atom has none where total momentum is "
            "conserved, nor have atoms that are held",
            "dynamics.ensemble",
            'use ensemble = "nve", or hold fewer atoms',
        )


class Integrator(Protocol):
    """Moves the atoms by one time step; keeps global numbers only: per-atom arrays are `fields` of the state.

    Attributes:
        stochastic: draws random numbers.
        order: the error of the conserved quantity falls with this power of the time step; 0: nothing is conserved.
        heats_atoms_at_rest: False of a thermostat that only multiplies velocities.
        timestep: of a whole step, fs; 0: steps take no time (a minimizer).
        degrees_of_freedom: of the kinetic energy.
        max_temperature: highest temperature that is aimed at, K; 0: none.
        finished: no further step is needed (a minimizer that has converged).
    """

    stochastic: ClassVar[bool]
    order: ClassVar[int]
    heats_atoms_at_rest: ClassVar[bool]
    timestep: float
    degrees_of_freedom: int
    max_temperature: float
    finished: bool

    @property
    def fields(self) -> tuple[Field, ...]:
        """Per-atom arrays that the state is to have while this integrator moves the atoms."""

    @property
    def needs(self) -> Needs:
        """Names of `evaluation.QUANTITIES` that `step` uses ("virial" of a barostat)."""

    @property
    def changes_cell(self) -> bool:
        """The cell of the state is another one after a step."""

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step, or a part of one. `state.force` holds the forces on entry and on return.

        Returns:
            The last evaluation of the step, at the positions on return.
        """

    def extended_energy(self) -> float:
        """Energy that the ensemble adds to the total energy to make it conserved, eV."""

    def state_dict(self) -> dict[str, Any]:
        """The global numbers (JSON-like)."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""


@runtime_checkable
class LocalSteps(Protocol):
    """An integrator some of whose steps ask nothing of other ranks but forces, once: several may be made unchecked.

    Attributes:
        steps_are_local: this one's do; each needs no quantity of the evaluation, and the cell stays as it is.
    """

    @property
    def steps_are_local(self) -> bool: ...


@runtime_checkable
class Prepared(Protocol):
    """An integrator that needs an evaluation before its first step."""

    def prepare(self, state: AtomState, evaluation: Evaluation) -> None:
        """Looks at the first evaluation of a run, a stage or a continuation (collective).

        Args:
            state: with forces; positions and cell stay as they are.
            evaluation: of the present positions, with what `Integrator.needs` names and the virial, where there is one.
        """


@runtime_checkable
class Concluding(Protocol):
    """An integrator that comes to a result (a minimizer)."""

    def result(self) -> dict[str, Any]:
        """Numbers for ``run.json``: what was found, as far as it is known now."""

    def conclusion(self) -> str:
        """One line for the log, at the end of a run or a stage."""


@runtime_checkable
class Tempered(Protocol):
    """A thermostat whose temperature may change between two steps (parallel tempering).

    Attributes:
        target: temperature over the run, K.
    """

    target: Ramp

    def set_temperature(self, state: AtomState, kelvin: float) -> None:
        """Takes over a state of another temperature and keeps `kelvin` from then on (collective).

        Velocities are multiplied by the square root of the ratio of both temperatures. The conserved energy stays as it
        is: what the atoms and the thermostat gain counts as given to them from outside.
        """


@runtime_checkable
class Cautioned(Protocol):
    """An integrator that is not for every purpose.

    Attributes:
        caution: what a user must know of it, for the log of each run; one line.
    """

    caution: ClassVar[str]


def cautions(integrator: Integrator) -> list[str]:
    """Lines for the log on what an integrator is not for."""
    return [integrator.caution] if isinstance(integrator, Cautioned) else []
