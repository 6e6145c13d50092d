"""Hyper-parameters of the two published forms of Allegro, as they stand in a model file."""

from __future__ import annotations

from typing import Annotated, Literal

from ase.data import atomic_numbers
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, TypeAdapter, model_validator

Activation = Literal["silu", "gelu", "mish"] | None
Depth = Annotated[int, Field(ge=0)]

MOST_LAYERS, HIGHEST_DEGREE = 100, 12
"""Far beyond any use: a damaged number must not keep the program busy."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Mlp(_Frozen):
    """Hidden layers of a multilayer perceptron without biases.

    Attributes:
        widths: of the hidden layers.
        activation: between matrices; None makes the whole linear.
    """

    widths: tuple[PositiveInt, ...] = ()
    activation: Activation = "silu"


class Bessel(_Frozen):
    """Two-body embedding by Bessel functions times learned vectors of the two species."""

    kind: Literal["bessel"] = "bessel"
    count: PositiveInt = 8
    envelope: Annotated[float, Field(ge=2.0)] = 6.0
    trainable: bool = False


class Spline(_Frozen):
    """Two-body embedding by splines with coefficients per ordered pair of species."""

    kind: Literal["spline"] = "spline"
    count: PositiveInt = 16
    span: Depth = 12

    @model_validator(mode="after")
    def _span_fits(self) -> Spline:
        if self.span > self.count:
            raise ValueError("span must not exceed count")
        return self


class _Common(_Frozen):
    """Hyper-parameters that both forms share.

    Attributes:
        symbols: chemical symbol per species index.
        cutoff: Å; the largest of all ordered pairs.
        layers: tensor-product layers.
        l_max: highest degree of the spherical harmonics.
        channels: tensor channels.
        average_neighbors: ⟨N⟩, one for all or one per species of the center.
        trainable_scales: of the energy scales per species.
        trainable_shifts: of the energy shifts per species.
        zbl: adds half the screened nuclear repulsion of Ziegler, Biersack and Littmark per ordered pair.
    """

    symbols: tuple[str, ...] = Field(min_length=1)
    cutoff: PositiveFloat
    layers: Annotated[int, Field(ge=1, le=MOST_LAYERS)]
    l_max: Annotated[int, Field(ge=0, le=HIGHEST_DEGREE)]
    channels: PositiveInt
    average_neighbors: PositiveFloat | tuple[PositiveFloat, ...]
    trainable_scales: bool = False
    trainable_shifts: bool = False
    zbl: bool = False

    @model_validator(mode="after")
    def _species(self) -> _Common:
        if len(set(self.symbols)) != len(self.symbols):
            raise ValueError("symbols must differ")
        for symbol in self.symbols:
            if atomic_numbers.get(symbol, 0) < 1:
                raise ValueError(f"{symbol} is no element")
        if isinstance(self.average_neighbors, tuple) and len(self.average_neighbors) != len(self.symbols):
            raise ValueError("average_neighbors must be one number, or one per symbol")
        return self

    @property
    def neighbors_per_species(self) -> tuple[float, ...]:
        """⟨N⟩ per species of the center."""
        n = self.average_neighbors
        return n if isinstance(n, tuple) else (n,) * len(self.symbols)


class Dense(_Common):
    """Today's form (nequip-allegro): every layer sees the scalars of all earlier ones.

    Attributes:
        pair_cutoffs: Å, [center][neighbor], or None where all are `cutoff`.
        embedding: the two-body embedding.
        embedding_width: its number of scalars.
        two_body: the MLP after it.
        scalars: scalar features of each layer.
        latent: the MLP of each layer.
        readout: the MLP of the edge energy.
        parity: tensors of both parities, or only those of the spherical harmonics.
        coupled: one weight per path and channel, or per path.
        individual_weights: one environment weight per degree and channel, or per channel.
        forward_normalize: matrices divided by √fan_in, or by √fan_out.
    """

    form: Literal["dense"] = "dense"
    pair_cutoffs: tuple[tuple[PositiveFloat, ...], ...] | None = None
    embedding: Bessel | Spline = Field(discriminator="kind")
    embedding_width: PositiveInt
    two_body: Mlp
    scalars: PositiveInt
    latent: Mlp
    readout: Mlp
    parity: bool = True
    coupled: bool = True
    individual_weights: bool = True
    forward_normalize: bool = True

    @model_validator(mode="after")
    def _shapes(self) -> Dense:
        n = len(self.symbols)
        rows = self.pair_cutoffs
        if rows is not None:
            if len(rows) != n or any(len(row) != n for row in rows):
                raise ValueError("pair_cutoffs must be a square table, one row per symbol")
            if max(map(max, rows)) > self.cutoff:
                raise ValueError("a pair cutoff exceeds the cutoff")
        if self.embedding.kind == "bessel" and self.embedding_width % 2:
            raise ValueError("embedding_width must be even")
        return self


class Residual(_Common):
    """The form of the 2023 paper: latents with residual updates, full mixing of paths and channels.

    Attributes:
        bessel: number of radial functions, standardized over the cutoff.
        envelope: exponent p of the polynomial envelope.
        trainable_bessel: of the roots.
        two_body: hidden widths of the two-body MLP; `latents` is its output.
        latents: width of the latent scalars.
        latent: hidden widths of each layer's update.
        readout: hidden widths of the edge-energy MLP.
        parity: which tensors are carried: all (o3_full), those of the spherical harmonics (o3_restricted), or
            without regard to parity (so3).
    """

    form: Literal["residual"] = "residual"
    bessel: PositiveInt = 8
    envelope: Annotated[float, Field(ge=2.0)] = 6.0
    trainable_bessel: bool = False
    two_body: Mlp
    latents: PositiveInt
    latent: Mlp
    readout: Mlp
    parity: Literal["o3_full", "o3_restricted", "so3"] = "o3_full"
    pair_cutoffs: None = None


Architecture = Dense | Residual

_ADAPTER: TypeAdapter[Architecture] = TypeAdapter(Annotated[Dense | Residual, Field(discriminator="form")])


def parse_architecture(document: object) -> Architecture:
    """The architecture in a JSON document.

    Raises:
        pydantic.ValidationError: it is not one.
    """
    return _ADAPTER.validate_python(document)
