"""What is made of edge vectors in one pass, against the formulas in torch and against difference quotients."""

from __future__ import annotations

import pytest
import torch

from allegro_md.models.allegro.geometry import bessel, envelope, polar, radial_functions, spherical_harmonics


@pytest.mark.parametrize("l_max", [0, 1, 3])
def test_lengths_and_harmonics(l_max: int) -> None:
    generator = torch.Generator().manual_seed(2)
    vector = torch.randn((4, 3), generator=generator, dtype=torch.float64, requires_grad=True)
    length, harmonics = polar(vector, l_max)
    wanted = vector.norm(dim=1)
    assert torch.allclose(length, wanted, rtol=0, atol=1e-14)
    assert torch.allclose(harmonics, spherical_harmonics(vector / wanted[:, None], l_max), rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(lambda v: polar(v, l_max), (vector,))
    assert torch.autograd.gradgradcheck(lambda v: polar(v, l_max), (vector,))


@pytest.mark.parametrize("p", [2.0, 5.5, 6.0, 48.0])
def test_radial_functions(p: float) -> None:
    x = torch.tensor([0.2, 0.5, 0.77, 0.99, 1.2], dtype=torch.float64, requires_grad=True)
    roots = torch.tensor([1.0, 2.0, 2.7], dtype=torch.float64)
    scale, shift = torch.tensor([1.0, -0.5, 0.0]).double(), torch.tensor([0.0, 0.3, 1.0]).double()
    got = radial_functions(x, roots, p, scale, shift)
    assert torch.allclose(got, (bessel(x, roots) * scale + shift) * envelope(x, p)[:, None], rtol=0, atol=1e-14)
    assert torch.equal(radial_functions(x, roots, p), radial_functions(x, roots, p, torch.ones(3).double()))
    assert torch.autograd.gradcheck(lambda t: radial_functions(t, roots, p, scale, shift), (x,))
    assert torch.autograd.gradgradcheck(lambda t: radial_functions(t, roots, p, scale, shift), (x,))
    trained = roots.clone().requires_grad_()
    assert torch.allclose(radial_functions(x, trained, p, scale, shift), got, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(lambda w: radial_functions(x, w, p), (trained,))
