"""The frames of a training: read, checked, freed of repetitions and divided, the same way every time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from allegro_md.config.training import DataConfig, LabelsConfig, StartModel, TrainingInput
from allegro_md.errors import InputError
from allegro_md.io.disk import write_whole
from allegro_md.io.labeled import LABELS, Notes, read_frames
from allegro_md.models.allegro.architecture import parse_architecture
from allegro_md.models.modelfile import read_document
from allegro_md.training.checks import check_elements, check_frames, check_labels, check_overlaps
from allegro_md.training.duplicates import find_duplicates
from allegro_md.training.frames import Frames
from allegro_md.training.unit_checks import check_units

EXCLUDE, TRAIN, VALIDATION, TEST = "data.exclude", "data.train", "data.validation", "data.test, "
"""Names of the sets in messages; of a test set the start."""


@dataclass(frozen=True)
class Dataset:
    """The frames of a training.

    Attributes:
        train: what the weights are fitted to.
        validation: what tells how good they are while training.
        test: what is evaluated at the end, by the file's name without suffixes.
        symbols: elements in the order of the species.
        isolated: eV, energy of a single atom per element; empty without such a file.
        remarks: messages to the user on frames left out and on unusual labels.
    """

    train: Frames
    validation: Frames
    test: dict[str, Frames]
    symbols: tuple[str, ...]
    isolated: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def load_dataset(config: TrainingInput) -> Dataset:
    """Reads all files, takes out what is excluded or repeated, and draws the validation frames.

    Raises:
        InputError: names the file, and the frame if there is one: see `read_frames` and `training.checks`; frames that
            are in two of the sets; more frames wanted than there are.
    """
    data, remarks = config.data, list[str]()
    weights = {"energy": config.loss.energy, "forces": config.loss.force, "stress": config.loss.stress}
    notes = Notes(frozenset(label for label, weight in weights.items() if weight == 0.0))
    sets = _read(data, notes)
    for name, frames in sets.items():
        check_frames(frames)
        if name != EXCLUDE:
            remarks += check_units(frames.files, data.labels, notes)
            check_overlaps(frames)
    remarks = notes.lines() + remarks
    sets = _separate(sets, data.drop_repeats, remarks)
    train, validation = _divide(data, sets[TRAIN], sets.get(VALIDATION))
    tests = {name.removeprefix(TEST): frames for name, frames in sets.items() if _is_test(name)}
    symbols = _symbols(config, train)
    experienced = isinstance(config.model, StartModel)
    remarks += check_elements(symbols, train, {"validation": validation, **tests}, experienced)
    check_labels(config.loss, train, validation)
    isolated = {} if data.isolated is None else _isolated(data.isolated, data.labels)
    return Dataset(train, validation, tests, symbols, isolated, remarks)


def _read(data: DataConfig, notes: Notes) -> dict[str, Frames]:
    """All sets that are given, by the key of the input; excluded frames first."""
    sets = {EXCLUDE: Frames.read(data.exclude, data.labels, notes), TRAIN: Frames.read(data.train, data.labels, notes)}
    if isinstance(data.validation, tuple):
        sets[VALIDATION] = Frames.read(data.validation, data.labels, notes)
    # Named without suffixes; with the folder where several files are called the same.
    short = [path.name.split(".")[0] for path in data.test]
    for path, name in zip(data.test, short, strict=True):
        name = TEST + (f"{path.parent.name}-{name}" if short.count(name) > 1 else name)
        if name in sets:
            raise InputError("several files are called so", name, "rename one of them")
        sets[name] = Frames.read([path], data.labels, notes)
    return sets


# --- the same frame twice -----------------------------------------------------------------------------------------

_Place = tuple[str, int]
"""Name of a set, and index of a frame in it."""


def _separate(sets: Mapping[str, Frames], drop_repeats: bool, remarks: list[str]) -> dict[str, Frames]:
    """The sets without training frames that are excluded or there already, and, if wished, without trained-on tests.

    Raises:
        InputError: a frame is in two sets that must not share any, or nothing is left of one.
    """
    names = list(sets)
    equal = [((names[a], i), (names[b], j)) for (a, i), (b, j) in find_duplicates(list(sets.values()))]
    excluded = {later for earlier, later in equal if earlier[0] == EXCLUDE and later[0] == TRAIN}
    # Pairs are complete and in order: the first of some equal frames is never the later of a pair.
    twice = {later: earlier for earlier, later in equal if earlier[0] == later[0] == TRAIN and later not in excluded}
    between = [(earlier, later) for earlier, later in equal if _must_differ(earlier[0], later[0])]
    between = [pair for pair in between if not excluded.union(twice).intersection(pair)]
    seen = (
        {later for earlier, later in between if earlier[0] == TRAIN and _is_test(later[0])} if drop_repeats else set()
    )
    between = [(earlier, later) for earlier, later in between if later not in seen]
    if between:
        raise _shared(sets, between)
    if len(sets[EXCLUDE]):
        remarks.append(f"training frames excluded: {len(excluded)} of {len(sets[TRAIN])}")
    remarks += _remarks_on(twice, sets[TRAIN])
    for name in names:
        if count := sum(place[0] == name for place in seen):
            remarks.append(f"{count} of {len(sets[name])} frames of {name} are in {TRAIN} and were left out")
    gone = excluded.union(twice, seen)
    return {name: _without(name, frames, gone) for name, frames in sets.items()}


def _is_test(name: str) -> bool:
    return name.startswith(TEST)


def _must_differ(one: str, other: str) -> bool:
    """Tells if two sets must not share a frame; test sets may."""
    return one != other and EXCLUDE not in (one, other) and not (_is_test(one) and _is_test(other))


def _shared(sets: Mapping[str, Frames], equal: Sequence[tuple[_Place, _Place]]) -> InputError:
    (one, i), (other, j) = equal[0]
    count = len({later for earlier, later in equal if (earlier[0], later[0]) == (one, other)})
    what = f"{count} of its frames are in {one}, too: {sets[other][j].source} is {sets[one][i].source}"
    if one != TRAIN:
        return InputError(what, other, "remove them from one of the files")
    remedy = "list the file in data.exclude, too, and training goes without them"
    if _is_test(other):
        remedy += "; or test without: data.drop_repeats = true"
    return InputError(what, other, remedy)


def _remarks_on(twice: Mapping[_Place, _Place], train: Frames) -> Iterator[str]:
    """Describes the training frames that occur more than once."""
    if not twice:
        return
    pairs = [(train[j], train[i]) for (_, j), (_, i) in twice.items()]
    differing = sum(one.energy is not None and abs(one.energy - (other.energy or 0.0)) > 1e-3 for one, other in pairs)
    one, other = pairs[0]
    again = f"; {differing} with another energy" if differing else ""
    yield f"training frames left out as repeated: {len(pairs)}, first {one.source}, which is {other.source}{again}"


def _without(name: str, frames: Frames, gone: set[_Place]) -> Frames:
    rest = frames.take([k for k in range(len(frames)) if (name, k) not in gone])
    if len(frames) and not len(rest):
        raise InputError("nothing is left of its frames", name, "exclude others, or give more files")
    return rest


# --- the division -------------------------------------------------------------------------------------------------


def _divide(data: DataConfig, train: Frames, given: Frames | None) -> tuple[Frames, Frames]:
    """Training and validation frames, each in the order of the files; drawn by `data.seed`."""
    order = np.random.Generator(np.random.Philox(data.seed)).permutation(len(train))
    held = 0
    if not isinstance(data.validation, tuple):
        share = data.validation
        held = share if isinstance(share, int) else max(1, round(share * len(train)))
    most = len(train) - held
    if most < 1:
        what = f"{held} validation frames leave no training frame of {len(train)}"
        raise InputError(what, "data.validation", "take fewer")
    wanted = most if data.frames is None else data.frames
    if wanted > most:
        what = f"{wanted} training frames are wanted, and there are {most}"
        raise InputError(what + (f" besides {held} for validation" if held else ""), "data.frames", "take fewer")
    drawn = train.take(np.sort(order[:held])) if given is None else given
    return train.take(np.sort(order[held : held + wanted])), drawn


def _symbols(config: TrainingInput, train: Frames) -> tuple[str, ...]:
    """Those of the model, else those of the training frames by atomic number."""
    if isinstance(config.model, StartModel):
        return parse_architecture(read_document(config.model.start)["architecture"]).symbols
    if config.model.symbols is not None:
        return config.model.symbols
    numbers = sorted({int(number) for frame in train for number in np.unique(frame.numbers)})
    return tuple(chemical_symbols[number] for number in numbers)


def _isolated(path: Path, labels: LabelsConfig) -> dict[str, float]:
    """eV of single atoms, per element."""
    energies: dict[str, float] = {}
    for frame in read_frames(path, labels, Notes(frozenset(LABELS) - {"energy"})):
        if len(frame.numbers) != 1 or frame.energy is None or not np.isfinite(frame.energy):
            raise InputError("is not a single atom with an energy", frame.source, "give one such frame per element")
        symbol = chemical_symbols[frame.numbers[0]]
        if symbol in energies:
            raise InputError(f"is {symbol} once more", frame.source, "give one frame per element")
        energies[symbol] = frame.energy
    return energies


def write_split(dataset: Dataset, path: Path) -> None:
    """Writes which frames of which files went where: JSON, a line per set and file, indices from 0.

    Raises:
        ResourceError: the disk is full.
    """
    sets = {"train": dataset.train, "validation": dataset.validation}
    sets |= {f"test {name}": frames for name, frames in dataset.test.items()}
    lines = [
        f"  {json.dumps(name)}: {{\n"
        + ",\n".join(f"    {json.dumps(str(file))}: {json.dumps(index)}" for file, index in frames.by_file() if index)
        + "\n  }"
        for name, frames in sets.items()
    ]
    write_whole(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
