"""A foreign package or checkpoint, looked into without loading it: is it one, and would loading it run code?"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from allegro_md.errors import InputError

_HARMLESS = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_(?:tensor_v2|tensor|parameter)|torch\.\w+Storage|torch\.Size"
    r"|torch\.storage\.(?:Untyped|Typed)Storage|torch\.(?:bfloat16|u?int\d+|float\d+|bool|device)"
)
"""Names in a pickle that build tensors and containers."""

_BUILT = ("allegro.", "nequip.", "lightning.", "torch.nn.", "torch.optim.", "torch.utils.data.")
"""Packages whose classes a checkpoint's configuration may name."""

_WANTED = "give a checkpoint of nequip-train (NAME.ckpt), or a package of nequip-package (NAME.nequip.zip)"
_TRUST = "if you know where the file comes from, add --trust; a folder with config.json and weights.npz needs none"
_SHOWN = 3


def check_archive(path: Path, trust: bool) -> None:
    """Looks into a package or checkpoint before it is loaded.

    Args:
        path: NAME.nequip.zip or NAME.ckpt.
        trust: the user allows code of the file to run.

    Raises:
        InputError: it is no such archive; or it would run code, and that is not allowed.
    """
    if path.name.endswith(".nequip.zip"):
        if not any(name.endswith(".pkl") for name in _entries(path)):
            raise InputError("holds no model", str(path), _WANTED)
        if not trust:
            raise InputError("a package holds Python code, which runs when it is loaded", str(path), _TRUST)
        return
    pickles = [name for name in _entries(path) if name.endswith("/data.pkl")]
    if not pickles:
        raise InputError("is not a checkpoint: it holds no data.pkl", str(path), _WANTED)
    with zipfile.ZipFile(path) as archive:
        content = archive.read(pickles[0])
    try:
        words, names = _words_and_names(content)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise InputError(f"its pickle is damaged ({error})", str(path), "copy it again") from None
    if "hyper_parameters" not in words:
        raise InputError("holds weights without the configuration of a model", str(path), _WANTED)
    if trust:
        return
    foreign = sorted({name for name in names if not _HARMLESS.fullmatch(name)}) or _foreign_targets(path)
    if foreign:
        some = ", ".join(foreign[:_SHOWN]) + (", …" if len(foreign) > _SHOWN else "")
        raise InputError(f"loading it runs code that the file names ({some})", str(path), _TRUST)


def _entries(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError):
        raise InputError("is not an archive of torch (a zip file)", str(path), f"copy it again, or {_WANTED}") from None


def _words_and_names(content: bytes) -> tuple[set[str], set[str]]:
    """Strings of a pickle, and the names of what it would import; nothing is loaded."""
    words: list[str] = []
    names: set[str] = set()
    for opcode, argument, _ in pickletools.genops(content):
        if isinstance(argument, str) and "UNICODE" in opcode.name:
            words.append(argument)
        elif opcode.name in ("GLOBAL", "INST"):
            names.add(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":  # the two strings may lie anywhere before
            names.add("a name that the pickle makes up" if len(words) < 2 else f"{words[-2]}.{words[-1]}?")
        elif opcode.name.startswith("EXT"):
            names.add("an extension of pickle")
    return set(words), names


def _foreign_targets(path: Path) -> list[str]:
    """Classes that nequip-allegro would build because the configuration names them, beyond its own and torch's."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  whatever torch refuses
        return [str(error).splitlines()[0]]
    return sorted({target for target in _targets(loaded) if not target.startswith(_BUILT)})


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "_target_" in value:
            yield str(value["_target_"])
        for item in value.values():
            yield from _targets(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _targets(item)
