"""MPI check that `allegro-md doctor` starts on two ranks, to test that the launcher fits the MPI in use."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from allegro_md.comm import Comm, SendRecv
from allegro_md.errors import AllegroError
from allegro_md.scaling.links import seconds_of

MESSAGE = 8 << 20
"""Bytes of the long message."""


def round_trip(comm: Comm) -> dict[str, float]:
    """Sends numbers around the ring of ranks (collective).

    Returns:
        ``latency`` of a short message, µs, ``bandwidth`` of a long one, GB/s, and ``intact``: 1.0 when all arrived.
    """
    up, down = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    seconds, intact = {}, True
    for size in (8, MESSAGE):
        out, back = np.full(size // 8, float(comm.rank)), np.zeros(size // 8)
        comm.send_receive([SendRecv(out, up, back, down)])
        comm.any(False)  # all start together
        seconds[size] = comm.max(seconds_of(comm, [SendRecv(out, up, back, down)], 20 if size > 8 else 200))
        intact = intact and bool((back == down).all())
    return {
        "latency": 1e6 * seconds[8],
        "bandwidth": 1e-9 * MESSAGE / seconds[MESSAGE],
        "intact": float(not comm.any(not intact)),
    }


def main() -> None:
    """Prints a JSON line per rank."""
    found: dict[str, Any]
    try:
        comm = Comm.world()
        found = {"rank": comm.rank, "size": comm.size, "library": comm.library, **round_trip(comm)}
    except AllegroError as error:
        found = {"error": str(error)}
    print("\n" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
