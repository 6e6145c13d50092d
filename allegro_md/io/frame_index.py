"""``trajectory.h5``: the small H5MD file through which the segments are read.

Format: de Buyl, Colberg, Höfling, "H5MD: a structured, efficient, and portable file format for molecular data",
Comput. Phys. Commun. 185, 1546 (2014), doi:10.1016/j.cpc.2014.01.018, version 1.1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from allegro_md.io.disk import whole
from allegro_md.io.layout import Column
from allegro_md.io.segments import FOLDER, segment_path

NAME = "trajectory.h5"
ATOMS = "atoms.h5"

OBSERVABLES = {
    "potential_energy": "eV",
    "kinetic_energy": "eV",
    "total_energy": "eV",
    "temperature": "K",
    "pressure": "GPa",
    "volume": "Angstrom+3",
}
"""Elements of ``/observables`` and their units."""

PER_FRAME = (
    Column("step", (), "int64", per_atom=False),
    Column("time", (), "float64", "fs", per_atom=False),
    Column("edges", (3, 3), "float64", "Angstrom", per_atom=False),
    Column("observables", (len(OBSERVABLES),), "float64", per_atom=False),
)
"""Datasets of a segment that are not per atom."""

FIXED = (Column("species", (), "int32"), Column("id", (), "int64"), Column("mass", (), "float64", "amu"))
"""Per-atom columns that do not change with time, kept in `ATOMS`."""


@dataclass
class FrameIndex:
    """Quantities of all frames in complete segments that are not per atom.

    Attributes:
        counts: frames that count in each segment.
        values: per column of `PER_FRAME`, (frames, …).
    """

    counts: list[int] = field(default_factory=list)
    values: dict[str, NDArray[Any]] = field(
        default_factory=lambda: {c.name: np.zeros((0, *c.shape), c.dtype) for c in PER_FRAME}
    )

    def append(self, frames: dict[str, NDArray[Any]]) -> None:
        """Adds a segment's frames."""
        self.counts.append(len(frames["step"]))
        self.values = {name: np.concatenate([old, frames[name]]) for name, old in self.values.items()}


@dataclass(frozen=True)
class Box:
    """Constant properties of the cell.

    Attributes:
        periodic: one flag per axis.
        bounded: the cell has three vectors of its own.
    """

    periodic: tuple[bool, bool, bool]
    bounded: bool


def write_index(directory: Path, history: FrameIndex, columns: Sequence[Column], n_atoms: int, box: Box) -> None:
    """Replaces the index file by one with the frames of `history`; readers of the old one are not disturbed."""
    path = directory / NAME
    with whole(path) as part, h5py.File(part, "w") as file:
        describe_file(file)
        everything = file.create_group("particles/all")
        _fixed(everything, directory / FOLDER / ATOMS, n_atoms)
        for column in columns:
            group = everything.create_group(column.name)
            group.create_virtual_dataset("value", *_virtual(history, column, n_atoms))
            group["value"].attrs["unit"] = column.unit
        first = describe_frames(everything, history, box)
        for k, (name, unit) in enumerate(OBSERVABLES.items()):
            group = file.create_group(f"observables/{name}")
            group["value"] = history.values["observables"][:, k]
            group["value"].attrs["unit"] = unit
            _times(group, history, first)
        file["parameters/segment_frames"] = np.array(history.counts, dtype=np.int64)
        if "force" in everything:
            without_force(file["particles"])


def read_index(directory: Path, segments: int) -> FrameIndex:
    """The history of the first segments, from an index file on disk."""
    with h5py.File(directory / NAME, "r") as file:
        counts = file["parameters/segment_frames"][:segments].tolist()
        n = sum(counts)
        group = next(g for g in file["particles/all"].values() if isinstance(g, h5py.Group) and "step" in g)
        edges = file.get("particles/all/box/edges/value")
        values = {
            "step": group["step"][:n],
            "time": group["time"][:n],
            "edges": np.zeros((n, 3, 3)) if edges is None else edges[:n],
            "observables": np.stack([file[f"observables/{name}/value"][:n] for name in OBSERVABLES], axis=1),
        }
    return FrameIndex(counts, values)


def describe_file(file: h5py.File) -> None:
    """Writes the author, program and version of the file, and the H5MD version it follows."""
    group = file.create_group("h5md")
    group.attrs["version"] = np.array([1, 1], dtype=np.int32)
    group.create_group("author").attrs["name"] = os.environ.get("USER", "unknown")
    creator = group.create_group("creator")
    creator.attrs["name"] = "allegro-md"
    try:
        creator.attrs["version"] = metadata.version("allegro-md")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        creator.attrs["version"] = "0"
    group.create_group("modules/units").attrs["version"] = np.array([1, 0], dtype=np.int32)


def _fixed(group: h5py.Group, source: Path, n_atoms: int) -> None:
    """Elements without time: plain datasets, as H5MD has them; `source` is the file that holds them."""
    with h5py.File(source, "r") as atoms:
        columns = [column for column in FIXED if column.name in atoms]  # masses are missing in earlier versions' files
    for column in columns:
        layout = h5py.VirtualLayout((n_atoms,), column.dtype)
        layout[:] = h5py.VirtualSource(f"{FOLDER}/{ATOMS}", column.name, (1, n_atoms), column.dtype)[0]
        group.create_virtual_dataset(column.name, layout, fillvalue=-1)
        if column.unit:
            group[column.name].attrs["unit"] = column.unit


def _virtual(history: FrameIndex, column: Column, n_atoms: int) -> tuple[h5py.VirtualLayout, Any]:
    """All frames of a column, and the value that a reader sees where a segment file is missing."""
    layout = h5py.VirtualLayout((sum(history.counts), n_atoms, *column.shape), column.dtype)
    start = 0
    for index, count in enumerate(history.counts):
        name = segment_path(Path(FOLDER), index).as_posix()  # relative: the directory may move
        source = h5py.VirtualSource(name, column.name, (count, n_atoms, *column.shape), column.dtype)
        layout[start : start + count] = source[:count]  # a segment may hold frames that a continuation dropped
        start += count
    kind = np.dtype(column.dtype)
    return layout, np.nan if kind.kind == "f" else np.iinfo(kind).min


def describe_frames(atoms: h5py.Group, history: FrameIndex, box: Box) -> h5py.Group | None:
    """Gives the quantities of the atoms of all frames their steps and times, and adds the box.

    Returns:
        The group that holds steps and times, of which the others have hard links; None where there are no quantities.
    """
    first: h5py.Group | None = None
    for group in [group for group in atoms.values() if isinstance(group, h5py.Group)]:
        first = _times(group, history, first)
    _box(atoms.create_group("box"), history, box, first)
    return first


def _times(group: h5py.Group, history: FrameIndex, first: h5py.Group | None) -> h5py.Group:
    """Gives an element its steps and times: hard links after the first."""
    if first is None:
        group["step"], group["time"] = history.values["step"], history.values["time"]
        group["time"].attrs["unit"] = "fs"
        return group
    group["step"], group["time"] = first["step"], first["time"]
    return first


def _box(group: h5py.Group, history: FrameIndex, box: Box, first: h5py.Group | None) -> None:
    group.attrs["dimension"] = 3
    group.attrs["boundary"] = ["periodic" if p else "none" for p in box.periodic]
    if box.bounded or any(box.periodic):  # H5MD: no edges where nothing is periodic and there is no box
        edges = group.create_group("edges")
        edges["value"] = history.values["edges"]
        edges["value"].attrs["unit"] = "Angstrom"
        _times(edges, history, first)


def without_force(particles: h5py.Group) -> None:
    """The same atoms without forces, under a name that sorts first.

    MDAnalysis reads the first group only, and refuses a file with a unit of force that it does not know, such as
    eV/Å. It gets everything else; the forces stay where H5MD has them, in their own unit.
    """
    group = particles.create_group("MDAnalysis")
    for name in particles["all"]:
        if name != "force":
            group[name] = h5py.SoftLink(f"/particles/all/{name}")
