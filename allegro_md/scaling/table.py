"""The table of a study, in the form of table 4 of Musaelian et al., Nat. Commun. 14, 579 (2023): text and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence

from allegro_md.launcher import ranks_named
from allegro_md.scaling.results import Results, Row

HEADINGS = (
    "system", "atoms", "ranks", "ns/day", "µs/(atom·step)", "µs·rank/(atom·step)", "efficiency", "spread",
    "MB/rank",
)  # fmt: skip

COLUMNS = (
    "system", "atoms", "ranks", "ns_per_day", "seconds_per_step", "us_per_atom_step", "us_rank_per_atom_step",
    "efficiency", "efficiency_low", "efficiency_high", "spread", "turns", "steps_per_rebuild", "peak_memory_MB",
    "imbalance", "cpu_share",
)  # fmt: skip


def table_lines(results: Results) -> Iterator[str]:
    """The table for a terminal, sizes without a result included."""
    system = str(results.about.get("system", "")) or "—"
    cells = [_cells(system, row) for row in results.rows]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *cells, strict=True)]
    yield _line(HEADINGS, widths)
    for values in cells:
        yield _line(values, widths)
    for failure in results.failures:
        blank = [""] * (len(HEADINGS) - 3)
        place = _line([system, f"{failure.atoms:,}", str(failure.ranks), *blank], widths).rstrip()
        yield f"{place}  no result: {failure.reason}"


def _cells(system: str, row: Row) -> list[str]:
    return [
        system, f"{row.atoms:,}", str(row.ranks), "—" if math.isnan(row.ns_per_day) else f"{row.ns_per_day:.4g}",
        f"{row.us_per_atom_step:.4f}", f"{row.us_rank_per_atom_step:.4f}", f"{row.efficiency:.2f}",
        f"{100.0 * row.spread:.0f} %" if row.turns > 1 else "—", f"{row.peak_memory_MB:,.0f}",
    ]  # fmt: skip


def _line(values: Sequence[str], widths: Sequence[int]) -> str:
    first = f"{values[0]:{widths[0]}}"
    return "  ".join([first, *(f"{value:>{width}}" for value, width in zip(values[1:], widths[1:], strict=True))])


def phase_lines(results: Results) -> Iterator[str]:
    """Shares of phases in the time of a step, a line per number of ranks: of the busiest rank, largest first."""
    for row in results.rows:
        largest = sorted(row.slowest.items(), key=lambda item: -item[1])
        parts = ", ".join(f"{name} {100 * share:.0f} %" for name, share in largest if share >= 0.005)
        yield f"{ranks_named(row.ranks)}, the busiest: {parts}"


def csv_text(results: Results) -> str:
    """The content of ``scaling.csv``; lines that begin with ``#`` tell where it comes from."""
    about, settings = results.about, results.settings
    machine = {"processor": "", "hosts": "", "cores": ""} | dict(about.get("machine", {}))
    file = io.StringIO()
    file.write(f"# {results.kind} scaling of {settings['input']}, {about.get('date', '')}\n")
    file.write(f"# {machine['processor']}, hosts: {machine['hosts']}, cores: {machine['cores']}\n")
    output = "with the files of the input" if settings["with_output"] else "without output"
    file.write(f"# medians of turns of {settings['steps']} steps {output}; memory of the rank with the most\n")
    for failure in results.failures:
        file.write(f"# {failure.ranks} ranks, {failure.atoms} atoms: no result: {failure.reason}\n")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in results.rows:
        low, high = row.efficiency_range
        writer.writerow([
            about.get("system", ""), row.atoms, row.ranks, row.ns_per_day, row.seconds_per_step, row.us_per_atom_step,
            row.us_rank_per_atom_step, row.efficiency, low, high, row.spread, row.turns, row.steps_per_rebuild,
            row.peak_memory_MB, row.imbalance, row.cpu_share,
        ])  # fmt: skip
    return file.getvalue()
