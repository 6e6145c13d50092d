"""``NAME.allegro``: a safetensors file whose metadata hold one JSON document. No pickle.

The document: format and version, architecture, cutoff, units, energy scales and shifts, provenance of the training, the
shortest distance per pair seen in it, a digest of the tensors, a test vector that is evaluated at load, and a checksum
of all that.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from allegro_md.errors import InputError, ResourceError
from allegro_md.models.allegro.architecture import parse_architecture
from allegro_md.models.allegro.network import Network
from allegro_md.models.check import disagreement, test_vector

FORMAT, VERSION = "allegro-md model", 1
LONGEST = 300
"""Characters of what a library says about a fault."""

_KEY = "allegro-md"
_COPY = "copy the file again from where it came; other models are converted with: allegro-md import SOURCE OUT.allegro"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_UNITS = {"energy": "eV", "length": "Å", "force": "eV/Å", "virial": "eV"}


def save_model(
    network: Network,
    path: Path | str,
    training: Mapping[str, Any] | None = None,
    shortest: Mapping[str, float] | None = None,
) -> None:
    """Writes a model file, beside and renamed.

    Args:
        network: the trained network.
        path: NAME.allegro.
        training: provenance: data, license, errors, program; anything JSON can hold.
        shortest: shortest distance seen in training, Å, per "A-B" in the order of the symbols.

    Raises:
        InputError: the file cannot be made there.
        ResourceError: the disk is full.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    a = network.architecture
    document = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": a.model_dump(mode="json"),
        "symbols": list(a.symbols),
        "cutoff": a.cutoff,
        "units": _UNITS,
        "scales": dict(zip(a.symbols, network.scales.tolist(), strict=True)),
        "shifts": dict(zip(a.symbols, network.shifts.tolist(), strict=True)),
        "training": dict(training or {}),
        "shortest_distance": dict(shortest or {}),
        "digest": digest(tensors),
        "test": test_vector(network),
    }
    document["checksum"] = _checksum(document)
    try:
        content = save(tensors, metadata={_KEY: json.dumps(document, ensure_ascii=False)})
    except SafetensorError as error:
        raise InputError(f"the model cannot be put into a file: {error}", str(path)) from error
    _replace(path, content)


def _replace(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        reason = error.strerror or str(error)
        if error.errno in _DISK:
            raise ResourceError(f"cannot write {path}: {reason} — free disk space or raise the quota") from error
        raise InputError(f"cannot be written: {reason}", str(path), "choose another place") from error


def load_model(path: Path | str) -> Network:
    """Reads a model file and checks it: version, digest, tensors, test vector.

    Raises:
        InputError: no such file, not a model, of another version, damaged, or evaluated differently here.
    """
    document, tensors = _read(path)
    where = str(path)
    try:
        architecture = parse_architecture(document["architecture"])
    except (ValidationError, KeyError) as error:
        reason = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else "it has none"
        raise InputError(f"its architecture is not one of this program: {reason}", where, _COPY) from error
    if any(tensor.dtype not in (torch.float32, torch.float64) for tensor in tensors.values()):
        raise InputError("its tensors are neither float32 nor float64", where, _COPY)
    if document.get("digest") != digest(tensors):
        raise InputError("the model is damaged: its weights do not have the digest they were saved with", where, _COPY)
    kinds = {t.dtype for name, t in tensors.items() if name.startswith("weights.")}
    dtype = torch.float32 if torch.float32 in kinds else torch.float64
    try:
        with torch.device("meta"):  # a wrong number could ask for any amount of memory
            Network(architecture, dtype).load_state_dict(tensors, assign=True)
        network = Network(architecture, dtype)
        network.load_state_dict(tensors)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise InputError(f"its tensors do not fit its architecture: {_reason(error)}", where, _COPY) from error
    problem = disagreement(network, document.get("test"))
    if problem:
        raise InputError(f"the model does not give the result it was saved with: {problem}", where,
                         "the file or this installation (torch, e3nn) is not what it was made for")
    if contradiction := _contradiction(document, network):
        raise InputError(f"the model is damaged: {contradiction}", where, _COPY)
    return network


def _contradiction(document: Mapping[str, Any], network: Network) -> str:
    """Names a part of a document that contradicts the network or is not as it was saved; empty when all is well."""
    a = network.architecture
    said = {"symbols": list(a.symbols), "cutoff": a.cutoff, "units": _UNITS}
    for key, values in (("scales", network.scales), ("shifts", network.shifts)):
        said[key] = dict(zip(a.symbols, values.tolist(), strict=True))
    for key, value in said.items():
        if document.get(key) != value:
            return f"its {key} are not those of its network"
    shortest = document.get("shortest_distance")
    if not isinstance(document.get("training"), dict) or not isinstance(shortest, dict):
        return "training or shortest_distance is missing"
    for pair, distance in shortest.items():
        if len(pair.split("-")) != 2 or isinstance(distance, bool) or not isinstance(distance, (int, float)):
            return "shortest_distance is not a table of pairs and distances"
        if not 0.0 < distance < math.inf:
            return f"shortest_distance of {pair} is {distance}"
    if document.get("checksum", _checksum(document)) != _checksum(document):  # older files have none
        return "its document does not have the checksum it was saved with"
    return ""


def _checksum(document: Mapping[str, Any]) -> str:
    """SHA-256 over everything but itself, in one spelling."""
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_document(path: Path | str) -> dict[str, Any]:
    """The JSON document of a model file.

    Raises:
        InputError: see `load_model`.
    """
    return _read(path)[0]


def _read(path: Path | str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    where = str(path)
    if not Path(path).is_file():
        raise InputError("no such model file", where, "give the path of a file NAME.allegro")
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # no mapping
    except MemoryError:
        raise
    except Exception as error:  # bytes of any kind raise anything
        raise InputError(f"not a model file, or damaged ({_reason(error)})", where, _COPY) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError("a safetensors file, but not a model of this program", where,
                         "convert other models with: allegro-md import SOURCE OUT.allegro")
    if document.get("version") != VERSION:
        raise InputError(f"model file of version {document.get('version')}, this program reads {VERSION}", where,
                         "use a newer allegro-md")
    return document, tensors


def _reason(error: Exception) -> str:
    """Message of a library, without its stack and its listings."""
    text = " ".join(str(error).partition("\nException raised")[0].split()) or type(error).__name__
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()


def describe(path: Path | str) -> str:
    """Describes the contents of a model file, for a reader.

    Raises:
        InputError: see `load_model`.
    """
    network, document = load_model(path), read_document(path)
    a = network.architecture
    dtype = str(network.dtype).removeprefix("torch.")
    lines = [
        f"{path}: Allegro, {a.form} form, version {document['version']}",
        f"  elements        {', '.join(a.symbols)}",
        f"  cutoff          {a.cutoff:g} Å" + (", shorter for some ordered pairs" if a.pair_cutoffs else ""),
        f"  layers, l_max   {a.layers}, {a.l_max}",
        f"  channels        {a.channels} tensor, {a.scalars if a.form == 'dense' else a.latents} scalar",
        f"  weights         {network.count_weights()} ({dtype})",
        f"  neighbors       {a.average_neighbors} on average",
        f"  ZBL repulsion   {'yes' if a.zbl else 'no'}",
        f"  energy scales   {_per_symbol(document['scales'])} eV",
        f"  energy shifts   {_per_symbol(document['shifts'])} eV",
    ]
    if document["shortest_distance"]:
        lines.append(f"  shortest pairs  {_per_symbol(document['shortest_distance'])} Å in training")
    for key, value in document["training"].items():
        rows = value.items() if isinstance(value, dict) else [("", value)]
        lines += [f"  {key if k == 0 else '':<15} {_row(name, entry)}" for k, (name, entry) in enumerate(rows)]
    lines.append(f"  digest          sha256 {document['digest']}")
    lines.append("  test vector     reproduced")
    return "\n".join(lines)


def _row(name: str, value: Any) -> str:
    """An entry of the provenance, or of a table in it, on one line."""
    text = ", ".join(f"{key} {entry}" for key, entry in value.items()) if isinstance(value, dict) else str(value)
    return f"{name}: {text}" if name else text


def _per_symbol(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in numbers.items())
