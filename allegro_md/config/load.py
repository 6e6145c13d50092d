"""Reads an input file: TOML, overrides from the command line, and one clear sentence for every fault."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.config.fields import Table, show
from allegro_md.config.guard import GuardConfig, StopConfig
from allegro_md.config.output import OutputConfig, ParallelConfig
from allegro_md.config.potential import POTENTIALS
from allegro_md.config.replicas import ReplicasConfig
from allegro_md.config.schema import Input
from allegro_md.config.stage import StageConfig
from allegro_md.config.system import SystemConfig
from allegro_md.config.training import LabelsConfig, TrainingInput
from allegro_md.errors import InputError

Schema = TypeVar("Schema", Input, TrainingInput)
AnyTable = TypeVar("AnyTable", bound=Table)

LONGEST = 300
"""Characters of a fault's description: a value of a megabyte is not printed."""

MOST_FAULTS = 20
"""Faults of one input that are shown."""


def load_input(path: str | Path, overrides: Sequence[str] = ()) -> Input:
    """Reads and validates an input file without loading torch or reading the files it names.

    Args:
        path: the TOML file.
        overrides: assignments ``a.b=value``; the value is TOML or a bare word, list elements are addressed by number
            (``potential.0.cutoff=8``).

    Raises:
        InputError: one sentence that names file, key and remedy.
    """
    return _load(Input, Path(path), overrides)


def load_training(path: str | Path, overrides: Sequence[str] = ()) -> TrainingInput:
    """The same for the input of a training.

    Raises:
        InputError: one sentence that names file, key and remedy.
    """
    return _load(TrainingInput, Path(path), overrides)


def load_labels(keys: Mapping[str, str], overrides: Sequence[str] = ()) -> LabelsConfig:
    """The table ``[data.labels]`` alone, from the command line.

    Args:
        keys: of the table, and their values.
        overrides: assignments ``data.labels.KEY=VALUE``.

    Raises:
        InputError: one sentence that names key and remedy.
    """
    data: dict[str, Any] = {"data": {"labels": dict(keys)}}
    changed = _override_all(data, overrides)
    try:
        return _LabelsInput.model_validate(data).data.labels
    except ValidationError as error:
        raise translate(error, data, "command line", changed) from None


def load_table(schema: type[AnyTable], data: dict[str, Any], where: str) -> AnyTable:
    """A single table, whose values come from the command line.

    Args:
        schema: of the table.
        data: its keys and values.
        where: for messages.

    Raises:
        InputError: one sentence that names key and remedy.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise translate(error, data, where) from None


class _LabelsOnly(Table):
    labels: LabelsConfig = LabelsConfig()


class _LabelsInput(Table):
    data: _LabelsOnly = _LabelsOnly()


def _load(schema: type[Schema], path: Path, overrides: Sequence[str]) -> Schema:
    data = _read(path)
    changed = _override_all(data, overrides)
    if isinstance(data.get("output", {}), dict):
        data.setdefault("output", {})
    try:
        return schema.model_validate(data, context={"base": path.absolute().parent})
    except ValidationError as error:
        raise translate(error, data, str(path), changed) from None
    except RecursionError:
        raise InputError("is nested too deeply", str(path), "remove levels of brackets") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode()
        if text.startswith("\ufeff"):
            raise InputError(
                "begins with a byte order mark, which TOML does not have", str(path),
                "save it as UTF-8 without a byte order mark (BOM)",
            )
        return tomllib.loads(text)
    except FileNotFoundError:
        raise InputError("no such input file", str(path), "give the path of a TOML file") from None
    except IsADirectoryError:
        raise InputError("is a folder, not an input file", str(path), "give the path of a TOML file") from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", str(path)) from None
    except UnicodeDecodeError:
        raise InputError("is not a text file in UTF-8", str(path), "save it as UTF-8, or give a TOML file") from None
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError, or a number of more digits than Python reads
        where = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", str(error), re.DOTALL)
        what, place = (where.group(1), f"{path}, line {where.group(2)}") if where else (str(error), str(path))
        again = re.match(r"Cannot declare \('(.*)',\) twice", what)
        if again is not None:
            table = again.group(1).replace("', '", ".")
            raise InputError(f"[{table}] is there already", place, "put its keys together") from None
        raise InputError(f"is not valid TOML: {what}", place, "texts need quotes, keys and values a '='") from None


# --- overrides ----------------------------------------------------------------------------------------------------


def _override_all(data: dict[str, Any], assignments: Sequence[str]) -> list[tuple[str, ...]]:
    """Applies all assignments to the raw tables and returns their keys.

    Raises:
        InputError: some cannot be applied; all of these are named.
    """
    changed, faults = [], []
    for assignment in assignments:
        try:
            changed.append(_override(data, assignment))
        except InputError as error:
            faults.append(error)
    if faults:
        raise InputError.of(faults)
    return changed


def _override(data: dict[str, Any], assignment: str) -> tuple[str, ...]:
    """Applies one ``a.b=value`` to the raw tables and returns the key's parts."""
    where = f"--set {assignment}"
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise InputError("is not an assignment", where, "write for example --set dynamics.steps=100")
    parts = _parts(key.strip(), where)
    table: Any = data
    for depth, part in enumerate(parts[:-1]):
        table = _enter(table, part, ".".join(parts[:depth]), where)
    last = parts[-1]
    if isinstance(table, list):
        table[_index(table, last, ".".join(parts[:-1]), where)] = parse_value(text)
    else:
        table[last] = parse_value(text)
    return tuple(parts)


def _parts(key: str, where: str) -> list[str]:
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except (ValueError, RecursionError):
        remedy = "write for example dynamics.steps or potential.0.cutoff"
        raise InputError(f"'{key}' is not a key", where, remedy) from None
    parts: list[str] = []
    while isinstance(node, dict):
        (name, node), = node.items()
        parts.append(name)
    return parts


def _enter(table: Any, part: str, so_far: str, where: str) -> Any:
    """The table or list below `part`; a missing table is made."""
    inner = table[_index(table, part, so_far, where)] if isinstance(table, list) else table.setdefault(part, {})
    if not isinstance(inner, (dict, list)):
        name = f"{so_far}.{part}" if so_far else part
        raise InputError(f"'{name}' is {show(inner)}, not a table", where, "check the key")
    return inner


def _index(items: list[Any], part: str, so_far: str, where: str) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        remedy = f"use a number: {so_far}.0 to {so_far}.{len(items) - 1}"
        raise InputError(f"'{so_far}' is a list of {len(items)}", where, remedy)
    return int(part)


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself when it is none (bare words such as nve or 2 fs)."""
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return values["value"] if set(values) == {"value"} else text.strip()


# --- messages -----------------------------------------------------------------------------------------------------


def translate(
    error: ValidationError, data: dict[str, Any], file: str, changed: Sequence[tuple[str, ...]] = ()
) -> InputError:
    """The faults that pydantic found, each as one sentence.

    Args:
        error: what the validation of `data` raised.
        data: the raw tables.
        file: name of the input file.
        changed: keys that came from ``--set``.
    """
    found = error.errors(include_url=False)
    faults = [_fault(each, data, file, changed) for each in found[:MOST_FAULTS]]
    if len(found) > MOST_FAULTS:
        faults.append(InputError(f"{len(found) - MOST_FAULTS} more faults are not shown", file, "mend these first"))
    return InputError.of(faults)


def _fault(fault: Any, data: dict[str, Any], file: str, changed: Sequence[tuple[str, ...]]) -> InputError:
    context = fault.get("ctx", {})
    what, remedy = context.get("what"), context.get("remedy", "")
    if what is None:  # one of pydantic's own
        rule = fault["msg"].replace("Input should", "must")
        what, remedy = f"{rule}, got {show(fault['input'])}", "correct the value"
    what = " ".join(what.split())
    what = what if len(what) <= LONGEST else what[: LONGEST - 3] + "..."
    parts = _written(fault["loc"], data) + [part for part in context.get("key", "").split(".") if part]
    if what == "unknown key":
        remedy = _elsewhere(parts) or remedy
    key = ".".join(parts)
    from_set = parts and any(tuple(parts[: len(c)]) == c[: len(parts)] for c in changed)
    origin = f"{file} with --set" if from_set else file
    return InputError(what, f"{origin}, {key}" if key else origin, remedy)


def _written(location: Sequence[int | str], data: Any) -> list[str]:
    """The part of pydantic's location that the user wrote: without the names of union members."""
    parts: list[str] = []
    for part in location:
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
            parts.append(str(part))
    return parts


def _elsewhere(parts: Sequence[str]) -> str:
    """Names the section in which a misplaced key belongs."""
    name = parts[-1]
    sections: dict[str, tuple[type[Table], ...]] = {
        "system": (SystemConfig,), "potential": tuple(POTENTIALS.table(kind) for kind in POTENTIALS),
        "dynamics": tuple(INTEGRATORS.table(ensemble) for ensemble in INTEGRATORS),
        "stage": (StageConfig,), "replicas": (ReplicasConfig,),
        "parallel": (ParallelConfig,), "guard": (GuardConfig,), "stop": (StopConfig,), "output": (OutputConfig,),
    }
    homes = [
        section for section, tables in sections.items()
        if section != parts[0] and any(name in table.model_fields for table in tables)
    ]
    return f"it belongs into [{homes[0]}]" if homes else ""
