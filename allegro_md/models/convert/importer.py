"""``allegro-md import``: what others trained, into our model file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from allegro_md.errors import InputError
from allegro_md.models.allegro.network import Network
from allegro_md.models.convert.archive import check_archive
from allegro_md.models.convert.nequip_allegro import network_from_nequip
from allegro_md.models.convert.nequip_package import network_from_file
from allegro_md.models.modelfile import save_model

_SOURCES = "give a folder with config.json and weights.npz, NAME.nequip.zip, or NAME.ckpt"


def import_model(source: Path | str, out: Path | str, *, trust: bool = False) -> None:
    """Converts a folder (config.json, weights.npz), a nequip-allegro package or a checkpoint, and writes `out`.

    Args:
        source: the folder or file.
        out: NAME.allegro.
        trust: code that a package or checkpoint holds or names may run.

    Raises:
        InputError: the source is none of these, holds something this program does not have, or would run code.
    """
    source, out = Path(source), Path(out)
    if out.suffix != ".allegro":
        raise InputError("a model file is called NAME.allegro", str(out), "change its name")
    if not out.parent.is_dir():
        raise InputError("no such folder", str(out.parent), "make it, or choose another place")
    network = load_foreign(source, trust=trust)
    save_model(network, out, {"imported from": f"nequip-allegro, {source.name}"})


def load_foreign(source: Path | str, *, trust: bool = False) -> Network:
    """The network in a source of `import_model`."""
    source = Path(source)
    if source.is_dir():
        return _folder(source)
    if not source.is_file():
        raise InputError("no such file or folder", str(source), _SOURCES)
    if not source.name.endswith((".nequip.zip", ".ckpt")):
        raise InputError("not a source of models", str(source), _SOURCES)
    check_archive(source, trust)
    return network_from_file(source)


def _folder(folder: Path) -> Network:
    for name in ("config.json", "weights.npz"):
        if not (folder / name).is_file():
            raise InputError(f"the folder holds no {name}", str(folder), _SOURCES)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise InputError(f"not JSON: {error}", str(folder / "config.json"), _SOURCES) from error
    try:
        with np.load(folder / "weights.npz", allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"not a readable npz file: {error}", str(folder / "weights.npz"), _SOURCES) from error
    return network_from_nequip(config, arrays, str(folder))
