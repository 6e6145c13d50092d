"""Tables of folded networks, kept in the user's cache folder: ``NAME.allegro.tables-DIGEST.npz``.

The digest is of all that decides them: network, species, libraries, and the sources that make tables. A file that is
damaged, can be written by others, or cannot be written is as good as none.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.cache_folder import NO_CACHE, cache_folder, is_private
from allegro_md.models.allegro.network import Network
from allegro_md.models.fused.accuracy import refined
from allegro_md.models.fused.fold import Fold
from allegro_md.models.modelfile import digest

Array = NDArray[np.float64]


class Tables:
    """The tables of a folded network.

    Attributes:
        table: (n · n, intervals, 4, columns) float64, of its radial functions (`splines.tabulate`).
        error: see `accuracy.refined`.
    """

    def __init__(self, network: Network, fold: Fold, symbols: Sequence[str], model: Path | None) -> None:
        """Reads the tables, or makes them.

        Args:
            network: that was folded.
            fold: the folded network.
            symbols: the species it was folded for.
            model: file of the network, if it has one.

        Raises:
            UnfoldableError: no table is fine enough.
        """
        self._key = _key(network, symbols)
        folder = None if model is None or NO_CACHE in os.environ else cache_folder()
        self._path = folder and model and folder / f"{model.name}.tables-{self._key[:12]}.npz"
        found = None if self._path is None else self._read(self._path)
        self._new = found is None
        self.table, self.error = found or refined(network, fold, symbols)

    def keep(self) -> None:
        """Writes them for the next time, if they are new and there is room."""
        if self._path is None or not self._new:
            return
        self._new = False
        with suppress(OSError), tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
            try:
                checksum = _checksum(self._key, self.table, self.error)
                np.savez(file, table=self.table, error=self.error, checksum=checksum)
                file.flush()
                os.replace(file.name, self._path)
            except OSError:
                Path(file.name).unlink()

    def _read(self, path: Path) -> tuple[Array, float] | None:
        try:
            if not is_private(path):
                return None
            with np.load(path, allow_pickle=False) as kept:
                table, error, checksum = kept["table"], float(kept["error"]), str(kept["checksum"])
        except Exception:  # bytes of any kind raise anything
            return None
        return (table, error) if checksum == _checksum(self._key, table, error) else None


def _key(network: Network, symbols: Sequence[str]) -> str:
    total = hashlib.sha256(" ".join((*symbols, torch.__version__, np.__version__)).encode())
    total.update(network.architecture.model_dump_json().encode())
    total.update(digest(network.state_dict()).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        total.update(source.read_bytes())
    return total.hexdigest()


def _checksum(key: str, table: Array, error: float) -> str:
    """SHA-256 over the key and the contents of a file: table (pairs, intervals, functions, 4), error."""
    total = hashlib.sha256(f"{key} {table.dtype} {table.shape} {error.hex()}".encode())
    total.update(np.ascontiguousarray(table).data)
    return total.hexdigest()
