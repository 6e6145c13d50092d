"""Summary of a structure for the user: elements, cell, velocities, and what was left out or assumed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from allegro_md.io.structure.builder import SystemBuilder
from allegro_md.units import AMU_A2_PER_FS2, AMU_PER_A3_IN_G_PER_CM3, BOLTZMANN


def rows(builder: SystemBuilder) -> dict[str, str]:
    """The lines of ``allegro-md check`` about the structure, by name."""
    cell, contents = builder.cell, builder.contents
    lengths = np.linalg.norm(cell.matrix, axis=1)
    found = {"structure": _source(builder), "elements": _elements(builder)}
    if builder.file is not None and contents.rows.any():
        angles = [_angle(cell.matrix[(k + 1) % 3], cell.matrix[(k + 2) % 3]) for k in range(3)]
        given = [bool(row.any()) for row in contents.rows]
        sizes = ", ".join(f"{length:.6g}" if there else "none" for length, there in zip(lengths, given, strict=True))
        found["cell"] = f"a, b, c = {sizes} Å" + (
            f"; alpha, beta, gamma = {', '.join(f'{a:.6g}' for a in angles)}°" if all(given) else ""
        )
    elif builder.file is None:
        found["cell"] = f"a, b, c = {', '.join(f'{length:.6g}' for length in lengths)} Å"
    else:
        found["cell"] = "none"
    found["periodic axes"] = _axes(cell.periodic)
    if cell.bounded:
        found["volume"] = f"{cell.volume:.8g} Å³"
    if all(cell.periodic):
        found["density"] = _density(builder)
    found["velocities of the structure"] = _velocities(builder)
    for index, remark in enumerate(contents.remarks, 1):
        found[f"note {index}"] = remark
    return found


def log_lines(builder: SystemBuilder) -> list[str]:
    """The lines of a run's log about the structure: one, and one for each thing left out or assumed."""
    line = f"structure: {_elements(builder)}; periodic axes: {_axes(builder.cell.periodic)}"
    if builder.cell.bounded:
        line += f"; volume {builder.cell.volume:.8g} Å³"
    if all(builder.cell.periodic):
        line += f"; density {_density(builder)}"
    if builder.has_velocities:
        line += f"; velocities of the file: {_velocities(builder)}"
    return [line, *(f"note: {remark}" for remark in builder.contents.remarks)]


def _source(builder: SystemBuilder) -> str:
    if builder.file is None:
        return "a crystal"
    contents = builder.contents
    many = "" if contents.n_frames is None else f" of {contents.n_frames}"
    which = "" if contents.n_frames == 1 else f", frame {contents.frame}{many}"
    return f"{builder.file.name}, read as {contents.format}{which}"


def _elements(builder: SystemBuilder) -> str:
    """Symbol, number of atoms and mass of each species."""
    contents, table = builder.contents, builder.species_table
    copies = builder.n_total // builder.n_base
    parts = []
    for symbol, number, mass in zip(table.symbols, table.numbers.tolist(), table.masses.tolist(), strict=True):
        count = int(np.sum((contents.numbers == number) & (contents.masses == mass))) * copies
        parts.append(f"{count} {symbol} ({mass:g} amu)")
    return ", ".join(parts)


def _density(builder: SystemBuilder) -> str:
    """Of a system that is periodic along all axes."""
    mass = float(builder.contents.masses.sum()) * builder.n_total / builder.n_base
    return f"{mass / builder.cell.volume * AMU_PER_A3_IN_G_PER_CM3:.5g} g/cm³"


def _axes(periodic: tuple[bool, bool, bool]) -> str:
    return ", ".join(name for name, flag in zip("abc", periodic, strict=True) if flag) or "none"


def _angle(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Degrees between two vectors, `first` (3,) and `second` (3,)."""
    cosine = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _velocities(builder: SystemBuilder) -> str:
    """Temperature about the motion of the center of mass (3N − 3 degrees of freedom), and that motion."""
    contents, n_atoms = builder.contents, builder.n_total
    if contents.velocity is None:
        return "none"
    masses = contents.masses[:, None]
    drift = (masses * contents.velocity).sum(axis=0) / masses.sum()
    copies = n_atoms / builder.n_base
    twice_kinetic = float((masses * (contents.velocity - drift) ** 2).sum()) * AMU_A2_PER_FS2 * copies
    temperature = twice_kinetic / (BOLTZMANN * max(1, 3 * n_atoms - 3))
    thermal = math.sqrt(float((masses * contents.velocity**2).sum() / masses.sum()))
    text = f"{temperature:.6g} K"
    if np.linalg.norm(drift) <= 1e-6 * thermal:
        return f"{text}, no net momentum"
    momentum = drift * float(masses.sum()) * copies
    return (
        f"{text} about the center of mass, which moves at {', '.join(f'{x:.4g}' for x in drift)} Å/fs "
        f"(net momentum {', '.join(f'{x:.4g}' for x in momentum)} amu Å/fs)"
    )
