"""npz files of the MD17 and rMD17 families: one molecule, many configurations."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.training import Labels
from allegro_md.errors import InputError
from allegro_md.io.frame import Array
from allegro_md.io.labels import Raw
from allegro_md.io.total_energy import unit_of_total

_NAMES = {
    "numbers": ("nuclear_charges", "z"),
    "position": ("coords", "R"),
    "energy": ("energies", "E"),
    "forces": ("forces", "F"),
}
"""rMD17's names, then MD17's."""

UNIT = "kcal/mol"
"""Of both families' energies; the files do not say so."""


def read_npz(path: Path, labels: Labels) -> tuple[list[Raw], Labels]:
    """All frames of a file of the families, and the labels with the names and the unit found.

    Where the user has named no unit, the families' is taken if the energies are total energies in it.

    Raises:
        InputError: not of the families, or the unit of its energies has to be named.
    """
    where = str(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"is not a readable npz file of numbers ({reason})", where, "copy it again") from None
    names = {what: next((name for name in some if name in arrays), None) for what, some in _NAMES.items()}
    if names["numbers"] is None or names["position"] is None:
        wanted = " and ".join(" or ".join(_NAMES[what]) for what in ("numbers", "position"))
        raise InputError(f"holds no {wanted} (it has {', '.join(sorted(arrays))})", where, "rename the arrays")
    numbers, position = np.asarray(arrays[names["numbers"]]), np.asarray(arrays[names["position"]], dtype=np.float64)
    if numbers.ndim != 1 or position.ndim != 3 or position.shape[1:] != (len(numbers), 3):
        shapes = f"{names['numbers']} {numbers.shape}, {names['position']} {position.shape}"
        raise InputError(f"has arrays of unexpected shapes: {shapes}", where, "expected (n,) and (frames, n, 3)")
    count = len(position)
    found = {what: getattr(labels, what) or names[what] for what in ("energy", "forces")}
    if "energy_unit" not in labels.model_fields_set:
        found["energy_unit"] = _unit(numbers, arrays.get(found["energy"] or ""), where)
    values = {name: array for name, array in arrays.items() if array.ndim and len(array) == count}
    raws = [
        Raw(
            numbers=numbers.astype(np.int64),
            position=position[index],
            cell=np.zeros((3, 3)),
            periodic=(False, False, False),
            values={name: array[index] for name, array in values.items()},
            kind="",
            source=f"{path.name}, frame {index}",
        )
        for index in range(count)
    ]
    return raws, labels.model_copy(update=found)


def _unit(numbers: NDArray[np.int64], energy: Array | None, where: str) -> str:
    """The families' unit, if the energies agree with it."""
    unit = None if energy is None or not energy.size else unit_of_total(numbers, float(np.median(energy)))
    if energy is not None and unit != UNIT:
        hint = f'it seems data.labels.energy_unit = "{unit}"' if unit else 'for example data.labels.energy_unit = "eV"'
        what = f"its energies are not total energies in {UNIT}, the unit of the MD17 family"
        raise InputError(what, where, f"name their unit, {hint}")
    return UNIT
