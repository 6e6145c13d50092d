"""The files that show the results of a study, and what is printed of them."""

from __future__ import annotations

from pathlib import Path

from allegro_md.io.disk import write_json, write_whole
from allegro_md.scaling.advice import advice
from allegro_md.scaling.plot import scaling_png
from allegro_md.scaling.results import Results
from allegro_md.scaling.table import csv_text, phase_lines, table_lines


def write_files(results: Results, folder: Path) -> str:
    """Writes ``scaling.json``, ``scaling.csv`` and ``scaling.png`` into the folder of a study.

    Returns:
        A line about where they are.

    Raises:
        ResourceError: a file cannot be written.
    """
    write_json(folder / "scaling.json", results.document(advice(results)))
    write_whole(folder / "scaling.csv", csv_text(results).encode())
    files = ["scaling.json", "scaling.csv"]
    if len(results.rows) > 1:
        write_whole(folder / "scaling.png", scaling_png(results))
        files.append("scaling.png")
    return f"{', '.join(files)} are in {folder}"


def lines(results: Results) -> list[str]:
    """The results for the terminal: table, notes and advice."""
    settings = results.settings
    output = "with the files of the input" if settings["with_output"] else "without trajectory, thermo and checkpoints"
    return [
        *table_lines(results),
        *phase_lines(results),
        f"medians of turns of {settings['steps']} steps {output}; spread: largest less smallest turn, over the median",
        *(f"note: {note}" for note in results.notes),
        *(f"advice: {sentence}" for sentence in advice(results)),
    ]
