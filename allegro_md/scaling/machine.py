"""The machine of a forecast: times of one rank, the network, the memory of a rank."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from allegro_md.scaling.calibration import Calibration
from allegro_md.scaling.devices import (
    BETWEEN,
    EFFICIENCY,
    JITTER,
    LAUNCHES,
    LINKS,
    find_device,
    find_link,
    seconds_on,
)
from allegro_md.scaling.forecast import Costs, LinearCost
from allegro_md.scaling.network import Link, Network
from allegro_md.simulation.host_info import available_memory, usable_cores


@dataclass(frozen=True)
class Machine:
    """The machine of a forecast.

    Attributes:
        name: of the device.
        costs: of one rank.
        network: between ranks.
        memory: bytes that a rank may have.
        remarks: where the figures come from, sentences.
    """

    name: str
    costs: Costs
    network: Network
    memory: float
    remarks: tuple[str, ...]


def require_known(device: str | None, network: str | None) -> None:
    """Refuses names that are not in the tables, before anything is measured.

    Raises:
        InputError: names the nearest.
    """
    if device is not None:
        find_device(device)
    if network is not None:
        find_link(network)


def this_machine(calibration: Calibration, network: str | None, measured: Link | None) -> Machine:
    """Describes this machine, its cores as many nodes as the ranks need.

    Args:
        calibration: of the input on one of its cores.
        network: name of the link between nodes; None: `devices.BETWEEN`.
        measured: link between two ranks; None: that of the table for shared memory.

    Raises:
        InputError: no such network.
    """
    cores = len(usable_cores())
    between = find_link(network or BETWEEN)
    inside = LINKS["shared-memory"].link if measured is None else measured
    atoms = ", ".join(str(sample.own) for sample in calibration.samples)
    remarks = [
        f"measured here on one core, with {atoms} atoms: potential, integrator, halo and rebuild per atom and ghost",
        f"a large float32 matrix product runs at {calibration.rate / 1e9:.3g} GFLOP/s on this core",
    ]
    if measured is None:
        remarks.append(f"between ranks of a node: {LINKS['shared-memory'].source}; measure it with --launcher")
    else:
        remarks.append(
            f"measured between ranks: latency {1e6 * inside.latency:.2g} µs, overhead {1e6 * inside.overhead:.2g} µs "
            f"per message and end, {inside.bandwidth / 1e9:.3g} GB/s"
        )
    remarks.append(f"nodes of {cores} cores, between them {network or BETWEEN}: {LINKS[network or BETWEEN].source}")
    memory = available_memory()
    return Machine(
        "this machine", calibration.costs, Network(cores, inside, between, JITTER["core"]),
        math.inf if memory is None else memory / cores, tuple(remarks),
    )  # fmt: skip


def machine_of_table(name: str, calibration: Calibration, neighbors: float, network: str | None) -> Machine:
    """Forecasts the costs of an input on a device of the table from those on a core of this machine.

    Args:
        name: of the device.
        calibration: of the input here.
        neighbors: length of an atom's neighbor list.
        network: name of the link between nodes; None: `devices.BETWEEN`.

    Raises:
        InputError: no such device or network; names the nearest.
    """
    device, link = find_device(name), find_link(network or BETWEEN)
    here = calibration.costs
    factor = seconds_on(device, here.per_atom, calibration.rate, neighbors) / here.per_atom
    on_gpu = device.kind == "gpu"
    scaled = {part: _scaled(line, factor, on_gpu) for part, line in vars(here).items()}
    if on_gpu:
        scaled["potential"] = replace(scaled["potential"], fixed=LAUNCHES)
    share = f"{EFFICIENCY:.0%} of its peak" if on_gpu else "its base clock"
    remarks: tuple[str, ...] = (
        f"forecast: the time per atom here, {1e6 * here.per_atom:.3g} µs at {calibration.rate / 1e9:.3g} GFLOP/s, "
        f"becomes {1e6 * factor * here.per_atom:.3g} µs at {share}, {device.peak / 1e9:.3g} GFLOP/s",
        f"{name}: {device.source}",
        f"nodes of {device.per_node} ranks, within them {device.inside}: {LINKS[device.inside].source}",
        f"between nodes {device.adapters} x {network or BETWEEN}: {LINKS[network or BETWEEN].source}",
    )
    if on_gpu:
        remarks += (
            "terms in float64 (lj, eam, zbl) are taken to run at half the speed of float32, as they do here: so do "
            "these GPUs by their data sheets",
        )
        remarks += ("the kernels for GPUs have not run on one yet: this is what they are expected to reach",)
    between = replace(link, bandwidth=device.adapters * link.bandwidth)
    return Machine(
        name, Costs(**scaled), Network(device.per_node, LINKS[device.inside].link, between, JITTER[device.kind]),
        device.memory, remarks,
    )  # fmt: skip


def _scaled(line: LinearCost, factor: float, on_gpu: bool) -> LinearCost:
    """Times on another device: all of them on a core, those that grow with atoms on a GPU."""
    return LinearCost(0.0 if on_gpu else factor * line.fixed, factor * line.atom, factor * line.ghost)
