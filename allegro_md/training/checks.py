"""Faults of the data, found before the first epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ase.data import chemical_symbols

from allegro_md.cell import Cell
from allegro_md.config.training import LossConfig
from allegro_md.errors import InputError
from allegro_md.io.labeled import Frame, entries
from allegro_md.io.overlap_check import refuse_overlaps
from allegro_md.training.frames import Frames
from allegro_md.training.graph import Graph
from allegro_md.training.length_checks import nearest_atoms


def check_frames(frames: Sequence[Frame]) -> None:
    """Raises unless every frame has atoms of known elements, finite numbers, and a cell that can be used."""
    for frame in frames:
        if not len(frame.numbers):
            raise InputError("holds no atoms", frame.source, "remove it")
        if frame.numbers.min() < 1 or frame.numbers.max() >= len(chemical_symbols):
            raise InputError("has an atom of no known element", frame.source, "correct it")
        for name in ("position", "cell", "energy", "forces", "stress"):
            value = getattr(frame, name)
            if value is not None and not np.all(np.isfinite(value)):
                weight = {"energy": "energy", "forces": "force", "stress": "stress"}.get(name)
                other = f", or train without this label: loss.{weight} = 0" if weight else ""
                raise InputError(f"has no finite {name}", frame.source, f"correct it, or remove the frame{other}")
        Cell.from_rows(frame.cell, frame.periodic, frame.source)


def check_overlaps(frames: Sequence[Frame]) -> None:
    """Raises if two atoms of a frame, or of its images, are closer than any two atoms can be."""
    for frame in frames:
        cell = Cell.from_rows(frame.cell, frame.periodic, frame.source)
        refuse_overlaps(frame.position, cell, frame.periodic, frame.source)


def check_elements(
    symbols: Sequence[str], train: Sequence[Frame], others: Mapping[str, Sequence[Frame]], experienced: bool
) -> list[str]:
    """Raises if a frame has an element that the network will not know or has never seen; returns warnings.

    Args:
        symbols: elements of the network.
        train: what it learns from.
        others: validation and test frames, by name.
        experienced: it has learned from frames with all its elements before.
    """
    seen = set(symbols) if experienced else set()
    for frame in train:
        present = _elements(frame)
        for symbol in present.difference(symbols):
            what = f"holds {symbol}, which the model does not have (it has {', '.join(symbols)})"
            remedy = "start from another model" if experienced else "add it to model.symbols"
            raise InputError(what, frame.source, f"{remedy}, or remove the frame")
        seen |= present
    for name, frames in others.items():
        for frame in frames:
            for symbol in _elements(frame) - seen:
                what = f"({name}) holds {symbol}, which no training frame has"
                raise InputError(what, frame.source, "add such frames to data.train, or remove this one")
    return [f"no training frame has {symbol}, an element of the model" for symbol in symbols if symbol not in seen]


def _elements(frame: Frame) -> set[str]:
    return {chemical_symbols[number] for number in np.unique(frame.numbers)}


def check_labels(loss: LossConfig, train: Frames, validation: Frames) -> None:
    """Raises unless every frame of training and validation has all labels whose errors have a weight."""
    for what, weight in (("energy", "energy"), ("forces", "force"), ("stress", "stress")):
        if getattr(loss, weight) == 0.0:
            continue
        for name, frames in (("training", train), ("validation", validation)):
            _check_label(what, weight, name, frames)


def check_pairs(frames: Sequence[Frame], graphs: Iterable[Graph], cutoff: float) -> None:
    """Raises if no two atoms of any training frame are within the cutoff.

    Args:
        frames: the training frames.
        graphs: of the frames, in the same order; only as many are looked at as are needed.
        cutoff: Å, the largest.
    """
    if any(len(graph.center) for graph in graphs):
        return
    nearest = min(float(nearest_atoms(frame)[0].min()) for frame in frames)
    what = f"no two atoms of the training frames are within {cutoff:g} Å"
    if not np.isfinite(nearest):
        raise InputError(f"{what}: all of them are single atoms", frames[0].source, "add frames with several atoms")
    remedy = f"take a larger one: it has to reach several neighbors, for example {max(2.5 * nearest, 4.0):.1f}"
    raise InputError(f"{what}; the nearest are {nearest:.3g} Å apart", "model.cutoff", remedy)


def _check_label(what: str, weight: str, name: str, frames: Frames) -> None:
    # A stress needs a volume: molecules and surfaces among crystals do without.
    wanted = [k for k, frame in enumerate(frames) if what != "stress" or all(frame.periodic)]
    missing = [k for k in wanted if getattr(frames[k], what) is None]
    if wanted and not missing:
        return
    remedy = f"name the entry in data.labels.{what}, or set loss.{weight} = 0"
    if len(missing) < len(wanted):
        first = frames[missing[0]]
        problem = f"{len(missing)} of {len(wanted)} {name} frames have no {what}, among them this one"
        remedy = f"all or none: remove them, or set loss.{weight} = 0"
        if len(first.numbers) == 1 and first.energy is not None and not any(first.periodic):
            problem += ", which is a single atom"
            remedy = "write it to a file of its own and name that file both in data.isolated and in data.exclude; "
            remedy += 'model.shifts = "isolated" uses its energy'
        raise InputError(problem, first.source, remedy)
    path, of_file = frames.files[frames.origin[0, 0]]
    held = f"the file has the entries {', '.join(entries(path, of_file)) or 'none'}" if wanted else "none has a volume"
    raise InputError(f"no {name} frame has a known {what}: {held}", str(path), remedy)
