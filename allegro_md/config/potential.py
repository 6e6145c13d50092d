"""``[potential]``: one term, or ``[[potential]]`` tables whose energies are summed. One class per kind."""

from __future__ import annotations

import re
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, ValidationInfo, model_validator

from allegro_md.config.fields import (
    SYMBOLS,
    Choice,
    Energy,
    ExistingFile,
    FilePath,
    Flag,
    Length,
    Marker,
    Quantity,
    Table,
    nearest,
    problem,
    quoted,
    show,
)
from allegro_md.config.registry import Chosen, Entry, Registry

Device = Annotated[str, Choice(("auto", "cpu", "cuda"))]
"""Where a potential is evaluated; "auto" is the CPU."""


class _Committee(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[Path, ...]:
        example = 'for example ["a-1.allegro", "a-2.allegro"]'
        if not isinstance(value, (list, tuple)):
            raise problem(f"expected a list of model files, got {show(value)}", example)
        if len(value) < 2:
            raise problem(f"a committee has at least two models, got {len(value)}", f"write model = …, or {example}")
        paths = tuple(FilePath().parse(path, info) for path in value)
        for index, path in enumerate(paths):
            if path in paths[:index]:
                raise problem(f"'{path}' is listed twice", "list each model once")
        return paths


class AllegroTerm(Table):
    """An Allegro model file (``model = "ag.allegro"``), or several whose mean is taken.

    Attributes:
        model: the file, absolute path; None where a committee is given.
        committee: the files of several models for the same elements.
        precision: ``mixed`` (float32 model, exact sums) or ``double``.
        device: where the model is evaluated.
        engine: ``reference`` is the network itself, ``fused`` folds it into tables; ``auto`` is fused on the CPU where
            the model can be folded, else the reference.
    """

    kind: Literal["allegro"] = "allegro"
    model: ExistingFile | None = None
    committee: Annotated[tuple[Path, ...], _Committee()] | None = None
    precision: Annotated[str, Choice(("mixed", "double"))] = "mixed"
    device: Device = "auto"
    engine: Annotated[str, Choice(("auto", "reference", "fused"))] = "auto"

    @model_validator(mode="after")
    def _one_of_two(self) -> AllegroTerm:
        if self.model is None and self.committee is None:
            raise problem("required key is missing", 'for example model = "ag.allegro"', "model")
        if self.model is not None and self.committee is not None:
            raise problem("both model and committee are given", "remove one of them", "committee")
        return self

    @property
    def models(self) -> tuple[Path, ...]:
        """The file of the model, or those of the committee."""
        return self.committee or tuple(path for path in (self.model,) if path is not None)


class _Pairs(Marker):
    """A table "A-B" → [epsilon, sigma] with every pair of the elements it names exactly once."""

    def parse(self, value: Any, info: ValidationInfo) -> dict[str, tuple[float, float]]:
        if not isinstance(value, dict) or not value:
            raise problem(f"expected a table of pairs, got {show(value)}", 'for example { "Ar-Kr" = [0.0124, 3.5] }')
        pairs: dict[tuple[str, ...], tuple[str, tuple[float, float]]] = {}
        for key, numbers in value.items():
            symbols = tuple(sorted(key.split("-")))
            if len(symbols) != 2 or any(s not in SYMBOLS for s in symbols):
                raise problem(f'"{key}" is not a pair of chemical symbols', 'write for example "Ar-Kr"')
            if symbols in pairs:
                raise problem(f'the pair "{key}" is given twice', "remove one of the two orders")
            if not isinstance(numbers, (list, tuple)) or len(numbers) != 2:
                raise problem(f'"{key}": expected [epsilon, sigma], got {show(numbers)}', "for example [0.0124, 3.5]")
            epsilon, sigma = Quantity("energy").parse(numbers[0], info), Quantity("length").parse(numbers[1], info)
            pairs[symbols] = (key, (epsilon, sigma))
        for first, second in combinations_with_replacement(sorted({s for p in pairs for s in p}), 2):
            if (first, second) not in pairs:
                raise problem(f'the pair "{first}-{second}" is missing', "list every pair of the elements named")
        return dict(pairs.values())


class LennardJonesTerm(Table):
    """Lennard-Jones, 4ε[(σ/r)¹² − (σ/r)⁶] within a cutoff.

    Attributes:
        epsilon: well depth of the only species, eV; None when `pairs` is given.
        sigma: Å; None when `pairs` is given.
        cutoff: Å.
        shift: the energy is shifted to zero at the cutoff.
        pairs: "A-B" → (epsilon in eV, sigma in Å) for several species, complete.
    """

    kind: Literal["lj"]
    epsilon: Energy | None = None
    sigma: Length | None = None
    cutoff: Length = Field(examples=["8.5"])
    shift: Flag = True
    pairs: Annotated[dict[str, tuple[float, float]], _Pairs()] | None = None
    device: Device = "auto"

    @model_validator(mode="after")
    def _parameters(self) -> LennardJonesTerm:
        if self.pairs is not None:
            for key in ("epsilon", "sigma"):
                if getattr(self, key) is not None:
                    raise problem("given together with pairs", "remove it: pairs holds all parameters", key)
            return self
        for key, example in (("epsilon", "0.0103"), ("sigma", "3.405")):
            if getattr(self, key) is None:
                remedy = f"for example {key} = {example} (or pairs for several species)"
                raise problem("required key is missing", remedy, key)
        return self


class EamTerm(Table):
    """Embedded-atom tables in setfl or funcfl format.

    Attributes:
        file: the table, absolute path.
    """

    kind: Literal["eam"]
    file: ExistingFile = Field(examples=['"Cu.eam.alloy"'])
    device: Device = "auto"


class ZblTerm(Table):
    """The universal screened nuclear repulsion of Ziegler, Biersack and Littmark.

    Attributes:
        cutoff: where its envelope brings it to zero, Å.
    """

    kind: Literal["zbl"]
    cutoff: Length = Field(examples=["2.0"])
    device: Device = "auto"


class _CalculatorName(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"\w+|\w+(\.\w+)*:\w+", value):
            remedy = 'write "package.module:factory" or an ASE name such as "emt"'
            raise problem(f"expected a calculator, got {show(value)}", remedy)
        return value


class AseTerm(Table):
    """Any ASE calculator of known range; outside the bit-exact promise.

    Attributes:
        calculator: ``package.module:factory`` or the name of a calculator within ASE.
        options: keyword arguments of the factory.
        range: how far an atom's own energy sees, Å.
    """

    kind: Literal["ase"]
    calculator: Annotated[str, _CalculatorName()] = Field(examples=['"ase.calculators.emt:EMT"'])
    options: dict[str, JsonValue] = {}
    range: Length = Field(examples=["6.0"])


POTENTIALS = Registry(
    "kind",
    {
        "allegro": Entry("allegro_md.config.potential:AllegroTerm", "allegro_md.potentials.committee:build"),
        "lj": Entry("allegro_md.config.potential:LennardJonesTerm", "allegro_md.potentials.lj:build"),
        "eam": Entry("allegro_md.config.potential:EamTerm", "allegro_md.potentials.eam:build"),
        "zbl": Entry("allegro_md.config.potential:ZblTerm", "allegro_md.potentials.zbl:build"),
        "ase": Entry("allegro_md.config.potential:AseTerm", "allegro_md.potentials.ase:build"),
    },
)
"""Kinds of potentials by name; a builder takes the table and the `SpeciesTable` of the system."""


def _name_kind(data: Any) -> Any:
    """Fills in the kind of a term that names a model."""
    if not isinstance(data, dict):
        return data
    named = next((key for key in ("model", "committee") if key in data), None)
    if named and data.get("kind", "allegro") != "allegro":
        raise problem(f"both {named} and kind are given", "remove one of them", "kind")
    if not named and "kind" not in data:
        for key in ("model", "committee", "kind"):
            if near := nearest(key, data):
                raise problem("unknown key", f"did you mean '{key}'?", near)
        kinds = quoted(kind for kind in POTENTIALS if kind != "allegro")
        remedy = f'write model = "file.allegro" or kind = one of {kinds}'
        raise problem("neither model nor kind is given", remedy)
    return {"kind": "allegro", **data}


Term = Annotated[
    Table,
    Chosen(POTENTIALS, "lj", (("precision", "; other kinds are always computed in float64"),)),
    BeforeValidator(_name_kind),
]


def _as_list(data: Any) -> Any:
    """``[potential]`` is a list of one."""
    if isinstance(data, (dict, Table)):
        return [data]
    if not isinstance(data, (list, tuple)) or not data:
        raise problem(f"expected a table or an array of tables, got {show(data)}", "write [potential] or [[potential]]")
    return data


PotentialConfig = Annotated[tuple[Term, ...], BeforeValidator(_as_list)]
