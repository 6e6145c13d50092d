"""``[loss]`` and ``[training]``: what is minimized, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, ValidationInfo, model_validator

from allegro_md.config.fields import Choice, Flag, Marker, Quantity, Table, Whole, choose, problem, show

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
BelowOne = Annotated[float, Field(ge=0.0, lt=1.0)]


class Ramp(Table):
    """A weight that changes with the epochs: `first` until `begin`, then linearly in its logarithm to `last` at `end`.

    Attributes:
        first: weight at the start.
        last: weight at the end.
        begin: epoch at which it begins to change.
        end: epoch from which it is `last`.
    """

    first: Positive = Field(examples=["1.0"])
    last: Positive = Field(examples=["10.0"])
    begin: Annotated[int, Whole(0)] = Field(examples=["100"])
    end: Annotated[int, Whole(1)] = Field(examples=["200"])

    @model_validator(mode="after")
    def _forward(self) -> Ramp:
        if self.end <= self.begin:
            raise problem("end must come after begin", "exchange them", "end")
        return self


class _Weight(Marker):
    """A number, or a table of a `Ramp`."""

    def parse(self, value: Any, info: ValidationInfo) -> float | Ramp:
        if isinstance(value, (dict, Ramp)):
            return Ramp.model_validate(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < 1e30:
            raise problem(f"expected a weight, got {show(value)}",
                          "a number, or { first = 1.0, last = 10.0, begin = 100, end = 200 }")
        return float(value)


Weight = Annotated[float | Ramp, _Weight()]


class LossConfig(Table):
    """Sum of the weighted means of the errors' penalties.

    Attributes:
        energy: weight of the energy per atom, in eV (of the total energy where `per_atom` is false).
        force: weight of the force components, in eV/Å.
        stress: weight of the stress components, in eV/Å³.
        per_atom: errors of energies are divided by the number of atoms.
        kind: "mse" (squares), "huber", or "stratified-huber" (force errors: `delta` times 1, 0.7, 0.4, 0.1 for forces
            up to 100, 200, 300 eV/Å and beyond, so that runaway frames count less; as MACE's conditional Huber).
        delta: where a Huber penalty goes over from square to linear, in the unit of the error.
    """

    energy: Weight = 1.0
    force: Weight = 1.0
    stress: Weight = 0.0
    per_atom: Flag = True
    kind: Annotated[str, Choice(("mse", "huber", "stratified-huber"))] = "mse"
    delta: Positive = 0.01

    @model_validator(mode="after")
    def _something(self) -> LossConfig:
        if self.energy == self.force == self.stress == 0.0:
            raise problem("all weights are zero", "give the force or the energy a weight")
        return self


class Plateau(Table):
    """Multiplies the learning rate when the watched error has not become smaller for a while.

    Attributes:
        patience: epochs.
        factor: of the rate.
        watch: "loss" (with the weights of the last epoch), "energy" or "force": of the validation frames.
    """

    kind: Literal["plateau"] = "plateau"
    patience: Annotated[int, Whole(1)] = 25
    factor: BelowOne = 0.8
    watch: Annotated[str, Choice(("loss", "energy", "force"))] = "loss"


class Cosine(Table):
    """Half a cosine from the learning rate to `last` times it at the last epoch, after a linear start.

    Attributes:
        warmup: epochs of the linear start.
        last: fraction of the rate at the end.
    """

    kind: Literal["cosine"]
    warmup: NotNegative = 1.0
    last: BelowOne = 0.0


class Constant(Table):
    """The same learning rate throughout."""

    kind: Literal["constant"]


_SCHEDULES = ("plateau", "cosine", "constant")


def _name_kind(data: Any) -> Any:
    if isinstance(data, str):
        data = {"kind": data}
    if not isinstance(data, dict):
        return data
    return {**data, "kind": choose(data.get("kind", "plateau"), _SCHEDULES, key="kind")}


Schedule = Annotated[Plateau | Cosine | Constant, Discriminator("kind"), BeforeValidator(_name_kind)]


class _Seeds(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> tuple[int, ...]:
        seeds = value if isinstance(value, (list, tuple)) else [value]
        if not seeds or len(set(map(str, seeds))) < len(seeds):
            raise problem(f"expected one seed or several different ones, got {show(value)}", "for example [1, 2, 3]")
        return tuple(Whole(0).parse(seed) for seed in seeds)


class TrainingConfig(Table):
    """Optimization of the weights.

    Attributes:
        epochs: passes over the training frames, at most.
        batch: frames per step, over all processes.
        batch_edges: instead of `batch`: frames are packed up to this number of edges.
        optimizer: "adam", "adamw", "amsgrad", or "muon" (orthogonalized momentum for matrices, Adam for all else).
        learning_rate: at the start; the weights have unit variance, so 0.005 to 0.02 suits them.
        weight_decay: of AdamW.
        schedule: of the learning rate.
        ema: decay of the running mean of the weights, which is what is validated and saved; 0: none.
        clip: largest norm of the gradient; None: any.
        stop_after: epochs without a better validation error after which training ends; None: never.
        smallest_rate: learning rate below which training ends.
        walltime: seconds after which training ends (at the end of an epoch); None: no limit. Can be resumed.
        seeds: of the weights and of the order of frames; several make a committee.
        precision: "float32", "float64", or "tf32" (float32 whose matrix products an NVIDIA GPU rounds to 10 bits).
        device: where.
        threads: of the processor, per process.
        watch: which validation error tells the best epoch: "loss" (with the weights of the last epoch), "energy" or
            "force".
        save_every: epochs between checkpoints.
    """

    epochs: Annotated[int, Whole(1)] = Field(examples=["1000"])
    batch: Annotated[int, Whole(1)] | None = None
    batch_edges: Annotated[int, Whole(1)] | None = None
    optimizer: Annotated[str, Choice(("adam", "adamw", "amsgrad", "muon"))] = "adam"
    learning_rate: Positive = 0.01
    weight_decay: NotNegative = 0.0
    schedule: Schedule = Plateau()
    ema: BelowOne = 0.99
    clip: Positive | None = None
    stop_after: Annotated[int, Whole(1)] | None = None
    smallest_rate: NotNegative = 0.0
    walltime: Annotated[float, Quantity("wall time")] | None = None
    seeds: Annotated[tuple[int, ...], _Seeds()] = (1,)
    precision: Annotated[str, Choice(("float32", "float64", "tf32"))] = "float32"
    device: Annotated[str, Choice(("auto", "cpu", "cuda"))] = "auto"
    threads: Annotated[int, Whole(1)] = 1
    watch: Annotated[str, Choice(("loss", "energy", "force"))] = "loss"
    save_every: Annotated[int, Whole(1)] = 1

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if self.batch is not None and self.batch_edges is not None:
            raise problem("given together with batch", "remove one of them", "batch_edges")
        if self.weight_decay and self.optimizer != "adamw":
            raise problem(f'"{self.optimizer}" has no weight decay', 'use optimizer = "adamw"', "weight_decay")
        return self



