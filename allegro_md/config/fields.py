"""Building blocks of the input schema: tables that name the nearest valid key, and field types with units and limits.

Each field type is a small frozen marker for `typing.Annotated`; it turns what TOML holds into the final value or
raises `problem`, which carries one clear sentence and a remedy.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationInfo, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from allegro_md.errors import InputError
from allegro_md.units import parse_quantity

SYMBOLS = tuple(
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb "
    "Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db "
    "Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og".split()
)
"""Chemical symbols by atomic number − 1."""


def problem(what: str, remedy: str = "", key: str = "") -> PydanticCustomError:
    """An error of one input value; `load.translate` makes the user's message of it.

    Args:
        what: what is wrong, one sentence without the key.
        remedy: what to write instead.
        key: the key below the table being read, when the fault is not the whole value's.
    """
    return PydanticCustomError("input", "{what}", {"what": what, "remedy": remedy, "key": key})


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word most like `word`, if any is."""
    lower = {v.lower(): v for v in valid}
    found = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.6)
    return lower[found[0]] if found else None


def quoted(words: Iterable[str]) -> str:
    """A list of words for a message: '"a", "b"'."""
    return ", ".join(f'"{w}"' for w in words)


def later(what: str) -> PydanticCustomError:
    """The error of a feature that CONTRACT promises and that is not built."""
    return problem(f"{what} is not yet available", "leave it out")


def choose(value: Any, valid: Iterable[str], unbuilt: Iterable[str] = (), key: str = "") -> str:
    """Checks one word of a closed list.

    Args:
        value: what the input holds.
        valid: the words that work.
        unbuilt: words of the contract whose feature is not built yet, possibly with the reason.
        key: the key below the table being read, when the word is not the whole value.
    """
    valid = tuple(valid)
    if value in valid and isinstance(value, str):
        return value
    if value in tuple(unbuilt):
        reason = unbuilt[value] if isinstance(unbuilt, Mapping) else ""
        what = f'"{value}" is not yet available' + (f": {reason}" if reason else "")
        raise problem(what, f"use one of {quoted(valid)}", key)
    raise problem(f"unknown value {show(value)}", f"use one of {quoted(valid)}", key)


def show(value: Any) -> str:
    """A value as the user wrote it, shortened."""
    try:
        text = f'"{value}"' if isinstance(value, str) else repr(value)
        text = text.lower() if isinstance(value, bool) else text
    except ValueError:  # Python prints no integer of more than 4300 digits
        text = "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."


class Table(BaseModel):
    """A frozen TOML table. Unknown and missing keys are named, with the nearest valid key or an example."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, data: Any) -> Any:
        if isinstance(data, cls):
            return data
        if not isinstance(data, dict):
            raise problem(f"expected a table, got {show(data)}", f"its keys are {', '.join(cls.model_fields)}")
        for key in data:
            if key not in cls.model_fields:
                near = nearest(str(key), cls.model_fields)
                remedy = f"did you mean '{near}'?" if near else f"valid keys: {', '.join(cls.model_fields)}"
                raise problem("unknown key", remedy, str(key))
        for key, field in cls.model_fields.items():
            if field.is_required() and key not in data:
                raise problem("required key is missing", f"for example {key} = {(field.examples or ['...'])[0]}", key)
        return data


class Marker:
    """An annotation whose `parse` is the whole validation of a field."""

    def parse(self, value: Any, info: ValidationInfo) -> Any:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.parse)


_RANGES = {
    "time": (1e-9, 1e9, "fs"), "length": (1e-6, 1e6, "Å"), "energy": (1e-30, 1e9, "eV"), "mass": (1e-6, 1e6, "amu"),
}
"""Smallest and largest value of a dimension; beyond, powers overflow and a slip of the unit is likely."""


def signed_quantity(value: Any, dimension: str, largest: float = math.inf) -> float:
    """A number of either sign in internal units, or a text with a unit, of a magnitude up to `largest`.

    Raises:
        PydanticCustomError: it is none, or too large.
    """
    try:
        result = parse_quantity(value, dimension)
    except InputError as error:
        raise problem(error.what, error.remedy) from None
    except (OverflowError, ValueError):
        raise problem(f"too large: {show(value)}", f"give a {dimension}") from None
    if abs(result) > largest:
        raise problem(f"too large: {show(value)}", f"up to {largest:g} in internal units make sense")
    return result


@dataclass(frozen=True)
class Quantity(Marker):
    """A finite number in internal units or a string with a unit, positive or (``zero=True``) not negative."""

    dimension: str
    zero: bool = False

    def parse(self, value: Any, info: ValidationInfo) -> float:
        result = signed_quantity(value, self.dimension)
        if result < 0.0 or (result == 0.0 and not self.zero):
            limit = "zero or more" if self.zero else "positive"
            raise problem(f"must be {limit}, got {show(value)}", f"give a {limit} {self.dimension}")
        smallest, largest, unit = _RANGES.get(self.dimension, (0.0, math.inf, ""))
        if result > largest or 0.0 < result < smallest:
            size = "large" if result > largest else "small"
            raise problem(f"too {size}: {show(value)}", f"between {smallest:g} and {largest:g} {unit} make sense")
        return result


@dataclass(frozen=True)
class Whole(Marker):
    """An integer from `minimum` to `maximum`; 1e6 is accepted for 1000000."""

    minimum: int = 0
    maximum: int = 2**63 - 1

    def parse(self, value: Any, info: ValidationInfo | None = None) -> int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole:
            raise problem(f"expected a whole number, got {show(value)}", f"write for example {max(self.minimum, 10)}")
        if not self.minimum <= value <= self.maximum:
            limit = "below 2^63" if self.maximum == 2**63 - 1 else f"at most {self.maximum}"
            raise problem(f"must be at least {self.minimum} and {limit}, got {show(value)}", "correct the number")
        return int(value)


@dataclass(frozen=True)
class Triple(Marker):
    """Three whole numbers of at least 1; `word` is an alternative such as "auto"."""

    word: str = ""

    def parse(self, value: Any, info: ValidationInfo) -> str | tuple[int, ...]:
        if self.word and value == self.word:
            return self.word
        if not isinstance(value, (list, tuple)) or len(value) != 3:
            choice = f'"{self.word}" or ' if self.word else ""
            raise problem(f"expected {choice}three whole numbers, got {show(value)}", "for example [2, 2, 1]")
        return tuple(Whole(1).parse(v) for v in value)


class _Flags(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[bool, ...]:
        if not isinstance(value, (list, tuple)) or len(value) != 3 or not all(isinstance(v, bool) for v in value):
            raise problem(f"expected three booleans, got {show(value)}", "for example [true, true, false]")
        return tuple(value)


class _Flag(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> bool:
        if not isinstance(value, bool):
            raise problem(f"expected true or false, got {show(value)}", "write it without quotes")
        return value


@dataclass(frozen=True)
class Choice(Marker):
    """One word of a closed list; `unbuilt` are words of the contract that do not work yet."""

    valid: tuple[str, ...]
    unbuilt: tuple[str, ...] = ()

    def parse(self, value: Any, info: ValidationInfo) -> str:
        return choose(value, self.valid, self.unbuilt)


class _Element(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        return element(value)


def element(value: Any) -> str:
    """Returns a chemical symbol, or raises `problem`."""
    if not isinstance(value, str) or value not in SYMBOLS:
        near = nearest(value, SYMBOLS) if isinstance(value, str) else None
        remedy = f'did you mean "{near}"?' if near else 'write a symbol such as "Ag"'
        raise problem(f"{show(value)} is not a chemical symbol", remedy)
    return value


@dataclass(frozen=True)
class FilePath(Marker):
    """A path, relative to the input file (the validation context's ``base``), made absolute."""

    exists: bool = True

    def parse(self, value: Any, info: ValidationInfo) -> Path:
        if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
            raise problem(f"expected a path, got {show(value)}", "write it in quotes")
        try:
            path = Path((info.context or {}).get("base", "."), Path(value).expanduser()).absolute()
            if self.exists and not path.is_file():
                raise _not_a_file(path)
        except (OSError, RuntimeError) as error:  # name too long, no permission, "~" of an unknown user
            reason = getattr(error, "strerror", None) or str(error)
            raise problem(f"{show(value)} cannot be used ({reason})", "correct the path") from None
        return path


def _not_a_file(path: Path) -> PydanticCustomError:
    if path.is_dir():
        return problem(f"'{path}' is a folder, not a file", "name the file in it")
    near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
    remedy = f"did you mean '{near}'?" if near else "paths are relative to the input file"
    return problem(f"no such file: '{path}'", remedy)


Time = Annotated[float, Quantity("time")]
Length = Annotated[float, Quantity("length")]
LengthOrZero = Annotated[float, Quantity("length", zero=True)]
Energy = Annotated[float, Quantity("energy")]
Mass = Annotated[float, Quantity("mass")]
Temperature = Annotated[float, Quantity("temperature")]
TemperatureOrZero = Annotated[float, Quantity("temperature", zero=True)]
Viscosity = Annotated[float, Quantity("viscosity")]
Every = Annotated[int, Whole(0)]
Seed = Annotated[int, Whole(0)]
Repeat = Annotated[tuple[int, int, int], Triple()]
Flag = Annotated[bool, _Flag()]
Flags = Annotated[tuple[bool, bool, bool], _Flags()]
Element = Annotated[str, _Element()]
ExistingFile = Annotated[Path, FilePath()]
