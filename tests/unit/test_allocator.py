"""Freed arrays go back to the system whatever sizes came before, or stay, as asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Raises glibc's threshold as arrays of growing size do, then leaves fragments between arrays that are freed.
SCRIPT = """
import sys
import numpy as np
from allegro_md.allocator import return_large_arrays
def resident():
    return [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")][0] / 1024
if sys.argv[1] == "fixed":
    return_large_arrays()
for megabytes in (1, 4, 16, 31):
    del_me = np.ones(megabytes * 131072)
    del del_me
before = resident()
kept, freed = [], []
for _ in range(20):
    freed.append(np.ones(6 * 131072))
    kept.append(np.ones(8192))
del freed
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_freed_arrays_leave_no_fragments() -> None:
    def held(how: str) -> float:
        done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert held("fixed") < 10.0  # MB, of 120
    assert held("as it comes") > 60.0


# A step after another that needs 64 MB for a moment, in one piece: glibc's threshold rises to 32 MB at most, so that
# such an array always gets fresh pages where nothing is set. Smaller ones may stay, by chance of what lies beside them.
STEPS = """
import resource
import sys
import numpy as np
from allegro_md.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for step in range(20):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del_me = np.ones(64 * 131072)
    del del_me
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_kept_memory_needs_no_fresh_pages() -> None:
    def fresh(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert fresh("kept") < 100  # 10 steps of 64 MB are 160,000 pages of 4 kB, or 320 of 2 MB
    assert fresh("as it comes") > 300
