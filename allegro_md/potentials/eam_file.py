"""Reads embedded-atom tables in DYNAMO's formats: funcfl (one element) and setfl (``.eam.alloy``).

M. S. Daw, S. M. Foiles, M. I. Baskes, Mater. Sci. Rep. 9, 251 (1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError

FUNCFL_COULOMB = 27.2 * 0.529
"""eV·Å in r φ = 27.2 · 0.529 · Z_i(r) Z_j(r): these digits are part of the format, the tables were fitted with them."""


@dataclass(frozen=True)
class EamTables:
    """Functions on grids 0, spacing, 2·spacing, ….

    Attributes:
        path: where they were read.
        elements: chemical symbols (setfl) or the atomic number (funcfl).
        cutoff: Å.
        rho_spacing: of the densities.
        r_spacing: Å.
        embedding: (n_elements, n_rho) F(ρ), eV.
        density: (n_elements, n_r) ρ(r).
        r_phi: (n_elements, n_elements, n_r) r φ(r), eV·Å.
    """

    path: Path
    elements: tuple[str | int, ...]
    cutoff: float
    rho_spacing: float
    r_spacing: float
    embedding: NDArray[np.float64]
    density: NDArray[np.float64]
    r_phi: NDArray[np.float64]


def read_eam(path: str | Path) -> EamTables:
    """Reads either format, told apart by the line that holds the grids: the third or the fifth.

    Raises:
        InputError: the file is neither.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    setfl = len(lines) > 5 and _is_grid(lines[4]) and lines[3].split()[:1] == [str(len(lines[3].split()) - 1)]
    funcfl = not setfl and len(lines) > 3 and _is_grid(lines[2])
    if not (setfl or funcfl):
        raise InputError("neither an EAM table in setfl nor one in funcfl format", str(path), "name such a table")
    try:
        tables = _setfl(path, lines) if setfl else _funcfl(path, lines)
        _require_usable(tables)
    except ValueError as error:
        raise InputError(f"broken EAM table: {error}", str(path), "copy or correct the file") from error
    return tables


def _require_usable(tables: EamTables) -> None:
    """Raises ValueError for what float() and int() let pass."""
    numbers = {"spacing of ρ": tables.rho_spacing, "spacing of r": tables.r_spacing, "cutoff": tables.cutoff}
    for name, value in numbers.items():
        if not 0.0 < value < np.inf:
            raise ValueError(f"the {name} is {value}")
    for name in ("embedding", "density", "r_phi"):
        if not np.isfinite(getattr(tables, name)).all():
            raise ValueError(f"a value of {name} is not finite")


def _is_grid(line: str) -> bool:
    """Whether a line reads: n_rho spacing n_r spacing cutoff."""
    words = line.split()
    try:
        return len(words) >= 5 and int(words[0]) >= 5 and int(words[2]) >= 5 and float(words[4]) > 0.0
    except ValueError:
        return False


def _grid(line: str) -> tuple[int, float, int, float, float]:
    n_rho, rho_spacing, n_r, r_spacing, cutoff = line.split()[:5]
    return int(n_rho), float(rho_spacing), int(n_r), float(r_spacing), float(cutoff)


def _funcfl(path: Path, lines: list[str]) -> EamTables:
    n_rho, rho_spacing, n_r, r_spacing, cutoff = _grid(lines[2])
    values = np.array(" ".join(lines[3:]).split(), dtype=np.float64)
    if len(values) < n_rho + 2 * n_r:
        raise ValueError(f"{n_rho + 2 * n_r} values expected, {len(values)} found")
    embedding, charge, density = np.split(values[: n_rho + 2 * n_r], [n_rho, n_rho + n_r])
    r_phi = FUNCFL_COULOMB * charge**2
    number = int(lines[1].split()[0])
    return EamTables(
        path, (number,), cutoff, rho_spacing, r_spacing, embedding[None], density[None], r_phi[None, None]
    )


def _setfl(path: Path, lines: list[str]) -> EamTables:
    names = lines[3].split()[1:]
    n, (n_rho, rho_spacing, n_r, r_spacing, cutoff) = len(names), _grid(lines[4])
    words = " ".join(lines[5:]).split()
    block = 4 + n_rho + n_r  # a header of four words: number, mass, lattice constant, lattice
    n_pairs = n * (n + 1) // 2
    expected = n * block + n_pairs * n_r
    if len(words) != expected:
        raise ValueError(f"{expected} words expected, {len(words)} found (Finnis-Sinclair files are another format)")
    embedding, density = np.empty((n, n_rho)), np.empty((n, n_r))
    for a in range(n):
        embedding[a] = words[a * block + 4 : a * block + 4 + n_rho]
        density[a] = words[a * block + 4 + n_rho : (a + 1) * block]
    table = np.array(words[n * block :], dtype=np.float64).reshape(n_pairs, n_r)
    r_phi = np.empty((n, n, n_r))
    for a in range(n):
        for b in range(a + 1):
            r_phi[a, b] = r_phi[b, a] = table[a * (a + 1) // 2 + b]
    return EamTables(path, tuple(names), cutoff, rho_spacing, r_spacing, embedding, density, r_phi)
