"""Files of ``allegro-md eval --out``: plots, the error histogram, the frames with large errors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from allegro_md.io.disk import write_whole
from allegro_md.io.labeled import Frame
from allegro_md.training import plots
from allegro_md.training.calibration import Calibration
from allegro_md.training.evaluation import Evaluation


def write_files(
    evaluation: Evaluation, frames: Sequence[Frame], found: Calibration | None, worst: int, out: Path, title: str
) -> list[Path]:
    """Writes ``parity.png``, ``histogram.png``, ``histogram.csv``, with a committee ``calibration.png``.

    Args:
        evaluation: of the frames.
        frames: that were evaluated.
        found: the calibration of a committee.
        worst: how many frames go to ``worst.extxyz``.
        out: an existing folder.
        title: of the plots.

    Returns:
        The files.

    Raises:
        ResourceError: one cannot be written.
    """
    contents = {
        "parity.png": plots.parity(evaluation, title),
        "histogram.png": plots.histogram(evaluation, title),
        "histogram.csv": _histogram(evaluation),
    }
    if found is not None:
        contents["calibration.png"] = plots.calibration(found, title)
    if worst:
        contents["worst.extxyz"] = _worst(evaluation, frames, worst)
    for name, content in contents.items():
        write_whole(out / name, content)
    return [out / name for name in contents]


def _histogram(evaluation: Evaluation) -> bytes:
    lines = ["quantity,lower,upper,count"]
    for item in plots.histograms(evaluation):
        for lower, upper, count in zip(item.edges[:-1].tolist(), item.edges[1:].tolist(), item.counts, strict=True):
            lines.append(f"{item.name},{lower!r},{upper!r},{count}")
    return ("\n".join(lines) + "\n").encode()


def _worst(evaluation: Evaluation, frames: Sequence[Frame], count: int) -> bytes:
    """Extended XYZ: the labels as results, beside them what the model says."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    images = []
    for k in evaluation.worst(count):
        frame, first = frames[k], evaluation.starts[k]
        atoms = Atoms(frame.numbers, frame.position, cell=frame.cell, pbc=frame.periodic)
        model = evaluation.forces[first : first + len(atoms)]
        atoms.arrays["model_forces"] = model
        atoms.info = {"source": frame.source, "model_energy": float(evaluation.energy[k])}
        if frame.kind:
            atoms.info["config_type"] = frame.kind
        if frame.forces is not None:
            atoms.arrays["force_error"] = model - frame.forces
            atoms.info["force_rmse"] = float(evaluation.frame_force_rmse[k])
        if len(evaluation.member_forces) > 1:
            atoms.arrays["force_std"] = evaluation.force_std[first : first + len(atoms)]
        atoms.calc = SinglePointCalculator(atoms, energy=frame.energy, forces=frame.forces)
        images.append(atoms)
    file = io.StringIO()
    write(file, images, format="extxyz")
    return file.getvalue().encode()
