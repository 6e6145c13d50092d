"""Makes the modules of tests/drivers importable."""

from __future__ import annotations

import sys
from pathlib import Path

DRIVERS = Path(__file__).resolve().parents[1] / "drivers"
if str(DRIVERS) not in sys.path:
    sys.path.insert(0, str(DRIVERS))
