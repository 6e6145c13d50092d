"""``allegro-md analyze KIND TRAJECTORY --out DIR``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from allegro_md.cli.frames import Frames, Timestep, Topology, Types, Units, VelocityUnit, open_source, slice_of
from allegro_md.config.load import load_table, parse_value
from allegro_md.config.output import OBSERVERS
from allegro_md.errors import InputError, PhysicsError

NOT_OFFLINE = ("kind", "every", "after")
"""Keys of an observer that have no meaning for stored frames."""


def analyze(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"What to compute: {', '.join(OBSERVERS)}.")],
    trajectory: Annotated[
        Path | None,
        typer.Argument(metavar="TRAJECTORY", help="A trajectory of any format, a thermo.csv, or a run directory."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the results.")] = None,
    frames: Frames = None,
    timestep: Timestep = None,
    topology: Topology = None,
    types: Types = None,
    units: Units = None,
    velocity_unit: VelocityUnit = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="List the keys of KIND and stop.")] = False,
) -> None:
    """Compute a quantity from a stored trajectory: as an observer does during the run, with the same keys and files.

    Every key of the kind is an option: --rmax 10 --species Li,O. See --keys. Under mpirun the frames, or the atoms, are
    divided over the ranks. Kinds that are computed from thermo.csv need the run directory or that file.
    """
    comm = context.obj
    if kind not in OBSERVERS:
        reason = OBSERVERS.unbuilt.get(kind)
        what = f"unknown kind '{kind}'" if reason is None else f"'{kind}' is not yet available"
        what += f": {reason}" if reason else ""
        raise InputError(what, "allegro-md analyze", f"use one of {', '.join(OBSERVERS)}")
    if keys:
        typer.echo(described(kind))
        return
    trajectory, own = _trajectory_of(trajectory, context.args)
    if trajectory is None or out is None:
        raise InputError(
            "a trajectory and --out DIR are needed", "allegro-md analyze",
            f"allegro-md analyze {kind} run/trajectory.h5 --out DIR",
        )
    table = table_of(kind, own)
    if table.only_in_run:
        remedy = f'observe = [{{ kind = "{kind}", every = … }}] in [output] computes it during the run'
        raise InputError(f"'{kind}' cannot be computed afterwards: {table.only_in_run}", "allegro-md analyze", remedy)
    if table.of_thermo:
        _refuse(topology=topology, timestep=timestep, types=types, units=units, velocity_unit=velocity_unit)
    with comm.collective_errors():
        if comm.rank == 0:
            _check_folder(out, table.label, overwrite)
    chosen = slice_of(frames)

    def opened(path: Path) -> Any:
        return open_source(
            path, chosen, topology=topology, timestep=timestep, types=types, units=units, velocity_unit=velocity_unit
        )

    made = _analyze(table, trajectory, chosen, opened, comm)
    with comm.collective_errors():
        if comm.rank == 0:
            _write(out, table, made)


def described(kind: str) -> str:
    """The keys of a kind, as its class describes them."""
    table = OBSERVERS.table(kind)
    lines = [(table.__doc__ or "").split("\n")[0], ""]
    for parent in reversed(table.__mro__):
        text = (parent.__doc__ or "").partition("Attributes:\n")[2]
        if not any(name in getattr(parent, "__annotations__", {}) for name in table.model_fields):
            continue
        for name, what in re.findall(r"^        (\w+): (.*(?:\n            .*)*)", text, flags=re.MULTILINE):
            field = table.model_fields.get(name)
            if field is None or name in NOT_OFFLINE:
                continue
            text = " ".join(what.split()).replace("``", "")
            lines.append(f"  --{name.replace('_', '-')}: {text}{_default(field)}")
    lines += ["", "Lists are written with commas, tables as in TOML. In the input, every and after are keys, too."]
    return "\n".join(lines)


def _default(field: Any) -> str:
    """Default of a key in brackets, as it is written on the command line; nothing where there is none to tell."""
    if field.is_required():
        return " [required]"
    value = field.get_default(call_default_factory=True)
    if value in (None, (), "", {}):
        return ""
    if isinstance(value, bool):
        return f" [default: {str(value).lower()}]"
    return f" [default: {','.join(map(str, value)) if isinstance(value, tuple) else value}]"


def _trajectory_of(first: Path | None, others: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The trajectory, and the options of the kind, which may stand before it; `first` is the first word behind KIND."""
    words = [*([] if first is None else [str(first)]), *others]
    place = 0
    while place < len(words) and words[place].startswith("--"):
        place += 1 if "=" in words[place] else 2
    return (Path(words[place]) if place < len(words) else None), words[:place] + words[place + 1 :]


def table_of(kind: str, arguments: Sequence[str]) -> Any:
    """The table of a kind, from options such as ``--rmax 8``.

    Raises:
        InputError: an option that is none of its keys, or a value that it cannot have.
    """
    fields = OBSERVERS.table(kind).model_fields
    given: dict[str, Any] = {"kind": kind, "every": 1}
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    while words:
        option = words.pop(0)
        key = option.removeprefix("--").replace("-", "_")
        if not option.startswith("--") or key not in fields or key in NOT_OFFLINE:
            possible = ", ".join(f"--{name.replace('_', '-')}" for name in fields if name not in NOT_OFFLINE)
            raise InputError(f"unknown option {option}", f"allegro-md analyze {kind}", f"its own options: {possible}")
        if not words:
            raise InputError(f"{option} has no value", f"allegro-md analyze {kind}", "write it behind the option")
        given[key] = _value(key, words.pop(0))
    return load_table(OBSERVERS.table(kind), given, f"allegro-md analyze {kind}")


def _refuse(**options: Any) -> None:
    """Refuses options about trajectories for a quantity of ``thermo.csv``, whose columns have names and units.

    Raises:
        InputError: one is given.
    """
    for name, value in options.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} says nothing about a thermo.csv", "allegro-md analyze", "leave it out")


def _value(key: str, text: str) -> Any:
    """A value as TOML, a list of numbers or words with commas between, or a word; a name is a word, "300" too."""
    value = parse_value(text)
    if key == "name" and not isinstance(value, str):
        return text
    is_words = isinstance(value, str) and "," in text and value == text.strip()
    return [_value(key, part) for part in text.split(",")] if is_words else value


def _analyze(table: Any, path: Path, frames: slice, opened: Callable[[Path], Any], comm: Any) -> Any:
    """Opens what is to be analyzed, and computes the quantity (collective)."""
    import torch

    from allegro_md.analysis.observer import quantity_of
    from allegro_md.analysis.stored import analyze_frames
    from allegro_md.analysis.stored_thermo import analyze_thermo
    from allegro_md.io.frame_index import NAME as TRAJECTORY
    from allegro_md.io.thermo import NAME as THERMO

    torch.set_num_threads(1)  # as in a run

    def make(system: Any, where: str) -> Any:
        return quantity_of(table, system, where)

    if path.is_dir():
        path = path / (THERMO if table.of_thermo else TRAJECTORY)
    try:
        if table.of_thermo:
            return analyze_thermo(make, path, frames, comm)
        with comm.collective_errors():
            source = opened(path)
        with source:
            return analyze_frames(make, source, frames, comm, lambda line: typer.echo(line))
    except PhysicsError as error:  # of what is stored: on all ranks alike
        raise InputError(str(error), str(path), "check the file, or choose other frames with --frames") from error


def _check_folder(out: Path, label: str, overwrite: bool) -> None:
    """Refuses to replace results.

    Raises:
        InputError: there are some, or the folder cannot be made.
    """
    if out.exists() and not out.is_dir():
        raise InputError("is no folder", str(out), "give a folder for the results")
    if (out / f"{label}.csv").exists() and not overwrite:
        raise InputError(
            f"holds a {label}.csv already", str(out), "give another folder, another --name, or use --overwrite"
        )


def _write(out: Path, table: Any, made: Any) -> None:
    """Writes the files, and shows the values."""
    from allegro_md.analysis.files import write_result
    from allegro_md.io.disk import disk_errors

    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    written = write_result(out, table, made, picture=True)
    for value in made.result.values:
        typer.echo(str(value))
    for note in made.result.notes:
        typer.echo(note if note.startswith("Warning:") else f"note: {note}")
    typer.echo("wrote " + ", ".join(str(path) for path in written))
