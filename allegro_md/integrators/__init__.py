"""Integrators by the ``ensemble`` of the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allegro_md.integrators.base import Collective, Integrator
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.integrators.nvt_nose_hoover import NoseHooverChain


def _nve(dynamics: Any, degrees_of_freedom: int, collective: Collective) -> Integrator:
    return VelocityVerlet(dynamics.timestep)


def _nvt_nose_hoover(dynamics: Any, degrees_of_freedom: int, collective: Collective) -> Integrator:
    return NoseHooverChain(
        timestep=dynamics.timestep,
        temperatures=dynamics.ramp,
        steps=dynamics.steps,
        thermostat_time=dynamics.thermostat_time,
        chain=dynamics.thermostat_chain,
        suzuki_yoshida=dynamics.suzuki_yoshida,
        degrees_of_freedom=degrees_of_freedom,
        collective=collective,
    )


INTEGRATORS: dict[str, Callable[[Any, int, Collective], Integrator]] = {
    "nve": _nve,
    "nvt-nose-hoover": _nvt_nose_hoover,
}


def build_integrator(dynamics: Any, degrees_of_freedom: int, collective: Collective) -> Integrator:
    """The integrator of a validated ``[dynamics]`` table."""
    return INTEGRATORS[dynamics.ensemble](dynamics, degrees_of_freedom, collective)
