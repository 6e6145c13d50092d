"""Conversion of trajectories: frame by frame, beside the file that is replaced when all is written."""

from __future__ import annotations

from pathlib import Path

from allegro_md.errors import InputError
from allegro_md.io.convert import by_ase, dcd, extxyz, h5md, lammps_data, lammps_dump
from allegro_md.io.convert.outline import Format, FrameWriter, Outline, Say
from allegro_md.io.disk import disk_errors, finish, unfinished
from allegro_md.io.frame_index import NAME
from allegro_md.io.frames import FrameSource
from allegro_md.io.frames.text import PACKED
from allegro_md.io.segments import FOLDER
from allegro_md.io.trajectory import Trajectory

FORMATS: tuple[Format, ...] = (h5md.FORMAT, extxyz.FORMAT, lammps_data.FORMAT, lammps_dump.FORMAT, dcd.FORMAT)
"""Formats with a writer here; ASE writes the others."""

_WORDS = {
    "velocity": "velocities", "force": "forces", "image": "images", "mass": "masses", "step": "steps", "time": "times",
    "origin": "corner of the box",
}  # fmt: skip


def convert(source: FrameSource, chosen: slice, out: Path, say: Say, overwrite: bool = False) -> int:
    """Writes frames of a trajectory in the format that the name of a file stands for.

    Args:
        source: the trajectory.
        chosen: frames of it.
        out: the file to write.
        say: takes a sentence about each thing that the format cannot hold, once.
        overwrite: replace a file that is there.

    Returns:
        Number of frames written.

    Raises:
        InputError: no such format, no frames chosen, more than the format holds, or the file is there.
        ResourceError: the disk refuses the file.
    """
    form = format_of(out)
    _check_place(out, source.path, overwrite)
    frames = source[chosen]
    if len(frames) == 0:
        many = f"{source.n_frames} frame{'s' * (source.n_frames != 1)}"
        raise InputError(f"has {many}, and none was chosen", str(source.path),
                         "choose others, for example --frames -1 for the last")
    if len(frames) > 1 and not form.several:
        raise InputError(f"{form.name} holds one frame, and {len(frames)} were chosen", str(out),
                         "choose one, for example --frames -1 for the last")
    said: set[str] = set()

    def once(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            say(sentence)

    outline = Outline(source, frames, source.steps[chosen], source.times[chosen], once)
    for sentence in source.remarks:
        once(sentence)
    if isinstance(source, Trajectory):
        once("energies, temperature and pressure of the trajectory are not converted")
    _say_lost(form, outline)
    _write(form, outline, out)
    return len(frames)


def format_of(path: Path) -> Format:
    """The format that the name of a file stands for.

    Raises:
        InputError: none.
    """
    suffix = path.suffix.lower()
    if suffix in PACKED:
        raise InputError("compressed files are not written", str(path), f"leave out {path.suffix}, then compress it")
    found = next((form for form in FORMATS if suffix in form.suffixes), None) or by_ase.format_of(path)
    if found is None:
        known = ", ".join(f"{form.suffixes[0]} ({form.name})" for form in FORMATS)
        raise InputError("its name does not say in which format it is to be written", str(path),
                         f"let it end with {known}, or as ASE has it")
    return found


def _check_place(out: Path, path: Path, overwrite: bool) -> None:
    """Raises InputError where a file cannot be written, or must not be replaced."""
    if not out.absolute().parent.is_dir():
        raise InputError("no such folder", str(out.parent), "make it, or choose another place")
    if out.is_dir():
        raise InputError("is a folder", str(out), "name a file")
    if out.exists() and out.samefile(path):
        raise InputError("is the file that is read", str(out), "choose another name")
    if out.name == NAME and (out.absolute().parent / FOLDER).is_dir():
        raise InputError(f"is the trajectory of a run, with its folder {FOLDER}/", str(out), "choose another name")
    if out.exists() and not overwrite:
        raise InputError("is there already", str(out), "choose another name, or add --overwrite")


def _say_lost(form: Format, outline: Outline) -> None:
    """Says what the frames hold and the format does not."""
    there = [*outline.source.fields]
    there += ["mass"] if not outline.ordinary_masses else []
    there += ["step"] if (outline.steps != range(len(outline.steps))).any() else []
    there += ["time"] if outline.timed else []
    there += ["origin"] if outline.frames[0].cell.origin.any() else []
    lost = [_WORDS[name] for name in there if name in _WORDS and name not in form.holds]
    if lost:
        listed = lost[0] if len(lost) == 1 else f"{', '.join(lost[:-1])} and {lost[-1]}"
        outline.say(f"{form.name} holds no {listed}: left out")


def _write(form: Format, outline: Outline, out: Path) -> None:
    """Writes all frames beside `out`, then gives the file its name; nothing stays where it fails."""
    part = unfinished(out)
    with disk_errors(part):
        part.unlink(missing_ok=True)
    try:
        _fill(form.open(part, outline), outline)
        with disk_errors(out):
            finish(out)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _fill(writer: FrameWriter, outline: Outline) -> None:
    whole = False
    try:
        for frame in outline.frames:
            writer.write(frame)
        whole = True
    finally:
        writer.close(whole)
