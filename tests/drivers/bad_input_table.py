"""The table of bad inputs: what is made, what is asked for, how it must end and what the message must say.

Every case works in its own copy of the folder `make_good` makes, and on any number of ranks.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bad_inputs import (
    HEADER,
    PARAMETERS,
    Case,
    all_of,
    both_checkpoints,
    change,
    cut,
    extxyz,
    flip,
    flip_positions,
    folder_named,
    locked,
    other_safetensors,
    raw,
    resaved,
    sets,
    text,
    wrong_format,
    wrong_result,
)

COMMAND_LINES = (
    Case("no such input", ("none.toml",), ("none.toml", "no such input file")),
    Case("a folder as input", ("done",), ("done", "folder")),
    Case("no input", ("run",), ("INPUT.toml", "--help")),
    Case("two inputs", ("argon.toml", "file.toml"), ("file.toml", "--help")),
    Case("unknown option", ("argon.toml", "--restart"), ("--restart", "--help")),
    Case("unknown subcommand", ("chek", "argon.toml"), ("chek", "'check'")),
    Case("subcommand of the future", ("distill", "argon.toml"), ("distill", "not yet available")),
    Case("resume and overwrite", ("argon.toml", "--resume", "--overwrite"), ("--resume", "--overwrite", "one of them")),
    Case("--set without assignment", sets("dynamics.steps"), ("--set dynamics.steps", "dynamics.steps=100")),
    Case("--set without anything", ("argon.toml", "--set"), ("--set",)),
    Case("--set of an unknown key", sets("dynamics.stepz=3"), ("--set", "dynamics.stepz", "'steps'")),
    Case("--set below a number", sets("dynamics.steps.more=3"), ("dynamics.steps", "not a table")),
    Case("--set beyond a list", sets("system.crystal.repeat.7=3"), ("system.crystal.repeat", ".0 to ", ".2")),
    Case("check of a bad input", ("check", *sets("dynamics.steps=-1")), ("dynamics.steps", "at least 0")),
    Case("info on nothing", ("info", "none.allegro"), ("none.allegro", "no such model file")),
    Case("info on a text", ("info", "argon.toml"), ("argon.toml", "not a model file")),
    Case("import of nothing", ("import", "none", "new.allegro"), ("none", "no such file or folder")),
    Case("import of a folder without a model", ("import", "done", "new.allegro"), ("done", "config.json")),
    Case("convert of nothing", ("convert", "none.h5", "new.extxyz"), ("none.h5", "no such file")),
    Case("convert of an input", ("convert", "argon.toml", "new.extxyz"), ("argon.toml",)),
    Case("convert into no format", ("convert", "start.extxyz", "new.what"), ("new.what", ".extxyz")),
    Case("convert into a file that is there", ("convert", "start.extxyz", "argon.toml.dump"), ("--overwrite",),
         text("argon.toml.dump", "mine")),
    Case("convert of no frames", ("convert", "start.extxyz", "new.dump", "--frames", "3:"),
         ("1 frame,", "--frames -1")),
    Case("convert of a cut file", ("convert", "start.extxyz", "new.dump"), ("frame 0", "whole file"),
         cut("start.extxyz", 0.9)),
    Case("import into another suffix", ("import", "done", "new.pt"), ("new.pt", "NAME.allegro")),
)

ARGON = ("argon.toml",)

TEXTS = (
    Case("empty", ARGON, ("argon.toml, system", "required key"), text("argon.toml", "")),
    Case("not UTF-8", ARGON, ("argon.toml", "UTF-8"), raw("argon.toml", b"\xff\xfe\x00[system]")),
    Case("any bytes", ARGON, ("argon.toml",), raw("argon.toml", bytes(range(256)) * 40)),
    Case("no TOML", ARGON, ("argon.toml, line", "valid TOML"), change("argon.toml", "steps = 4", "steps = = 4")),
    Case("a key twice", ARGON, ("line", "valid TOML"), change("argon.toml", "steps = 4", "steps = 4\n" * 2)),
    Case("typo in a section", ARGON, ("dynamiks", "'dynamics'"), change("argon.toml", "[dynamics]", "[dynamiks]")),
    Case("typo in a key", ARGON, ("argon.toml, dynamics.timestp", "'timestep'"), change("argon.toml", "tep ", "tp ")),
    Case("key in the wrong section", sets("dynamics.skin=0.5"), ("dynamics.skin", "[parallel]")),
    Case("missing section", ARGON, ("potential", "required"), change("argon.toml", "[potential]\n" + PARAMETERS, "")),
    Case("missing key", ARGON, ("dynamics.timestep", "timestep = "), change("argon.toml", "timestep = 2.0\n", "")),
)

def _groups() -> Sequence[Case]:
    """Groups of atoms and what is to be done with them: (name, assignments, words of the message)."""
    one = "group=[{ name = 'a', ids = [0, 1] }, { name = 'b', ids = [1, 2] }]"
    many = ", ".join(f'{{ name = "g{k}", all = true }}' for k in range(63))
    push, warm = "dynamics.apply=[{ group = %s }]", "{ group = '%s', temperature = 9 }"
    hot = "dynamics={ ensemble = 'nvt-langevin', timestep = 2, steps = 2, thermostats = [%s] }"
    return [
        Case(name, sets(*assignments), words)
        for name, assignments, words in (
            ("group without atoms named", ("group=[{ name = 'a' }]",), ("group.0", "all = true")),
            ("group that is no list", ("group={ name = 'a', all = true }",), ("group", "[[group]]")),
            ("two groups of one name", ("group=[{ name = 'a', ids = [0] }, { name = 'a', ids = [1] }]",), ("'a'",)),
            ("group with a dash", ("group=[{ name = 'a-b', all = true }]",), ("group.0.name", "letters")),
            ("all and some", ("group=[{ name = 'a', all = true, ids = [0] }]",), ("group.0.all", "ids")),
            ("no condition", ("group=[{ name = 'a', expression = 'z <' }]",), ("group.0.expression", "'Cu'")),
            ("code for a condition", ("group=[{ name = 'a', expression = 'exit() < 1' }]",), ("no meaning here",)),
            ("group without members", ("group=[{ name = 'a', expression = 'z > 1000' }]",), ("group.0", "no atom")),
            ("index beyond the atoms", ("group=[{ name = 'a', ids = [108] }]",), ("group.0", "0 to 107")),
            ("element that is not there", ("group=[{ name = 'a', species = ['Kr'] }]",), ("group.0", '"Ar"')),
            ("too many groups", (f"group=[{many}]",), ("63 groups", "62")),
            ("frozen but unknown", (one, "dynamics.frozen=['aa']"), ("dynamics.frozen", "'aa'", "'a'")),
            ("frozen, and no groups", ("dynamics.frozen=['a']",), ("dynamics.frozen", "[[group]]")),
            ("all frozen", ("group=[{ name = 'a', all = true }]", "dynamics.frozen=['a']"), ("dynamics.frozen",)),
            ("force without components", (one, push % "'a', force = 1"), ("apply.0.force",)),
            ("nothing applied", (one, push % "'a'"), ("apply.0", "force, acceleration")),
            ("force and velocity", (one, push % "'a', force = [0, 0, 1], velocity = [0, 0, 1]"), ("apply.0", "one of")),
            ("velocity in eV", (one, push % "'a', velocity = [0, 0, '1 eV']"), ("'eV'", "Å/fs")),
            ("frozen and moved", (one, "dynamics.frozen=['a']", push % "'b', velocity = [0, 0, 1]"),
             ("dynamics.apply", "'b'", "common")),
            ("thermostats that overlap", (one, hot % f"{warm % 'a'}, {warm % 'b'}"), ("thermostats", "common")),
            ("thermostat time of langevin", (one, hot % "{ group = 'a', temperature = 9, thermostat_time = 50 }"),
             ("thermostats.0.thermostat_time", "does not apply")),
            ("thermostats and a temperature", (one, hot.replace("steps", "temperature = 3, steps") % (warm % "a")),
             ("dynamics.temperature", "remove")),
            ("thermostats of nve", (one, "dynamics.thermostats=[{ group = 'a', temperature = 9 }]"),
             ("dynamics.thermostats", "nvt-bussi")),
            ("constraints of a crystal", ("system.constraints=ignore",), ("system.constraints", "structure")),
        )
    ]  # fmt: skip


VALUES = (
    Case("unknown unit", sets("dynamics.timestep=2 fz"), ("dynamics.timestep", "'fz'", "fs")),
    Case("unit of another dimension", sets("dynamics.timestep=2 eV"), ("dynamics.timestep", "'eV'", "time", "fs")),
    Case("negative timestep", sets("dynamics.timestep=-1"), ("dynamics.timestep", "positive")),
    Case("zero timestep", sets("dynamics.timestep=0 fs"), ("dynamics.timestep", "positive")),
    Case("timestep that is no number", sets("dynamics.timestep=nan"), ("dynamics.timestep", "finite")),
    Case("negative steps", sets("dynamics.steps=-1"), ("dynamics.steps", "at least 0")),
    Case("half a step", sets("dynamics.steps=0.5"), ("dynamics.steps", "whole number")),
    Case("text for a number", sets("potential.cutoff=far"), ("potential.cutoff", "number")),
    Case("unknown ensemble", sets("dynamics.ensemble=nvt"), ("dynamics.ensemble", '"nve"')),
    Case("barostat without a pressure", sets("dynamics.ensemble=npt-mtk"), ("dynamics.pressure", "pressure =")),
    Case("pressure beyond all numbers", sets("dynamics.ensemble=npt-mtk", f"dynamics.pressure={10**400}"),
         ("dynamics.pressure", "too large")),
    Case("key of another ensemble", sets("dynamics.temperature=3"), ("dynamics.temperature", '"nve"', "remove")),
    Case("unknown engine", sets("potential.engine=fussed", file="model.toml"), ("engine", '"fused"')),
    Case("device that is not there", sets("potential.device=cuda"), ("potential.device", "torch finds no GPU")),
    Case("unknown device", sets("potential.device=tpu"), ("potential.device", '"cuda"')),
    Case("grid for too many ranks", sets("parallel.grid=[99999999999, 1, 1]"), ("parallel.grid", "at most 1000000")),
    Case("grid for other ranks", sets("parallel.grid=[3, 1, 1]"), ("parallel.grid", "mpirun -n 3", '"auto"')),
    Case("no copies", sets("system.repeat=[0, 1, 1]"), ("system.repeat", "at least 1")),
    Case("unknown element", sets("system.crystal.symbol=Xy"), ("system.crystal.symbol", "Xy")),
    Case("mass of an absent element", sets("system.masses={ Kr = 80 }"), ("system.masses", "Kr", "Ar")),
    Case("lattice constant too small", sets("system.crystal.a=0.3"), ("crystal", "Å", "closer")),
    *_groups(),
    Case("two terms, one unknown", sets("potential=[{ kind = 'lj' }, { kind = 'x' }]"), ("potential",), faults=2),
)


FLAT = HEADER.replace('0 0 12"', '0 0 0"')


def _structures() -> Sequence[Case]:
    """Files that are no structure, or a bad one: (name, content, words of the message besides the file's name)."""
    spots = ("Ar 1 1 1", "Ar 1 1 1")
    close = ("Ar 1 1 1", "Ar 1 1 1.29")
    across = ("Ar 1 1 0.1", "Ar 1 1 11.9")
    return [
        Case(name, ("file.toml",), ("start.extxyz", *words), text("start.extxyz", content))
        for name, content, words in (
            ("empty structure", "", ("is empty",)),
            ("garbage for a structure", "once upon a time\n" * 9, ("line 1", "once upon a time")),
            ("truncated structure", extxyz()[:-12], ("frame 0", "cut short")),
            ("no atoms", "0\n" + HEADER + "\n", ("no atoms",)),
            ("unknown symbol", extxyz("Xy 1 1 1"), ("Xy",)),
            ("NaN coordinate", extxyz("Ar 1 1 1", "Ar 2 nan 2"), ("atom 1", "not finite")),
            ("infinite coordinate", extxyz("Ar inf 1 1", "Ar 2 2 2"), ("atom 0", "not finite")),
            ("two atoms on one spot", extxyz(*spots), ("atoms 0 and 1", "0 Å")),
            ("atoms closer than 0.3 Å", extxyz(*close), ("atoms 0 and 1", "0.29 Å")),
            ("closer than 0.3 Å across a face", extxyz(*across), ("atoms 0 and 1", "0.2 Å")),
            ("closer than 0.3 Å to its image", extxyz(header=HEADER.replace("12", "0.2", 1)), ("0.2 Å",)),
            ("no volume", extxyz(header=HEADER.replace("0 12 0", "12 0 0")), ("no volume",)),
            ("periodic without a vector", extxyz(header=FLAT), ("axis 2", "no vector")),
            ("cell that is no number", extxyz(header=HEADER.replace("12", "nan", 1)), ("start.extxyz",)),
        )
    ]


FILES = (
    Case("no such structure", ("file.toml",), ("system.structure", "'start.extxyz'"),
         change("file.toml", "start", "strat")),
    Case("folder for a structure", ("file.toml",), ("system.structure", "folder"), folder_named("start.extxyz")),
    Case("binary structure", ("file.toml",), ("start.extxyz", "read"), raw("start.extxyz", bytes(range(256)) * 9)),
    Case("no such frame", sets("system.frame=3", file="file.toml"), ("start.extxyz", "no frame 3", "-1")),
    Case("no such frame from the end", sets("system.frame=-3", file="file.toml"), ("start.extxyz", "no frame -3")),
    Case("no cell, but periodic", sets("system.periodic=[true, true, true]", file="file.toml"),
         ("start.extxyz", "axis 0", "no vector"), text("start.extxyz", "1\n\nAr 0 0 0\n")),
    Case("no cell, but copies", sets("system.repeat=[1, 2, 1]", file="file.toml"),
         ("start.extxyz", "axis 1", "no cell vector"), text("start.extxyz", "1\n\nAr 0 0 0\n")),
    *_structures(),
)  # fmt: skip


def _header(document: bytes) -> bytes:
    return struct.pack("<Q", len(document)) + document


NET = ("model.toml",)
WHERE = ("ar.allegro",)

MODELS = (
    Case("no such model", NET, ("potential.model", "'ar.allegro'"), change("model.toml", "ar.all", "arr.all")),
    Case("folder for a model", NET, ("potential.model", "folder"), folder_named("ar.allegro")),
    Case("empty model", NET, (*WHERE, "damaged"), raw("ar.allegro", b"")),
    Case("text for a model", NET, (*WHERE, "not a model file"), raw("ar.allegro", b"weights" * 99)),
    Case("model cut short", NET, (*WHERE, "damaged"), cut("ar.allegro", 0.7)),
    Case("model cut in its header", NET, (*WHERE, "damaged"), cut("ar.allegro", 0.1)),
    Case("flipped bits in the weights", NET, (*WHERE, "damaged"), flip("ar.allegro", 0.99)),
    Case("flipped bits in the header", NET, (*WHERE, "damaged"), flip("ar.allegro", 0.001)),
    Case("endless header", NET, (*WHERE, "damaged"), raw("ar.allegro", struct.pack("<Q", 2**60) + b"{}")),
    Case("header without tensors", NET, (*WHERE, "not a model"), raw("ar.allegro", _header(b"{}"))),
    Case("model of a later version", NET, (*WHERE, "version 9", "newer allegro-md"), resaved(version=9)),
    Case("any safetensors file", NET, (*WHERE, "allegro-md import"), other_safetensors),
    Case("model without architecture", NET, (*WHERE, "architecture"), resaved(architecture={})),
    Case("model of another form", NET, (*WHERE, "architecture"), resaved(architecture=[1, 2])),
    Case("model that gives other energies", NET, (*WHERE, "energies differ"), wrong_result),
    Case("model without a test vector", NET, (*WHERE, "test vector"), resaved(test=None)),
    Case("element the model does not know", NET, (*WHERE, "Cu", "Ar, Kr"), text("start.extxyz", extxyz("Cu 1 1 1"))),
)

TABLE = ("eam.toml",)

POTENTIALS = (
    Case("empty EAM table", TABLE, ("cu.eam", "EAM"), text("cu.eam", "")),
    Case("garbage for an EAM table", TABLE, ("cu.eam", "EAM"), raw("cu.eam", bytes(range(256)) * 9)),
    Case("EAM table cut short", TABLE, ("cu.eam", "value"), cut("cu.eam", 0.7)),
    Case("EAM table with a word", TABLE, ("cu.eam", "line"), change("cu.eam", "0.1\n", "x\n")),
    Case("EAM table that is no number", TABLE, ("cu.eam", "line"), change("cu.eam", "0.1\n", "nan\n")),
    Case("EAM table of another element", sets("system.crystal.symbol=Ag", file="eam.toml"), ("cu.eam", "Ag", "for Cu")),
    Case("no pair for the crystal", sets("potential={ kind = 'lj', cutoff = 6, pairs = { Kr-Kr = [0.01, 3.4] } }"),
         ("potential.pairs", "Ar-Ar")),
    Case("no pair for the structure",
         sets("potential={ kind = 'lj', cutoff = 6, pairs = { Kr-Kr = [0.01, 3.4] } }", file="file.toml"),
         ("potential.pairs", "Ar-Ar")),
    Case("one well for two elements", ("file.toml",), ("potential", "Ar, Kr", "pairs"),
         text("start.extxyz", extxyz("Ar 1 1 1", "Kr 5 5 5"))),
    Case("no such calculator", sets("potential={ kind = 'ase', calculator = 'nobody:Here', range = 3 }"),
         ("potential.calculator", "nobody")),
    Case("calculator without atomic energies",
         sets("potential={ kind = 'ase', calculator = 'ase.calculators.tip3p:TIP3P', range = 3 }"),
         ("potential.calculator", "energies")),
    Case("options a calculator does not have",
         sets("potential={ kind = 'ase', calculator = 'ase.calculators.tip3p:TIP3P', options = { x = 1 }, range = 3 }"),
         ("potential.options", "'x'")),
    Case("element a calculator does not know", sets("potential={ kind = 'ase', calculator = 'emt', range = 3 }"),
         ("potential.calculator", "Ar")),
)  # fmt: skip

AGAIN = ("done.toml", "--resume")

DIRECTORIES = (
    Case("run directory exists", ("done.toml",), ("done", "--resume", "--overwrite")),
    Case("run directory is a file", sets("output.directory=argon.toml"), ("argon.toml", "is a file")),
    Case("run directory below a file", sets("output.directory=argon.toml/run"), ("argon.toml/run", "directory")),
    Case("run directory that nobody can make", sets("output.directory=/proc/run"), ("/proc/run",)),
    Case("run directory in use", ("done.toml", "--overwrite"), ("done", "in use"), locked),
    Case("run directory that holds other things", (*sets("output.directory=mine"), "--overwrite"),
         ("mine", "not the directory of a run"), all_of(folder_named("mine"), text("mine/thermo.csv", "my own"))),
    Case("checkpoint of another system", (*sets("system.repeat=[2, 1, 1]", file="done.toml"), "--resume"),
         ("checkpoint-4.h5", "another system", "108", "216")),
    Case("checkpoint of another element", (*sets("system.crystal.symbol=Kr", file="done.toml"), "--resume"),
         ("checkpoint-4.h5", "another system", "Ar", "Kr")),
    Case("checkpoint of another timestep", (*sets("dynamics.timestep=1", file="done.toml"), "--resume"),
         ("checkpoint-4.h5", "dynamics.timestep", "began with")),
    Case("checkpoint of another ensemble",
         (*sets("dynamics={ ensemble = 'nvt-nose-hoover', timestep = 2, steps = 4, temperature = 9 }",
                file="done.toml"), "--resume"), ("checkpoint-4.h5", "dynamics.ensemble", "began with")),
    Case("checkpoint of another potential", (*sets("potential.sigma=3.3", file="done.toml"), "--resume"),
         ("checkpoint-4.h5", "sigma", "began with")),
    Case("checkpoints cut short", AGAIN, ("done", "no checkpoint is usable", "--overwrite"),
         both_checkpoints(lambda name: cut(name, 0.6))),
    Case("checkpoints with flipped bits", AGAIN, ("done", "checksum of position", "--overwrite"),
         both_checkpoints(flip_positions)),
    Case("empty checkpoints", AGAIN, ("done", "damaged", "--overwrite"), both_checkpoints(lambda name: raw(name, b""))),
    Case("garbage for checkpoints", AGAIN, ("done", "damaged"), both_checkpoints(lambda name: raw(name, b"x" * 5000))),
    Case("checkpoints of a later version", AGAIN, ("done", "format 99"), wrong_format),
)  # fmt: skip

HUGE = "system.crystal.repeat=[4000, 4000, 4000]"
COPIES = "system.repeat=[4000, 4000, 4000]"
FRAMES = ("output.trajectory={ every = 1 }", "dynamics.steps=2000000000000")
FITTING = ("GB each", "atoms fit there", "all fit on about")

RESOURCES = (
    Case("more atoms than numbers", sets("system.crystal.repeat=[10000000, 10000000, 10000000]"), ("crystal", "atoms")),
    Case("crystal larger than memory", sets(HUGE), ("256000000000 atoms", *FITTING), status=4),
    Case("copies larger than memory", sets(COPIES, file="file.toml"), FITTING, status=4),
    Case("network larger than memory", sets(COPIES, file="model.toml"), FITTING, status=4),
    Case("check of a crystal larger than memory", ("check", *sets(HUGE)), ("256000000000 atoms", *FITTING), status=4),
    Case("verify of a crystal larger than memory", ("verify", *sets(HUGE)), ("256000000000 atoms", *FITTING), status=4),
    Case("more frames than disk", sets(*FRAMES), ("/run", "output.trajectory.every"), status=4),
    Case("check of more frames than disk", ("check", *sets(*FRAMES)), ("/run", "output.trajectory.every"), status=4),
)

CASES = (*COMMAND_LINES, *TEXTS, *VALUES, *FILES, *MODELS, *POTENTIALS, *DIRECTORIES, *RESOURCES)

assert len({case.name for case in CASES}) == len(CASES)
