"""Integrators by the ``ensemble`` of the input (`config.dynamics.INTEGRATORS`)."""

from __future__ import annotations

from allegro_md.config.dynamics import INTEGRATORS, DynamicsConfig
from allegro_md.integrators.base import Integrator, Setting


def build_integrator(table: DynamicsConfig, setting: Setting) -> Integrator:
    """Builds the integrator of a validated ``[dynamics]`` table.

    Raises:
        InputError: the ensemble does not fit the system.
    """
    integrator: Integrator = INTEGRATORS.builder(table.ensemble)(table, setting)
    return integrator
