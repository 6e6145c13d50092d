"""Lines at the head of a run's log: the system, the potential, the ensembles with their targets, and the place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from allegro_md.config import Input
from allegro_md.config.dynamics import DynamicsConfig
from allegro_md.launcher import unused_ranks
from allegro_md.potentials import descriptions
from allegro_md.simulation import host_info
from allegro_md.simulation.loop import StepLoop
from allegro_md.units import DIMENSIONS

LARGE_PRESSURE = 100.0
"""GPa; beyond, a slip of the unit is likely."""


def opening_lines(
    config: Input, loop: StepLoop, structure: Sequence[str], places: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Lines about what runs, and where.

    Args:
        config: the input.
        loop: the simulation at its start.
        structure: lines about what was read of the structure.
        places: see `host_info`.
    """
    info, table = loop.forces.potential.info, loop.state.species_table
    ranks = "1 rank" if loop.comm.size == 1 else f"{loop.comm.size} ranks"
    ensembles = ", ".join(dict.fromkeys(stage.dynamics.ensemble for stage in config.stages))
    targets = "" if config.stage else targets_of(config.dynamics)
    yield (
        f"{loop.state.n_total} atoms of {', '.join(dict.fromkeys(table.symbols))}, {info.name} potential, "
        f"cutoff {info.cutoff:g} Å, {ensembles}{targets}, {ranks}"
    )
    yield from structure
    for model, description in descriptions(loop.forces.potential).items():
        yield f"{model}: {description}"
    yield from host_info.lines(places)
    yield from (f"warning: {warning}" for warning in host_info.warnings(places))
    if unused := unused_ranks():
        yield f"note: {unused}"
    for stage in config.stages:
        where = f"stage {stage.name}: " if stage.name else ""
        yield from (f"note: {where}{doubt}" for doubt in _doubts(stage.dynamics))


def targets_of(dynamics: DynamicsConfig) -> str:
    """Temperature and pressure that an ensemble aims at, with their units; empty where it has none."""
    temperature, pressure = getattr(dynamics, "temperature", None), getattr(dynamics, "pressure", None)
    found = [] if temperature is None else [f"{_range(temperature)} K"]
    if pressure is not None and dynamics.changes_cell:
        found.append("a pressure tensor" if _is_tensor(pressure) else f"{_range(pressure)} GPa ({_bar(pressure)} bar)")
    return f" at {' and '.join(found)}" if found else ""


def _range(target: Any) -> str:
    return " to ".join(f"{value:g}" for value in target) if isinstance(target, tuple) else f"{target:g}"


def _is_tensor(pressure: Any) -> bool:
    return isinstance(pressure, tuple) and (len(pressure) == 6 or isinstance(pressure[0], tuple))


def _bar(pressure: Any) -> str:
    factor = 1.0 / DIMENSIONS["pressure"]["bar"]
    return _range(tuple(factor * p for p in pressure) if isinstance(pressure, tuple) else factor * pressure)


def _doubts(dynamics: DynamicsConfig) -> list[str]:
    """Notes about a target that is probably not meant."""
    pressure = getattr(dynamics, "pressure", None)
    if pressure is None or _is_tensor(pressure):
        return []
    largest = max(map(abs, pressure)) if isinstance(pressure, tuple) else abs(pressure)
    if largest <= LARGE_PRESSURE:
        return []
    return [f'the pressure is {largest:g} GPa; if bar is meant, write "{largest:g} bar": a number is in GPa']
