"""The user's own folder for what can be computed anew: compiled kernels, and tables of models."""

from __future__ import annotations

import os
import stat
from pathlib import Path

NO_CACHE = "ALLEGRO_MD_NO_CACHE"
"""Environment variable that ``--no-cache`` sets: tables of models are neither read nor kept."""


def cache_folder() -> Path | None:
    """Makes the folder if need be: ``allegro-md`` in XDG_CACHE_HOME, or else in ``~/.cache``.

    Returns:
        None where it cannot be made, is not a folder of this user, or can be written by others: nothing is read there.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "allegro-md"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(folder):
            return None
        folder.chmod(0o700)  # folders within may have been made writable for a group
        return folder
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None


def is_private(path: Path) -> bool:
    """True where a file or folder is no link, belongs to this user, and can be written by nobody else."""
    found = path.lstat()
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not stat.S_ISLNK(found.st_mode) and found.st_uid == os.geteuid() and not writable
