"""``[model]``: the hyper-parameters of a network to train, or a model to start from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, ValidationInfo, model_validator

from allegro_md.config.fields import (
    SYMBOLS,
    Choice,
    ExistingFile,
    Flag,
    Length,
    Marker,
    Quantity,
    Table,
    Whole,
    choose,
    problem,
    quoted,
    show,
)

Count = Annotated[int, Whole(1)]
Exponent = Annotated[float, Field(ge=2.0)]
ACTIVATIONS = ("silu", "gelu", "mish", "linear")


class _Widths(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[int, ...]:
        if not isinstance(value, (list, tuple)):
            raise problem(f"expected a list of widths, got {show(value)}", "for example [64, 64]; [] is one matrix")
        return tuple(Whole(1).parse(width) for width in value)


Widths = Annotated[tuple[int, ...], _Widths()]
Activation = Annotated[str, Choice(ACTIVATIONS)]


class _PerSymbol(Marker):
    """A number per element, by table; or one of some words; or one number for all."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def parse(self, value: Any, info: ValidationInfo) -> str | float | dict[str, float]:
        if isinstance(value, str):
            return choose(value, self.words)
        if isinstance(value, dict):
            return {_symbol(key): self._number(number) for key, number in value.items()}
        return self._number(value)

    def _number(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise problem(f"expected a number, got {show(value)}", f"or one of {quoted(self.words)}")
        return float(value)


def _symbol(key: str) -> str:
    if key not in SYMBOLS:
        raise problem(f'"{key}" is not a chemical symbol', 'write for example { H = -13.6, O = -2041.8 }')
    return key


class _PairCutoffs(Marker):
    """A table "A-B" → Å of ordered pairs: center A, neighbor B."""

    def parse(self, value: Any, info: ValidationInfo) -> dict[tuple[str, str], float]:
        if not isinstance(value, dict):
            raise problem(f"expected a table of pairs, got {show(value)}", 'for example { "H-C" = 1.25 }')
        result = {}
        for key, length in value.items():
            symbols = key.split("-")
            if len(symbols) != 2 or any(symbol not in SYMBOLS for symbol in symbols):
                raise problem(f'"{key}" is not a pair of chemical symbols', 'write for example "H-C"')
            result[symbols[0], symbols[1]] = Quantity("length").parse(length, info)
        return result


class _Model(Table):
    """Keys that both kinds of networks have.

    Attributes:
        cutoff: Å.
        layers: tensor-product layers.
        l_max: highest degree of the spherical harmonics.
        channels: tensor channels.
        symbols: elements in the order of the species; None: those of the data.
        average_neighbors: ⟨N⟩; "auto": the mean over the training frames.
        scales: eV; "force-rms" (of all components), "force-rms-per-species", a number, or one per element.
        shifts: eV; "mean" (energy per atom), "least-squares" (per element), "isolated" (``data.isolated``), a number,
            or one per element.
        trainable_scales: of them.
        trainable_shifts: of them.
        zbl: adds the universal screened nuclear repulsion.
    """

    cutoff: Length = Field(examples=["5.0"])
    layers: Count = 2
    l_max: Annotated[int, Whole(0)] = 2
    channels: Count = 32
    symbols: tuple[str, ...] | None = None
    average_neighbors: Literal["auto"] | Annotated[float, Field(gt=0.0)] = "auto"
    scales: Annotated[str | float | dict[str, float], _PerSymbol("force-rms", "force-rms-per-species")] = "force-rms"
    shifts: Annotated[str | float | dict[str, float], _PerSymbol("mean", "least-squares", "isolated")] = "mean"
    trainable_scales: Flag = False
    trainable_shifts: Flag = False
    zbl: Flag = False

    @model_validator(mode="after")
    def _no_element_twice(self) -> _Model:
        for symbol in self.symbols or ():
            _symbol(symbol)
        if len(set(self.symbols or ())) != len(self.symbols or ()):
            raise problem("an element is named twice", "name each once", "symbols")
        return self


class DenseModel(_Model):
    """Today's form (nequip-allegro's); see `models.architecture.Dense` for what each number means.

    Attributes:
        radial: "bessel" or "spline".
        radial_functions: how many; default 8 Bessel functions or 16 splines.
        spline_span: of the splines.
        envelope: exponent p of the polynomial envelope of Bessel functions.
        trainable_bessel: of the roots.
        embedding_width: scalars of the two-body embedding; None: `scalars`.
        scalars: scalar features of each layer.
        two_body: hidden widths of the two-body MLP.
        latent: hidden widths of each layer's MLP.
        readout: hidden widths of the edge-energy MLP.
        activation: of the two-body MLP and the readout.
        latent_activation: of the layers' MLPs; "linear" with one layer lets the whole fold into tables.
        parity: tensors of both parities.
        coupled: one weight per path and channel, or per path.
        individual_weights: one environment weight per degree and channel, or per channel.
        forward_normalize: matrices divided by √fan_in, or by √fan_out.
        pair_cutoffs: Å per ordered pair "A-B", at most `cutoff`.
    """

    form: Literal["dense"] = "dense"
    radial: Annotated[str, Choice(("bessel", "spline"))] = "bessel"
    radial_functions: Count | None = None
    spline_span: Annotated[int, Whole(0)] = 12
    envelope: Exponent = 6.0
    trainable_bessel: Flag = False
    embedding_width: Count | None = None
    scalars: Count = 64
    two_body: Widths = (64,)
    latent: Widths = (64,)
    readout: Widths = (32,)
    activation: Activation = "silu"
    latent_activation: Activation = "silu"
    parity: Flag = True
    coupled: Flag = True
    individual_weights: Flag = True
    forward_normalize: Flag = True
    pair_cutoffs: Annotated[dict[tuple[str, str], float], _PairCutoffs()] | None = None


class ResidualModel(_Model):
    """The form of the 2023 paper; see `models.architecture.Residual`.

    Attributes:
        radial_functions: Bessel functions.
        envelope: exponent p of the polynomial envelope.
        trainable_bessel: of the roots.
        two_body: hidden widths of the two-body MLP.
        latents: width of the latent scalars.
        latent: hidden widths of each layer's update.
        readout: hidden widths of the edge-energy MLP.
        activation: of the two-body MLP.
        latent_activation: of the updates.
        readout_activation: of the edge-energy MLP.
        parity: which tensors are carried.
    """

    form: Literal["residual"]
    radial_functions: Count = 8
    envelope: Exponent = 6.0
    trainable_bessel: Flag = False
    two_body: Widths = (32,)
    latents: Count = 64
    latent: Widths = ()
    readout: Widths = (32,)
    activation: Activation = "silu"
    latent_activation: Activation = "silu"
    readout_activation: Activation = "linear"
    parity: Annotated[str, Choice(("o3_full", "o3_restricted", "so3"))] = "o3_full"


class StartModel(Table):
    """A trained model whose weights the training starts from.

    Attributes:
        start: the model file; its architecture, scales and shifts are kept.
    """

    form: Literal["start"] = "start"
    start: ExistingFile = Field(examples=['"before.allegro"'])


FORMS: dict[str, type[Table]] = {"dense": DenseModel, "residual": ResidualModel, "start": StartModel}


def _name_form(data: Any) -> Any:
    """Decides which table is meant."""
    if not isinstance(data, dict):
        return data
    form = "start" if "start" in data else data.get("form", "dense")
    return {**data, "form": choose(form, FORMS, key="form")}


Model = Annotated[DenseModel | ResidualModel | StartModel, Discriminator("form"), BeforeValidator(_name_form)]
