"""npz files of the MD17 and rMD17 families: one molecule, many configurations."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.io.label_notes import LABELS, Notes
from allegro_md.io.labeled_frame import Raw
from allegro_md.io.labels import find_keys
from allegro_md.io.total_energy import unit_of_total

_NUMBERS, _POSITION = ("nuclear_charges", "z"), ("coords", "R")
"""rMD17's names, then MD17's."""

_ALIASES = {"energies": "energy", "E": "energy", "F": "forces"}
"""Names of labels, and what other files call them."""

UNIT = "kcal/mol"
"""Of both families' energies; the files do not say so."""


def read_npz(path: Path) -> list[Raw]:
    """All frames of a file of the families.

    Raises:
        InputError: not of the families.
    """
    where = str(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (AttributeError, OSError, ValueError, zipfile.BadZipFile) as error:  # the first: a single array
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"is not a readable npz file of numbers ({reason})", where, "copy it again") from None
    numbers, position = _first(arrays, _NUMBERS, where), _first(arrays, _POSITION, where)
    if numbers.ndim != 1 or position.ndim != 3 or position.shape[1:] != (len(numbers), 3):
        what = f"has atomic numbers of shape {numbers.shape} and positions of shape {position.shape}"
        raise InputError(what, where, "expected (n,) and (frames, n, 3)")
    values = {name: array for name, array in arrays.items() if array.ndim and len(array) == len(position)}
    values |= {other: values[name] for name, other in _ALIASES.items() if name in values and other not in values}
    return [
        Raw(
            numbers=numbers.astype(np.int64),
            position=place.astype(np.float64),
            cell=np.zeros((3, 3)),
            periodic=(False, False, False),
            values={name: array[index] for name, array in values.items()},
            kind="",
            source=f"{path.name}, frame {index}",
        )
        for index, place in enumerate(position)
    ]


def _first(arrays: Mapping[str, NDArray[Any]], names: Sequence[str], where: str) -> NDArray[Any]:
    for name in names:
        if name in arrays:
            return arrays[name]
    what = f"holds no array {' or '.join(names)} (it has {', '.join(sorted(arrays)) or 'none'})"
    raise InputError(what, where, "rename the array")


def with_unit(raws: Sequence[Raw], labels: LabelsConfig, path: Path) -> LabelsConfig:
    """The labels, with the families' unit if the input states none and the energies are total energies in it.

    Raises:
        InputError: the input has to state the unit.
    """
    key = find_keys(raws, labels, path, Notes(frozenset(LABELS) - {"energy"})).energy
    if "energy_unit" in labels.model_fields_set:
        return labels
    median = np.median([raw.values[key] for raw in raws]) if key is not None else 0.0
    unit = unit_of_total(raws[0].numbers, float(median))
    if unit != UNIT:
        hint = f'it seems data.labels.energy_unit = "{unit}"' if unit else 'for example data.labels.energy_unit = "eV"'
        what = f"its energies are not total energies in {UNIT}, the unit of the MD17 family"
        raise InputError(what, str(path), f"state their unit, {hint}")
    return labels.model_copy(update={"energy_unit": UNIT})
