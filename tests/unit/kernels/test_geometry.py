"""The pair vector is antisymmetric and has the same bits in any frame; fixed-point values round symmetrically."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.arguments import Atoms
from allegro_md.kernels.fixed import to_fixed
from allegro_md.kernels.geometry import pair_vector
from allegro_md.kernels.pair import pack


def test_pair_vector() -> None:
    rng = np.random.default_rng(0)
    position = rng.normal(size=(40, 3)) * 30.0
    shift = rng.integers(-3, 4, size=(40, 3)).astype(np.int32)
    h = rng.normal(size=(3, 3)) * 10.0
    moved = shift + np.array([5, -2, 1], np.int32)  # another rank's frame: the differences stay
    for i, j in rng.integers(40, size=(200, 2)):
        d = pair_vector(position, shift, h, i, j)
        assert d == tuple(-c for c in pair_vector(position, shift, h, j, i))
        assert d == pair_vector(position, moved, h, i, j)
        exact = [
            Fraction(position[j, k]) - Fraction(position[i, k])
            + sum(int(shift[j, a] - shift[i, a]) * Fraction(h[a, k]) for a in range(3))
            for k in range(3)
        ]
        assert np.allclose(d, [float(c) for c in exact], rtol=0, atol=1e-13)


def test_quanta() -> None:
    rng = np.random.default_rng(0)
    for x in rng.normal(size=1000) * 10.0 ** rng.uniform(-14, 4, size=1000):
        assert to_fixed(x) == round(Fraction(x) * int(FORCE_SCALE))  # half to even, like Fraction
        assert to_fixed(-x) == -to_fixed(x)


def test_packed_codes_are_equal_only_for_equal_shifts() -> None:
    far = 2**20
    shift = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0], [0, -1, 0], [far, 0, 0], [far, 0, 0], [0, 0, -far],
                      [1, -far, 0], [-far, -far, -far]], np.int32)
    rows = np.zeros((len(shift), 4))
    pack(Atoms(np.zeros((len(shift), 3)), shift, np.zeros(len(shift), np.int16), np.eye(3)), (0, len(shift)), rows)
    codes = rows.view(np.int64)[:, 3]
    for i in range(len(shift)):
        for j in range(len(shift)):
            if codes[i] == codes[j]:
                assert (shift[i] == shift[j]).all()
    assert codes[0] == codes[3] and len(set(codes)) == len(shift) - 1
