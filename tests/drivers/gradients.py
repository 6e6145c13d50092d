"""Gradients with respect to the weights of a network, against differences of the value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def check_gradients(network: torch.nn.Module, value: Callable[[], torch.Tensor], step: float = 1e-6) -> list[str]:
    """Compares the gradient of `value` at the steepest entry of every parameter; returns those without one."""
    value().backward()
    unused = []
    for key, parameter in network.named_parameters():
        if parameter.grad is None:
            unused.append(key)
            continue
        index = np.unravel_index(int(parameter.grad.abs().argmax()), parameter.shape)
        values = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                parameter[index] += sign * step
            values.append(float(value().detach()))
            with torch.no_grad():
                parameter[index] -= sign * step
        slope, gradient = (values[0] - values[1]) / (2 * step), float(parameter.grad[index])
        assert abs(slope - gradient) < 1e-5 * max(1.0, abs(gradient)), key
    return unused
