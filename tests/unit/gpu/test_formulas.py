"""Formulas in C++: the file is what the translator makes, and gives the bits of the functions it is made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from host_build import TURNS, on_host

from allegro_md.kernels.cpu_harmonics import second, second_backward, third, third_backward
from allegro_md.kernels.cpu_vector import LANES, load, store
from allegro_md.kernels.gpu.launch import Kernel
from allegro_md.kernels.gpu.signature import SOURCES
from allegro_md.kernels.gpu.translate import FILE, header, translated
from allegro_md.kernels.zbl import pair_repulsion

KERNEL = f"""#include "{SOURCES}/formulas.h"
template <class real> KERNEL(256, 1) all(i64 n, const real* in, real* out) {{
  FOR_THREADS(t) {{
    const i64 i = THREAD(t);
    if (i < n) {{
      const real *v = in + 10 * i, x = v[0], y = v[1], z = v[2];
      real* o = out + 18 * i;
      second(x, y, z, o); third(x, y, z, o + 5);
      second_backward(x, y, z, v + 3, o + 12); third_backward(x, y, z, v + 3, o + 15);
    }}
  }}
}}
"""

PAIRS = f"""#include "{SOURCES}/formulas.h"
KERNEL(256, 1) pairs(i64 n, const double* in, double* out) {{
  FOR_THREADS(t) {{
    const i64 i = THREAD(t);
    double both[2];
    if (i < n) {{
      pair_repulsion(in[i], in[n + i], in[2 * n + i], in[3 * n + i], both);
      out[i] = both[0]; out[n + i] = both[1];
    }}
  }}
}}
"""


def test_the_file_is_what_the_translator_makes() -> None:
    assert FILE.read_text(encoding="utf-8") == header()


@pytest.mark.parametrize(("kind", "dtype"), [("float", np.float32), ("double", np.float64)])
def test_bits(kind: str, dtype: Any, tmp_path: Path) -> None:
    (tmp_path / "all.cuh").write_text(KERNEL, encoding="utf-8")
    given = np.random.default_rng(3).standard_normal((500, 10)).astype(dtype)
    x, y, z, *g = given.T.copy()
    functions = (second, third, second_backward, third_backward)
    arguments: tuple[tuple[Any, ...], ...] = ((x, y, z), (x, y, z), (x, y, z, g), (x, y, z, g))
    wanted = np.stack([v for f, a in zip(functions, arguments, strict=True) for v in f.py_func(*a)], axis=1)
    assert wanted.dtype == dtype and wanted.shape == (500, 18)
    for reverse, threads in TURNS:
        found = torch.full((500, 18), torch.nan, dtype=getattr(torch, np.dtype(dtype).name))
        with on_host(reverse, threads):
            Kernel(str(tmp_path / "all.cuh"), f"all<{kind}>").over(500, 500, torch.from_numpy(given), found)
        assert np.array_equal(found.numpy(), wanted)


def test_the_compiled_functions_have_these_bits_too() -> None:
    for x, y, z, *g in np.random.default_rng(4).standard_normal((50, 10)).tolist():
        assert second(x, y, z) == second.py_func(x, y, z) and third(x, y, z) == third.py_func(x, y, z)
        g7 = tuple(g[:7])
        assert second_backward(x, y, z, g7) == second_backward.py_func(x, y, z, g7)
        assert third_backward(x, y, z, g7) == third_backward.py_func(x, y, z, g7)


@numba.njit
def repulsions(given: Any, found: Any) -> None:
    """Energies and slopes, (2, n), of pairs, (4, n)."""
    n = given.shape[1]
    for k in range(0, n, LANES):
        r, charge, inverse_length = load(given, k), load(given, n + k), load(given, 2 * n + k)
        value, slope = pair_repulsion(r, charge, inverse_length, load(given, 3 * n + k))
        store(found, k, value)
        store(found, n + k, slope)


def test_bits_of_the_repulsion(tmp_path: Path) -> None:
    """Which calls other formulas, and the exponential."""
    (tmp_path / "pairs.cuh").write_text(PAIRS, encoding="utf-8")
    lowest, highest = np.array([[0.01, 1.0, 0.5, 4.0], [4.0, 9e4, 60.0, 6.0]])
    given = np.random.default_rng(6).uniform(lowest, highest, (4096, 4)).T.copy()
    wanted = np.empty((2, 4096))
    repulsions(given, wanted)
    found = torch.full((2, 4096), torch.nan, dtype=torch.float64)
    with on_host():
        Kernel(str(tmp_path / "pairs.cuh"), "pairs").over(4096, 4096, torch.from_numpy(given), found)
    assert np.array_equal(found.numpy(), wanted) and np.isfinite(wanted).all()


HALF = 0.5


def one_result(x: float, g: Any) -> float:
    """A formula, with a comment."""
    a, b = -x * g[1], HALF / 3.0 - 2.0
    a = a / (b - x)
    return a


def with_a_call(x: float) -> float:
    return abs(x)


def with_a_branch(x: float) -> float:
    if x > 0.0:
        x = x + 1.0
    return x


def with_a_power(x: float) -> float:
    return x**2.0


def in_turn(x: float, y: float) -> float:
    x, y = y, x
    return x - y


def test_a_formula() -> None:
    assert translated(one_result).splitlines() == [
        "template <class real> DEVICE real one_result(real x, const real* g) {",
        "  real a = ((-x) * g[1]);", f"  real b = real({0.5 / 3.0 - 2.0!r});", "  a = (a / (b - x));",
        "  return a;", "}",
    ]  # fmt: skip


@pytest.mark.parametrize("function", [with_a_call, with_a_branch, with_a_power, in_turn])
def test_what_is_no_formula_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=rf"{function.__name__}, line \d: .* is not translated"):
        translated(function)
