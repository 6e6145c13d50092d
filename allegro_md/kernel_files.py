"""One file per compiled kernel, so that any number of processes may compile and keep kernels at the same time.

Numba numbers the files of a function's signatures and keeps an index of them. Two processes that read the index at the
same time, as the ranks of two jobs on a shared file system do, take the same number for different signatures, or for
different processors: machine code is then found under the wrong name. Here the name of a file is a digest of all that
decides its content, there is no index, and nobody waits for anybody.
"""

from __future__ import annotations

import hashlib
import pickle
from contextlib import suppress
from typing import Any

import numba
from numba.core import caching

DIGITS = 24
"""Of the digest in a file's name."""


def _name(files: Any, key: Any) -> str:
    """Name of a kernel's file: of its function, version, source, signature, and the processor it is for."""
    decides = repr((numba.__version__, files._source_stamp, key))
    return files._data_name(0).replace(".0.", f".{hashlib.sha256(decides.encode()).hexdigest()[:DIGITS]}.")


def _save(files: Any, key: Any, data: Any) -> None:
    """Keeps a kernel, if there is room; a file is written beside and renamed."""
    with suppress(OSError):
        files._save_data(_name(files, key), (key, data))


def _load(files: Any, key: Any) -> Any:
    """A kept kernel, or None: it is compiled anew."""
    try:
        kept, data = files._load_data(_name(files, key))
    except (OSError, EOFError, ValueError, pickle.UnpicklingError):  # not there, replaced meanwhile, or cut short
        return None
    return data if kept == key else None


def one_file_per_kernel() -> None:
    """Makes numba keep kernels in this way, in this process; those that are in memory stay as they are.

    Called when the modules are imported on which all modules with kernels depend (tests/unit/test_layers.py).
    """
    caching.IndexDataCacheFile.save, caching.IndexDataCacheFile.load = _save, _load
