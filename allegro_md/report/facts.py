"""The table of what ran: system, potential, ensemble, length, place and speed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from allegro_md.report.numbers import duration, integer, number
from allegro_md.report.record import Dynamics, Record, System
from allegro_md.report.series import Series
from allegro_md.timers import duration as clock
from allegro_md.units import AMU_PER_A3_IN_G_PER_CM3

SETTINGS = {
    "temperature": ("temperature", "K"), "thermostat_time": ("thermostat time", "fs"),
    "pressure": ("pressure", "GPa"), "barostat_time": ("barostat time", "fs"),
}
"""Keys of ensembles that are shown → name and unit; the resolved input has all of them."""


def facts(record: Record, series: Series | None, last_step: int) -> list[tuple[str, str]]:
    """Rows of the first table: names and texts.

    Args:
        record: of the run.
        series: its rows of ``thermo.csv``.
        last_step: the last one of which something is known.
    """
    rows = [
        *_system(record, " at the end" if series is not None and series.changes("volume_A3") else ""),
        *_potentials(record),
        *_lengths(record, last_step),
        ("began", record.began.replace("T", " ")),
        *_speed(record, series, last_step),
        ("on", _places(record)),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items() if version)),
    ]
    if not record.bit_exact:
        rows.append(("bit-identical", "no: this potential is outside the promise of bit-identical results"))
    return rows + [("changed on resume", change) for change in record.changed_on_resume]


def lengths_and_angles(system: System) -> str:
    """The cell in words: lengths of the vectors in Å, and angles in degrees where not all are right."""
    rows = np.array(system.cell)
    lengths = np.linalg.norm(rows, axis=1)
    axes = [f"{name} {length:.4f}" for name, length in zip("abc", lengths, strict=True) if length > 0.0]
    if not axes:
        return "none: no boundaries"
    text = ", ".join(axes) + " Å"
    if (lengths > 0.0).all():
        unit = rows / lengths[:, None]
        cosines = [float(unit[i] @ unit[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
        angles = [float(np.degrees(np.arccos(np.clip(c, -1.0, 1.0)))) for c in cosines]
        right = all(abs(angle - 90.0) < 5e-3 for angle in angles)
        named = ", ".join(f"{name} {angle:.2f}°" for name, angle in zip("αβγ", angles, strict=True))
        text += "; right angles" if right else f"; {named}"
    periodic = [axis for axis, flag in zip("abc", system.periodic, strict=True) if flag]
    return text + ("" if len(periodic) == 3 else f"; periodic along {', '.join(periodic) or 'no axis'}")


def density(system: System) -> float:
    """Density, g/cm³; 0 where the cell has no volume."""
    volume = abs(float(np.linalg.det(np.array(system.cell))))
    return system.mass_amu / volume * AMU_PER_A3_IN_G_PER_CM3 if volume > 0.0 else 0.0


def _system(record: Record, when: str) -> Iterator[tuple[str, str]]:
    """Atoms, cell and density; `when` is added to the names of the last two where they change."""
    if record.system is None:
        yield "atoms", integer(record.n_atoms)
        return
    elements = record.system.elements
    composition = ", ".join(f"{integer(count)} {symbol}" for symbol, count in elements.items())
    yield "atoms", composition if len(elements) == 1 else f"{integer(record.system.atoms)}: {composition}"
    yield f"cell{when}", lengths_and_angles(record.system)
    if density(record.system):
        yield f"density{when}", f"{number(density(record.system), 4)} g/cm³"


def _potentials(record: Record) -> Iterator[tuple[str, str]]:
    digests = iter(record.model_digests)
    for term in record.input.potential:
        files = term.get("committee") or [term[key] for key in ("model", "file") if term.get(key)]
        kind = term.get("kind", "allegro" if files else "potential")
        rest = {key: value for key, value in term.items() if key not in ("kind", "model", "committee", "file")}
        plain = {key: value for key, value in rest.items() if isinstance(value, str | int | float) and value != "auto"}
        settings = ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in plain.items())
        yield "potential", f"{kind}: {settings}" if settings else kind
        for file in files:
            yield "model file", f"{Path(file).name}, {next(digests, 'digest not recorded')}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _lengths(record: Record, last_step: int) -> Iterator[tuple[str, str]]:
    """The ensemble and its length, or those of each stage that has begun."""
    if not record.stages:
        dynamics = record.dynamics
        made = f"{integer(last_step)} of {integer(dynamics.steps)} steps of {dynamics.timestep:g} fs"
        yield "ensemble", _ensemble(dynamics)
        yield "length", f"{duration(last_step * dynamics.timestep)}: {made}"
        return
    for stage, (_, dynamics) in zip(record.stages, record.parts, strict=True):
        ended = f", ended by: {stage.ended_by}" if stage.ended_by and stage.ended_by != "steps" else ""
        made = f"steps {integer(stage.first_step)} to {integer(stage.last_step)}"
        length = f", {duration(stage.end_fs - stage.begin_fs)}" if dynamics.timestep else ""
        yield f"stage {stage.name}", f"{_ensemble(dynamics)}; {made}{length}{ended}"


def _ensemble(dynamics: Dynamics) -> str:
    keys = {"temperature": dynamics.temperature} | dynamics.settings()
    parts = [dynamics.ensemble]
    for key, (name, unit) in SETTINGS.items():
        value = keys.get(key)
        if isinstance(value, list | tuple) and len(value) == 2:  # a ramp
            parts.append(f"{name} from {_plain(value[0])} to {_plain(value[1])} {unit}")
        elif value is not None:
            parts.append(f"{name} {_plain(value)} {unit}")
    return ", ".join(parts)


def _speed(record: Record, series: Series | None, last_step: int) -> Iterator[tuple[str, str]]:
    """The time it took, and the speed between the first and the last row, or of all steps where there are no rows."""
    yield "wall time", f"{clock(record.wall_s)} (h:mm:ss)"
    speed = None if series is None else series.speed()
    if speed is None and last_step > 0 and record.wall_s > 0.0:
        simulated = record.stages[-1].end_fs if record.stages else record.step * record.dynamics.timestep
        per_step = 1e6 * record.wall_s / max(1, record.step) / record.n_atoms
        speed = simulated * 1e-6 / record.wall_s * 86400.0, per_step
    if speed is not None:
        yield "speed", f"{number(speed[0], 3)} ns/day; {number(speed[1], 3)} µs per atom and step"


def _places(record: Record) -> str:
    """Ranks, hosts, cores and devices."""
    hosts = list(dict.fromkeys(rank.host for rank in record.ranks))
    cores = len({(rank.host, core) for rank in record.ranks for core in rank.cores})
    devices = ", ".join(dict.fromkeys(rank.device for rank in record.ranks))
    named = ", ".join(hosts[:4]) + (f" and {len(hosts) - 4} more" if len(hosts) > 4 else "")
    grid = "" if record.rank_grid is None or len(record.ranks) == 1 else f" ({' × '.join(map(str, record.rank_grid))})"
    ranks = f"{len(record.ranks)} rank{'s'[: len(record.ranks) > 1]}{grid}"
    return f"{ranks} on {named}; {cores} core{'s'[: cores > 1]}; {devices}"
