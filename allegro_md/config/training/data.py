"""``[data]``: labeled configurations, where their labels are, and how they are divided."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, model_validator

from allegro_md.config.fields import (
    Choice,
    ExistingFile,
    FilePath,
    Flag,
    Marker,
    Seed,
    Table,
    Whole,
    problem,
    show,
)
from allegro_md.units import DIMENSIONS, FORCE_UNITS, STRESS_UNITS

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")


@dataclass(frozen=True)
class _Files(Marker):
    """One path or a list of them, which may have to name one."""

    some: bool = True

    def parse(self, value: Any, info: ValidationInfo) -> tuple[Path, ...]:
        names = value if isinstance(value, (list, tuple)) else [value]
        if self.some and not names:
            raise problem("an empty list of files", "name at least one")
        return tuple(FilePath().parse(name, info) for name in names)


class _Held(Marker):
    """Frames to take out: how many, which share, or files of their own."""

    def parse(self, value: Any, info: ValidationInfo) -> int | float | tuple[Path, ...]:
        if isinstance(value, bool):
            raise problem(f"expected a number of frames, a fraction or a file, got {show(value)}", "for example 50")
        if isinstance(value, int):
            return Whole(1).parse(value)
        if isinstance(value, float):
            if not 0.0 < value < 1.0:
                raise problem(f"a fraction lies between 0 and 1, got {show(value)}", "for example 0.1, or 50 frames")
            return value
        return _Files().parse(value, info)


class _Name(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not value.strip():
            raise problem(f"expected a name, got {show(value)}", "write it in quotes")
        return value


class _Order(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[str, ...]:
        words = tuple(value.split()) if isinstance(value, str) else ()
        if sorted(words) != sorted(VOIGT):
            remedy = 'for example "xx yy zz yz xz xy"'
            raise problem(f"expected the six components in their order, got {show(value)}", remedy)
        return words


EnergyUnit = Annotated[str, Choice(tuple(DIMENSIONS["energy"]))]
LengthUnit = Annotated[str, Choice(tuple(DIMENSIONS["length"]))]
ForceUnit = Annotated[str, Choice(("energy/length", *FORCE_UNITS))]
StressUnit = Annotated[str, Choice((*STRESS_UNITS, "energy/length^3"))]


class LabelsConfig(Table):
    """Names and units of the labels; absent names are looked for.

    Attributes:
        energy: key of the energy, per frame.
        forces: key of the forces, per atom.
        stress: key of the stress (or, with `virial`, of −dE/dstrain), per frame.
        energy_unit: of energies.
        length_unit: of positions and cells.
        force_unit: of forces; "energy/length" is that of energies over that of lengths.
        stress_unit: of the stress; "energy/length^3" is that of energies over that of lengths, cubed. Stated for a
            virial, it says that the entry is a stress in spite of its name.
        stress_sign: "tension" (ASE) or "compression" (VASP): what is positive; None: tension for a stress, compression
            for a virial.
        stress_order: of six components.
        virial: the key holds a virial, −dE/dstrain, in the unit of energies; an entry called virial does so anyway.
    """

    energy: Annotated[str, _Name()] | None = None
    forces: Annotated[str, _Name()] | None = None
    stress: Annotated[str, _Name()] | None = None
    energy_unit: EnergyUnit = "eV"
    length_unit: LengthUnit = "Å"
    force_unit: ForceUnit = "energy/length"
    stress_unit: StressUnit = "eV/Å^3"
    stress_sign: Annotated[str, Choice(("tension", "compression"))] | None = None
    stress_order: Annotated[tuple[str, ...], _Order()] = VOIGT
    virial: Flag = False


_PATHS = ("train", "validation", "test", "exclude", "isolated")


class DataConfig(Table):
    """Labeled configurations.

    Attributes:
        folder: what the other paths are relative to; None: the input file's folder.
        train: files that hold the training frames.
        validation: how many of them (a number or a fraction) are set aside, or files of their own.
        test: files evaluated when training has ended.
        frames: how many training frames to draw of those left after validation; None: all.
        exclude: files whose configurations are taken out of `train`.
        drop_repeats: test frames that are among those of `train` are left out of the test, instead of refused.
        isolated: file of single atoms whose energies become the shifts.
        labels: names and units.
        seed: of every draw.
    """

    folder: Annotated[str, _Name()] | None = None
    train: Annotated[tuple[Path, ...], _Files()] = Field(examples=['"train.extxyz"'])
    validation: Annotated[int | float | tuple[Path, ...], _Held()] = 0.1
    test: Annotated[tuple[Path, ...], _Files(some=False)] = ()
    frames: Annotated[int, Whole(1)] | None = None
    exclude: Annotated[tuple[Path, ...], _Files(some=False)] = ()
    drop_repeats: Flag = False
    isolated: ExistingFile | None = None
    labels: LabelsConfig = LabelsConfig()
    seed: Seed = 1

    @model_validator(mode="before")
    @classmethod
    def _below_folder(cls, data: Any) -> Any:
        folder = data.get("folder") if isinstance(data, dict) else None
        if not isinstance(folder, str):
            return data
        return {key: _below(folder, value) if key in _PATHS else value for key, value in data.items()}


def _below(folder: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_below(folder, name) for name in value]
    return str(Path(folder, value)) if isinstance(value, str) else value
