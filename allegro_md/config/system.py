"""``[system]``: what is simulated: a structure file or a crystal, its boundaries, masses and start velocities."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, model_validator

from allegro_md.config.fields import (
    SYMBOLS,
    Choice,
    Element,
    ExistingFile,
    Flags,
    Length,
    LengthOrZero,
    Marker,
    Mass,
    Repeat,
    Seed,
    Table,
    TemperatureOrZero,
    nearest,
    problem,
    show,
)


class _Frame(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise problem(f"expected a whole number, got {show(value)}", "0 is the first frame, -1 the last")
        return value


class _Word(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not value:
            raise problem(f"expected a name, got {show(value)}", 'for example "lammps-data", "extxyz" or "vasp"')
        return value


class _Types(Marker):
    """A list of elements, of type 1, 2, …, or a table of names (or numbers) of atoms and their elements."""

    def parse(self, value: Any, info: ValidationInfo) -> tuple[str, ...] | dict[str, str]:
        example = 'for example ["Ar", "Kr"], or { OW = "O", HW = "H" }'
        symbols = value.values() if isinstance(value, dict) else value
        if not isinstance(value, (list, tuple, dict)) or not value:
            raise problem(f"expected the elements of the types, got {show(value)}", example)
        for symbol in symbols:
            if symbol not in SYMBOLS:
                near = nearest(symbol, SYMBOLS) if isinstance(symbol, str) else None
                remedy = f"did you mean '{near}'?" if near else example
                raise problem(f"{show(symbol)} is not a chemical symbol", remedy)
        return value if isinstance(value, dict) else tuple(value)


class CrystalConfig(Table):
    """A perfect crystal of one element, made on each rank without any rank holding all of it.

    Attributes:
        symbol: chemical symbol.
        lattice: fcc, bcc, sc, hcp or diamond (cubic cells of 4, 2, 1 and 8 atoms; hcp hexagonal, 2 atoms).
        a: lattice constant, Å.
        c: second lattice constant of hcp, Å; absent: the ideal a·√(8/3).
        repeat: number of cells along the three axes.
        rattle: standard deviation of a normal displacement per component, Å.
        seed: of the displacements.
    """

    symbol: Element = Field(examples=['"Ag"'])
    lattice: Annotated[str, Choice(("fcc", "bcc", "sc", "hcp", "diamond"))] = Field(examples=['"fcc"'])
    a: Length = Field(examples=["4.09"])
    c: Length | None = None
    repeat: Repeat = (1, 1, 1)
    rattle: LengthOrZero = 0.0
    seed: Seed = 0

    @model_validator(mode="after")
    def _c_only_hcp(self) -> CrystalConfig:
        if self.c is not None and self.lattice != "hcp":
            raise problem(f'only "hcp" has a second lattice constant, "{self.lattice}" has none', "leave it out", "c")
        return self

    @model_validator(mode="after")
    def _stays_a_crystal(self) -> CrystalConfig:
        if self.rattle >= self.a:
            what = f"must be smaller than the lattice constant, got {self.rattle:g} Å against {self.a:g} Å"
            raise problem(what, "0.05 Å is usual", "rattle")
        return self


class VelocitiesConfig(Table):
    """Start velocities from the Maxwell–Boltzmann distribution, without net momentum.

    Attributes:
        temperature: K.
        seed: of the random numbers.
    """

    temperature: TemperatureOrZero = Field(examples=["300.0"])
    seed: Seed = 0


class SystemConfig(Table):
    """The atoms.

    Attributes:
        structure: a file ASE reads (absolute path), or None when `crystal` is given.
        frame: which frame of the file; −1 is the last.
        format: ASE's name of the format of `structure`; None: as its name and content say.
        types: elements of the types that the file numbers (a list) or of its names of atoms (a table), or None.
        units: LAMMPS units of a LAMMPS file that does not state them; None: metal.
        velocity_unit: unit of the velocity columns of an extended XYZ file; None: as the column says, if it does.
        crystal: a crystal to make, or None.
        repeat: copies of structure or crystal along the three axes.
        constraints: "honor": atoms that the file fixes do not move; "ignore": they move like others.
        periodic: which axes repeat; None: as the file says, a crystal in all three.
        velocities: None: the file's, else zero.
        masses: by element, amu; elements not named have ASE's standard mass.
    """

    structure: ExistingFile | None = None
    frame: Annotated[int, _Frame()] = -1
    format: Annotated[str, _Word()] | None = None
    types: Annotated[tuple[str, ...] | dict[str, str], _Types()] | None = None
    units: Annotated[str, Choice(("metal", "real", "electron"))] | None = None
    velocity_unit: Annotated[str, Choice(("Å/fs", "A/fs", "Å/ps", "A/ps", "nm/ps", "m/s"))] | None = None
    constraints: Annotated[str, Choice(("honor", "ignore"))] = "honor"
    crystal: CrystalConfig | None = None
    repeat: Repeat = (1, 1, 1)
    periodic: Flags | None = None
    velocities: VelocitiesConfig | None = None
    masses: dict[Element, Mass] = {}

    @property
    def element_of_type(self) -> dict[str, str] | None:
        """Element of each type number or name of the file, or None."""
        if self.types is None or isinstance(self.types, dict):
            return self.types
        return {str(number): symbol for number, symbol in enumerate(self.types, 1)}

    @model_validator(mode="before")
    @classmethod
    def _mass_symbols(cls, data: Any) -> Any:
        """Names the faulty element as a key: pydantic would call it ``masses.X.[key]``."""
        masses = data.get("masses", {}) if isinstance(data, dict) else {}
        if not isinstance(masses, dict):
            raise problem(f"expected a table, got {show(masses)}", "for example masses = { Ar = 39.948 }", "masses")
        for symbol in masses:
            if symbol not in SYMBOLS:
                near = nearest(symbol, SYMBOLS)
                remedy = f"did you mean '{near}'?" if near else "for example masses = { Ar = 39.948 }"
                raise problem(f"'{symbol}' is not a chemical symbol", remedy, "masses")
        return data

    @model_validator(mode="after")
    def _one_source(self) -> SystemConfig:
        if self.structure is None and self.crystal is None:
            raise problem("nothing to simulate", 'give structure = "file" or crystal = { ... }')
        if self.structure is not None and self.crystal is not None:
            raise problem("both structure and crystal are given", "remove one of them")
        for key in ("frame", "format", "types", "units", "velocity_unit", "constraints"):
            if self.crystal is not None and key in self.model_fields_set:
                raise problem(f"{key} belongs to structure, not to crystal", "remove it", key)
        return self
