"""Checks on environments: what a run says of an atom against what the atom's surroundings, evaluated alone, say.

The potential is taken at its word nowhere: forces and virials are compared with difference quotients of energies, of a
few centers and in float64, not of a total of 10⁸ eV.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.exact import FORCE_SCALE
from allegro_md.observables import VOIGT
from allegro_md.potentials.base import Potential
from allegro_md.verify.environment import Cluster, ClusterResult, Environment
from allegro_md.verify.result import CheckStats

STEP = 1e-4
"""Å, of difference quotients, where no two atoms are closer than 1 Å."""

QUOTIENT = 1e-5
"""Allowed error of a difference quotient, relative to the forces at play."""

SINGLE = 1e-4
"""Allowed error of single precision, relative to the forces at play (1 Å of them, for energies)."""

FOREIGN = 1e-4
"""The same of calculators whose precision is unknown."""

WEAK = 1e-2
"""eV/Å; forces weaker than this allow no less than these: rounding does not become smaller with them."""

ROUNDING = 50.0 * float(np.finfo(np.float64).eps)
"""Of an energy in float64, relative."""


PROBES = np.array([4.0, 1.0, 0.25, -4.0, -1.0, -0.25, 0.0])
"""Where else an energy is asked for that seems to disagree with its derivative, in steps."""

SCAN, SMOOTH = 128, 1e-3
"""Steps in which a neighbor is taken across the cutoff, and the allowed jump relative to the forces at play (1 Å)."""


@dataclass(frozen=True)
class Tolerance:
    """Tolerance of a potential against the float64 reference.

    Attributes:
        relative: to the forces at play (1 Å of them, for energies).
        absolute: eV/Å; allowed however weak the forces are.
        remedy: what to do where it is not.
    """

    relative: float = SINGLE
    absolute: float = 0.0
    remedy: str = ""

    def allowed(self, scale: float) -> float:
        """eV/Å, where forces are of that size (eV/Å)."""
        return max(self.relative * scale, self.absolute)


@dataclass(frozen=True)
class RunValues:
    """One atom in an evaluation: energy (eV) or None, force (3,) in fixed-point units, virial (6,) eV or None."""

    energy: float | None
    force: NDArray[np.int64]
    virial: NDArray[np.float64] | None


class LocalChecks:
    """The checks that look at one atom after another, on one rank.

    Attributes:
        all_stats: of the checks, in order; every rank has the same.
    """

    def __init__(
        self, potential: Potential, reference: Potential, seconds: float, thorough: bool,
        closeness: Tolerance = Tolerance(),
    ) -> None:  # fmt: skip
        """Prepares the checks.

        Args:
            potential: of the run.
            reference: the same in float64; may be the same object.
            seconds: after which no further atom is begun.
            thorough: forces along three axes instead of one; and neighbors are taken across the cutoff.
            closeness: to the reference.
        """
        self._potential, self._reference, self._closeness = potential, reference, closeness
        self._thorough, self._info = thorough, potential.info
        self._deadline = time.perf_counter() + seconds
        self._reach = potential.info.reach
        self.alone = CheckStats("environment", "energy, force and virial of atoms against their surroundings alone")
        self.locality = CheckStats("locality", "energy and virial of atoms against the atoms within their reach alone")
        meaning = "energy, force and virial of atoms against the float64 reference"
        self.precision = CheckStats("reference", meaning, closeness.remedy)
        self.force = CheckStats("force", "force against -dE/dx by central differences, in float64")
        self.virial = CheckStats("virial", "virial of atoms against -dE/dstrain, six components, in float64")
        precision = [] if potential is reference else [self.precision]
        self.cutoff = CheckStats("cutoff", "the energy of atoms while a neighbor is taken beyond the cutoff")
        self.all_stats = [self.alone, self.locality, *precision, self.force, self.virial]
        self.all_stats += [self.cutoff] if thorough else []

    def __call__(self, environment: Environment, seen: RunValues) -> None:
        """Makes the checks on one atom, or notes that time is up."""
        if time.perf_counter() > self._deadline:
            for stats in self.all_stats:
                stats.leave_out("no time")
            return
        cluster = Cluster(environment, self._reach, self._info)
        mine = cluster.evaluate(self._potential)
        allowed = 0.0 if self._info.bit_exact else FOREIGN * _scale(mine)
        self._compare(self.alone, cluster, mine, seen, allowed)
        self._within_reach(cluster, mine, allowed)
        if self._info.precision == "unknown":
            for stats in (self.precision, self.force, self.virial, self.cutoff):
                stats.leave_out("a calculator of unknown precision")
            return
        if not self._info.conservative:
            for stats in (self.force, self.virial, self.cutoff):
                stats.leave_out("the forces are not derived from an energy")
            return
        began = time.perf_counter()
        truth = cluster.evaluate(self._reference)
        now = time.perf_counter()
        scale = _scale(truth)
        if now + 5.0 * (now - began) > self._deadline:
            for stats in (self.force, self.virial, self.cutoff):
                stats.leave_out("no time")
        else:
            scale = self._derivatives(cluster, truth)
            if self._thorough:
                self._across_the_cutoff(cluster, scale)
        if self._potential is not self._reference:  # of every atom begun: the engine must not start unseen
            self._compare(self.precision, cluster, truth, seen, self._closeness.allowed(scale))

    def _compare(
        self, stats: CheckStats, cluster: Cluster, truth: ClusterResult, seen: RunValues, allowed: float
    ) -> None:
        """Compares the run's values with an evaluation of the cluster alone; `allowed` in eV/Å."""
        atom = cluster.environment.atom
        if seen.energy is not None and truth.energy is not None:
            rounding = 2e-15 * abs(seen.energy) if allowed else 0.0  # a shift of 10⁴ eV has few digits left
            stats.add("the energy", seen.energy - truth.energy[0], allowed + rounding, "eV", atom)
        stats.add("the force", (seen.force - truth.force[0]) / FORCE_SCALE, allowed, "eV/Å", atom)
        if seen.virial is not None and truth.virial is not None:
            stats.add("the virial", seen.virial - truth.virial[0], allowed * self._info.cutoff, "eV", atom)

    def _within_reach(self, cluster: Cluster, mine: ClusterResult, allowed: float) -> None:
        """The atom with nothing but what lies within its reach."""
        near = Cluster(cluster.environment.within(self._reach), 0.0, self._info)
        only = near.evaluate(self._potential)
        atom = cluster.environment.atom
        if only.energy is None or mine.energy is None:
            self.locality.add("the force", (only.force[0] - mine.force[0]) / FORCE_SCALE, allowed, "eV/Å", atom)
            return
        self.locality.add("the energy", only.energy - mine.energy[:1], allowed, "eV", atom)
        if only.virial is not None and mine.virial is not None:
            difference = only.virial[0] - mine.virial[0]
            self.locality.add("the virial", difference, allowed * self._info.cutoff, "eV", atom)

    def _derivatives(self, cluster: Cluster, truth: ClusterResult) -> float:
        """Force and virial of the atom in the middle against difference quotients; returns the scale of forces."""
        atom = cluster.environment.atom
        step = STEP * min(1.0, max(1e-2, self._nearest(cluster)))
        axes = np.eye(3) if self._thorough else _direction(atom)
        scale = _scale(truth)
        noise = ROUNDING * (1.0 + float(np.linalg.norm(truth.energies))) / step
        for axis in axes:
            moves = _at_first(len(cluster.place)) * axis
            pushed = self._moved(cluster, moves, np.array([step, -step]), cluster.n_centers)
            stiffness = np.abs(pushed[0].force[0] - pushed[1].force[0]).max() / FORCE_SCALE / (2.0 * step)
            scale = max(scale, 0.1 * float(stiffness))
            expected = -float(truth.force[0] @ axis) / FORCE_SCALE
            self._quotient(self.force, cluster, "the force", moves, cluster.n_centers, pushed, expected, step,
                           QUOTIENT * scale + noise, "eV/Å")  # fmt: skip
        if truth.virial is None:
            self.virial.leave_out("the potential has none")
        else:
            self._strains(cluster, truth.virial[0], step / self._info.cutoff, scale)
        return scale

    def _strains(self, cluster: Cluster, virial: NDArray[np.float64], strain: float, scale: float) -> None:
        """Checks the virial of the atom in the middle, `virial` (6,) eV, by component; `scale` of the forces, eV/Å."""
        near = Cluster(cluster.environment.within(self._reach), 0.0, self._info)
        moves = np.zeros((6, *near.place.shape))
        for k, (a, b) in enumerate(VOIGT):
            moves[k, :, a] += 0.5 * near.place[:, b]
            moves[k, :, b] += 0.5 * near.place[:, a]
        both = near.elsewhere(self._reference, near.place + strain * np.concatenate([moves, -moves]), 1)
        for k, name in enumerate(("xx", "yy", "zz", "yz", "xz", "xy")):
            noise = ROUNDING * (1.0 + abs(float(both[k].energies[0]))) / strain
            allowed = QUOTIENT * scale * self._info.cutoff + noise
            self._quotient(self.virial, near, f"component {name}", moves[k], 1, [both[k], both[k + 6]],
                           -float(virial[k]), strain, allowed, "eV")  # fmt: skip

    def _across_the_cutoff(self, cluster: Cluster, scale: float) -> None:
        """Takes the nearest neighbor outward: no step of the way may change the energy out of line with the others."""
        distance = np.linalg.norm(cluster.place, axis=1)
        cutoff = self._info.cutoff
        if not self._info.continuous or len(distance) < 2 or distance[1:].min() >= cutoff:
            self.cutoff.leave_out("no neighbor" if self._info.continuous else "truncated, as the input asks")
            return
        near = Cluster(cluster.environment.within(self._reach), 0.0, self._info)
        distance = np.linalg.norm(near.place, axis=1)
        taken = 1 + int(np.argmin(distance[1:]))
        radii = np.linspace(max(distance[taken], 0.5 * cutoff), 1.02 * cutoff, SCAN)
        places = np.repeat(near.place[None], SCAN, axis=0)
        places[:, taken] *= radii[:, None] / distance[taken]
        energy = np.array([alone.energies[0] for alone in near.elsewhere(self._reference, places, 1)])
        change = np.abs(np.diff(energy))
        in_line = 3.0 * np.maximum(change[:-2], change[2:])
        excess = np.maximum(change[1:-1] - in_line, 0.0)
        where = radii[1 + int(np.argmax(excess))]
        self.cutoff.add(f"the jump at {where:.2f} Å", excess, SMOOTH * scale, "eV", cluster.environment.atom)

    def _moved(
        self, cluster: Cluster, moves: NDArray[np.float64], times: NDArray[np.float64], n_centers: int
    ) -> list[ClusterResult]:
        """The cluster with `moves` (n, 3) Å made to different extents, `times` (k,)."""
        return cluster.elsewhere(self._reference, cluster.place + times[:, None, None] * moves, n_centers)

    def _quotient(
        self, stats: CheckStats, cluster: Cluster, what: str, moves: NDArray[np.float64], n_centers: int,
        pair: list[ClusterResult], expected: float, step: float, allowed: float, unit: str,
    ) -> None:  # fmt: skip
        """Adds the error of dE/dt of `moves` (n, 3) against `expected`; `pair`: evaluated at t = step and −step."""
        atom = cluster.environment.atom
        first = abs(float((pair[0].energies - pair[1].energies).sum()) / (2.0 * step) - expected)
        miss: float | None = first
        if not first <= allowed:
            terms = np.stack([a.energies for a in self._moved(cluster, moves, step * PROBES, n_centers)])
            miss = persisting(terms, expected, step, allowed)
        if miss is None:
            stats.leave_out("the energy is not smooth, as at the cutoff of a truncated potential")
        else:
            stats.add(what, miss, allowed, unit, atom)

    @staticmethod
    def _nearest(cluster: Cluster) -> float:
        """Distance of the nearest neighbor, Å; 1 for an atom alone."""
        return float(np.linalg.norm(cluster.place[1:], axis=1).min(initial=1.0))


def persisting(terms: NDArray[np.float64], expected: float, step: float, allowed: float) -> float | None:
    """Error of dE/dt at t = 0 against `expected`, if the quotient of one step was too far off; None if E is not smooth.

    Tells a wrong derivative (the quotients of all steps agree, and the one-sided ones approach each other) from a jump
    or a kink of the energy, as a truncated potential has at its cutoff.

    Args:
        terms: (7, k) of E at t = step · `PROBES`; differences are taken term by term.
        expected: the derivative.
        step: of t.
        allowed: a difference that is none.
    """
    steps = step * PROBES[:3]
    up, down, here = terms[:3], terms[3:6], terms[6]
    quotients = (up - down).sum(axis=1) / (2.0 * steps)
    kinks = np.abs((up - 2.0 * here + down).sum(axis=1)) / steps
    miss = abs(float(quotients[-1]) - expected)
    converged = np.ptp(quotients) < 0.1 * miss
    smooth = kinks[2] <= 0.5 * kinks[1] + 0.1 * miss
    return miss if miss <= allowed or not np.isfinite(miss) or (converged and smooth) else None


def _scale(alone: ClusterResult) -> float:
    """Largest force component on any atom of a cluster, eV/Å: on its rim they do not cancel."""
    return max(WEAK, float(np.abs(alone.force).max()) / FORCE_SCALE)


def _at_first(n: int) -> NDArray[np.float64]:
    """(n, 1) one for the atom in the middle, zero for the others."""
    return np.eye(n, 1)


def _direction(atom: int) -> NDArray[np.float64]:
    """(1, 3) a unit vector with no small component, by id."""
    angle = 1.0 + 0.6180339887498949 * atom % 1.0 * 0.3
    axis = np.array([[np.cos(angle), np.sin(angle), 0.7]])
    return np.asarray(axis / np.linalg.norm(axis), dtype=np.float64)
