"""Homogeneous deformation of cell and atoms at a constant rate: a part of integrators.

SLLOD equations of motion, with u(x) = (x − x₀) G the streaming velocity, G = ∇u (G_ij = ∂u_j/∂x_i; rows are vectors)
and v the velocity relative to it (peculiar), which is what the state holds:

    dx/dt = v + (x − x₀) G,  m dv/dt = F − m v G,  dh/dt = h G

Evans, Morriss, Phys. Rev. A 30, 1528 (1984), doi:10.1103/PhysRevA.30.1528; for flows other than shear Daivis, Todd,
J. Chem. Phys. 124, 194103 (2006), doi:10.1063/1.2192775. For v + u these are Newton's equations with an external force
m (x − x₀) G G, which gives the atoms the acceleration of the flow; it is zero for shear. Without it (p-SLLOD) the
motion would depend on where the origin is and on which image of an atom is taken, and the work on the atoms would not
be that of the stress, d(K + U) = −(Σ m v v + W):G dt (W: virial).

The part without forces is solved exactly, over a time t:

    x → x₀ + (x − x₀) exp(G t) + v ∫₀ᵗ exp(G (t − 2s)) ds,  v → v exp(−G t),  h → h exp(G t)

The work of the kinetic part is the change of K by the map of v; that of the virial follows from the trapezoidal rule
over the step. A strongly tilted cell is replaced by a less tilted one of the same lattice (`steps.reduce_cell`).

| symbol | code |
|---|---|
| G | `velocity_gradient` (1/fs) |
| exp(G t), ∫₀ᵗ exp(G (t − 2s)) ds, exp(−G t) | `Maps.deformation`, `Maps.flight`, `Maps.damping` |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import expm, logm

from allegro_md.cell import Cell
from allegro_md.config.deform import DeformConfig
from allegro_md.config.dynamics import DeformableConfig, MotionConfig
from allegro_md.errors import InputError
from allegro_md.evaluation import NOTHING_MORE, Evaluation, Needs
from allegro_md.integrators.base import Collective, EvaluateForces, Setting
from allegro_md.integrators.cell_strain import Matrix, changes, tensor_of
from allegro_md.integrators.steps import drift, drift_with_cell, kick, kick_with_cell, reduce_cell
from allegro_md.observables import kinetic_tensor
from allegro_md.state import AtomState

PLACES = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "yz": (2, 1), "xz": (2, 0), "xy": (1, 0)}
"""Component of the input → its row and column in G and in F − 1: "xy" is ∂u_x/∂y, and vectors are rows."""


@dataclass(frozen=True)
class Maps:
    """Effects of a flow in a time t.

    Attributes:
        deformation: (3, 3) exp(G t), of positions and lattice rows.
        flight: (3, 3) fs, of velocities to displacements: t where there is no flow.
        damping: (3, 3) exp(−G t), of velocities.
        gain: (3, 3) (exp(−G t) exp(−G t)ᵀ − 1)/2, contracted with Σ m v v the change of K.
        gradient: (3, 3) G, 1/fs.
    """

    deformation: Matrix
    flight: Matrix
    damping: Matrix
    gain: Matrix
    gradient: Matrix


class Flow:
    """A homogeneous flow that carries cell and atoms along, or none, which costs nothing.

    Attributes:
        needs: names of `evaluation.QUANTITIES` that are needed at the end of each step.
        moves: there is a flow.
        work: done on the atoms so far, eV.
    """

    def __init__(self, gradient: Callable[[], Matrix] | None = None, collective: Collective | None = None) -> None:
        """Prepares a flow.

        Args:
            gradient: gives G, (3, 3) 1/fs; called on rank 0 only. None: there is no flow.
            collective: for sums and for what is computed on rank 0; not needed without a flow.
        """
        self.moves = gradient is not None
        self.needs: Needs = frozenset({"virial"}) if self.moves else NOTHING_MORE
        self.work = 0.0
        self._maps: dict[float, Maps] = {}
        self._elapsed = 0.0
        self._virial = np.full((3, 3), np.nan)
        if gradient is not None:
            assert collective is not None
            self._gradient, self._collective = gradient, collective

    def verlet(
        self, state: AtomState, forces: EvaluateForces, time: float, between: Callable[[], None] | None = None
    ) -> Evaluation:
        """Makes a step of velocity Verlet in the flow, kick(t/2) drift(t) forces kick(t/2) (collective).

        Args:
            state: is moved.
            forces: at the new positions.
            time: of the step, fs.
            between: called halfway through the drift, which is made in two parts then.

        Returns:
            The evaluation at the new positions.
        """
        kick(state, 0.5 * time)
        if between is None:
            self.drift(state, time)
        else:
            self.drift(state, 0.5 * time)
            between()
            self.drift(state, 0.5 * time)
        evaluation = forces(state, self.needs)
        kick(state, 0.5 * time)
        self.finish(evaluation)
        return evaluation

    def drift(self, state: AtomState, time: float) -> None:
        """Moves the atoms by their velocities and with the flow, and the cell with it (collective).

        Args:
            state: positions, velocities and cell are changed.
            time: fs.
        """
        if not self.moves:
            drift(state, time)
            return
        if time not in self._maps:
            self._maps[time] = self._collective.on_root(lambda: maps(self._gradient(), time))
        found = self._maps[time]
        self.work += float((found.gain * tensor_of(self._collective.reduce(kinetic_tensor(state)))).sum())
        drift_with_cell(state, found.deformation, found.flight)
        kick_with_cell(state, 0.0, found.damping, np.eye(3))
        reduce_cell(state)
        self._elapsed += time

    def prepare(self, evaluation: Evaluation) -> None:
        """Takes the virial with which a step begins, also after one that has failed halfway (collective)."""
        if self.moves:
            assert evaluation.virial is not None
            self._elapsed = 0.0
            self._virial = tensor_of(self._collective.reduce(evaluation.virial))

    def finish(self, evaluation: Evaluation) -> None:
        """Adds the work of the virial at the end of a step (collective)."""
        if self.moves:
            before, elapsed = self._virial, self._elapsed
            self.prepare(evaluation)
            gradient = next(iter(self._maps.values())).gradient
            self.work -= 0.5 * elapsed * float((gradient * (before + self._virial)).sum())

    def state_dict(self) -> dict[str, float]:
        """The work so far; nothing without a flow."""
        return {"work": self.work} if self.moves else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self.work = state.get("work", 0.0)


class Deformable:
    """Part of an integrator whose cell a flow may deform: what the engine asks about the flow.

    Attributes:
        needs: names of `evaluation.QUANTITIES` that a step uses.
        changes_cell: there is a flow.
    """

    def __init__(self, flow: Flow) -> None:
        """Takes a flow, or none that moves."""
        self._flow = flow
        self.needs, self.changes_cell = flow.needs, flow.moves

    def prepare(self, state: AtomState, evaluation: Evaluation) -> None:
        """Looks at the first evaluation (collective)."""
        self._flow.prepare(evaluation)


def maps(gradient: Matrix, time: float) -> Maps:
    """Finds what a flow does in a time.

    Args:
        gradient: (3, 3) G, 1/fs.
        time: fs, in which the strain is small (`config.dynamics.MOST_STRAIN`), so that a series gives the flight.
    """
    strain = time * gradient
    square, damping = strain @ strain, expm(-strain)
    flight = time * (np.eye(3) + square @ (np.eye(3) + square @ (np.eye(3) + square / 42.0) / 20.0) / 6.0)
    gain = 0.5 * (damping @ damping.T - np.eye(3))
    return Maps(expm(strain), flight, damping, gain, gradient)


def velocity_gradient(table: DeformConfig, length: float) -> Matrix:
    """Returns G, (3, 3) 1/fs, of a ``deform`` table; a strain is reached after `length` fs."""
    if table.rate is not None:
        return _matrix(table.rate.given, lambda rate: rate / 3.0)
    assert table.strain is not None
    final = np.eye(3) + _matrix(table.strain.given, lambda change: float(np.expm1(np.log1p(change) / 3.0)))
    return np.asarray(logm(final).real / length)


def build_flow(table: MotionConfig, setting: Setting) -> Flow:
    """Builds the flow of a ``[dynamics]`` table: none without `deform`, which not every ensemble has.

    Raises:
        InputError: the flow moves the vector of a free axis, or the potential has no virial.
    """
    deform = table.deform if isinstance(table, DeformableConfig) else None
    if deform is None:
        return Flow()
    _require_periodic(deform, setting.cell)
    if "virial" not in setting.info.provides:
        what = f"the potential {setting.info.name} has no virial, so that the work of a deformation is not known"
        raise InputError(what, "dynamics.deform", "use a potential with stresses, or remove deform")
    length = max(1, table.steps) * table.timestep
    return Flow(lambda: velocity_gradient(deform, length), setting.collective)


def _require_periodic(deform: DeformConfig, cell: Cell) -> None:
    components = deform.rate or deform.strain
    assert components is not None
    pattern = _matrix({key: float(value != 0.0) for key, value in components.given.items()}, lambda value: value)
    for row, letter, periodic in zip(cell.matrix, "abc", cell.periodic, strict=True):
        if not periodic and changes(pattern, row):
            raise InputError(
                f"{', '.join(components.given)} would change the cell vector {letter}, along which the cell is not "
                "periodic",
                "dynamics.deform",
                "deform along periodic axes only",
            )


def _matrix(components: dict[str, float], along_axis: Callable[[float], float]) -> Matrix:
    """Puts components at their places in a (3, 3) matrix; `along_axis` gives the part of a volume's for each axis."""
    matrix = np.zeros((3, 3))
    for key, value in components.items():
        if key == "volume":
            matrix += along_axis(value) * np.eye(3)
        else:
            matrix[PLACES[key]] += value
    return matrix

