"""Folding: the algebra against the network itself, the tables against their functions, the kernels' activations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.evaluation import TOLERANCE
from allegro_md.kernels.cpu_harmonics import harmonics, harmonics_backward
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual, Spline
from allegro_md.models.allegro.edges import Edges
from allegro_md.models.allegro.geometry import spherical_harmonics
from allegro_md.models.allegro.mlp import ACTIVATIONS
from allegro_md.models.allegro.network import Network
from allegro_md.models.convert.importer import load_foreign
from allegro_md.models.fused.accuracy import environments, excess, network_forces
from allegro_md.models.fused.fold import fold, obstacle
from allegro_md.models.fused.splines import splines, tabulate

COMMON = {"symbols": ("Cu", "Ni"), "cutoff": 4.2, "channels": 5, "average_neighbors": (13.0, 15.0), "layers": 1}
DENSE = COMMON | {"embedding": Bessel(), "embedding_width": 12, "scalars": 20}
RESIDUAL = COMMON | {"latents": 24, "two_body": Mlp(widths=(16,))}
ARCHITECTURES: dict[str, Dense | Residual] = {
    "deep": Dense(**DENSE, l_max=3, two_body=Mlp(widths=(24,)), latent=Mlp(widths=(24, 20), activation="gelu"),
                  readout=Mlp(widths=(12,), activation="mish"), individual_weights=False, coupled=False),
    "linear latents": Dense(**DENSE, l_max=2, two_body=Mlp(), latent=Mlp(widths=(24,), activation=None),
                            readout=Mlp(widths=(12,)), forward_normalize=False),
    "linear": Dense(**DENSE, l_max=0, two_body=Mlp(widths=(24,)), latent=Mlp(), readout=Mlp()),
    "spline": Dense(**DENSE | {"embedding": Spline(), "pair_cutoffs": ((4.2, 3.6), (3.9, 3.3))}, l_max=1,
                    two_body=Mlp(widths=(24,)), latent=Mlp(widths=(24,)), readout=Mlp(widths=(12,))),
    "residual": Residual(**RESIDUAL, l_max=2, latent=Mlp(widths=(24,)), readout=Mlp(widths=(8,))),
    "residual, linear latents": Residual(**RESIDUAL, l_max=3, latent=Mlp(), readout=Mlp(widths=(8,)), parity="so3"),
    "residual, linear": Residual(**RESIDUAL, l_max=1, latent=Mlp(), readout=Mlp(widths=(8,), activation=None),
                                 envelope=48.0),
    "two layers": Dense(**DENSE | {"layers": 2}, l_max=3, two_body=Mlp(widths=(24,)), latent=Mlp(widths=(24, 20)),
                        readout=Mlp(widths=(12,), activation="mish"), individual_weights=False, coupled=False),
    "three layers": Dense(**DENSE | {"layers": 3, "channels": 3}, l_max=2, two_body=Mlp(widths=(40,)),
                          latent=Mlp(widths=(40,)), readout=Mlp(), parity=False),
    "four layers, linear latents": Dense(**DENSE | {"layers": 4}, l_max=0, two_body=Mlp(), latent=Mlp(),
                                         readout=Mlp(widths=(12, 8))),
    "residual, two layers": Residual(**RESIDUAL | {"layers": 2}, l_max=3, latent=Mlp(widths=(24,)),
                                     readout=Mlp(widths=(8,)), parity="so3"),
    "residual, three layers": Residual(**RESIDUAL | {"layers": 3, "channels": 2}, l_max=2, latent=Mlp(widths=(40, 30)),
                                       readout=Mlp()),
    "residual, two layers, linear latents": Residual(**RESIDUAL | {"layers": 2}, l_max=1, latent=Mlp(),
                                                     readout=Mlp(widths=(8,)), parity="o3_restricted"),
}  # fmt: skip
KINDS = {"linear": "bilinear", "residual, linear": "bilinear"}


def energies(folded: Any, vector: Any, center: Any, kind: Any, neighbor: Any) -> Any:
    """The formulas of the module, with the radial functions themselves."""
    r = vector.norm(dim=1)
    own, other = kind[center].numpy(), neighbor.numpy()
    degree = [l for l in range(folded.degrees) for _ in range(2 * l + 1)]  # noqa: E741
    y = spherical_harmonics(vector / r[:, None], folded.degrees - 1)[:, :, None]
    x, pair = r / torch.from_numpy(folded.cutoffs[own, other]), torch.from_numpy(folded.pairs[own, other])
    if folded.layers:
        return layered(folded, x, pair, y[:, :, 0], kind, center)
    env, weight, *radial = folded.columns(x, pair)
    shape = (len(r), folded.degrees, folded.channels)
    sums = torch.zeros(len(kind), len(degree), folded.channels, dtype=torch.float64)
    sums = sums.index_add(0, center, y * env.reshape(shape)[:, degree])
    scalars = torch.zeros(shape, dtype=torch.float64).index_add(1, torch.tensor(degree), y * sums[center])
    scalars = scalars * weight.reshape(shape)
    value, cut = scalars.sum(1) if folded.shared else scalars.reshape(len(r), -1), radial[-1]
    for level in folded.levels:
        value = value @ torch.from_numpy(level.matrix)
        value = value * cut if level.cut else value
        value = value + radial.pop(0) if level.radial else value
        value = ACTIVATIONS[level.activation](value) if level.activation else value
    total = torch.zeros(len(kind), dtype=torch.float64).index_add(0, center, value[:, 0])
    return torch.from_numpy(folded.factors)[kind] * total + torch.from_numpy(folded.shifts)[kind]


def layered(folded: Any, x: Any, pair: Any, y: Any, kind: Any, center: Any) -> Any:
    """The formulas of `fused.layers`: tensors of each edge, path by path."""
    radial = torch.cat(folded.columns(x, pair), dim=1)
    degree, width = torch.tensor([l for l in range(folded.degrees) for _ in range(2 * l + 1)]), folded.channels  # noqa: E741
    own, cut = radial[:, : folded.degrees * width].reshape(len(x), -1, width), radial[:, -1:]
    values: dict[str, Any] = {}
    at, tensor = folded.degrees * width, own[:, degree] * y[:, :, None]
    cuts = {node.name: cut if node.cut else 1.0 for node in folded.layers.nodes}
    norms = torch.from_numpy(folded.layers.norms)[kind][:, None, None]
    layer = 0
    for node in folded.layers.nodes:
        z = sum((cuts[s] * values[s] @ torch.from_numpy(m) for s, m in node.sources.items()), torch.zeros(len(x), 1))
        if node.radial:
            z, at = z + radial[:, at : at + node.width], at + node.width
        if node.name.startswith("environment"):
            each = z.reshape(len(x), -1, width)[:, degree] * y[:, :, None]
            sums = torch.zeros(len(kind), *each.shape[1:], dtype=torch.float64).index_add(0, center, each)
            gamma = (norms * sums)[center]
        elif node.name.startswith("scalars"):
            out = []
            for p in folded.layers.products[layer]:
                terms = tensor[:, p.terms.a] * gamma[:, p.terms.b] * torch.from_numpy(p.coefficient)
                part = torch.zeros(len(x), p.terms.sizes[2], width, dtype=torch.float64)
                out.append(part.index_add(1, torch.from_numpy(p.terms.out), terms))
            z, layer = out[0].flatten(1) if folded.layers.mixed else out[0][:, 0], layer + 1
            if not folded.layers.mixed:
                tensor = out[0]
            elif layer < len(folded.layers.products):
                mixings = [torch.from_numpy(p.mixing) for p in folded.layers.products[layer - 1]]
                tensor = torch.cat([p.reshape(len(x), -1, len(m)) @ m for p, m in zip(out, mixings, strict=True)], 1)
        values[node.name] = ACTIVATIONS[node.activation](z) if node.activation else z
    total = torch.zeros(len(kind), dtype=torch.float64).index_add(0, center, values["energy"][:, 0])
    return torch.from_numpy(folded.factors)[kind] * total + torch.from_numpy(folded.shifts)[kind]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_algebra_is_exact(name: Any) -> None:
    network = Network(ARCHITECTURES[name]).initialize(3)
    network.scales.data[:] = torch.tensor([0.7, 1.9])
    network.shifts.data[:] = torch.tensor([-1.5, -5.0])
    folded = fold(network, ("Ni", "Cu"))  # not the network's order
    assert folded.kind == KINDS.get(name, "multi-layer" if network.architecture.layers > 1 else "single-layer")
    sample = environments(folded, 14.0)
    kind, neighbor = torch.from_numpy(sample.center_species), torch.from_numpy(sample.neighbor_species)
    center, results = torch.from_numpy(sample.center), []
    for evaluate in (
        lambda d: network.prepare()(Edges(d, center, 1 - kind, 1 - neighbor)),
        lambda d: energies(folded, d, center, kind, neighbor),
    ):
        vector = torch.tensor(sample.vector, requires_grad=True)
        energy = evaluate(vector)
        (gradient,) = torch.autograd.grad(energy.sum(), vector)
        results.append((energy.detach(), gradient))
    (wanted, slope), (got, got_slope) = results
    assert (wanted - got).abs().max() < 1e-12 * wanted.abs().max()
    assert (slope - got_slope).abs().max() < 1e-11 * slope.abs().max()


def test_what_cannot_be_folded() -> None:
    four = ARCHITECTURES["linear"].model_copy(update={"l_max": 4})
    assert "l_max = 4" in str(obstacle(four))
    with pytest.raises(ValueError, match="l_max = 4"):
        fold(Network(four).initialize(1), ("Cu",))


def test_splines_converge_and_vanish_at_the_end() -> None:
    """Fourth order in the value, third in the slope; continuous curvature; nothing left at the cutoff."""

    def error(n: Any) -> Any:
        x = np.linspace(0.0, 1.0, n + 1)
        cubics = splines((np.cos(5.0 * x) * (1.0 - x) ** 3)[:, None])[:, :, 0]
        fine = np.linspace(0.1, 1.0, 1001)[:-1]
        k = (fine * n).astype(int)
        p, c = fine * n - k, cubics[k].T
        wanted = np.cos(5.0 * fine) * (1.0 - fine) ** 3
        slope = -5.0 * np.sin(5.0 * fine) * (1.0 - fine) ** 3 - 3.0 * np.cos(5.0 * fine) * (1.0 - fine) ** 2
        value = c[0] + p * (c[1] + p * (c[2] + p * c[3]))
        return np.abs(value - wanted).max(), np.abs(n * (c[1] + p * (2.0 * c[2] + 3.0 * p * c[3])) - slope).max()

    coarse, fine = error(64), error(128)
    assert fine[0] < 2e-8 and 12.0 < coarse[0] / fine[0] < 20.0 and 6.0 < coarse[1] / fine[1] < 20.0
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(size=(12, 3)), np.zeros((1, 3))])
    cubics = splines(values)
    assert np.allclose(cubics[:11, 0], values[:11], atol=1e-14)  # through every sample but the last inner one
    ends, starts = cubics.sum(axis=1)[:-1], cubics[1:, 0]
    assert np.allclose(ends, starts, atol=1e-12)
    assert np.allclose(cubics[:-1, 1] + 2 * cubics[:-1, 2] + 3 * cubics[:-1, 3], cubics[1:, 1], atol=1e-12)
    assert np.allclose(2 * cubics[:-1, 2] + 6 * cubics[:-1, 3], 2 * cubics[1:, 2], atol=1e-11)
    c0, c1, c2, c3 = cubics[-1]
    assert not ((c0 + c1) + (c2 + c3)).any() and not (c1 + (2.0 * c2 + 3.0 * c3)).any()
    assert np.allclose(2 * c2 + 6 * c3, 0.0, atol=1e-14)


def test_tables_hold_pairs_of_the_system_only() -> None:
    network = Network(ARCHITECTURES["spline"]).initialize(3)
    both, one = tabulate(fold(network, ("Cu", "Ni")), 64), tabulate(fold(network, ("Ni",)), 64)
    assert both.shape == (4, 64, 4, 10 + 10 + 24 + 12) and one.shape[0] == 1
    assert np.array_equal(one[0], both[3])


def test_harmonics() -> None:
    directions = torch.nn.functional.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(1),
                                                           dtype=torch.float64), dim=1)  # fmt: skip
    vector = (2.5 * directions).requires_grad_()
    y = spherical_harmonics(vector / vector.norm(dim=1)[:, None], 3)
    weight = torch.linspace(-1.0, 1.0, 16, dtype=torch.float64)
    (wanted,) = torch.autograd.grad((y @ weight).sum(), vector)
    for row, unit, gradient in zip(y.detach().numpy(), directions.numpy(), wanted.numpy(), strict=True):
        out = np.empty((1, 16))
        harmonics(*unit, 4, out, 0)
        assert np.abs(out[0] - row).max() < 1e-13
        free = np.array(harmonics_backward(*unit, 4, weight.numpy()[None], 0))
        assert np.abs((free - unit * (free @ unit)) / 2.5 - gradient).max() < 1e-13


@pytest.mark.parametrize("name", ["silu", "gelu", "mish"])
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_activations(name: str, real: Any) -> None:
    from allegro_md.kernels.cpu_activation import CODES, activate

    z = np.concatenate([np.linspace(-30.0, 30.0, 6012), [-800.0, 800.0, 0.0, math.nan]]).astype(real)
    value, slope = np.empty_like(z), np.empty_like(z)
    activate(CODES[name], z, value, slope)
    x = torch.tensor(z.astype(np.float64), requires_grad=True)
    y = ACTIVATIONS[name](x)
    (wanted,) = torch.autograd.grad(y.sum(), x)
    small = 4e-7 if real is np.float32 else 1e-14
    assert np.isnan(value[-1]) and np.isnan(slope[-1])
    assert (np.abs(value - y.detach().numpy())[:-1] <= small * np.maximum(1.0, np.abs(z[:-1]))).all()
    assert (np.abs(slope - wanted.numpy())[:-1] <= 2.0 * small).all()


def test_measure_of_the_error(shared: Path) -> None:
    """What is measured is in units of what is allowed, and sees a wrong radial function."""
    network = load_foreign(shared / "reference" / "allegro-dense" / "ag-dense")
    sample = environments(fold(network, ("Ag",)), 14.0)
    wanted = network_forces(network, ("Ag",), sample)
    assert excess(wanted + 0.5 * TOLERANCE, wanted) == pytest.approx(0.5, abs=0.01)
    assert len(np.unique(np.bincount(sample.center))) > 10
    r = np.linalg.norm(sample.vector, axis=1)
    assert r.min() < 1.8 and r.max() > 3.98 and r.max() < 4.0
