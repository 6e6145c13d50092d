"""Runs every case of bad_input_table.py on all ranks in one process each; rank 0 prints a JSON line per case.

    mpirun -n 2 python refusals.py FOLDER_WITH_GOOD_FILES FOLDER_FOR_THE_CASES [NAME OF A CASE]...
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import time
from pathlib import Path

from bad_input_table import CASES
from bad_inputs import Case
from runs import unhurried

from allegro_md.cli import main as program
from allegro_md.comm import Comm

PATIENCE = 10.0
"""Seconds within which a bad input is refused on an idle machine."""


def listing(folder: Path) -> dict[str, str]:
    """Every path below a folder, with the digest of what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def copy(good: Path, folder: Path, case: Case) -> Path:
    """The folder of a case, spoiled."""
    place = folder / case.name.replace("/", "-").replace(" ", "-")
    shutil.copytree(good, place)
    case.make(place)
    return place


def complaints(case: Case, status: int, said: str, changed: bool, seconds: float) -> list[str]:
    """What is not as it must be; `said` is what rank 0 wrote to standard error."""
    lines = said.splitlines()
    checks = {
        f"status {status} instead of {case.status}": status == case.status,
        f"not exactly {case.faults} line(s)": len(lines) == case.faults,
        "does not begin with 'allegro-md: '": all(line.startswith("allegro-md: ") for line in lines),
        "no remedy": " — " in said,
        "a traceback": "Traceback" not in said,
        "something was written": not changed,
        f"took {seconds:.1f} s": seconds < PATIENCE,
        **{f"does not mention {word!r}": word in said for word in case.words},
    }
    return [text for text, holds in checks.items() if not holds]


def attempt(case: Case, good: Path, folder: Path, comm: Comm) -> list[str]:
    """Runs one case on all ranks; complaints, the same on all."""
    place = comm.bcast(copy(good, folder, case) if comm.rank == 0 else None)
    before = listing(place)
    os.chdir(place)
    out, err = io.StringIO(), io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = program(list(case.arguments))
        except SystemExit as ended:  # a fault of the program, on one rank
            status = int(ended.code or 0)
    seconds = unhurried(time.perf_counter() - began, PATIENCE, comm.size)
    os.chdir(folder)
    told = comm.allgather((status, err.getvalue(), unannounced(out.getvalue())))
    found = complaints(case, status, told[0][1], listing(place) != before, seconds)
    if len({entry[0] for entry in told}) > 1:
        found.append(f"statuses {[entry[0] for entry in told]}")
    if any(entry[1] for entry in told[1:]) or (any(entry[2] for entry in told) and case.arguments[0] != "check"):
        found.append(f"other ranks or standard output: {told}")
    return [*found, *([f"said: {told[0][1]}"] if found else [])]


def unannounced(output: str) -> str:
    """What was printed, without the line that says which file is being read."""
    return "".join(line for line in output.splitlines(keepends=True) if not line.startswith("reading "))


def main() -> None:
    good, folder = (Path(argument) for argument in sys.argv[1:3])
    comm = Comm.world()
    chosen = [case for case in CASES if not sys.argv[3:] or case.name in sys.argv[3:]]
    for case in chosen:
        if comm.rank == 0:
            print(json.dumps({"case": case.name}), flush=True)
        found = attempt(case, good, folder, comm)
        if comm.rank == 0:
            print(json.dumps({"case": case.name, "complaints": found}), flush=True)


if __name__ == "__main__":
    main()
