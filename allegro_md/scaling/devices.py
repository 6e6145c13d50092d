"""Table of processors and interconnects for forecasts: each figure with its source, or marked as an estimate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from allegro_md.config.fields import nearest
from allegro_md.errors import InputError
from allegro_md.scaling.network import Link

EFFICIENCY = 0.25
"""Share of its float32 peak that a GPU is taken to reach where a core of this machine reaches that of a large matrix
product: an estimate, since the engine has no GPU kernels yet."""

LAUNCHES = 30 * 5e-6
"""Time of a step on a GPU without any atom, s: about thirty kernel launches of 5 µs; an estimate."""


@dataclass(frozen=True)
class Device:
    """A processor core or a GPU, on which one rank runs.

    Attributes:
        kind: a core of a processor, or a GPU.
        peak: float32 operations per second.
        bandwidth: bytes/s of memory, of a core its share.
        memory: bytes; of a core its share of 4 GB.
        per_node: of a usual node.
        adapters: network adapters of such a node.
        inside: name of the link within a node, of `LINKS`.
        source: of the figures.
    """

    kind: Literal["core", "gpu"]
    peak: float
    bandwidth: float
    memory: float
    per_node: int
    adapters: int
    inside: str
    source: str


@dataclass(frozen=True)
class LinkEntry:
    """A link with its sources; `bandwidth` is that of a rank within a node, of one adapter between nodes."""

    link: Link
    source: str


_NODE = "node: 2 sockets, 4 GB of memory per core (estimate)"

DEVICES: dict[str, Device] = {
    "epyc-7763-core": Device(
        "core", 78e9, 3.2e9, 4e9, 128, 1, "shared-memory",
        f"AMD EPYC 7763, product page: 64 cores, 2.45 GHz, 8 channels DDR4-3200; 32 operations per cycle; {_NODE}",
    ),
    "epyc-9654-core": Device(
        "core", 77e9, 4.8e9, 4e9, 192, 1, "shared-memory",
        f"AMD EPYC 9654, product page: 96 cores, 2.4 GHz, 12 channels DDR5-4800; 32 operations per cycle; {_NODE}",
    ),
    "xeon-8480-core": Device(
        "core", 128e9, 5.5e9, 4e9, 112, 1, "shared-memory",
        f"Intel Xeon 8480+, product page: 56 cores, 2.0 GHz, 8 channels DDR5-4800; 64 operations/cycle; {_NODE}",
    ),
    "a100": Device("gpu", 19.5e12, 1.555e12, 40e9, 8, 8, "nvlink-3", "NVIDIA A100 data sheet (SXM, 40 GB), DGX A100"),
    "h100": Device("gpu", 67e12, 3.35e12, 80e9, 8, 8, "nvlink-4", "NVIDIA H100 data sheet (SXM), DGX H100"),
    "h200": Device("gpu", 67e12, 4.8e12, 141e9, 8, 8, "nvlink-4", "NVIDIA H200 data sheet (SXM), HGX H200"),
    "b200": Device("gpu", 80e12, 8.0e12, 180e9, 8, 8, "nvlink-5", "NVIDIA Blackwell data sheet (HGX B200)"),
}

LINKS: dict[str, LinkEntry] = {
    "shared-memory": LinkEntry(
        Link(0.5e-6, 1.5e-6, 5e9), "estimate: MPICH within a node; mpi4py and Python take 1.5 µs per message and end"
    ),
    "nvlink-3": LinkEntry(Link(10e-6, 2e-6, 300e9), "NVIDIA A100 data sheet: 600 GB/s both ways; latency: estimate"),
    "nvlink-4": LinkEntry(Link(10e-6, 2e-6, 450e9), "NVIDIA H100 data sheet: 900 GB/s both ways; latency: estimate"),
    "nvlink-5": LinkEntry(Link(10e-6, 2e-6, 900e9), "NVIDIA B200 data sheet: 1.8 TB/s both ways; latency: estimate"),
    "infiniband-hdr": LinkEntry(
        Link(1.0e-6, 2e-6, 25e9), "IBTA: HDR 200 Gbit/s; latency through switches about 1 µs, overhead: estimates"
    ),
    "infiniband-ndr": LinkEntry(
        Link(1.0e-6, 2e-6, 50e9), "IBTA: NDR 400 Gbit/s; latency through switches about 1 µs, overhead: estimates"
    ),
    "slingshot-11": LinkEntry(Link(2.0e-6, 2e-6, 25e9), "HPE Slingshot 200 Gbit/s; latency, overhead: estimates"),
    "ethernet-10": LinkEntry(Link(30e-6, 5e-6, 1.25e9), "10 Gbit/s; latency of TCP, overhead: estimates"),
    "ethernet-100": LinkEntry(Link(20e-6, 5e-6, 12.5e9), "100 Gbit/s; latency of TCP, overhead: estimates"),
}

JITTER = {"core": 0.01, "gpu": 0.01}
"""Standard deviation of a rank's computing time from step to step, relative; estimates."""

BETWEEN = "infiniband-hdr"
"""Between nodes where no network is named."""


def find_device(name: str) -> Device:
    """Returns a device of the table.

    Raises:
        InputError: there is none of this name; names the nearest.
    """
    return _find(name, DEVICES, "--device", "leave it out for this machine")


def find_link(name: str) -> Link:
    """Returns a link of the table.

    Raises:
        InputError: there is none of this name; names the nearest.
    """
    return _find(name, LINKS, "--network", "leave it out").link


def _find(name: str, table: Mapping[str, Any], option: str, other: str) -> Any:
    if name in table:
        return table[name]
    near = nearest(name, table) or next(iter(_beginning(name, table)), None)
    known = f"known: {', '.join(table)}; or {other}"
    raise InputError(f"'{name}' is not in the table", option, f"did you mean '{near}'? {known}" if near else known)


def _beginning(name: str, table: Iterable[str]) -> list[str]:
    """Names that contain the one that was given."""
    return [known for known in table if name.lower() in known] if name else []


def least_bytes(neighbors: float) -> float:
    """Memory traffic of an atom and step when everything is read and written once, bytes.

    Integrator 192, guard 48, list and pair vectors 102 + 4 per listed neighbor.

    Args:
        neighbors: length of an atom's list.
    """
    return 342.0 + 4.0 * neighbors


def seconds_on(device: Device, seconds: float, rate: float, neighbors: float) -> float:
    """Forecasts the time of an atom and step on a device from that on a core of this machine.

    t = max(t_here · rate_here / (η · peak), bytes / bandwidth), with η = `EFFICIENCY` of GPUs and 1 of cores, whose
    peak is that of the table and whose kernels are the same.

    Args:
        device: of the table.
        seconds: per atom and step here.
        rate: float32 operations per second of a large matrix product on a core here.
        neighbors: length of an atom's list.
    """
    share = EFFICIENCY if device.kind == "gpu" else 1.0
    return max(seconds * rate / (share * device.peak), least_bytes(neighbors) / device.bandwidth)
