"""Files of embedded-atom tables: variants that LAMMPS reads alike are read alike, and what is ambiguous is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from allegro_md.errors import InputError
from allegro_md.potentials.eam_file import read_eam

Change = dict[str, str | list[str]]


def small_setfl() -> list[str]:
    """Lines of a one-element file of 3 · 10 values, five a line; lines 7, 9 and 11 begin F, ρ and r φ."""
    rows = [" ".join(f"{sign * (10 * k + i + 1):.3e}" for i in range(5)) for sign, k in
            ((-1, 0), (-1, 1), (1, 9), (1, 8), (1, 5), (1, 3))]
    return ["one", "two", "three", "1 Ag", "10 0.5 10 0.4 3.5", "47 107.9 4.09 fcc", *rows]


def small_funcfl() -> list[str]:
    lines = small_setfl()
    return ["silver", lines[5], lines[4], *lines[6:]]


def changed(lines: list[str], change: Change) -> list[str]:
    """Replaces line N (from 1) by the text, or the lines, given as line_N."""
    out = list(lines)
    for name, text in sorted(change.items(), reverse=True, key=lambda item: int(item[0][5:])):
        number = int(name[5:])
        out[number - 1 : number] = [text] if isinstance(text, str) else text
    return out


LAST = small_setfl()[-1]
SAME: dict[str, Change] = {
    "comments": {"line_4": "1 Ag # silver", "line_5": "10 0.5 10 0.4 3.5 # grid", "line_6": "47 107.9 # no lattice"},
    "header-3": {"line_6": "47 107.9 4.09"},
    "header-5": {"line_6": "47 107.9 4.09 fcc Ag"},
    "header-split": {"line_5": ["10 0.5", "10 0.4", "3.5"], "line_6": ["47", "107.9"]},
    "blank": {"line_4": ["", "# x", "1 Ag", ""], "line_8": ["", small_setfl()[7], ""]},
    "surplus": {"line_8": small_setfl()[7] + " 0.0 any words", "line_12": LAST + " 1D5"},
    "columns": {"line_7": small_setfl()[6].split(), "line_8": small_setfl()[7].split()},
    "text-after": {"line_12": [LAST, "", "converted by nobody", "# 1 2 3"]},
    "text-with-numbers": {"line_12": [LAST, "", "converted in 2010 by nobody, version 2.1"]},
    "zeros-after": {"line_12": [LAST, "0.0 0.0 0.0"]},
    "metal": {"line_1": "# UNITS: metal"},
    "line-separators": {"line_2": "a\x0cb\u2028c"},
}  # fmt: skip


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_setfl_files_that_lammps_reads_alike(tmp_path: Path, change: Change, newline: str) -> None:
    """Energies of such variants by LAMMPS (22Jul2025) are the same to all digits."""
    path = tmp_path / "x.eam.alloy"
    path.write_text(newline.join(changed(small_setfl(), change)) + newline, encoding="utf-8", newline="")
    tables = read_eam(path)
    assert tables.elements == ("Ag",) and (tables.cutoff, tables.r_spacing, tables.rho_spacing) == (3.5, 0.4, 0.5)
    assert tables.embedding[0].tolist() == [*range(-1, -6, -1), *range(-11, -16, -1)]
    assert tables.density[0].tolist() == [*range(91, 96), *range(81, 86)]
    assert tables.r_phi[0, 0].tolist() == [*range(51, 56), *range(31, 36)]


REFUSED: dict[str, tuple[Change, str]] = {
    "count": ({"line_4": "2 Ag"}, "line 4.*announces 2 elements and names 1"),
    "twice": ({"line_4": "2 Ag Ag"}, "line 4.*named twice"),
    "exponent-D": ({"line_7": small_setfl()[6].replace("e", "D")}, "line 7.*exponents with E"),
    "underscore": ({"line_7": small_setfl()[6].replace("1.0", "1_0", 1)}, "line 7.*not a number"),
    "not-finite": ({"line_8": "nan nan nan nan nan"}, "line 8.*not a number"),
    "short": ({"line_12": LAST.rsplit(" ", 1)[0]}, "ends after 9 of the 10 values of r φ"),
    "cut-number": ({"line_12": LAST[:-4]}, "line 12.*lacks the exponent"),
    "own-line": ({"line_8": [small_setfl()[7], "1.0"]}, "more values than the header"),
    "shifted": (
        {"line_9": "7.0 " + small_setfl()[8], "line_12": [LAST[:39], "1.000e+00"]}, "more values than the header",
    ),
    "real": ({"line_1": "Ag UNITS: real"}, "line 1.*UNITS: metal"),
    "finnis-sinclair": ({"line_4": "2 Ag Cu"}, "line 11.*not an integer .*Finnis"),
    "angular": ({"line_12": [LAST, *small_setfl()[6:12]]}, "30 numbers follow"),
    "grid": ({"line_5": "10.0 0.5 10 0.4 3.5"}, "line 5.*'10.0' is not an integer"),
    "few": ({"line_5": "4 0.5 10 0.4 3.5"}, "line 5.*at least 5"),
    "negative": ({"line_5": "10 0.5 10 -0.4 3.5"}, "spacing of r is -0.4"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_setfl_files_that_are_refused(tmp_path: Path, change: Change, message: str) -> None:
    path = tmp_path / "x.eam.alloy"
    path.write_text("\n".join(changed(small_setfl(), change)) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_eam(path)


def test_the_last_value_of_a_file_without_a_last_line_break(tmp_path: Path) -> None:
    path = tmp_path / "x.eam.alloy"
    text = "\n".join([*small_setfl()[:-1], LAST.rsplit(" ", 1)[0] + " 3.5e+01"])
    path.write_text(text)
    with pytest.raises(InputError, match="shorter than all others.*end the file with a line break"):
        read_eam(path)
    path.write_text(text + "\n")  # the remedy
    assert read_eam(path).r_phi[0, 0, -1] == 35.0


@pytest.mark.parametrize(
    "change",
    [{}, {"line_2": "47 107.9"}, {"line_2": ["", "47 107.9 # x"], "line_3": ["10 0.5 10", "0.4 3.5 # y"]},
     {"line_5": small_funcfl()[4] + " 0.0"}, {"line_9": [LAST, "the end"]}],
)  # fmt: skip
def test_funcfl_files_that_lammps_reads_alike(tmp_path: Path, change: Change) -> None:
    path = tmp_path / "x.eam"
    path.write_text("\n".join(changed(small_funcfl(), change)) + "\n")
    tables = read_eam(path)
    assert tables.elements == (47,) and tables.embedding[0, -1] == -15.0
    assert tables.r_phi[0, 0, 0] == pytest.approx(27.2 * 0.529 * 91.0**2) and tables.density[0, -1] == 35.0


@pytest.mark.parametrize("columns", [1, 2, 5, 7])
@pytest.mark.parametrize("surplus", [0.0, -3.0])
def test_a_value_too_many_in_a_funcfl_file_never_shifts_a_table(tmp_path: Path, columns: int, surplus: float) -> None:
    """LAMMPS takes it for the first of the next table, and its energy is wrong by 0.2 % for silver."""
    values = " ".join(small_funcfl()[3:]).split()
    values.insert(10, f"{surplus:.3e}")
    values[-1] = "0.000e+00"
    rows = [" ".join(values[i : i + columns]) for i in range(0, len(values), columns)]
    path = tmp_path / "x.eam"
    path.write_text("\n".join([*small_funcfl()[:3], *rows]) + "\n")
    with pytest.raises(InputError, match="more values than the header|file ends after"):
        read_eam(path)
