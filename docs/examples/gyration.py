"""A quantity: the radius of gyration of each group of atoms, during a run and of stored trajectories."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from allegro_md.accumulators import Mean, Total, reduced
from allegro_md.analysis.base import Quantity, Sample, System
from allegro_md.analysis.groups import Groups
from allegro_md.analysis.result import Column, Result, Value
from allegro_md.analysis.table import GroupedTable
from allegro_md.comm import Comm
from allegro_md.errors import InputError


class GyrationTable(GroupedTable):
    """Radius of gyration of groups of atoms, all of one weight."""

    kind: Literal["gyration"]


class Gyration(Quantity):
    """Mean of the radius over the samples, with an error that accounts for their correlation."""

    fields = ("position", "image")  # unwrapped positions
    divided: ClassVar[Literal["frames", "atoms", "no"]] = "atoms"

    def __init__(self, table: GyrationTable, system: System, where: str) -> None:
        self._groups, self._where = Groups(table, system.species_table, system.n_total, where), where
        self._mean = Mean(len(self._groups.names))

    def add(self, sample: Sample) -> None:
        bits = self._groups.bits(sample.ids, sample.species, sample.wrapped[0])
        radii = []
        for k in range(len(self._groups.names)):
            x = sample.position[(bits >> np.uint64(k)) & np.uint64(1) == 1]
            sums = Total(5)  # exact: the same bits however the atoms are divided over ranks
            sums.add(np.column_stack([np.ones(len(x)), x, (x * x).sum(axis=1)]))
            n, *total, squares = reduced(sums, sample.comm).value()
            radii.append(np.sqrt(squares / n - np.square(total).sum() / n**2) if n else np.nan)
        self._mean.add(np.array(radii))  # equal on all ranks, so it is not reduced again

    def result(self, comm: Comm) -> Result:
        found = self._mean.estimate()
        if found.n_samples == 0:
            raise InputError("there are no samples", self._where, "use more frames")
        columns = [Column("group", self._groups.names), Column("radius_A", found.mean), Column("err_A", found.error)]
        result = Result("Radius of gyration", columns)
        for name, mean, error in zip(self._groups.names, found.mean, found.error, strict=True):
            result.values.append(Value(f"radius_{name}", f"radius of gyration of {name}", mean, error, "Å"))
        return result

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        return self._mean.state_dict()

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        self._mean.load_state_dict(state)


def build(table: GyrationTable, system: System, where: str) -> Gyration:
    """Makes the quantity of a table."""
    return Gyration(table, system, where)
