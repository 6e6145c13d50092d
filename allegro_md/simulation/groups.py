"""Groups of a running simulation: who belongs to them, who is held, and which external forces act on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.config.dynamics import DynamicsConfig, MotionConfig, TemperatureConfig
from allegro_md.config.expression import Expression
from allegro_md.config.groups import ApplyConfig, GroupConfig
from allegro_md.errors import InputError
from allegro_md.integrators.base import GroupSize
from allegro_md.io.wrapping import fractions, wrap
from allegro_md.simulation.applied import AppliedForce, AppliedForces
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import FIXED_IN_FILE, GROUP, WORK, AtomState, Field

CHUNK = 1 << 16
"""Atoms looked at in one go, so that no temporary array has the size of the system."""


@dataclass(frozen=True)
class Grouping:
    """The meaning of the groups for the motion.

    Attributes:
        n_held: atoms of the system that no integrator accelerates.
        driven: applied forces do not add up to zero.
        thermostatted: groups with a thermostat of their own, by name.
        remarks: lines for the log.
    """

    n_held: int = 0
    driven: bool = False
    thermostatted: Mapping[str, GroupSize] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


NO_GROUPS = Grouping()


def group_fields(config: Input, fixed: bool) -> tuple[Field, ...]:
    """Fields that groups add to the state; `fixed`: a structure file fixes atoms."""
    moved = any(each.velocity is not None for stage in config.stages for each in _applied(stage.dynamics))
    return (*((GROUP,) if config.group or fixed else ()), *((WORK,) if moved else ()))


def supposed_grouping(groups: Sequence[GroupConfig], dynamics: DynamicsConfig, n_atoms: int) -> Grouping:
    """The meaning of the groups before any atom is made: each may have all atoms, and none is held."""
    return Grouping(thermostatted={name: GroupSize(bits_of([name], groups), n_atoms) for name in _names(dynamics)})


def bits_of(names: Sequence[str], groups: Sequence[GroupConfig]) -> int:
    """Bits of the groups of some names in the field `GROUP`."""
    order = [group.name for group in groups]
    return sum(1 << order.index(name) for name in names)


def held_bits(groups: Sequence[GroupConfig], dynamics: DynamicsConfig) -> int:
    """Bits of the groups whose atoms are held: frozen, or of a prescribed velocity."""
    moved = {each.group for each in _applied(dynamics) if each.velocity is not None}
    return bits_of(sorted(moved | set(dynamics.frozen)), groups)


def assign_groups(state: AtomState, groups: Sequence[GroupConfig], comm: Comm) -> None:
    """Sets the bits of the groups for the present positions (collective); those of a file's fixed atoms stay.

    Args:
        state: with the field `GROUP`, where there are groups.
        groups: of the input.
        comm: all ranks.

    Raises:
        InputError: a group has no atoms, or names elements or atoms that are not there.
    """
    if not groups:
        return
    table = state.species_table
    for k, group in enumerate(groups):
        group.require_present(group.name, table.symbols, state.n_total, f"group.{k}")
    conditions = [Expression(group.expression) if group.expression else None for group in groups]
    symbols, counts = np.array(table.symbols), np.zeros(len(groups), np.int64)
    with comm.collective_errors():
        for start in range(0, state.n_local, CHUNK):
            rows = slice(start, start + CHUNK)
            ids, species, position = (state.host_local(name)[rows] for name in ("id", "species", "position"))
            wrapped, _ = wrap(position, state.cell, np.float64)
            fraction = fractions(wrapped, state.cell)
            arrays = {"id": ids.astype(np.float64), "element": symbols[species], "mass": table.masses[species]}
            arrays |= {name: wrapped[:, axis] for axis, name in enumerate(("x", "y", "z"))}
            arrays |= {name: fraction[:, axis] for axis, name in enumerate(("fx", "fy", "fz"))}
            bits = np.zeros(len(ids), np.int64)
            for k, (group, condition) in enumerate(zip(groups, conditions, strict=True)):
                member = group.members(ids, species, symbols, wrapped)
                member = member if condition is None else member & condition(arrays)
                bits |= member.astype(np.int64) << k
                counts[k] += np.count_nonzero(member)
            state.array_local(GROUP.name)[rows] |= state.device_array(bits)
    for k, (group, count) in enumerate(zip(groups, comm.sum(counts).tolist(), strict=True)):
        if count == 0:
            raise InputError(
                f"group '{group.name}' has no atom", f"group.{k}",
                "choose others: region and expression look at the start positions, wrapped into the cell",
            )


def refuse_conflicts(state: AtomState, groups: Sequence[GroupConfig], dynamics: DynamicsConfig, comm: Comm) -> None:
    """Refuses groups that exclude each other but have common atoms, and motion without atoms (collective).

    Args:
        state: with its groups.
        groups: of the input.
        dynamics: of a stage.
        comm: all ranks.

    Raises:
        InputError: an atom would have to obey two groups, or there is none that could move, or be thermostatted.
    """
    moved = [each.group for each in _applied(dynamics) if each.velocity is not None]
    still = [("the frozen ones", bits_of(dynamics.frozen, groups) | FIXED_IN_FILE)]
    _refuse_overlaps(state, still + [(f"group '{name}'", bits_of([name], groups)) for name in moved], "apply", comm)
    names = [(f"group '{name}'", bits_of([name], groups)) for name in _names(dynamics)]
    _refuse_overlaps(state, names, "thermostats", comm)
    held = held_bits(groups, dynamics) | FIXED_IN_FILE
    if _count(state, [held], comm) == state.n_total and not moved:
        raise InputError("all atoms are frozen, and nothing would move", "dynamics.frozen", "freeze fewer atoms")
    for words, bit in names:
        if _count(state, [bit], comm) == _count(state, [bit, held], comm):
            what = f"all atoms of {words} are held, and have no temperature"
            raise InputError(what, "dynamics.thermostats", "remove its thermostat, or hold fewer atoms")


def _refuse_overlaps(state: AtomState, groups: Sequence[tuple[str, int]], key: str, comm: Comm) -> None:
    """Refuses two groups, given as words and bits, with common atoms (collective).

    Raises:
        InputError: names both groups, and how many atoms they have in common.
    """
    for (first, one), (second, other) in combinations(groups, 2):
        both = _count(state, [one, other], comm)
        if both:
            what = f"{first} and {second} have {both} atoms in common"
            remedy = "an atom can obey one of them only: choose groups without common atoms"
            raise InputError(what, f"dynamics.{key}", remedy)


def hold(state: AtomState, groups: Sequence[GroupConfig], dynamics: DynamicsConfig, comm: Comm) -> None:
    """Marks the groups that are held, and gives their atoms the velocity that they keep (collective).

    Args:
        state: nothing happens where it has no field `GROUP`.
        groups: of the input.
        dynamics: of the stage that begins or goes on.
        comm: all ranks.
    """
    if GROUP.name not in state.fields:
        return
    bits, velocity = state.host_local(GROUP.name), state.array_local("velocity")
    state.held = held_bits(groups, dynamics) | (FIXED_IN_FILE if _count(state, [FIXED_IN_FILE], comm) else 0)
    velocity[(bits & state.held) != 0] = 0.0
    for each in _applied(dynamics):
        if each.velocity is not None:
            rows = (bits & bits_of([each.group], groups)) != 0
            velocity[rows] = state.device_array(np.array(each.velocity, dtype=np.float64))
            state.add_field(WORK)


def apply_groups(
    state: AtomState, forces: ForceEvaluator, groups: Sequence[GroupConfig], dynamics: DynamicsConfig, comm: Comm
) -> Grouping:
    """Holds the groups that are to be held, and lets forces act on others, from now on (collective).

    Args:
        state: with its groups, see `assign_groups`.
        forces: of the run.
        groups: of the input.
        dynamics: of the stage that begins or goes on.
        comm: all ranks.
    """
    if GROUP.name not in state.fields:
        return NO_GROUPS
    hold(state, groups, dynamics, comm)
    forces.applied, net = _external_forces(state, groups, dynamics, comm)
    remarks = []
    n_held = _count(state, [state.held], comm) if state.held else 0
    if n_held:
        n_still = _count(state, [bits_of(dynamics.frozen, groups) | FIXED_IN_FILE], comm)
        parts = [f"{n_still} atoms are frozen"] if n_still else []
        parts += [f"{n_held - n_still} atoms move with a prescribed velocity"] if n_held > n_still else []
        remarks.append(
            f"{' and '.join(parts)}: total momentum is not conserved, and 3 degrees of freedom are counted for "
            f"each of the other {state.n_total - n_held} atoms"
        )
    if net.any():
        remarks.append(
            f"the applied forces add up to ({', '.join(f'{component:.6g}' for component in net)}) eV/Å: "
            "the center of mass accelerates, unless something holds the system"
        )
    thermostatted = {}
    for name in _names(dynamics):
        bit = bits_of([name], groups)
        thermostatted[name] = GroupSize(bit, _count(state, [bit], comm) - _count(state, [bit, state.held], comm))
    return Grouping(n_held, bool(net.any()), thermostatted, tuple(remarks))


def _external_forces(
    state: AtomState, groups: Sequence[GroupConfig], dynamics: DynamicsConfig, comm: Comm
) -> tuple[AppliedForces | None, NDArray[np.float64]]:
    """The external forces, and their sum over all atoms, (3,) eV/Å."""
    found = [
        AppliedForce.of(bits_of([each.group], groups), each.force, each.acceleration, state.species_table.masses)
        for each in _applied(dynamics)
        if each.velocity is None
    ]
    if not found:
        return None, np.zeros(3)
    forces = AppliedForces(found)
    return forces, forces.net(state, comm)


def _names(dynamics: DynamicsConfig) -> list[str]:
    """Names of the groups that have a thermostat of their own."""
    return [each.group for each in dynamics.of_groups] if isinstance(dynamics, TemperatureConfig) else []


def _applied(dynamics: DynamicsConfig) -> tuple[ApplyConfig, ...]:
    return dynamics.apply if isinstance(dynamics, MotionConfig) else ()


def _count(state: AtomState, all_of: Sequence[int], comm: Comm) -> int:
    """Atoms of the system with a bit of each of some masks (collective)."""
    bits: NDArray[np.int64] = state.host_local(GROUP.name)
    member = np.ones(len(bits), np.bool_)
    for mask in all_of:
        member &= (bits & mask) != 0
    return int(comm.sum(np.array([np.count_nonzero(member)], dtype=np.int64))[0])

