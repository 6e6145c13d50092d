"""Reads embedded-atom tables in DYNAMO's formats, funcfl (one element) and setfl (``.eam.alloy``), as LAMMPS does.

The files are read line by line: what follows a ``#`` is a comment, a header or a block takes as many whole lines as it
needs, and the rest of its last line and all that follows the last block are ignored.

M. S. Daw, S. M. Foiles, M. I. Baskes, Mater. Sci. Rep. 9, 251 (1993).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError

FUNCFL_COULOMB = 27.2 * 0.529
"""eV·Å in r φ = 27.2 · 0.529 · Z_i(r) Z_j(r): these digits are part of the format, the tables were fitted with them."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
"""Numbers as LAMMPS reads them: no exponents with D, which Fortran writes, and no underscores, which Python reads."""

CUT_FILE = "copy the file anew; a part of it is missing"


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
    """Reads either format; in setfl the fourth line begins with a count of elements and their names.

    Raises:
        InputError: the file is neither, or is damaged, or can be read in more than one way.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = _Lines(str(path), text)
    lines.require_metal_units()
    lines.skip(1)
    funcfl = lines.peek()
    lines.skip(2)
    names = lines.peek()
    if len(names) > 1 and names[0].isdecimal() and not NUMBER.fullmatch(names[1]):
        tables = _setfl(path, lines)
    elif len(funcfl) > 1 and all(NUMBER.fullmatch(word) for word in funcfl[:2]):
        lines.rewind()
        tables = _funcfl(path, lines)
    else:
        raise InputError(
            "This is neither an EAM table in setfl format (three lines of comment, then the number of elements and "
            "their names) nor one in funcfl format (a line of comment, then atomic number and mass).", str(path),
            "name a file of one of these formats",
        )  # fmt: skip
    lines.require_one_reading(tables.r_phi.shape[-1], zeros_may_follow=isinstance(tables.elements[0], str))
    _require_usable(tables)
    return tables


class _Lines:
    """Lines of a table, with comments removed, and what must be known of them to trust the blocks.

    Attributes:
        file: name for messages.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._raw = re.split(r"\r\n|\n|\r", text)
        self._words = [line.split("#", 1)[0].split() for line in self._raw]
        self._next = 0
        self._surplus = 0  # number of a line that holds more values than its block takes
        self._irregular = 0  # number of a line that is shorter than the others of its block
        self._single_column = False

    def fail(self, what: str, remedy: str, line: int | None = None) -> InputError:
        """The error that names file and line, counted from 1; None: the line read last."""
        return InputError(what, f"{self.file}, line {line or self._next}", remedy)

    def require_metal_units(self) -> None:
        """Raises InputError where the first line says that the energies are in other units."""
        said = re.search(r"UNITS:\s*(\S+)", self._raw[0])
        if said and said.group(1) != "metal":
            raise self.fail(
                f"The table is in LAMMPS' units '{said.group(1)}'; only 'metal' (eV, Å) can be read.",
                "convert the table to eV and Å, and write UNITS: metal into its first line", 1,
            )  # fmt: skip

    def rewind(self) -> None:
        """Goes back to the second line."""
        self._next = 1

    def skip(self, count: int) -> None:
        """Passes over lines of comment, whatever they hold."""
        self._next = min(self._next + count, len(self._words))

    def peek(self) -> list[str]:
        """Words of the next line that is not empty; none at the end."""
        return next((words for words in self._words[self._next :] if words), [])

    def line(self, what: str) -> list[str]:
        """Words of the next line that is not empty."""
        while self._next < len(self._words):
            self._next += 1
            if self._words[self._next - 1]:
                return self._words[self._next - 1]
        raise self.fail(f"The file ends before {what}.", CUT_FILE)

    def header(self, count: int, what: str) -> list[str]:
        """At least `count` words, of as many lines as that takes."""
        words: list[str] = []
        while len(words) < count:
            words += self.line(what)
        return words

    def block(self, count: int, what: str) -> NDArray[np.float64]:
        """(count,) float64 values, of as many lines as that takes; the rest of the last line is ignored."""
        words: list[str] = []
        lengths: list[int] = []
        while len(words) < count:
            try:
                row = self.line(what)
            except InputError:
                raise self.fail(
                    f"The file ends after {len(words)} of the {count} values of {what}.", CUT_FILE
                ) from None
            for word in row[: count - len(words)]:
                if not NUMBER.fullmatch(word):
                    raise self.fail(f"'{_short(word)}' is not a number ({what}).", _number_remedy(word))
            words += row
            lengths.append(len(row))
            if len(set(lengths[:-1])) > 1:
                self._irregular = self._irregular or self._next
        self._single_column |= max(lengths) == 1
        if len(words) > count:
            self._surplus = self._surplus or self._next
        self._require_whole(words[count - 1], words[: count - 1], what)
        return np.array(words[:count], dtype=np.float64)

    def _require_whole(self, last: str, others: Sequence[str], what: str) -> None:
        """Raises InputError where the last value of a block looks cut off."""
        if self._next == len(self._raw) and len(last) < min(map(len, others)):
            raise self.fail(
                f"The file ends within a line, and its last value, {last}, is shorter than all others.",
                "copy the file anew; if the value is complete, end the file with a line break",
            )
        if "e" not in last.lower() and float(last) != 0.0 and all("e" in word.lower() for word in others):
            raise self.fail(f"The last value of {what}, {last}, lacks the exponent that all others have.", CUT_FILE)

    def require_one_reading(self, n_r: int, zeros_may_follow: bool) -> None:
        """Raises InputError where values that the header does not tell of may belong to a block.

        LAMMPS reads such files, and where a value too many stands on a line of its own its blocks are shifted by one.

        Args:
            n_r: number of values of ρ(r).
            zeros_may_follow: the last block; programs that write setfl fill up the last lines.
        """
        rest = [words for words in self._words[self._next :] if all(NUMBER.fullmatch(word) for word in words)]
        numbers = [float(word) for words in rest for word in words]  # those within a line of text are no values
        if np.count_nonzero(numbers) >= n_r:
            raise self.fail(
                f"{len(numbers)} numbers follow the last table of a plain EAM file, as in Finnis–Sinclair (.fs), ADP "
                "and CD files, which are other potentials.", "use a table in funcfl or setfl (eam/alloy) format",
                self._next + 1,
            )  # fmt: skip
        line = self._surplus or (self._next + 1 if numbers else 0)
        doubtful = any(numbers) or (len(numbers) > 0 and (self._single_column or not zeros_may_follow))
        if line and (self._irregular or doubtful):
            raise self.fail(
                "There are more values than the header tells of, and the lines do not show which are too many.",
                "remove the surplus values, or correct the numbers of values in the header",
                self._irregular or line,
            )


def _short(word: str) -> str:
    return word if len(word) <= 40 else word[:40] + "…"


def _number_remedy(word: str) -> str:
    if NUMBER.fullmatch(re.sub("[dD]", "e", word, count=1)):
        return "write exponents with E; LAMMPS does not read those with D either"
    return "check the number of values in the header, and copy or correct the file"


def _require_usable(tables: EamTables) -> None:
    """Raises InputError for numbers that are no lengths, and for values that are not finite."""
    numbers = {"spacing of ρ": tables.rho_spacing, "spacing of r": tables.r_spacing, "cutoff": tables.cutoff}
    for name, value in numbers.items():
        if not 0.0 < value < np.inf:
            raise InputError(f"The {name} is {value}.", str(tables.path), "correct the header of the table")
    for name in ("embedding", "density", "r_phi"):
        if not np.isfinite(getattr(tables, name)).all():
            raise InputError(f"A value of {name} is not finite.", str(tables.path), "copy or correct the file")


def _integer(lines: _Lines, word: str, what: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,9}", word):
        raise lines.fail(f"'{_short(word)}' is not an integer ({what}).", "check that the header before it is complete")
    return int(word)


def _real(lines: _Lines, word: str, what: str) -> float:
    if not NUMBER.fullmatch(word):
        raise lines.fail(f"'{_short(word)}' is not a number ({what}).", _number_remedy(word))
    return float(word)


def _element(lines: _Lines, what: str) -> int:
    """The atomic number; of mass, lattice constant and lattice only the mass must be there, and is not used."""
    number, mass = lines.header(2, f"atomic number and mass of {what}")[:2]
    _real(lines, mass, f"the mass of {what}")
    return _integer(lines, number, f"the atomic number of {what}; Finnis–Sinclair files have another layout")


def _grid(lines: _Lines) -> tuple[int, float, int, float, float]:
    """Number of values and spacing (Å for r) of ρ and r, and the cutoff, Å."""
    what = "the line with the numbers of values, their spacings, and the cutoff"
    n_rho, rho_spacing, n_r, r_spacing, cutoff = lines.header(5, what)[:5]
    counts = _integer(lines, n_rho, what), _integer(lines, n_r, what)
    if min(counts) < 5:
        raise lines.fail(f"Tables of {counts[0]} and {counts[1]} values; at least 5 are needed.", "correct the header")
    spacings = _real(lines, rho_spacing, what), _real(lines, r_spacing, what)
    return counts[0], spacings[0], counts[1], spacings[1], _real(lines, cutoff, what)


def _funcfl(path: Path, lines: _Lines) -> EamTables:
    number = _element(lines, "the element")
    n_rho, rho_spacing, n_r, r_spacing, cutoff = _grid(lines)
    embedding = lines.block(n_rho, "F(ρ)")
    r_phi = FUNCFL_COULOMB * lines.block(n_r, "Z(r)") ** 2
    density = lines.block(n_r, "ρ(r)")
    return EamTables(
        path, (number,), cutoff, rho_spacing, r_spacing, embedding[None], density[None], r_phi[None, None]
    )


def _setfl(path: Path, lines: _Lines) -> EamTables:
    names = _names(lines)
    n_rho, rho_spacing, n_r, r_spacing, cutoff = _grid(lines)
    n = len(names)
    embedding, density, r_phi = np.empty((n, n_rho)), np.empty((n, n_r)), np.empty((n, n, n_r))
    for a, name in enumerate(names):
        _element(lines, name)
        embedding[a] = lines.block(n_rho, f"F(ρ) of {name}")
        density[a] = lines.block(n_r, f"ρ(r) of {name}")
    for a in range(n):
        for b in range(a + 1):
            r_phi[a, b] = r_phi[b, a] = lines.block(n_r, f"r φ(r) of {names[a]}-{names[b]}")
    return EamTables(path, names, cutoff, rho_spacing, r_spacing, embedding, density, r_phi)


def _names(lines: _Lines) -> tuple[str, ...]:
    count, *names = lines.line("the names of the elements")
    if int(count) != len(names):
        raise lines.fail(
            f"The line announces {count} elements and names {len(names)}: {' '.join(names)[:80]}.",
            "correct the number; other text on this line must follow a #",
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise lines.fail(f"{', '.join(repeated)} is named twice.", "give each element one table")
    return tuple(names)
