"""Two hosts on one machine: network namespaces with a link between them that is slow, narrow, or cut.

Needs root, and the programs ip, tc and unshare. The kernel's own delay (tc netem) is often not built, so a link with a
delay is a small process between two TUN interfaces; one without is a veth pair, narrowed by tc tbf.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import select
import shutil
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import launch

ADDRESSES = ("10.77.0.1", "10.77.0.2")
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
TCP_ONLY = {"MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "tcp"}
"""For the mpich wheel: all messages between hosts go through TCP."""

# Hydra calls it in place of ssh: [options] HOST COMMAND...
ENTER = """#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
if [ "$1" = {address} ]; then n=0; else n=1; fi
shift
exec ip netns exec {prefix}$n unshare --uts sh -c "hostname host-$n; exec $*"
"""


@dataclass(frozen=True)
class Speed:
    """Of a link.

    Attributes:
        delay: seconds on top of the machine's own, one way.
        rate: bit/s in each direction; 0: no limit.
    """

    delay: float = 0.0
    rate: float = 0.0

    @property
    def name(self) -> str:
        """For tables."""
        rate = f"{self.rate / 1e6:g} Mbit/s" if self.rate else "no limit"
        return f"{1e3 * self.delay:g} ms, {rate}"


class TwoHosts:
    """Two namespaces and the link between them; use as a context.

    Attributes:
        speed: of the link.
    """

    def __init__(self, speed: Speed, folder: Path) -> None:
        """Describes them; `folder` holds the script that enters them."""
        self.speed = speed
        self._prefix, self._enter = f"md{os.getpid()}-", folder / "enter.sh"
        self._relay: multiprocessing.Process | None = None

    def __enter__(self) -> TwoHosts:
        self._enter.write_text(ENTER.format(address=ADDRESSES[0], prefix=self._prefix))
        self._enter.chmod(0o755)
        for n in (0, 1):
            _do("ip", "netns", "add", self._space(n))
        make = self._make_relay if self.speed.delay else self._make_pair
        make()
        for n, address in enumerate(ADDRESSES):
            _do("ip", "-n", self._space(n), "addr", "add", f"{address}/24", "dev", f"link{n}")
            for device in ("lo", f"link{n}"):
                _do("ip", "-n", self._space(n), "link", "set", device, "up")
        self._wait_for_links()
        return self

    def __exit__(self, *fault: object) -> None:
        if self._relay is not None:
            self._relay.kill()
            self._relay.join()
        for n in (0, 1):
            for process in self.processes(n):
                with suppress(ProcessLookupError):
                    os.kill(process, 9)
            _do("ip", "netns", "del", self._space(n))

    def command(self, words: Sequence[str | Path]) -> list[str]:
        """A Python command line as one rank on each host."""
        inside = [launch.mpirun(), "-launcher", "ssh", "-launcher-exec", str(self._enter), "-iface", "link0",
                  "-hosts", ",".join(ADDRESSES), "-n", "2", "-ppn", "1", sys.executable, *map(str, words)]  # fmt: skip
        first = ["ip", "netns", "exec", self._space(0), "unshare", "--uts", "sh", "-c"]
        return [*first, 'hostname host-0; exec "$@"', "sh", *inside]

    def cut(self) -> None:
        """Takes the link down, on one side: the other one gets no word of it."""
        _do("ip", "-n", self._space(1), "link", "set", "link1", "down")

    def processes(self, n: int) -> list[int]:
        """Numbers of the processes on a host."""
        found = subprocess.run(["ip", "netns", "pids", self._space(n)], capture_output=True, text=True, check=True)
        return [int(word) for word in found.stdout.split()]

    def _space(self, n: int) -> str:
        return f"{self._prefix}{n}"

    def _wait_for_links(self) -> None:
        """Waits until both ends can be used: an interface comes up, and gets its addresses, a second after it is told.

        MPI would take the loopback interface meanwhile, which leads nowhere.
        """
        began = time.monotonic()
        for n in (0, 1):
            while True:
                words = ["ip", "-n", self._space(n), "addr", "show", "dev", f"link{n}"]
                told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
                if "state DOWN" not in told and "LOWER_UP" in told and "tentative" not in told:
                    break
                if time.monotonic() - began > 10.0:
                    raise SystemExit(f"link{n} does not come up:\n{told}")
                time.sleep(0.05)

    def _make_pair(self) -> None:
        _do("ip", "link", "add", "link0", "netns", self._space(0), "type", "veth",
            "peer", "name", "link1", "netns", self._space(1))  # fmt: skip
        for n in (0, 1) if self.speed.rate else ():
            _do("tc", "-n", self._space(n), "qdisc", "add", "dev", f"link{n}", "root", "tbf",
                "rate", f"{self.speed.rate:.0f}bit", "burst", "64kb", "latency", "200ms")  # fmt: skip

    def _make_relay(self) -> None:
        ends = []
        for n in (0, 1):
            end = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH", f"link{n}".encode(), IFF_TUN | IFF_NO_PI))
            _do("ip", "link", "set", f"link{n}", "mtu", "9000", "netns", self._space(n))
            ends.append(end)
        context = multiprocessing.get_context("fork")
        self._relay = context.Process(target=relay, args=(ends[0], ends[1], self.speed), daemon=True)  # type: ignore[assignment]
        assert self._relay is not None
        self._relay.start()
        for end in ends:
            os.close(end)


def relay(first: int, second: int, speed: Speed) -> None:
    """Passes packets between two TUN interfaces, each after its time on the wire and the delay; never ends."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # the delay is to be the one asked for
    other = {first: second, second: first}
    under_way: dict[int, deque[tuple[float, bytes]]] = {first: deque(), second: deque()}
    free_at = dict.fromkeys(other, 0.0)
    while True:
        due = min((queue[0][0] for queue in under_way.values() if queue), default=None)
        wait = None if due is None else max(0.0, due - time.perf_counter())
        for end in select.select(list(other), [], [], wait)[0]:
            packet, now = os.read(end, 65536), time.perf_counter()
            free_at[end] = max(now, free_at[end]) + (8 * len(packet) / speed.rate if speed.rate else 0.0)
            under_way[end].append((free_at[end] + speed.delay, packet))
        for end, queue in under_way.items():
            while queue and queue[0][0] <= time.perf_counter():
                with suppress(OSError):  # the interface is down
                    os.write(other[end], queue.popleft()[1])


def measured_link(command: Sequence[str]) -> dict[str, float]:
    """Latency and overhead, s, and bandwidth, bytes/s, between two ranks, of messages in both directions at once.

    Args:
        command: runs ``-m allegro_md.scaling.links`` on them.
    """
    done = subprocess.run(command, env=launch.environment() | TCP_ONLY, capture_output=True, text=True, check=True)
    told: dict[str, float] = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert told.pop("ranks") == 2
    return told


def missing() -> str:
    """What two hosts cannot be made without; empty: nothing."""
    if os.geteuid() != 0:
        return "root"
    for program in ("ip", "tc", "unshare"):
        if shutil.which(program) is None:
            return program
    return "" if Path("/dev/net/tun").exists() else "/dev/net/tun"


@contextmanager
def running(command: Sequence[str], errors: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose standard error goes to a file; it is ended with the context."""
    with errors.open("wb") as file:
        process = subprocess.Popen(command, env=launch.environment() | TCP_ONLY, stdout=subprocess.DEVNULL, stderr=file)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")
