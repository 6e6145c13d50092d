"""The loss: its values by hand, its gradient by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gradients import check_gradients
from labeled import alloy, frame

from allegro_md.config.training import LossConfig, Ramp
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.training.batches import Batch, Samples
from allegro_md.training.loss import Objective, counts, stratum
from allegro_md.training.prediction import Prediction, predict

SYMBOLS = ("Cu", "Au")
COMMON = {"symbols": SYMBOLS, "cutoff": 4.0, "layers": 2, "l_max": 1, "channels": 3, "average_neighbors": 12.0}
NETWORKS: dict[str, Dense | Residual] = {
    "dense": Dense(**COMMON, embedding=Bessel(), embedding_width=4, two_body=Mlp(widths=(5,)), scalars=4,
                   latent=Mlp(widths=(5,)), readout=Mlp(widths=(3,))),
    "residual": Residual(**COMMON, two_body=Mlp(widths=(5,)), latents=4, latent=Mlp(widths=(5,)),
                         readout=Mlp(widths=(3,), activation=None)),
}  # fmt: skip


def samples(n: int = 3) -> Samples:
    return Samples([frame(alloy(seed)) for seed in range(n)], SYMBOLS, np.full((2, 2), 4.0))


def wrong_by(batch: Batch, energy: float, force: float, stress: float) -> Prediction:
    return Prediction(batch.energy + energy, batch.forces + force, batch.stress + stress)


def loss_of(objective: Objective, prediction: Prediction, batch: Batch, epoch: int = 0) -> float:
    weights = torch.tensor(objective.weights(epoch), dtype=torch.float64)
    return float((weights * objective.penalties(prediction, batch, True) / counts(batch)).sum())


def test_squares_by_hand() -> None:
    batch = samples(2).batch([0, 1])  # of 4 and 8 atoms
    prediction = wrong_by(batch, 0.8, 0.1, 0.02)
    energy = ((0.8 / 4) ** 2 + (0.8 / 8) ** 2) / 2
    expected = 5.0 * energy + 2.0 * 0.1**2 + 3.0 * 0.02**2
    assert loss_of(Objective(LossConfig(energy=5.0, force=2.0, stress=3.0)), prediction,
        batch) == pytest.approx(expected)
    total = Objective(LossConfig(energy=5.0, force=2.0, stress=3.0, per_atom=False))
    assert loss_of(total, prediction, batch) == pytest.approx(expected - 5.0 * energy + 5.0 * 0.8**2)


@pytest.mark.parametrize("error", [0.004, 0.05])
def test_huber_is_that_of_torch(error: float) -> None:
    batch = samples(2).batch([0, 1])
    objective = Objective(LossConfig(energy=0.0, force=1.0, stress=0.0, kind="huber", delta=0.01))
    wanted = torch.nn.functional.huber_loss(batch.forces + error, batch.forces, delta=0.01)
    assert loss_of(objective, wrong_by(batch, 0.0, error, 0.0), batch) == pytest.approx(float(wanted))


def test_runaway_forces_count_less() -> None:
    forces = torch.tensor([[99.0, 0.0, 0.0], [0.0, 150.0, 0.0], [250.0, 0.0, 0.0], [300.0, 300.0, 0.0]])
    assert stratum(forces).tolist() == pytest.approx([1.0, 0.7, 0.4, 0.1])


def test_a_missing_label_counts_for_nothing() -> None:
    batch = samples(2).batch([0, 1])
    batch.energy[0] = torch.nan
    batch.forces[:4] = torch.nan
    prediction = Prediction(torch.full((2,), 7.0, dtype=torch.float64), batch.forces.nan_to_num() + 0.1, batch.stress)
    prediction.energy[1] = batch.energy[1] + 0.8
    value = loss_of(Objective(LossConfig(energy=1.0, force=1.0)), prediction, batch)
    assert value == pytest.approx(0.1**2 + 0.1**2)  # 0.8 eV on eight atoms
    assert counts(batch).tolist() == [1.0, 24.0, 18.0]


def test_weights_follow_the_epochs() -> None:
    objective = Objective(LossConfig(energy=Ramp(first=1.0, last=100.0, begin=10, end=20), force=2.0))
    energy = [objective.weights(epoch)[0] for epoch in (0, 10, 15, 20, 99)]
    assert energy == pytest.approx([1.0, 1.0, 10.0, 100.0, 100.0])
    assert objective.weights(15)[1:] == (2.0, 0.0)


@pytest.mark.parametrize("kind", ["mse", "huber", "stratified-huber"])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_by_finite_differences(name: str, kind: str) -> None:
    """With respect to the steepest entry of every weight, energies, forces and stresses in the loss."""
    network = Network(NETWORKS[name]).initialize(3)
    batch = samples().batch([0, 1, 2])
    objective = Objective(LossConfig(energy=2.0, force=1.0, stress=5.0, kind=kind, delta=0.3))

    def value() -> torch.Tensor:
        weights = torch.tensor(objective.weights(0), dtype=torch.float64)
        return (weights * objective.penalties(predict(network, batch, True), batch, True) / counts(batch)).sum()

    unused = check_gradients(network, value, step=1e-5)
    fixed = {key for key, parameter in network.named_parameters() if not parameter.requires_grad}
    assert set(unused) - fixed == ({"weights.mixings.1"} if name == "residual" else set())  # its result is not read
