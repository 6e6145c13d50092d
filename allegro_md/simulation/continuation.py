"""From a checkpoint back into a running simulation: what must fit, and what is taken up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from allegro_md.errors import InputError
from allegro_md.io.checkpoint import Checkpoint
from allegro_md.state import GROUP, WORK, AtomState, Field


def require_same_physics(checkpoint: Checkpoint, now: dict[str, Any]) -> None:
    """Refuses to continue under other forces or another integrator.

    Raises:
        InputError: names the first key that differs.
    """
    before = checkpoint.extras["physics"]
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise InputError(
                "the content of a model or table file has changed since the run began"
                if key == "files"
                else f"{key} = {now.get(key)}, but the run began with {before.get(key)}",
                str(checkpoint.path),
                "the number of steps cannot change while temperature, pressure or strain is a ramp, which would get "
                "another slope: choose another output.directory"
                if key.endswith("dynamics.steps")
                else "resume with the input that began the run, or choose another output.directory",
            )


def changed_keys(checkpoint: Checkpoint, now: dict[str, Any]) -> list[str]:
    """Lists the keys of the input that have changed since the checkpoint was written, a line per key."""
    before, after = _flat(checkpoint.extras["input"]), _flat(now)
    return [
        f"{key} = {after.get(key, 'default')} (was {before.get(key, 'default')})"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def restore(state: AtomState, checkpoint: Checkpoint) -> None:
    """Puts a rank's share of a checkpoint into its state; the first evaluation sends the atoms to their owners.

    Raises:
        InputError: the checkpoint is of another system.
    """
    table, saved = state.species_table, checkpoint.species_table
    same = (
        state.n_total == checkpoint.n_total
        and table.symbols == saved.symbols
        and list(table.masses) == list(saved.masses)
    )
    if not same:
        raise InputError(
            f"is of another system ({checkpoint.n_total} atoms of {', '.join(saved.symbols)}; "
            f"the input has {state.n_total} of {', '.join(table.symbols)})",
            str(checkpoint.path),
            "resume with the input that began the run, or choose another output.directory",
        )
    state.cell = checkpoint.cell
    for field in (GROUP, WORK):
        if field.name in checkpoint.slab:
            state.add_field(field)
    state.set_local(
        {name: state.device_array(values) for name, values in checkpoint.slab.items() if name in state.fields}
    )


def restore_fields(state: AtomState, checkpoint: Checkpoint, fields: Iterable[Field]) -> None:
    """Adds fields of an integrator, with the values of a checkpoint; `restore` comes before."""
    for field in fields:
        state.add_field(field)
        if field.name in checkpoint.slab:
            state.array_local(field.name)[...] = state.device_array(checkpoint.slab[field.name])


def _flat(tables: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables and lists of tables as dotted keys."""
    if isinstance(tables, list) and tables and isinstance(tables[0], dict):
        tables = dict(enumerate(tables))
    if not isinstance(tables, dict):
        return {prefix: tables}
    return {k: v for key, value in tables.items() for k, v in _flat(value, f"{prefix}.{key}".lstrip(".")).items()}
