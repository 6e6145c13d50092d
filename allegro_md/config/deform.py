"""``[dynamics] deform``: the cell and the atoms are deformed homogeneously while atoms move."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import ValidationInfo, model_validator

from allegro_md.config.fields import Marker, Table, problem, show, signed_quantity

AXIAL = ("xx", "yy", "zz")
"""Components that change lengths along one axis."""


class _Rate(Marker):
    """A rate of either sign, 1/fs or a string with a unit."""

    def parse(self, value: Any, info: ValidationInfo) -> float:
        return signed_quantity(value, "rate")


class _Strain(Marker):
    """A number without a unit, of either sign."""

    def parse(self, value: Any, info: ValidationInfo) -> float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not abs(value) < math.inf:
            raise problem(f"expected a number, got {show(value)}", "a strain of ten percent is 0.1")
        return float(value)


Rate = Annotated[float | None, _Rate()]
Strain = Annotated[float | None, _Strain()]


class _Components(Table):
    """One value for each component that is deformed."""

    @property
    def given(self) -> dict[str, float]:
        """The components that are given, in the order of the table."""
        return {key: value for key in type(self).model_fields if (value := getattr(self, key)) is not None}

    @model_validator(mode="after")
    def _no_contradiction(self) -> _Components:
        if not self.given:
            raise problem("no component is given", f"choose from {', '.join(type(self).model_fields)}")
        if "volume" in self.given and (both := [key for key in AXIAL if key in self.given]):
            raise problem(f"the volume follows from {', '.join(both)} already", "remove one of them", "volume")
        return self


class RatesConfig(_Components):
    """Velocity gradient of the flow, 1/fs.

    Attributes:
        xx: ∂u_x/∂x, the rate of the true (logarithmic) strain along x.
        yy: ∂u_y/∂y.
        zz: ∂u_z/∂z.
        yz: ∂u_y/∂z, a shear.
        xz: ∂u_x/∂z.
        xy: ∂u_x/∂y.
        volume: rate of the logarithm of the volume, a third along each axis.
    """

    xx: Rate = None
    yy: Rate = None
    zz: Rate = None
    yz: Rate = None
    xz: Rate = None
    xy: Rate = None
    volume: Rate = None


class StrainsConfig(_Components):
    """Deformation that is reached at the last step.

    Attributes:
        xx: change of length along x, as a fraction of the length at the start.
        yy: along y.
        zz: along z.
        yz: displacement along y per distance along z, both as they are at the start: an engineering shear strain.
        xz: displacement along x per distance along z.
        xy: displacement along x per distance along y.
        volume: change of the volume, as a fraction of that at the start; the cell keeps its shape.
    """

    xx: Strain = None
    yy: Strain = None
    zz: Strain = None
    yz: Strain = None
    xz: Strain = None
    xy: Strain = None
    volume: Strain = None

    @model_validator(mode="after")
    def _something_is_left(self) -> StrainsConfig:
        for key, value in self.given.items():
            if key in (*AXIAL, "volume") and value <= -1.0:
                raise problem(f"must be above -1, got {value:g}: nothing would be left of the cell",
                              "a compression by ten percent is -0.1", key)  # fmt: skip
        return self


class DeformConfig(Table):
    """A deformation at constant rate: given is either the rate, or the strain at the last step.

    Attributes:
        rate: velocity gradient.
        strain: at the last step.
    """

    rate: RatesConfig | None = None
    strain: StrainsConfig | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> DeformConfig:
        if (self.rate is None) == (self.strain is None):
            what = "neither rate nor strain is given" if self.rate is None else "both rate and strain are given"
            raise problem(what, 'give one of them, for example rate = { xx = "1e9/s" } or strain = { xx = 0.1 }')
        return self

    def largest_step(self, time: float, steps: int) -> float:
        """Largest component of the strain in one step.

        Args:
            time: of a step, fs.
            steps: over which `strain` is reached.
        """
        if self.rate is not None:
            return max(abs(value) for value in self.rate.given.values()) * time
        assert self.strain is not None
        axial = (*AXIAL, "volume")
        found = (math.log1p(v) if key in axial else v for key, v in self.strain.given.items())
        return max(abs(value) for value in found) / max(1, steps)
