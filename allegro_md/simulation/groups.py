"""Groups of a running simulation: who belongs to them, who is held, and what acts on them from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
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
    """What the groups mean for the motion.

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
    """What the groups mean as far as it is known before any atom is made: each may have all atoms, and none is held."""
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
            ids, species, position = (state.local(name)[rows].cpu().numpy() for name in ("id", "species", "position"))
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
            state.local(GROUP.name)[rows] |= torch.from_numpy(bits).to(state.device)
    for k, (group, count) in enumerate(zip(groups, comm.sum(counts).tolist(), strict=True)):
        if count == 0:
            raise InputError(
                f"group '{group.name}' has no atom", f"group.{k}",
                "choose others: region and expression look at the start positions, wrapped into the cell",
            )


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
    bits = state.local(GROUP.name)
    state.held = held_bits(groups, dynamics) | (FIXED_IN_FILE if _count(state, [FIXED_IN_FILE], comm) else 0)
    state.local("velocity")[(bits & state.held) != 0] = 0.0
    for each in _applied(dynamics):
        if each.velocity is not None:
            rows = (bits & bits_of([each.group], groups)) != 0
            state.local("velocity")[rows] = torch.tensor(each.velocity, dtype=torch.float64, device=state.device)
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

    Raises:
        InputError: an atom would have to obey two of the groups.
    """
    if GROUP.name not in state.fields:
        return NO_GROUPS
    hold(state, groups, dynamics, comm)
    moved = [each for each in _applied(dynamics) if each.velocity is not None]
    still = bits_of(dynamics.frozen, groups) | FIXED_IN_FILE
    seen = [("the frozen ones", still)]
    for each in moved:
        bit = bits_of([each.group], groups)
        _refuse_overlap(state, each.group, bit, seen, "dynamics.apply", comm)
        seen.append((f"group '{each.group}'", bit))
    n_held = _count(state, [state.held], comm) if state.held else 0
    if n_held == state.n_total and not moved:
        raise InputError("all atoms are frozen, and nothing would move", "dynamics.frozen", "freeze fewer atoms")
    forces.applied, remarks = _outside(state, groups, dynamics, comm)
    driven = bool(remarks)
    if n_held:
        still_count, moving = _count(state, [still], comm), ", ".join(f"'{each.group}'" for each in moved)
        parts = [f"{still_count} atoms are frozen"] * (still_count > 0)
        parts += [f"{n_held - still_count} atoms move with a prescribed velocity ({moving})"] * bool(moved)
        remarks = [
            f"{' and '.join(parts)}: total momentum is not conserved, and 3 degrees of freedom are counted for "
            f"each of the other {state.n_total - n_held} atoms", *remarks,
        ]
    return Grouping(n_held, driven, _thermostatted(state, groups, dynamics, comm), tuple(remarks))


def _refuse_overlap(
    state: AtomState, name: str, bit: int, others: Sequence[tuple[str, int]], where: str, comm: Comm
) -> None:
    """Refuses a group with atoms of others, given as words and bits (collective).

    Raises:
        InputError: names the other group, and how many atoms are in both.
    """
    for words, other in others:
        both = _count(state, [bit, other], comm)
        if both:
            what = f"group '{name}' and {words} have {both} atoms in common"
            raise InputError(what, where, "an atom can obey one of them only: choose groups without common atoms")


def _thermostatted(
    state: AtomState, groups: Sequence[GroupConfig], dynamics: DynamicsConfig, comm: Comm
) -> dict[str, GroupSize]:
    """The groups that have a thermostat, by name."""
    found: dict[str, GroupSize] = {}
    seen: list[tuple[str, int]] = []
    for name in _names(dynamics):
        bit = bits_of([name], groups)
        _refuse_overlap(state, name, bit, seen, "dynamics.thermostats", comm)
        n_free = _count(state, [bit], comm) - (_count(state, [bit, state.held], comm) if state.held else 0)
        if n_free == 0:
            what = f"all atoms of group '{name}' are held, and have no temperature"
            raise InputError(what, "dynamics.thermostats", "remove its thermostat, or hold fewer atoms")
        found[name] = GroupSize(bit, n_free)
        seen.append((f"group '{name}'", bit))
    return found


def _outside(
    state: AtomState, groups: Sequence[GroupConfig], dynamics: DynamicsConfig, comm: Comm
) -> tuple[AppliedForces | None, list[str]]:
    """The forces that act from outside, and what their sum means, for the log."""
    found = [
        AppliedForce.of(bits_of([each.group], groups), each.force, each.acceleration, state.species_table.masses)
        for each in _applied(dynamics)
        if each.velocity is None
    ]
    if not found:
        return None, []
    forces = AppliedForces(tuple(found))
    net = forces.net(state, comm)
    if not net.any():
        return forces, []
    return forces, [
        f"the applied forces add up to ({', '.join(f'{component:.6g}' for component in net)}) eV/Å: "
        "the center of mass accelerates, unless something holds the system"
    ]


def _names(dynamics: DynamicsConfig) -> list[str]:
    """Names of the groups that have a thermostat of their own."""
    return [each.group for each in dynamics.of_groups] if isinstance(dynamics, TemperatureConfig) else []


def _applied(dynamics: DynamicsConfig) -> tuple[ApplyConfig, ...]:
    return dynamics.apply if isinstance(dynamics, MotionConfig) else ()


def _count(state: AtomState, all_of: Sequence[int], comm: Comm) -> int:
    """Atoms of the system with a bit of each of some masks (collective)."""
    bits: NDArray[np.int64] = state.local(GROUP.name).cpu().numpy()
    member = np.ones(len(bits), np.bool_)
    for mask in all_of:
        member &= (bits & mask) != 0
    return int(comm.sum(np.array([np.count_nonzero(member)], dtype=np.int64))[0])

