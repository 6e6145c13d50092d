"""Strain rates of a moving cell: which are allowed, and the motion of atoms while the cell moves at a constant rate.

A cell that moves at the symmetric strain rate G carries its atoms along, dh/dt = h G for the lattice rows h,
dx/dt = v + x G, and changes velocities, dv/dt = F/m − v A with a symmetric matrix A. With the functions
φ(y) = (e^y − 1)/y of the matrices, which share eigenvectors with G and A, the exact solutions are

    h(t) = h e^{Gt},   x(t) = x e^{Gt} + v t φ(Gt),   v(t) = v e^{−At} + (F/m) t φ(−At).

Eigenvalues come from LAPACK and the exponentials from libm: compute them within `Collective.on_root`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.config.fields import quoted
from allegro_md.config.pressure import COMPONENTS, CellConfig
from allegro_md.errors import InputError
from allegro_md.integrators.base import Setting
from allegro_md.observables import VOIGT

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Strains:
    """The strains of a cell that may change: an orthonormal basis of symmetric matrices.

    Attributes:
        basis: (3, 3) symmetric matrices B with Σ_ab B_ab B'_ab = δ.
    """

    basis: tuple[Matrix, ...]

    @staticmethod
    def of(cell: str, couple: str, moving: tuple[str, ...]) -> Strains:
        """The strains that the keys of an input name; see `CellConfig`."""
        if cell == "isotropic":
            return Strains((np.eye(3) / math.sqrt(3.0),))
        pair = [2 * axis for axis in couple] if couple != "none" else []
        together = [sum((_unit(name) for name in pair), np.zeros((3, 3))) / math.sqrt(2.0)]
        basis = together if pair and pair[0] in moving else []
        return Strains((*basis, *(_unit(name) for name in moving if name not in pair)))

    @property
    def count(self) -> int:
        """Number of independent strains."""
        return len(self.basis)

    @property
    def axes(self) -> int:
        """Number of axes whose length changes: the square of the trace of the strain that changes the volume most."""
        return round(sum(float(np.trace(b)) ** 2 for b in self.basis))

    @property
    def traceless(self) -> tuple[Matrix, ...]:
        """An orthonormal basis of the strains at constant volume, (3, 3) each, in closed form (Helmert's)."""
        traces = [float(np.trace(b)) for b in self.basis]
        out = []
        for k in range(1, self.count):
            parts = [traces[i] * traces[k] for i in range(k)] + [-sum(t * t for t in traces[:k])]
            matrix = sum((c * b for c, b in zip(parts, self.basis, strict=False)), np.zeros((3, 3)))
            out.append(matrix / math.sqrt(float((matrix * matrix).sum())))
        return tuple(out)

    def project(self, tensor: Matrix) -> Matrix:
        """The part of a symmetric tensor (3, 3) that acts on these strains."""
        out = np.zeros((3, 3))
        for b in self.basis:
            out += float((b * tensor).sum()) * b
        return out

    def require_fit(self, setting: Setting, ensemble: str) -> None:
        """Refuses a system without a pressure along these strains.

        Args:
            setting: of the integrator.
            ensemble: its name, for the message.

        Raises:
            InputError: the potential has no virial, the cell no volume, or a strain would change a free axis.
        """
        where = "dynamics.ensemble"
        if "virial" not in setting.info.provides:
            what = f"{ensemble} needs a pressure, and the potential {setting.info.name} gives no virial"
            raise InputError(what, where, "use an nvt ensemble, or another potential")
        if not setting.cell.bounded:
            raise InputError(f"{ensemble} needs a volume, and the cell has none", where, "give all three cell vectors")
        self._require_periodic(setting.cell, ensemble)

    def _require_periodic(self, cell: Cell, ensemble: str) -> None:
        for row, letter, periodic in zip(cell.matrix, "abc", cell.periodic, strict=True):
            if not periodic and any(changes(b, row) for b in self.basis):
                held = [name for name in COMPONENTS if changes(_unit(name), row)]
                axes = [name for name in held if name[0] == name[1]]
                what = f"{ensemble} would change the cell vector {letter}, along which the cell is not periodic"
                if len(axes) == len("abc"):
                    remedy = f"turn {letter} perpendicular to the other cell vectors, or use an nvt ensemble"
                    raise InputError(f"{what} and which is tilted", "dynamics.hold", remedy)
                remedy = f'use cell = "anisotropic" with hold = [{quoted(axes)}], or "flexible" with [{quoted(held)}]'
                raise InputError(what, "dynamics.hold", remedy)


def changes(strain: Matrix, row: NDArray[np.float64]) -> bool:
    """Tells if a strain (3, 3), of components of about 1, changes a lattice vector, `row` (3,) Å."""
    return float(np.abs((row[:, None] * strain).sum(axis=0)).max()) > 1e-9 * float(np.abs(row).max())


def strains_of(table: CellConfig) -> Strains:
    """The strains that an input allows."""
    return Strains.of(table.cell, table.couple, table.moving)


def _unit(name: str) -> Matrix:
    """The strain of one component, of norm 1."""
    a, b = VOIGT[COMPONENTS.index(name)]
    matrix = np.zeros((3, 3))
    matrix[a, b] = matrix[b, a] = 1.0 if a == b else 1.0 / math.sqrt(2.0)
    return matrix


def tensor_of(voigt: NDArray[np.float64]) -> Matrix:
    """The symmetric (3, 3) tensor of the components xx yy zz yz xz xy, `voigt` (6,)."""
    out = np.empty((3, 3))
    for value, (a, b) in zip(voigt, VOIGT, strict=True):
        out[a, b] = out[b, a] = value
    return out


@dataclass(frozen=True)
class Propagators:
    """Matrices for `steps.kick_with_cell` and `steps.drift_with_cell`.

    Attributes:
        deformation: (3, 3) e^{Gt}.
        flight: (3, 3) t φ(Gt), fs.
        damping: (3, 3) e^{−At'}, over half the time.
        gain: (3, 3) φ(−At').
    """

    deformation: Matrix
    flight: Matrix
    damping: Matrix
    gain: Matrix


def propagators(rate: Matrix, drag: float, time: float) -> Propagators:
    """Solves the motion at a constant strain rate.

    Args:
        rate: (3, 3) G, symmetric, 1/fs.
        drag: of the volume on velocities: A = G + drag · tr(G) · 1.
        time: t of the drift, fs; kicks take t' = t/2.
    """
    values, vectors = np.linalg.eigh(rate)
    strain = values * time
    damped = -0.5 * time * (values + drag * float(values.sum()))
    return Propagators(
        deformation=_function(np.exp(strain), vectors),
        flight=_function(time * _mean_growth(strain), vectors),
        damping=_function(np.exp(damped), vectors),
        gain=_function(_mean_growth(damped), vectors),
    )


def _function(values: NDArray[np.float64], vectors: Matrix) -> Matrix:
    """The symmetric matrix of eigenvalues, `values` (3,), and eigenvectors, the columns of `vectors` (3, 3)."""
    return np.asarray((vectors * values) @ vectors.T)


def _mean_growth(exponent: NDArray[np.float64]) -> NDArray[np.float64]:
    """(e^y − 1)/y for each y of `exponent` (3,)."""
    safe = np.where(exponent == 0.0, 1.0, exponent)
    return np.where(exponent == 0.0, 1.0, np.expm1(safe) / safe)
