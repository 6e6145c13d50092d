"""thermo.csv: the columns of CONTRACT, all digits, cut back exactly on a continuation, exit 4 on a full disk."""

from __future__ import annotations

import csv
import errno
import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from allegro_md.comm import Comm
from allegro_md.errors import InputError, ResourceError
from allegro_md.io.thermo import ThermoWriter
from allegro_md.reporting import Snapshot, Thermo

CONTRACT_COLUMNS = (
    "step,time_fs,potential_eV,kinetic_eV,total_eV,conserved_eV,temperature_K,pressure_GPa,volume_A3,"
    "sxx_GPa,syy_GPa,szz_GPa,syz_GPa,sxz_GPa,sxy_GPa,wall_s"
)


def snapshot(step: Any) -> Any:
    values = np.random.default_rng(step).normal(size=13)
    fields: list[Any] = [*values[:7], values[7:]]
    thermo = Thermo(*fields)
    state: Any = SimpleNamespace()
    return Snapshot(step=step, time=0.1 * step, state=state, wall=1.5, thermo=thermo), values


def test_every_digit_survives(tmp_path: Path) -> None:
    writer = ThermoWriter(tmp_path / "thermo.csv", 10, Comm.serial())
    for step in range(0, 50, 10):
        writer(snapshot(step)[0])
        # a reader sees whole rows at once
        assert (tmp_path / "thermo.csv").read_text().count("\n") == step // 10 + 2
    writer.close()
    with open(tmp_path / "thermo.csv") as file:
        assert file.readline().strip() == CONTRACT_COLUMNS
        rows = list(csv.reader(file))
    for row, step in zip(rows, range(0, 50, 10), strict=True):
        values = snapshot(step)[1]
        assert int(row[0]) == step and float(row[1]) == 0.1 * step and float(row[-1]) == 1.5
        assert [float(x) for x in row[2:-1]] == values.tolist()  # bit for bit


def test_continuation_leaves_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "thermo.csv"
    writer = ThermoWriter(path, 1, Comm.serial())
    for step in range(3):
        writer(snapshot(step)[0])
    writer.flush()
    state = writer.state_dict()
    for step in range(3, 6):
        writer(snapshot(step)[0])
    writer.close()
    undisturbed = path.read_bytes()
    with open(path, "ab") as file:
        file.write(b"6,torn")  # what a kill may leave
    again = ThermoWriter(path, 1, Comm.serial())
    again.load_state_dict(state)
    for step in range(2, 6):  # step 2 is reported again and must not be doubled
        again(snapshot(step)[0])
    again.close()
    assert path.read_bytes() == undisturbed


def test_a_lost_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing or shorter"):
        ThermoWriter(tmp_path / "thermo.csv", 1, Comm.serial()).load_state_dict({"size": 10, "last_step": 1})


def test_full_disk_is_a_resource_error_and_leaves_whole_rows(tmp_path: Path, root: Path) -> None:
    program = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        import numpy as np
        from allegro_md.comm import Comm
        from allegro_md.errors import ResourceError
        from allegro_md.io.thermo import ThermoWriter
        from allegro_md.reporting import Snapshot, Thermo
        writer = ThermoWriter(Path({str(tmp_path)!r}) / "thermo.csv", 1, Comm.serial())
        try:
            for step in range(1000):
                thermo = Thermo(*[1 / 3] * 7, stress=np.full(6, 1 / 3))
                writer(Snapshot(step=step, time=0.0, state=None, wall=0.0, thermo=thermo))
        except ResourceError as error:
            sys.exit(error.exit_status)
    """)
    limit = 5000
    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        env={"PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": str(tmp_path)},
        cwd=root,
        check=False,
    )
    assert done.returncode == 4
    text = (tmp_path / "thermo.csv").read_text()
    assert text.endswith("\n") and len({line.count(",") for line in text.splitlines()}) == 1


def test_a_fault_at_the_end_is_raised_once_and_the_file_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ThermoWriter(tmp_path / "thermo.csv", 1, Comm.serial())
    writer(snapshot(0)[0])
    seen = []

    def refuse(fd: Any) -> None:
        seen.append(fd)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ResourceError, match="thermo.csv: No space"):
        writer.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(seen[0])
    writer.close()
