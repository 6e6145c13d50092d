"""Keys of ``[dynamics]`` for ensembles at a given pressure: the target, and how the cell may move."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, model_validator

from allegro_md.config.dynamics import DynamicsConfig, MotionConfig
from allegro_md.config.fields import Choice, Marker, Time, problem, quoted, show, signed_quantity

COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Components of symmetric tensors, in the order in which six numbers are written."""

_LARGEST = 1e5
"""GPa: beyond, a slip of the unit is likely."""

Six = tuple[float, float, float, float, float, float]


class _Pressure(Marker):
    """A pressure, six components of one, or [first, last] of a linear ramp between two of either."""

    def parse(self, value: Any, info: ValidationInfo) -> float | tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            return _pressure(value)
        if len(value) == 6:
            return tuple(_pressure(v) for v in value)
        if len(value) == 2:
            ends = tuple(self.parse(v, info) for v in value)
            nested = [isinstance(end, tuple) for end in ends]
            if nested[0] == nested[1] and all(len(end) == 6 for end in ends if isinstance(end, tuple)):
                return ends
        raise problem(
            f"expected a pressure, six components, or [first, last] of a ramp, got {show(value)}",
            f'for example "1 bar", [0.0, 10.0], or the components {" ".join(COMPONENTS)} of a pressure tensor',
        )


def _pressure(value: Any) -> float:
    """A pressure of either sign, GPa."""
    return signed_quantity(value, "pressure", _LARGEST)


class _Components(Marker):
    """A list of different tensor components."""

    def parse(self, value: Any, info: ValidationInfo) -> tuple[str, ...]:
        valid = isinstance(value, (list, tuple)) and all(isinstance(v, str) and v in COMPONENTS for v in value)
        if not valid or len(set(value)) < len(value):
            raise problem(f"expected different ones of {quoted(COMPONENTS)}, got {show(value)}", 'for example ["zz"]')
        return tuple(name for name in COMPONENTS if name in value)


class _OnePressure(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> float:
        return _pressure(value)


OnePressure = Annotated[float, _OnePressure()]
"""A pressure of either sign, GPa."""


class CellConfig(DynamicsConfig):
    """Keys of every ensemble, and of minimizers, in which the cell changes.

    Attributes:
        cell: what moves: the volume, the three axes, or all six components.
        couple: two axes that share one strain; "none".
        hold: components of the strain that stay as they are.
    """

    cell: Annotated[str, Choice(("isotropic", "anisotropic", "flexible"))] = "isotropic"
    couple: Annotated[str, Choice(("none", "xy", "xz", "yz"))] = "none"
    hold: Annotated[tuple[str, ...], _Components()] = ()

    @property
    def changes_cell(self) -> bool:
        """The cell changes in the course of the run."""
        return True

    @property
    def moving(self) -> tuple[str, ...]:
        """Components of the strain that move."""
        names = COMPONENTS if self.cell == "flexible" else COMPONENTS[:3]
        return tuple(name for name in names if name not in self.hold)

    @model_validator(mode="after")
    def _cell_moves_as_told(self) -> CellConfig:
        if not self.changes_cell:
            return self
        if self.cell == "isotropic" and (self.couple != "none" or self.hold):
            key = "hold" if self.hold else "couple"
            raise problem("an isotropic cell has one strain, of all axes",
                          f'remove it, or use cell = "anisotropic" with {key}', key)
        pair = [2 * axis for axis in self.couple] if self.couple != "none" else []
        if len([name for name in pair if name in self.hold]) == 1:
            raise problem(f"{' and '.join(pair)} are coupled, and one of them is held", "hold both or none", "hold")
        if shears := [name for name in self.hold if name in COMPONENTS[3:] and self.cell != "flexible"]:
            raise problem(f'an {self.cell} cell does not shear, so that holding {quoted(shears)} means nothing',
                          "remove them", "hold")
        if not self.moving:
            raise problem("all components are held, so that the cell cannot move", "let the cell move, or use an "
                          "ensemble without pressure", "hold")
        return self


class PressureConfig(MotionConfig, CellConfig):
    """Keys of every ensemble at a given pressure.

    Attributes:
        pressure: GPa, positive in compression; or six components of a pressure tensor, xx yy zz yz xz xy; or two of
            either, (first, last) of a linear ramp.
        barostat_time: relaxation time of the cell, fs.
    """

    pressure: Annotated[float | tuple[Any, ...], _Pressure()] = Field(examples=['"1 bar"'])
    barostat_time: Time = 1000.0

    @property
    def is_ramped(self) -> bool:
        """A target changes over the steps, so that their number cannot change later."""
        return self._pressure_is_ramped or super().is_ramped

    @property
    def pressure_ramp(self) -> tuple[Six, Six]:
        """Components of the pressure tensor at the first and at the last step, GPa."""
        first, last = self.pressure if self._pressure_is_ramped else (self.pressure, self.pressure)  # type: ignore[misc]
        return _six(first), _six(last)

    @property
    def _pressure_is_ramped(self) -> bool:
        return isinstance(self.pressure, tuple) and len(self.pressure) == 2

    @model_validator(mode="after")
    def _slower_than_a_step(self) -> PressureConfig:
        if self.barostat_time <= self.timestep:
            raise problem(f"must be longer than the timestep, got {self.barostat_time} fs against {self.timestep} fs",
                          "a barostat time of 1000 fs and a timestep of 0.5 to 5 fs are usual", "barostat_time")
        return self

    @model_validator(mode="after")
    def _components_fit(self) -> PressureConfig:
        if isinstance(self.pressure, float):
            return self
        pair = [COMPONENTS.index(2 * axis) for axis in self.couple] if self.couple != "none" else []
        pair = [0, 1, 2] if self.cell == "isotropic" else pair
        for six in self.pressure_ramp:
            if len({six[k] for k in pair}) > 1:
                names = " and ".join(COMPONENTS[k] for k in pair)
                raise problem(f"{names} share one strain, but their pressures differ",
                              'give them one value, or use cell = "anisotropic" or "flexible"', "pressure")
            for name, value in zip(COMPONENTS, six, strict=True):
                if value != 0.0 and name not in self.moving and self._is_tensor:
                    raise problem(f"component {name} of the cell does not move, so that its pressure has no effect",
                                  f'write 0 for {name}, or let it move (cell = "flexible", hold)', "pressure")
        return self

    @property
    def _is_tensor(self) -> bool:
        first = self.pressure[0] if self._pressure_is_ramped else self.pressure  # type: ignore[index]
        return isinstance(first, tuple)


def _six(value: float | Six) -> Six:
    """Components of a pressure tensor; one number is that of a fluid."""
    return value if isinstance(value, tuple) else (value, value, value, 0.0, 0.0, 0.0)
