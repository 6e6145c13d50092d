"""``allegro-md eval MODEL [MODEL …] DATA``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allegro_md.cli.document import TERMINAL, JsonFile, check_folder, write_document
from allegro_md.config.fields import SYMBOLS
from allegro_md.config.load import load_labels
from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.versions import installed

if TYPE_CHECKING:
    from allegro_md.io.labeled import Frame
    from allegro_md.models.allegro.network import Network
    from allegro_md.training.calibration import Calibration
    from allegro_md.training.evaluation import Evaluation
    from allegro_md.training.metrics import Error, Metrics

MOST_KINDS = 12
"""Config types that are shown without being asked for."""


def evaluate(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="MODEL [MODEL …] DATA", help="A model file, or the members of "
                                                "a committee; then labeled configurations, in any format ASE reads, "
                                                "npz (MD17) or HDF5.")],
    json_file: JsonFile = None,
    by: Annotated[str | None, typer.Option(metavar="config_type", help="Show the errors of every config_type.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for parity plot, error histogram (PNG, CSV), "
                                             "the worst frames, and the calibration of a committee.")] = None,
    worst: Annotated[int, typer.Option(metavar="N", min=0, help="Write the N worst frames to DIR/worst.extxyz, model "
                                       "forces beside labels.")] = 0,
    energy_key: Annotated[str | None, typer.Option(metavar="NAME", help="Key of the energies; default: looked "
                                                   "for.")] = None,
    force_key: Annotated[str | None, typer.Option(metavar="NAME", help="Key of the forces.")] = None,
    stress_key: Annotated[str | None, typer.Option(metavar="NAME", help="Key of the stresses.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Units and conventions, "
                           "for example data.labels.energy_unit=kcal/mol; keys as in a training input.")] = None,
    precision: Annotated[str, typer.Option(metavar="NAME", help="Of the networks: float64 or float32.")] = "float64",
) -> None:
    """Compare a model, or a committee, with labeled configurations: MAE and RMSE of energies, forces and stresses."""
    comm = context.obj
    *models, data = paths
    named = {"energy": energy_key, "forces": force_key, "stress": stress_key}
    labels = load_labels({name: key for name, key in named.items() if key is not None}, assignments or ())
    if not models:
        raise InputError("needs a model and data", "command line", "write: allegro-md eval MODEL.allegro DATA")
    if by not in (None, "config_type"):
        raise InputError(f"errors cannot be divided by '{by}'", "--by", "use config_type")
    if worst and out is None:
        raise InputError("needs a folder for the frames", "--worst", "add --out DIR")
    import torch

    from allegro_md.training.calibration import calibrate
    from allegro_md.training.evaluation import PRECISIONS, evaluate

    if comm.size > 1:
        torch.set_num_threads(1)  # ranks share the cores
    if precision not in PRECISIONS:
        raise InputError(f"no such precision: '{precision}'", "--precision", f"use one of {', '.join(PRECISIONS)}")
    with comm.collective_errors():
        if comm.rank == 0:
            check_folder(json_file)
            check_folder(out)
        networks, frames = _read(models, data, labels, by, partial(_say, comm.rank))
    evaluation = evaluate(networks, frames, precision, comm)
    with comm.collective_errors():
        if comm.rank == 0:
            found = calibrate(evaluation) if len(models) > 1 else None
            if json_file != TERMINAL:
                _show(evaluation, models, found, by)
            write_document(_document(evaluation, models, data, precision, found), json_file)
            if out is not None:
                _write(evaluation, frames, found, worst, out, f"{', '.join(m.name for m in models)}: {data.name}")


def _say(rank: int, line: str) -> None:
    if rank == 0:
        typer.echo(line, err=True)


def _read(
    models: Sequence[Path], data: Path, labels: LabelsConfig, by: str | None, say: Callable[[str], None]
) -> tuple[list[Network], Sequence[Frame]]:
    """Networks and frames that fit each other; `say` is told what is odd about the frames.

    Raises:
        InputError: they do not, or there is nothing to compare with.
    """
    from allegro_md.io.labeled import Notes, read_frames
    from allegro_md.potentials.trained import trained
    from allegro_md.training.checks import check_frames, check_overlaps
    from allegro_md.training.unit_checks import check_units

    notes = Notes(frozenset({"stress"}))
    frames = read_frames(data, labels, notes)
    check_frames(frames)
    remarks = check_units([(data, frames)], labels, Notes(virials=notes.virials))
    check_overlaps(frames)
    there: set[str] = set()
    numbers: set[int] = set()
    kinds = False
    for frame in frames:
        there.update(name for name in ("energy", "forces", "stress") if getattr(frame, name) is not None)
        numbers.update(frame.numbers.tolist())
        kinds = kinds or bool(frame.kind)
    for name, key in (("energy", labels.energy), ("forces", labels.forces), ("stress", labels.stress)):
        if key is not None and name not in there:
            raise InputError(f"no frame has '{key}'", str(data), "correct the key")
    if not there:
        raise InputError("holds no energies, forces or stresses", str(data),
                         "name their keys: --energy-key, --force-key, --stress-key")
    if by is not None and not kinds:
        raise InputError("no frame has a config_type", str(data), "leave out --by")
    symbols = [SYMBOLS[number - 1] for number in sorted(numbers)]
    networks = [trained(model, symbols)[0] for model in models]
    for remark in notes.lines() + remarks:
        say(f"remark: {remark}")
    return networks, frames


def _document(
    evaluation: Evaluation, models: Sequence[Path], data: Path, precision: str, found: Calibration | None
) -> dict[str, Any]:
    """The JSON document; see docs/evaluating.md."""
    document: dict[str, Any] = {
        "program": f"allegro-md eval {installed()['allegro-md']}",
        "models": [str(model) for model in models],
        "data": str(data),
        "precision": precision,
        "errors": evaluation.metrics.as_dict(),
    }
    if len(models) > 1:
        document["members"] = [metrics.as_dict() for metrics in evaluation.member_metrics]
        document["calibration"] = found and found.as_dict()
    return document


def _write(
    evaluation: Evaluation, frames: Sequence[Frame], found: Calibration | None, worst: int, out: Path, title: str
) -> None:
    from allegro_md.training.evaluation_files import write_files

    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", str(out), "choose another folder") from error
    for path in write_files(evaluation, frames, found, worst, out, title):
        typer.echo(f"wrote {path}", err=True)


# --- tables -------------------------------------------------------------------------------------------------------


def _show(evaluation: Evaluation, models: Sequence[Path], found: Calibration | None, by: str | None) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    metrics = evaluation.metrics
    what = models[0].name if len(models) == 1 else f"mean of {len(models)} models"
    console.print(f"{what}: {metrics.frames} frames, {metrics.atoms} atoms")
    console.print(_errors(metrics))
    if metrics.by_kind and (by or len(metrics.by_kind) <= MOST_KINDS):
        console.print(_groups("config_type", [(kind or "(none)", each) for kind, each in metrics.by_kind.items()]))
    elif metrics.by_kind:
        console.print(f"{len(metrics.by_kind)} config types: --by config_type shows them")
    if len(models) > 1:
        names = [path.name for path in models]
        console.print(_groups("model", list(zip(names, evaluation.member_metrics, strict=True))))
    if found is not None:
        console.print(_bins(found))
        console.print(
            f"force errors and standard deviations: Spearman correlation {found.spearman:.3f}, "
            f"error/deviation {found.ratio:.2f}, miscalibration area {found.area:.3f}"
        )


def _errors(metrics: Metrics) -> Any:
    rows: list[tuple[str, str, Error | None]] = [
        ("energy", "meV", metrics.energy), ("energy", "meV/atom", metrics.energy_per_atom),
        ("force components", "meV/Å", metrics.forces),
    ]
    if len(metrics.forces_by_species) > 1:
        rows += [(f"  {symbol}", "meV/Å", error) for symbol, error in metrics.forces_by_species.items()]
    rows.append(("stress components", "MPa", metrics.stress))
    table = _table("", "", "MAE", "RMSE", "compared")
    for name, unit, error in rows:
        if error is not None:
            table.add_row(name, unit, *_digits(error), str(error.count))
    return table


def _groups(heading: str, groups: Sequence[tuple[str, Metrics]]) -> Any:
    """MAE and RMSE of several sets of numbers, a line each."""
    table = _table(heading, "frames", "E: MAE", "RMSE", "F: MAE", "RMSE")
    table.title, table.title_justify = "energies in meV/atom, force components in meV/Å", "left"
    for name, metrics in groups:
        table.add_row(name, str(metrics.frames), *_digits(metrics.energy_per_atom), *_digits(metrics.forces))
    return table


def _bins(found: Calibration) -> Any:
    table = _table("force std, meV/Å", "atoms", "std, RMS", "error, RMS")
    rows = zip(found.edges[:-1], found.edges[1:], found.atoms, found.std, found.error, strict=True)
    for lower, upper, atoms, std, error in rows:
        table.add_row(f"{lower:.2f} to {upper:.2f}", str(atoms), f"{std:.2f}", f"{error:.2f}")
    return table


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="left" if k == 0 else "right", overflow="fold")
    return table


def _digits(error: Error | None) -> tuple[str, str]:
    return ("-", "-") if error is None else (f"{error.mae:.3f}", f"{error.rmse:.3f}")
