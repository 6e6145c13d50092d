"""The frames of a training: read, checked, freed of repetitions and divided, the same way every time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from allegro_md.config.training import Data, StartModel, Training
from allegro_md.errors import InputError
from allegro_md.io.disk import disk_errors, finish, unfinished
from allegro_md.io.labeled import Frame
from allegro_md.models.architecture import parse_architecture
from allegro_md.models.modelfile import read_document
from allegro_md.training.checks import check_elements, check_frames, check_labels
from allegro_md.training.frames import Frames
from allegro_md.training.repeats import repeats


@dataclass(frozen=True)
class Dataset:
    """The frames of a training.

    Attributes:
        train: what the weights are fitted to.
        validation: what tells how good they are while training.
        test: what is evaluated at the end, by the file's name without suffixes.
        symbols: elements in the order of the species.
        isolated: eV, energy of a single atom per element; empty without such a file.
        remarks: what was left out, and what looks odd, for people.
    """

    train: Sequence[Frame]
    validation: Sequence[Frame]
    test: dict[str, Sequence[Frame]]
    symbols: tuple[str, ...]
    isolated: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def load_dataset(config: Training) -> Dataset:
    """Reads all files, takes out what is excluded or repeated, and draws the validation frames.

    Raises:
        InputError: names the file, and the frame if there is one: see `read_frames` and `training.checks`; frames that
            are in two of the sets; more frames wanted than there are.
    """
    data, remarks = config.data, list[str]()
    labels = data.labels
    train = Frames.read(data.train, labels)
    given = Frames.read(data.validation, labels) if isinstance(data.validation, tuple) else None
    tests = {name: Frames.read([path], labels) for name, path in _names(data.test).items()}
    excluded = Frames.read(data.exclude, labels)
    for frames in (train, given, *tests.values(), excluded):
        check_frames(frames or ())
    train = _sift(train, excluded, remarks)
    if data.drop_repeats:
        tests = {name: _unseen(train, frames, name, remarks) for name, frames in tests.items()}
    _refuse_repeats(train, given, tests)
    train, validation = _divide(data, train, given)
    symbols = _symbols(config, train)
    check_elements(symbols, train, {"validation": validation, **tests})
    remarks += check_labels(config.loss, train, validation)
    isolated = {} if data.isolated is None else _isolated(data)
    return Dataset(train, validation, dict(tests), symbols, isolated, remarks)


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    """Names without suffixes; with the folder where several files are called the same."""
    short = [path.name.split(".")[0] for path in paths]
    names = [
        f"{path.parent.name}-{name}" if short.count(name) > 1 else name for path, name in zip(paths, short, strict=True)
    ]
    for name, path in zip(names, paths, strict=True):
        if names.count(name) > 1:
            raise InputError(f"several test files are called {name}", f"data.test, {path}", "rename one of them")
    return dict(zip(names, paths, strict=True))


# --- the same frame twice -----------------------------------------------------------------------------------------


def _sift(train: Frames, excluded: Frames, remarks: list[str]) -> Frames:
    """The training frames that are not excluded, each once."""
    pairs = repeats([excluded, train])
    first = len(excluded)
    dropped = {j - first for i, j in pairs if i < first <= j}
    if len(excluded):
        remarks.append(f"{len(dropped)} of {len(train)} training frames excluded, as data.exclude has them")
    # The later of each pair: pairs are complete, so one of a set of equal ones stays.
    twice = {j - first: i - first for i, j in pairs if i >= first and j - first not in dropped}
    if twice:
        j, i = next(iter(twice.items()))
        remarks.append(
            f"{len(twice)} training frames are there more than once and were taken once "
            f"(for example {train[j].source}, and {train[i].source})"
        )
    rest = train.take([k for k in range(len(train)) if k not in dropped and k not in twice])
    if not len(rest):
        raise InputError("nothing is left of the training frames", "data.exclude", "exclude other files")
    return rest


def _unseen(train: Frames, test: Frames, name: str, remarks: list[str]) -> Frames:
    """The test frames that are not among the training frames."""
    first = len(train)
    seen = {j - first for i, j in repeats([train, test]) if i < first <= j}
    if seen:
        remarks.append(f"{len(seen)} of {len(test)} frames of data.test, {name}, are in data.train and were left out")
    return test.take([k for k in range(len(test)) if k not in seen])


def _refuse_repeats(train: Frames, validation: Frames | None, tests: dict[str, Frames]) -> None:
    """Raises if a frame is in two sets that must not share any."""
    sets = {"data.train": train, **({} if validation is None else {"data.validation": validation})}
    sets |= {f"data.test, {name}": frames for name, frames in tests.items()}
    names = [name for name, frames in sets.items() for _ in range(len(frames))]
    everything = [frame for frames in sets.values() for frame in [frames]]
    between = [(i, j) for i, j in repeats(everything) if names[i] != names[j] and not names[i].startswith("data.test")]
    if not between:
        return
    sources = [(frames, k) for frames in sets.values() for k in range(len(frames))]
    i, j = between[0]
    (one, k), (other, m) = sources[i], sources[j]
    shared = len({second for first, second in between if names[first] == names[i] and names[second] == names[j]})
    remedy = "list that file in data.exclude, too, and training goes without them; or test without: drop_repeats = true"
    raise InputError(
        f"{shared} of its frames are in {names[i]}, too: {other[m].source} is {one[k].source}",
        names[j],
        remedy if names[i] == "data.train" else "remove them from one of the files",
    )


# --- the division -------------------------------------------------------------------------------------------------


def _divide(data: Data, train: Frames, given: Frames | None) -> tuple[Frames, Frames]:
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
    drawn = train.take(_sorted(order[:held])) if given is None else given
    return train.take(_sorted(order[held : held + wanted])), drawn


def _sorted(index: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.sort(index)


def _symbols(config: Training, train: Frames) -> tuple[str, ...]:
    """Those of the model, else those of the training frames by atomic number."""
    if isinstance(config.model, StartModel):
        return parse_architecture(read_document(config.model.start)["architecture"]).symbols
    if config.model.symbols is not None:
        return config.model.symbols
    numbers = sorted({int(number) for frame in train for number in np.unique(frame.numbers)})
    return tuple(chemical_symbols[number] for number in numbers)


def _isolated(data: Data) -> dict[str, float]:
    """eV of single atoms, per element."""
    assert data.isolated is not None
    energies: dict[str, float] = {}
    for frame in Frames.read([data.isolated], data.labels):
        if len(frame.numbers) != 1 or frame.energy is None:
            raise InputError("is not a single atom with an energy", frame.source, "give one frame per element")
        energies[chemical_symbols[frame.numbers[0]]] = frame.energy
    return energies


def write_split(dataset: Dataset, path: Path) -> None:
    """Writes which frames of which files went where: JSON, indices from 0.

    Raises:
        ResourceError: the disk is full.
    """
    sets = {"train": dataset.train, "validation": dataset.validation, **dataset.test}
    document = {
        name: {str(file): index for file, index in frames.by_file() if index}
        for name, frames in sets.items()
        if isinstance(frames, Frames)
    }
    with disk_errors(path):
        unfinished(path).write_text(json.dumps(document, indent=1) + "\n")
        finish(path)
