"""``[replicas]``: several copies of a run, each with seeds and perhaps a temperature of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, model_validator

from allegro_md.config.dynamics import INTEGRATORS, DynamicsConfig, TemperatureConfig
from allegro_md.config.fields import Marker, Quantity, Seed, Table, Whole, problem, show
from allegro_md.config.guard import GuardConfig
from allegro_md.config.output import OutputConfig, ParallelConfig
from allegro_md.errors import InputError

MOST = 100_000
"""Replicas of a run."""


class _Temperatures(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[float, ...]:
        if not isinstance(value, (list, tuple)):
            raise problem(f"expected a list of temperatures, got {show(value)}", "for example [300, 350, 400]")
        return tuple(Quantity("temperature").parse(each, info) for each in value)


class ExchangeConfig(Table):
    """Parallel tempering.

    Attributes:
        every: steps between two exchanges.
        seed: of the random numbers that decide.
    """

    every: Annotated[int, Whole(1)] = Field(examples=["100"])
    seed: Seed = 1


class ReplicasConfig(Table):
    """Copies of a run.

    Attributes:
        count: number of replicas.
        temperatures: K, one per replica; None: all have that of the input.
        exchange: replicas exchange their temperatures; None: they know nothing of each other.
    """

    count: Annotated[int, Whole(1, MOST)] = Field(examples=["8"])
    temperatures: Annotated[tuple[float, ...], _Temperatures()] | None = None
    exchange: ExchangeConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _spaced(cls, data: Any) -> Any:
        """Replaces ``temperature = [lowest, highest]`` by temperatures in geometric progression."""
        if not isinstance(data, dict) or "temperature" not in data:
            return data
        if "temperatures" in data:
            raise problem("temperatures are given twice", "remove temperature or temperatures", "temperature")
        ends, count = data["temperature"], data.get("count")
        if not isinstance(ends, (list, tuple)) or len(ends) != 2:
            raise problem(f"expected [lowest, highest], got {show(ends)}", "for example [300, 600]", "temperature")
        low, high = (Quantity("temperature").parse(end, None) for end in ends)  # type: ignore[arg-type]
        if not low < high:
            raise problem(f"the first must be the lower one, got {show(ends)}", "exchange them", "temperature")
        n = int(count) if isinstance(count, (int, float)) and 1 <= count <= MOST else 0  # else refused as a count
        if n == 1:
            raise problem("a range of temperatures needs two replicas", "set temperatures to one", "temperature")
        given = {key: value for key, value in data.items() if key != "temperature"}
        return given | {"temperatures": [low * (high / low) ** (k / max(1, n - 1)) for k in range(n)]}

    @model_validator(mode="after")
    def _one_temperature_each(self) -> ReplicasConfig:
        if self.temperatures is None:
            if self.exchange is not None:
                raise problem("there are no temperatures to exchange", "set temperatures", "exchange")
            return self
        if len(self.temperatures) != self.count:
            what = f"{len(self.temperatures)} temperatures are given for {self.count} replicas"
            raise problem(what, "give one per replica", "temperatures")
        if self.exchange is not None:
            if self.count < 2:
                raise problem("an exchange needs two replicas", "remove exchange, or raise count", "exchange")
            if any(low >= high for low, high in zip(self.temperatures, self.temperatures[1:], strict=False)):
                what = "neighbors in the list exchange, so that temperatures must rise"
                raise problem(what, "sort them; each may appear once", "temperatures")
        return self


@dataclass(frozen=True)
class RankGroup:
    """Ranks that make the same replicas.

    Attributes:
        index: of the group.
        ranks: of all ranks, those of the group.
        replicas: which it makes, one after the other.
    """

    index: int
    ranks: range
    replicas: range


def divide(count: int, size: int) -> tuple[RankGroup, ...]:
    """Divides ranks among replicas: a group of ranks per replica, or several replicas per rank where ranks are fewer.

    Groups differ by one rank, or replica, at most.

    Args:
        count: number of replicas.
        size: number of ranks.
    """
    n = min(count, size)
    return tuple(
        RankGroup(g, range(g * size // n, (g + 1) * size // n), range(g * count // n, (g + 1) * count // n))
        for g in range(n)
    )


def require_grid_of_groups(parallel: ParallelConfig, count: int, size: int, where: str) -> None:
    """Refuses a rank grid that is not that of each group of ranks.

    Args:
        parallel: the table of the input.
        count: number of replicas.
        size: number of ranks.
        where: for the message.

    Raises:
        InputError: it is for another number of ranks.
    """
    for group in divide(count, size):
        here, wanted = len(group.ranks), parallel.ranks_wanted(len(group.ranks))
        if here != wanted:
            what = f"the grid {list(parallel.grid)} is for {wanted} ranks, but a replica has {here}"
            raise InputError(what, where, f'use mpirun -n {wanted * count}, or grid = "auto"')


def with_seeds_raised(value: Any, by: int) -> Any:
    """Copies a table, or a tuple of tables, with `by` added to each key ``seed`` in it and in the tables below."""
    if isinstance(value, tuple):
        return tuple(with_seeds_raised(each, by) for each in value)
    if not isinstance(value, Table):
        return value
    now = {name: getattr(value, name) for name in type(value).model_fields}
    return value.model_copy(
        update={name: old + by if name == "seed" else with_seeds_raised(old, by) for name, old in now.items()}
    )


def filled(data: dict[str, Any]) -> dict[str, Any]:
    """Gives the raw tables the temperature of the first replica, where replicas have temperatures.

    Raises:
        PydanticCustomError: a temperature is given already, or there is none to set.
    """
    replicas = data.get("replicas")
    if not isinstance(replicas, dict) or not {"temperatures", "temperature"} & replicas.keys():
        return data
    if data.get("stage"):
        remedy = "set temperatures in the stages, and remove those of [replicas]"
        raise problem("a run in stages has the temperatures of its stages", remedy, "replicas")
    if isinstance(data.get("dynamics"), dict) and data["dynamics"].get("thermostats"):
        what = "the groups of thermostats have temperatures of their own"
        raise problem(what, "remove temperatures, or the thermostats of groups", "replicas")
    given = replicas.get("temperatures") or replicas.get("temperature")
    first = given[0] if isinstance(given, (list, tuple)) and given else 300.0
    found, set_any = dict(data), False
    for path in (("dynamics",), ("system", "velocities")):
        found, done = _with_temperature(found, path, first)
        set_any |= done
    if not set_any:
        remedy = 'give [system.velocities], or an ensemble with a thermostat such as "nvt-bussi"'
        raise problem("nothing has a temperature", remedy, "replicas.temperatures")
    return found


def _with_temperature(data: dict[str, Any], path: Sequence[str], kelvin: Any) -> tuple[dict[str, Any], bool]:
    """Sets the temperature of the table at a path, if it has one; tells if it has."""
    inner = data.get(path[0])
    if not isinstance(inner, dict):
        return data, False
    if len(path) > 1:
        table, done = _with_temperature(inner, path[1:], kelvin)
    else:
        if "temperature" in inner:
            what = "each replica has a temperature of its own, and another one is given"
            where = "system.velocities" if path[0] == "velocities" else path[0]
            raise problem(what, "remove this one, or those of [replicas]", f"{where}.temperature")
        done = path[0] == "velocities" or has_temperature(inner.get("ensemble"))
        table = {**inner, "temperature": kelvin} if done else inner
    return {**data, path[0]: table}, done


def has_temperature(ensemble: Any) -> bool:
    """Tells if an ensemble has the key ``temperature``."""
    known = isinstance(ensemble, str) and ensemble in INTEGRATORS
    return known and "temperature" in INTEGRATORS.table(ensemble).model_fields


def require_exchangeable(
    dynamics: DynamicsConfig, output: OutputConfig, guard: GuardConfig, in_stages: bool, exchange: ExchangeConfig
) -> None:
    """Refuses to exchange temperatures where that would be wrong, or where runs could not be continued.

    Raises:
        PydanticCustomError: names the key.
    """
    if in_stages:
        raise problem("a run in stages cannot exchange temperatures", "make the stages one by one", "replicas.exchange")
    if dynamics.changes_cell:
        what = f"{dynamics.ensemble} changes the cell, and energies alone do not decide then"
        raise problem(what, 'use a constant volume: "nvt-bussi", "nvt-nose-hoover" or "nvt-langevin"',
                      "replicas.exchange")
    if not isinstance(dynamics, TemperatureConfig):
        what = f"{dynamics.ensemble} has no thermostat whose temperature could be exchanged"
        raise problem(what, 'use "nvt-bussi", "nvt-nose-hoover" or "nvt-langevin"', "replicas.exchange")
    if dynamics.of_groups or dynamics.apply:
        key = "thermostats" if dynamics.of_groups else "apply"
        what = "the canonical ensemble of the potential energy, which exchanges rest on, is not reached with it"
        raise problem(what, "remove it, or exchange", f"dynamics.{key}")
    if guard.rollback:
        raise problem("a replica cannot go back alone past an exchange", "set rollback = 0", "guard.rollback")
    between, kept = output.checkpoint.every, output.checkpoint.keep
    if between % exchange.every:
        what = f"must be a multiple of the {exchange.every} steps between exchanges, got {between}"
        raise problem(what, f"set it to {max(1, between // exchange.every) * exchange.every}",
                      "output.checkpoint.every")
    if kept < 2:
        what = "replicas continue from their last common checkpoint, and one killed early may be one behind"
        raise problem(what, "keep at least 2", "output.checkpoint.keep")
