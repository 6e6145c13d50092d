"""Faults of the data, found before the first epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import chemical_symbols

from allegro_md.config.training import Loss
from allegro_md.errors import InputError
from allegro_md.io.labeled import Frame


def check_frames(frames: Sequence[Frame]) -> None:
    """Raises unless every frame has atoms, known elements and finite numbers."""
    for frame in frames:
        if not len(frame.numbers):
            raise InputError("holds no atoms", frame.source, "remove it")
        if frame.numbers.min() < 1 or frame.numbers.max() >= len(chemical_symbols):
            raise InputError("has an atom of no known element", frame.source, "correct it")
        for name, value in (
            ("position", frame.position),
            ("cell", frame.cell),
            ("energy", frame.energy),
            ("forces", frame.forces),
            ("stress", frame.stress),
        ):
            if value is not None and not np.all(np.isfinite(value)):
                raise InputError(f"its {name} is not finite", frame.source, "correct it, or remove the frame")


def check_elements(symbols: Sequence[str], train: Sequence[Frame], others: Mapping[str, Sequence[Frame]]) -> None:
    """Raises if a frame has an element that the network will not know or has never seen."""
    seen = {int(number) for frame in train for number in frame.numbers}
    for number in sorted(seen):
        if chemical_symbols[number] not in symbols:
            frame = next(frame for frame in train if number in frame.numbers)
            what = f"holds {chemical_symbols[number]}, which the model does not have ({', '.join(symbols)})"
            raise InputError(what, frame.source, "add it to model.symbols, or remove the frame")
    for name, frames in others.items():
        for frame in frames:
            for number in set(frame.numbers.tolist()) - seen:
                what = f"({name}) holds {chemical_symbols[number]}, which no training frame has"
                raise InputError(what, frame.source, "add such frames to data.train, or remove this one")


def check_labels(loss: Loss, train: Sequence[Frame], validation: Sequence[Frame]) -> list[str]:
    """Raises if a label that has a weight is not there in every frame of training and validation; returns remarks."""
    for what, weight in (("energy", loss.energy), ("forces", loss.force), ("stress", loss.stress)):
        if weight == 0.0:
            continue
        for frames in (train, validation):
            for frame in frames:
                if getattr(frame, what) is None and not (what == "stress" and not all(frame.periodic)):
                    raise InputError(f"has no {what}", frame.source, "name its key in data.labels, or set its weight 0")
    return []
